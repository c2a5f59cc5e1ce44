//! mount_setattr(2), which has no wrapper yet.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Errno, check};

/// Attributes a mount gains. None is ever taken away.
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes<'fd> {
    pub(crate) read_only: bool,
    pub(crate) no_suid: bool,
    pub(crate) no_dev: bool,
    pub(crate) no_exec: bool,
    /// A user namespace whose maps translate the owners of files on this mount.
    pub(crate) ids: Option<BorrowedFd<'fd>>,
}

/// Adds `attributes` to the mount `tree` refers to, and lets it go its own way; mounts below it keep theirs (Linux 5.12).
///
/// A copy of a shared mount, which with systemd every mount is, is its peer: whatever is mounted on the copy would be
/// mounted on the machine's own files too, and pivot_root(2) refuses a shared root.
pub(crate) fn set_attributes(tree: BorrowedFd<'_>, attributes: Attributes<'_>) -> Result<(), Errno> {
    let mut set = 0;
    for (wanted, bit) in [
        (attributes.read_only, libc::MOUNT_ATTR_RDONLY),
        (attributes.no_suid, libc::MOUNT_ATTR_NOSUID),
        (attributes.no_dev, libc::MOUNT_ATTR_NODEV),
        (attributes.no_exec, libc::MOUNT_ATTR_NOEXEC),
        (attributes.ids.is_some(), libc::MOUNT_ATTR_IDMAP),
    ] {
        if wanted {
            set |= bit;
        }
    }
    let argument = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: attributes.ids.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: the path is an empty NUL-terminated string (AT_EMPTY_PATH: the descriptor itself), `argument` is a
    // mount_attr of the size passed, and both outlive the call; the kernel only reads them.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const argument,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(|_| ())
}
