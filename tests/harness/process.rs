//! Finds processes through `/proc` and ends them by number.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`proc_pid_stat(5)`, field 22).
    started: u64,
}

impl Process {
    /// The process with this number now.
    pub fn find(pid: u32) -> Option<Self> {
        let (state, _, started) = stat(pid)?;
        (state != 'Z').then_some(Process { pid, started })
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_running(&self) -> bool {
        Process::find(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// What it was started with, its name first.
    pub fn arguments(&self) -> Vec<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }

    /// Ends it as `kill -9` does. Nothing happens when it has ended already.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Asks it to end as `kill` does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, signal: &str) {
        if self.is_running() {
            let mut kill = Command::new("kill");
            let _ = kill
                .args(["-s", signal, &self.pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// `pid` and everything it started, directly or not.
pub fn tree(pid: u32) -> BTreeSet<Process> {
    let parents: Vec<(u32, u32)> = pids()
        .filter_map(|pid| stat(pid).map(|(_, parent, _)| (pid, parent)))
        .collect();
    let mut found = BTreeSet::new();
    let mut pending = vec![pid];
    while let Some(pid) = pending.pop() {
        if let Some(process) = Process::find(pid)
            && found.insert(process)
        {
            pending.extend(
                parents
                    .iter()
                    .filter(|(_, parent)| *parent == pid)
                    .map(|(child, _)| *child),
            );
        }
    }
    found
}

/// Every process whose first environment held `variable=value`: also those that have lost their parent.
pub fn marked(variable: &str, value: &str) -> BTreeSet<Process> {
    let mark = format!("{variable}={value}");
    pids()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == mark.as_bytes())
        })
        .filter_map(Process::find)
        .collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// State, parent and start time.
fn stat(pid: u32) -> Option<(char, u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses and spaces included.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((state, parent, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_in_the_tree_until_it_ends() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::find(child.id()).unwrap();
        assert!(tree(std::process::id()).contains(&process));
        process.kill();
        child.wait().unwrap();
        assert!(!process.is_running());
        assert!(!tree(std::process::id()).contains(&process));
    }

    #[test]
    fn a_mark_in_the_environment_is_found() {
        let mark = format!("mark-{}", std::process::id());
        let mut child = Command::new("sleep")
            .arg("600")
            .env("PERCLOUD_TEST_MARK", &mark)
            .spawn()
            .unwrap();
        // The environment is the parent's until the child has called exec.
        crate::wait::until("the child's environment", || {
            (marked("PERCLOUD_TEST_MARK", &mark).len() == 1).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(marked("PERCLOUD_TEST_MARK", &mark).is_empty());
    }
}
