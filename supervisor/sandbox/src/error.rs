//! Why an app did not start: which step, on what, and what a person can do about it.

use std::io;

use crate::feature::{self, Feature};
use crate::sys::Errno;

/// Why [`crate::start`] did not start an app. Nothing of the attempt is left: no process, mount or control group.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The specification cannot be carried out by any machine.
    #[error("sandbox specification is unusable: {0}")]
    Spec(String),
    /// The caller runs more than one thread, and a fork of it could inherit a held lock.
    #[error("sandboxes are started by single-threaded processes only")]
    Threads,
    /// The kernel lacks a protective layer, or forbids it to us. The app does not start without it.
    #[error("{feature} is not available; {remedy}")]
    Missing {
        /// The kernel feature.
        feature: &'static str,
        /// What the person running the server can do.
        remedy: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A step failed.
    #[error("cannot {step} ({subject})")]
    Step {
        /// The step.
        step: Step,
        /// What it was done to.
        subject: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The app's program could not be executed.
    #[error("cannot execute {program}: {hint}")]
    Exec {
        /// `argv[0]`.
        program: String,
        /// What this errno means for a package.
        hint: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The process ended before it could execute the app, without a word.
    #[error("the sandbox ended before {program} could be executed ({status})")]
    Died {
        /// `argv[0]`.
        program: String,
        /// How it ended.
        status: String,
    },
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The named steps of a start, in order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Step { $($(#[$doc])* $name,)* }

        impl Step {
            const ALL: &'static [Step] = &[$(Step::$name,)*];
        }

        impl std::fmt::Display for Step {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Step::$name => $text,)* })
            }
        }
    };
}

steps! {
    /// Channels to the app and its setup.
    Channels = "make the channels to the sandbox",
    /// The read-only package.
    Package = "take the package as the root directory",
    /// The storage.
    Var = "mount the grain's storage as /var",
    /// The control group.
    Cgroup = "make a control group",
    /// The clone with all namespaces.
    Namespaces = "create the namespaces",
    /// The user and group maps.
    IdMap = "map user and group ids",
    /// Waiting for the host's part.
    AwaitIds = "wait for the host's part of the work",
    /// The network namespace.
    Network = "create the network namespace",
    /// Becoming user 1000.
    BecomeUser = "become the sandbox user",
    /// Dying with the host.
    DieWithHost = "tie its life to the host",
    /// Entering the control group.
    EnterCgroup = "enter the control group",
    /// No namespaces below ours.
    NoNamespaces = "forbid further namespaces",
    /// Session, mask, signals.
    Session = "start a session of its own",
    /// Host and domain name.
    Names = "set host and domain name",
    /// Loopback.
    Loopback = "bring up the loopback device",
    /// Attaching the package.
    Root = "attach the root directory",
    /// `/tmp`.
    Tmp = "mount /tmp",
    /// `/dev`.
    Dev = "mount /dev",
    /// A device in `/dev`.
    Device = "bind a device into /dev",
    /// `/dev/shm`.
    Shm = "mount /dev/shm",
    /// `/proc/cpuinfo`.
    Cpuinfo = "bind /proc/cpuinfo",
    /// Leaving the old root.
    Pivot = "leave the server's file system",
    /// Resource limits.
    Limits = "set resource limits",
    /// Descriptors 0 to 3.
    Descriptors = "arrange file descriptors",
    /// Landlock.
    Landlock = "apply Landlock",
    /// Capabilities.
    Capabilities = "drop all capabilities",
    /// seccomp.
    Seccomp = "install the system call filter",
    /// The app.
    Exec = "execute the app",
}

impl Step {
    /// Returns the step a child reported, or `None` for a byte that names none.
    pub(crate) fn from_byte(byte: u8) -> Option<Step> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

impl StartError {
    /// Explains errno `errno` at `step`: as a missing feature where that is what it means.
    pub(crate) fn at(step: Step, subject: impl Into<String>, errno: Errno) -> Self {
        let source = io::Error::from_raw_os_error(errno.raw_os_error());
        if let Some(feature) = missing_feature(step, errno) {
            return Self::Missing {
                feature: feature.name,
                remedy: feature.remedy,
                source,
            };
        }
        Self::Step {
            step,
            subject: subject.into(),
            source,
        }
    }

    pub(crate) fn exec(program: &str, errno: Errno) -> Self {
        Self::Exec {
            program: program.to_owned(),
            hint: match errno {
                Errno::NOENT => {
                    "no such file in the package, or the interpreter it names is not in the package"
                }
                Errno::ACCESS => "it is not an executable file",
                Errno::NOEXEC => "it is neither a program nor a script that names its interpreter",
                Errno::NOTDIR => "a part of its path is not a directory",
                Errno::TOOBIG => "arguments and environment are too large",
                _ => "the kernel refused",
            },
            source: io::Error::from_raw_os_error(errno.raw_os_error()),
        }
    }
}

/// Tells which kernel feature a failed step means is missing, and its remedy.
fn missing_feature(step: Step, errno: Errno) -> Option<Feature> {
    match step {
        Step::Namespaces | Step::Network => match errno {
            Errno::PERM | Errno::NOSPC | Errno::USERS | Errno::INVAL | Errno::NOSYS => {
                Some(feature::USER_NAMESPACE)
            }
            _ => None,
        },
        // A kernel that lets the namespace be made but withholds its capabilities (AppArmor does) shows here first.
        Step::IdMap | Step::BecomeUser | Step::Names | Step::Loopback | Step::Root => match errno {
            Errno::PERM | Errno::ACCESS => Some(feature::USER_NAMESPACE),
            Errno::NOSYS => Some(feature::MOUNTS),
            _ => None,
        },
        Step::Package | Step::Var | Step::Tmp | Step::Dev | Step::Shm | Step::Device | Step::Cpuinfo => {
            (errno == Errno::NOSYS).then_some(feature::MOUNTS)
        }
        Step::Landlock => (errno == Errno::OPNOTSUPP || errno == Errno::NOSYS).then_some(feature::LANDLOCK),
        Step::Seccomp => (errno == Errno::INVAL || errno == Errno::NOSYS).then_some(feature::SECCOMP),
        Step::Cgroup => (errno == Errno::OPNOTSUPP).then_some(feature::CGROUP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_survive_the_wire() {
        for (index, step) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, index);
            assert_eq!(Step::from_byte(index as u8), Some(*step));
        }
        assert_eq!(Step::from_byte(Step::ALL.len() as u8), None);
    }

    #[test]
    fn a_forbidden_user_namespace_names_its_remedy() {
        let error = StartError::at(Step::Namespaces, "", Errno::PERM);
        assert!(
            error.to_string().contains("sysctl user.max_user_namespaces"),
            "{error}"
        );
        let error = StartError::at(Step::Landlock, "", Errno::OPNOTSUPP);
        assert!(error.to_string().contains("lsm="), "{error}");
    }
}
