//! What happened, told to those it concerns.

use percloud_core::id::NoticeId;
use percloud_schemas::activity_capnp::activity_event;
use percloud_store::Batch;
use serde_json::{Value, json};

use super::{World, run};
use crate::account::SignedIn;
use crate::record::{Follow, Notice};

async fn report(
    world: &World,
    id: &percloud_core::id::GrainId,
    actor: Option<&SignedIn>,
    fill: impl Fn(activity_event::Builder<'_>),
) -> Result<(), capnp::Error> {
    let mut message = capnp::message::Builder::new_default();
    fill(message.init_root());
    let event = message.get_root_as_reader()?;
    world
        .broker
        .activity(id, actor.map(|actor| &actor.account), event)
        .await
}

async fn told(world: &World, who: &SignedIn) -> Vec<Value> {
    let notices = world.broker.notifications(who).await.unwrap();
    notices["notifications"].as_array().unwrap().clone()
}

#[test]
fn news_reach_the_owner_and_those_who_take_part_but_not_who_made_them_or_may_not_see() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let (bela, cleo) = (
            world.member(&anna, "Bela").await,
            world.member(&anna, "Cleo").await,
        );
        *world.stage.roles.borrow_mut() = vec![
            ("can edit", &[true, true], false),
            ("can look", &[true, false], true),
        ];
        *world.stage.events.borrow_mut() = vec![("wrote a comment", None, true), ("drafted", Some(1), true)];
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        world.broker.sharing(&anna, &id).await.unwrap();
        for (who, role) in [(&bela, 0), (&cleo, 1)] {
            let body = json!({"to": {"person": who.account}, "role": {"index": role}}).to_string();
            let made = world.broker.share(&anna, &id, &body).await.unwrap();
            world
                .broker
                .answer_offer(who, made["way"]["id"].as_str().unwrap(), true)
                .await
                .unwrap();
        }
        let comment = |mut event: activity_event::Builder<'_>| {
            event.set_path("page/1");
            event.init_thread().set_path("page/1");
        };
        report(&world, &id, Some(&bela), comment).await.unwrap();
        report(&world, &id, Some(&bela), comment).await.unwrap();
        let of_anna = told(&world, &anna).await;
        assert_eq!(of_anna.len(), 1, "two of a kind are one that counts two");
        let notice = &of_anna[0];
        assert_eq!(
            (
                &notice["from"],
                &notice["text"],
                &notice["path"],
                &notice["count"]
            ),
            (
                &json!("Bela"),
                &json!("wrote a comment"),
                &json!("/page/1"),
                &json!(2)
            )
        );
        assert!(told(&world, &bela).await.is_empty(), "she did it herself");
        assert!(told(&world, &cleo).await.is_empty(), "she takes no part");
        assert_eq!(world.broker.grain_now(&cleo, &id).unwrap()["unread"], true);

        // Cleo answers in the thread, and hears what follows; a draft is not for her.
        report(&world, &id, Some(&cleo), comment).await.unwrap();
        report(&world, &id, Some(&anna), comment).await.unwrap();
        assert_eq!(told(&world, &cleo).await.len(), 1);
        report(&world, &id, Some(&anna), |mut event| {
            comment(event.reborrow());
            event.set_type(1);
        })
        .await
        .unwrap();
        assert_eq!(told(&world, &cleo).await.len(), 1);
        assert_eq!(told(&world, &bela).await.len(), 2);
        assert!(
            report(&world, &id, None, |mut event| event.set_type(9))
                .await
                .is_err()
        );

        let first = told(&world, &anna).await[0]["id"].as_str().unwrap().to_owned();
        world
            .broker
            .answer_notice(&anna, &first, r#"{"act": "mute-grain"}"#)
            .await
            .unwrap();
        let before = told(&world, &anna).await.len();
        report(&world, &id, Some(&bela), comment).await.unwrap();
        assert_eq!(told(&world, &anna).await.len(), before, "muted");
        assert_eq!(
            world
                .broker
                .answer_notice(&cleo, &first, r#"{"act": "read"}"#)
                .await
                .unwrap_err()
                .code(),
            "not-found"
        );
        world.broker.stop().await;
    });
}

#[test]
fn what_was_seen_is_read_all_at_once() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        for number in 0..100_u8 {
            let time = world.broker.outside.now();
            for who in [&anna, &bela] {
                let notice = Notice {
                    grain: id.clone(),
                    text: format!("page {number}"),
                    from: None,
                    path: None,
                    thread: None,
                    time,
                    read: false,
                    count: 1,
                    limit: None,
                };
                let notice_id = NoticeId::new(|bytes| {
                    bytes.fill(number % 50);
                    bytes[0] = number / 50;
                });
                let mut batch = Batch::new();
                world
                    .broker
                    .put_notice(&mut batch, &who.account, &id, &notice_id, &notice);
                world.broker.commit(batch).await.unwrap();
            }
            world.pass(1);
        }
        let unread = |who| world.broker.unread_notices(who);
        let until = told(&world, &anna).await[30]["time"].clone();
        let body = json!({ "until": until }).to_string();
        world.broker.answer_notice(&anna, "read", &body).await.unwrap();
        assert_eq!((unread(&anna.account), unread(&bela.account)), (30, 100));
        let refused = world
            .broker
            .answer_notice(&anna, "read", r#"{"act": "read"}"#)
            .await;
        assert_eq!(refused.unwrap_err().code(), "bad-request");
        world.broker.stop().await;
    });
}

#[test]
fn work_in_the_background_is_shown_and_can_be_stopped() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        world.broker.wake(&id).await.unwrap();
        let keeper = world.stage.keepers.borrow()[0].clone();
        let mut request = keeper.stay_awake_request();
        request
            .get()
            .init_display()
            .init_caption()
            .set_default_text("fetching mail");
        let answer = request.send().promise.await.unwrap();
        let handle = answer.get().unwrap().get_handle().unwrap();
        drop(answer);
        let shown = told(&world, &anna).await;
        assert_eq!(
            (&shown[0]["text"], &shown[0]["ongoing"]),
            (&json!("fetching mail"), &json!(true))
        );
        handle.ping_request().send().promise.await.unwrap();
        let notice = shown[0]["id"].as_str().unwrap();
        world
            .broker
            .answer_notice(&anna, notice, r#"{"act": "cancel"}"#)
            .await
            .unwrap();
        assert!(handle.ping_request().send().promise.await.is_err());
        assert!(told(&world, &anna).await.is_empty());
        world.broker.stop().await;
    });
}

#[test]
fn an_app_that_only_its_owner_visits_is_asked_what_its_events_are() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        *world.stage.events.borrow_mut() = vec![("wrote a comment", None, true)];
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        world.broker.wake(&id).await.unwrap();
        report(&world, &id, Some(&anna), |_| {}).await.unwrap();
        let unknown = report(&world, &id, Some(&anna), |mut event| event.set_type(1)).await;
        assert!(unknown.is_err());
    });
}

#[test]
fn of_ever_new_threads_somebody_follows_the_latest() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        *world.stage.roles.borrow_mut() = super::ROLES.to_vec();
        *world.stage.events.borrow_mut() = vec![("wrote a comment", None, true)];
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        world.broker.sharing(&anna, &id).await.unwrap();
        let body = json!({"to": {"person": bela.account}, "role": {"index": 0}}).to_string();
        let made = world.broker.share(&anna, &id, &body).await.unwrap();
        let way = made["way"]["id"].as_str().unwrap();
        world.broker.answer_offer(&bela, way, true).await.unwrap();
        let write = async |who: &SignedIn, thread: u32| {
            let thread = format!("thread/{thread}");
            let written = report(&world, &id, Some(who), |event| {
                event.init_thread().set_path(&thread)
            });
            written.await.unwrap();
        };
        let followed = |who: &SignedIn| {
            let prefix = format!("{}/", who.account);
            world
                .broker
                .store
                .scan::<Follow>(prefix.as_bytes())
                .unwrap()
                .len()
        };
        write(&anna, 0).await;
        for thread in 0..300 {
            world.pass(1);
            write(&bela, thread).await;
            write(&bela, thread).await;
        }
        assert_eq!(followed(&bela), 256);
        assert_eq!(followed(&anna), 1, "each has their own");
        // The first is forgotten, the last is not.
        let news = async |thread: u32| {
            let before = told(&world, &bela).await.len();
            write(&anna, thread).await;
            let after = told(&world, &bela).await;
            let read = json!({"until": world.broker.outside.now()}).to_string();
            world.broker.answer_notice(&bela, "read", &read).await.unwrap();
            after.len() - before
        };
        assert_eq!(news(0).await, 0);
        assert_eq!(news(299).await, 1);
        world.broker.stop().await;
    });
}
