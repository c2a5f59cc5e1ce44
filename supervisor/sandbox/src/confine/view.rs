//! Leaves a process nothing of the machine's files but one folder.
//!
//! Landlock bounds files and not sockets that have a path (before Linux 7.1): a process that may make UNIX sockets may talk
//! to every service of the machine whose socket lets its user in, and as root that is every one. What it cannot see it
//! cannot name.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use rustix::thread::UnshareFlags;

use crate::ids;
use crate::sys::{self, Errno};

/// Moves this process into a file system with `folder` in its place and nothing else. The folder's path must be absolute,
/// its own and without links. It changes with what others do in the folder; nothing can be mounted over it.
pub(super) fn only(folder: &Path) -> Result<(), Errno> {
    ids::own_namespace(UnshareFlags::NEWNS)?;
    // What is mounted here from now on is nobody else's business.
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", flags)?;
    let shown = rustix::mount::open_tree(
        CWD,
        folder,
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    sys::set_attributes(
        shown.as_fd(),
        sys::Attributes {
            no_suid: true,
            no_dev: true,
            no_exec: true,
            ..sys::Attributes::default()
        },
    )?;

    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"size", "64k")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"nr_inodes", "128")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut place = rustix::fs::openat(&root, c".", path, Mode::empty())?;
    for component in folder.components() {
        if let Component::Normal(name) = component {
            rustix::fs::mkdirat(&place, name.as_bytes(), Mode::RWXU)?;
            place = rustix::fs::openat(&place, name.as_bytes(), path | OFlags::NOFOLLOW, Mode::empty())?;
        }
    }
    let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let old = rustix::fs::open(c"/", path, Mode::empty())?;
    rustix::mount::move_mount(&root, c"", &old, c"", onto)?;
    rustix::mount::move_mount(&shown, c"", &place, c"", onto)?;
    // The old root ends up on top of the new one (pivot_root(2)) and is taken from there.
    rustix::process::fchdir(&root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::process::fchdir(&old)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")?;
    let locked = sys::Attributes {
        read_only: true,
        ..sys::Attributes::default()
    };
    sys::set_attributes(root.as_fd(), locked)
}
