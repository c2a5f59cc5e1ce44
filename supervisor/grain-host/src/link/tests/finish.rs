//! Who lets go of an answer before it is there.

use capnp::message::Reader;
use capnp::serialize::OwnedSegments;

use super::*;

/// What a link says to its peer, message by message.
struct Said {
    peer: StdStream,
    bytes: Vec<u8>,
}

impl Said {
    fn by(peer: StdStream) -> Self {
        peer.set_nonblocking(true).unwrap();
        Self {
            peer,
            bytes: Vec::new(),
        }
    }

    async fn next(&mut self) -> Reader<OwnedSegments> {
        loop {
            let mut rest = &self.bytes[..];
            if let Ok(message) = serialize::read_message(&mut rest, Default::default()) {
                self.bytes = rest.to_vec();
                return message;
            }
            let mut more = [0; 4096];
            if let Ok(count) = self.peer.read(&mut more) {
                assert_ne!(count, 0, "the connection ended");
                self.bytes.extend_from_slice(&more[..count]);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Skips to the answer to the peer's call `id`.
    async fn answer_to(&mut self, id: u32) {
        loop {
            let message = self.next().await;
            let root = message.get_root::<message::Reader<'_>>().unwrap();
            match root.which() {
                Ok(message::Return(Ok(answer))) if answer.get_answer_id() == id => return,
                Ok(message::Unimplemented(_)) => panic!("something was not understood"),
                _ => {}
            }
        }
    }
}

fn finish(id: u32) -> Vec<u8> {
    bytes(|message| message.init_finish().set_question_id(id))
}

#[test]
fn a_call_runs_to_its_end_though_its_answer_is_not_wanted() {
    let bounds = Bounds {
        calls_run_to_their_end: true,
        ..Bounds::default()
    };
    with_bounds(bounds, |mut rig| async move {
        rig.peer
            .write_all(
                &[
                    bootstrap(),
                    call(1, |_| {}),
                    finish(1),
                    finish(1),
                    call(2, |_| {}),
                ]
                .concat(),
            )
            .unwrap();
        let mut said = Said::by(rig.peer.try_clone().unwrap());
        while rig.slow.calls.get() < 2 {
            tokio::task::yield_now().await;
        }
        for release in rig.slow.waiting.take() {
            release.send(()).expect("neither call was given up");
        }
        said.answer_to(1).await;
        said.answer_to(2).await;
        // Once answered, its number is free.
        rig.peer.write_all(&call(1, |_| {})).unwrap();
        while rig.slow.calls.get() < 3 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_call_is_given_up_where_nobody_asked_otherwise() {
    with_link(&Limits::default(), |mut rig| async move {
        rig.peer
            .write_all(&[bootstrap(), call(1, |_| {})].concat())
            .unwrap();
        while rig.slow.calls.get() < 1 {
            tokio::task::yield_now().await;
        }
        rig.peer.write_all(&finish(1)).unwrap();
        let release = rig.slow.waiting.take().pop().unwrap();
        while !release.is_canceled() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn calls_that_are_not_wanted_count_until_they_are_answered() {
    const CALLS: u32 = 10;
    let bounds = Bounds {
        calls_run_to_their_end: true,
        calls: CALLS as usize,
        ..Bounds::default()
    };
    with_bounds(bounds, |mut rig| async move {
        let calls: Vec<u8> = (1..=2 * CALLS)
            .flat_map(|id| [call(id, |_| {}), finish(id)].concat())
            .collect();
        rig.peer.write_all(&[bootstrap(), calls].concat()).unwrap();
        for round in 1..=2 {
            while rig.slow.calls.get() < round * CALLS as usize {
                tokio::task::yield_now().await;
            }
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(rig.slow.calls.get(), round * CALLS as usize, "the others wait");
            for release in rig.slow.waiting.take() {
                release.send(()).expect("no call was given up");
            }
        }
    });
}

/// Peers in C++ hang up when they are told that we do not understand a `Return`.
#[test]
fn a_tail_call_in_answer_to_a_canceled_call_is_understood() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (mut peer, stream) = StdStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let slow: handle::Client = capnp_rpc::new_client(Slow::default());
        let stream = UnixStream::from_std(stream).unwrap();
        let mut link = Link::new(stream, VatSide::Server, Bounds::default(), Some(slow.client));
        let theirs: handle::Client = link.bootstrap();
        let link = spawn_local(link.run());
        drop(theirs.ping_request().send().promise);
        let mut said = Said::by(peer.try_clone().unwrap());
        let test = async {
            let canceled = loop {
                let message = said.next().await;
                let root = message.get_root::<message::Reader<'_>>().unwrap();
                if let Ok(message::Finish(Ok(finish))) = root.which() {
                    break finish.get_question_id();
                }
            };
            let onward = call(7, |call| call.init_send_results_to().set_yourself(()));
            let answer = bytes(|message| {
                let mut answer = message.init_return();
                answer.set_answer_id(canceled);
                answer.set_take_from_other_question(7);
            });
            let again = bytes(|message| message.init_bootstrap().set_question_id(1));
            peer.write_all(&[bootstrap(), onward, answer, finish(7), again].concat())
                .unwrap();
            said.answer_to(1).await;
            assert!(!link.is_finished());
        };
        tokio::time::timeout(PATIENCE, test)
            .await
            .expect("the test comes to an end");
    });
}
