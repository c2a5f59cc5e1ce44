//! How many bytes of bodies may lie here whole, over all sessions and threads: what each may do by itself has no sum else.

use crate::budget::Budget;
use crate::config::Limits;

/// No machine is too small for this many: the largest message of an app fits.
const LEAST: usize = 64 << 20;
/// Requests may have one byte in so many of the machine's memory, and answers as many. The rest is for apps, and for
/// what the kernel holds of their files.
const OF_MEMORY: u64 = 8;
/// A session may have one byte in so many, so that it takes several to leave others without.
const OF_ALL: usize = 4;

/// What bodies may take, shared by all threads.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    /// For requests that are collected.
    pub requests: Budget,
    /// For answers that wait for their clients.
    pub answers: Budget,
    /// What the requests of one session may take on one thread, in bytes.
    share: usize,
    /// The same for its answers; the first of them may be larger.
    answers_share: usize,
}

impl Bodies {
    /// For an edge of so many threads on this machine.
    pub(crate) fn new(limits: &Limits, threads: usize) -> Self {
        let machine = rustix::system::sysinfo();
        let memory = machine.totalram.saturating_mul(machine.mem_unit.into());
        Self::of(limits, threads, memory)
    }

    fn of(limits: &Limits, threads: usize, memory: u64) -> Self {
        let part = usize::try_from(memory / OF_MEMORY).unwrap_or(usize::MAX);
        let total = limits.bodies.min(part.max(LEAST));
        // A session has its share on each thread it comes to. One body of the largest must fit.
        let part = total / OF_ALL / threads.max(1);
        Self {
            requests: Budget::of(total),
            answers: Budget::of(total),
            share: part.max(limits.collected_body),
            answers_share: part.min(limits.bytes_per_session),
        }
    }

    /// What the requests of one more session may take.
    pub(crate) fn requests_of_session(&self) -> Budget {
        Budget::of(self.share.min(self.requests.total()))
    }

    /// What the answers of one more session may take.
    pub(crate) fn answers_of_session(&self) -> Budget {
        Budget::of(self.answers_share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_gives_less_and_a_session_has_a_part() {
        const MIB: usize = 1 << 20;
        let limits = Limits::default();
        for (memory, threads, total, requests, answers) in [
            (24_000, 2, 256, 32, 32),
            (24_000, 1, 256, 64, 64),
            (1_000, 1, 125, 31, 31),
            (256, 1, 64, 16, 16),
            (256, 4, 64, 16, 4),
            (24_000, 64, 256, 16, 1),
        ] {
            let bodies = Bodies::of(&limits, threads, memory << 20);
            let found = [
                bodies.requests.total(),
                bodies.requests_of_session().total(),
                bodies.answers_of_session().total(),
            ];
            assert_eq!(
                found.map(|bytes| bytes / MIB),
                [total, requests, answers],
                "{memory} MiB, {threads} threads"
            );
            assert_eq!(bodies.answers.total(), bodies.requests.total());
        }
    }
}
