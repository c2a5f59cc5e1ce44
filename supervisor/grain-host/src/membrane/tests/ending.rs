//! What ends: calls nobody waits for, what nobody holds, what is revoked.

use capnp::ErrorKind;
use capnp_rpc::new_client;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::join_all;
use percloud_schemas::util_capnp::handle;
use tokio::task::spawn_local;

use super::super::Side;
use super::{Offer, Witness, kind, ping, restore, save, with_rig};

#[test]
fn a_call_nobody_waits_for_is_canceled_in_the_app() {
    with_rig(|rig| async move {
        let (canceled, is_canceled) = oneshot::channel();
        rig.app.offer("never", Offer::Never(canceled));
        let call = spawn_local(restore(&rig.api, "never"));
        // The app has the call once the offer is taken.
        while !rig.app.offers.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.realm.pending(), 1);
        call.abort();
        assert!(is_canceled.await.is_err(), "the app's call is dropped");
        assert_eq!(rig.realm.pending(), 0);
    });
}

#[test]
fn what_nobody_holds_outside_is_dropped_inside() {
    with_rig(|rig| async move {
        let (witness, mut pinged, gone) = Witness::new();
        rig.app
            .offer_cap("held", new_client::<handle::Client, _>(witness));
        let cap = restore(&rig.api, "held").await.unwrap();
        ping(&cap).await.unwrap();
        assert!(pinged.next().await.is_some());
        drop(cap);
        assert!(gone.await.is_err());
    });
}

#[test]
fn revoking_ends_calls_under_way_and_refuses_new_ones_in_both_directions() {
    with_rig(|rig| async move {
        let (witness, mut pinged, app_object_gone) = Witness::new();
        rig.app
            .offer_cap("held", new_client::<handle::Client, _>(witness));
        let cap = restore(&rig.api, "held").await.unwrap();
        ping(&cap).await.unwrap();
        assert!(pinged.next().await.is_some());
        let (callback, _called_back, _callback_gone) = Witness::new();
        save(&rig.api, &new_client(callback)).await.unwrap();

        let mut under_way = Vec::new();
        for _ in 0..10 {
            let (canceled, is_canceled) = oneshot::channel();
            rig.app.offer("never", Offer::Never(canceled));
            under_way.push((restore(&rig.api, "never"), is_canceled));
        }
        let (calls, canceled): (Vec<_>, Vec<_>) = under_way.into_iter().unzip();
        let calls: Vec<_> = calls.into_iter().map(spawn_local).collect();
        while rig.realm.pending() < 10 || !rig.app.offers.borrow().is_empty() {
            tokio::task::yield_now().await;
        }

        rig.membrane.revoke("the session was ended");
        for call in join_all(calls).await {
            let error = call.unwrap().err().expect("the call fails");
            assert_eq!(error.kind, ErrorKind::Disconnected);
            assert!(error.extra.ends_with("the session was ended"), "{error}");
        }
        assert!(
            join_all(canceled)
                .await
                .into_iter()
                .all(|canceled| canceled.is_err())
        );
        assert_eq!(rig.realm.pending(), 0);
        assert_eq!(kind(ping(&cap).await), ErrorKind::Disconnected);
        assert_eq!(
            kind(restore(&rig.api, "more").await.map(drop)),
            ErrorKind::Disconnected
        );
        assert_eq!(kind(save(&rig.local, &cap).await), ErrorKind::Disconnected);
        // The app lost what it was given, and its object was let go though it is still held outside.
        let given = rig.app.kept.borrow()[0].clone();
        assert_eq!(kind(ping(&given).await), ErrorKind::Disconnected);
        assert!(app_object_gone.await.is_err());

        // What crosses afterwards is dead on arrival.
        let (late, ..) = Witness::new();
        let late: handle::Client = rig.membrane.carry(new_client(late), Side::Inside);
        assert_eq!(kind(ping(&late).await), ErrorKind::Disconnected);
    });
}

#[test]
fn revoking_one_session_leaves_others_alone() {
    with_rig(|rig| async move {
        let other = rig.realm.membrane();
        let (witness, mut pinged, _gone) = Witness::new();
        let object: handle::Client = new_client(witness);
        let through_one: handle::Client = rig.membrane.carry(object.clone(), Side::Inside);
        let through_other: handle::Client = other.carry(object, Side::Inside);
        rig.membrane.revoke("over");
        assert_eq!(kind(ping(&through_one).await), ErrorKind::Disconnected);
        ping(&through_other).await.unwrap();
        assert!(pinged.next().await.is_some());
    });
}

#[test]
fn an_outside_object_lent_to_one_session_stays_tied_to_it_in_another() {
    with_rig(|rig| async move {
        let other = rig.realm.membrane();
        let (witness, mut pinged, _gone) = Witness::new();
        let held_by_app: handle::Client = rig.membrane.carry(new_client(witness), Side::Outside);
        let passed_on: handle::Client = other.carry(held_by_app, Side::Inside);
        ping(&passed_on).await.unwrap();
        assert!(pinged.next().await.is_some());
        rig.membrane.revoke("over");
        assert_eq!(kind(ping(&passed_on).await), ErrorKind::Disconnected);
    });
}
