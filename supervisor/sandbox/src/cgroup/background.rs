//! Sends apps that take a processor for long to the background: there they have one only while nobody else wants it, and
//! one processor is never theirs.
//!
//! Shares alone say who gets how much in the long run. Whoever opens a grain beside an app that spins waits for
//! milliseconds, again and again, until a processor is taken from it. A group that is idle to the scheduler (`cpu.idle`) gives
//! way at once, and where it may not run nothing has to be taken from it (docs/adr/0019-a-background-for-apps.md).
//!
//! One process looks at all apps: first at what they take together, and at each only while that is much.

mod account;
mod processors;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::settings::Controller;
use super::{Place, meter, owned_directories, place};
use crate::confine;
use account::{Account, FORGIVEN, STEADY};
use processors::Processors;

pub(super) use processors::all_but_one;

/// Between two looks at what all apps take together.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at each of them.
const CLOSE_LOOK: Duration = Duration::from_millis(250);
/// Looking takes one part in so many of a processor at most ...
const LOOKING: u32 = 20;
/// ... but happens as often as this, for a look may take long because the machine is busy.
const LONGEST: Duration = Duration::from_secs(2);
/// How long processes are moved in one look: that holds up every start of a process on this machine.
const MOVING: Duration = Duration::from_millis(20);

/// Keeps apps in order for as long as this process lives; the launcher forks it for that. Returns at once where the
/// kernel knows no background (Linux 5.15, with the controllers cpu and cpuacct).
///
/// # Errors
///
/// When this process cannot be confined.
pub(crate) fn keep() -> Result<(), confine::ConfineError> {
    let Some(mut background) = place().ok().and_then(Background::of) else {
        return Ok(());
    };
    confine::background(&background.read(), &background.written())?;
    #[cfg(feature = "hostile")]
    crate::hostile::act("background");
    loop {
        let begun = Instant::now();
        let wait = background.look(begun);
        std::thread::sleep(wait.max((begun.elapsed() * LOOKING).min(LONGEST)));
    }
}

/// The apps of a launcher, as far as they take processor time.
struct Background {
    /// The directory with a group for each app, and the file of a group that says what it took.
    usage: (PathBuf, Usage),
    /// The same of the controller that can send it to the background.
    cpu: PathBuf,
    processors: Processors,
    accounts: HashMap<String, Account>,
    looked: Instant,
    /// What all took until then.
    taken: Duration,
    /// When that was much for the last time.
    much: Instant,
    /// Whether what each took until then is known.
    is_close: bool,
}

#[derive(Clone, Copy)]
enum Usage {
    /// Version 2: `cpu.stat`.
    Stat,
    /// Version 1: `cpuacct.usage`.
    Nanoseconds,
}

impl Background {
    fn of(place: &Place) -> Option<Self> {
        let hierarchies = place.hierarchies();
        let base = |controller| {
            let mut found = hierarchies.iter().filter(|base| base.has(controller));
            found.next().map(|base| base.directory.clone())
        };
        let cpu = base(Controller::Cpu).filter(|base| base.join("cpu.idle").exists())?;
        let usage = if place.is_unified() {
            Usage::Stat
        } else {
            Usage::Nanoseconds
        };
        let now = Instant::now();
        let mut background = Self {
            usage: (base(Controller::Cpuacct)?, usage),
            cpu,
            processors: Processors::of(place, base(Controller::Memory)?),
            accounts: HashMap::new(),
            looked: now,
            taken: Duration::ZERO,
            much: now,
            is_close: true,
        };
        // Apps that run already were known to a process like this that was killed.
        background.taken = background.used(&background.usage.0).unwrap_or_default();
        for (name, used) in background.each().unwrap_or_default() {
            let account = Account::found(used.unwrap_or_default(), background.has_sent(&name));
            background.accounts.insert(name, account);
        }
        Some(background)
    }

    /// Whether an app was sent to the background and is not all back.
    fn has_sent(&self, name: &str) -> bool {
        is_idle(&self.cpu.join(name)) || self.processors.have_taken_one(name)
    }

    /// What is read, beside what is written to.
    fn read(&self) -> Vec<PathBuf> {
        let members = self.processors.members().map(Path::to_owned);
        members.into_iter().chain([self.usage.0.clone()]).collect()
    }

    /// The directories that are written to.
    fn written(&self) -> Vec<PathBuf> {
        let there = self.processors.there().map(Path::to_owned);
        there.into_iter().chain([self.cpu.clone()]).collect()
    }

    /// Looks, and returns when to look again.
    fn look(&mut self, now: Instant) -> Duration {
        let Some(all) = self.used(&self.usage.0) else {
            return LOOK;
        };
        let passed = now - self.looked;
        if all.saturating_sub(self.taken) > passed / STEADY {
            self.much = now;
        }
        (self.looked, self.taken) = (now, all);
        if now - self.much > FORGIVEN && self.accounts.values().all(Account::is_even) {
            self.is_close = false;
            return LOOK;
        }
        let Ok(found) = self.each() else { return LOOK };
        self.accounts.retain(|name, _| found.contains_key(name));
        for (name, used) in found {
            let Some(used) = used else { continue };
            let account = self.accounts.entry(name).or_default();
            // What was taken while nobody looked was little, but for the last moment of it.
            account.enter(used, if self.is_close { passed } else { Duration::MAX });
        }
        self.is_close = true;
        self.arrange();
        CLOSE_LOOK
    }

    /// Has everybody where they belong.
    fn arrange(&mut self) {
        // The quick part first: those in the background again, for their limits may have been changed.
        for (name, account) in &mut self.accounts {
            if account.belongs_in_background() {
                account.weight = send(&self.cpu.join(name)).or(account.weight.take());
                account.is_in_background = true;
            }
        }
        // Those who come back wait for nobody who goes, and each has a time of its own: processes that end and start
        // without pause would use up what all have together.
        let (go, come): (Vec<_>, Vec<_>) = self
            .accounts
            .iter_mut()
            .filter(|(_, account)| account.is_in_background)
            .partition(|(_, account)| account.belongs_in_background());
        let share = |count: usize| MOVING / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let each = share(come.len());
        for (name, account) in come {
            fetch(&self.cpu.join(name), account.weight.take());
            if self.processors.give_back(name, Instant::now() + each) {
                account.is_in_background = false;
            }
        }
        let each = share(go.len());
        for (name, _) in go {
            self.processors.take_one(name, Instant::now() + each);
        }
    }

    /// What each app has taken so far, as far as the kernel says.
    fn each(&self) -> io::Result<HashMap<String, Option<Duration>>> {
        // An empty list would be one of apps that have ended.
        fs::read_dir(&self.usage.0)?;
        let groups = owned_directories(&self.usage.0, "").into_iter();
        let named =
            |(_, group): (u32, PathBuf)| Some((group.file_name()?.to_str()?.to_owned(), self.used(&group)));
        Ok(groups.filter_map(named).collect())
    }

    fn used(&self, group: &Path) -> Option<Duration> {
        match self.usage.1 {
            Usage::Stat => {
                let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
                meter::line(&text, "usage_usec").map(Duration::from_micros)
            }
            Usage::Nanoseconds => {
                let text = fs::read_to_string(group.join("cpuacct.usage")).ok()?;
                text.trim().parse().ok().map(Duration::from_nanos)
            }
        }
    }
}

/// The file with what a group weighs, by the file's name in version 2 and 1.
const WEIGHTS: [&str; 2] = ["cpu.weight", "cpu.shares"];

fn is_idle(group: &Path) -> bool {
    fs::read_to_string(group.join("cpu.idle")).is_ok_and(|text| text.trim() == "1")
}

/// Sends a group to the background. Returns what it weighed, which the kernel forgets, unless it is there already.
fn send(group: &Path) -> Option<String> {
    let _lock = super::lock_limits(group);
    if is_idle(group) {
        return None;
    }
    let weight = WEIGHTS
        .iter()
        .find_map(|file| fs::read_to_string(group.join(file)).ok());
    // One that has ended has no files any more; nothing is lost by one that stays where it was.
    put(&group.join("cpu.idle"), "1").ok().and(weight)
}

/// Has a group compete with others again, with the weight it had.
fn fetch(group: &Path, weight: Option<String>) {
    let _lock = super::lock_limits(group);
    // Limits that were changed meanwhile have done it, with another weight.
    if is_idle(group) && put(&group.join("cpu.idle"), "0").is_ok() {
        for file in WEIGHTS {
            if let Some(weight) = &weight {
                let _other_version = put(&group.join(file), weight.trim());
            }
        }
    }
}

fn put(file: &Path, text: &str) -> io::Result<()> {
    // Not made where it is missing: the kernel would refuse that with another error than that.
    fs::OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(text.as_bytes())
}
