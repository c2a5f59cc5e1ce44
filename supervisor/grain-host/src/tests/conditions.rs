//! Conditions hold: whatever was obtained through something that is ended ends with it, at once.

use capnp::capability::FromClientHook;
use capnp::{Error, ErrorKind};
use capnp_rpc::rpc_twoparty_capnp::Side;
use futures::future::join_all;
use percloud_schemas::grain_capnp::{app_persistent, main_view};
use percloud_schemas::host_capnp::grain_door;
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::supervisor_capnp::{api_token_owner, system_persistent};
use percloud_schemas::util_capnp::{byte_stream, handle};
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use tokio::task::spawn_local;

use super::app::{Thing, ThingClient, child, early_child, echo, hang, keep, ping};
use super::broker::Seal;
use super::rig::{Any, Grain, peer, refusal, restore, save, until, with_grain, with_two};
use crate::membrane::Id;

const A: Id = [0xaa; 16];
const B: Id = [0xbb; 16];

/// An object of the first grain, as the second one restored it, and the reference's id.
async fn reference(one: &Grain, two: &Grain, object: &str) -> (ThingClient, Rc<Thing>, Id) {
    let before = one.broker().living();
    let token = one
        .broker()
        .give(&one.name, object, Seal::Grain(two.name.clone()));
    let cap: ThingClient = restore(&two.api, &token).await.unwrap();
    let thing = one.app.restored.borrow().last().unwrap().clone();
    let id = one.broker().living().into_iter().find(|id| !before.contains(id));
    (cap, thing, id.expect("it is a new one"))
}

/// Everything obtained through `cap`, a [`Thing`] whose server is `thing`, is alive now and dead after `end`.
async fn all_of_it_dies<End: Future<Output = ()>>(cap: ThingClient, thing: Rc<Thing>, end: End) {
    let returned = child(&cap, "page").await.unwrap();
    let later = child(&returned, "line").await.unwrap();
    let promise = child(&cap, "promise").await.unwrap();
    let (callback, given) = Thing::of_visitor("callback");
    keep(&cap, &given).await.unwrap();
    assert_eq!(callback.pings.get(), 1, "the object calls back");
    let theirs: ThingClient = thing.kept.borrow()[0].clone().cast_to();
    let sink: byte_stream::Client = child(&cap, "sink").await.unwrap().cast_to();
    let mut write = sink.write_request();
    write.get().init_data(1000);
    write.send().await.unwrap();
    until(|| thing.written.get() == 1000).await;
    let calls: Vec<_> = (0..5).map(|_| spawn_local(hang(&cap))).collect();
    until(|| thing.hanging.borrow().len() == 5).await;
    ping(&early_child(&cap, "early")).await.unwrap();

    end.await;

    for call in join_all(calls).await {
        assert_eq!(call.unwrap().err().unwrap().kind, ErrorKind::Disconnected);
    }
    let given_up = thing.hanging.take();
    assert!(
        join_all(given_up).await.iter().all(Result::is_err),
        "the object is told to stop"
    );
    for dead in [&cap, &returned, &later, &promise] {
        assert_eq!(ping(dead).await.err().unwrap().kind, ErrorKind::Disconnected);
    }
    assert!(child(&cap, "more").await.is_err());
    assert!(
        ping(&early_child(&cap, "early")).await.is_err(),
        "pipelined calls"
    );
    // The promise leads to something only now.
    let kept = thing
        .promised
        .take()
        .map(|promise| promise.send(Thing::of_visitor("late").1));
    assert!(kept.is_some());
    assert!(ping(&promise).await.is_err());
    assert!(ping(&theirs).await.is_err(), "what was given in is taken back");
    assert_eq!(callback.pings.get(), 1);
    let mut failed = false;
    for _ in 0..1000 {
        let mut write = sink.write_request();
        write.get().init_data(1000);
        failed = failed || write.send().await.is_err();
    }
    assert!(failed, "the stream is cut");
    assert_eq!(thing.written.get(), 1000);
}

#[test]
fn a_session_takes_all_of_it_along() {
    with_grain(|grain| async move {
        let session = grain.session(A).await;
        let thing = grain.app.sessions.borrow()[0].clone();
        let broker = Rc::clone(grain.broker());
        all_of_it_dies(session, thing, async move { broker.end(A).await }).await;
        assert_eq!(grain.wired.realm.pending(), 0);
    });
}

#[test]
fn a_reference_takes_all_of_it_along() {
    with_two(|one, two| async move {
        let (cap, thing, id) = reference(&one, &two, "album").await;
        let broker = Rc::clone(one.broker());
        all_of_it_dies(cap, thing, async move { broker.end(id).await }).await;
        assert_eq!((one.wired.realm.pending(), two.wired.realm.pending()), (0, 0));
    });
}

#[test]
fn either_host_alone_ends_a_reference() {
    with_two(|one, two| async move {
        for ender in [&one, &two] {
            let (cap, thing, id) = reference(&one, &two, "album").await;
            let mut request = ender.host.end_session_request();
            request.get().set_session_id(&id);
            let end = async move { request.send().promise.await.map(drop).unwrap() };
            all_of_it_dies(cap, thing, end).await;
        }
    });
}

#[test]
fn an_object_ends_with_the_connection_it_was_taken_by() {
    with_grain(|grain| async move {
        let nonce = grain
            .announce(A, |admission| {
                admission.init_object().get_id().set_as("album").unwrap()
            })
            .await
            .unwrap();
        let stream = grain.stream();
        let socket = stream.as_fd().try_clone_to_owned().unwrap();
        let door: grain_door::Client = peer(stream, Side::Client, None);
        let mut request = door.take_request();
        request.get().set_nonce(&nonce);
        let answer = request.send().promise.await.unwrap();
        let album: ThingClient = answer.get().unwrap().get_cap().get_as_capability().unwrap();
        let thing = grain.app.restored.borrow()[0].clone();
        all_of_it_dies(album, Rc::clone(&thing), async move {
            rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
        })
        .await;
        assert_eq!(grain.wired.realm.pending(), 0);
    });
}

#[test]
fn calls_back_are_canceled_with_the_reference_they_came_by() {
    with_two(|one, two| async move {
        let (cap, album, id) = reference(&one, &two, "album").await;
        let (callback, given) = two.app.thing("callback");
        keep(&cap, &given).await.unwrap();
        let call = spawn_local(hang(&album.kept.borrow()[0].clone().cast_to()));
        until(|| callback.hanging.borrow().len() == 1).await;
        assert_eq!(two.wired.realm.pending(), 1);
        one.broker().end(id).await;
        assert!(call.await.unwrap().is_err());
        let given_up = callback.hanging.borrow_mut().pop().unwrap();
        assert!(given_up.await.is_err(), "the app is told to stop");
        assert_eq!(two.wired.realm.pending(), 0);

        // The same when the last capability that came by it is dropped, but not what was given in.
        let (cap, album, _) = reference(&one, &two, "album").await;
        keep(&cap, &given).await.unwrap();
        let back: ThingClient = album.kept.borrow()[0].clone().cast_to();
        drop(cap);
        ping(&back).await.unwrap();
    });
}

#[test]
fn others_are_left_alone() {
    with_two(|one, two| async move {
        let (first, _, id) = reference(&one, &two, "album").await;
        let (second, ..) = reference(&one, &two, "album").await;
        let session = two.session(A).await;
        one.broker().end(id).await;
        assert!(ping(&first).await.is_err());
        ping(&second).await.unwrap();
        ping(&session).await.unwrap();
        one.broker().end([0x77; 16]).await;
        ping(&second).await.unwrap();
    });
}

/// What the visitor of the first session gave the app, in the hands of the visitor of the second.
async fn hand_over(grain: &Grain, second: &ThingClient) -> ThingClient {
    let given = grain.app.sessions.borrow()[0].kept.borrow()[0].clone();
    grain.app.sessions.borrow()[1].kept.borrow_mut().push(given);
    child(second, "kept").await.unwrap()
}

#[test]
fn what_one_session_lent_to_another_dies_with_either() {
    for ended in [A, B] {
        with_grain(|grain| async move {
            let (first, second) = (grain.session(A).await, grain.session(B).await);
            let (thing, lent) = Thing::of_visitor("lent");
            keep(&first, &lent).await.unwrap();
            let handed = hand_over(&grain, &second).await;
            ping(&handed).await.unwrap();
            let broker = Rc::clone(grain.broker());
            let survivor = if ended == A { &second } else { &first };
            ping(survivor).await.unwrap();
            let survivor = survivor.clone();
            all_of_it_dies(handed, thing, async move { broker.end(ended).await }).await;
            ping(&survivor).await.unwrap();
        });
    }
}

#[test]
fn a_reference_shown_to_a_visitor_dies_with_the_reference() {
    with_two(|one, two| async move {
        let (cap, thing, id) = reference(&one, &two, "album").await;
        let visitor = two.session(A).await;
        two.app.sessions.borrow()[0].kept.borrow_mut().push(cap.client);
        let shown = child(&visitor, "kept").await.unwrap();
        let broker = Rc::clone(one.broker());
        all_of_it_dies(shown, thing, async move { broker.end(id).await }).await;
        ping(&visitor).await.unwrap();
    });
}

#[test]
fn what_is_saved_through_a_reference_is_bound_to_it() {
    with_two(|one, two| async move {
        let (cap, _, id) = reference(&one, &two, "album").await;
        let page = child(&cap, "page").await.unwrap();
        let token = save(&two.api, page, "").await.unwrap();
        assert_eq!(one.broker().record(&token).conditions, [id]);
        let page: ThingClient = restore(&two.api, &token).await.unwrap();
        // Saved again, it is bound to the second reference, and by it to the first.
        let again = save(&two.api, page.clone(), "").await.unwrap();
        let bound = one.broker().record(&again).conditions;
        assert!(bound.len() == 1 && bound != [id]);
        let page_again: ThingClient = restore(&two.api, &again).await.unwrap();
        ping(&page_again).await.unwrap();

        one.broker().end(id).await;
        for dead in [cap, page, page_again] {
            assert!(ping(&dead).await.is_err());
        }
        for token in [token, again] {
            assert!(restore::<ThingClient>(&two.api, &token).await.is_err());
        }
    });
}

#[test]
fn a_reference_ended_while_it_is_on_its_way_arrives_dead() {
    with_two(|one, two| async move {
        for object in ["album", "slow"] {
            let (release, hold) = tokio::sync::oneshot::channel();
            *one.broker().hold.borrow_mut() = Some(hold);
            let token = one.broker().give("one", object, Seal::Grain("two".to_owned()));
            let before = one.broker().living();
            let api = two.api.clone();
            let restoring = spawn_local(async move { restore::<ThingClient>(&api, &token).await });
            until(|| one.broker().living() != before).await;
            let id = one
                .broker()
                .living()
                .into_iter()
                .find(|id| !before.contains(id))
                .unwrap();
            // The broker says that it is over before its answer has left.
            one.broker().end(id).await;
            assert!(release.send(()).is_ok());
            if object == "album" {
                match restoring.await.unwrap() {
                    Ok(cap) => assert!(ping(&cap).await.is_err()),
                    Err(error) => assert_ne!(error.kind, ErrorKind::Unimplemented),
                }
            } else {
                restoring.abort();
            }
        }
        let ada = one.broker().give_person("Ada", Seal::Grain("two".to_owned()));
        let (release, hold) = tokio::sync::oneshot::channel();
        *one.broker().hold.borrow_mut() = Some(hold);
        let before = one.broker().living();
        let api = two.api.clone();
        let restoring = spawn_local(async move { restore::<ThingClient>(&api, &ada).await });
        until(|| one.broker().living() != before).await;
        let id = one
            .broker()
            .living()
            .into_iter()
            .find(|id| !before.contains(id))
            .unwrap();
        one.broker().end(id).await;
        assert!(release.send(()).is_ok());
        let cap = restoring.await.unwrap().unwrap();
        assert!(refusal(ping(&cap).await).contains("revoked"));
    });
}

#[test]
fn nobody_outside_restores_drops_or_names_the_objects_of_an_app() {
    with_two(|one, two| async move {
        let session = one.session(A).await;
        let nonce = one
            .announce(B, |admission| {
                admission.init_object().get_id().set_as("album").unwrap()
            })
            .await
            .unwrap();
        let door = one.door();
        let mut request = door.take_request();
        request.get().set_nonce(&nonce);
        let answer = request.send().promise.await.unwrap();
        let taken: ThingClient = answer.get().unwrap().get_cap().get_as_capability().unwrap();
        let (restored, ..) = reference(&one, &two, "album").await;
        let early = early_child(&session, "page");
        for cap in [session, taken, restored, early] {
            let view: main_view::Client<Any> = cap.clone().cast_to();
            let mut restore = view.restore_request();
            restore.get().get_object_id().unwrap().set_as("note").unwrap();
            let error = restore.send().promise.await.err().unwrap();
            assert_eq!(error.kind, ErrorKind::Unimplemented);
            let mut drop = view.drop_request();
            drop.get().get_object_id().unwrap().set_as("note").unwrap();
            assert!(drop.send().promise.await.is_err());
            let persistent: app_persistent::Client<Any> = cap.cast_to();
            let error = persistent.save_request().send().promise.await.err().unwrap();
            assert_eq!(error.kind, ErrorKind::Unimplemented);
        }
        assert!(one.app.dropped.borrow().is_empty());
    });
}

/// `Persistent.save`, as hosts and the broker call it.
async fn save_from_outside(
    cap: &ThingClient,
    fill: impl FnOnce(api_token_owner::Builder<'_>),
) -> Result<Vec<u8>, Error> {
    let persistent: persistent::Client = cap.clone().cast_to();
    let mut request = persistent.save_request();
    fill(request.get().get_seal_for().init_as());
    let answer = request.send().promise.await?;
    Ok(answer.get()?.get_sturdy_ref().get_as::<&[u8]>()?.to_vec())
}

#[test]
fn a_visitor_saves_what_it_holds_under_the_conditions_of_its_session() {
    with_grain(|grain| async move {
        let session = grain.session(A).await;
        let for_two = |owner: api_token_owner::Builder<'_>| owner.init_grain().set_grain_id("two");
        let page = child(&session, "page").await.unwrap();
        let token = save_from_outside(&page, for_two).await.unwrap();
        let record = grain.broker().record(&token);
        assert_eq!(
            (&record.seal, &record.conditions[..]),
            (&Seal::Grain("two".to_owned()), &[A][..])
        );
        assert_eq!(record.label, "as the app says");
        let token = save_from_outside(&page, |mut owner| owner.set_webkey(()))
            .await
            .unwrap();
        assert_eq!(grain.broker().record(&token).seal, Seal::Link);

        // The same before the object is there.
        let token = save_from_outside(&early_child(&session, "early"), for_two)
            .await
            .unwrap();
        assert_eq!(grain.broker().record(&token).conditions, [A]);

        let nobody = save_from_outside(&page, |mut owner| owner.set_frontend(())).await;
        assert!(refusal(nobody).contains("cannot be saved for"));
        let nonsense = save_from_outside(&page, |owner| {
            owner.init_client_powerbox_request().set_session_id("xyz");
        });
        assert!(refusal(nonsense.await).contains("no id of a session"));
        let persistent: persistent::Client = page.clone().cast_to();
        let unsealed = persistent.save_request().send().promise.await;
        assert!(refusal(unsealed).contains("whom"), "a seal is not optional");
        let passing = child(&session, "passing").await.unwrap();
        assert!(refusal(save_from_outside(&passing, for_two).await).contains("cannot be saved"));

        grain.broker().end(A).await;
        let late = save_from_outside(&page, for_two).await.err().unwrap();
        assert_eq!(late.kind, ErrorKind::Disconnected);
    });
}

#[test]
fn an_app_saves_by_the_platform_alone_and_nothing_at_third_hand() {
    with_two(|one, two| async move {
        let (cap, ..) = reference(&one, &two, "album").await;
        let for_two = |owner: api_token_owner::Builder<'_>| owner.init_grain().set_grain_id("two");
        let refused = refusal(save_from_outside(&cap, for_two).await);
        assert!(refused.contains("SandstormApi.save"), "{refused}");

        // The second grain shows it to a visitor, who cannot save it: its host would have to add what it cannot say.
        let visitor = two.session(A).await;
        two.app.sessions.borrow()[0].kept.borrow_mut().push(cap.client);
        let shown = child(&visitor, "kept").await.unwrap();
        let refused = refusal(save_from_outside(&shown, for_two).await);
        assert!(refused.contains("third hand"), "{refused}");
    });
}

#[test]
fn a_tied_object_in_the_hands_of_a_visitor_is_saved_under_both_conditions() {
    with_grain(|grain| async move {
        let visitor = grain.session(A).await;
        let _owner = grain.session(B).await;
        let mut request = grain.app.context().tie_to_user_request();
        let (_, note) = grain.app.thing("note");
        request.get().get_cap().set_as_capability(note.into_client_hook());
        let answer = request.send().promise.await.unwrap();
        let tied = answer.get().unwrap().get_tied_cap().get_as_capability().unwrap();
        let tie = grain.broker().living()[0];
        grain.app.sessions.borrow()[0].kept.borrow_mut().push(tied);
        let shown = child(&visitor, "kept").await.unwrap();
        ping(&shown).await.unwrap();
        let for_two = |owner: api_token_owner::Builder<'_>| owner.init_grain().set_grain_id("two");
        let token = save_from_outside(&shown, for_two).await.unwrap();
        assert_eq!(grain.broker().record(&token).conditions, [A, tie]);
        // Given back to the app, it is not the naked object.
        ping(&echo(&visitor, &shown).await.unwrap()).await.unwrap();
        keep(&visitor, &shown).await.unwrap();
        let returned = grain.app.sessions.borrow()[0].kept.borrow()[1].clone();
        assert_eq!(grain.app.recognise(returned.cast_to()).await, None);
        grain.broker().end(tie).await;
        assert!(ping(&shown).await.is_err());
        ping(&visitor).await.unwrap();
    });
}

/// Keeps the handle of what depends on a condition.
#[derive(Default)]
struct Observer(RefCell<Option<handle::Client>>);

impl system_persistent::revocation_observer::Server for Observer {
    async fn drop_when_revoked(
        self: Rc<Self>,
        params: system_persistent::revocation_observer::DropWhenRevokedParams,
        _: system_persistent::revocation_observer::DropWhenRevokedResults,
    ) -> Result<(), Error> {
        *self.0.borrow_mut() = Some(params.get()?.get_handle()?);
        Ok(())
    }
}

#[test]
fn requirements_are_added_in_a_membrane_that_dies_by_itself_or_with_its_session() {
    with_grain(|grain| async move {
        let session = grain.session(A).await;
        let thing = grain.app.sessions.borrow()[0].clone();
        let add = |cap: &ThingClient, observer: &Rc<Observer>| {
            let cap: system_persistent::Client = cap.clone().cast_to();
            let mut request = cap.add_requirements_request();
            request.get().init_requirements(1).get(0).set_user_is_admin("ada");
            request
                .get()
                .set_observer(capnp_rpc::new_client_from_rc(Rc::clone(observer)));
            let answer = request.send().promise;
            async move { Ok::<ThingClient, Error>(answer.await?.get()?.get_cap()?.cast_to()) }
        };
        let observer = Rc::new(Observer::default());
        let bound = add(&session, &observer).await.unwrap();
        let for_two = |owner: api_token_owner::Builder<'_>| owner.init_grain().set_grain_id("two");
        assert!(
            refusal(save_from_outside(&bound, for_two).await).contains("conditions that cannot be saved")
        );
        let pings = thing.pings.get();
        ping(&bound).await.unwrap();
        assert_eq!(thing.pings.get(), pings + 1, "it is the same object");
        let end = async {
            let handle = observer.0.take();
            drop(handle);
            while ping(&bound).await.is_ok() {}
        };
        all_of_it_dies(bound.clone(), Rc::clone(&thing), end).await;
        ping(&session).await.unwrap();

        thing.kept.borrow_mut().clear();
        let bound = add(&session, &observer).await.unwrap();
        ping(&bound).await.unwrap();
        grain.broker().end(A).await;
        assert!(ping(&bound).await.is_err());
    });
}
