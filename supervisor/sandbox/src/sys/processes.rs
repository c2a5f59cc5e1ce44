//! Making processes.

use std::ffi::{CStr, CString, NulError, c_char};
use std::os::fd::RawFd;

use super::{Errno, check, last};

/// Strings in the shape execve(2) reads: an array of pointers that ends in a null pointer.
pub(crate) struct CStrings {
    // Owns what `pointers` points at; CString keeps its bytes on the heap, so moving the vector moves no byte.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStrings {
    /// Fails on a string with a NUL byte.
    pub(crate) fn new<S: Into<Vec<u8>>>(strings: impl IntoIterator<Item = S>) -> Result<Self, NulError> {
        let strings = strings
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Ok(Self {
            _strings: strings,
            pointers,
        })
    }
}

/// Whether this process has no second thread.
///
/// A fork copies only the calling thread: a lock held by another, the allocator's say, would stay held for ever.
pub(crate) fn single_threaded() -> bool {
    // SAFETY: touches no memory. For a process with one thread CLONE_THREAD changes nothing; with more it fails with
    // EINVAL, which is the question (unshare(2)). A lock-step answer in one call, where /proc would take three.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Moves this process, which has one thread, into new namespaces. Quiet, as [`super::run_beside`] asks.
pub(crate) fn unshare_namespaces(flags: rustix::thread::UnshareFlags) -> Result<(), Errno> {
    // SAFETY: touches no memory. With namespace flags only (none of the sharing flags, such as CLONE_FILES, that
    // would split what threads hold in common) no assumption of safe code changes.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Forks as the C library does, so that the child may go on for long, threads included.
///
/// Refuses with `EBUSY` in a process with more than one thread.
pub(crate) fn fork() -> Result<Option<i32>, Errno> {
    if !single_threaded() {
        return Err(Errno::BUSY);
    }
    // SAFETY: the process has one thread, so the child inherits no lock held elsewhere and may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(last()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Replaces this process by `program`. Returns only on failure.
pub(crate) fn execve(program: &CStr, argv: &CStrings, environ: &CStrings) -> Errno {
    // SAFETY: `program` is NUL-terminated; both arrays end in a null pointer and point at NUL-terminated strings
    // their owners keep alive. The kernel only reads them.
    unsafe {
        libc::execve(
            program.as_ptr(),
            argv.pointers.as_ptr(),
            environ.pointers.as_ptr(),
        )
    };
    last()
}

/// Ends this process at once: no destructor, no exit handler of the process it was copied from.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Forks and executes `program` with `descriptors` (each: ours, and the number it gets) and nothing else from 3 up.
/// The new process is killed when the thread that called this ends.
///
/// Callable with threads running: the child makes only calls that are safe after such a fork (signal-safety(7)) and
/// allocates nothing. `reserve` is a descriptor above every target, to report a failed exec on; it is close-on-exec.
pub(crate) fn spawn(
    program: &CStr,
    argv: &CStrings,
    environ: &CStrings,
    descriptors: &[(RawFd, RawFd)],
    reserve: RawFd,
) -> Result<i32, Errno> {
    // SAFETY: touches no memory.
    let parent = unsafe { libc::getpid() };
    // SAFETY: the child calls only async-signal-safe functions below, on memory that existed before the fork.
    let pid = unsafe { libc::fork() };
    if pid != 0 {
        return if pid == -1 { Err(last()) } else { Ok(pid) };
    }
    let errno = match become_role(parent, descriptors) {
        Ok(()) => execve(program, argv, environ),
        Err(errno) => errno,
    };
    let bytes = errno.raw_os_error().to_le_bytes();
    // SAFETY: writes four bytes that live on this stack.
    unsafe { libc::write(reserve, bytes.as_ptr().cast(), bytes.len()) };
    exit_now(127)
}

/// The child's part of [`spawn`] before exec. Allocates nothing.
fn become_role(parent: i32, descriptors: &[(RawFd, RawFd)]) -> Result<(), Errno> {
    // SAFETY: prctl(PR_SET_PDEATHSIG) takes an integer and touches no memory.
    check(libc::c_long::from(unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)
    }))?;
    // The parent may have died before the line above; then the signal will never come.
    // SAFETY: touches no memory.
    if unsafe { libc::getppid() } != parent {
        exit_now(127);
    }
    // What a terminal says is the parent's to hear and to pass on, not a role's to die of.
    rustix::process::setsid()?;
    super::default_dispositions();
    super::unblock_all()?;
    super::close_on_exec_from(3)?;
    for &(source, target) in descriptors {
        // SAFETY: integers only; this process owns nothing it will use again but `reserve`, which the caller placed
        // above every target, as it did the sources.
        check(libc::c_long::from(unsafe { libc::dup2(source, target) }))?;
    }
    Ok(())
}
