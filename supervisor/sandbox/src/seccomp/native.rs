//! The policy of packages built for Percloud: only what is named here is allowed.
//!
//! Begun from Sandstorm's stricter list (sheet section 3.7) and what our own kit, SQLite and tokio call. Everything
//! else answers ENOSYS, as a kernel without it would.

use libc::*;

use super::{Compare, ENOSYS, EPERM, Group, Rules, Verdict, arm, errno, group, int, long};

pub(super) const RULES: Rules = Rules { groups: GROUPS, unlisted: ENOSYS, newer_from: 424, newer: ENOSYS };

const GROUPS: &[Group] = &[
    group(
        &[
            SYS_access, SYS_chdir, SYS_chmod, SYS_close, SYS_close_range, SYS_copy_file_range, SYS_creat, SYS_dup,
            SYS_dup2, SYS_dup3, SYS_faccessat, SYS_faccessat2, SYS_fallocate, SYS_fchdir, SYS_fchmod, SYS_fchmodat,
            SYS_fchmodat2, SYS_fcntl, SYS_fdatasync, SYS_flock, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate,
            SYS_getcwd, SYS_getdents, SYS_getdents64, SYS_link, SYS_linkat, SYS_lseek, SYS_lstat, SYS_mkdir,
            SYS_mkdirat, SYS_newfstatat, SYS_open, SYS_openat, SYS_openat2, SYS_pread64, SYS_preadv, SYS_preadv2,
            SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readahead, SYS_readlink, SYS_readlinkat,
            SYS_readv, SYS_rename, SYS_renameat, SYS_renameat2, SYS_rmdir, SYS_sendfile, SYS_splice, SYS_stat,
            SYS_statfs, SYS_statx, SYS_symlink, SYS_symlinkat, SYS_sync_file_range, SYS_truncate, SYS_umask,
            SYS_unlink, SYS_unlinkat, SYS_utime, SYS_utimensat, SYS_utimes, SYS_write, SYS_writev,
        ],
        &[],
        Verdict::Allow,
        "files: SQLite and the kit's storage",
    ),
    group(
        &[
            SYS_brk, SYS_madvise, SYS_memfd_create, SYS_mlock, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_msync,
            SYS_munlock, SYS_munmap,
        ],
        &[],
        Verdict::Allow,
        "memory: every allocator; SQLite's shared index",
    ),
    group(
        &[
            SYS_arch_prctl, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_fork, SYS_getegid, SYS_geteuid,
            SYS_getgid, SYS_getgroups, SYS_getpgid, SYS_getpgrp, SYS_getpid, SYS_getppid, SYS_getresgid,
            SYS_getresuid, SYS_getrlimit, SYS_getrusage, SYS_getsid, SYS_gettid, SYS_getuid, SYS_kill,
            SYS_pidfd_open, SYS_pidfd_send_signal, SYS_prlimit64, SYS_restart_syscall, SYS_set_tid_address,
            SYS_setpgid, SYS_setrlimit, SYS_setsid, SYS_tgkill, SYS_tkill, SYS_uname, SYS_vfork, SYS_wait4,
            SYS_waitid,
        ],
        &[],
        Verdict::Allow,
        "processes of its own: converters and interpreters an app brings along",
    ),
    group(
        &[SYS_clone],
        &[arm(
            // The exit signal's byte, and flags that share things with its own threads and children.
            &[long(0, Compare::Masked(!(SHARED | 0xff)), 0)],
            Verdict::Allow,
        )],
        EPERM,
        "threads and forks; no flag that makes a namespace",
    ),
    group(
        &[
            SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigqueueinfo, SYS_rt_sigreturn,
            SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_signalfd, SYS_signalfd4,
        ],
        &[],
        Verdict::Allow,
        "signals",
    ),
    group(
        &[
            SYS_alarm, SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_getitimer, SYS_gettimeofday,
            SYS_nanosleep, SYS_pause, SYS_setitimer, SYS_time, SYS_timer_create, SYS_timer_delete,
            SYS_timer_getoverrun, SYS_timer_gettime, SYS_timer_settime, SYS_timerfd_create, SYS_timerfd_gettime,
            SYS_timerfd_settime, SYS_times,
        ],
        &[],
        Verdict::Allow,
        "time",
    ),
    group(
        &[
            SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_epoll_wait,
            SYS_eventfd, SYS_eventfd2, SYS_futex, SYS_getcpu, SYS_getrandom, SYS_inotify_add_watch,
            SYS_inotify_init, SYS_inotify_init1, SYS_inotify_rm_watch, SYS_membarrier, SYS_pipe, SYS_pipe2,
            SYS_poll, SYS_ppoll, SYS_pselect6, SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_yield,
            SYS_select, SYS_sysinfo,
        ],
        &[],
        Verdict::Allow,
        "tokio, the C library's threads, random numbers",
    ),
    group(
        &[
            SYS_accept, SYS_accept4, SYS_bind, SYS_connect, SYS_getpeername, SYS_getsockname, SYS_getsockopt,
            SYS_listen, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_sendmmsg, SYS_sendmsg, SYS_sendto,
            SYS_setsockopt, SYS_shutdown,
        ],
        &[],
        Verdict::Allow,
        "sockets it was handed, and its own",
    ),
    group(
        &[SYS_socket, SYS_socketpair],
        &[
            arm(&[int(0, Compare::Ne, AF_UNIX as u64), int(0, Compare::Lt, AF_INET as u64)], errno(EAFNOSUPPORT)),
            arm(
                &[int(0, Compare::Ne, AF_INET6 as u64), int(0, Compare::Gt, AF_INET as u64)],
                errno(EAFNOSUPPORT),
            ),
            arm(&[int(1, Compare::Masked(0xf), SOCK_STREAM as u64), int(2, Compare::Eq, 0)], Verdict::Allow),
            arm(&[int(1, Compare::Masked(0xf), SOCK_DGRAM as u64), int(2, Compare::Eq, 0)], Verdict::Allow),
            arm(
                &[int(1, Compare::Masked(0xf), SOCK_STREAM as u64), int(2, Compare::Eq, IPPROTO_TCP as u64)],
                Verdict::Allow,
            ),
            arm(
                &[int(1, Compare::Masked(0xf), SOCK_DGRAM as u64), int(2, Compare::Eq, IPPROTO_UDP as u64)],
                Verdict::Allow,
            ),
            arm(&[int(1, Compare::Masked(0xf), SOCK_STREAM as u64)], errno(EPROTONOSUPPORT)),
            arm(&[int(1, Compare::Masked(0xf), SOCK_DGRAM as u64)], errno(EPROTONOSUPPORT)),
        ],
        errno(EACCES),
        "UNIX and loopback, streams and datagrams",
    ),
    group(
        &[SYS_ioctl],
        &[
            arm(&[long(1, Compare::Gt, u32::MAX as u64)], errno(EINVAL)),
            arm(&[int(1, Compare::Eq, FIOCLEX)], Verdict::Allow),
            arm(&[int(1, Compare::Eq, FIONCLEX)], Verdict::Allow),
            arm(&[int(1, Compare::Eq, FIOASYNC)], Verdict::Allow),
            arm(&[int(1, Compare::Eq, FIONBIO)], Verdict::Allow),
            arm(&[int(1, Compare::Eq, FIONREAD)], Verdict::Allow),
            arm(&[int(1, Compare::Eq, FIOQSIZE)], Verdict::Allow),
            // FIFREEZE, FITHAW: stop a whole file system.
            arm(&[int(1, Compare::Eq, 0xc004_5877)], EPERM),
            arm(&[int(1, Compare::Eq, 0xc004_5878)], EPERM),
            // FICLONE, FICLONERANGE, FIDEDUPERANGE, FS_IOC_FIEMAP: copying falls back to reading and writing.
            arm(&[int(1, Compare::Eq, 0x4004_9409)], errno(EOPNOTSUPP)),
            arm(&[int(1, Compare::Eq, 0x4020_940d)], errno(EOPNOTSUPP)),
            arm(&[int(1, Compare::Eq, 0xc018_9436)], errno(EOPNOTSUPP)),
            arm(&[int(1, Compare::Eq, 0xc020_660b)], errno(EOPNOTSUPP)),
        ],
        errno(ENOTTY),
        "descriptor flags; the rest is as if there were no device behind",
    ),
    group(
        &[SYS_prctl],
        &[
            arm(&[int(0, Compare::Eq, PR_SET_NAME as u64)], Verdict::Allow),
            arm(&[int(0, Compare::Eq, PR_GET_NAME as u64)], Verdict::Allow),
            arm(&[int(0, Compare::Eq, PR_SET_PDEATHSIG as u64)], errno(0)),
        ],
        errno(EINVAL),
        "thread names",
    ),
    group(&[SYS_fadvise64], &[], errno(0), "advice is never owed anything"),
    group(
        &[SYS_chown, SYS_chroot, SYS_fchown, SYS_fchownat, SYS_lchown, SYS_mount, SYS_ptrace],
        &[],
        EPERM,
        "what an unprivileged user is told",
    ),
    group(
        &[
            SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_listxattr,
            SYS_llistxattr, SYS_flistxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
        ],
        &[],
        errno(ENOTSUP),
        "backups would lose attributes, so there are none",
    ),
];

/// Clone flags of threads and forks.
const SHARED: u64 = (CLONE_CHILD_CLEARTID
    | CLONE_CHILD_SETTID
    | CLONE_SIGHAND
    | CLONE_FILES
    | CLONE_FS
    | CLONE_PARENT
    | CLONE_PARENT_SETTID
    | CLONE_SETTLS
    | CLONE_SYSVSEM
    | CLONE_THREAD
    | CLONE_DETACHED
    | CLONE_PIDFD
    | CLONE_VFORK
    | CLONE_VM) as u64
    | CLONE_IO_FLAG;

/// CLONE_IO, whose libc constant is negative as an `int`.
const CLONE_IO_FLAG: u64 = 0x8000_0000;
