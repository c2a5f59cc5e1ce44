//! A hostile peer, writing bytes by hand.

mod finish;
mod nonsense;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp::message::Builder;
use capnp::serialize;
use capnp_rpc::rpc_capnp::message;
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use futures::channel::oneshot;
use percloud_schemas::util_capnp::handle;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::{Bounds, Gauge, Link, Pulse};
use crate::config::Limits;

/// Long enough for anything here on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Never answers the first calls, until told to; counts all.
#[derive(Default)]
struct Slow {
    calls: Cell<usize>,
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
}

impl handle::Server for Slow {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        self.calls.set(self.calls.get() + 1);
        let (release, released) = oneshot::channel();
        self.waiting.borrow_mut().push(release);
        released
            .await
            .map_err(|_| Error::failed("the test is over".to_owned()))
    }
}

struct Rig {
    peer: StdStream,
    slow: Rc<Slow>,
    link: JoinHandle<Result<(), Error>>,
}

impl Rig {
    /// What the peer did wrong, in words.
    async fn failure(self) -> String {
        let ended = tokio::time::timeout(PATIENCE, self.link)
            .await
            .expect("the connection ends");
        ended
            .expect("nothing panics")
            .expect_err("the peer broke the rules")
            .extra
    }
}

fn with_link<Test: Future<Output = ()>>(limits: &Limits, test: impl FnOnce(Rig) -> Test) {
    with_bounds(crate::link::bounds(limits, Rc::new(Gauge::default()), None), test);
}

fn with_bounds<Test: Future<Output = ()>>(bounds: Bounds, test: impl FnOnce(Rig) -> Test) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (peer, stream) = StdStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let slow = Rc::new(Slow::default());
        let offered: handle::Client = capnp_rpc::new_client_from_rc(Rc::clone(&slow));
        let stream = UnixStream::from_std(stream).unwrap();
        let link = spawn_local(Link::new(stream, VatSide::Server, bounds, Some(offered.client)).run());
        tokio::time::timeout(PATIENCE, test(Rig { peer, slow, link }))
            .await
            .expect("the test comes to an end");
    });
}

fn bytes(fill: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut builder = Builder::new_default();
    fill(builder.init_root());
    let mut bytes = Vec::new();
    serialize::write_message(&mut bytes, &builder).unwrap();
    bytes
}

fn bootstrap() -> Vec<u8> {
    bytes(|message| message.init_bootstrap().set_question_id(0))
}

/// A call of `ping` on what the bootstrap with id 0 returned.
fn call(id: u32, fill: impl FnOnce(capnp_rpc::rpc_capnp::call::Builder<'_>)) -> Vec<u8> {
    use capnp::traits::HasTypeId;
    bytes(|message| {
        let mut call = message.init_call();
        call.set_question_id(id);
        call.set_interface_id(handle::Client::TYPE_ID);
        call.reborrow()
            .init_target()
            .init_promised_answer()
            .set_question_id(0);
        call.reborrow().init_params();
        fill(call);
    })
}

#[test]
fn lengths_are_refused_before_memory_is_taken_for_them() {
    let too_long = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f];
    let too_many = [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
    let sum: Vec<u8> = [1, 5 << 20, 5 << 20, 0_u32].map(u32::to_le_bytes).concat();
    for (bytes, reason) in [
        (&too_long[..], "longer than"),
        (&too_many, "segments"),
        (&sum, "longer than"),
    ] {
        with_link(&Limits::default(), |mut rig| async move {
            rig.peer.write_all(bytes).unwrap();
            let failure = rig.failure().await;
            assert!(failure.contains(reason), "{failure}");
        });
    }
}

#[test]
fn a_message_cut_short_is_an_error_and_a_clean_end_is_none() {
    with_link(&Limits::default(), |mut rig| async move {
        rig.peer.write_all(&bootstrap()[..12]).unwrap();
        rig.peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(rig.failure().await.contains("in the middle of a message"));
    });
    with_link(&Limits::default(), |rig| async move {
        rig.peer.shutdown(std::net::Shutdown::Write).unwrap();
        rig.link.await.unwrap().unwrap();
    });
}

#[test]
fn messages_are_understood_however_they_are_cut() {
    with_link(&Limits::default(), |mut rig| async move {
        for byte in bootstrap() {
            rig.peer.write_all(&[byte]).unwrap();
            tokio::task::yield_now().await;
        }
        rig.peer.set_nonblocking(true).unwrap();
        let mut bytes = Vec::new();
        let answer = loop {
            // An error here is that nothing is there yet.
            let _nothing_yet = rig.peer.read_to_end(&mut bytes);
            if let Ok(answer) = serialize::read_message(&bytes[..], Default::default()) {
                break answer;
            }
            tokio::task::yield_now().await;
        };
        let answer = answer.get_root::<message::Reader<'_>>().unwrap();
        assert!(matches!(answer.which(), Ok(message::Return(Ok(answer))) if answer.get_answer_id() == 0));
    });
}

#[test]
fn what_says_nothing_sensible_ends_the_connection() {
    let nothing = vec![0; 16];
    let nonsense = [vec![0, 0, 0, 0, 4, 0, 0, 0], vec![0xa5; 32]].concat();
    let no_segment = vec![0; 8];
    let unknown_target = bytes(|message| {
        message.init_call().init_target().set_imported_cap(77);
    });
    let unknown_answer = bytes(|message| message.init_return().set_answer_id(5));
    for bytes in [nothing, nonsense, no_segment, unknown_target, unknown_answer] {
        with_link(&Limits::default(), |mut rig| async move {
            rig.peer.write_all(&bytes).unwrap();
            // Some of it is answered "unimplemented" instead, which is as good.
            rig.peer.shutdown(std::net::Shutdown::Write).unwrap();
            let _ended = rig.link.await.expect("nothing panics");
        });
    }
}

#[test]
fn one_question_is_asked_once() {
    with_link(&Limits::default(), |mut rig| async move {
        rig.peer
            .write_all(&[bootstrap(), call(1, |_| {}), call(1, |_| {})].concat())
            .unwrap();
        assert!(rig.failure().await.contains("asked twice"));
    });
}

#[test]
fn capabilities_are_counted() {
    let limits = Limits {
        capabilities: 100,
        ..Limits::default()
    };
    with_link(&limits, |mut rig| async move {
        let many = call(1, |call| {
            let mut caps = call.init_params().init_cap_table(101);
            (0..101).for_each(|index| caps.reborrow().get(index).set_sender_hosted(index));
        });
        rig.peer.write_all(&[bootstrap(), many].concat()).unwrap();
        assert!(rig.failure().await.contains("too many capabilities"));
    });
    // The same over several calls, which hold what they were given because they are not answered.
    with_link(&limits, |mut rig| async move {
        rig.peer.write_all(&bootstrap()).unwrap();
        for number in 0..3 {
            let some = call(number + 1, |call| {
                let mut caps = call.init_params().init_cap_table(40);
                (0..40).for_each(|index| caps.reborrow().get(index).set_sender_hosted(number * 40 + index));
            });
            rig.peer.write_all(&some).unwrap();
        }
        assert!(
            rig.failure()
                .await
                .contains("too many capabilities were handed over")
        );
    });
}

#[test]
fn promises_do_not_lead_on_for_ever() {
    with_link(&Limits::default(), |mut rig| async move {
        let first = call(1, |call| {
            call.init_params().init_cap_table(1).get(0).set_sender_promise(0)
        });
        let mut chain = [bootstrap(), first].concat();
        for id in 0..100 {
            chain.extend(bytes(|message| {
                let mut resolve = message.init_resolve();
                resolve.set_promise_id(id);
                resolve.init_cap().set_sender_promise(id + 1);
            }));
        }
        rig.peer.write_all(&chain).unwrap();
        assert!(rig.failure().await.contains("too many promises"));
    });
}

#[test]
fn a_peer_with_too_much_under_way_is_read_no_further_until_it_is_answered() {
    const CALLS: usize = 10;
    let by_number = Limits {
        calls: CALLS,
        ..Limits::default()
    };
    let words = call(1, |_| {}).len() / 8;
    let by_words = Limits {
        call_words: words * CALLS - CALLS,
        ..Limits::default()
    };
    for limits in [by_number, by_words] {
        let pulse = Rc::<Pulse>::default();
        let bounds = Bounds {
            pulse: Some(Rc::clone(&pulse)),
            ..crate::link::bounds(&limits, Rc::default(), None)
        };
        with_bounds(bounds, |mut rig| async move {
            let calls: Vec<u8> = (1..=3 * CALLS as u32).flat_map(|id| call(id, |_| {})).collect();
            rig.peer.write_all(&[bootstrap(), calls].concat()).unwrap();
            for round in 1..=3 {
                while rig.slow.calls.get() < round * CALLS {
                    tokio::task::yield_now().await;
                }
                for _ in 0..1000 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(rig.slow.calls.get(), round * CALLS, "the others wait");
                assert!(pulse.is_held());
                assert_eq!(
                    pulse.heard(),
                    1 + (round * CALLS) as u64,
                    "what waits is not heard"
                );
                let released = rig
                    .slow
                    .waiting
                    .take()
                    .into_iter()
                    .map(|release| release.send(()));
                assert!(released.collect::<Result<Vec<_>, _>>().is_ok());
            }
            while pulse.is_held() {
                tokio::task::yield_now().await;
            }
        });
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_written_to_for_ever() {
    let limits = Limits {
        queued_bytes: 100 << 10,
        ..Limits::default()
    };
    with_link(&limits, |mut rig| async move {
        rig.peer.write_all(&bootstrap()).unwrap();
        rig.peer.set_nonblocking(true).unwrap();
        // Each of these is answered at once: nobody is there, says a text.
        let question = bytes(|message| {
            message.init_obsolete_delete();
        });
        let mut written = 0_usize;
        let mut refusals = 0;
        while refusals < 1000 {
            match rig.peer.write(&question) {
                Ok(count) if count == question.len() => {
                    written += count;
                    refusals = 0;
                }
                Ok(_) => break,
                Err(_) => refusals += 1,
            }
            tokio::task::yield_now().await;
            assert!(written < 100 << 20, "it goes on for ever");
        }
        assert!(!rig.link.is_finished());
    });
}

#[test]
fn words_wait_for_those_they_are_meant_for() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        // A crowded destination: bytes of another connection wait in it.
        let destination = Rc::new(Gauge::default());
        let (_far, near) = UnixStream::pair().unwrap();
        let limits = Limits {
            queued_bytes: 8,
            ..Limits::default()
        };
        let crowd = crate::link::bounds(&limits, Rc::clone(&destination), None);
        let mut crowded = Link::new(near, VatSide::Client, crowd, None);
        let _question: handle::Client = crowded.bootstrap();
        assert!(destination.bytes() > 8);

        let (mut peer, stream) = StdStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let pulse = Rc::<Pulse>::default();
        let bounds = Bounds {
            pulse: Some(Rc::clone(&pulse)),
            ..crate::link::bounds(&limits, Rc::default(), Some(Rc::clone(&destination)))
        };
        let slow = Rc::new(Slow::default());
        let offered: handle::Client = capnp_rpc::new_client_from_rc(Rc::clone(&slow));
        let stream = UnixStream::from_std(stream).unwrap();
        spawn_local(Link::new(stream, VatSide::Server, bounds, Some(offered.client)).run());
        peer.write_all(&[bootstrap(), call(1, |_| {})].concat()).unwrap();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slow.calls.get(), 0, "nothing is read");
        assert!(
            pulse.is_silenced() && !pulse.is_held(),
            "and that is not its fault"
        );
        let relieved = spawn_local(crowded.run());
        while slow.calls.get() == 0 {
            tokio::task::yield_now().await;
        }
        relieved.abort();
    });
}
