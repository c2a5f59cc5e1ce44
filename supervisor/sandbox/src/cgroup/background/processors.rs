//! One processor that apps in the background leave alone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::{Place, place};
use super::put;

/// How an app is kept off one processor.
pub(super) enum Processors {
    /// There is only one, or no controller for it.
    Shared,
    /// Version 2: by what is written into its group in this directory.
    Own(PathBuf),
    /// Version 1: by moving its processes, which `members` lists, to the group `there` and back.
    Moved {
        members: PathBuf,
        there: PathBuf,
        entry: File,
        exit: File,
    },
}

impl Processors {
    /// How it is done in `place`, where `members` has a group for each app that lists its processes.
    pub(super) fn of(place: &Place, members: PathBuf) -> Self {
        let found = match place {
            Place::Unified(base) => {
                let given = fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
                place::lists(&given, "cpuset").then(|| Processors::Own(base.clone()))
            }
            Place::Separate { cpuset, .. } => cpuset.as_ref().and_then(|there| {
                let open = |group: &Path| File::options().write(true).open(group.join("cgroup.procs"));
                Some(Processors::Moved {
                    members,
                    there: there.clone(),
                    entry: open(there).ok()?,
                    exit: open(there.parent()?).ok()?,
                })
            }),
        };
        found.unwrap_or(Processors::Shared)
    }

    /// Version 1: where the processes of apps are listed.
    pub(super) fn members(&self) -> Option<&Path> {
        match self {
            Processors::Moved { members, .. } => Some(members),
            _ => None,
        }
    }

    /// Version 1: the group that apps are moved to.
    pub(super) fn there(&self) -> Option<&Path> {
        match self {
            Processors::Moved { there, .. } => Some(there),
            _ => None,
        }
    }

    /// Takes the first processor from the app with the group `name`, and from all it has started. What is not done
    /// when it is `until` is left for the next time.
    pub(super) fn take_one(&self, name: &str, until: Instant) {
        match self {
            Processors::Shared => {}
            Processors::Own(base) => {
                if let Some(most) = all(base).and_then(|all| all_but_one(&all)) {
                    let _ended = put(&base.join(name).join(FILE), &most);
                }
            }
            Processors::Moved { entry, .. } => {
                let _later = moved(entry, until, || self.members_that(name, |is_there| !is_there));
            }
        }
    }

    /// Gives it back. Returns whether everything of the app has it.
    pub(super) fn give_back(&self, name: &str, until: Instant) -> bool {
        match self {
            Processors::Shared => true,
            Processors::Own(base) => {
                // Not emptied: the kernel refuses that while a process is inside (ENOSPC).
                let _ended = all(base).map(|all| put(&base.join(name).join(FILE), &all));
                true
            }
            Processors::Moved { exit, .. } => {
                moved(exit, until, || self.members_that(name, |is_there| is_there))
            }
        }
    }

    /// Whether something of the app is kept off it.
    pub(super) fn have_taken_one(&self, name: &str) -> bool {
        match self {
            Processors::Shared => false,
            Processors::Own(base) => {
                let own = fs::read_to_string(base.join(name).join(FILE)).unwrap_or_default();
                !own.trim().is_empty() && Some(own.trim()) != all(base).as_deref()
            }
            Processors::Moved { .. } => !self.members_that(name, |is_there| is_there).is_empty(),
        }
    }

    /// Version 1: processes of an app, by whether they were moved.
    fn members_that(&self, name: &str, wanted: impl Fn(bool) -> bool) -> Vec<String> {
        let Processors::Moved { members, there, .. } = self else {
            return Vec::new();
        };
        let list = |group: &Path| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let there = list(there);
        let there: HashSet<_> = there.lines().collect();
        let members = list(&members.join(name));
        let wanted = members.lines().filter(|process| wanted(there.contains(process)));
        wanted.map(str::to_owned).collect()
    }
}

/// Version 2: the processors of a group.
const FILE: &str = "cpuset.cpus";

/// Version 2: the processors there are for all apps.
fn all(base: &Path) -> Option<String> {
    let text = fs::read_to_string(base.join("cpuset.cpus.effective")).ok()?;
    Some(text.trim().to_owned())
}

/// Moves processes through `door`, one by one, until none is `left`; returns whether that is so before it is `until`.
/// Asks anew before each: one that has not been moved may have started others, and the number of one that has ended may be
/// a stranger's soon.
fn moved(door: &File, until: Instant, left: impl Fn() -> Vec<String>) -> bool {
    let mut tried = HashSet::new();
    loop {
        let left = left();
        if left.is_empty() {
            return true;
        }
        let next = left.into_iter().find(|process| !tried.contains(process));
        match next.filter(|_| Instant::now() < until) {
            Some(process) => {
                let _ended = door.write_at(process.as_bytes(), 0);
                tried.insert(process);
            }
            None => return false,
        }
    }
}

/// The processors of a list that the kernel wrote (`0-3,7`; cpuset(7), "List format"), without the first of them; `None` where none is left.
pub(in crate::cgroup) fn all_but_one(list: &str) -> Option<String> {
    let (first, rest) = list
        .split_once(',')
        .map_or((list, None), |(first, rest)| (first, Some(rest)));
    let (low, high) = first.split_once('-').unwrap_or((first, first));
    let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
    let others = (low < high).then(|| format!("{}-{high}", low + 1));
    let left: Vec<_> = others.as_deref().into_iter().chain(rest).collect();
    (!left.is_empty()).then(|| left.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_is_left_out() {
        for (all, most) in [
            ("0-1", Some("1-1")),
            ("0-3", Some("1-3")),
            ("0-3,7", Some("1-3,7")),
            ("2,5-6", Some("5-6")),
            ("0,1", Some("1")),
            ("0", None),
            ("", None),
            ("3-3", None),
            ("a-b", None),
            ("4294967295-4294967295", None),
        ] {
            assert_eq!(all_but_one(all).as_deref(), most, "{all}");
        }
    }
}
