//! Processes that share this one's memory until they execute a program or end.
//!
//! A fork copies the address space, and afterwards every page that either side writes to: a third of what a start costs,
//! more the larger the caller has grown. A process made here copies nothing. Whatever else it has (ids, namespaces,
//! signals and, unless asked otherwise, descriptors) is its own.
//!
//! What shares memory shares the allocator, the thread-local storage and `errno` of a single thread. Of the processes
//! that share them at a time, one may do what it likes; the others have to be *quiet*: they call the kernel through
//! `rustix`, which keeps nothing in between, allocate nothing, free nothing and cannot panic.

use std::arch::asm;
use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::futex;

use super::{Errno, check, exit_now, last, single_threaded, with_signals_blocked};

/// Bytes of the mapping a stack lies in. Only what is touched takes memory.
const SIZE: usize = 256 << 10;
/// The mapping is: a page with the word that tells if it is in use, a page that faults, so that a stack that grows too
/// long ends its process instead of writing there, and the stack.
const GUARD: usize = 4 << 10;
const STACK: usize = 2 * GUARD;

/// The stack of one process that shares this memory. Freed once the process no longer does.
pub(crate) struct Stack {
    base: *mut c_void,
    /// Offset of the end of what is not reserved: where the stack begins, growing down.
    free: usize,
}

impl Stack {
    pub(crate) fn new() -> Result<Self, Errno> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: without MAP_FIXED the kernel maps where nothing is.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(last());
        }
        let stack = Self { base, free: SIZE };
        // The kernel is to write there even while it ends a process, when it no longer makes pages appear.
        stack.in_use().store(0, Ordering::Release);
        // SAFETY: a page of the mapping made above, which nothing refers to yet.
        check(libc::c_long::from(unsafe {
            libc::mprotect(base.byte_add(GUARD), GUARD, libc::PROT_NONE)
        }))?;
        Ok(stack)
    }

    /// Not 0 while a process uses this stack. Set and cleared by the kernel with the process, so that it is true also
    /// where whoever makes a process is killed in the middle of that.
    fn in_use(&self) -> &AtomicU32 {
        // SAFETY: the first word of the mapping: aligned, zero at first, touched by atomic operations and the kernel.
        unsafe { &*self.base.cast() }
    }

    /// Takes room for a `T` from the upper end, for good.
    fn reserve<T>(&mut self) -> *mut T {
        const { assert!(size_of::<T>() <= SIZE / 16 && align_of::<T>() <= 16) };
        self.free = self
            .free
            .checked_sub(size_of::<T>().next_multiple_of(16))
            .filter(|free| *free > SIZE / 2)
            .expect("a stack serves one process");
        // SAFETY: within the mapping, see above, and aligned, as the mapping's end is.
        unsafe { self.base.byte_add(self.free).cast() }
    }

    /// Waits until the process that uses this stack executes a program or ends.
    fn released(&self) {
        loop {
            match self.in_use().load(Ordering::Acquire) {
                0 => return,
                // Not private to this process: the kernel wakes by the word itself, whoever waits for it.
                value => drop(futex::wait(self.in_use(), futex::Flags::empty(), value, None)),
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.released();
        // SAFETY: the mapping made in `new`; the process that ran on it has left this memory.
        unsafe { libc::munmap(self.base, SIZE) };
    }
}

/// A process that has been made here and no longer shares our memory.
pub(crate) struct Made<T> {
    /// Its id in our namespace.
    pub(crate) pid: i32,
    /// Refers to it. It has not been reaped.
    pub(crate) pidfd: OwnedFd,
    /// What was done meanwhile.
    pub(crate) meanwhile: T,
}

/// Runs `child` in a process of its own in the new namespaces `flags` name, born into the version 2 control group
/// `cgroup`, and `meanwhile` here with its id. Returns when both are done: `child` by executing a program, or by ending,
/// with what it returns for its exit status. An error of `meanwhile` kills it.
///
/// One of the two has to be quiet, see above. The child's copies of our descriptors have the same numbers and are not
/// for their owners to close. It starts with every signal blocked, for our handlers are not meant to run there.
///
/// Fails with `EBUSY` in a process with more than one thread.
pub(crate) fn start_beside<T, E>(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
    meanwhile: impl FnOnce(i32, BorrowedFd<'_>) -> Result<T, E>,
) -> Result<Made<Result<T, E>>, Errno> {
    if !single_threaded() {
        return Err(Errno::BUSY);
    }
    let mut stack = Stack::new()?;
    let mut pidfd: RawFd = -1;
    let mut arguments = Arguments {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        ..Arguments::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    let pid = with_signals_blocked(|| clone_onto(&mut stack, arguments, child))?;
    // SAFETY: with CLONE_PIDFD a successful call stored a new descriptor that belongs to nobody yet.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let meanwhile = meanwhile(pid, pidfd.as_fd());
    if meanwhile.is_err() {
        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    }
    stack.released();
    Ok(Made {
        pid,
        pidfd,
        meanwhile,
    })
}

/// A process that shares our descriptors too, and what it is to return. Must be joined: until then it shares our memory.
#[must_use]
pub(crate) struct Beside<'s, R> {
    pid: i32,
    result: *mut Option<R>,
    stack: &'s mut Stack,
}

/// Runs `child` in a process of its own. As a thread would, but also for processes that have just been made here.
///
/// Until it is joined it has to be quiet, see above; it borrows nothing, for it lives on for a moment if this process is
/// killed.
pub(crate) fn run_beside<R: Send + 'static>(
    stack: &mut Stack,
    child: impl FnOnce() -> R + Send + 'static,
) -> Result<Beside<'_, R>, Errno> {
    let result = stack.reserve::<Option<R>>();
    // SAFETY: `reserve` gave us this place, aligned and large enough, and nothing uses it yet.
    unsafe { result.write(None) };
    let arguments = Arguments {
        flags: libc::CLONE_FILES as u64,
        ..Arguments::default()
    };
    let pid = clone_onto(stack, arguments, move || {
        let returned = child();
        // SAFETY: as above; the parent looks at it when this process has ended.
        unsafe { result.write(Some(returned)) };
        0
    })?;
    Ok(Beside { pid, result, stack })
}

impl<R> Beside<'_, R> {
    /// Waits for its end and returns what it returned; `None` if it was killed.
    pub(crate) fn join(self) -> Result<Option<R>, Errno> {
        let pid = Pid::from_raw(self.pid).ok_or(Errno::SRCH)?;
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))?;
        self.stack.released();
        // SAFETY: written by `run_beside`, perhaps again by the process, which has ended; read this once.
        Ok(unsafe { self.result.read() })
    }
}

/// Makes a process that runs `child` on `stack`.
fn clone_onto<F: FnOnce() -> i32>(stack: &mut Stack, arguments: Arguments, child: F) -> Result<i32, Errno> {
    extern "C" fn enter<F: FnOnce() -> i32>(child: *mut c_void) -> ! {
        // SAFETY: `clone_onto` wrote an `F` there for this one call and forgets it.
        let child = unsafe { child.cast::<F>().read() };
        // Caught, for the count of panics is one of the things that are shared.
        exit_now(catch_unwind(AssertUnwindSafe(child)).unwrap_or(101))
    }

    if stack.in_use().load(Ordering::Acquire) != 0 {
        return Err(Errno::BUSY);
    }
    let place = stack.reserve::<F>();
    // SAFETY: `reserve` gave us this place, aligned and large enough, and nothing uses it yet.
    unsafe { place.write(child) };
    let mut arguments = Arguments {
        flags: arguments.flags
            | (libc::CLONE_VM | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID) as u64,
        child_tid: stack.in_use().as_ptr() as u64,
        parent_tid: stack.in_use().as_ptr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.base as u64 + STACK as u64,
        stack_size: (stack.free - STACK) as u64,
        ..arguments
    };
    let result: isize;
    // SAFETY: the call's arguments have the size passed and live through it; besides `pidfd`, which the caller points
    // at, the kernel writes the word `in_use` alone, now and later, and the stack outlives that. Where the call returns 0 this is
    // the new process, on a stack that is its own, empty, and aligned as a function expects; it calls one that does
    // not return and finds its argument there. Here the call changes the three registers named and returns as any does.
    // By assembly, for no wrapper takes a stack, namespaces, a pidfd and a group at once, and code that the compiler
    // made cannot change stacks between two of its instructions.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") &raw mut arguments,
            in("rsi") size_of::<Arguments>(),
            in("r8") place,
            in("r9") enter::<F> as extern "C" fn(*mut c_void) -> !,
            out("rcx") _,
            out("r11") _,
        );
    }
    if result < 0 {
        // SAFETY: written above, and no process came to read it.
        drop(unsafe { place.read() });
        return Err(Errno::from_raw_os_error(-result as i32));
    }
    Ok(result as i32)
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The arguments of clone3(2) as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_beside_shares_memory_and_descriptors() {
        let mut stack = Stack::new().unwrap();
        let beside = run_beside(&mut stack, || {
            rustix::event::eventfd(7, rustix::event::EventfdFlags::CLOEXEC)
        });
        let made = beside.unwrap().join().unwrap().unwrap().unwrap();
        let mut count = [0; 8];
        assert_eq!(rustix::io::read(&made, &mut count), Ok(8));
        assert_eq!(u64::from_ne_bytes(count), 7);
    }

    #[test]
    fn one_that_ends_early_returns_nothing() {
        let mut stack = Stack::new().unwrap();
        let beside = run_beside(&mut stack, || -> u32 { exit_now(3) }).unwrap();
        assert_eq!(beside.join(), Ok(None));
        // And the next one has the stack to itself.
        assert_eq!(run_beside(&mut stack, || 5).unwrap().join(), Ok(Some(5)));
    }
}
