//! Control groups that children left behind and that cannot be removed yet.

use std::time::{Duration, Instant};

use crate::cgroup;

/// The longest pause between two looks at a process that does not die, as behind a disk that does not answer.
const LONGEST: Duration = Duration::from_secs(1);

/// What may be left of children that have ended. Looking at all groups there are takes a while where many grains run.
pub(super) struct Unswept {
    /// Hosts, by process id.
    hosts: Vec<u32>,
    /// More than that: a launcher before this one, or a worker that failed and may have held an app still.
    all: bool,
    /// When to look again, and how long to wait after that.
    due: Instant,
    pause: Duration,
}

impl Unswept {
    /// Begins with what launchers before this one left.
    pub(super) fn new() -> Self {
        Self {
            hosts: Vec::new(),
            all: cgroup::sweep(),
            due: Instant::now(),
            pause: cgroup::SWEEP_AGAIN,
        }
    }

    /// Takes note of a host that has ended.
    pub(super) fn host(&mut self, pid: u32) {
        self.hosts.push(pid);
        self.at_once();
    }

    /// Takes note of an end that may have left anything.
    pub(super) fn anything(&mut self) {
        self.all = true;
        self.at_once();
    }

    fn at_once(&mut self) {
        self.due = Instant::now();
        self.pause = cgroup::SWEEP_AGAIN;
    }

    /// How long until there is something to look at again; `None` when nothing is left.
    pub(super) fn wait(&self) -> Option<Duration> {
        let is_something = self.all || !self.hosts.is_empty();
        is_something.then(|| self.due.saturating_duration_since(Instant::now()))
    }

    /// Removes what can be removed by now. A killed host's app takes a moment to die; its group cannot be removed before.
    pub(super) fn sweep(&mut self) {
        if self.wait() != Some(Duration::ZERO) {
            return;
        }
        self.hosts.retain(|&host| cgroup::sweep_after(host));
        self.all = self.all && cgroup::sweep();
        self.due = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
    }
}
