//! Calls that only ask the kernel something: each changes nothing, whatever it answers.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Errno, check};

/// Calls whose presence can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Clone3,
    PidfdOpen,
    PidfdSendSignal,
    CloseRange,
    Openat2,
    OpenTree,
    MoveMount,
    Fsopen,
    Fsconfig,
    Fsmount,
    MountSetattr,
}

/// Whether the kernel knows a call: it is made with arguments that can only be refused, and what is unknown is refused
/// with ENOSYS. A filter around us that answers ENOSYS makes it as good as unknown.
pub(crate) fn known(call: Asked) -> bool {
    let number = match call {
        Asked::Clone3 => libc::SYS_clone3,
        Asked::PidfdOpen => libc::SYS_pidfd_open,
        Asked::PidfdSendSignal => libc::SYS_pidfd_send_signal,
        Asked::CloseRange => libc::SYS_close_range,
        Asked::Openat2 => libc::SYS_openat2,
        Asked::OpenTree => libc::SYS_open_tree,
        Asked::MoveMount => libc::SYS_move_mount,
        Asked::Fsopen => libc::SYS_fsopen,
        Asked::Fsconfig => libc::SYS_fsconfig,
        Asked::Fsmount => libc::SYS_fsmount,
        Asked::MountSetattr => libc::SYS_mount_setattr,
    };
    // In each argument's place a number that is no descriptor, no address, no size and no set of flags the call has:
    // clone3 refuses a structure of 0 bytes, close_range and openat2 an unknown flag or size, pidfd_open a negative
    // process, the others a closed descriptor or a string at no address.
    let arguments: [i64; 6] = match call {
        Asked::Clone3 => [0; 6],
        Asked::Fsopen => [0, -1, 0, 0, 0, 0],
        _ => [-1, 0, -1, -1, 0, 0],
    };
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: no argument is an address of ours: those that are pointers are null or all ones, which the kernel finds
    // out and answers EFAULT or EINVAL; nothing is read or written in this process, and nothing can be made, see above.
    let answer = check(unsafe { libc::syscall(number, a, b, c, d, e, f) });
    answer != Err(Errno::NOSYS)
}

/// Returns the version of Landlock's interface (landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION).
pub(crate) fn landlock_abi() -> Result<u32, Errno> {
    const VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes no structure and returns a number.
    check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) })
        .map(|version| u32::try_from(version).unwrap_or(u32::MAX))
}

/// Asks whether seccomp filters exist and may answer a call with `action` (seccomp(2), SECCOMP_GET_ACTION_AVAIL).
pub(crate) fn seccomp_action(action: u32) -> Result<(), Errno> {
    // SAFETY: the kernel reads four bytes from `action`, which lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    })
    .map(|_| ())
}

/// Whether the kernel has gathered enough to give random bytes without waiting.
pub(crate) fn random_is_ready() -> Result<bool, Errno> {
    let mut byte = 0_u8;
    // SAFETY: the kernel writes at most the one byte pointed at.
    match check(unsafe { libc::syscall(libc::SYS_getrandom, &raw mut byte, 1_usize, libc::GRND_NONBLOCK) }) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether the kernel's clock is adjusted to others, and its largest error in microseconds (adjtimex(2)).
pub(crate) fn adjusted_clock() -> Result<(bool, i64), Errno> {
    // SAFETY: timex is a plain C structure of integers, for which all zeroes is a value: to adjust nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one timex to the pointer, which is valid; with no mode set it changes nothing.
    let state = check(libc::c_long::from(unsafe { libc::adjtimex(&raw mut timex) }))?;
    let adjusted = state != libc::c_long::from(libc::TIME_ERROR) && timex.status & libc::STA_UNSYNC == 0;
    Ok((adjusted, timex.maxerror))
}

/// Asks whether the file system of `file` counts by project now (quotactl_fd(2), Q_GETFMT). `ESRCH`: it could, and does
/// not; `ENOSYS`: it cannot.
pub(crate) fn project_quota(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // linux/quota.h: the command in the upper 24 bits, the kind in the lower 8.
    const GET_FORMAT: libc::c_uint = 0x80_0004 << 8;
    const PROJECT: libc::c_uint = 2;
    let mut format = 0_u32;
    // SAFETY: the kernel writes at most the four bytes pointed at.
    check(unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_raw_fd(),
            GET_FORMAT | PROJECT,
            0,
            &raw mut format,
        )
    })
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_runs_these_tests_knows_the_calls_the_sandbox_makes() {
        for call in [
            Asked::Clone3,
            Asked::PidfdOpen,
            Asked::PidfdSendSignal,
            Asked::CloseRange,
            Asked::Openat2,
            Asked::OpenTree,
            Asked::MoveMount,
            Asked::Fsopen,
            Asked::Fsconfig,
            Asked::Fsmount,
            Asked::MountSetattr,
        ] {
            assert!(known(call), "{call:?}");
        }
    }

    #[test]
    fn an_action_the_kernel_does_not_have_is_refused() {
        assert_eq!(seccomp_action(0x1234_0000), Err(Errno::OPNOTSUPP));
        assert_eq!(seccomp_action(libc::SECCOMP_RET_ERRNO), Ok(()));
    }
}
