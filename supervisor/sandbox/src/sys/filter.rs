//! seccomp(2) with a listener, and the listener's two calls.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use seccompiler::sock_filter;

use super::{Errno, check};

/// Installs `program` on this thread and returns the descriptor on which its user notifications arrive.
///
/// no_new_privs must be set. `seccompiler::apply_filter` does the same without a listener.
pub(crate) fn install_listening(program: &[sock_filter]) -> Result<OwnedFd, Errno> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        // seccompiler's instruction and libc's are both the kernel's struct sock_filter, repr(C).
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `header` points at `len` instructions that live through the call; the kernel copies and never writes
    // them.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const header,
        )
    })?;
    // SAFETY: on success the call returns a new descriptor that belongs to nobody yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A call that waits for an answer.
pub(crate) struct Notification {
    pub(crate) id: u64,
    pub(crate) number: i32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

/// Waits for the next notification. `ENOENT`: its caller died meanwhile, ask again.
pub(crate) fn notification(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    // SAFETY: seccomp_notif is a plain C structure of integers; the kernel demands it zeroed.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one seccomp_notif to the pointer, which is valid and large enough. Kernels with a
    // longer structure encode their size in the request number and keep answering this one.
    check(libc::c_long::from(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut notice,
        )
    }))?;
    Ok(Notification {
        id: notice.id,
        number: notice.data.nr,
        arch: notice.data.arch,
        args: notice.data.args,
    })
}

/// Answers notification `id` with `errno` (0: the call returns 0, undone). `ENOENT`: its caller died meanwhile.
pub(crate) fn refuse(listener: BorrowedFd<'_>, id: u64, errno: u16) -> Result<(), Errno> {
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -i32::from(errno),
        flags: 0,
    };
    // SAFETY: the request reads one seccomp_notif_resp from the pointer, which is valid for the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut answer,
        )
    }))
    .map(|_| ())
}
