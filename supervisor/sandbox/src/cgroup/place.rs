//! Finds where on this machine control groups may be made.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::background::all_but_one;
use super::settings::Controller;
use super::{Base, HIERARCHIES, OPTIONAL, PREFIX, Place, SUPERVISOR, remove_empty};
use crate::mountinfo;

/// What all apps together weigh against one thread of the server, which weighs 100, where both want the processor.
const APPS: u64 = 50;

pub(super) fn find() -> Result<Place, String> {
    let base = format!("{PREFIX}{}", std::process::id());
    if let Some(parent) = given() {
        let base = parent.join(&base);
        make_base(&base)?;
        return match fs::write(base.join("cgroup.subtree_control"), "+memory +pids") {
            Ok(()) => {
                // Apps can do without: `lacks` says what that means.
                for more in OPTIONAL {
                    let _ = fs::write(base.join("cgroup.subtree_control"), more);
                }
                // Which of the two for disks is heeded is the scheduler's choice, as for a group.
                for weight in ["cpu.weight", "io.weight", "io.bfq.weight"] {
                    let _ = fs::write(base.join(weight), APPS.to_string());
                }
                Ok(Place::Unified(base))
            }
            Err(error) => {
                remove_empty(&base);
                Err(format!("{}: {error}", base.display()))
            }
        };
    }
    let mut hierarchies: Vec<Base> = Vec::new();
    let mut made = || -> Result<(), String> {
        for (controller, name) in SEPARATE {
            if controller == Controller::Io && !disk_time_is_shared() {
                // Entering costs every start, and would change nothing.
                continue;
            }
            let Some(group) = own_group(name) else {
                match controller {
                    Controller::Memory | Controller::Pids => return Err(not_delegated(name)),
                    _ => continue,
                }
            };
            let directory = group.join(&base);
            // Controllers may share a hierarchy; cpu and cpuacct mostly do.
            if let Some(shared) = hierarchies.iter_mut().find(|base| base.directory == directory) {
                shared.controllers.push(controller);
                continue;
            }
            match make_base(&directory) {
                Ok(()) => hierarchies.push(Base {
                    controllers: vec![controller],
                    directory,
                }),
                Err(why) if matches!(controller, Controller::Memory | Controller::Pids) => return Err(why),
                Err(_) => {}
            }
        }
        Ok(())
    };
    let made = made();
    if let Err(why) = made {
        for base in &hierarchies {
            remove_empty(&base.directory);
        }
        return Err(why);
    }
    for base in hierarchies.iter().filter(|base| base.has(Controller::Cpu)) {
        let _ = fs::write(base.directory.join("cpu.shares"), (APPS * 1024 / 100).to_string());
    }
    // What cannot be frozen runs all the same. A process may be born only below a group whose list one may write to.
    let freezer = unified()
        .filter(|parent| super::survey::writable(&parent.join("cgroup.procs")))
        .map(|parent| parent.join(&base))
        .filter(|base| make_base(base).is_ok());
    let cpuset = own_group("cpuset")
        .map(|parent| parent.join(&base))
        // Where it is mounted together with others, moving to it would be moving out of those.
        .filter(|directory| hierarchies.iter().all(|base| base.directory != *directory))
        .filter(|base| make_cpuset(base).is_some() || !remove_empty(base));
    Ok(Place::Separate {
        hierarchies,
        freezer,
        cpuset,
    })
}

/// Version 1: makes a group whose processes run on all processors but one, with all memory.
fn make_cpuset(base: &Path) -> Option<()> {
    let all = |file| fs::read_to_string(base.parent()?.join(file)).ok();
    let most = all_but_one(all("cpuset.effective_cpus")?.trim())?;
    make_base(base).ok()?;
    fs::write(base.join("cpuset.mems"), all("cpuset.effective_mems")?).ok()?;
    fs::write(base.join("cpuset.cpus"), most).ok()
}

/// The hierarchies of version 1, those every app needs first. The processor comes last: who enters there gives up the time
/// it had left.
const SEPARATE: [(Controller, &str); HIERARCHIES] = [
    (Controller::Memory, "memory"),
    (Controller::Pids, "pids"),
    (Controller::Cpuacct, "cpuacct"),
    (Controller::Io, "blkio"),
    (Controller::Cpu, "cpu"),
];

/// Whether some disk of this machine divides its time by the shares of groups: the scheduler bfq does, and in version 2 the
/// cost model, where it is switched on (Documentation/admin-guide/cgroup-v2.rst, "IO Interface Files").
#[must_use]
pub fn disk_time_is_shared() -> bool {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut schedulers = disks.map(|disk| fs::read_to_string(disk.path().join("queue/scheduler")));
    let model = mount_of(|mount| mount.kind == "cgroup2").map(|mount| mount.point.join("io.cost.qos"));
    schedulers.any(|text| text.is_ok_and(|text| text.contains("[bfq]")))
        || model.is_some_and(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("enable=1")))
}

/// The version 2 group that gives the groups below it memory and pids: a delegated one, or, for root where nobody
/// delegates, the top of the hierarchy.
pub(super) fn given() -> Option<PathBuf> {
    let top = mount_of(|mount| mount.kind == "cgroup2").map(|mount| mount.point);
    unified()
        .into_iter()
        .chain(top)
        .map(above_supervisor)
        .find(|parent| {
            let given = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
            ["memory", "pids"].iter().all(|name| lists(&given, name))
        })
}

/// The group a server is to make groups in: not the leaf it may have moved itself to.
fn above_supervisor(own: PathBuf) -> PathBuf {
    if own.file_name().is_some_and(|name| name == SUPERVISOR) {
        own.parent().map(Path::to_owned).unwrap_or(own)
    } else {
        own
    }
}

/// Whether a list of controllers names `controller`.
pub(super) fn lists(text: &str, controller: &str) -> bool {
    text.split_whitespace().any(|name| name == controller)
}

pub(super) fn not_delegated(controller: &str) -> String {
    format!("no {controller} controller is delegated to the server")
}

fn make_base(path: &Path) -> Result<(), String> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Returns this process's version 2 group.
pub(super) fn unified() -> Option<PathBuf> {
    let path = own_membership(|controllers| controllers.is_empty())?;
    directory(&mount_of(|mount| mount.kind == "cgroup2")?, &path)
}

/// Returns this process's version 1 group in the hierarchy of `controller`.
pub(super) fn own_group(controller: &str) -> Option<PathBuf> {
    let path = own_membership(|controllers| controllers.split(',').any(|c| c == controller))?;
    let mount =
        mount_of(|mount| mount.kind == "cgroup" && mount.super_options.split(',').any(|o| o == controller))?;
    directory(&mount, &path)
}

fn own_membership(wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    membership(&fs::read("/proc/self/cgroup").ok()?, wanted)
}

/// Returns the path in the line of `text`, that of `/proc/self/cgroup`, whose controller list `wanted` accepts
/// (cgroups(7)).
fn membership(text: &[u8], wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let (controllers, path) = (std::str::from_utf8(fields.next()?).ok()?, fields.next()?);
        wanted(controllers).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
    })
}

/// Returns where group `path` of the hierarchy mounted by `mount` is seen.
fn directory(mount: &mountinfo::Mount, path: &Path) -> Option<PathBuf> {
    mount.shows(path).filter(|directory| directory.is_dir())
}

/// Finds the first mount that `wanted` accepts.
fn mount_of(wanted: impl Fn(&mountinfo::Mount) -> bool) -> Option<mountinfo::Mount> {
    let text = fs::read("/proc/self/mountinfo").ok()?;
    mountinfo::read(&text).into_iter().find(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_is_read_from_either_version() {
        let text = b"9:name=systemd:/a\n4:cpu,cpuacct:/b:c\n0::/user.slice\n";
        assert_eq!(membership(text, str::is_empty), Some("/user.slice".into()));
        let cpu = |list: &str| list.split(',').any(|name| name == "cpu");
        assert_eq!(
            membership(text, cpu),
            Some("/b:c".into()),
            "a name may have colons"
        );
        assert_eq!(membership(text, |list| list == "pids"), None);
    }

    #[test]
    fn a_membership_of_nonsense_is_none() {
        for text in [&b""[..], b"::", b"\xff:\xff:\xff", b"0", b"0:", b"\n\n\n"] {
            assert_eq!(
                membership(text, |list| list == "pids"),
                None,
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }
}
