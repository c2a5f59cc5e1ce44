//! The policy of our own long-lived processes that read foreign bytes: they execute nothing, trace nothing, mount
//! nothing. What is refused here no such process calls, so each refusal is a bug or a break-in. One of them, the egress, may
//! connect to other machines besides.

use libc::*;

use super::{Compare, Condition, ENOSYS, EPERM, Group, Rules, Verdict, arm, errno, group, int};

pub(super) const RULES: Rules = rules(&WITHIN);
pub(super) const EGRESS_RULES: Rules = rules(&WITH_THE_NETWORK);

const WITHIN: [Group; 9] = groups(group(
    &[SYS_socket],
    &[arm(&[int(0, Compare::Eq, AF_UNIX as u64)], Verdict::Allow)],
    errno(EAFNOSUPPORT),
    "processes of ours; what faces the network was opened before and handed down",
));

const WITH_THE_NETWORK: [Group; 9] = groups(group(
    &[SYS_socket],
    &[
        arm(&internet(AF_INET, SOCK_STREAM, 0), Verdict::Allow),
        arm(&internet(AF_INET, SOCK_STREAM, IPPROTO_TCP), Verdict::Allow),
        arm(&internet(AF_INET, SOCK_DGRAM, 0), Verdict::Allow),
        arm(&internet(AF_INET, SOCK_DGRAM, IPPROTO_UDP), Verdict::Allow),
        arm(&internet(AF_INET6, SOCK_STREAM, 0), Verdict::Allow),
        arm(&internet(AF_INET6, SOCK_STREAM, IPPROTO_TCP), Verdict::Allow),
        arm(&internet(AF_INET6, SOCK_DGRAM, 0), Verdict::Allow),
        arm(&internet(AF_INET6, SOCK_DGRAM, IPPROTO_UDP), Verdict::Allow),
    ],
    errno(EAFNOSUPPORT),
    "TCP and UDP, and no protocol the kernel has beside them; no way to other services of this machine, which names can do \
     without: the C library asks a server then",
));

const fn internet(family: i32, kind: i32, protocol: i32) -> [Condition; 3] {
    [
        int(0, Compare::Eq, family as u64),
        int(1, Compare::Masked(KINDS), kind as u64),
        int(2, Compare::Eq, protocol as u64),
    ]
}

/// Bits of a socket's type beside its flags (`SOCK_TYPE_MASK` in linux/net.h).
const KINDS: u64 = 0xf;

const fn rules(groups: &'static [Group]) -> Rules {
    Rules {
        groups,
        unlisted: Verdict::Allow,
        newer_from: 424,
        newer: ENOSYS,
    }
}

/// All groups, with this one for sockets.
const fn groups(sockets: Group) -> [Group; 9] {
    let [a, b, c, d, e, f, g, h] = COMMON;
    [a, b, c, d, e, sockets, f, g, h]
}

const COMMON: [Group; 8] = [
    group(
        &[SYS_execve, SYS_execveat],
        &[],
        EPERM,
        "no role runs another program",
    ),
    group(
        &[SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp],
        &[],
        EPERM,
        "other processes of the same user: the broker's memory",
    ),
    group(
        &[
            SYS_mount,
            SYS_umount2,
            SYS_pivot_root,
            SYS_chroot,
            SYS_unshare,
            SYS_setns,
            SYS_swapon,
            SYS_swapoff,
            SYS_quotactl,
            SYS_acct,
            SYS_name_to_handle_at,
            SYS_open_by_handle_at,
            SYS_fanotify_init,
        ],
        &[],
        EPERM,
        "mounts and namespaces",
    ),
    group(
        &[SYS_clone],
        &[arm(&[int(0, Compare::Masked(NAMESPACES), 0)], Verdict::Allow)],
        EPERM,
        "threads, not namespaces",
    ),
    group(
        &[
            SYS_bpf,
            SYS_perf_event_open,
            SYS_userfaultfd,
            SYS_seccomp,
            SYS_keyctl,
            SYS_add_key,
            SYS_request_key,
            SYS_init_module,
            SYS_finit_module,
            SYS_delete_module,
            SYS_kexec_load,
            SYS_kexec_file_load,
            SYS_reboot,
            SYS_iopl,
            SYS_ioperm,
            SYS_modify_ldt,
            SYS_personality,
            SYS_syslog,
            SYS_io_setup,
            SYS_io_submit,
            SYS_mknod,
            SYS_mknodat,
        ],
        &[],
        EPERM,
        "the tools of kernel exploits",
    ),
    group(
        &[SYS_kill, SYS_tkill],
        &[],
        EPERM,
        "a host ends its app through the descriptor it has of it; nobody here may end the broker",
    ),
    group(
        &[SYS_prlimit64],
        &[arm(&[int(0, Compare::Eq, 0)], Verdict::Allow)],
        EPERM,
        "the limits of this process, not of others",
    ),
    group(
        &[
            SYS_pidfd_send_signal,
            SYS_close_range,
            SYS_openat2,
            SYS_faccessat2,
            SYS_epoll_pwait2,
            SYS_futex_waitv,
            SYS_fchmodat2,
        ],
        &[],
        Verdict::Allow,
        "newer forms of calls that are allowed; clone3 is not among them, for its flags are out of a filter's sight",
    ),
];

/// Every CLONE_NEW flag.
const NAMESPACES: u64 = (CLONE_NEWNS
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWIPC
    | CLONE_NEWUTS
    | CLONE_NEWCGROUP) as u64;
