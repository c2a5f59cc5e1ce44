//! How many bytes of bodies may lie here whole, over all sessions and threads: what each may do by itself has no sum else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::budget::Budget;
use crate::config::Limits;
use crate::grain::sessions::Key;

/// No machine is too small for this many: the largest message of an app fits.
const LEAST: usize = 64 << 20;
/// Requests may have one byte in so many of the machine's memory, and answers as many. The rest is for apps, and for
/// what the kernel holds of their files.
const OF_MEMORY: u64 = 8;
/// A session may have one byte in so many, so that it takes several to leave others without.
const OF_ALL: usize = 4;
/// Parts that nobody uses are looked for when there are so many, and then when there are twice as many as were used.
const PARTS: usize = 64;

/// What bodies may take, shared by all threads.
#[derive(Clone)]
pub(crate) struct Bodies {
    /// For requests that are collected.
    pub requests: Budget,
    /// For answers that wait for their clients.
    pub answers: Budget,
    /// What the requests of one session may take, in bytes.
    share: usize,
    /// The same for its answers; the first of them may be larger.
    answers_share: usize,
    parts: Arc<Mutex<Parts>>,
}

/// What one session may take, on all threads that it comes to.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub requests: Budget,
    pub answers: Budget,
}

impl Part {
    fn is_used(&self) -> bool {
        self.requests.is_shared() || self.answers.is_shared()
    }
}

/// The parts of all sessions that there are, or of which bytes still lie here.
struct Parts {
    of: HashMap<Key, Part>,
    most: usize,
}

impl Bodies {
    /// For an edge on this machine.
    pub(crate) fn new(limits: &Limits) -> Self {
        let machine = rustix::system::sysinfo();
        let memory = machine.totalram.saturating_mul(machine.mem_unit.into());
        Self::of(limits, memory)
    }

    fn of(limits: &Limits, memory: u64) -> Self {
        let part = usize::try_from(memory / OF_MEMORY).unwrap_or(usize::MAX);
        let total = limits.bodies.min(part.max(LEAST));
        let part = total / OF_ALL;
        Self {
            requests: Budget::of(total),
            answers: Budget::of(total),
            // One body of the largest must fit.
            share: part.max(limits.collected_body).min(total),
            answers_share: part.min(limits.bytes_per_session),
            parts: Arc::new(Mutex::new(Parts {
                of: HashMap::new(),
                most: PARTS,
            })),
        }
    }

    /// What a session may take: the same for all threads that ask.
    pub(crate) fn of_session(&self, key: Key) -> Part {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.of.len() >= parts.most {
            parts.of.retain(|_, part| part.is_used());
            parts.most = PARTS.max(parts.of.len() * 2);
        }
        let part = parts.of.entry(key).or_insert_with(|| Part {
            requests: Budget::of(self.share),
            answers: Budget::of(self.answers_share),
        });
        part.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::Program([number; 32])
    }

    #[test]
    fn a_small_machine_gives_less_and_a_session_has_a_part() {
        const MIB: usize = 1 << 20;
        let limits = Limits::default();
        for (memory, total, requests, answers) in
            [(24_000, 256, 64, 64), (1_000, 125, 31, 31), (256, 64, 16, 16)]
        {
            let bodies = Bodies::of(&limits, memory << 20);
            let part = bodies.of_session(key(0));
            let found = [
                bodies.requests.total(),
                part.requests.total(),
                part.answers.total(),
            ];
            assert_eq!(
                found.map(|bytes| bytes / MIB),
                [total, requests, answers],
                "{memory} MiB"
            );
            assert_eq!(bodies.answers.total(), bodies.requests.total());
        }
    }

    #[test]
    fn a_session_has_one_part_on_all_threads() {
        let limits = Limits {
            bodies: 40,
            ..Limits::default()
        };
        let bodies = Bodies::of(&limits, 0);
        let one = bodies.of_session(key(1));
        let held = one.answers.try_copy_within(&bodies.answers, b"abcdefgh").unwrap();
        let elsewhere = std::thread::scope(|scope| {
            let thread = scope.spawn(|| bodies.clone().of_session(key(1)));
            thread.join().unwrap()
        });
        assert!(
            elsewhere
                .answers
                .try_copy_within(&bodies.answers, b"ijk")
                .is_none()
        );
        let other = bodies.of_session(key(2));
        assert!(other.answers.try_copy_within(&bodies.answers, b"ijk").is_some());
        drop(held);
        assert!(
            elsewhere
                .answers
                .try_copy_within(&bodies.answers, b"ijk")
                .is_some()
        );
    }

    #[test]
    fn parts_nobody_uses_are_forgotten_and_those_of_bytes_still_here_are_not() {
        let bodies = Bodies::of(&Limits::default(), 0);
        let held = bodies
            .of_session(key(0))
            .answers
            .try_copy_within(&bodies.answers, b"abc");
        let used: Vec<_> = (1..20).map(|number| bodies.of_session(key(number))).collect();
        for number in 0..=u8::MAX {
            bodies.of_session(Key::Program([number / 2 + 100; 32]));
            bodies.of_session(Key::Page([number; 67]));
        }
        let parts = bodies.parts.lock().unwrap();
        assert!(parts.of.len() <= PARTS, "{}", parts.of.len());
        assert!((0..20).all(|number| parts.of.contains_key(&key(number))));
        drop((held, used));
    }
}
