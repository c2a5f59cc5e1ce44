//! What processes cost, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};

use crate::failure::{Attempt, Failure};

/// A number that grows, of each of some processes.
#[derive(Debug)]
pub struct Counted(BTreeMap<u32, u64>);

impl Counted {
    /// By how much it has grown since, over those that were there both times: a sandbox that waits may be taken, and
    /// another made in its place.
    pub fn since(&self, before: &Self) -> u64 {
        let grown = |(pid, count): (&u32, &u64)| Some(count.saturating_sub(*before.0.get(pid)?));
        self.0.iter().filter_map(grown).sum()
    }
}

/// CPU time each of `pids` has used so far, in nanoseconds, all threads that live included.
///
/// From `schedstat`, which counts what ran; `stat` counts ticks of 10 ms, too coarse for a share of a short run.
pub fn cpu_nanoseconds(pids: &[u32]) -> Result<Counted, Failure> {
    over_threads(pids, "schedstat", |text| text.split(' ').next()?.parse().ok())
}

/// How often threads of each of `pids` have gone to sleep so far, all that live included.
pub fn sleeps(pids: &[u32]) -> Result<Counted, Failure> {
    over_threads(pids, "status", |text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse().ok()
    })
}

/// For each process that is there the sum of a number that `read` finds in `file` of its threads.
fn over_threads(pids: &[u32], file: &str, read: fn(&str) -> Option<u64>) -> Result<Counted, Failure> {
    let mut counted = BTreeMap::new();
    for pid in pids {
        let mut total = 0;
        let threads = match fs::read_dir(format!("/proc/{pid}/task")) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            threads => threads.attempt(|| format!("list the threads of {pid}"))?,
        };
        for thread in threads.flatten() {
            // A thread that ended meanwhile takes its share with it; those that serve do not end under load.
            let text = fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            total += read(&text).unwrap_or(0);
        }
        counted.insert(*pid, total);
    }
    Ok(Counted(counted))
}

/// Proportional set size of all of `pids`, in bytes: shared pages are split among those who share them.
pub fn pss_bytes(pids: &[u32]) -> Result<u64, Failure> {
    pids.iter()
        .map(|pid| kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:").map(|pss| pss * 1024))
        .sum()
}

/// Largest resident size of all of `pids` since [`forget_peak`], in bytes.
pub fn peak_bytes(pids: &[u32]) -> Result<u64, Failure> {
    pids.iter()
        .map(|pid| kilobytes(&format!("/proc/{pid}/status"), "VmHWM:").map(|peak| peak * 1024))
        .sum()
}

/// Starts measuring the largest resident size anew.
pub fn forget_peak(pids: &[u32]) -> Result<(), Failure> {
    for pid in pids {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").attempt(|| format!("forget the peak of {pid}"))?;
    }
    Ok(())
}

/// Whether `pid` lives in a process namespace below ours: then it is inside a sandbox.
pub fn is_sandboxed(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap_or_default();
    numbers.split_whitespace().count() > 1
}

fn kilobytes(path: &str, field: &str) -> Result<u64, Failure> {
    let text =
        fs::read_to_string(path).attempt(|| format!("read {path} (as root, every process may be read)"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .ok_or_else(|| Failure::new(format!("{path} does not say {field}")))
}

/// A process that ends with this value.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .spawn()
            .map(Self)
            .attempt(|| format!("start {name}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM first: a master process then ends its workers.
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let limit = std::time::Duration::from_secs(3);
        if percloud_tests::wait::within(limit, || self.0.try_wait().ok().flatten()).is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Whether a program is installed; `/usr/sbin` counts, though it is not on everybody's path.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_cost_can_be_read() {
        let own = [std::process::id()];
        let before = cpu_nanoseconds(&own).unwrap();
        let slept = sleeps(&own).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(sleeps(&own).unwrap().since(&slept) > 0);
        let mut sum = 0_u64;
        percloud_tests::wait::until("some CPU time to be used", || {
            (0..10_000_000_u64).for_each(|n| sum = std::hint::black_box(sum.wrapping_mul(31) ^ n));
            (cpu_nanoseconds(&own).unwrap().since(&before) > 0).then_some(())
        });
        assert!(pss_bytes(&own).unwrap() > 100_000);
        forget_peak(&own).unwrap();
        assert!(peak_bytes(&own).unwrap() > 100_000);
        assert!(!is_sandboxed(own[0]));
        assert!(pss_bytes(&[u32::MAX]).is_err());
    }
}
