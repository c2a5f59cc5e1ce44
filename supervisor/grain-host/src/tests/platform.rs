//! Every method of `SandstormApi`.

use capnp::ErrorKind;
use capnp::capability::FromClientHook;
use percloud_schemas::activity_capnp::ongoing_notification;
use percloud_schemas::grain_capnp::{SchedulingPeriod, ui_view};
use percloud_schemas::identity_capnp::identity;
use percloud_schemas::util_capnp::handle;
use std::cell::Cell;
use std::rc::Rc;

use super::app::{Thing, ThingClient, child, ping};
use super::broker::Seal;
use super::rig::{Grain, NOW, enter, refusal, restore, save, until, with_grain, with_two, with_world};
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
        super::app::keep(&session, &lent).await.unwrap();
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

/// Opens a session of somebody with an account; the app's view of them.
async fn visit_of(grain: &Grain, session: [u8; 16], name: &str) -> (ThingClient, identity::Client) {
    let person = grain.broker().person(name);
    let nonce = grain
        .announce(session, |admission| admission.init_user().set_identity(person))
        .await
        .unwrap();
    let session = enter(&grain.door(), &nonce).await.unwrap();
    let person = grain.app.people.borrow().last().unwrap().clone();
    (session, person)
}

async fn identity_id(grain: &Grain, person: identity::Client) -> Result<Vec<u8>, capnp::Error> {
    let mut request = grain.api.get_identity_id_request();
    request.get().set_identity(person);
    Ok(request.send().promise.await?.get()?.get_id()?.to_vec())
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
fn people_are_known_by_whichever_way_the_app_met_them() {
    with_grain(|grain| async move {
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        let token = save(&grain.api, ada.clone(), "").await.unwrap();
        let again: identity::Client = restore(&grain.api, &token).await.unwrap();
        assert_eq!(identity_id(&grain, ada).await.unwrap(), b"Ada");
        assert_eq!(identity_id(&grain, again).await.unwrap(), b"Ada");

        let (_, impostor) = grain.app.thing("impostor");
        assert!(refusal(identity_id(&grain, impostor.cast_to()).await).contains("no identity"));
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

/// The app's notification: counts how often it was canceled.
struct Ours(Rc<Cell<usize>>);

impl ongoing_notification::Server for Ours {
    async fn cancel(
        self: Rc<Self>,
        _: ongoing_notification::CancelParams,
        _: ongoing_notification::CancelResults,
    ) -> Result<(), capnp::Error> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

async fn stay_awake(
    grain: &Grain,
    caption: &str,
    canceled: &Rc<Cell<usize>>,
) -> Result<handle::Client, capnp::Error> {
    let mut request = grain.api.stay_awake_request();
    request
        .get()
        .init_display_info()
        .init_caption()
        .set_default_text(caption);
    request
        .get()
        .set_notification(capnp_rpc::new_client(Ours(Rc::clone(canceled))));
    request.send().promise.await?.get()?.get_handle()
}

#[test]
fn a_wake_lock_lasts_until_its_handle_is_dropped_or_its_owner_cancels() {
    with_grain(|grain| async move {
        let canceled = Rc::new(Cell::new(0));
        let wake = Rc::clone(&grain.wired.wake);
        let shown = Rc::clone(&grain.broker().shown);
        let first = stay_awake(&grain, "syncing", &canceled).await.unwrap();
        let second = stay_awake(&grain, "indexing", &canceled).await.unwrap();
        assert_eq!(*grain.broker().told.borrow(), ["syncing", "indexing"]);
        assert!(wake.are_held());
        assert_eq!(shown.get(), 2);

        drop(first);
        until(|| shown.get() == 1).await;
        assert!(wake.are_held(), "the other one");
        let used = grain.wired.realm.touches();

        let notification = grain.broker().notifications.borrow_mut().pop().unwrap();
        notification.cancel_request().send().promise.await.unwrap();
        until(|| shown.get() == 0).await;
        assert_eq!(canceled.get(), 1, "the app is told");
        assert!(!wake.are_held(), "though the app holds its handle");
        assert!(grain.wired.realm.touches() > used, "letting go is use");
        second.ping_request().send().promise.await.unwrap();
        notification.cancel_request().send().promise.await.unwrap();
        assert_eq!(canceled.get(), 1, "only once");

        // The first lock is gone; canceling it now reaches nobody.
        let first = grain.broker().notifications.borrow_mut().pop().unwrap();
        first.cancel_request().send().promise.await.unwrap();
        assert_eq!(canceled.get(), 1);

        let third = stay_awake(&grain, "again", &canceled).await.unwrap();
        grain.broker().notifications.borrow_mut().clear();
        third.ping_request().send().promise.await.unwrap();
        assert!(
            wake.are_held() && shown.get() == 1,
            "its notification is gone, its handle is not"
        );
    });
}

#[test]
fn a_refused_wake_lock_is_none_and_there_are_so_many() {
    with_grain(|grain| async move {
        let canceled = Rc::new(Cell::new(0));
        assert!(refusal(stay_awake(&grain, "no", &canceled).await).contains("does not want"));
        assert!(!grain.wired.wake.are_held());
        let mut locks = Vec::new();
        let refused = loop {
            match stay_awake(&grain, "more", &canceled).await {
                Ok(lock) => locks.push(lock),
                Err(error) => break error,
            }
        };
        assert_eq!((locks.len(), refused.kind), (64, ErrorKind::Overloaded));
        drop(locks);
        until(|| !grain.wired.wake.are_held()).await;
    });
}

#[test]
fn what_happens_by_itself_is_told_with_the_people_it_concerns() {
    with_grain(|grain| async move {
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        let (_, impostor) = grain.app.thing("impostor");
        let mut request = grain.api.background_activity_request();
        let mut event = request.get().init_event();
        event.set_path("inbox");
        let mut users = event.init_users(2);
        users.reborrow().get(0).set_identity(ada);
        users.get(1).set_identity(impostor.cast_to());
        request.send().promise.await.unwrap();
        assert_eq!(*grain.broker().told.borrow(), ["inbox Ada a stranger"]);

        let mut request = grain.api.background_activity_request();
        request.get().init_event().set_path("x".repeat(100 << 10));
        assert!(refusal(request.send().promise.await).contains("too long"));
    });
}

#[test]
fn jobs_are_scheduled_with_the_apps_own_objects() {
    const MINUTE: u64 = 60_000_000_000;
    with_grain(|grain| async move {
        let now = i64::try_from(NOW * 1_000_000_000).unwrap();
        let once = |callback: ThingClient, when: i64, slack: u64| {
            let mut request = grain.api.schedule_request();
            let mut job = request.get();
            job.reborrow().init_name().set_default_text("tidy up");
            job.set_callback(callback.cast_to());
            let mut once = job.get_schedule().init_one_shot();
            once.set_when(when);
            once.set_slack(slack);
            request.send().promise
        };
        let (_, job) = grain.app.thing("job");
        once(job.clone(), now, 1).await.unwrap();
        assert_eq!(
            grain.broker().told.take(),
            [format!("tidy up at {now} for {}", 5 * MINUTE)]
        );
        let tokens = grain.broker().tokens.borrow().len();
        assert!(refusal(once(job.clone(), now - 1, 1).await).contains("in the past"));
        assert!(refusal(once(grain.app.thing("passing").1, now, 1).await).contains("cannot be saved"));
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        assert!(refusal(once(ada.cast_to(), now, 1).await).contains("an object of the app itself"));
        assert_eq!(
            grain.broker().tokens.borrow().len(),
            tokens,
            "nothing is left behind"
        );

        let mut request = grain.api.schedule_request();
        request.get().set_callback(job.cast_to());
        request
            .get()
            .get_schedule()
            .set_periodic(SchedulingPeriod::Weekly);
        request.send().promise.await.unwrap();
        assert_eq!(grain.broker().told.take(), [" Weekly"]);
    });
}

#[test]
fn capabilities_and_views_are_shared() {
    with_grain(|grain| async move {
        let (_, note) = grain.app.thing("note");
        let mut request = grain.api.share_cap_request();
        request.get().get_cap().set_as_capability(note.into_client_hook());
        request
            .get()
            .init_display_info()
            .init_title()
            .set_default_text("a note");
        let shared = request.send().promise.await.unwrap();
        let shared = shared.get().unwrap();
        assert_eq!(grain.broker().told.take(), ["shares a note"]);
        let cap: ThingClient = shared.get_shared_cap().get_as_capability().unwrap();
        assert_eq!(grain.app.recognise(cap).await.as_deref(), Some("note"));
        let name = shared
            .get_link()
            .unwrap()
            .get_petname_request()
            .send()
            .promise
            .await;
        assert_eq!(
            name.err().unwrap().kind,
            ErrorKind::Unimplemented,
            "the broker's link is there"
        );

        // A view the app was offered.
        let view = grain.broker().view("Chess");
        let nonce = grain
            .announce([1; 16], |admission| {
                let mut offer = admission.init_offer();
                offer
                    .reborrow()
                    .init_cap()
                    .set_as_capability(view.into_client_hook());
                offer.init_descriptor().init_tags(1);
            })
            .await
            .unwrap();
        let _session = enter(&grain.door(), &nonce).await.unwrap();
        let offered: ui_view::Client = grain.app.offered.borrow()[0].clone().cast_to();
        let share = |view: ui_view::Client| {
            let mut request = grain.api.share_view_request();
            request.get().set_view(view);
            request.send().promise
        };
        let shared = share(offered).await.unwrap();
        let view = shared.get().unwrap().get_shared_view().unwrap();
        let info = view.get_view_info_request().send().promise.await.unwrap();
        assert_eq!(
            info.get()
                .unwrap()
                .get_app_title()
                .unwrap()
                .get_default_text()
                .unwrap(),
            "Chess"
        );
        let link = shared.get().unwrap().get_link().unwrap();
        let role = link.get_role_assignment_request().send().promise.await;
        assert!(refusal(role).contains("the link answers"));
        let (_, own) = grain.app.thing("own");
        assert!(refusal(share(own.cast_to()).await).contains("only a view of a whole grain"));
    });
}

#[test]
fn what_was_retired_long_ago_says_so() {
    with_grain(|grain| async move {
        let publish = grain
            .api
            .deprecated_publish_request()
            .send()
            .promise
            .await
            .err()
            .unwrap();
        assert_eq!(publish.kind, ErrorKind::Unimplemented);
        assert!(publish.extra.contains("retired"), "{publish}");
        let register = grain
            .api
            .deprecated_register_action_request()
            .send()
            .promise
            .await;
        assert_eq!(register.err().unwrap().kind, ErrorKind::Unimplemented);
    });
}

#[test]
fn jobs_are_run_and_objects_dropped_as_the_broker_says() {
    with_grain(|grain| async move {
        let run = |object: &str| {
            let mut request = grain.host.run_job_request();
            request.get().init_object().get_id().set_as(object).unwrap();
            let answer = request.send().promise;
            async move { Ok::<_, capnp::Error>(answer.await?.get()?.get_cancel_future_runs()) }
        };
        assert!(!run("job").await.unwrap());
        assert!(run("last").await.unwrap());
        assert!(
            grain
                .app
                .restored
                .borrow()
                .iter()
                .all(|job: &Rc<Thing>| job.runs.get() == 1)
        );
        assert!(refusal(run("gone").await).contains("there is no such thing"));
        assert_eq!(grain.wired.realm.pending(), 0);

        let forget = |object: &str| {
            let mut request = grain.host.drop_object_request();
            request.get().init_object().get_id().set_as(object).unwrap();
            request.send().promise
        };
        forget("note").await.unwrap();
        forget("kept").await.unwrap();
        assert!(refusal(forget("stuck").await).contains("the disk is full"));
        assert_eq!(*grain.app.dropped.borrow(), ["note"]);
    });
}

#[test]
fn a_query_of_a_page_is_read_and_an_answer_written() {
    with_grain(|grain| async move {
        let read = |texts: Vec<&str>| {
            let mut request = grain.host.read_query_request();
            let mut query = request.get().init_query(texts.len() as u32);
            for (index, text) in texts.iter().enumerate() {
                query.set(index as u32, text);
            }
            request.send().promise
        };
        let text = "EAZQAQEAABEBF1EEAQH_5-Jn6pjXtNsAAAA";
        let answer = read(vec![text; 32]).await.unwrap();
        let descriptors = answer.get().unwrap().get_descriptors().unwrap();
        assert_eq!(descriptors.len(), 32);
        assert_eq!(
            descriptors.get(31).get_tags().unwrap().get(0).get_id(),
            0xdbb4_d798_ea67_e2e7
        );
        let mut request = grain.host.write_descriptor_request();
        request.get().set_descriptor(descriptors.get(0)).unwrap();
        let written = request.send().promise.await.unwrap();
        // The same in its shortest form.
        assert_eq!(
            written.get().unwrap().get_text().unwrap(),
            "EARAAREBDxEEAf_n4mfqmNe02wA="
        );
        assert!(refusal(read(vec![text; 33]).await).contains("32 descriptors at most"));
        assert!(refusal(read(vec![text, "%"]).await).contains("descriptor 2 of the query"));
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
