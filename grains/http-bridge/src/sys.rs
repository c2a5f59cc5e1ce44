//! Takes over the one descriptor this process inherits by number.
//!
//! The only unsafe code of the bridge: no safe interface adopts a descriptor by number, and there is no
//! `/proc` in the sandbox through which it could be opened again.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Where the platform leaves the app's end of its connection.
const PLATFORM_FD: RawFd = 3;

/// Takes the connection to the platform from descriptor 3 and marks it close-on-exec, so that the app never
/// holds it.
///
/// To be called once, first thing in `main`, before anything else opens a descriptor.
///
/// # Errors
/// Fails when descriptor 3 is not open or is not a Unix socket.
#[allow(unsafe_code)]
pub fn take_platform_socket() -> io::Result<UnixStream> {
    // SAFETY: called before this process has opened any descriptor of its own, so nothing else owns 3. That
    // it is open at all is checked by the first use below; if it is not, ownership is given up untouched.
    let fd = unsafe { OwnedFd::from_raw_fd(PLATFORM_FD) };
    if let Err(error) = fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        let _ = fd.into_raw_fd();
        return Err(error.into());
    }
    let socket = UnixStream::from(fd);
    // Fails with ENOTSOCK on anything that is not a socket.
    socket.peer_addr()?;
    Ok(socket)
}
