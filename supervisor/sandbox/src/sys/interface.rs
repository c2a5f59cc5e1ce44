//! The one network setting a sandbox needs.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Errno, check};

/// Sets the flag "up" of the interface `name` in the network namespace of `socket` (netdevice(7)).
pub(crate) fn bring_up(socket: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    // SAFETY: ifreq is a plain C structure of integers and arrays, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less than the field: it stays NUL-terminated.
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .take(libc::IFNAMSIZ - 1)
        .zip(name.bytes())
    {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq from the pointer, which is valid for the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as libc::Ioctl,
            &raw mut request,
        )
    }))
    .map(|_| ())
}
