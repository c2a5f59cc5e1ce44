//! System call rules as data, and what they say about a call.
//!
//! A policy is a table of groups: calls, what is answered, and for whom or why. It is compiled into a
//! classic BPF program shaped as a balanced tree over the call numbers. The shape matters: the kernel runs a filter
//! over every call number when it is installed, so a linear chain of comparisons costs 0.6 ms at each start, a tree
//! 0.03 ms.
//!
//! A refused call answers an errno and never kills: C libraries and language runtimes probe for calls and fall back
//! (sheet section 8, trap 50). Calls of a foreign architecture (32-bit, x32) answer ENOSYS.

mod cases;
mod compile;
mod launcher;
mod names;
mod native;
mod role;
mod sandstorm;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::OnceLock;

use seccompiler::sock_filter;

pub use cases::{Case, cases};
pub use names::name;

use crate::Policy;
use crate::sys::{self, Errno};

/// What is answered to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel carries it out.
    Allow,
    /// It is not carried out and answers this errno; 0 claims success.
    Errno(u16),
}

/// One comparison with an argument of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    /// Which argument, 0 to 5.
    arg: u8,
    /// Compares 64 bits instead of the lower 32, which is all the kernel looks at for an `int`.
    wide: bool,
    compare: Compare,
    value: u64,
}

/// How an argument is compared with the condition's value. Unsigned.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "a complete set; policies use some")]
pub(crate) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Equal in the bits of this mask.
    Masked(u64),
}

/// A verdict for calls that meet every condition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm {
    when: &'static [Condition],
    then: Verdict,
}

/// Calls treated alike. The first arm that matches decides, else `otherwise`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    calls: &'static [libc::c_long],
    arms: &'static [Arm],
    otherwise: Verdict,
    /// Who needs the call, or what it would let an app do.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for readers, and the test that no group is without")
    )]
    why: &'static str,
}

/// A policy.
#[derive(Debug)]
pub(crate) struct Rules {
    groups: &'static [Group],
    /// For calls below `newer_from` that no group names.
    unlisted: Verdict,
    /// Calls from this number on are newer than the policy.
    newer_from: u32,
    newer: Verdict,
}

const fn group(
    calls: &'static [libc::c_long],
    arms: &'static [Arm],
    otherwise: Verdict,
    why: &'static str,
) -> Group {
    Group {
        calls,
        arms,
        otherwise,
        why,
    }
}

const fn arm(when: &'static [Condition], then: Verdict) -> Arm {
    Arm { when, then }
}

/// Compares an `int` argument.
const fn int(arg: u8, compare: Compare, value: u64) -> Condition {
    Condition {
        arg,
        wide: false,
        compare,
        value,
    }
}

/// Compares a 64-bit argument.
const fn long(arg: u8, compare: Compare, value: u64) -> Condition {
    Condition {
        arg,
        wide: true,
        compare,
        value,
    }
}

const fn errno(code: i32) -> Verdict {
    Verdict::Errno(code as u16)
}

const ENOSYS: Verdict = errno(libc::ENOSYS);
const EPERM: Verdict = errno(libc::EPERM);

/// AUDIT_ARCH_X86_64 (linux/audit.h): the machine word of [`libc::EM_X86_64`], 64 bits, little endian.
const ARCH: u32 = 0xc000_003e;
/// Numbers from here on are calls of the x32 ABI.
const X32: u32 = 0x4000_0000;

impl Condition {
    fn holds(&self, args: &[u64; 6]) -> bool {
        let cut = |word: u64| if self.wide { word } else { word & 0xffff_ffff };
        let (arg, value) = (cut(args[usize::from(self.arg)]), cut(self.value));
        match self.compare {
            Compare::Eq => arg == value,
            Compare::Ne => arg != value,
            Compare::Lt => arg < value,
            Compare::Le => arg <= value,
            Compare::Gt => arg > value,
            Compare::Ge => arg >= value,
            Compare::Masked(mask) => arg & mask == value & mask,
        }
    }
}

impl Rules {
    /// Returns what the policy answers to a call. The compiled program answers the same.
    pub(crate) fn verdict(&self, arch: u32, number: u32, args: &[u64; 6]) -> Verdict {
        if arch != ARCH || number >= X32 {
            return ENOSYS;
        }
        for group in self.groups {
            if group.calls.contains(&libc::c_long::from(number)) {
                return group
                    .arms
                    .iter()
                    .find(|arm| arm.when.iter().all(|condition| condition.holds(args)))
                    .map_or(group.otherwise, |arm| arm.then);
            }
        }
        if number >= self.newer_from {
            self.newer
        } else {
            self.unlisted
        }
    }
}

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct Program(Vec<sock_filter>);

impl Program {
    /// Compiles `rules`; with `notify`, calls that would be refused wait for a listener's answer instead.
    fn compile(rules: &Rules, notify: bool) -> Self {
        Self(compile::compile(rules, notify))
    }

    /// Installs the filter on this process for good. Sets no_new_privs.
    pub(crate) fn install(&self) -> Result<(), Errno> {
        seccompiler::apply_filter(&self.0).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
                Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
            }
            _ => Errno::INVAL,
        })
    }

    /// Installs the filter for good and returns where refused calls wait. no_new_privs must be set.
    pub(crate) fn install_listening(&self) -> Result<std::os::fd::OwnedFd, Errno> {
        sys::install_listening(&self.0)
    }
}

/// Returns the rules of a policy.
pub(crate) fn rules(policy: Policy) -> &'static Rules {
    match policy {
        Policy::Sandstorm => &sandstorm::RULES,
        Policy::Native => &native::RULES,
    }
}

/// Returns the program of a policy, compiled once per process and inherited by its forks.
pub(crate) fn program(policy: Policy, notify: bool) -> &'static Program {
    static PROGRAMS: [OnceLock<Program>; 4] = [const { OnceLock::new() }; 4];
    let index = usize::from(policy == Policy::Native) * 2 + usize::from(notify);
    PROGRAMS[index].get_or_init(|| Program::compile(rules(policy), notify))
}

macro_rules! programs {
    ($($(#[$doc:meta])* $name:ident = $rules:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name() -> &'static Program {
            static PROGRAM: OnceLock<Program> = OnceLock::new();
            PROGRAM.get_or_init(|| Program::compile(&$rules, false))
        }
    )*};
}

programs! {
    /// Returns the program of a confined worker.
    worker_program = worker::RULES;
    /// Returns the program of a grain host.
    host_program = role::HOST_RULES;
    /// Returns the program of the edge.
    edge_program = role::EDGE_RULES;
    /// Returns the program of the role that connects to other machines.
    egress_program = role::EGRESS_RULES;
    /// Returns the program of the broker.
    broker_program = role::BROKER_RULES;
    /// Returns the program of whoever starts processes that have programs of their own.
    launcher_program = launcher::RULES;
}
