//! Has the app stand still while it has nothing to do, so that a grain kept ready costs no processor time.
//!
//! An app that stands still is let go before the first byte goes to it, whoever sends it: the app's connection calls
//! [`Rest::wake`] with every message, and there is no other way to an app. Its timers run late, which is the point. Who
//! wants to work with nobody about holds a wake lock (sheet 3.4) or has a job scheduled, and is left alone.
//!
//! An app without wake lock may still be busy: with what somebody asked for a moment ago, or for a page that is open.
//! Sandstorm lets such an app run on while a page is open, and for some two minutes after. So an app rests sooner only
//! if it takes hardly any processor time, and while a page is open not otherwise.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::app::{App, Sessions};
use crate::config::Freezer;
use crate::link::Pulse;
use crate::membrane::Realm;
use crate::platform::WakeLocks;

/// An app that takes more than one part in so many of a processor is busy.
const BUSY: u32 = 50;
/// How many times as long an app goes on while a page of it is open.
const IN_VIEW: u32 = 6;
/// The same for one that is busy, or may be.
const AT_WORK: u32 = 12;
/// How often the app is looked at in the time after which it may rest.
const LOOKS: u32 = 2;

/// The app's rest.
pub(crate) struct Rest {
    freezer: Option<Box<dyn Freezer>>,
    is_frozen: Cell<bool>,
    woken: Notify,
    /// Why the app may stand still for good.
    failure: RefCell<Option<String>>,
}

/// The app, and who may want something of it.
pub(crate) struct Concerned {
    pub(crate) app: Rc<App>,
    pub(crate) realm: Realm,
    pub(crate) locks: Rc<WakeLocks>,
    pub(crate) sessions: Rc<Sessions>,
    pub(crate) pulse: Rc<Pulse>,
}

/// How an app is, as far as that decides whether it may rest.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// How long nothing has come from it or gone to it.
    silent: Duration,
    /// How long it has hardly taken any processor time; none where that is not known.
    calm: Duration,
    /// It works on a call, waits for the answer to one, or holds a wake lock.
    is_asked: bool,
    /// Sessions that are open.
    sessions: usize,
    /// Objects others hold, sessions included.
    held: usize,
}

impl Facts {
    fn may_rest(&self, after: Duration) -> bool {
        // Whoever holds more of it than a session, a socket of the page or another grain, may wait for it to speak first.
        if self.is_asked || self.held > self.sessions {
            return false;
        }
        let is_calm = self.calm >= after;
        if self.sessions > 0 {
            return is_calm && self.silent >= after * IN_VIEW;
        }
        is_calm && self.silent >= after || self.silent >= after * AT_WORK
    }
}

impl Rest {
    /// `freezer` is what holds the app still; without one it never rests.
    pub(crate) fn new(freezer: Option<Box<dyn Freezer>>, pulse: &Pulse) -> Rc<Self> {
        let rest = Rc::new(Self {
            freezer,
            is_frozen: Cell::new(false),
            woken: Notify::new(),
            failure: RefCell::new(None),
        });
        let woken = Rc::downgrade(&rest);
        pulse.wake_by(move || {
            if let Some(rest) = woken.upgrade() {
                rest.wake();
            }
        });
        rest
    }

    /// Whether the app stands still.
    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen.get()
    }

    /// Whether it stands still without this having frozen it: whoever makes its backup holds it then.
    pub(crate) fn is_frozen_by_others(&self) -> bool {
        let stands_still = |freezer: &dyn Freezer| freezer.is_frozen().unwrap_or(false);
        !self.is_frozen.get() && self.freezer.as_deref().is_some_and(stands_still)
    }

    /// The memory that is counted as the app's, in bytes, if anybody counts.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.freezer.as_ref()?.memory().ok()
    }

    /// The processor time the app has taken so far, if anybody counts.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        self.freezer.as_ref()?.processor_time().ok()
    }

    /// Lets the app go on.
    pub(crate) fn wake(&self) {
        if !self.is_frozen.get() {
            return;
        }
        if let Some(Err(error)) = self.freezer.as_ref().map(|freezer| freezer.thaw()) {
            *self.failure.borrow_mut() = Some(format!("the app was at rest and cannot be woken: {error}"));
        }
        self.is_frozen.set(false);
        self.woken.notify_one();
    }

    fn freeze(&self) {
        if self
            .freezer
            .as_ref()
            .is_some_and(|freezer| freezer.freeze().is_ok())
        {
            self.is_frozen.set(true);
        }
    }

    /// Has the app rest whenever it has had nothing to do for `after`. Returns why it has to be ended, should it come to that.
    pub(crate) async fn keep(&self, concerned: &Concerned, after: Duration) -> String {
        if self.freezer.is_none() || after.is_zero() {
            return std::future::pending().await;
        }
        let mut watch = Watch::new(self, &concerned.pulse);
        loop {
            sleep(after / LOOKS).await;
            if watch.look(self, concerned).may_rest(after) {
                self.freeze();
            }
            // Nobody looks at one that stands still.
            while self.is_frozen.get() {
                self.woken.notified().await;
                watch = Watch::new(self, &concerned.pulse);
            }
            if let Some(failure) = self.failure.take() {
                return failure;
            }
        }
    }
}

/// What was seen of the app, and since when.
struct Watch {
    beats: u64,
    silent_since: Instant,
    used: Option<Duration>,
    used_at: Instant,
    calm_since: Option<Instant>,
}

impl Watch {
    fn new(rest: &Rest, pulse: &Pulse) -> Self {
        let now = Instant::now();
        let used = rest.processor_time();
        Self {
            beats: pulse.beats(),
            silent_since: now,
            used,
            used_at: now,
            calm_since: used.map(|_| now),
        }
    }

    fn look(&mut self, rest: &Rest, concerned: &Concerned) -> Facts {
        let now = Instant::now();
        let Concerned {
            realm,
            locks,
            sessions,
            pulse,
            ..
        } = concerned;
        let is_asked = pulse.calls() > 0 || realm.pending() > 0 || locks.are_held();
        if is_asked || self.beats != pulse.beats() {
            (self.beats, self.silent_since) = (pulse.beats(), now);
        }
        let used = rest.processor_time();
        let taken = used
            .zip(self.used)
            .map(|(used, before)| used.saturating_sub(before));
        match taken {
            Some(taken) if taken <= (now - self.used_at) / BUSY => {
                self.calm_since.get_or_insert(self.used_at);
            }
            Some(_) => self.calm_since = Some(now),
            None => self.calm_since = None,
        }
        (self.used, self.used_at) = (used, now);
        Facts {
            silent: now - self.silent_since,
            calm: self.calm_since.map_or(Duration::ZERO, |since| now - since),
            is_asked,
            sessions: sessions.count(),
            held: realm.held(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use percloud_schemas::activity_capnp::ongoing_notification;

    use super::*;
    use crate::tests::app::{child, hang, ping};
    use crate::tests::rig::{Grain, save, until, with_world};

    const AFTER: Duration = Duration::from_secs(10);

    /// An app nobody is in, for a whole day.
    const LEFT: Facts = Facts {
        silent: Duration::from_secs(86_400),
        calm: Duration::from_secs(86_400),
        is_asked: false,
        sessions: 0,
        held: 0,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_app_rests_when_nobody_can_miss_it() {
        let cases = [
            (true, LEFT, "nobody is there"),
            (
                false,
                Facts {
                    is_asked: true,
                    ..LEFT
                },
                "a call or a wake lock",
            ),
            (
                false,
                Facts {
                    silent: seconds(9),
                    ..LEFT
                },
                "it has just been used",
            ),
            (
                true,
                Facts {
                    silent: seconds(10),
                    ..LEFT
                },
                "it has been left alone",
            ),
            (
                false,
                Facts {
                    silent: seconds(119),
                    calm: seconds(9),
                    ..LEFT
                },
                "it is busy",
            ),
            (
                true,
                Facts {
                    silent: seconds(120),
                    calm: seconds(0),
                    ..LEFT
                },
                "it has been busy for long enough",
            ),
            (
                false,
                Facts {
                    silent: seconds(59),
                    sessions: 1,
                    held: 1,
                    ..LEFT
                },
                "somebody reads its page",
            ),
            (
                true,
                Facts {
                    silent: seconds(60),
                    sessions: 1,
                    held: 1,
                    ..LEFT
                },
                "its page is open and forgotten",
            ),
            (
                false,
                Facts {
                    calm: seconds(9),
                    sessions: 1,
                    held: 1,
                    ..LEFT
                },
                "it works for an open page",
            ),
            (
                false,
                Facts {
                    sessions: 1,
                    held: 2,
                    ..LEFT
                },
                "a socket of the page",
            ),
            (
                false,
                Facts {
                    sessions: 0,
                    held: 1,
                    ..LEFT
                },
                "another grain has an object of it",
            ),
        ];
        for (rests, facts, why) in cases {
            assert_eq!(facts.may_rest(AFTER), rests, "{why}");
        }
    }

    /// What the kernel would be told.
    #[derive(Clone, Default)]
    struct Told {
        frozen: Rc<Cell<bool>>,
        /// Somebody else holds it.
        backup: Rc<Cell<bool>>,
        thaws: Rc<Cell<usize>>,
        refuses: Rc<Cell<bool>>,
    }

    impl Freezer for Told {
        fn freeze(&self) -> io::Result<()> {
            self.frozen.set(true);
            Ok(())
        }

        fn thaw(&self) -> io::Result<()> {
            if self.refuses.get() {
                return Err(io::ErrorKind::Other.into());
            }
            self.frozen.set(false);
            self.thaws.set(self.thaws.get() + 1);
            Ok(())
        }

        fn is_frozen(&self) -> io::Result<bool> {
            Ok(self.frozen.get() || self.backup.get())
        }

        fn processor_time(&self) -> io::Result<Duration> {
            Ok(Duration::ZERO)
        }

        fn memory(&self) -> io::Result<u64> {
            Ok(0)
        }
    }

    /// A rest that comes soon.
    const SOON: Duration = Duration::from_millis(4);

    /// Runs a test with a grain whose app rests, and what says so.
    fn with_rest<Test: Future<Output = ()> + 'static>(test: impl FnOnce(Rc<Grain>, Told) -> Test) {
        with_world(|world| async move {
            let told = Told::default();
            *world.freezer.borrow_mut() = Some(Box::new(told.clone()));
            let grain = Rc::new(world.grain("one"));
            let rest = tokio::task::spawn_local({
                let grain = Rc::clone(&grain);
                async move { grain.wired.rest.keep(&grain.wired.concerned, SOON).await }
            });
            test(grain, told).await;
            rest.abort();
        });
    }

    #[test]
    fn whoever_wants_something_of_an_app_at_rest_wakes_it_first() {
        with_rest(|grain, told| async move {
            // How often it was woken, once it rests again.
            let thaws = async || {
                until(|| told.frozen.get()).await;
                told.thaws.get()
            };
            let before = thaws().await;
            let session = grain.session([1; 16]).await;
            let visited = thaws().await;
            assert!(visited > before, "a visitor comes");
            ping(&session).await.unwrap();
            let called = thaws().await;
            assert!(called > visited, "a visitor calls");
            let mut job = grain.host.run_job_request();
            job.get().init_object().get_id().set_as("job").unwrap();
            job.send().promise.await.unwrap();
            let worked = thaws().await;
            assert!(worked > called, "a job is due");
            let mut forget = grain.host.drop_object_request();
            forget.get().init_object().get_id().set_as("note").unwrap();
            forget.send().promise.await.unwrap();
            let forgot = thaws().await;
            assert!(forgot > worked, "an object is dropped");
            // Words of its own that were on their way when it was frozen.
            let (_, note) = grain.app.thing("note");
            save(&grain.api, note, "").await.unwrap();
            assert!(thaws().await > forgot, "it speaks");
        });
    }

    struct Ours;
    impl ongoing_notification::Server for Ours {}

    #[test]
    fn an_app_goes_on_while_it_is_asked_or_awake_or_somebody_holds_an_object_of_it() {
        /// So many times as long as it takes to rest otherwise.
        const LONG: u32 = 40;
        with_rest(|grain, told| async move {
            let stays = async |why: &str| {
                sleep(SOON * LONG).await;
                assert!(!told.frozen.get(), "{why}");
            };
            let session = grain.session([1; 16]).await;
            let hanging = tokio::task::spawn_local(hang(&session));
            stays("a call under way").await;
            grain.app.sessions.borrow()[0].hanging.borrow_mut().clear();
            hanging.abort();
            let object = child(&session, "note").await.unwrap();
            stays("an object somebody holds").await;
            drop(object);
            let mut request = grain.api.stay_awake_request();
            request
                .get()
                .init_display_info()
                .init_caption()
                .set_default_text("syncing");
            request.get().set_notification(capnp_rpc::new_client(Ours));
            let lock = request.send().promise.await.unwrap();
            let lock = lock.get().unwrap().get_handle().unwrap();
            stays("a wake lock").await;
            drop(lock);
            let _ = grain;
        });
    }

    #[test]
    fn who_is_frozen_by_others_is_told_from_who_rests() {
        with_world(|world| async move {
            let told = Told::default();
            *world.freezer.borrow_mut() = Some(Box::new(told.clone()));
            let grain = world.grain("one");
            let rest = &grain.wired.rest;
            assert!(!rest.is_frozen_by_others());
            rest.freeze();
            assert!(told.frozen.get());
            assert!(!rest.is_frozen_by_others(), "it rests");
            told.backup.set(true);
            // Somebody wants it meanwhile.
            rest.wake();
            assert!(rest.is_frozen_by_others());
            let seen = || crate::share::seen(&grain.wired.concerned, rest);
            assert!(!seen().is_frozen, "nobody waits, so nobody has to know");
            let session = grain.session([1; 16]).await;
            let hanging = tokio::task::spawn_local(hang(&session));
            until(|| seen().is_waited_for).await;
            assert!(seen().is_frozen);
            told.backup.set(false);
            assert!(!seen().is_frozen);
            hanging.abort();

            let bare = world.grain("two");
            assert!(!bare.wired.rest.is_frozen_by_others(), "nobody could");
        });
    }

    #[test]
    fn an_app_that_cannot_be_woken_is_ended() {
        with_world(|world| async move {
            let told = Told::default();
            *world.freezer.borrow_mut() = Some(Box::new(told.clone()));
            let grain = world.grain("one");
            let rest = &grain.wired.rest;
            let keep = rest.keep(&grain.wired.concerned, SOON);
            let (failure, _) = tokio::join!(keep, async {
                until(|| told.frozen.get()).await;
                told.refuses.set(true);
                grain.session([1; 16]).await
            });
            assert!(failure.contains("cannot be woken"), "{failure}");
        });
    }
}
