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

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::settings::Controller;
use super::{Place, meter, owned_directories, place};
use crate::confine;
use account::{Account, Change, STEADY};

pub(super) use processors::all_but_one;

/// Between two looks at what all apps take together.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at each of them.
const CLOSE_LOOK: Duration = Duration::from_millis(250);
/// Looking takes one part in so many of a processor at most.
const LOOKING: u32 = 20;
/// How often an app's processes are gathered in one look: it may make more meanwhile.
const ROUNDS: usize = 4;

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
    confine::background(&background.written())?;
    #[cfg(feature = "hostile")]
    crate::hostile::act("background");
    loop {
        let begun = Instant::now();
        let wait = background.look(begun);
        std::thread::sleep(wait.max(begun.elapsed() * LOOKING));
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

/// How an app is kept off one processor.
enum Processors {
    /// There is only one, or no controller for it.
    Shared,
    /// Version 2: by writing these into its group.
    Own { most: String },
    /// Version 1: by moving its processes, which `members` lists, to another group and back.
    Moved {
        members: PathBuf,
        there: PathBuf,
        back: File,
    },
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
        let mut background = Self {
            usage: (base(Controller::Cpuacct)?, usage),
            cpu,
            processors: Processors::of(place, base(Controller::Memory)?),
            accounts: HashMap::new(),
            looked: Instant::now(),
            taken: Duration::ZERO,
            is_close: false,
        };
        // Left by a process like this that was killed. What its apps weighed is not known any more.
        for (_, group) in owned_directories(&background.cpu, "") {
            if let Some(name) = group.file_name().filter(|_| is_idle(&group)) {
                let account = Account::in_background();
                background
                    .accounts
                    .insert(name.to_string_lossy().into_owned(), account);
            }
        }
        Some(background)
    }

    /// The directories that are written to.
    fn written(&self) -> Vec<PathBuf> {
        let mut written = vec![self.usage.0.clone(), self.cpu.clone()];
        if let Processors::Moved { members, there, .. } = &self.processors {
            written.extend([members.clone(), there.clone()]);
        }
        written
    }

    /// Looks, and returns when to look again.
    fn look(&mut self, now: Instant) -> Duration {
        let passed = now - self.looked;
        let all = self.used(&self.usage.0).unwrap_or_default();
        let much = all.saturating_sub(self.taken) > passed / STEADY;
        (self.looked, self.taken) = (now, all);
        if !much && self.accounts.values().all(Account::is_even) {
            self.is_close = false;
            return LOOK;
        }
        let found = self.each();
        self.accounts.retain(|name, _| found.contains_key(name));
        for (name, used) in found {
            let account = self.accounts.entry(name.clone()).or_default();
            // What was taken while nobody looked was little, and when is not known.
            let change = account.enter(used, if self.is_close { passed } else { Duration::MAX });
            match change {
                Some(Change::ToBackground) => account.weight = send(&self.cpu.join(&name)),
                Some(Change::ToForeground) => {
                    fetch(&self.cpu.join(&name), account.weight.take());
                    self.processors.give_back(&self.cpu, &name);
                }
                None => {}
            }
            if account.is_in_background() {
                // Again at every look: its owner may have changed its limits, and it may have made processes.
                if change.is_none() {
                    account.weight = send(&self.cpu.join(&name)).or(account.weight.take());
                }
                self.processors.take_one(&self.cpu, &name);
            }
        }
        self.is_close = true;
        CLOSE_LOOK
    }

    /// What each app has taken so far.
    fn each(&self) -> HashMap<String, Duration> {
        let groups = owned_directories(&self.usage.0, "").into_iter();
        groups
            .filter_map(|(_, group)| Some((group.file_name()?.to_str()?.to_owned(), self.used(&group)?)))
            .collect()
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

impl Processors {
    fn of(place: &Place, members: PathBuf) -> Self {
        let found = match place {
            Place::Unified(base) => {
                // The file is there when the controller is given to the groups of apps.
                let effective = base.join("cpuset.cpus.effective");
                let given = fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
                let text = fs::read_to_string(effective).ok();
                text.filter(|_| place::lists(&given, "cpuset"))
                    .and_then(|text| all_but_one(text.trim()))
                    .map(|most| Processors::Own { most })
            }
            Place::Separate { cpuset, .. } => cpuset.as_ref().and_then(|there| {
                let back = there.parent()?.join("cgroup.procs");
                Some(Processors::Moved {
                    members,
                    there: there.clone(),
                    back: fs::OpenOptions::new().write(true).open(back).ok()?,
                })
            }),
        };
        found.unwrap_or(Processors::Shared)
    }

    /// Takes the first processor from an app.
    fn take_one(&self, groups: &Path, name: &str) {
        match self {
            Processors::Shared => {}
            Processors::Own { most } => {
                let _ended = put(&groups.join(name).join("cpuset.cpus"), most);
            }
            Processors::Moved { members, there, .. } => {
                let door = there.join("cgroup.procs");
                for _ in 0..ROUNDS {
                    let moved: HashSet<_> = processes(&door).into_iter().collect();
                    let mut left = processes(&members.join(name).join("cgroup.procs"));
                    left.retain(|process| !moved.contains(process));
                    if left.is_empty() {
                        break;
                    }
                    for process in left {
                        let _ended = put(&door, &process);
                    }
                }
            }
        }
    }

    fn give_back(&self, groups: &Path, name: &str) {
        match self {
            Processors::Shared => {}
            Processors::Own { .. } => {
                let _ended = put(&groups.join(name).join("cpuset.cpus"), "\n");
            }
            Processors::Moved { members, back, .. } => {
                for process in processes(&members.join(name).join("cgroup.procs")) {
                    let _ended = back.write_at(process.as_bytes(), 0);
                }
            }
        }
    }
}

fn processes(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
