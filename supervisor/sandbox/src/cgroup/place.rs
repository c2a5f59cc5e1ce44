//! Finds where on this machine control groups may be made.

use std::fs;
use std::path::{Path, PathBuf};

use super::{PREFIX, Place, SUPERVISOR, remove_empty};

pub(super) fn find() -> Result<Place, String> {
    let base = format!("{PREFIX}{}", std::process::id());
    // A delegated group, or, for root where nobody delegates, the top of the hierarchy.
    let top = mount_of(|kind, _| kind == "cgroup2").map(|mount| mount.point);
    for own in unified().into_iter().chain(top) {
        let parent = if own.file_name().is_some_and(|name| name == SUPERVISOR) {
            own.parent().map(Path::to_owned).unwrap_or(own)
        } else {
            own
        };
        let given = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        if ["memory", "pids"]
            .iter()
            .all(|name| given.split_whitespace().any(|c| c == *name))
        {
            let base = parent.join(&base);
            make_base(&base)?;
            return match fs::write(base.join("cgroup.subtree_control"), "+memory +pids") {
                Ok(()) => Ok(Place::Unified(base)),
                Err(error) => {
                    remove_empty(&base);
                    Err(format!("{}: {error}", base.display()))
                }
            };
        }
    }
    let memory = own_group("memory")
        .ok_or("no memory controller is delegated to the server")?
        .join(&base);
    let pids = own_group("pids")
        .ok_or("no pids controller is delegated to the server")?
        .join(&base);
    make_base(&memory)?;
    if let Err(why) = make_base(&pids) {
        remove_empty(&memory);
        return Err(why);
    }
    Ok(Place::Separate { memory, pids })
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
    let path = membership(|controllers| controllers.is_empty())?;
    let mount = mount_of(|kind, _| kind == "cgroup2")?;
    mount.directory(&path)
}

/// Returns this process's version 1 group in the hierarchy of `controller`.
pub(super) fn own_group(controller: &str) -> Option<PathBuf> {
    let path = membership(|controllers| controllers.split(',').any(|c| c == controller))?;
    let mount = mount_of(|kind, options| kind == "cgroup" && options.split(',').any(|o| o == controller))?;
    mount.directory(&path)
}

/// Returns the path in the line of `/proc/self/cgroup` whose controller list `wanted` accepts (cgroups(7)).
fn membership(wanted: impl Fn(&str) -> bool) -> Option<String> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        wanted(controllers).then(|| path.to_owned())
    })
}

/// A mounted hierarchy: which part of it, and where.
struct Mount {
    root: String,
    point: PathBuf,
}

impl Mount {
    /// Returns where group `path` of the hierarchy is seen; `None` if the mount shows another part.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = if self.root == "/" {
            path
        } else {
            path.strip_prefix(&self.root)?
        };
        let directory = self.point.join(below.trim_start_matches('/'));
        directory.is_dir().then_some(directory)
    }
}

/// Finds the first mount whose type and super block options `wanted` accepts (proc(5), mountinfo).
fn mount_of(wanted: impl Fn(&str, &str) -> bool) -> Option<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    text.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        wanted(kind, options).then(|| Mount {
            root: root.to_owned(),
            point: PathBuf::from(point),
        })
    })
}
