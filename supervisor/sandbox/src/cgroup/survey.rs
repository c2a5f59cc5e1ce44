//! Looks at what control groups a server started here could make, and makes none.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::place;

/// Which kind of control groups a server started like this process would use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 2, in a group that is delegated to it.
    Unified,
    /// Version 1, a hierarchy for each controller.
    Separate,
}

/// What a server started like this process finds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The kind and directories it would make groups in; or why it can make none.
    pub groups: Result<(Version, Vec<PathBuf>), String>,
    /// Each controller the server knows a use for, and whether groups of its own can have it.
    pub controllers: Vec<(&'static str, bool)>,
}

/// The controllers reported, by their names in version 2 (`freezer` is part of every group there, and used of version 2 alone).
const CONTROLLERS: [&str; 6] = ["memory", "pids", "cpu", "cpuset", "io", "freezer"];

/// Looks. The answer is for a process in this one's control group, with this one's rights.
pub fn survey() -> Survey {
    match unified() {
        Some(Ok((parent, controllers))) => Survey {
            controllers: CONTROLLERS
                .map(|name| (name, name == "freezer" || place::lists(&controllers, name)))
                .to_vec(),
            groups: Ok((Version::Unified, vec![parent])),
        },
        Some(Err(why)) => Survey {
            controllers: CONTROLLERS.map(|name| (name, false)).to_vec(),
            groups: Err(why),
        },
        None => separate(),
    }
}

/// The version 2 group the server would divide, and the controllers it could give away there. `None`: version 2 has none
/// of the controllers it needs, so it looks for version 1.
fn unified() -> Option<Result<(PathBuf, String), String>> {
    let read = |group: &Path, file| fs::read_to_string(group.join(file)).unwrap_or_default();
    if let Some(own) = place::unified() {
        // What `delegate` would do.
        let controllers = read(&own, "cgroup.controllers");
        let enough = ["memory", "pids"]
            .iter()
            .all(|name| place::lists(&controllers, name));
        let alone = read(&own, "cgroup.procs")
            .split_whitespace()
            .eq([std::process::id().to_string()]);
        let files = ["cgroup.subtree_control", "cgroup.procs"];
        if enough && alone && writable(&own) && files.iter().all(|file| writable(&own.join(file))) {
            return Some(Ok((own, controllers)));
        }
    }
    let parent = place::given()?;
    Some(if writable(&parent) {
        let given = read(&parent, "cgroup.subtree_control");
        Ok((parent, given))
    } else {
        Err(not_writable(&parent))
    })
}

/// Version 1: a group for each controller.
fn separate() -> Survey {
    let own = CONTROLLERS.map(|name| match name {
        "freezer" => (name, freezer()),
        "cpuset" => (name, cpuset()),
        name => (name, group_of(name)),
    });
    let controllers = own.iter().map(|(name, group)| (*name, group.is_ok()));
    let controllers = controllers.collect();
    let [(_, memory), (_, pids), ..] = own;
    Survey {
        controllers,
        groups: memory.and_then(|memory| Ok((Version::Separate, vec![memory, pids?]))),
    }
}

/// The version 2 group, which freezes without any controller.
fn freezer() -> Result<PathBuf, String> {
    let group = place::unified().ok_or_else(|| place::not_delegated("freezer"))?;
    if writable(&group) {
        Ok(group)
    } else {
        Err(not_writable(&group))
    }
}

/// The version 1 group of `cpuset`, if apps can be moved out of it and stay in those of other controllers.
fn cpuset() -> Result<PathBuf, String> {
    let group = group_of("cpuset")?;
    let others = ["memory", "pids", "cpu", "cpuacct"].map(place::own_group);
    if others.contains(&Some(group.clone())) {
        return Err("the controller cpuset is mounted together with others".to_owned());
    }
    Ok(group)
}

/// The version 1 group in which one with `controller` could be made.
fn group_of(controller: &'static str) -> Result<PathBuf, String> {
    let name = if controller == "io" { "blkio" } else { controller };
    let group = place::own_group(name).ok_or_else(|| place::not_delegated(controller))?;
    if writable(&group) {
        Ok(group)
    } else {
        Err(not_writable(&group))
    }
}

fn not_writable(group: &Path) -> String {
    format!("{} may not be written to", group.display())
}

pub(super) fn writable(path: &Path) -> bool {
    rustix::fs::accessat(
        rustix::fs::CWD,
        path,
        Access::WRITE_OK,
        rustix::fs::AtFlags::EACCESS,
    )
    .is_ok()
}
