//! Any system call with any arguments: what hostile code would do. In builds for tests only.

use super::{Errno, check};

/// Calls the kernel.
pub(crate) fn raw(number: libc::c_long, arguments: [u64; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the callers pass numbers, null pointers, and pointers to buffers of their own that outlive the call and
    // are as large as they say; the calls they make either fail or change nothing that Rust knows of.
    check(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}
