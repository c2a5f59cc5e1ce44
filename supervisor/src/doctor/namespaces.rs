//! Namespaces: whether each kind can really be made by this user, and what the machine's settings say about it.

use std::io;

use nix::errno::Errno;
use percloud_sandbox::feature::USER_NAMESPACE;
use percloud_sandbox::probe::{self, Namespace};

use super::check::{Check, Group, Subject};
use super::proc;

const COUNTS: Subject = Subject::new(
    Group::Namespaces,
    "namespace-counts",
    "How many namespaces there may be",
);
const CLONE: Subject = Subject::new(Group::Namespaces, "userns-clone", "The distribution's switch");
const APPARMOR: Subject = Subject::new(Group::Namespaces, "apparmor-userns", "AppArmor's restriction");

/// Fewer namespaces than this, and a household's apps may meet the limit: every running app has one of each kind.
const FEW: u64 = 256;

pub fn checks() -> Vec<Check> {
    let user = probe::namespace(Namespace::User);
    let usable = user.is_ok() && probe::namespace(Namespace::Mount).is_ok();
    let mut checks = vec![kind(Namespace::User, Ok(user))];
    for other in &Namespace::ALL[1..] {
        let tried = match &checks[0].consequence {
            None => Ok(probe::namespace(*other)),
            Some(_) => Err(()),
        };
        checks.push(kind(*other, tried));
    }
    let limits = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let limits = limits.map(|name| {
        let setting = format!("user.max_{name}_namespaces");
        let value = proc::number(format!("/proc/sys/user/max_{name}_namespaces"));
        (setting, value.ok())
    });
    checks.push(counts(&limits));
    let root = rustix::process::geteuid().is_root();
    let read = |name: &str| proc::number(format!("/proc/sys/kernel/{name}")).ok();
    checks.push(switch(
        CLONE,
        "kernel.unprivileged_userns_clone",
        1,
        read("unprivileged_userns_clone"),
        usable,
        root,
    ));
    checks.push(switch(
        APPARMOR,
        "kernel.apparmor_restrict_unprivileged_userns",
        0,
        read("apparmor_restrict_unprivileged_userns"),
        usable,
        root,
    ));
    checks
}

fn subject(kind: Namespace) -> Subject {
    let (id, title) = match kind {
        Namespace::User => ("user-namespace", "User namespace"),
        Namespace::Mount => ("mount-namespace", "Mount namespace"),
        Namespace::Pid => ("pid-namespace", "Process namespace"),
        Namespace::Net => ("net-namespace", "Network namespace"),
        Namespace::Ipc => ("ipc-namespace", "IPC namespace"),
        Namespace::Uts => ("uts-namespace", "Host name namespace"),
        Namespace::Cgroup => ("cgroup-namespace", "Control group namespace"),
    };
    Subject::new(Group::Namespaces, id, title)
}

/// `Err`: it was not tried, for there is no user namespace to make it in.
fn kind(kind: Namespace, tried: Result<io::Result<()>, ()>) -> Check {
    const CONSEQUENCE: &str = "no app starts";
    match tried {
        Ok(Ok(())) => subject(kind).good("one was made"),
        Ok(Err(error)) => {
            let errno = error.raw_os_error().map(Errno::from_raw);
            let found = match errno {
                Some(Errno::ENOSPC | Errno::EUSERS) => {
                    "could not be made: as many as are allowed are there".to_owned()
                }
                _ => format!("could not be made: {error}"),
            };
            // Where it is not in the kernel, no switch brings it.
            match errno {
                Some(Errno::EINVAL) => subject(kind).missing(
                    found,
                    CONSEQUENCE,
                    format!(
                        "run a kernel that has {kind} namespaces (CONFIG_NAMESPACES and what is below it)"
                    ),
                ),
                _ => subject(kind).missing(found, CONSEQUENCE, USER_NAMESPACE.remedy),
            }
        }
        Err(()) => subject(kind).missing(
            "not tried, for there is no user namespace to make it in",
            CONSEQUENCE,
            "see to the user namespace first",
        ),
    }
}

/// Judges the settings `user.max_*_namespaces`, each with its value where it could be read.
fn counts(limits: &[(String, Option<u64>)]) -> Check {
    let lowest = limits
        .iter()
        .filter_map(|(name, value)| Some((value.as_ref()?, name)))
        .min();
    let Some((&lowest, name)) = lowest else {
        return COUNTS.unknown("none of the files /proc/sys/user/max_*_namespaces can be read");
    };
    let low = limits
        .iter()
        .filter(|(_, value)| value.is_some_and(|value| value < FEW));
    let remedy: Vec<String> = low.map(|(name, _)| format!("sysctl {name}=65536")).collect();
    let remedy = remedy.join(", ");
    match lowest {
        0 => COUNTS.missing(format!("{name} is 0"), "no app starts", remedy),
        1..FEW => COUNTS.gap(
            format!("{name} is {lowest}"),
            format!("at most {lowest} apps run at a time, fewer if others use namespaces too; the next one does not start"),
            remedy,
        ),
        _ => COUNTS.good(format!("at least {lowest} of each kind")),
    }
}

/// Judges a switch that keeps ordinary users from making namespaces unless it has the value `open`. What was tried counts
/// for more: a profile may make an exception for Percloud.
fn switch(subject: Subject, name: &str, open: u64, value: Option<u64>, usable: bool, root: bool) -> Check {
    match value {
        None => subject.good(format!("this kernel has no {name}")),
        Some(value) if value == open => subject.good(format!("{name} is {value}: not restricted")),
        Some(value) if root => subject.good(format!(
            "{name} is {value}, which binds ordinary users and not root"
        )),
        Some(value) if usable => subject.good(format!(
            "{name} is {value}, and namespaces were made all the same"
        )),
        Some(value) => subject.missing(
            format!("{name} is {value}"),
            "no app starts",
            format!("sysctl {name}={open}, or run the server as root"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    fn limits(user: Option<u64>, net: Option<u64>) -> Vec<(String, Option<u64>)> {
        vec![
            ("user.max_user_namespaces".to_owned(), user),
            ("user.max_net_namespaces".to_owned(), net),
        ]
    }

    #[test]
    fn the_lowest_limit_counts_and_is_named() {
        assert_eq!(counts(&limits(Some(96365), Some(96365))).status, Good);
        let none = counts(&limits(Some(96365), Some(0)));
        assert_eq!(none.status, Missing);
        assert_eq!(
            none.remedy.as_deref(),
            Some("sysctl user.max_net_namespaces=65536")
        );
        let few = counts(&limits(Some(10), Some(20)));
        assert_eq!(few.status, Gap);
        assert!(few.consequence.unwrap().contains("at most 10 apps"));
        assert_eq!(counts(&limits(None, Some(u64::MAX))).status, Good);
        assert_eq!(counts(&limits(None, None)).status, Gap);
        assert_eq!(counts(&[]).status, Gap);
    }

    #[test]
    fn a_switch_is_believed_only_where_trying_agrees() {
        let judge = |value, usable, root| switch(CLONE, "k", 1, value, usable, root).status;
        assert_eq!(
            judge(None, false, false),
            Good,
            "no such switch: the attempt's own check tells"
        );
        assert_eq!(judge(Some(1), false, false), Good);
        assert_eq!(judge(Some(0), false, false), Missing);
        assert_eq!(judge(Some(0), true, false), Good);
        assert_eq!(judge(Some(0), true, true), Good);
        let apparmor = switch(APPARMOR, "k", 0, Some(1), false, false);
        assert_eq!(apparmor.status, Missing);
        assert!(apparmor.remedy.unwrap().contains("sysctl k=0"));
    }

    #[test]
    fn a_kernel_without_a_kind_is_told_from_one_that_forbids_it() {
        let error = |errno| Ok(Err(io::Error::from_raw_os_error(errno)));
        let absent = kind(Namespace::Ipc, error(22));
        assert!(absent.remedy.unwrap().contains("CONFIG_NAMESPACES"));
        let forbidden = kind(Namespace::Ipc, error(1));
        assert_eq!(forbidden.status, Missing);
        assert!(forbidden.remedy.unwrap().contains("max_user_namespaces"));
        assert_eq!(kind(Namespace::Net, Err(())).status, Missing);
    }
}
