//! The policy of a confined worker: files it was given, memory, and an end.
//!
//! A worker reads one hostile thing (a package, a backup) and writes what it found. It makes no process, no socket
//! and no executable memory.

use libc::*;

use super::{Compare, EPERM, Group, Rules, Verdict, arm, errno, group, int};

pub(super) const RULES: Rules = Rules { groups: GROUPS, unlisted: EPERM, newer_from: 424, newer: EPERM };

const GROUPS: &[Group] = &[
    group(
        &[
            SYS_access, SYS_chmod, SYS_close, SYS_close_range, SYS_copy_file_range, SYS_dup, SYS_dup2, SYS_dup3,
            SYS_faccessat, SYS_faccessat2, SYS_fadvise64, SYS_fallocate, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2,
            SYS_fdatasync, SYS_flock, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_getcwd,
            SYS_getdents64, SYS_link, SYS_linkat, SYS_lseek, SYS_lstat, SYS_mkdir, SYS_mkdirat,
            SYS_newfstatat, SYS_open, SYS_openat, SYS_openat2, SYS_pread64, SYS_preadv, SYS_pwrite64, SYS_pwritev,
            SYS_read, SYS_readlink, SYS_readlinkat, SYS_readv, SYS_rename, SYS_renameat, SYS_renameat2, SYS_rmdir,
            SYS_stat, SYS_statfs, SYS_statx, SYS_symlink, SYS_symlinkat, SYS_sync_file_range, SYS_syncfs,
            SYS_umask, SYS_unlink, SYS_unlinkat, SYS_utimensat, SYS_write, SYS_writev,
        ],
        &[],
        Verdict::Allow,
        "reading its input, writing its tree",
    ),
    group(
        &[SYS_mmap, SYS_mprotect],
        &[arm(&[int(2, Compare::Masked(PROT_EXEC as u64), PROT_EXEC as u64)], EPERM)],
        Verdict::Allow,
        "memory, none of it executable",
    ),
    group(
        &[SYS_fcntl],
        &[
            arm(&[int(1, Compare::Eq, F_SETOWN as u64)], EPERM),
            arm(&[int(1, Compare::Ge, F_SETSIG), int(1, Compare::Le, F_SETOWN_EX)], EPERM),
        ],
        Verdict::Allow,
        "flags and locks; not the owner of a descriptor, by which the kernel would signal a process of the server",
    ),
    group(
        &[SYS_ioctl],
        &[
            arm(&[int(1, Compare::Eq, FIOCLEX)], Verdict::Allow),
            arm(&[int(1, Compare::Eq, FIONBIO)], Verdict::Allow),
            arm(&[int(1, Compare::Eq, FIONREAD)], Verdict::Allow),
        ],
        errno(ENOTTY),
        "descriptor flags",
    ),
    group(
        &[SYS_prlimit64],
        &[arm(&[int(0, Compare::Ne, 0)], EPERM)],
        Verdict::Allow,
        "its own limits; without this, those of every process of the same user",
    ),
    group(
        &[SYS_brk, SYS_madvise, SYS_mremap, SYS_munmap, SYS_futex, SYS_getrandom],
        &[],
        Verdict::Allow,
        "the allocator, hash maps",
    ),
    group(
        &[
            SYS_clock_gettime, SYS_clock_nanosleep, SYS_exit, SYS_exit_group, SYS_getpid, SYS_gettid,
            SYS_gettimeofday, SYS_geteuid, SYS_getuid, SYS_getegid, SYS_getgid, SYS_nanosleep, SYS_poll, SYS_ppoll,
            SYS_restart_syscall, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_getaffinity,
            SYS_sched_yield, SYS_sigaltstack, SYS_sysinfo,
        ],
        &[],
        Verdict::Allow,
        "time, waiting on a pipe, panicking, ending",
    ),
    group(
        &[SYS_recvmsg, SYS_recvfrom, SYS_sendto, SYS_sendmsg, SYS_shutdown, SYS_getsockopt],
        &[],
        Verdict::Allow,
        "progress and results over a socket it was handed; it can make none",
    ),
];

// fcntl commands not in libc's table (linux/fcntl.h).
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;
