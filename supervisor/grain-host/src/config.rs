//! What a grain host is given when it starts, and how it says that it ended.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Everything one grain host needs. Given once, by the child that built the sandbox.
pub struct Config {
    /// The grain's folder on the host's side, which is called by the grain's id: holds `sandbox/`, `log` and `log.1`.
    pub grain_dir: PathBuf,
    /// The bound, listening Unix socket on which the edge presents its nonces.
    pub door: UnixListener,
    /// One end of the socket pair whose other end the broker holds.
    pub broker: OwnedFd,
    /// The running app.
    pub app: AppHandles,
    /// What its storage may take.
    pub storage: Storage,
    /// How long a grain nobody uses is kept, at least; it dies after one to two times as much (sheet 3.4).
    pub idle: Duration,
    /// How long an app that has nothing to do goes on before it is held still (see [`Freezer`]).
    pub rest: Duration,
    /// What the app may take of this process.
    pub limits: Limits,
    /// The clock on the wall, for what the app wants done at a certain time.
    pub clock: fn() -> SystemTime,
}

/// The host's ends of the app's descriptors, and the app itself.
pub struct AppHandles {
    /// The other end of the app's file descriptor 3, a stream socket (sheet 3.1).
    pub rpc: OwnedFd,
    /// The reading end of the pipe that is the app's standard output and error.
    pub log: OwnedFd,
    /// The app's root process. Killing it ends its whole sandbox, being its first process.
    pub pidfd: OwnedFd,
    /// Asked for the system calls the app was refused, when the grain was started to record them.
    pub refused: Option<Box<dyn Fn() -> Vec<RefusedSyscall> + Send>>,
    /// Holds the app still while it has nothing to do; `None` where the machine has nothing for that.
    pub freezer: Option<Box<dyn Freezer + Send>>,
    /// The group that counts what the app takes; none where the machine has none.
    pub group: Option<Group>,
}

/// Holds every process of the app still, and lets them go on. Neither waits for anything.
pub trait Freezer {
    /// Has the app stand still, soon.
    ///
    /// # Errors
    /// Where that is not to be had; the app goes on then.
    fn freeze(&self) -> io::Result<()>;
    /// Lets the app go on.
    ///
    /// # Errors
    /// When it may stand still for good: then it is to be ended.
    fn thaw(&self) -> io::Result<()>;
    /// Whether all of the app stands still, whoever holds it: not the host alone may.
    ///
    /// # Errors
    /// Where the kernel does not say; it counts as going on then.
    fn is_frozen(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// The processor time the app has taken so far.
    ///
    /// # Errors
    /// Where nobody counts it.
    fn processor_time(&self) -> io::Result<Duration>;
    /// The memory that is counted as the app's, in bytes.
    ///
    /// # Errors
    /// Where nobody counts it.
    fn memory(&self) -> io::Result<u64>;
}

/// Counts what an app takes.
pub struct Group {
    /// Reads every counter.
    pub read: Box<dyn Fn() -> Reading + Send>,
    /// The most files any one of its processes has open, if the kernel says.
    pub open_files: Box<dyn Fn() -> Option<u64> + Send>,
    /// How many files a process may have open: at first, and if it asks for more.
    pub most_files: [u64; 2],
    /// Files that a poll for exceptional conditions finds ready when a counter of refusals has changed.
    pub told: Vec<OwnedFd>,
}

/// What an app takes, and what it was refused since it was started; `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Memory in use in bytes, caches of files included.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processor time used so far.
    pub processor: Option<Duration>,
    /// How many of its processes were killed for want of memory.
    pub memory_kills: Option<u64>,
    /// How often it was refused a process or thread.
    pub processes_refused: Option<u64>,
}

/// What a grain's storage may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Bytes on disk, the log included.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
    /// It is above that already: the app was started so that it can read and delete, and no more.
    pub is_full: bool,
}

/// What an app may run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Bytes of its storage.
    Disk,
    /// Files of its storage.
    Files,
    /// Words in its log.
    Log,
    /// Processor time, without a break.
    Processor,
    /// Files a process may have open.
    OpenFiles,
    /// Calls it may make before it takes answers.
    Calls,
    /// Patience: it says nothing, and somebody waits for it.
    Answers,
}

/// A system call the sandbox refused the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSyscall {
    /// Its number on this machine's architecture.
    pub number: u32,
    /// Its name; empty when unknown.
    pub name: String,
    /// How often it was refused.
    pub count: u32,
}

/// Bounds on what peers make a grain host do and hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message of the app, in words of 8 bytes (sheet 3.1: 8 Mi words).
    pub message_words: usize,
    /// Words of calls from the app that may be unanswered before no more are read (sheet 3.1: 1 Mi words).
    pub call_words: usize,
    /// Calls of one peer that may be unanswered before no more are read.
    pub calls: usize,
    /// Capabilities one peer may have handed over and not got back. More end the connection.
    pub capabilities: usize,
    /// Bytes waiting to be sent to a peer before new calls towards it are refused as overloaded.
    pub queued_bytes: usize,
    /// How long a peer may read nothing while others wait for the app.
    pub stall: Duration,
    /// Connections to the door at a time, each with one session of somebody; when all are taken, who has been quiet for
    /// longest gives way. Other grains may have half of them.
    pub door_connections: usize,
    /// How long an app may take to open a session, its own start included.
    pub session_timeout: Duration,
    /// How long an app may take to describe itself before it is taken for one that does not.
    pub view_info_timeout: Duration,
    /// How long an app, or a grain that has what it asks for, may take to save an object or bring one back.
    pub object_timeout: Duration,
    /// Sessions and capabilities of others a grain may hold at a time.
    pub references: usize,
    /// Other grains a grain may hold objects of at a time.
    pub neighbours: usize,
    /// How long an app that closed descriptor 3 may take to exit by itself (sheet 3.2).
    pub farewell: Duration,
    /// How long a nonce may wait at the door.
    pub nonce_lifetime: Duration,
    /// Bytes `log` may grow to before it becomes `log.1` (sheet 3.5).
    pub log_bytes: u64,
    /// Bytes a second of log that are kept in the long run; what comes faster is left out.
    pub log_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_words: 8 << 20,
            call_words: 1 << 20,
            calls: 4096,
            capabilities: 16 << 10,
            queued_bytes: 32 << 20,
            stall: Duration::from_secs(5),
            door_connections: 256,
            session_timeout: Duration::from_secs(60),
            view_info_timeout: Duration::from_secs(30),
            object_timeout: Duration::from_secs(30),
            references: 4096,
            neighbours: 128,
            farewell: Duration::from_secs(1),
            nonce_lifetime: Duration::from_secs(10),
            log_bytes: 512 << 10,
            log_rate: 1 << 20,
        }
    }
}

/// Why a grain host is done. The app is dead when this is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// A sentence for the log and the grain's page.
    pub reason: String,
    /// Whether that was asked for: by the broker, or by nobody using the grain.
    pub asked: bool,
    /// The limit that ended it.
    pub limit: Option<Limit>,
}
