//! What a sandbox needs of the kernel, and what a person can do about its absence: said once, for a start that fails
//! and for whoever looks at the machine beforehand.

/// A part of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is called, to go in front of "is not available".
    pub name: &'static str,
    /// What the person running the server can do.
    pub remedy: &'static str,
}

/// Namespaces for a process without privilege.
pub const USER_NAMESPACE: Feature = Feature {
    name: "a user namespace",
    remedy: "allow unprivileged ones: sysctl user.max_user_namespaces=65536, and where the distribution adds its own \
             switch kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0; inside a \
             container, let its seccomp profile pass clone3, unshare and setns",
};

/// Mounts as descriptors.
pub const MOUNTS: Feature = Feature {
    name: "the kernel's mount interface",
    remedy: "run Linux 5.15 or later (open_tree, fsopen, mount_setattr)",
};

/// The second wall around files.
pub const LANDLOCK: Feature = Feature {
    name: "Landlock",
    remedy: "run Linux 5.19 or later with CONFIG_SECURITY_LANDLOCK and `landlock` in the boot parameter lsm=",
};

/// The system call filter.
pub const SECCOMP: Feature = Feature {
    name: "the seccomp filter",
    remedy: "run a kernel with CONFIG_SECCOMP_FILTER (and 5.0 for recording refused calls)",
};

/// Bounds for a whole tree of processes.
pub const CGROUP: Feature = Feature {
    name: "a control group",
    remedy: "run the server under a delegated cgroup: systemd-run --user --scope -p Delegate=yes, or a unit with \
             Delegate=yes",
};

/// One more controller for groups that there are. To the services of users systemd hands on memory, pids and cpu alone
/// (user@.service).
pub const CONTROLLER: Feature = Feature {
    name: "a controller",
    remedy: "run the server as a unit of the system with Delegate=yes; for a unit or scope of a user, let systemd hand on \
             more: Delegate=cpu cpuset io memory pids below [Service] in \
             /etc/systemd/system/user@.service.d/delegate.conf, then systemctl daemon-reload and \
             systemctl restart user@UID, which ends what the user runs",
};

/// What the lack of [`CGROUP`] means for a grain.
pub const WITHOUT_CGROUP: &str =
    "memory is bounded per process, not per grain, and there is no share of processor time";

/// What the lack of the controller cpu means.
pub const WITHOUT_CPU: &str =
    "apps share processor time by process, so one with many slows the others and the server";

/// What the lack of the controller cpuset means.
pub const WITHOUT_CPUSET: &str =
    "an app that keeps all processors busy holds up what others open beside it, for some milliseconds";

/// What the lack of the controller io means.
pub const WITHOUT_IO: &str = "an app that reads and writes much slows the disk down for all";
