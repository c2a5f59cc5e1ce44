//! The policies of our own long-lived processes: only what is named here is allowed.
//!
//! They execute nothing, trace nothing, mount nothing, and make no memory executable. What is refused here no such
//! process calls, so each refusal is a bug or a break-in.

use libc::*;

use super::{Compare, ENOSYS, EPERM, Group, Rules, Verdict, arm, errno, group, int, long};

pub(super) const HOST_RULES: Rules = rules(&[
    MEMORY,
    DATA_ONLY,
    RUNTIME,
    THREADS,
    NAMES,
    WAITING,
    OWN_LIMITS,
    DESCRIPTORS,
    FILES,
    CHANGES,
    SOCKETS,
    CONNECTING,
    PAIRS,
    WITHIN,
    RECORDER,
    ENDING,
    REAPING,
]);

pub(super) const EDGE_RULES: Rules = rules(&[
    MEMORY,
    DATA_ONLY,
    RUNTIME,
    THREADS,
    NAMES,
    WAITING,
    OWN_LIMITS,
    DESCRIPTORS,
    FILES,
    SOCKETS,
    CONNECTING,
    PAIRS,
    WITHIN,
    PLAIN_IOCTL,
]);

pub(super) const EGRESS_RULES: Rules = rules(&[
    MEMORY,
    LIBRARIES,
    STAYS_DATA,
    RUNTIME,
    THREADS,
    NAMES,
    WAITING,
    OWN_LIMITS,
    DESCRIPTORS,
    FILES,
    SOCKETS,
    CONNECTING,
    PAIRS,
    LISTENING,
    WITH_THE_NETWORK,
    PLAIN_IOCTL,
]);

pub(super) const BROKER_RULES: Rules = rules(&[
    MEMORY,
    DATA_ONLY,
    RUNTIME,
    THREADS,
    NAMES,
    WAITING,
    OWN_LIMITS,
    DESCRIPTORS,
    FILES,
    CHANGES,
    SOCKETS,
    PAIRS,
    LISTENING,
    WITHIN,
    PLAIN_IOCTL,
    ENDING,
]);

const fn rules(groups: &'static [Group]) -> Rules {
    Rules {
        groups,
        unlisted: EPERM,
        newer_from: 424,
        // Not EPERM: the C library falls back from clone3, whose flags are out of a filter's sight, on nothing else.
        newer: ENOSYS,
    }
}

const MEMORY: Group = group(
    &[SYS_brk, SYS_madvise, SYS_mremap, SYS_munmap, SYS_membarrier],
    &[],
    Verdict::Allow,
    "the allocator",
);

const DATA_ONLY: Group = group(
    &[SYS_mmap, SYS_mprotect],
    &[arm(
        &[int(2, Compare::Masked(PROT_EXEC as u64), PROT_EXEC as u64)],
        EPERM,
    )],
    Verdict::Allow,
    "memory, none of it executable",
);

const LIBRARIES: Group = group(
    &[SYS_mmap],
    &[
        arm(&[int(2, Compare::Masked(WRITE_EXEC), WRITE_EXEC)], EPERM),
        arm(
            &[
                int(2, Compare::Masked(PROT_EXEC as u64), PROT_EXEC as u64),
                int(3, Compare::Masked(MAP_ANONYMOUS as u64), MAP_ANONYMOUS as u64),
            ],
            EPERM,
        ),
    ],
    Verdict::Allow,
    "memory; executable from files alone: the C library loads the parts that resolve names when they are wanted",
);

const STAYS_DATA: Group = group(
    &[SYS_mprotect],
    &[arm(
        &[int(2, Compare::Masked(PROT_EXEC as u64), PROT_EXEC as u64)],
        EPERM,
    )],
    Verdict::Allow,
    "what was written stays data",
);

const WRITE_EXEC: u64 = (PROT_WRITE | PROT_EXEC) as u64;

const RUNTIME: Group = group(
    &[
        SYS_clock_getres,
        SYS_clock_gettime,
        SYS_clock_nanosleep,
        SYS_exit,
        SYS_exit_group,
        SYS_getcpu,
        SYS_getegid,
        SYS_geteuid,
        SYS_getgid,
        SYS_getpid,
        SYS_getppid,
        SYS_getrandom,
        SYS_getrlimit,
        SYS_getrusage,
        SYS_gettid,
        SYS_gettimeofday,
        SYS_getuid,
        SYS_nanosleep,
        SYS_restart_syscall,
        SYS_rt_sigaction,
        SYS_rt_sigprocmask,
        SYS_rt_sigreturn,
        SYS_sigaltstack,
        SYS_sysinfo,
        SYS_time,
        SYS_umask,
        SYS_uname,
    ],
    &[],
    Verdict::Allow,
    "the standard library: time, random bytes, panics, signal handlers, the end. No call that sends a signal: abort(3) \
     ends a process by an instruction where it may not",
);

const THREADS: Group = group(
    &[SYS_clone],
    &[arm(
        &[int(0, Compare::Masked(NAMESPACES | THREAD), THREAD)],
        Verdict::Allow,
    )],
    EPERM,
    "threads, not namespaces; and not processes, which would outlive this one with all it holds",
);

const THREAD: u64 = CLONE_THREAD as u64;

/// Every CLONE_NEW flag.
const NAMESPACES: u64 = (CLONE_NEWNS
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWIPC
    | CLONE_NEWUTS
    | CLONE_NEWCGROUP) as u64;

const NAMES: Group = group(
    &[SYS_prctl],
    &[arm(&[int(0, Compare::Eq, PR_SET_NAME as u64)], Verdict::Allow)],
    EPERM,
    "names of threads, for whoever looks at the machine",
);

const WAITING: Group = group(
    &[
        SYS_epoll_create1,
        SYS_epoll_ctl,
        SYS_epoll_pwait,
        SYS_epoll_pwait2,
        SYS_epoll_wait,
        SYS_eventfd2,
        SYS_futex,
        SYS_futex_waitv,
        SYS_poll,
        SYS_ppoll,
        SYS_rseq,
        SYS_sched_getaffinity,
        SYS_sched_yield,
        SYS_set_robust_list,
    ],
    &[],
    Verdict::Allow,
    "tokio, locks, the C library's threads",
);

const OWN_LIMITS: Group = group(
    &[SYS_prlimit64],
    &[arm(&[int(0, Compare::Eq, 0)], Verdict::Allow)],
    EPERM,
    "the limits of this process, not of others",
);

const DESCRIPTORS: Group = group(
    &[SYS_fcntl],
    &[
        arm(&[int(1, Compare::Eq, F_SETOWN as u64)], EPERM),
        arm(
            &[int(1, Compare::Ge, F_SETSIG), int(1, Compare::Le, F_SETOWN_EX)],
            EPERM,
        ),
    ],
    Verdict::Allow,
    "flags and locks; not the owner of a descriptor, by which the kernel would signal another process",
);

// fcntl commands not in libc's table (linux/fcntl.h).
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;

const FILES: Group = group(
    &[
        SYS_access,
        SYS_close,
        SYS_close_range,
        SYS_dup,
        SYS_dup2,
        SYS_dup3,
        SYS_faccessat,
        SYS_faccessat2,
        SYS_fadvise64,
        SYS_fstat,
        SYS_fstatfs,
        SYS_getcwd,
        SYS_getdents64,
        SYS_lseek,
        SYS_lstat,
        SYS_newfstatat,
        SYS_open,
        SYS_openat,
        SYS_openat2,
        SYS_pipe2,
        SYS_pread64,
        SYS_preadv,
        SYS_pwrite64,
        SYS_pwritev,
        SYS_read,
        SYS_readlink,
        SYS_readlinkat,
        SYS_readv,
        SYS_stat,
        SYS_statfs,
        SYS_statx,
        SYS_write,
        SYS_writev,
    ],
    &[],
    Verdict::Allow,
    "descriptors, and what Landlock leaves of the files: for the edge nothing",
);

const CHANGES: Group = group(
    &[
        SYS_chmod,
        SYS_copy_file_range,
        SYS_fallocate,
        SYS_fchmod,
        SYS_fchmodat,
        SYS_fchmodat2,
        SYS_fdatasync,
        SYS_flock,
        SYS_fsync,
        SYS_ftruncate,
        SYS_link,
        SYS_linkat,
        SYS_mkdir,
        SYS_mkdirat,
        SYS_rename,
        SYS_renameat,
        SYS_renameat2,
        SYS_rmdir,
        SYS_sendfile,
        SYS_symlinkat,
        SYS_sync_file_range,
        SYS_syncfs,
        SYS_unlink,
        SYS_unlinkat,
        SYS_utimensat,
    ],
    &[],
    Verdict::Allow,
    "the broker's store and folders, a host's log",
);

const SOCKETS: Group = group(
    &[
        SYS_accept,
        SYS_accept4,
        SYS_getpeername,
        SYS_getsockname,
        SYS_getsockopt,
        SYS_recvfrom,
        SYS_recvmmsg,
        SYS_recvmsg,
        SYS_sendmmsg,
        SYS_sendmsg,
        SYS_sendto,
        SYS_setsockopt,
        SYS_shutdown,
    ],
    &[],
    Verdict::Allow,
    "sockets it was handed, and its own",
);

const CONNECTING: Group = group(
    &[SYS_connect],
    &[],
    Verdict::Allow,
    "to doors, and to other machines; the broker comes to nobody",
);

const LISTENING: Group = group(
    &[SYS_bind, SYS_listen],
    &[],
    Verdict::Allow,
    "the broker makes the doors of grains, the egress listens on ports apps were given",
);

const PAIRS: Group = group(
    &[SYS_socketpair],
    &[arm(
        &[
            int(0, Compare::Eq, AF_UNIX as u64),
            int(1, Compare::Masked(KINDS), SOCK_STREAM as u64),
        ],
        Verdict::Allow,
    )],
    errno(EAFNOSUPPORT),
    "tokio wakes itself up with one; of the kind that can be connected to nothing else",
);

const WITHIN: Group = group(
    &[SYS_socket],
    &[arm(&[int(0, Compare::Eq, AF_UNIX as u64)], Verdict::Allow)],
    errno(EAFNOSUPPORT),
    "processes of ours; what faces the network was opened before and handed down",
);

const WITH_THE_NETWORK: Group = group(
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
);

const fn internet(family: i32, kind: i32, protocol: i32) -> [super::Condition; 3] {
    [
        int(0, Compare::Eq, family as u64),
        int(1, Compare::Masked(KINDS), kind as u64),
        int(2, Compare::Eq, protocol as u64),
    ]
}

/// Bits of a socket's type beside its flags (`SOCK_TYPE_MASK` in linux/net.h).
const KINDS: u64 = 0xf;

const PLAIN_IOCTL: Group = group(
    &[SYS_ioctl],
    &[
        arm(&[long(1, Compare::Eq, FIOCLEX)], Verdict::Allow),
        arm(&[long(1, Compare::Eq, FIONBIO)], Verdict::Allow),
        arm(&[long(1, Compare::Eq, FIONREAD)], Verdict::Allow),
    ],
    errno(ENOTTY),
    "descriptor flags",
);

const RECORDER: Group = group(
    &[SYS_ioctl],
    &[
        arm(&[long(1, Compare::Eq, FIOCLEX)], Verdict::Allow),
        arm(&[long(1, Compare::Eq, FIONBIO)], Verdict::Allow),
        arm(&[long(1, Compare::Eq, FIONREAD)], Verdict::Allow),
        arm(&[long(1, Compare::Eq, SECCOMP_IOCTL_NOTIF_RECV)], Verdict::Allow),
        arm(&[long(1, Compare::Eq, SECCOMP_IOCTL_NOTIF_SEND)], Verdict::Allow),
    ],
    errno(ENOTTY),
    "descriptor flags; answering the refused calls of an app that is tried",
);

const ENDING: Group = group(
    &[SYS_pidfd_send_signal],
    &[],
    Verdict::Allow,
    "ending processes it holds a descriptor of; it can get no other",
);

const REAPING: Group = group(&[SYS_waitid], &[], Verdict::Allow, "a host collects its app");
