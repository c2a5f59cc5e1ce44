//! What crosses, and what it is on the other side.

use capnp::capability::FromClientHook;
use capnp::{Error, ErrorKind, any_pointer};
use capnp_rpc::{CapabilityServerSet, new_client, new_future_client};
use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};
use percloud_schemas::grain_capnp::{app_persistent, main_view};
use percloud_schemas::util_capnp::handle;

use super::super::Side;
use super::{Api, Offer, Witness, kind, ping, restore, save, share, with_rig};

#[test]
fn results_and_what_they_hold_cross() {
    with_rig(|rig| async move {
        let (witness, mut pinged, _gone) = Witness::new();
        rig.app.offer_cap("it", new_client::<handle::Client, _>(witness));
        let before = rig.realm.touches();
        let cap = restore(&rig.api, "it").await.unwrap();
        ping(&cap).await.unwrap();
        assert!(pinged.next().await.is_some());
        assert_eq!(
            rig.realm.touches() - before,
            2,
            "every call into the app is use of it"
        );
        assert_eq!(rig.realm.pending(), 0);
    });
}

#[test]
fn calls_on_what_has_not_been_answered_are_pipelined() {
    with_rig(|rig| async move {
        for api in [&rig.api, &rig.local] {
            let (witness, mut pinged, _gone) = Witness::new();
            rig.app.offer_cap("it", new_client::<handle::Client, _>(witness));
            let mut request = api.restore_request();
            request.get().set_token(b"it");
            // Field 0 of the results, as the generated pipeline has no accessor for an AnyPointer's capability.
            let pipeline = request.send().pipeline;
            let cap: handle::Client = FromClientHook::new(pipeline.get_cap().as_cap());
            ping(&cap).await.unwrap();
            assert!(pinged.next().await.is_some());
        }
    });
}

#[test]
fn the_app_calls_back_what_it_is_given() {
    with_rig(|rig| async move {
        for api in [&rig.api, &rig.local] {
            let (witness, mut pinged, _gone) = Witness::new();
            let used = rig.realm.touches();
            save(api, &new_client(witness)).await.unwrap();
            assert!(pinged.next().await.is_some());
            assert_eq!(
                rig.realm.touches() - used,
                1,
                "calls out of the app are no use of it"
            );
        }
    });
}

#[test]
fn promises_lead_to_what_they_promise() {
    with_rig(|rig| async move {
        let (witness, mut pinged, _gone) = Witness::new();
        let (resolve, resolved) = oneshot::channel::<handle::Client>();
        let promise: handle::Client =
            new_future_client(resolved.map(|cap| cap.map_err(|_| Error::failed("never".to_owned()))));
        rig.app.offer_cap("later", promise);
        let cap = restore(&rig.api, "later").await.unwrap();
        let early = ping(&cap);
        assert!(resolve.send(new_client(witness)).is_ok());
        early.await.unwrap();
        let closer = cap
            .client
            .hook
            .get_resolved()
            .expect("the promise is known to be kept");
        ping(&FromClientHook::new(closer)).await.unwrap();
        assert_eq!(pinged.by_ref().take(2).count().await, 2);
    });
}

#[test]
fn a_broken_promise_is_broken_on_the_other_side_too() {
    with_rig(|rig| async move {
        let promise: handle::Client =
            new_future_client(async { Err(Error::overloaded("broken on purpose".to_owned())) });
        rig.app.offer_cap("broken", promise);
        let cap = restore(&rig.api, "broken").await.unwrap();
        assert_eq!(kind(ping(&cap).await), ErrorKind::Overloaded);
    });
}

#[test]
fn an_object_of_the_outside_comes_back_as_itself() {
    with_rig(|rig| async move {
        let mut set = CapabilityServerSet::<Witness, handle::Client>::new();
        let (witness, ..) = Witness::new();
        let mine = set.new_client(witness);
        let back: handle::Client = share(&rig.api, mine.clone()).await.unwrap().cast_to();
        assert!(set.get_local_server(&back).await.is_some());

        // The same when it travels as a promise, resolved while it is away.
        let (resolve, resolved) = oneshot::channel::<handle::Client>();
        let promise: handle::Client =
            new_future_client(resolved.map(|cap| cap.map_err(|_| Error::failed("never".to_owned()))));
        let back: handle::Client = share(&rig.api, promise).await.unwrap().cast_to();
        assert!(resolve.send(mine).is_ok());
        assert!(set.get_local_server(&back).await.is_some());
    });
}

#[test]
fn an_object_of_the_app_comes_back_as_itself() {
    with_rig(|rig| async move {
        let (witness, mut pinged, _gone) = Witness::new();
        let own = rig.app.set.borrow_mut().new_client(witness);
        rig.app.offer_cap("own", own);
        let cap = restore(&rig.api, "own").await.unwrap();
        save(&rig.api, &cap).await.unwrap();
        assert_eq!(*rig.app.recognised.borrow(), Some(true));
        assert!(pinged.next().await.is_some());

        // Through another session of the same app, it is still its own.
        let other = rig.realm.membrane();
        let again: Api = other.carry(rig.membrane.carry(rig.local.clone(), Side::Outside), Side::Inside);
        *rig.app.recognised.borrow_mut() = None;
        let (witness, mut pinged, _gone) = Witness::new();
        let own = rig.app.set.borrow_mut().new_client(witness);
        rig.app.offer_cap("again", own);
        let cap = restore(&again, "again").await.unwrap();
        save(&rig.local, &cap).await.unwrap();
        assert_eq!(*rig.app.recognised.borrow(), Some(true));
        assert!(pinged.next().await.is_some());
    });
}

#[test]
fn one_object_keeps_one_identity_however_often_it_crosses() {
    with_rig(|rig| async move {
        let (witness, ..) = Witness::new();
        let cap: handle::Client = new_client(witness);
        let before = rig.realm.caps();
        let mut held = Vec::new();
        for _ in 0..3 {
            rig.app.offer_cap("same", cap.clone());
            held.push(restore(&rig.local, "same").await.unwrap());
        }
        assert_eq!(rig.realm.caps(), before + 1);
        let identity = held[0].client.hook.get_ptr();
        assert!(held.iter().all(|cap| cap.client.hook.get_ptr() == identity));
        drop(held);
        assert_eq!(rig.realm.caps(), before);
    });
}

#[test]
fn errors_keep_their_kind_and_gain_no_text_on_the_way() {
    with_rig(|rig| async move {
        let errors = [
            Error::failed,
            Error::overloaded,
            Error::disconnected,
            Error::unimplemented,
        ];
        for error in errors {
            let error = error("as the app said".to_owned());
            rig.app.offer("error", Offer::Error(error.clone()));
            let local = restore(&rig.local, "error").await.err().unwrap();
            assert_eq!(
                (local.kind, local.extra.as_str()),
                (error.kind, "as the app said")
            );
            rig.app.offer("error", Offer::Error(error.clone()));
            let far = restore(&rig.api, "error").await.err().unwrap();
            assert_eq!(
                (far.kind, far.extra.as_str()),
                (error.kind, "remote exception: as the app said")
            );
        }
    });
}

#[test]
fn reserved_methods_do_not_cross() {
    with_rig(|rig| async move {
        for api in [&rig.api, &rig.local] {
            let hook = api.client.hook.add_ref();
            let view: main_view::Client<any_pointer::Owned> = FromClientHook::new(hook.add_ref());
            assert_eq!(
                kind(view.drop_request().send().promise.await.map(drop)),
                ErrorKind::Unimplemented
            );
            let persistent: app_persistent::Client<any_pointer::Owned> = FromClientHook::new(hook);
            let saved = persistent.save_request().send().promise.await;
            assert_eq!(kind(saved.map(drop)), ErrorKind::Unimplemented);
        }
    });
}
