//! Memory: how much there is, what comes after it, and whether addresses may be reserved.

use super::check::{Check, Group, Subject};
use super::proc;

const MEMORY: Subject = Subject::new(Group::Machine, "memory", "Memory");
const SWAP: Subject = Subject::new(Group::Machine, "swap", "Swap");
const OVERCOMMIT: Subject = Subject::new(Group::Machine, "overcommit", "Reserving memory");

/// What one app may take (see the sandbox's default limits), in bytes.
const ONE_APP: u64 = 512 << 20;

pub fn checks() -> Vec<Check> {
    let mut checks = match proc::read("/proc/meminfo") {
        Ok(text) => vec![memory(&text), swap(&text)],
        Err(error) => [MEMORY, SWAP].map(|subject| subject.unknown(&error)).to_vec(),
    };
    checks.push(match proc::number("/proc/sys/vm/overcommit_memory") {
        Ok(mode) => overcommit(mode),
        Err(error) => OVERCOMMIT.unknown(error),
    });
    checks
}

/// Judges the text of `/proc/meminfo`.
fn memory(text: &[u8]) -> Check {
    let line = |name| proc::memory_line(text, name);
    let (Some(total), Some(available)) = (line("MemTotal"), line("MemAvailable")) else {
        return MEMORY.unknown("/proc/meminfo names no MemTotal and MemAvailable");
    };
    let found = format!("{} of {} available", proc::bytes(available), proc::bytes(total));
    if available < ONE_APP {
        MEMORY.gap(
            found,
            format!(
                "one app may take {}; the kernel ends programs when none is left",
                proc::bytes(ONE_APP)
            ),
            "stop what else runs, or give the machine more",
        )
    } else {
        MEMORY.good(found)
    }
}

fn swap(text: &[u8]) -> Check {
    let line = |name| proc::memory_line(text, name);
    match (line("SwapTotal"), line("SwapFree")) {
        (Some(0), _) => SWAP.gap(
            "none",
            "sleeping memory stays in the way of apps in use, and the kernel ends programs sooner",
            "add some, as a file or compressed in memory (zram)",
        ),
        (Some(total), Some(free)) => {
            SWAP.good(format!("{} of {} free", proc::bytes(free), proc::bytes(total)))
        }
        _ => SWAP.unknown("/proc/meminfo names no SwapTotal and SwapFree"),
    }
}

/// Judges vm.overcommit_memory (proc_sys_vm(5)).
fn overcommit(mode: u64) -> Check {
    match mode {
        0 => OVERCOMMIT.good("vm.overcommit_memory is 0: by the kernel's own estimate"),
        1 => OVERCOMMIT.good("vm.overcommit_memory is 1: always allowed"),
        _ => OVERCOMMIT.gap(
            format!("vm.overcommit_memory is {mode}: what is reserved counts as used"),
            "programs that reserve much and use little (JavaScript, Go, Java) may not start in apps",
            "sysctl vm.overcommit_memory=0",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    fn text(total: u64, available: u64, swap: u64) -> Vec<u8> {
        format!("MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\nSwapTotal: {swap} kB\nSwapFree: {swap} kB\n").into_bytes()
    }

    #[test]
    fn there_is_room_for_one_app_at_least() {
        assert_eq!(memory(&text(1 << 21, 1 << 20, 0)).status, Good);
        assert_eq!(memory(&text(1 << 21, (512 << 10) - 1, 0)).status, Gap);
        assert_eq!(memory(b"MemTotal: 1 kB\n").status, Gap);
        assert_eq!(memory(b"\xff\0").status, Gap);
    }

    #[test]
    fn swap_is_there_or_said_to_be_lacking() {
        assert_eq!(swap(&text(1, 1, 1024)).status, Good);
        assert_eq!(swap(&text(1, 1, 0)).found, "none");
        assert_eq!(swap(b"SwapTotal: 5 kB").status, Gap);
    }

    #[test]
    fn strict_accounting_is_a_gap() {
        assert_eq!(
            [0, 1, 2, 77].map(|mode| overcommit(mode).status),
            [Good, Good, Gap, Gap]
        );
    }
}
