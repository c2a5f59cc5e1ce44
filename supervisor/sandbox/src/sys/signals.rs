//! Signals of a process about to exec something that expects a fresh table.

use super::{Errno, check};

/// Sets every signal that can be set to its default action. Ignored signals stay ignored across exec otherwise, and
/// Rust programs ignore SIGPIPE.
pub(crate) fn default_dispositions() {
    // struct kernel_sigaction: handler (SIG_DFL is 0), flags, restorer, mask.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one kernel_sigaction from `default` and is given nowhere to write; SIG_DFL runs no
        // code of ours. It fails on SIGKILL and SIGSTOP, which cannot have another action. The raw call, for the C
        // library keeps signals 32 and 33 to itself and would leave them ignored where we were started so.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}

/// Does something while every signal is blocked for this thread, and for what it makes meanwhile.
pub(crate) fn with_signals_blocked<T>(something: impl FnOnce() -> T) -> T {
    use nix::sys::signal::{SigSet, SigmaskHow};
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let done = something();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    done
}

/// Unblocks every signal.
pub(crate) fn unblock_all() -> Result<(), Errno> {
    let empty: u64 = 0;
    // SAFETY: the kernel reads eight bytes (its sigset size) from `empty` and is given nowhere to write. The raw call
    // rather than pthread_sigmask: the latter would leave the C library's internal signals as they are.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const empty,
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    })
    .map(|_| ())
}
