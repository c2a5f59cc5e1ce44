//! Assembles the app's file system (sheet 3.3) and leaves the server's.
//!
//! Packages are hostile. Each mount point is opened inside the package mount without following any symbolic link, and
//! the mount is put on that descriptor, never on a path. What is not a directory in the package gets no mount.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::Step;
use crate::spec::Limits;
use crate::sys::{self, Attributes, Errno};

use super::child::{Failure, at};
use super::plan::Sources;
use super::report::{self, Warning};

/// Where a mount comes from.
pub(super) enum Source {
    /// A tree the host detached, with owners translated: the host is root.
    Tree(OwnedFd),
    /// A path. An ordinary user may detach nothing outside a namespace of its own, so the new process does.
    Path(CString),
}

impl Source {
    pub(super) fn path(bytes: &[u8]) -> Self {
        // A path that was opened has no NUL byte in it.
        Self::Path(CString::new(bytes).unwrap_or_default())
    }

    /// The host's tree, to be handed over.
    pub(super) fn tree(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tree(tree) => Some(tree.as_fd()),
            Self::Path(_) => None,
        }
    }

    /// Returns this as a mount that is not attached anywhere yet: the host's, as it was handed over, or one made here.
    fn detach(
        &self,
        handed: &mut impl Iterator<Item = OwnedFd>,
        attributes: Attributes<'static>,
    ) -> Result<OwnedFd, Errno> {
        match self {
            Self::Tree(_) => handed.next().ok_or(Errno::BADF),
            Self::Path(path) => {
                let tree = copy_of(path)?;
                sys::set_attributes(tree.as_fd(), attributes)?;
                Ok(tree)
            }
        }
    }
}

/// How the package is mounted: nothing in it can be changed, none of its programs gives rights.
pub(super) const PACKAGE: Attributes<'static> = Attributes {
    read_only: true,
    ..VAR
};

/// How the storage is mounted: writable, programs in it executable, for apps compile and install there (trap 7).
pub(super) const VAR: Attributes<'static> = Attributes {
    read_only: false,
    no_suid: true,
    no_dev: true,
    no_exec: false,
    ids: None,
};

/// The mounts that are the same for every app.
pub(super) struct Common {
    pub(super) tmp: OwnedFd,
    pub(super) dev: OwnedFd,
    pub(super) shm: OwnedFd,
    below: Below,
}

/// What lies under the package when it becomes the root.
enum Below {
    /// The server's files, which have to go.
    Server,
    /// Nothing that could be seen or changed. The file was taken along.
    Void { cpuinfo: OwnedFd },
}

/// Makes what is the same for every app, and leaves the server's files if nothing of them is needed any more: the kernel
/// looks at every process there is, and waits for every processor, which takes longer than all other mounts.
pub(super) fn prepare(limits: &Limits, leave: bool) -> Result<Common, Failure> {
    let tmp = fresh(limits.tmp_bytes, limits.tmp_inodes, "0770").map_err(at(Step::Tmp))?;
    let (dev, shm) = devices(limits)?;
    let below = match leave {
        true => enter_void(&dev)?,
        false => Below::Server,
    };
    Ok(Common { tmp, dev, shm, below })
}

/// Makes an empty directory the root.
fn enter_void(dev: &OwnedFd) -> Result<Below, Failure> {
    let cpuinfo = machine_cpuinfo().map_err(at(Step::Cpuinfo))?;
    let void = fresh(4 << 10, 4, "0555").map_err(at(Step::Root))?;
    let old = open_root().map_err(at(Step::Root))?;
    attach(void.as_fd(), old.as_fd(), c"").map_err(at(Step::Root))?;
    // It would go with the rest.
    rustix::fs::mkdirat(&void, c"dev", Mode::empty()).map_err(at(Step::Dev))?;
    attach(dev.as_fd(), void.as_fd(), c"dev").map_err(at(Step::Dev))?;
    let unchanging = Attributes {
        read_only: true,
        ..Attributes::default()
    };
    sys::set_attributes(void.as_fd(), unchanging).map_err(at(Step::Root))?;
    pivot(void.as_fd(), &old).map_err(at(Step::Pivot))?;
    Ok(Below::Void { cpuinfo })
}

/// Makes `root`, which is attached on the old root, the root, and lets go of the old one.
fn pivot(root: BorrowedFd<'_>, old: &OwnedFd) -> Result<(), Errno> {
    // pivot_root(2) with both names the same: the old root ends up on top of the new one, is unmounted from there,
    // and no directory for it is needed.
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::process::fchdir(old)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

fn open_root() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty())
}

/// Puts the package where the root was, and everything else into it. `handed` are the trees of `sources` the host detached.
pub(super) fn assemble(
    sources: &Sources,
    handed: Vec<OwnedFd>,
    common: Common,
    reports: &OwnedFd,
) -> Result<(), Failure> {
    let mut handed = handed.into_iter();
    // Attach the package on top of "/": pivot_root wants the new root on a mount of its own, and "/" is the one
    // directory every system has. What lies under it stays reachable by descriptor until the end.
    let root = sources
        .package
        .detach(&mut handed, PACKAGE)
        .map_err(at(Step::Package))?;
    let root = root.as_fd();
    let old = open_root().map_err(at(Step::Root))?;
    attach(root, old.as_fd(), c"").map_err(at(Step::Root))?;

    if let Some(point) = point(root, "var", reports, Warning::VarIsNoDirectory).map_err(at(Step::Var))? {
        let tree = sources.var.detach(&mut handed, VAR).map_err(at(Step::Var))?;
        attach(tree.as_fd(), point.as_fd(), c"").map_err(at(Step::Var))?;
    }
    if let Some(point) = point(root, "tmp", reports, Warning::TmpIsNoDirectory).map_err(at(Step::Tmp))? {
        attach(common.tmp.as_fd(), point.as_fd(), c"").map_err(at(Step::Tmp))?;
    }
    if let Some(point) = point(root, "dev", reports, Warning::DevIsNoDirectory).map_err(at(Step::Dev))? {
        attach(common.dev.as_fd(), point.as_fd(), c"").map_err(at(Step::Dev))?;
    }
    // Some runtimes count processors there and nowhere else.
    if let Some(file) = cpuinfo(root).map_err(at(Step::Cpuinfo))? {
        let own;
        let tree = match &common.below {
            Below::Void { cpuinfo } => cpuinfo,
            Below::Server => {
                own = machine_cpuinfo().map_err(at(Step::Cpuinfo))?;
                &own
            }
        };
        attach(tree.as_fd(), file.as_fd(), c"").map_err(at(Step::Cpuinfo))?;
    }
    match common.below {
        Below::Server => pivot(root, &old).map_err(at(Step::Pivot)),
        // What lies below is as empty as what one would get by leaving it, and out of reach without the capability.
        Below::Void { .. } => rustix::process::fchdir(root)
            .and_then(|()| rustix::process::chroot(c"."))
            .map_err(at(Step::Pivot)),
    }
}

/// Copies the machine's `/proc/cpuinfo`, to be read.
fn machine_cpuinfo() -> Result<OwnedFd, Errno> {
    let tree = copy_of(c"/proc/cpuinfo")?;
    let locked = Attributes {
        read_only: true,
        no_suid: true,
        no_dev: true,
        no_exec: true,
        ids: None,
    };
    sys::set_attributes(tree.as_fd(), locked)?;
    Ok(tree)
}

/// Opens the directory `name` of the package, to mount on. `None` if it has none.
fn point(
    root: BorrowedFd<'_>,
    name: &str,
    reports: &OwnedFd,
    warning: Warning,
) -> Result<Option<OwnedFd>, Errno> {
    match open_beneath(root, name, OFlags::DIRECTORY) {
        Ok(point) => Ok(Some(point)),
        Err(Errno::NOENT) => Ok(None),
        // A file, or a symbolic link to who knows where.
        Err(Errno::NOTDIR | Errno::LOOP) => {
            report::warn(reports, warning)?;
            Ok(None)
        }
        Err(errno) => Err(errno),
    }
}

/// Opens the package's `proc/cpuinfo`, if that is a plain file.
fn cpuinfo(root: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    match open_beneath(root, "proc/cpuinfo", OFlags::empty()) {
        Ok(file) => {
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
            Ok((kind == FileType::RegularFile).then_some(file))
        }
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn open_beneath(root: BorrowedFd<'_>, name: &str, extra: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | extra,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}

/// `/dev`: four devices and shared memory. No terminal, no random that blocks (trap 8). Kernels before 6.15 mount nothing
/// on what is detached, so it is put together on the machine's own `/dev`, in this namespace alone.
fn devices(limits: &Limits) -> Result<(OwnedFd, OwnedFd), Failure> {
    let names = [
        (c"null", c"/dev/null"),
        (c"zero", c"/dev/zero"),
        (c"random", c"/dev/urandom"),
        (c"urandom", c"/dev/urandom"),
    ];
    let dev = fresh(1 << 20, 16, "0755").map_err(at(Step::Dev))?;
    let mut trees = [const { None }; 4];
    for ((_, device), tree) in names.iter().zip(&mut trees) {
        *tree = Some(copy_of(device).map_err(at(Step::Device))?);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let machine = rustix::fs::open("/dev", flags, Mode::empty()).map_err(at(Step::Dev))?;
    attach(dev.as_fd(), machine.as_fd(), c"").map_err(at(Step::Dev))?;
    for ((name, _), tree) in names.iter().zip(trees.iter().flatten()) {
        // mknod is not for us; a bind of the host's device onto an empty file is.
        rustix::fs::openat(
            &dev,
            *name,
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::RUSR,
        )
        .map_err(at(Step::Device))?;
        attach(tree.as_fd(), dev.as_fd(), name).map_err(at(Step::Device))?;
    }
    rustix::fs::mkdirat(&dev, c"shm", Mode::RWXU).map_err(at(Step::Shm))?;
    let shm = fresh(limits.shm_bytes, limits.shm_inodes, "0770").map_err(at(Step::Shm))?;
    attach(shm.as_fd(), dev.as_fd(), c"shm").map_err(at(Step::Shm))?;
    sys::set_attributes(
        dev.as_fd(),
        Attributes {
            read_only: true,
            no_suid: true,
            no_exec: true,
            no_dev: true,
            ids: None,
        },
    )
    .map_err(at(Step::Dev))?;
    Ok((dev, shm))
}

/// Makes an empty tmpfs of bounded size.
fn fresh(bytes: u64, inodes: u64, mode: &str) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"size", bytes.to_string())?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"nr_inodes", inodes.to_string())?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"mode", mode)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// Copies the mount at `path`, without what is mounted below it.
fn copy_of(path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
    )
}

/// Attaches a detached mount on the directory or file `name` of `point`, or on `point` itself if `name` is empty.
/// A symbolic link as `name` is not followed.
fn attach(tree: BorrowedFd<'_>, point: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<(), Errno> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    rustix::mount::move_mount(tree, c"", point, name, flags)
}
