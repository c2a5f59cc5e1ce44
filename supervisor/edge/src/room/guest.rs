//! One connection, and whether it may be told to give way: what it asks for, and whether we wait for its client.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Counts what happens on one thread: which of two things came first is known without asking for the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments(Arc<AtomicU64>);

impl Moments {
    pub(super) fn next(&self) -> u64 {
        // Shared with sockets, which must be able to go to another thread though none does: nobody else writes.
        let next = self.0.load(Relaxed) + 1;
        self.0.store(next, Relaxed);
        next
    }
}

/// Since when we wait for a client who has to send or to take something.
#[derive(Clone, Copy, Debug)]
struct Wait {
    moment: u64,
    /// Earlier than the moment for one who moves next to nothing: its waits are one.
    since: Instant,
}

impl Wait {
    fn new(moments: &Moments, owed: Duration) -> Self {
        let now = Instant::now();
        Self {
            moment: moments.next(),
            since: now.checked_sub(owed).unwrap_or(now),
        }
    }
}

/// One connection.
pub(super) struct Guest {
    moments: Moments,
    /// Requests whose answers are not at their end.
    asking: Cell<usize>,
    /// The last of them has an answer: that more of its body is to come keeps nobody waiting.
    is_answered: Cell<bool>,
    /// It is a WebSocket, or about to become one.
    is_socket: Cell<bool>,
    /// The moment from which it has asked for nothing.
    since: Cell<u64>,
    /// We wait for a part of a request.
    sends: Cell<Option<Wait>>,
    /// We wait for a part of an answer to be taken.
    takes: Unsent,
    pub(super) told: Cell<bool>,
    pub(super) leave: Notify,
}

impl Guest {
    pub(super) fn new(moments: &Moments, number: u64) -> Self {
        Self {
            moments: moments.clone(),
            asking: Cell::new(0),
            is_answered: Cell::new(false),
            is_socket: Cell::new(false),
            since: Cell::new(number),
            sends: Cell::new(None),
            takes: Unsent::new(moments),
            told: Cell::new(false),
            leave: Notify::new(),
        }
    }

    /// A request has come.
    pub(super) fn asks(&self) {
        self.asking.set(self.asking.get() + 1);
        self.is_answered.set(false);
    }

    /// It has an answer, whose body may be on its way for long.
    pub(super) fn answered(&self) {
        self.is_answered.set(true);
    }

    /// That answer is at its end.
    pub(super) fn finishes(&self) {
        self.asking.set(self.asking.get() - 1);
        self.since.set(self.moments.next());
    }

    /// It is a WebSocket from now on, or not after all.
    pub(super) fn becomes_socket(&self, is_socket: bool) {
        // Whoever would hear of it has nothing to say on a WebSocket.
        self.told.set(false);
        self.is_socket.set(is_socket);
    }

    /// We wait for a part of a request, if `Some`: of a client who owes us so much time already.
    pub(super) fn sends(&self, owed: Option<Duration>) {
        self.sends.set(owed.map(|owed| Wait::new(&self.moments, owed)));
    }

    pub(super) fn takes(&self) -> Unsent {
        self.takes.clone()
    }

    /// Whether it may be told to give way: it asks for nothing, or has made us wait for as long as `patience`. If so, from
    /// which moment on.
    pub(super) fn gives_way(&self, patience: Duration) -> Option<u64> {
        if self.is_socket.get() {
            return None;
        }
        let taking = *self.takes.lock();
        // Once the answer is sent, what still comes of the request is all that says whether it is idle.
        let is_over = self.asking.get() == 0;
        let sending = self.sends.get().filter(|_| is_over || !self.is_answered.get());
        // Who moves one way is not late the other.
        let waits = match (sending, taking.wait) {
            (Some(one), Some(other)) if one.since < other.since => Some(other),
            (one, other) => one.or(other),
        };
        match waits {
            Some(wait) => (wait.since.elapsed() >= patience).then_some(wait.moment),
            None if is_over => Some(self.since.get().max(taking.ended)),
            None => None,
        }
    }
}

/// What a connection's socket says of bytes that its client has not taken yet. HTTP hands over a whole answer at once and
/// thinks of it no more, so this is how we know that one is still on its way.
#[derive(Clone, Debug)]
pub(crate) struct Unsent {
    moments: Moments,
    /// A lock only because sockets must be able to go to another thread. Taken where a client keeps us waiting, never
    /// where the kernel takes all at once.
    taking: Arc<Mutex<Taking>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Taking {
    wait: Option<Wait>,
    /// The moment at which it last was over.
    ended: u64,
}

impl Unsent {
    fn new(moments: &Moments) -> Self {
        Self {
            moments: moments.clone(),
            taking: Arc::default(),
        }
    }

    /// Bytes wait for a client, who owes us so much time already.
    pub(crate) fn begin(&self, owed: Duration) {
        self.lock().wait = Some(Wait::new(&self.moments, owed));
    }

    /// Some were taken.
    pub(crate) fn end(&self) {
        let ended = self.moments.next();
        *self.lock() = Taking { wait: None, ended };
    }

    fn lock(&self) -> MutexGuard<'_, Taking> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn guest() -> Guest {
        Guest::new(&Moments::default(), 0)
    }

    fn goes(guest: &Guest) -> bool {
        guest.gives_way(PATIENCE).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_stays_until_it_makes_us_wait() {
        let guest = guest();
        assert!(goes(&guest), "it has asked for nothing");
        guest.asks();
        tokio::time::advance(SECOND * 3600).await;
        assert!(!goes(&guest), "that we are slow is not its fault");
        guest.sends(Some(Duration::ZERO));
        tokio::time::advance(SECOND * 4).await;
        assert!(!goes(&guest));
        guest.sends(Some(Duration::ZERO));
        tokio::time::advance(SECOND * 4).await;
        assert!(!goes(&guest), "a part came in between");
        tokio::time::advance(SECOND).await;
        assert!(goes(&guest));
        guest.sends(None);
        assert!(!goes(&guest), "it all came");
        guest.finishes();
        assert!(goes(&guest));
    }

    #[tokio::test(start_paused = true)]
    async fn who_dribbles_owes_what_it_made_us_wait_before() {
        let guest = guest();
        guest.asks();
        guest.sends(Some(SECOND * 4));
        assert!(!goes(&guest));
        tokio::time::advance(SECOND).await;
        assert!(goes(&guest));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_unsent_counts_as_asking_while_it_is_taken() {
        let guest = guest();
        guest.asks();
        guest.answered();
        let unsent = guest.takes();
        unsent.begin(Duration::ZERO);
        guest.finishes();
        for _ in 0..10 {
            tokio::time::advance(SECOND * 4).await;
            assert!(!goes(&guest), "it reads, if slowly");
            unsent.end();
            unsent.begin(Duration::ZERO);
        }
        tokio::time::advance(PATIENCE).await;
        assert!(goes(&guest), "it no longer does");
        unsent.end();
        let idle = guest.gives_way(PATIENCE);
        assert!(
            idle > Some(20),
            "idle from the moment at which all was taken: {idle:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_before_its_body_has_come_is_not_late() {
        let guest = guest();
        guest.asks();
        guest.answered();
        guest.sends(Some(Duration::ZERO));
        tokio::time::advance(PATIENCE).await;
        assert!(!goes(&guest));
        guest.takes().begin(Duration::ZERO);
        assert!(!goes(&guest), "it has only begun not to read");
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_sending_after_the_answer_stays_while_it_does() {
        let guest = guest();
        guest.asks();
        guest.answered();
        guest.finishes();
        for _ in 0..10 {
            guest.sends(Some(Duration::ZERO));
            tokio::time::advance(SECOND * 4).await;
            assert!(!goes(&guest), "it sends, if slowly");
        }
        tokio::time::advance(SECOND).await;
        assert!(goes(&guest), "it no longer does");
        guest.sends(None);
        assert!(goes(&guest), "it is idle");
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_gives_way_to_nobody() {
        let guest = guest();
        guest.asks();
        guest.becomes_socket(true);
        guest.takes().begin(Duration::ZERO);
        tokio::time::advance(PATIENCE).await;
        assert!(!goes(&guest));
        guest.becomes_socket(false);
        assert!(goes(&guest));
    }
}
