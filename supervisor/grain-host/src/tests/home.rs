//! What comes home is unwrapped; what only looks like it is not.

use capnp::capability::FromClientHook;
use capnp_rpc::CapabilityServerSet;
use std::rc::Rc;

use super::app::{Thing, ThingClient, child, echo, keep, ping};
use super::broker::Seal;
use super::rig::{Grain, restore, save, with_grain, with_two, with_world};

/// An object of `one` in the hands of `two`'s app, and what serves it.
async fn reference(one: &Grain, two: &Grain) -> (ThingClient, Rc<Thing>) {
    let token = one
        .broker()
        .give(&one.name, "album", Seal::Grain(two.name.clone()));
    let cap = restore(&two.api, &token).await.unwrap();
    let thing = one.app.restored.borrow().last().unwrap().clone();
    (cap, thing)
}

#[test]
fn an_object_lent_to_another_grain_comes_back_as_itself() {
    with_two(|one, two| async move {
        let (album, _) = reference(&one, &two).await;
        let (_, note) = two.app.thing("note");
        let back = echo(&album, &note).await.unwrap();
        assert_eq!(two.app.recognise(back).await.as_deref(), Some("note"));
        // Also as a promise that is kept while it is away.
        let (promise, kept) = futures::channel::oneshot::channel::<ThingClient>();
        let promised: ThingClient = capnp_rpc::new_future_client(async move {
            kept.await.map_err(|_| capnp::Error::failed("never".to_owned()))
        });
        let back = echo(&album, &promised).await.unwrap();
        assert!(promise.send(note).is_ok());
        assert_eq!(two.app.recognise(back).await.as_deref(), Some("note"));
    });
}

#[test]
fn an_object_of_another_grain_is_itself_again_there() {
    with_two(|one, two| async move {
        let (album, thing) = reference(&one, &two).await;
        let (_, own) = one.app.thing("page");
        thing.kept.borrow_mut().push(own.client);
        let page = child(&album, "kept").await.unwrap();
        // Given back by the very reference, and by another one.
        keep(&album, &page).await.unwrap();
        let returned: ThingClient = thing.kept.borrow()[1].clone().cast_to();
        assert_eq!(one.app.recognise(returned).await.as_deref(), Some("page"));
    });
}

#[test]
fn an_object_that_comes_back_by_another_way_works_and_stays_bound_to_both() {
    with_two(|one, two| async move {
        let (first, thing) = reference(&one, &two).await;
        let first_id = one.broker().living()[0];
        let (second, other) = reference(&one, &two).await;
        let (served, note) = two.app.thing("note");
        keep(&first, &note).await.unwrap();
        let inside = thing.kept.borrow()[0].clone();
        other.kept.borrow_mut().push(inside);
        let back = child(&second, "kept").await.unwrap();
        let pings = served.pings.get();
        ping(&back).await.unwrap();
        assert_eq!(served.pings.get(), pings + 1);
        one.broker().end(first_id).await;
        assert!(ping(&back).await.is_err());
        ping(&second).await.unwrap();
    });
}

#[test]
fn an_object_passed_on_through_three_grains_works_while_all_of_them_let_it() {
    with_world(|world| async move {
        let (one, two, three) = (world.grain("one"), world.grain("two"), world.grain("three"));
        let (album, thing) = reference(&one, &two).await;
        let first = world.broker.living()[0];
        let (hub, hub_thing) = reference(&two, &three).await;
        hub_thing.kept.borrow_mut().push(album.client);
        let relayed = child(&hub, "kept").await.unwrap();
        ping(&relayed).await.unwrap();
        assert_eq!(thing.pings.get(), 1);
        // Relayed authority is not saved at third hand, by whomever.
        assert!(save(&three.api, relayed.clone(), "").await.is_err());
        world.broker.end(first).await;
        assert!(ping(&relayed).await.is_err());
        ping(&hub).await.unwrap();
    });
}

#[test]
fn a_visitor_gets_its_own_back_by_its_own_session_alone() {
    with_grain(|grain| async move {
        let (first, second) = (grain.session([1; 16]).await, grain.session([2; 16]).await);
        let mut set = CapabilityServerSet::<Thing, ThingClient>::new();
        let mine = set.new_client(Thing::named("mine"));
        let back = echo(&first, &mine).await.unwrap();
        let back = capnp::capability::get_resolved_cap(back).await;
        assert!(set.get_local_server_of_resolved(&back).is_some());

        keep(&first, &mine).await.unwrap();
        let lent = grain.app.sessions.borrow()[0].kept.borrow()[0].clone();
        grain.app.sessions.borrow()[1].kept.borrow_mut().push(lent);
        let handed = child(&second, "kept").await.unwrap();
        ping(&handed).await.unwrap();
        let handed = capnp::capability::get_resolved_cap(handed).await;
        assert!(
            set.get_local_server_of_resolved(&handed).is_none(),
            "in the other session it is wrapped, or it would outlive the first"
        );
    });
}
