//! What the host prepares before the clone: the new process should neither allocate much nor fail without a name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cgroup;
use crate::error::{StartError, Step};
use crate::ids::{Ids, ids, own};
use crate::seccomp::{self, Program};
use crate::spec::{CgroupMode, Limits, SandboxSpec};
use crate::sys::{self, Attributes, CStrings, Errno};

use super::root::{self, Source};

/// Refuses what no machine can carry out.
fn check(spec: &SandboxSpec) -> Result<(), StartError> {
    let unusable = |what: String| Err(StartError::Spec(what));
    if spec.argv.first().is_none_or(String::is_empty) {
        return unusable("argv names no program".to_owned());
    }
    for path in [&spec.package, &spec.var] {
        if !path.is_absolute() {
            return unusable(format!("{} is not an absolute path", path.display()));
        }
    }
    if spec
        .environ
        .iter()
        .any(|(name, _)| name.is_empty() || name.contains('='))
    {
        return unusable("an environment variable has no usable name".to_owned());
    }
    Ok(())
}

/// What the new process is made for before it is known which app it will be.
pub(super) struct Ground {
    pub(super) ids: &'static Ids,
    pub(super) cgroup: CgroupMode,
    pub(super) limits: Limits,
    /// Whether the order comes later: then nothing is left for the last moment.
    pub(super) ahead: bool,
}

impl Ground {
    /// For an app with the default limits.
    pub(super) fn for_any() -> Self {
        Self {
            ids: ids(),
            cgroup: CgroupMode::Auto,
            limits: Limits::default(),
            ahead: true,
        }
    }

    /// Whether the server's files can be left before the order comes: its own part of them is handed over then.
    pub(super) fn leaves_server(&self) -> bool {
        self.ahead && self.ids.mounts().is_some()
    }

    /// Whether an app can be what `order` asks here.
    pub(super) fn suits(&self, order: &Order) -> bool {
        std::ptr::eq(self.ids, order.ids)
            && self.limits.mounts_like(&order.spec.limits)
            && match order.spec.cgroup {
                CgroupMode::Auto => true,
                CgroupMode::Required => cgroup::place().is_ok(),
                CgroupMode::Off => false,
            }
    }
}

/// Which app it is to be, in shapes that need no allocation after the clone.
pub(super) struct Order {
    pub(super) spec: SandboxSpec,
    pub(super) program: std::ffi::CString,
    pub(super) argv: CStrings,
    pub(super) environ: CStrings,
    pub(super) filter: &'static Program,
    pub(super) ids: &'static Ids,
    pub(super) grouped: bool,
    pub(super) sources: Sources,
    pub(super) warnings: Vec<String>,
}

impl Order {
    pub(super) fn new(spec: SandboxSpec) -> Result<Self, StartError> {
        check(&spec)?;
        let mut warnings = Vec::new();
        let (sources, ids) = Sources::find(&spec, &mut warnings)?;
        let nul = |_| StartError::Spec("a NUL byte in argv or environment".to_owned());
        let program = spec.argv.first().map(String::as_str).unwrap_or_default();
        let environ = spec.environ.iter().map(|(name, value)| format!("{name}={value}"));
        Ok(Self {
            program: std::ffi::CString::new(program).map_err(nul)?,
            argv: CStrings::new(spec.argv.iter().map(String::as_str)).map_err(nul)?,
            environ: CStrings::new(environ).map_err(nul)?,
            filter: seccomp::program(spec.policy, spec.record_refused),
            ids,
            grouped: spec.cgroup != CgroupMode::Off && cgroup::place().is_ok(),
            sources,
            warnings,
            spec,
        })
    }

    /// The ground for this app alone.
    pub(super) fn ground(&self) -> Ground {
        Ground {
            ids: self.ids,
            cgroup: self.spec.cgroup,
            limits: self.spec.limits,
            ahead: false,
        }
    }

    /// What the new process is handed: package and storage, where they are detached here.
    pub(super) fn trees(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [self.sources.package.tree(), self.sources.var.tree()]
    }
}

/// Both ends of every channel between host and app.
pub(super) struct Ends {
    pub(super) host: HostEnds,
    pub(super) app: AppEnds,
}

pub(super) struct HostEnds {
    pub(super) rpc: OwnedFd,
    pub(super) log: OwnedFd,
    pub(super) report: OwnedFd,
}

pub(super) struct AppEnds {
    pub(super) stdin: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) rpc: OwnedFd,
    pub(super) report: OwnedFd,
}

impl Ends {
    pub(super) fn new() -> Result<Self, Errno> {
        let stdin = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let (log, output) = pipe_with(PipeFlags::CLOEXEC)?;
        let (rpc, app_rpc) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let (report, app_report) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self {
            host: HostEnds { rpc, log, report },
            app: AppEnds {
                stdin: above_handed(stdin)?,
                output: above_handed(output)?,
                rpc: above_handed(app_rpc)?,
                report: above_handed(app_report)?,
            },
        })
    }
}

/// Moves a descriptor above 0 to 3, which the app gets and which may be free in the host.
fn above_handed(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 3 {
        Ok(fd)
    } else {
        rustix::io::fcntl_dupfd_cloexec(&fd, 4)
    }
}

/// Package and storage, found before the clone so that a missing one is named as such.
pub(super) struct Sources {
    pub(super) package: Source,
    pub(super) var: Source,
}

impl Sources {
    /// Finds both, and tells whose user the app will be: translated where the server is root and the file systems can
    /// translate, else the server's own, with a warning if that is root.
    pub(super) fn find(
        spec: &SandboxSpec,
        warnings: &mut Vec<String>,
    ) -> Result<(Self, &'static Ids), StartError> {
        // Opened even where the mount is made later, from the same path: an error here names the path.
        let package = open_directory(Step::Package, &spec.package)?;
        let var = open_directory(Step::Var, &spec.var)?;
        if let Some(namespace) = ids().mounts() {
            let as_mapped = |attributes| Attributes {
                ids: Some(namespace),
                ..attributes
            };
            let package = translated(Step::Package, &spec.package, &package, as_mapped(root::PACKAGE))?;
            let var = translated(Step::Var, &spec.var, &var, as_mapped(root::VAR))?;
            if let (Some(package), Some(var)) = (package, var) {
                return Ok((Self { package, var }, ids()));
            }
        }
        let ids = own();
        if matches!(ids, Ids::Own { uid: 0, .. }) {
            warnings.push(
                "apps run as the machine's root user, held by their namespaces only, since owners cannot be \
                 translated here (idmapped mounts): run the server as an ordinary user, or keep its data on ext4, \
                 xfs or btrfs"
                    .to_owned(),
            );
        }
        let source = |path: &Path| Source::path(path.as_os_str().as_bytes());
        Ok((
            Self {
                package: source(&spec.package),
                var: source(&spec.var),
            },
            ids,
        ))
    }
}

fn open_directory(step: Step, path: &Path) -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    opened.map_err(|errno| StartError::at(step, path.display().to_string(), errno))
}

/// Detaches a mount of `directory` whose owners are translated as `attributes` say. `None`: its file system cannot.
fn translated(
    step: Step,
    path: &Path,
    directory: &OwnedFd,
    attributes: Attributes<'_>,
) -> Result<Option<Source>, StartError> {
    match translated_tree(directory, attributes) {
        Ok(tree) => Ok(tree.map(Source::Tree)),
        Err(errno) => Err(StartError::at(step, path.display().to_string(), errno)),
    }
}

fn translated_tree(directory: &OwnedFd, attributes: Attributes<'_>) -> Result<Option<OwnedFd>, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let made = rustix::mount::open_tree(directory, c"", flags)
        .and_then(|tree| sys::set_attributes(tree.as_fd(), attributes).map(|()| tree));
    match made {
        Ok(tree) => Ok(Some(tree)),
        Err(Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether the file system of the directory `path` can translate owners as `ids` would have it; `None` if they have
/// nothing to translate.
pub(super) fn translates(path: &Path, ids: &Ids) -> Result<Option<bool>, Errno> {
    let Some(namespace) = ids.mounts() else {
        return Ok(None);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let attributes = Attributes {
        ids: Some(namespace),
        ..Attributes::default()
    };
    Ok(Some(translated_tree(&directory, attributes)?.is_some()))
}
