//! What is written into a group so that it keeps an app's limits: one list for making a group and for changing one.
//!
//! `memory.high` is not used. An app between it and `memory.max` is slowed down so much that it neither works nor ends, and
//! nobody can tell its owner why; at `memory.max` it is ended, and they are told.

use std::fs::OpenOptions;
use std::io::{self, Write};

use super::Cgroup;
use crate::spec::Limits;

/// What a hierarchy divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
    Io,
    /// Version 1: counts processor time, and divides nothing.
    Cpuacct,
}

/// A file of a group and what is written to it.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) controller: Controller,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Of a controller that apps can do without, or newer than the oldest kernel we run on.
    pub(super) optional: bool,
}

/// Processor time is divided in periods of so many microseconds where a hard bound is set.
const PERIOD: u64 = 100_000;

/// The settings for `limits`, in the order they are to be written.
pub(super) fn settings(unified: bool, limits: &Limits) -> Vec<Setting> {
    use Controller::{Cpu, Io, Memory, Pids};
    let set = |controller, file, value: u64, optional| Setting {
        controller,
        file,
        value: value.to_string(),
        optional,
    };
    // A share of nothing is refused by the kernel, and so is one beyond its scale.
    let weight = u64::from(limits.weight.clamp(1, 10_000));
    let quota = limits
        .processors
        .map(|percent| u64::from(percent.max(1)) * PERIOD / 100);
    if unified {
        vec![
            set(Memory, "memory.max", limits.memory, false),
            set(Memory, "memory.swap.max", limits.swap, true),
            set(Memory, "memory.oom.group", 1, true),
            set(Pids, "pids.max", limits.pids.into(), false),
            set(Cpu, "cpu.weight", weight, true),
            Setting {
                value: match quota {
                    Some(quota) => format!("{quota} {PERIOD}"),
                    None => format!("max {PERIOD}"),
                },
                ..set(Cpu, "cpu.max", 0, true)
            },
            set(Io, "io.weight", weight, true),
            set(Io, "io.bfq.weight", weight.min(1000), true),
        ]
    } else {
        // 1024 is to version 1 what 100 is to version 2; the kernel takes no less than 2.
        let shares = (weight * 1024 / 100).max(2);
        let mut settings = vec![
            set(Memory, "memory.limit_in_bytes", limits.memory, false),
            set(
                Memory,
                "memory.memsw.limit_in_bytes",
                limits.memory.saturating_add(limits.swap),
                true,
            ),
            set(Pids, "pids.max", limits.pids.into(), false),
            set(Cpu, "cpu.shares", shares, true),
            set(Io, "blkio.bfq.weight", weight.min(1000), true),
            set(Io, "blkio.weight", weight.clamp(10, 1000), true),
        ];
        // No bound is how a group begins; the file is absent where the kernel was built without bounds.
        if let Some(quota) = quota {
            settings.push(set(Cpu, "cpu.cfs_period_us", PERIOD, true));
            settings.push(set(Cpu, "cpu.cfs_quota_us", quota, true));
        }
        settings
    }
}

impl Cgroup {
    /// Changes what the app may take, from now on. More processes than are allowed now live on; memory in use beyond what
    /// is allowed now is taken back, or the app is ended.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one of the limits every group has; the others are set then.
    pub fn adjust(&self, limits: &Limits) -> io::Result<()> {
        let mut outcome = Ok(());
        let optional = |file, value: &str| Setting {
            controller: Controller::Cpu,
            file,
            value: value.to_owned(),
            optional: true,
        };
        // One in the background takes no other weight. It is sent there again at the next look (`background`).
        let idle = optional("cpu.idle", "0");
        let shares = self
            .directories
            .iter()
            .find(|directory| directory.join(idle.file).exists());
        let mut settings = settings(self.unified, limits);
        if !self.unified && limits.processors.is_none() {
            settings.push(optional("cpu.cfs_quota_us", "-1"));
        }
        {
            // Not for longer: taking memory back may take seconds.
            let _lock = shares.and_then(|group| super::lock_limits(group));
            let _not_known_here = self.write(&idle);
            for setting in settings.extract_if(.., |setting| setting.controller == Controller::Cpu) {
                let _not_needed = self.write(&setting);
            }
        }
        // Version 1 wants memory at most as large as memory and swap together, in every moment: whichever of the two
        // comes too early the first time is right the second time.
        let early = if self.unified { None } else { settings.first() };
        if let Some(setting) = early {
            let _again_below = self.write(setting);
            let _ = settings.get(1).map(|both| self.write(both));
        }
        for setting in &settings {
            match self.write(setting) {
                Err(error) if !setting.optional => outcome = Err(error),
                _ => {}
            }
        }
        outcome
    }

    fn write(&self, setting: &Setting) -> io::Result<()> {
        let mut outcome = Err(io::Error::from(io::ErrorKind::NotFound));
        for directory in &self.directories {
            // Not made where it is missing: the kernel would refuse that with another error than that.
            let file = OpenOptions::new().write(true).open(directory.join(setting.file));
            match file.and_then(|mut file| file.write_all(setting.value.as_bytes())) {
                // Another hierarchy's.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                written => outcome = written,
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(unified: bool, limits: &Limits, file: &str) -> Option<String> {
        let settings = settings(unified, limits);
        let found = settings.iter().find(|setting| setting.file == file);
        found.map(|setting| setting.value.clone())
    }

    #[test]
    fn a_share_means_the_same_in_both_versions() {
        let limits = Limits::default();
        assert_eq!(value(true, &limits, "cpu.weight").as_deref(), Some("100"));
        assert_eq!(value(false, &limits, "cpu.shares").as_deref(), Some("1024"));
        let small = Limits { weight: 0, ..limits };
        assert_eq!(value(true, &small, "cpu.weight").as_deref(), Some("1"));
        assert_eq!(value(false, &small, "cpu.shares").as_deref(), Some("10"));
    }

    #[test]
    fn a_hard_bound_on_processors_is_there_only_when_asked_for() {
        let limits = Limits::default();
        assert_eq!(value(true, &limits, "cpu.max").as_deref(), Some("max 100000"));
        assert_eq!(value(false, &limits, "cpu.cfs_quota_us"), None);
        let half = Limits {
            processors: Some(50),
            ..limits
        };
        assert_eq!(value(true, &half, "cpu.max").as_deref(), Some("50000 100000"));
        assert_eq!(value(false, &half, "cpu.cfs_quota_us").as_deref(), Some("50000"));
    }

    #[test]
    fn swap_comes_on_top_of_memory() {
        let limits = Limits {
            memory: 100,
            swap: 20,
            ..Limits::default()
        };
        assert_eq!(value(true, &limits, "memory.swap.max").as_deref(), Some("20"));
        let both = value(false, &limits, "memory.memsw.limit_in_bytes");
        assert_eq!(both.as_deref(), Some("120"));
    }

    #[test]
    fn a_group_that_is_there_is_given_other_limits() {
        let Ok(place) = crate::cgroup::place() else {
            eprintln!("NOT TESTED: no control group can be made here");
            return;
        };
        let mut making = place.plan(&Limits::default()).unwrap();
        making.make().unwrap();
        let group = making.into_group();
        let has = |file: &str, value: &str| {
            let mut found = group.directories.iter();
            found.any(|directory| {
                std::fs::read_to_string(directory.join(file)).is_ok_and(|text| text.trim() == value)
            })
        };
        assert!(has("pids.max", "512"));
        // Down, and up again, which version 1 wants in another order.
        for memory in [64 << 20, 256 << 20_u64] {
            let limits = Limits {
                memory,
                swap: memory / 4,
                pids: 77,
                ..Limits::default()
            };
            group.adjust(&limits).unwrap();
            let file = if group.unified {
                "memory.max"
            } else {
                "memory.limit_in_bytes"
            };
            assert!(has(file, &memory.to_string()) && has("pids.max", "77"));
        }
        group.remove();
        crate::cgroup::leave();
    }
}
