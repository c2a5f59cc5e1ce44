//! Who asks for too much is the one to suffer.

use capnp::capability::FromClientHook;
use futures::future::join_all;
use std::cell::RefCell;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::spawn_local;

use super::app::{BULK, Thing, ThingClient, bulk, child, hang, keep, ping};
use super::broker::Seal;
use super::rig::{Grain, World, restore, until, with_world};

async fn reference(one: &Grain, two: &Grain) -> (ThingClient, Rc<Thing>) {
    let token = one
        .broker()
        .give(&one.name, "album", Seal::Grain(two.name.clone()));
    let cap = restore(&two.api, &token).await.unwrap();
    let thing = one.app.restored.borrow().last().unwrap().clone();
    (cap, thing)
}

/// Lets everybody do what they can without time passing.
async fn settle() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

fn few_calls(world: &World) {
    world.limits.borrow_mut().calls = 10;
}

#[test]
fn a_visitor_who_calls_without_end_waits_alone() {
    with_world(|world| async move {
        few_calls(&world);
        let grain = world.grain("one");
        let (hostile, honest) = (grain.session([1; 16]).await, grain.session([2; 16]).await);
        let calls: Vec<_> = (0..100).map(|_| spawn_local(hang(&hostile))).collect();
        let thing = grain.app.sessions.borrow()[0].clone();
        until(|| thing.hanging.borrow().len() >= 9).await;
        settle().await;
        assert!(thing.hanging.borrow().len() <= 10, "no more are read");
        ping(&honest).await.unwrap();
        grain.api.drop_request().send().promise.await.unwrap();
        grain.broker().end([1; 16]).await;
        for call in calls {
            assert!(call.await.unwrap().is_err(), "also those that were never read");
        }
        assert_eq!(grain.wired.realm.pending(), 0);
    });
}

#[test]
fn another_grain_that_calls_without_end_waits_alone() {
    with_world(|world| async move {
        few_calls(&world);
        let (one, two) = (world.grain("one"), world.grain("two"));
        // The first grain calls back what the second one gave it.
        let (album, thing) = reference(&one, &two).await;
        let (callback, given) = two.app.thing("callback");
        keep(&album, &given).await.unwrap();
        let target: ThingClient = thing.kept.borrow()[0].clone().cast_to();
        let _calls: Vec<_> = (0..100).map(|_| spawn_local(hang(&target))).collect();
        until(|| callback.hanging.borrow().len() >= 9).await;
        settle().await;
        assert!(callback.hanging.borrow().len() <= 10);
        ping(&two.session([1; 16]).await).await.unwrap();
        two.api.drop_request().send().promise.await.unwrap();
    });
}

#[test]
fn an_app_that_calls_without_end_waits_alone() {
    with_world(|world| async move {
        few_calls(&world);
        let (one, two) = (world.grain("one"), world.grain("two"));
        let (album, thing) = reference(&one, &two).await;
        let _calls: Vec<_> = (0..100).map(|_| spawn_local(hang(&album))).collect();
        until(|| thing.hanging.borrow().len() >= 9).await;
        settle().await;
        assert!(thing.hanging.borrow().len() <= 10);
        // The grain that is called serves others.
        ping(&one.session([1; 16]).await).await.unwrap();
        ping(&thing_of(&one).await).await.unwrap();
    });
}

/// A fresh visitor's object.
async fn thing_of(grain: &Grain) -> ThingClient {
    let session = grain.session([9; 16]).await;
    child(&session, "page").await.unwrap()
}

#[test]
fn a_visitor_who_hands_over_too_much_is_cut_off_alone() {
    with_world(|world| async move {
        world.limits.borrow_mut().capabilities = 50;
        let grain = world.grain("one");
        let (hostile, honest) = (grain.session([1; 16]).await, grain.session([2; 16]).await);
        let mut held = Vec::new();
        let refused = loop {
            let (thing, cap) = Thing::of_visitor("one more");
            held.push(thing);
            match keep(&hostile, &cap).await {
                Ok(()) => assert!(held.len() <= 50, "it goes on for ever"),
                Err(error) => break error,
            }
        };
        assert!(refused.extra.contains("too many capabilities"), "{refused}");
        ping(&honest).await.unwrap();
        assert!(ping(&hostile).await.is_err());
        // What it had handed over is dead, and let go.
        let kept = grain.app.sessions.borrow()[0].kept.take();
        for cap in kept {
            assert!(ping(&cap.cast_to()).await.is_err());
        }
    });
}

#[test]
fn another_grain_that_hands_over_too_much_is_cut_off_alone() {
    with_world(|world| async move {
        let (one, three) = (world.grain("one"), world.grain("three"));
        world.limits.borrow_mut().capabilities = 50;
        let two = world.grain("two");
        let (first, thing) = reference(&one, &two).await;
        let (second, _) = reference(&three, &two).await;
        let (_, given) = two.app.thing("callback");
        keep(&first, &given).await.unwrap();
        let callback: ThingClient = thing.kept.borrow()[0].clone().cast_to();
        let mut held = Vec::new();
        while ping(&first).await.is_ok() {
            let (_, cap) = one.app.thing("one more");
            held.push(cap.clone());
            let _refused_at_last = keep(&callback, &cap).await;
            assert!(held.len() <= 60, "it goes on for ever");
        }
        ping(&second).await.unwrap();
        ping(&two.session([1; 16]).await).await.unwrap();
    });
}

#[test]
fn a_visitor_who_reads_nothing_is_cut_off_when_others_wait() {
    with_world(|world| async move {
        {
            let mut limits = world.limits.borrow_mut();
            limits.queued_bytes = 4 * BULK;
            limits.stall = Duration::from_millis(200);
        }
        let grain = world.grain("one");
        let honest = grain.session([2; 16]).await;
        // The hostile one speaks by hand: a copy of what capnp says when it enters and asks for much, many times.
        let nonce = grain.announce([1; 16], |_| {}).await.unwrap();
        let mut hostile = by_hand(&grain).await;
        hostile.write_all(&asking_for_bulk(&nonce, 40)).unwrap();
        until(|| grain.app.contexts.borrow().len() == 2).await;
        // Slower than it could be, since the app was silenced for a while; but not for ever.
        assert_eq!(bulk(&honest).await.unwrap(), BULK);
        ping(&honest).await.unwrap();
        grain.api.drop_request().send().promise.await.unwrap();
        // Who reads is never cut off, however much it asks for.
        let calls: Vec<_> = (0..40).map(|_| spawn_local(bulk(&honest))).collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), BULK);
        }
        until(|| is_closed(&hostile)).await;
    });
}

async fn by_hand(grain: &Grain) -> StdStream {
    let stream = grain.stream();
    StdStream::from(stream.as_fd().try_clone_to_owned().unwrap())
}

/// Whether the other end has closed the connection: nothing more can be written.
fn is_closed(mut stream: &StdStream) -> bool {
    matches!(stream.write(&[0]), Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Messages that enter with `nonce` and ask the session for "bulk" so often.
fn asking_for_bulk(nonce: &[u8], times: u32) -> Vec<u8> {
    use capnp::message::Builder;
    use capnp::traits::HasTypeId;
    use capnp_rpc::rpc_capnp::message;
    use percloud_schemas::grain_capnp::sandstorm_api;
    use percloud_schemas::host_capnp::grain_door;
    type Any = capnp::any_pointer::Owned;
    let bytes = RefCell::new(Vec::new());
    let say = |fill: &dyn Fn(message::Builder<'_>)| {
        let mut message = Builder::new_default();
        fill(message.init_root());
        capnp::serialize::write_message(&mut *bytes.borrow_mut(), &message).unwrap();
    };
    say(&|message| message.init_bootstrap().set_question_id(0));
    say(&|message| {
        let mut call = message.init_call();
        call.set_question_id(1);
        call.set_interface_id(grain_door::Client::TYPE_ID);
        call.set_method_id(0);
        call.reborrow()
            .init_target()
            .init_promised_answer()
            .set_question_id(0);
        let params = call.init_params().get_content();
        let mut params = params.init_as::<grain_door::enter_params::Builder<'_>>();
        params.set_nonce(nonce);
        params.init_params();
    });
    for number in 0..times {
        say(&|message| {
            let mut call = message.init_call();
            call.set_question_id(2 + number);
            call.set_interface_id(sandstorm_api::Client::<Any>::TYPE_ID);
            call.set_method_id(4);
            let mut target = call.reborrow().init_target().init_promised_answer();
            target.set_question_id(1);
            // Where the session is in the answer.
            target.init_transform(1).get(0).set_get_pointer_field(0);
            let params = call.init_params().get_content();
            let mut params = params.init_as::<sandstorm_api::restore_params::Builder<'_, Any>>();
            params.set_token(b"bulk");
        });
    }
    bytes.into_inner()
}

#[test]
fn who_has_been_quiet_for_longest_gives_way_at_the_door() {
    with_world(|world| async move {
        world.limits.borrow_mut().door_connections = 3;
        let grain = world.grain("one");
        // Some only hesitate; those who come after are let in all the same.
        let _idle: Vec<_> = (0..4).map(|_| grain.stream()).collect();
        settle().await;
        tokio::time::sleep(crate::guests::FIRST_WORD).await;
        let first = grain.session([1; 16]).await;
        ping(&first).await.unwrap();
        let second = grain.session([2; 16]).await;
        ping(&first).await.unwrap();
        let others: Vec<_> = join_all((3..5).map(|number| grain.session([number; 16]))).await;
        // One more than there are places may be here, until somebody comes.
        ping(&first).await.unwrap();
        let last = grain.session([9; 16]).await;
        ping(&last).await.unwrap();
        assert!(ping(&second).await.is_err(), "it had been quiet for longest");
        ping(&first).await.unwrap();
        ping(&others[1]).await.unwrap();
    });
}

#[test]
fn who_keeps_the_app_busy_gives_way_last_and_does() {
    with_world(|world| async move {
        world.limits.borrow_mut().door_connections = 3;
        let grain = world.grain("one");
        // Every place is taken by somebody who waits for an answer that never comes.
        let mut waiting = Vec::new();
        for number in 1..5 {
            let session = grain.session([number; 16]).await;
            waiting.push(spawn_local(hang(&session)));
        }
        settle().await;
        assert!(waiting.iter().all(|call| !call.is_finished()));
        ping(&grain.session([9; 16]).await).await.unwrap();
        let gone = waiting.iter().filter(|call| call.is_finished()).count();
        assert_eq!(gone, 1, "one had to go for it, and no more");
    });
}

#[test]
fn other_grains_leave_room_at_the_door() {
    with_world(|world| async move {
        world.limits.borrow_mut().door_connections = 4;
        let one = world.grain("one");
        let others: Vec<_> = ["two", "three", "four"]
            .iter()
            .map(|name| world.grain(name))
            .collect();
        let mut held = Vec::new();
        for other in &others[..2] {
            for _ in 0..10 {
                held.push(reference(&one, other).await);
            }
        }
        let token = one.broker().give("one", "album", Seal::Grain("four".to_owned()));
        let crowded = restore::<ThingClient>(&others[2].api, &token)
            .await
            .err()
            .unwrap();
        assert!(crowded.extra.contains("too many grains"), "{crowded}");
        ping(&one.session([1; 16]).await).await.unwrap();
        drop(held);
        let token = || one.broker().give("one", "album", Seal::Grain("four".to_owned()));
        while restore::<ThingClient>(&others[2].api, &token()).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
}
