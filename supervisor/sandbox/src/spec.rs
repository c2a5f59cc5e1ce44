//! What a sandbox is made of: the request the broker sends and [`crate::start`] carries out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One app to start, and the sandbox to start it in.
///
/// Paths are the server's own and absolute; nothing in `package` or `var` is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSpec {
    /// The unpacked package: becomes the root directory, read-only.
    pub package: PathBuf,
    /// The grain's storage: becomes `/var`, where the package has a directory of that name.
    pub var: PathBuf,
    /// Program and arguments. The first is executed as it is, without a search path (sheet 3.2).
    pub argv: Vec<String>,
    /// The whole environment; nothing is added to it.
    pub environ: Vec<(String, String)>,
    /// Which system calls are answered.
    pub policy: Policy,
    /// Brings up the private `lo` (127.0.0.1 and ::1). Costs about 0.1 ms, so only for apps that listen on it.
    pub loopback: bool,
    /// Records refused system calls, at the price of a round trip through the host for each: for `percloud try`.
    pub record_refused: bool,
    /// Upper bounds of the app's consumption.
    #[serde(default)]
    pub limits: Limits,
    /// The storage holds more than it may: what is there can be read and removed, and nothing written.
    #[serde(default)]
    pub full: bool,
    /// Whether a control group is wanted.
    #[serde(default)]
    pub cgroup: CgroupMode,
    /// Starts, with a warning, on a kernel without a usable Landlock. Off unless the person running the server said
    /// so in as many words.
    #[serde(default)]
    pub allow_without_landlock: bool,
}

impl SandboxSpec {
    /// Returns a specification with the strictest policy, no loopback and the default limits.
    pub fn new(package: impl Into<PathBuf>, var: impl Into<PathBuf>, argv: Vec<String>) -> Self {
        Self {
            package: package.into(),
            var: var.into(),
            argv,
            environ: Vec::new(),
            policy: Policy::Native,
            loopback: false,
            record_refused: false,
            limits: Limits::default(),
            full: false,
            cgroup: CgroupMode::default(),
            allow_without_landlock: false,
        }
    }
}

/// Which system call rules an app runs under. Refused calls answer an error; none kills the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The deny list Sandstorm packages were tested against (sheet 3.7), closed against calls newer than that list.
    Sandstorm,
    /// The allow list for packages built for Percloud.
    Native,
}

/// Upper bounds of one app. A control group enforces memory and processes for the whole tree; without one, memory
/// falls back to a bound per process and [`crate::App::warnings`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory of the whole tree, its temporary files included, in bytes.
    pub memory: u64,
    /// What of it may lie in swap on top of that, in bytes, where the machine has swap. Some, so that an idle app can be
    /// put aside; not much, for an app that fills it keeps the disk busy for all.
    pub swap: u64,
    /// Processes and threads of the whole tree.
    pub pids: u32,
    /// Its share of processor and disk while others want them too, 1 to 10,000; the usual one is 100.
    pub weight: u32,
    /// Processor time it gets at most, in percent of one processor; none sets no bound.
    pub processors: Option<u32>,
    /// Longest file it can write, in bytes.
    pub file_bytes: u64,
    /// Open files of each process, soft bound. Sheet 3.2.
    pub nofile_soft: u64,
    /// Open files of each process, hard bound. Sheet 3.2.
    pub nofile_hard: u64,
    /// Size of `/tmp` in bytes. Sandstorm gives 16 MiB; packages may need no less.
    pub tmp_bytes: u64,
    /// Inodes of `/tmp`.
    pub tmp_inodes: u64,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: u64,
    /// Inodes of `/dev/shm`.
    pub shm_inodes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            swap: 128 << 20,
            pids: 512,
            weight: 100,
            processors: None,
            file_bytes: 10_000_000_000,
            nofile_soft: 1024,
            nofile_hard: 4096,
            tmp_bytes: 64 << 20,
            tmp_inodes: 4096,
            shm_bytes: 16 << 20,
            shm_inodes: 4096,
        }
    }
}

impl Limits {
    /// Whether mounts that keep these limits keep those of `other` too. The others can be changed later.
    pub(crate) fn mounts_like(&self, other: &Self) -> bool {
        let sizes = |limits: &Self| {
            (
                limits.tmp_bytes,
                limits.tmp_inodes,
                limits.shm_bytes,
                limits.shm_inodes,
            )
        };
        sizes(self) == sizes(other)
    }
}

/// Whether an app gets a control group of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupMode {
    /// Where the machine lets us; else a warning.
    #[default]
    Auto,
    /// Never: the caller bounds the app by other means.
    Off,
    /// Starting fails without one.
    Required,
}
