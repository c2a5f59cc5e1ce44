//! File descriptors by number.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{Errno, check};

/// Makes `target` refer to what `source` refers to, open across exec. Whatever `target` was is closed.
///
/// For a process about to exec: an owner of `target` elsewhere in this process would hold a changed descriptor.
pub(crate) fn dup_onto(source: BorrowedFd<'_>, target: RawFd) -> Result<(), Errno> {
    // SAFETY: dup2 takes two integers and touches no memory. Its callers are children between fork and exec that
    // hand out numbers 0 to N deliberately, after having moved every descriptor they still own above them.
    check(libc::c_long::from(unsafe {
        libc::dup2(source.as_raw_fd(), target)
    }))
    .map(|_| ())
}

/// Closes this process's copy of a descriptor that belongs to the process it shares memory with.
pub(crate) fn close_copy(fd: BorrowedFd<'_>) {
    // SAFETY: takes an integer. For processes that share memory and not their descriptors: the owner's stays open.
    unsafe { rustix::io::close(fd.as_raw_fd()) };
}

/// Marks every open descriptor from `first` up close-on-exec (close_range(2), Linux 5.11).
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed now, so no owner loses its descriptor; only the flag that
    // acts at exec changes.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(|_| ())
}

/// Takes ownership of a descriptor number that was handed to this process at exec or by the kernel.
///
/// Fails when nothing is open there.
pub(crate) fn own(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: fcntl(F_GETFD) takes integers, touches no memory, and fails on a closed descriptor.
    check(libc::c_long::from(unsafe { libc::fcntl(number, libc::F_GETFD) }))?;
    // SAFETY: it is open (checked above), and by the contract of the roles each number below 32 named on their
    // command line belongs to exactly one taker.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
