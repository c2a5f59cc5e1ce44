//! What the kernel answers under a filter, for tests: nothing is carried out.

use std::io::Read;
use std::os::fd::AsRawFd;

use seccompiler::sock_filter;

/// The sixth argument of the calls this test makes for itself.
const MARK: u64 = 0x7e57_ca11;

/// Asks the kernel what a process under `program` is answered: an errno, 0 for a claimed success, and `passed` where
/// `program` lets the call through. Below it lies a filter that answers `passed` to all but this test's own calls; of two
/// errors the kernel takes the later filter's.
pub(crate) fn answers(program: &[sock_filter], asked: &[(u32, [u64; 6])], passed: i32) -> Vec<i32> {
    let op = |code: u16, jt: u8, jf: u8, k: u32| sock_filter { code, jt, jf, k };
    let below = [
        // Load the lower half of the sixth argument, compare, answer.
        op(0x20, 0, 0, 16 + 8 * 5),
        op(0x15, 0, 1, MARK as u32),
        op(0x06, 0, 0, 0x7fff_0000),
        op(0x06, 0, 0, 0x0005_0000 | passed as u32),
    ];
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut found = vec![0_i32; asked.len()];
    // SAFETY: the test process has threads, so the child makes raw calls only, on memory that exists, and ends by one.
    let child = unsafe { libc::fork() };
    if child == 0 {
        for filter in [&below[..], program] {
            let header = libc::sock_fprog {
                len: filter.len() as u16,
                filter: filter.as_ptr().cast_mut().cast(),
            };
            let nothing = 0_u64;
            let (one, set) = (1_u64, libc::PR_SET_NO_NEW_PRIVS as u64);
            // SAFETY: integers.
            let private =
                unsafe { libc::syscall(libc::SYS_prctl, set, one, nothing, nothing, nothing, MARK) };
            // SAFETY: `header` points at `len` instructions, which the kernel copies.
            let installed = unsafe {
                libc::syscall(
                    libc::SYS_seccomp,
                    one,
                    nothing,
                    &raw const header,
                    nothing,
                    nothing,
                    MARK,
                )
            };
            // What follows is to be answered by a filter, and by nothing else.
            if private != 0 || installed != 0 {
                super::exit_now(1);
            }
        }
        for ((number, [a, b, c, d, e, f]), found) in asked.iter().zip(&mut found) {
            // SAFETY: one of the filters answers; the kernel looks at no argument.
            let result = unsafe { libc::syscall(libc::c_long::from(*number), *a, *b, *c, *d, *e, *f) };
            *found = match result {
                -1 => super::last().raw_os_error(),
                answered => answered as i32,
            };
        }
        let length = found.len() * 4;
        // SAFETY: `found` has that many bytes.
        unsafe {
            libc::syscall(
                libc::SYS_write,
                writer.as_raw_fd(),
                found.as_ptr(),
                length,
                0,
                0,
                MARK,
            )
        };
        // SAFETY: ends the process.
        unsafe { libc::syscall(libc::SYS_exit_group, 0_u64, 0_u64, 0_u64, 0_u64, 0_u64, MARK) };
        unreachable!("every policy lets a process end");
    }
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("the child tells");
    // SAFETY: collects the child, whose status nobody wants.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let words = bytes.chunks_exact(4);
    words
        .map(|word| i32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}
