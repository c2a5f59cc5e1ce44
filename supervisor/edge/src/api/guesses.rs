//! Makes guessing tokens slow: who was wrong often waits, and nobody else does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::crowd::client;

/// Clients remembered at most. Who has been wrong least is forgotten first.
const CLIENTS: usize = 4096;

/// Who has been wrong on this thread, and until when it counts.
#[derive(Debug)]
pub(crate) struct Guesses {
    /// How long one wrong token counts.
    each: Duration,
    /// How much may count before a client waits.
    most: Duration,
    until: RefCell<HashMap<IpAddr, Instant>>,
}

impl Guesses {
    /// `count` wrong tokens are free; each is forgotten after `each`.
    pub(crate) fn new(count: u32, each: Duration) -> Self {
        Self {
            each,
            most: each.saturating_mul(count),
            until: RefCell::default(),
        }
    }

    /// How long a client must wait before it may be wrong again.
    pub(crate) fn wait(&self, now: Instant, peer: IpAddr) -> Option<Duration> {
        let until = *self.until.borrow().get(&client(peer))?;
        let left = until.saturating_duration_since(now);
        let counted = left + self.each;
        (counted > self.most).then(|| counted - self.most)
    }

    /// Counts a wrong token.
    pub(crate) fn count(&self, now: Instant, peer: IpAddr) {
        let mut until = self.until.borrow_mut();
        let client = client(peer);
        if until.len() >= CLIENTS && !until.contains_key(&client) {
            until.retain(|_, until| *until > now);
            let least = until
                .iter()
                .min_by_key(|(_, until)| **until)
                .map(|(client, _)| *client);
            if let Some(least) = least.filter(|_| until.len() >= CLIENTS) {
                until.remove(&least);
            }
        }
        let entry = until.entry(client).or_insert(now);
        *entry = (*entry).max(now) + self.each;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_guesses_waits_and_is_forgiven_and_nobody_else_waits() {
        let (guesses, now) = (Guesses::new(3, Duration::from_secs(10)), Instant::now());
        let (one, other) = (address("2001:db8::1"), address("2001:db8:0:1::1"));
        for _ in 0..3 {
            assert_eq!(guesses.wait(now, one), None);
            guesses.count(now, one);
        }
        assert_eq!(guesses.wait(now, one), Some(Duration::from_secs(10)));
        let neighbour = address("2001:db8::2");
        assert!(
            guesses.wait(now, neighbour).is_some(),
            "a neighbour's address is no other client"
        );
        assert_eq!(guesses.wait(now, other), None);
        assert_eq!(guesses.wait(now + Duration::from_secs(10), one), None);
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_worst() {
        let (guesses, now) = (Guesses::new(3, Duration::from_secs(10)), Instant::now());
        let worst = address("192.0.2.1");
        for _ in 0..3 {
            guesses.count(now, worst);
        }
        for number in 0..2 * u32::try_from(CLIENTS).unwrap() {
            guesses.count(now, IpAddr::V4((0x0a00_0000 + number).into()));
        }
        assert_eq!(guesses.until.borrow().len(), CLIENTS);
        assert!(guesses.wait(now, worst).is_some());
    }
}
