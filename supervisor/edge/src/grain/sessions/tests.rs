//! Who waits for a session, for how long, and what is left of those who got none.

use capnp::Error;
use futures::FutureExt;
use percloud_schemas::front_capnp::front;
use tokio::sync::Notify;

use super::*;
use crate::api::guesses::Guesses;
use crate::bodies::Bodies;
use crate::{Assets, BaseUrl, Limits};

/// A broker that does not say whose session it is until it is told to stop.
#[derive(Clone, Default)]
struct Broker {
    asked: Rc<Cell<usize>>,
    stop: Rc<Notify>,
}

impl front::Server for Broker {
    async fn grain_session(
        self: Rc<Self>,
        _: front::GrainSessionParams,
        _: front::GrainSessionResults,
    ) -> Result<(), Error> {
        self.asked.set(self.asked.get() + 1);
        self.stop.notified().await;
        Err(Error::failed("stopping".to_owned()))
    }
}

fn edge(broker: &Broker) -> Rc<Edge> {
    let base = BaseUrl::new("http", "percloud.localhost:6080").unwrap();
    Rc::new(Edge {
        policy: Policy::new(&base),
        base,
        bodies: Bodies::new(&Limits::default()),
        limits: Limits::default(),
        assets: Assets::new([]),
        front: capnp_rpc::new_client(broker.clone()),
        sessions: Sessions::default(),
        guesses: Guesses::new(1, Duration::ZERO),
    })
}

fn stranger() -> (SessionHost, Secret) {
    let host = "ui-0123456789abcdef0123456789abcdef".parse().unwrap();
    (host, Secret::from_slice(&[1; 32]).unwrap())
}

fn known(edge: &Edge) -> usize {
    edge.sessions.slots.borrow().len()
}

/// The clock of `open` needs a runtime.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(test);
}

/// One request that waits for the session of a stranger: why in vain, and after how many seconds.
async fn in_vain(edge: &Rc<Edge>) -> (Option<Refusal>, u64) {
    let (host, cookie) = stranger();
    let begun = Instant::now();
    let opened = get(edge, Way::Page(&host, &cookie), &HeaderMap::new(), false).await;
    (opened.err(), begun.elapsed().as_secs())
}

#[test]
fn all_who_wait_for_a_session_that_does_not_open_wait_no_longer_than_the_first() {
    run(async {
        let broker = Broker::default();
        let edge = edge(&broker);
        let later = async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            in_vain(&edge).await
        };
        let waited = tokio::join!(in_vain(&edge), in_vain(&edge), in_vain(&edge), later);
        let silent = |seconds| (Some(Refusal::AppSilent), seconds);
        assert_eq!(waited, (silent(120), silent(120), silent(120), silent(70)));
        assert_eq!((broker.asked.get(), known(&edge)), (1, 0));
    });
}

#[test]
fn a_failure_is_told_to_all_who_waited_and_to_nobody_else() {
    run(async {
        let broker = Broker::default();
        let edge = edge(&broker);
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            broker.stop.notify_one();
        };
        let (first, second, ()) = tokio::join!(in_vain(&edge), in_vain(&edge), stop);
        let stopping = (Some(Refusal::Unavailable), 1);
        assert_eq!((&first, &second), (&stopping, &stopping));
        assert_eq!(broker.asked.get(), 1);
        broker.stop.notify_one();
        assert_eq!(in_vain(&edge).await.0, Some(Refusal::Unavailable));
        assert_eq!(broker.asked.get(), 2, "it is tried again");
    });
}

#[test]
fn who_waits_on_after_the_first_has_left_waits_no_longer_for_that() {
    run(async {
        let edge = edge(&Broker::default());
        let leaves = tokio::time::timeout(Duration::from_secs(100), in_vain(&edge));
        let (left, waited) = tokio::join!(leaves, in_vain(&edge));
        assert!(left.is_err());
        assert_eq!(waited, (Some(Refusal::AppSilent), 120));
        assert_eq!(known(&edge), 0);
    });
}

#[test]
fn who_leaves_while_the_broker_is_asked_leaves_nothing_behind() {
    run(async {
        let (edge, (host, cookie), headers) = (edge(&Broker::default()), stranger(), HeaderMap::new());
        let mut first = Box::pin(get(&edge, Way::Page(&host, &cookie), &headers, false));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(get(&edge, Way::Page(&host, &cookie), &headers, false));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(known(&edge), 1, "both wait for the same");
        drop(first);
        assert_eq!(known(&edge), 1, "somebody still waits");
        assert!(second.as_mut().now_or_never().is_none());
        drop(second);
        assert_eq!(known(&edge), 0);
    });
}

#[test]
fn who_is_refused_leaves_nothing_behind() {
    run(async {
        let broker = Broker::default();
        broker.stop.notify_one();
        let edge = edge(&broker);
        assert_eq!(in_vain(&edge).await, (Some(Refusal::Unavailable), 0));
        assert_eq!(known(&edge), 0);
    });
}

#[test]
fn what_nobody_waits_for_is_swept_away() {
    let edge = edge(&Broker::default());
    let (host, cookie) = stranger();
    let slot = Rc::new(Slot::default());
    let slots = || edge.sessions.slots.borrow_mut();
    slots().insert(Way::Page(&host, &cookie).key(), slot.clone());
    edge.sessions.sweep(Duration::ZERO);
    assert_eq!(known(&edge), 1, "somebody waits");
    drop(slot);
    edge.sessions.sweep(Duration::ZERO);
    assert_eq!(known(&edge), 0);
}
