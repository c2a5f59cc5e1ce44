//! The policy of the parent and the launcher, and so of everything: a filter is handed down to every child, where
//! theirs come on top.
//!
//! Nearly all is named by number alone: the kernel knows such answers beforehand, so that an app's calls are not slowed
//! down. What is refused here each child's own policy refuses as well.

use libc::*;

use super::{Compare, ENOSYS, EPERM, Group, Rules, Verdict, arm, errno, group, int};

pub(super) const RULES: Rules = Rules {
    groups: GROUPS,
    unlisted: Verdict::Allow,
    // Newer than the kernel this list was written for (6.17).
    newer_from: 470,
    newer: ENOSYS,
};

const GROUPS: &[Group] = &[
    group(
        &[
            SYS_ptrace,
            SYS_process_vm_readv,
            SYS_process_vm_writev,
            SYS_kcmp,
            SYS_pidfd_getfd,
            SYS_process_madvise,
            SYS_process_mrelease,
        ],
        &[],
        EPERM,
        "the memory and descriptors of other processes: the broker's",
    ),
    group(
        &[
            SYS_bpf,
            SYS_perf_event_open,
            SYS_userfaultfd,
            SYS_io_uring_setup,
            SYS_io_uring_enter,
            SYS_io_uring_register,
            SYS_io_setup,
            SYS_io_submit,
            SYS_modify_ldt,
            SYS_memfd_secret,
            SYS_fanotify_init,
            SYS_lookup_dcookie,
        ],
        &[],
        EPERM,
        "kernel machinery no sandbox is built with",
    ),
    group(
        &[SYS_socket],
        &[
            arm(&[int(0, Compare::Gt, AF_NETLINK as u64)], errno(EAFNOSUPPORT)),
            arm(
                &[
                    int(0, Compare::Gt, AF_INET as u64),
                    int(0, Compare::Lt, AF_INET6 as u64),
                ],
                errno(EAFNOSUPPORT),
            ),
            arm(
                &[
                    int(0, Compare::Gt, AF_INET6 as u64),
                    int(0, Compare::Lt, AF_NETLINK as u64),
                ],
                errno(EAFNOSUPPORT),
            ),
        ],
        Verdict::Allow,
        "the egress and apps have internet sockets, apps list interfaces; nobody has other families",
    ),
    group(
        &[SYS_keyctl, SYS_add_key, SYS_request_key],
        &[],
        EPERM,
        "the kernel's keyrings are not namespaced",
    ),
    group(
        &[
            SYS_init_module,
            SYS_finit_module,
            SYS_delete_module,
            SYS_kexec_load,
            SYS_kexec_file_load,
            SYS_reboot,
            SYS_iopl,
            SYS_ioperm,
            SYS_swapon,
            SYS_swapoff,
            SYS_acct,
            SYS_syslog,
            SYS_settimeofday,
            SYS_clock_settime,
            SYS_adjtimex,
            SYS_clock_adjtime,
            SYS_vhangup,
            SYS_open_by_handle_at,
        ],
        &[],
        EPERM,
        "what root may do to the machine",
    ),
];
