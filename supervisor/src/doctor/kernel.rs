//! The kernel: its version, and each layer a sandbox is made of.

use std::io;

use percloud_sandbox::feature;
use percloud_sandbox::probe::{self, Calls, Rehearsal};

use super::check::{Check, Group, Subject};
use super::workplace::{Target, Workplace};

const VERSION: Subject = Subject::new(Group::Kernel, "kernel-version", "Kernel");
const SANDBOX: Subject = Subject::new(Group::Kernel, "sandbox", "A whole sandbox");
const SECCOMP: Subject = Subject::new(Group::Kernel, "seccomp-filter", "System call filter (seccomp)");
const LANDLOCK: Subject = Subject::new(Group::Kernel, "landlock", "Landlock");
const MOUNTS: Subject = Subject::new(Group::Kernel, "mount-interface", "Mounts as descriptors");
const PIDFD: Subject = Subject::new(Group::Kernel, "pidfd", "Processes as descriptors");
const CLOSE_RANGE: Subject = Subject::new(Group::Kernel, "close-range", "Closing descriptors by range");
const BENEATH: Subject = Subject::new(Group::Kernel, "open-beneath", "Opening files beneath a folder");
const NO_NEW_PRIVS: Subject = Subject::new(Group::Kernel, "no-new-privs", "Giving up privileges for good");

/// The oldest kernel that has everything apps cannot do without.
const OLDEST: (u32, u32) = (5, 19);
/// The newest interface of Landlock that is used.
const LANDLOCK_USED: u32 = 6;
/// Interfaces of Landlock from 3 on: what each added, and the Linux that brought it.
const LANDLOCK_ADDED: [(u32, &str); 4] = [
    (3, "shortening files"),
    (4, "TCP ports"),
    (5, "commands to devices"),
    (6, "signals and abstract sockets of others"),
];

const NO_APP: &str = "no app starts";

pub fn checks(target: &Target, workplace: Option<&Workplace>) -> Vec<Check> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let (package, var) = match workplace {
        Some(workplace) => (workplace.name("package"), workplace.name("var")),
        // Nothing is written in either: any folder will do where none can be made.
        None => (target.nearest.clone(), target.nearest.clone()),
    };
    vec![
        version(&release),
        sandbox(probe::sandbox(&package, &var)),
        seccomp(probe::seccomp()),
        landlock(probe::landlock_abi()),
        calls(MOUNTS, Calls::Mounts, feature::MOUNTS.remedy),
        calls(
            PIDFD,
            Calls::Processes,
            "run Linux 5.7 or later; inside a container, let its seccomp profile pass these calls",
        ),
        calls(
            CLOSE_RANGE,
            Calls::CloseRange,
            "run Linux 5.11 or later; inside a container, let its seccomp profile pass the call",
        ),
        calls(
            BENEATH,
            Calls::OpenBeneath,
            "run Linux 5.6 or later; inside a container, let its seccomp profile pass the call",
        ),
        match probe::no_new_privs() {
            Ok(()) => NO_NEW_PRIVS.good("no_new_privs can be set"),
            Err(error) => NO_NEW_PRIVS.missing(
                format!("no_new_privs cannot be set: {error}"),
                NO_APP,
                "run Linux 3.5 or later; inside a container, let its seccomp profile pass prctl",
            ),
        },
    ]
}

/// Judges by what `uname -r` says. Only a hint: distributions bring new features to old versions, so the layers themselves
/// are looked at too.
fn version(release: &str) -> Check {
    let (major, minor) = OLDEST;
    match parse_version(release) {
        Some(version) if version >= OLDEST => VERSION.good(format!("Linux {release}")),
        Some(_) => VERSION.gap(
            format!("Linux {release}"),
            format!("Percloud is made for {major}.{minor} and later; whether this one has what it needs, the checks below tell"),
            format!("run Linux {major}.{minor} or later; 6.12 has everything that is used"),
        ),
        None => VERSION.unknown(format!("\"{release}\" is no version of Linux")),
    }
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|character: char| !character.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn sandbox(rehearsal: io::Result<Rehearsal>) -> Check {
    match rehearsal {
        Ok(Rehearsal::Stood) => SANDBOX.good("was built, every layer of it, and taken down again"),
        Ok(Rehearsal::Failed { why, remedy }) => SANDBOX.missing(
            why,
            NO_APP,
            remedy.unwrap_or_else(|| {
                "see the other checks; if all of them are good, this is a mistake of Percloud's".to_owned()
            }),
        ),
        Err(error) => SANDBOX.unknown(format!("no process could be made to try ({error})")),
    }
}

fn seccomp(answer: io::Result<bool>) -> Check {
    match answer {
        Ok(true) => SECCOMP.good("filters can be installed, and refused calls recorded"),
        Ok(false) => SECCOMP.gap(
            "filters can be installed, refused calls cannot be recorded",
            "`percloud try` cannot tell which calls an app was refused",
            feature::SECCOMP.remedy,
        ),
        Err(error) => SECCOMP.missing(format!("not available: {error}"), NO_APP, feature::SECCOMP.remedy),
    }
}

fn landlock(abi: io::Result<u32>) -> Check {
    const WITHOUT: &str = "no app starts, nor does the server itself: its parts are confined by it too";
    match abi {
        Err(error) => LANDLOCK.missing(
            format!("not available: {error}"),
            WITHOUT,
            feature::LANDLOCK.remedy,
        ),
        Ok(abi @ ..2) => LANDLOCK.missing(
            format!("interface {abi}, which forbids every rename between folders; 2 is needed"),
            WITHOUT,
            feature::LANDLOCK.remedy,
        ),
        Ok(abi @ ..LANDLOCK_USED) => {
            let lost = LANDLOCK_ADDED.iter().filter(|(added, _)| *added > abi);
            let lost: Vec<String> = lost
                .map(|(added, what)| format!("{what} (interface {added})"))
                .collect();
            LANDLOCK.gap(
                format!("interface {abi} of {LANDLOCK_USED}"),
                format!("these are held by the other layers alone: {}", lost.join(", ")),
                "run Linux 6.12 or later, whose interface has all of it",
            )
        }
        Ok(abi) => LANDLOCK.good(format!("interface {abi}; {LANDLOCK_USED} is used")),
    }
}

fn calls(subject: Subject, calls: Calls, remedy: &str) -> Check {
    unknown_calls(subject, &probe::unknown(calls), remedy)
}

fn unknown_calls(subject: Subject, unknown: &[&str], remedy: &str) -> Check {
    if unknown.is_empty() {
        subject.good("the kernel answers")
    } else {
        subject.missing(format!("not answered: {}", unknown.join(", ")), NO_APP, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    #[test]
    fn a_version_is_two_numbers_whatever_follows() {
        for (release, status) in [
            ("6.18.44-fc-v595", Good),
            ("5.19", Good),
            ("5.19+", Good),
            ("5.18.0-rc1", Gap),
            ("4.4.0-19041-Microsoft", Gap),
            ("10.0.1", Good),
            ("", Gap),
            ("6", Gap),
            ("6.", Gap),
            ("six.one", Gap),
            ("-6.1", Gap),
            ("99999999999.1", Gap),
        ] {
            assert_eq!(version(release).status, status, "{release}");
        }
    }

    #[test]
    fn each_landlock_interface_names_what_it_lacks() {
        assert_eq!(landlock(Ok(1)).status, Missing);
        let two = landlock(Ok(2));
        assert_eq!(two.status, Gap);
        let lost = two.consequence.unwrap();
        assert!(
            lost.contains("shortening files (interface 3)") && lost.contains("abstract sockets"),
            "{lost}"
        );
        let five = landlock(Ok(5)).consequence.unwrap();
        assert!(five.contains("signals") && !five.contains("TCP"), "{five}");
        assert_eq!(landlock(Ok(6)).status, Good);
        assert_eq!(landlock(Ok(99)).status, Good);
        let none = landlock(Err(io::Error::from_raw_os_error(95)));
        assert_eq!(none.status, Missing);
        assert!(none.remedy.unwrap().contains("lsm="));
    }

    #[test]
    fn a_sandbox_that_fails_passes_its_remedy_on() {
        assert_eq!(sandbox(Ok(Rehearsal::Stood)).status, Good);
        let failed = Rehearsal::Failed {
            why: "a user namespace is not available".to_owned(),
            remedy: Some("sysctl".to_owned()),
        };
        let check = sandbox(Ok(failed));
        assert_eq!((check.status, check.remedy.as_deref()), (Missing, Some("sysctl")));
        assert_eq!(sandbox(Err(io::ErrorKind::WouldBlock.into())).status, Gap);
    }

    #[test]
    fn calls_without_an_answer_are_named() {
        let check = unknown_calls(MOUNTS, &["fsopen", "fsmount"], "newer");
        assert_eq!(
            (check.status, check.found.as_str()),
            (Missing, "not answered: fsopen, fsmount")
        );
        assert_eq!(seccomp(Ok(false)).status, Gap);
        assert_eq!(seccomp(Err(io::ErrorKind::Unsupported.into())).status, Missing);
    }
}
