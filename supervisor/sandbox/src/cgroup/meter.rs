//! Reads what an app takes, and how often it met a limit.
//!
//! The files are opened once, by whoever made the group, and read again and again: a grain host reads them after it has
//! given up every right to open anything.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Cgroup;

/// Longest file that is read, in bytes. `cpu.stat` has a dozen lines.
const LONGEST: usize = 2048;

/// The counters of one group, open.
#[derive(Debug)]
pub struct Meter {
    memory: Option<File>,
    processes: Option<File>,
    processor: Option<File>,
    /// Version 2: `memory.events`. Version 1: `memory.oom_control`.
    ends: Option<File>,
    /// Version 1 counts refusals of memory in a file of its own.
    refusals: Option<File>,
    forks: Option<File>,
    members: Option<File>,
    unified: bool,
}

/// What a group takes at the moment, and what it was refused since it was made; `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Memory in use in bytes, caches of files included.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processor time used so far.
    pub processor: Option<Duration>,
    /// How often memory was taken back, or refused, at the bound.
    pub memory_refused: Option<u64>,
    /// How many processes were killed for want of memory.
    pub memory_kills: Option<u64>,
    /// How often a process or thread was refused at the bound.
    pub processes_refused: Option<u64>,
}

impl Cgroup {
    /// Opens the counters of this group.
    #[must_use]
    pub fn meter(&self) -> Meter {
        let open = |name: &str| {
            let paths = self.directories.iter().map(|directory| directory.join(name));
            paths.into_iter().find_map(|path: PathBuf| File::open(path).ok())
        };
        // In version 2 the app is in the innermost, the last; in version 1 in every one.
        let innermost = self.directories.last();
        let (memory, processor, ends) = if self.unified {
            ("memory.current", "cpu.stat", "memory.events")
        } else {
            ("memory.usage_in_bytes", "cpuacct.usage", "memory.oom_control")
        };
        Meter {
            memory: open(memory),
            processes: open("pids.current"),
            processor: open(processor),
            ends: open(ends),
            refusals: if self.unified {
                None
            } else {
                open("memory.failcnt")
            },
            forks: open("pids.events"),
            members: innermost.and_then(|directory| File::open(directory.join("cgroup.procs")).ok()),
            unified: self.unified,
        }
    }
}

impl Meter {
    /// Reads every counter.
    #[must_use]
    pub fn read(&self) -> Reading {
        let number = |file: &Option<File>| read(file)?.trim().parse::<u64>().ok();
        let ends = read(&self.ends).unwrap_or_default();
        Reading {
            memory: number(&self.memory),
            processes: number(&self.processes),
            processor: if self.unified {
                read(&self.processor)
                    .and_then(|text| line(&text, "usage_usec"))
                    .map(Duration::from_micros)
            } else {
                number(&self.processor).map(Duration::from_nanos)
            },
            memory_refused: if self.unified {
                line(&ends, "max")
            } else {
                number(&self.refusals)
            },
            memory_kills: line(&ends, "oom_kill"),
            processes_refused: read(&self.forks).and_then(|text| line(&text, "max")),
        }
    }

    /// The most files any one of its processes has open (proc_pid_fd(5): since Linux 6.2 the size of that folder says how
    /// many). `None` where the kernel does not say. Looks at some three hundred processes.
    #[must_use]
    pub fn open_files(&self) -> Option<u64> {
        let members = read(&self.members)?;
        let open = |process| {
            let folder = fs::metadata(format!("/proc/{process}/fd"));
            folder.ok().map(|found| found.len())
        };
        processes(&members)
            .filter_map(open)
            .max()
            .filter(|most| *most > 0)
    }

    /// The files whose change the kernel tells a poll for exceptional conditions (POLLPRI): of processes, and, in version
    /// 2, of memory.
    pub fn told(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let memory = self.ends.as_ref().filter(|_| self.unified);
        memory.into_iter().chain(&self.forks).map(AsFd::as_fd)
    }
}

fn read(file: &Option<File>) -> Option<String> {
    let mut buffer = [0; LONGEST];
    let length = file.as_ref()?.read_at(&mut buffer, 0).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The processes in a file of one to a line, the last of which may be cut off.
fn processes(text: &str) -> impl Iterator<Item = u32> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| line.parse().ok())
}

/// The number behind `name` in a file of such lines.
pub(super) fn line(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_cut_off_is_none() {
        let found = |text| processes(text).collect::<Vec<_>>();
        assert_eq!(found("17\n4\n"), [17, 4]);
        assert_eq!(found("17\n4"), [17]);
        assert!(found("17").is_empty());
        assert!(found("").is_empty());
    }

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "low 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(line(text, "max"), Some(7));
        assert_eq!(line(text, "oom_kill"), Some(2));
        assert_eq!(line(text, "oom"), Some(3));
        assert_eq!(line(text, "high"), None);
        assert_eq!(line("max eleven", "max"), None);
    }
}
