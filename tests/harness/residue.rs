//! What a server leaves behind, or not: processes, control groups, mounts, namespaces, files, descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::server::Server;
use crate::wait;

/// How long nothing must change: longer than anything is kept that nobody needs.
const QUIET: Duration = Duration::from_secs(8);

/// The part a process has in a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The first process, that starts the others.
    Parent,
    /// The broker.
    Broker,
    /// The launcher.
    Launcher,
    /// The edge.
    Edge,
    /// The egress.
    Egress,
    /// The launcher's child that looks at what apps take.
    Background,
    /// A grain host, or another process the launcher forked.
    Host,
    /// A sandbox made ahead, that nothing runs in yet.
    Waiting,
    /// An app, inside its sandbox.
    App,
}

/// Which part each process of a server has now.
pub fn parts(server: &Server) -> BTreeMap<Process, Part> {
    let first = server.parent();
    let all = server.processes();
    let role = |process: &Process| {
        let command = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0).skip(1);
        words
            .next()
            .map(|word| String::from_utf8_lossy(word).into_owned())
    };
    let with_role: Vec<(Process, Option<String>)> =
        all.iter().map(|process| (*process, role(process))).collect();
    let is_child = |process: &Process| parent(process.pid) == Some(first.pid);
    with_role
        .into_iter()
        .map(|(process, role)| {
            let part = match role.as_deref() {
                _ if process == first => Part::Parent,
                Some("broker") => Part::Broker,
                // What has not begun another program yet goes by its maker's name.
                Some("launcher") if is_inside(process.pid) => Part::Waiting,
                _ if is_inside(process.pid) => Part::App,
                Some("launcher") if is_child(&process) => Part::Launcher,
                Some("edge") => Part::Edge,
                Some("egress") => Part::Egress,
                _ if name(process.pid) == "background" => Part::Background,
                _ => Part::Host,
            };
            (process, part)
        })
        .collect()
}

/// What there is of a server, to be compared with what there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residue {
    /// How many processes have each part.
    pub processes: BTreeMap<Part, usize>,
    /// Open descriptors of each part that is not a grain's.
    pub descriptors: BTreeMap<Part, usize>,
    /// Control groups below those of the server, whoever made them.
    pub groups: usize,
    /// Mounts the server's own processes see.
    pub mounts: usize,
    /// Different namespaces its processes live in.
    pub namespaces: usize,
    /// What lies in its runtime folder and, but for the inside of store, export and grains, in its data.
    pub files: BTreeSet<PathBuf>,
}

impl Residue {
    /// Looks at a server; `ever` are all the process ids it ever had, for control groups are called after them.
    pub fn of(server: &Server, ever: &BTreeSet<u32>) -> Self {
        let parts = parts(server);
        let mut seen = Self {
            processes: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            groups: groups(ever),
            mounts: 0,
            namespaces: 0,
            files: BTreeSet::new(),
        };
        let mut namespaces = BTreeSet::new();
        for (process, part) in &parts {
            *seen.processes.entry(*part).or_default() += 1;
            let proc = PathBuf::from(format!("/proc/{}", process.pid));
            if !matches!(part, Part::Host | Part::Waiting | Part::App) {
                let open = fs::read_dir(proc.join("fd")).map_or(0, Iterator::count);
                *seen.descriptors.entry(*part).or_default() += open;
                let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap_or_default();
                seen.mounts += mounts.lines().count();
            }
            let own = fs::read_dir(proc.join("ns")).into_iter().flatten().flatten();
            namespaces.extend(own.filter_map(|entry| fs::read_link(entry.path()).ok()));
        }
        seen.namespaces = namespaces.len();
        list(
            &server.folder().join("run"),
            server.folder(),
            usize::MAX,
            &mut seen.files,
        );
        for folder in ["data", "data/grains", "data/packages"] {
            list(&server.folder().join(folder), server.folder(), 1, &mut seen.files);
        }
        // An export is made when it is time for one, and is there for good.
        seen.files.remove(Path::new("data/export"));
        list(
            &server.folder().join("data/staging"),
            server.folder(),
            usize::MAX,
            &mut seen.files,
        );
        seen
    }

    /// What there is of a server in which no grain runs, once that has not changed for as long as [`QUIET`].
    pub fn at_rest(server: &Server, ever: &BTreeSet<u32>) -> Self {
        let mut before: Option<(Self, Instant)> = None;
        wait::until("the server to come to rest", || {
            // A pause is what shows that nothing changes.
            std::thread::sleep(QUIET / 32);
            let now = Self::of(server, ever);
            match &before {
                Some((seen, since)) if *seen == now => {
                    let sleeping = !now.processes.contains_key(&Part::App);
                    (sleeping && since.elapsed() >= QUIET).then_some(now)
                }
                _ => {
                    before = Some((now, Instant::now()));
                    None
                }
            }
        })
    }

    /// What is other than in `before`, in words; empty where nothing is.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, now: String, then: String| {
            if now != then {
                found.push(format!("{what}: {now} instead of {then}"));
            }
        };
        compare(
            "processes",
            format!("{:?}", self.processes),
            format!("{:?}", before.processes),
        );
        compare(
            "descriptors",
            format!("{:?}", self.descriptors),
            format!("{:?}", before.descriptors),
        );
        compare(
            "control groups",
            self.groups.to_string(),
            before.groups.to_string(),
        );
        compare("mounts", self.mounts.to_string(), before.mounts.to_string());
        compare(
            "namespaces",
            self.namespaces.to_string(),
            before.namespaces.to_string(),
        );
        let more: Vec<_> = self.files.difference(&before.files).collect();
        let less: Vec<_> = before.files.difference(&self.files).collect();
        for (files, are) in [(more, "new"), (less, "gone")] {
            if let Some(first) = files.first() {
                found.push(format!(
                    "files: {} are {are}, {} for one",
                    files.len(),
                    first.display()
                ));
            }
        }
        found
    }
}

/// Control groups, in every hierarchy, of servers that had one of these process ids; those below them count too.
pub fn groups(ever: &BTreeSet<u32>) -> usize {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let places: BTreeSet<PathBuf> = own
        .lines()
        .flat_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let controller = parts.next().unwrap_or_default().trim_start_matches("name=");
            let path = parts.next().unwrap_or_default().trim_start_matches('/');
            let mount = Path::new("/sys/fs/cgroup").join(controller);
            [mount.clone(), mount.join(path)]
        })
        .collect();
    let ours = places.iter().flat_map(|place| {
        let inside = fs::read_dir(place).into_iter().flatten().flatten();
        inside.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let pid = name.strip_prefix("percloud-")?.parse().ok()?;
            ever.contains(&pid).then(|| entry.path())
        })
    });
    let mut found = BTreeMap::new();
    for group in ours {
        count(&group, &mut found);
    }
    found.len()
}

/// Counts a folder and the folders below it, each once.
fn count(folder: &Path, found: &mut BTreeMap<(u64, u64), ()>) {
    let Ok(metadata) = fs::symlink_metadata(folder) else {
        return;
    };
    if metadata.is_dir() && found.insert((metadata.dev(), metadata.ino()), ()).is_none() {
        let inside = fs::read_dir(folder).into_iter().flatten().flatten();
        inside.for_each(|entry| count(&entry.path(), found));
    }
}

fn list(folder: &Path, root: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        found.insert(path.strip_prefix(root).unwrap_or(&path).to_owned());
        if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&path, root, depth - 1, found);
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

/// What a process calls itself.
fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// Whether a process lives in a process namespace below ours.
fn is_inside(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1)
}

/// Numbers that only look random: the same seed gives the same run.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way each time for one seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}
