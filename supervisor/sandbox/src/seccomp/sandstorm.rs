//! The policy of Sandstorm packages: everything is allowed that is not named here (sheet section 3.7).
//!
//! Packages in the wild were tested against this deny list and not against the stricter allow list (trap 51), so the
//! answers are part of the interface. What the list could not know, calls the kernel gained since, is refused as if
//! the kernel were old, except a few that give an app nothing it has not got and that current C libraries use.

#![allow(non_upper_case_globals, reason = "system call numbers keep their C names")]

use libc::*;

use super::{Compare, ENOSYS, EPERM, Group, Rules, Verdict, arm, errno, group, int};

pub(super) const RULES: Rules = Rules {
    groups: GROUPS,
    unlisted: Verdict::Allow,
    // pidfd_send_signal: the first number all architectures share, and newer than the list.
    newer_from: 424,
    newer: ENOSYS,
};

const GROUPS: &[Group] = &[
    // The list.
    group(&[SYS_ptrace], &[], EPERM, "reading and steering other processes"),
    group(
        &[SYS_clone],
        &[arm(
            &[int(
                0,
                Compare::Masked(CLONE_NEWUSER as u64),
                CLONE_NEWUSER as u64,
            )],
            EPERM,
        )],
        Verdict::Allow,
        "a user namespace hands out capabilities, and with them most of the kernel's bugs",
    ),
    group(
        &[SYS_socket],
        &[
            arm(&[int(0, Compare::Gt, AF_NETLINK as u64)], UNSUPPORTED_FAMILY),
            // AX25, IPX, APPLETALK, NETROM, BRIDGE, ATMPVC, X25.
            arm(
                &[
                    int(0, Compare::Ge, AF_AX25 as u64),
                    int(0, Compare::Le, AF_X25 as u64),
                ],
                UNSUPPORTED_FAMILY,
            ),
            // ROSE, DECnet, NETBEUI, SECURITY, KEY.
            arm(
                &[
                    int(0, Compare::Ge, AF_ROSE as u64),
                    int(0, Compare::Le, AF_KEY as u64),
                ],
                UNSUPPORTED_FAMILY,
            ),
            arm(
                &[int(1, Compare::Masked(0xf), SOCK_DCCP as u64)],
                errno(EPROTONOSUPPORT),
            ),
        ],
        Verdict::Allow,
        "UNIX, INET, INET6 and NETLINK remain: bridges listen on 127.0.0.1 and libraries list interfaces; the rest \
         is rarely used kernel code",
    ),
    // Not on the list either, as Sandstorm had no storage there.
    group(
        &[SYS_ioctl],
        &[arm(
            &[int(1, Compare::Masked(0xff00), BTRFS_IOCTLS)],
            errno(ENOTTY),
        )],
        Verdict::Allow,
        "a snapshot on btrfs that nobody may change could not be deleted with its grain; copies fall back from sharing \
         blocks to reading and writing",
    ),
    group(
        &[SYS_prctl],
        &[
            arm(&[int(0, Compare::Eq, PR_SET_SECCOMP as u64)], errno(EINVAL)),
            // Not on Sandstorm's list. Process 1 dies with its host by this signal, so it may not be called off;
            // claimed as done, since language runtimes fail to start a child where it is refused.
            arm(&[int(0, Compare::Eq, PR_SET_PDEATHSIG as u64)], errno(0)),
        ],
        Verdict::Allow,
        "filters of its own are refused as on Sandstorm; the app must not outlive its host",
    ),
    group(
        &[SYS_add_key, SYS_request_key, SYS_keyctl],
        &[],
        ENOSYS,
        "the kernel's keyrings are not namespaced",
    ),
    group(&[SYS_syslog], &[], ENOSYS, "the kernel's log tells of the host"),
    group(
        &[
            SYS_uselib,
            SYS_personality,
            SYS_acct,
            SYS_modify_ldt,
            SYS_set_thread_area,
        ],
        &[],
        ENOSYS,
        "old",
    ),
    group(
        &[SYS_unshare, SYS_mount, SYS_pivot_root],
        &[],
        ENOSYS,
        "namespaces and mounts of its own",
    ),
    group(&[SYS_quotactl], &[], ENOSYS, "quotas are the host's"),
    group(
        &[
            SYS_io_setup,
            SYS_io_destroy,
            SYS_io_getevents,
            SYS_io_submit,
            SYS_io_cancel,
            SYS_io_pgetevents,
        ],
        &[],
        ENOSYS,
        "rarely used kernel code; libraries fall back to threads",
    ),
    group(
        &[
            SYS_remap_file_pages,
            SYS_mbind,
            SYS_get_mempolicy,
            SYS_set_mempolicy,
            SYS_migrate_pages,
            SYS_move_pages,
            SYS_vmsplice,
        ],
        &[],
        ENOSYS,
        "tricks with memory that apps do without",
    ),
    group(
        &[SYS_set_robust_list, SYS_get_robust_list, SYS_rseq],
        &[],
        ENOSYS,
        "C libraries cope (trap 50)",
    ),
    group(
        &[
            SYS_perf_event_open,
            SYS_seccomp,
            SYS_bpf,
            SYS_userfaultfd,
            SYS_pkey_mprotect,
        ],
        &[],
        ENOSYS,
        "the tools of kernel exploits",
    ),
    // What the list left to the kernel, which refuses it for want of a capability: refused before it gets there.
    group(
        &[
            SYS_umount2,
            SYS_setns,
            SYS_chroot,
            SYS_swapon,
            SYS_swapoff,
            SYS_reboot,
            SYS_init_module,
            SYS_finit_module,
            SYS_delete_module,
            SYS_kexec_load,
            SYS_kexec_file_load,
            SYS_iopl,
            SYS_ioperm,
            SYS_vhangup,
            SYS_fanotify_init,
            SYS_kcmp,
            SYS_lookup_dcookie,
        ],
        &[],
        EPERM,
        "needs capabilities an app never has",
    ),
    group(
        &[
            SYS_process_vm_readv,
            SYS_process_vm_writev,
            SYS_name_to_handle_at,
            SYS_open_by_handle_at,
        ],
        &[],
        ENOSYS,
        "memory of other processes; files by number, past every path",
    ),
    // Newer than the list, harmless, used by current libraries.
    group(
        &[
            SYS_pidfd_send_signal,
            SYS_pidfd_open,
            SYS_close_range,
            SYS_openat2,
            SYS_faccessat2,
            SYS_epoll_pwait2,
            SYS_futex_waitv,
            SYS_fchmodat2,
        ],
        &[],
        Verdict::Allow,
        "newer forms of calls an app has: Go, Python and the C library use them where they are",
    ),
];

const UNSUPPORTED_FAMILY: Verdict = errno(EAFNOSUPPORT);

/// The type of all requests to btrfs, and of FICLONE and its like (linux/btrfs.h, linux/fs.h).
const BTRFS_IOCTLS: u64 = 0x9400;

/// Not in libc's table.
const SYS_io_pgetevents: c_long = 333;
