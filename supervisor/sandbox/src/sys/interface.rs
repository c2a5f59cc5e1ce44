//! What a sandbox needs of the network: its namespace as a descriptor, and one setting.
//!
//! Both calls are made through `rustix`, so that processes that share memory may make them.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl};

use super::Errno;

/// Sets the flag "up" of the interface `name` in the network namespace of `socket` (netdevice(7)).
pub(crate) fn bring_up(socket: impl AsFd, name: &str) -> Result<(), Errno> {
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
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which is what is passed.
    unsafe {
        let request = Setter::<{ libc::SIOCSIFFLAGS as Opcode }, libc::ifreq>::new(request);
        ioctl(socket, request)
    }
}

/// Returns the network namespace that `socket` is in.
pub(crate) fn network_of(socket: impl AsFd) -> Result<OwnedFd, Errno> {
    // SAFETY: SIOCGSKNS takes no argument and touches no memory.
    unsafe { ioctl(socket, NamespaceOf) }
}

/// SIOCGSKNS (linux/sockios.h).
struct NamespaceOf;

// SAFETY: the call's number and that it takes no argument; what it returns is a new descriptor, of nobody yet.
unsafe impl Ioctl for NamespaceOf {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        libc::SIOCGSKNS as Opcode
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut rustix::ffi::c_void) -> Result<OwnedFd, Errno> {
        // SAFETY: see above.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
