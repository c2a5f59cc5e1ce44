//! Saving, restoring and forgetting.

use capnp::ErrorKind;
use percloud_schemas::identity_capnp::identity;

use super::super::app::{Thing, ThingClient, child, ping};
use super::super::broker::Seal;
use super::super::rig::{Grain, refusal, restore, save, until, with_grain, with_two, with_world};
use super::visit_of;
use crate::config::Limits;

#[test]
fn an_object_of_the_app_is_saved_and_comes_back_as_itself() {
    with_grain(|grain| async move {
        let (_, note) = grain.app.thing("note");
        let token = save(&grain.api, note.clone(), "for Ada").await.unwrap();
        let record = grain.broker().record(&token);
        assert_eq!(
            (record.seal, record.label.as_str()),
            (Seal::Grain("one".to_owned()), "for Ada")
        );
        assert!(record.conditions.is_empty(), "what the app saves is the app's");
        let back: ThingClient = restore(&grain.api, &token).await.unwrap();
        assert_eq!(grain.app.recognise(back).await.as_deref(), Some("note"));

        let token = save(&grain.api, note, "").await.unwrap();
        assert_eq!(grain.broker().record(&token).label, "as the app says");
    });
}

#[test]
fn what_cannot_be_saved_says_why() {
    with_grain(|grain| async move {
        let request = grain.api.save_request();
        let nothing = request.send().promise.await;
        assert!(refusal(nothing).contains("there is no capability here"));
        for (name, why) in [
            ("passing", "cannot be saved"),
            ("long", "has 3072 bytes at most"),
            ("carrier", "cannot contain capabilities"),
        ] {
            let saved = save(&grain.api, grain.app.thing(name).1, "").await;
            let refusal = refusal(saved);
            assert!(refusal.contains(why), "{refusal}");
        }
        let session = grain.session([1; 16]).await;
        let (_, lent) = Thing::of_visitor("lent");
        super::super::app::keep(&session, &lent).await.unwrap();
        let lent = grain.app.sessions.borrow()[0].kept.borrow()[0].clone();
        assert!(
            refusal(save(&grain.api, lent, "").await).contains("cannot be saved"),
            "a visitor's"
        );
        let context = save(&grain.api, grain.app.context(), "").await;
        assert!(
            refusal(context).contains("cannot be saved"),
            "a session is not for later"
        );
        let broken: ThingClient =
            capnp_rpc::new_future_client(async { Err(capnp::Error::failed("broken on purpose".to_owned())) });
        assert!(refusal(save(&grain.api, broken, "").await).contains("broken on purpose"));
        let (_, note) = grain.app.thing("note");
        let long = save(&grain.api, note, &"x".repeat(100 << 10)).await;
        assert!(refusal(long).contains("too long"));
    });
}

#[test]
fn promises_are_not_waited_for_for_ever() {
    with_world(|world| async move {
        world.limits.borrow_mut().object_timeout = std::time::Duration::from_millis(50);
        let grain = world.grain("one");
        let promise: ThingClient = capnp_rpc::new_future_client(std::future::pending());
        assert!(refusal(save(&grain.api, promise, "").await).contains("not kept within"));
        let token = grain.broker().give("one", "slow", Seal::Grain("one".to_owned()));
        let slow = restore::<ThingClient>(&grain.api, &token).await;
        let slow = refusal(slow);
        assert!(slow.contains("within 0 seconds"), "{slow}");
        let two = world.grain("two");
        let token = grain.broker().give("one", "slow", Seal::Grain("two".to_owned()));
        assert!(
            restore::<ThingClient>(&two.api, &token).await.is_err(),
            "another grain's neither"
        );
    });
}

#[test]
fn a_capability_of_the_platform_is_saved_by_whom_it_belongs_to() {
    with_grain(|grain| async move {
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        let token = save(&grain.api, ada, "who wrote it").await.unwrap();
        let record = grain.broker().record(&token);
        assert_eq!(
            (record.seal, record.label.as_str()),
            (Seal::Grain("one".to_owned()), "who wrote it")
        );
        let ada: identity::Client = restore(&grain.api, &token).await.unwrap();
        let profile = ada.get_profile_request().send().promise.await.unwrap();
        let name = profile
            .get()
            .unwrap()
            .get_profile()
            .unwrap()
            .get_display_name()
            .unwrap();
        assert_eq!(name.get_default_text().unwrap(), "Ada");
    });
}

#[test]
fn the_broker_hears_of_what_is_held_no_more() {
    with_grain(|grain| async move {
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        let token = save(&grain.api, ada, "").await.unwrap();
        let kept: identity::Client = restore(&grain.api, &token).await.unwrap();
        for _ in 0..200 {
            let ada: identity::Client = restore(&grain.api, &token).await.unwrap();
            ada.get_profile_request().send().promise.await.unwrap();
        }
        until(|| grain.broker().let_go.borrow().len() > 100).await;
        kept.get_profile_request().send().promise.await.unwrap();
    });
}

#[test]
fn an_object_of_another_grain_is_restored_through_its_door() {
    with_two(|one, two| async move {
        let token = one.broker().give("one", "album", Seal::Grain("two".to_owned()));
        let album: ThingClient = restore(&two.api, &token).await.unwrap();
        ping(&album).await.unwrap();
        let thing = one.app.restored.borrow()[0].clone();
        assert_eq!((thing.name.as_str(), thing.pings.get()), ("album", 1));

        // Saved again by who holds it, under the conditions by which it holds it.
        let reference = one.broker().living()[0];
        let token = save(&two.api, album, "my friend's album").await.unwrap();
        let record = one.broker().record(&token);
        assert_eq!(record.seal, Seal::Grain("two".to_owned()));
        assert_eq!(record.conditions, [reference]);
        assert_eq!(record.label, "my friend's album");

        // A token is for whom it is sealed.
        assert!(restore::<ThingClient>(&one.api, &token).await.is_err());
        assert!(restore::<ThingClient>(&two.api, b"nonsense").await.is_err());
        assert!(restore::<ThingClient>(&two.api, &[b'x'; 5000]).await.is_err());
    });
}

#[test]
fn one_connection_leads_to_another_grain_and_ends_with_what_came_by_it() {
    with_world(|world| async move {
        world.limits.borrow_mut().neighbours = 1;
        let (one, two, three) = (world.grain("one"), world.grain("two"), world.grain("three"));
        let token = |owner: &Grain| {
            one.broker()
                .give(&owner.name, "album", Seal::Grain("two".to_owned()))
        };
        let mut held: Vec<ThingClient> = Vec::new();
        for _ in 0..100 {
            held.push(restore(&two.api, &token(&one)).await.unwrap());
        }
        let more = restore::<ThingClient>(&two.api, &token(&three))
            .await
            .err()
            .unwrap();
        assert_eq!(more.kind, ErrorKind::Overloaded);
        // A capability obtained through one keeps the connection.
        let page = child(&held.pop().unwrap(), "page").await.unwrap();
        drop(held);
        assert!(restore::<ThingClient>(&two.api, &token(&three)).await.is_err());
        ping(&page).await.unwrap();
        drop(page);
        let next = loop {
            match restore::<ThingClient>(&two.api, &token(&three)).await {
                Ok(cap) => break cap,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        ping(&next).await.unwrap();
    });
}

#[test]
fn a_connection_that_broke_is_made_anew() {
    with_world(|world| async move {
        let (one, two) = (world.grain("one"), world.grain("two"));
        let token = || one.broker().give("one", "album", Seal::Grain("two".to_owned()));
        let album: ThingClient = restore(&two.api, &token()).await.unwrap();
        // The first grain's host is gone, and comes again at the same place.
        let socket = one.stop();
        while ping(&album).await.is_ok() {}
        assert!(restore::<ThingClient>(&two.api, &token()).await.is_err());
        std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
        let one = world.grain("one");
        let album: ThingClient = restore(&two.api, &token()).await.unwrap();
        ping(&album).await.unwrap();
        assert_eq!(one.app.restored.borrow().len(), 1);
    });
}

#[test]
fn an_app_that_cannot_bring_an_object_back_says_so_to_who_asked() {
    with_two(|one, two| async move {
        let token = one.broker().give("one", "gone", Seal::Grain("two".to_owned()));
        let far = refusal(restore::<ThingClient>(&two.api, &token).await);
        assert!(
            far.contains("the grain that has this object") && far.contains("there is no such thing"),
            "{far}"
        );
        let token = one.broker().give("one", "gone", Seal::Grain("one".to_owned()));
        let near = refusal(restore::<ThingClient>(&one.api, &token).await);
        assert!(near.contains("there is no such thing"), "{near}");
    });
}

#[test]
fn forgetting_is_never_an_error_and_only_of_ones_own() {
    with_two(|one, two| async move {
        let forget = |grain: &Grain, token: &[u8]| {
            let mut request = grain.api.drop_request();
            request.get().set_token(token);
            request.send().promise
        };
        let token = one.broker().give("one", "note", Seal::Grain("one".to_owned()));
        forget(&two, &token).await.unwrap();
        assert!(
            restore::<ThingClient>(&one.api, &token).await.is_ok(),
            "it is not theirs"
        );
        for token in [&token[..], &token, b"", &[b'x'; 5000]] {
            forget(&one, token).await.unwrap();
        }
        assert!(restore::<ThingClient>(&one.api, &token).await.is_err());

        let mut request = one.api.deleted_request();
        request.get().get_ref().unwrap().set_as("note").unwrap();
        request.send().promise.await.unwrap();
        assert_eq!(*one.broker().told.borrow(), ["one forgets note"]);
    });
}

#[test]
fn references_are_counted() {
    with_world(|world| async move {
        *world.limits.borrow_mut() = Limits {
            references: 10,
            ..Limits::default()
        };
        let grain = world.grain("one");
        let restore_one = || async {
            let token = grain.broker().give_person("Ada", Seal::Grain("one".to_owned()));
            restore::<ThingClient>(&grain.api, &token).await
        };
        let mut held = Vec::new();
        let refused = loop {
            match restore_one().await {
                Ok(cap) => held.push(cap),
                Err(error) => break error,
            }
        };
        assert_eq!((held.len(), refused.kind), (10, ErrorKind::Overloaded));
        held.pop();
        while restore_one().await.is_err() {
            tokio::task::yield_now().await;
        }
    });
}
