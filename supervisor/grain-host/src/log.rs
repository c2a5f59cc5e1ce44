//! The grain's log: what the app writes to its standard output and error, and what we have to say about it.
//!
//! A thread of its own reads the app's pipe, so that neither a flood of words nor a slow disk delays a call. Lines of
//! ours begin with `** PERCLOUD: `. What comes faster than the disk should bear is left out, and the log says so.

mod ring;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::config::Limits;
use ring::Ring;
pub(crate) use watch::Watch;
use watch::Watchers;

/// Bytes taken from the pipe at once.
const CHUNK: usize = 64 << 10;
/// What every line of ours begins with.
const OURS: &str = "** PERCLOUD: ";
/// The thread needs little more than its calls into the kernel.
const STACK: usize = 64 << 10;

/// The log of the running grain. Clones speak of the same log.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<State>>);

struct State {
    ring: Ring,
    watchers: Watchers,
    /// More came than is kept.
    flooded: bool,
}

/// The thread that reads the app's pipe.
pub(crate) struct Reader {
    thread: JoinHandle<()>,
    /// Dropped to say that the app is dead and nothing more will come.
    stop: OwnedFd,
}

impl Log {
    /// Opens the log in `dir` and reads `pipe` into it until told to stop.
    ///
    /// # Errors
    /// When the log cannot be opened or the thread cannot be started.
    pub(crate) fn open(dir: &Path, pipe: OwnedFd, limits: &Limits) -> io::Result<(Self, Reader)> {
        let state = State {
            ring: Ring::open(dir, limits.log_bytes)?,
            watchers: Watchers::default(),
            flooded: false,
        };
        let log = Self(Arc::new(Mutex::new(state)));
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let budget = Budget::new(
            limits.log_rate,
            limits.log_bytes.saturating_mul(2).max(CHUNK as u64),
        );
        let thread = {
            let log = log.clone();
            std::thread::Builder::new()
                .name("log".to_owned())
                .stack_size(STACK)
                .spawn(move || log.read(&pipe, &stopped, budget))?
        };
        Ok((log, Reader { thread, stop }))
    }

    /// Writes a line of ours.
    pub(crate) fn line(&self, text: impl Display) {
        let mut state = self.state();
        let start = if state.ring.ends_a_line() { "" } else { "\n" };
        let line = format!("{start}{OURS}{text}\n");
        state.append(line.as_bytes());
    }

    /// Replays up to `backlog` bytes and then follows; `None` when too many follow already. Reads from the disk.
    pub(crate) fn watch(&self, backlog: u64) -> Option<Watch> {
        let mut state = self.state();
        let past = state.ring.tail(backlog);
        state.watchers.add(past)
    }

    /// Whether the app wrote more than is kept.
    pub(crate) fn was_flooded(&self) -> bool {
        self.state().flooded
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic that would matter for words in a log.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, pipe: &OwnedFd, stopped: &OwnedFd, mut budget: Budget) {
        let mut chunk = vec![0; CHUNK];
        let mut left_out: u64 = 0;
        loop {
            match rustix::io::read(pipe, &mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    let kept = budget.take(count);
                    if kept > 0 && left_out > 0 {
                        self.line(format_args!("{left_out} bytes left out, more than is kept"));
                        left_out = 0;
                    }
                    self.state().append(&chunk[..kept]);
                    left_out += (count - kept) as u64;
                    if kept < count {
                        self.state().flooded = true;
                        // Reading on at once would let a flood take a core; like this the app waits instead.
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !wait(pipe, stopped) {
                        break;
                    }
                }
                Err(error) => {
                    self.line(format_args!("the app's words cannot be read any more: {error}"));
                    break;
                }
            }
        }
        if left_out > 0 {
            self.line(format_args!("{left_out} bytes left out, more than is kept"));
        }
    }
}

impl Reader {
    /// Has what is left in the pipe written, and ends the thread. Blocks, though never for long.
    pub(crate) fn finish(self) {
        drop(self.stop);
        // A panic there has been reported by the panic hook and costs nothing but words.
        let _panicked = self.thread.join();
    }
}

impl State {
    fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.ring.append(bytes);
            self.watchers.feed(bytes);
        }
    }
}

/// Waits until there is something to read; false when nothing will come any more.
fn wait(pipe: &OwnedFd, stopped: &OwnedFd) -> bool {
    let mut fds = [
        PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::empty()),
    ];
    match rustix::event::poll(&mut fds, None) {
        Ok(_) => !fds[0].revents().is_empty() || fds[1].revents().is_empty(),
        Err(Errno::INTR) => true,
        Err(_) => false,
    }
}

/// How many bytes may be kept: `rate` a second in the long run, `burst` at once.
struct Budget {
    rate: u64,
    burst: u64,
    left: u64,
    since: Instant,
}

impl Budget {
    fn new(rate: u64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            left: burst,
            since: Instant::now(),
        }
    }

    fn take(&mut self, wanted: usize) -> usize {
        let now = Instant::now();
        let earned = u128::from(self.rate) * now.duration_since(self.since).as_millis() / 1000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        // Small sums are left to grow, else they would be rounded away.
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.burst);
            self.since = now;
        }
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(wanted);
        self.left -= taken as u64;
        taken
    }
}
