//! Limits of this user and of the kernel: open files, processes, watches.

use rustix::process::{Resource, getrlimit};

use super::check::{Check, Group, Subject};
use super::proc;

const FILES: Subject = Subject::new(Group::Limits, "open-files", "Open files (RLIMIT_NOFILE)");
const PROCESSES: Subject = Subject::new(
    Group::Limits,
    "processes",
    "Processes of this user (RLIMIT_NPROC)",
);
const PID_MAX: Subject = Subject::new(Group::Limits, "pid-max", "Processes of the machine");
const INOTIFY: Subject = Subject::new(Group::Limits, "inotify", "Watched files (inotify)");

/// Open files of an app at most, and enough for some thousand connections of browsers.
const HARD: u64 = 4096;
/// Below this the server's own parts cannot hold what they need: the store, sockets, one for each thread.
const LEAST: u64 = 64;

pub fn checks() -> Vec<Check> {
    let limit = |resource| {
        let limit = getrlimit(resource);
        (
            limit.current.unwrap_or(u64::MAX),
            limit.maximum.unwrap_or(u64::MAX),
        )
    };
    let (soft, hard) = limit(Resource::Nofile);
    let (processes_soft, _) = limit(Resource::Nproc);
    let inotify = |name: &str| proc::number(format!("/proc/sys/fs/inotify/max_user_{name}")).ok();
    vec![
        files(soft, hard),
        processes(processes_soft, rustix::process::geteuid().is_root()),
        match proc::number("/proc/sys/kernel/pid_max") {
            Ok(most) => pid_max(most),
            Err(error) => PID_MAX.unknown(error),
        },
        watches(inotify("instances"), inotify("watches")),
    ]
}

fn count(limit: u64) -> String {
    if limit == u64::MAX {
        "unlimited".to_owned()
    } else {
        limit.to_string()
    }
}

fn files(soft: u64, hard: u64) -> Check {
    const REMEDY: &str = "LimitNOFILE=1024:524288 in the service, or nofile in /etc/security/limits.conf";
    let found = format!("{}, which the server raises to {}", count(soft), count(hard));
    // One connection of a browser may cost two more to a grain; the edge keeps 64 for itself.
    let connections = hard.saturating_sub(64) / 3;
    if hard < LEAST {
        FILES.missing(
            found,
            format!(
                "with fewer than {LEAST} the server, or one of its parts, does not start or does not last"
            ),
            REMEDY,
        )
    } else if hard < HARD {
        FILES.gap(
            found,
            format!("browsers hold about {connections} connections at a time, few apps run at a time, and they open fewer files than the {HARD} they expect"),
            REMEDY,
        )
    } else {
        FILES.good(found)
    }
}

fn processes(most: u64, root: bool) -> Check {
    if root {
        return PROCESSES.good("does not bind root");
    }
    match most {
        ..1024 => PROCESSES.gap(
            count(most),
            "apps do not start or cannot fork once this user has as many processes and threads, in whatever program",
            "LimitNPROC=infinity in the service, or nproc in /etc/security/limits.conf",
        ),
        most => PROCESSES.good(count(most)),
    }
}

fn pid_max(most: u64) -> Check {
    match most {
        ..32768 => PID_MAX.gap(
            format!("kernel.pid_max is {most}"),
            "apps do not start or cannot fork once the machine has as many processes and threads",
            "sysctl kernel.pid_max=4194304",
        ),
        most => PID_MAX.good(format!("kernel.pid_max is {most}")),
    }
}

/// All apps are one user of the machine, so these are for all of them together.
fn watches(instances: Option<u64>, watches: Option<u64>) -> Check {
    let (Some(instances), Some(watches)) = (instances, watches) else {
        return INOTIFY.unknown("the files /proc/sys/fs/inotify/max_user_* cannot be read");
    };
    let found = format!("{instances} instances and {watches} watches for all apps together");
    if instances < 128 || watches < 8192 {
        INOTIFY.gap(
            found,
            "apps that watch files do not notice changes, or do not start, once others have taken them",
            "sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288",
        )
    } else {
        INOTIFY.good(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    #[test]
    fn open_files_are_judged_by_both_limits() {
        assert_eq!(files(1024, 524_288).status, Good);
        assert_eq!(files(u64::MAX, u64::MAX).status, Good);
        let low = files(1024, 1024);
        assert_eq!(low.status, Gap);
        assert!(low.consequence.unwrap().contains("about 320 connections"));
        assert_eq!(files(16, 4096).status, Good);
        assert_eq!(files(16, 16).status, Missing);
        assert_eq!(files(0, 0).status, Missing);
    }

    #[test]
    fn processes_bind_ordinary_users_only() {
        assert_eq!(processes(10, true).status, Good);
        assert_eq!(processes(10, false).status, Gap);
        assert_eq!(processes(1024, false).status, Good);
        assert_eq!(pid_max(300).status, Gap);
        assert_eq!(pid_max(32768).status, Good);
    }

    #[test]
    fn the_usual_number_of_watches_will_do() {
        assert_eq!(watches(Some(128), Some(8192)).status, Good);
        assert_eq!(watches(Some(127), Some(524_288)).status, Gap);
        assert_eq!(watches(Some(1024), Some(0)).status, Gap);
        assert_eq!(watches(None, Some(1)).status, Gap);
    }
}
