use percloud_core::id::GrainId;
use serde_json::json;

use super::{World, enter, run};
use crate::record::{Grain, grain_key};

#[test]
fn a_grain_is_begun_once_and_continued_from_then_on() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        assert!(
            world.stage.starts.borrow().is_empty(),
            "making a grain starts nothing"
        );
        world.broker.wake(&id).await.unwrap();
        world.broker.stop_grain(&id).await;
        world.broker.wake(&id).await.unwrap();
        let words: Vec<_> = world
            .stage
            .starts
            .borrow()
            .iter()
            .map(|argv| argv[1].clone())
            .collect();
        assert_eq!(words, ["begin", "continue"]);
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn many_who_wake_a_grain_start_it_once() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let wakers = (0..20).map(|_| world.broker.wake(&id));
        assert!(futures::future::join_all(wakers).await.iter().all(Result::is_ok));
        assert_eq!(world.stage.starts.borrow().len(), 1);
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn an_app_that_cannot_start_says_why_and_may_be_tried_again() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        *world.stage.broken.borrow_mut() = Some("the app's program /app is missing".into());
        let problem = world.broker.wake(&id).await.err().unwrap();
        assert_eq!(
            (problem.code(), problem.to_string().as_str()),
            ("grain-failed", "the app's program /app is missing")
        );
        let view = world.broker.grain_now(&who, &id).unwrap();
        assert_eq!(view["state"], "failed");
        assert_eq!(view["problem"], "the app's program /app is missing");
        *world.stage.broken.borrow_mut() = None;
        world.broker.wake(&id).await.unwrap();
        let words: Vec<_> = world
            .stage
            .starts
            .borrow()
            .iter()
            .map(|argv| argv[1].clone())
            .collect();
        assert_eq!(words, ["begin", "begin"], "an app that never ran is begun again");
        assert_eq!(world.broker.grain_now(&who, &id).unwrap()["state"], "running");
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn trash_stops_a_grain_and_only_the_trash_deletes() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        world.broker.wake(&id).await.unwrap();
        assert_eq!(
            world.broker.delete_grain(&who, &id).await.unwrap_err().code(),
            "not-in-trash"
        );
        let view = world.broker.trash_grain(&who, &id).await.unwrap();
        assert!(view["trashed"].is_u64());
        assert_eq!(view["state"], "asleep");
        assert_eq!(world.broker.wake(&id).await.err().unwrap().code(), "in-trash");
        assert_eq!(world.broker.open(&who, &id, "").unwrap_err().code(), "in-trash");
        assert!(world.broker.restore_grain(&who, &id).await.unwrap()["trashed"].is_null());
        world.broker.trash_grain(&who, &id).await.unwrap();
        world.broker.delete_grain(&who, &id).await.unwrap();
        assert_eq!(world.broker.grain_now(&who, &id).unwrap_err().code(), "not-found");
        assert!(!world.broker.config.layout.grain(&id).exists());
    });
}

#[test]
fn what_is_not_yours_does_not_exist() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let stranger = crate::account::SignedIn {
            account: percloud_core::id::AccountId::new(|bytes| bytes.fill(7)),
            cookie: None,
        };
        for code in [
            world.broker.grain_now(&stranger, &id).unwrap_err().code(),
            world.broker.open(&stranger, &id, "").unwrap_err().code(),
            world.broker.trash_grain(&stranger, &id).await.unwrap_err().code(),
            world
                .broker
                .delete_grain(&stranger, &id)
                .await
                .unwrap_err()
                .code(),
            world
                .broker
                .own_package(&stranger, super::PACKAGE)
                .await
                .unwrap_err()
                .code(),
            world
                .broker
                .own_package(&who, "../../../../etc")
                .await
                .unwrap_err()
                .code(),
            world
                .broker
                .icon(&who, super::PACKAGE, "../info")
                .await
                .unwrap_err()
                .code(),
        ] {
            assert_eq!(code, "not-found");
        }
    });
}

#[test]
fn actions_that_need_more_than_a_click_cannot_be_chosen() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        for action in [1, 2, u32::MAX] {
            let body = json!({"packageId": super::PACKAGE, "action": action}).to_string();
            assert_eq!(
                world.broker.create_grain(&who, &body).await.unwrap_err().code(),
                "bad-request"
            );
        }
    });
}

#[test]
fn grains_and_their_titles_survive_a_restart() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let body = json!({"title": "  Our   wedding "}).to_string();
        world.broker.change_grain(&who, &id, &body).await.unwrap();
        let world = world.restarted();
        let grain: Grain = world.broker.read(grain_key(&id)).unwrap().unwrap();
        assert_eq!(grain.title, "Our   wedding");
        assert!(!grain.begun);
        let home = world.broker.home(&who).await.unwrap();
        assert_eq!(home["apps"][0]["actions"].as_array().unwrap().len(), 1);
        assert_eq!(home["grains"][0]["title"], "Our   wedding");
    });
}

#[test]
fn an_app_in_use_cannot_be_removed() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        assert_eq!(
            world
                .broker
                .remove_package(&who, super::PACKAGE)
                .await
                .unwrap_err()
                .code(),
            "in-use"
        );
        world.broker.trash_grain(&who, &id).await.unwrap();
        world.broker.delete_grain(&who, &id).await.unwrap();
        world.broker.remove_package(&who, super::PACKAGE).await.unwrap();
        assert_eq!(
            world
                .broker
                .own_package(&who, super::PACKAGE)
                .await
                .unwrap_err()
                .code(),
            "not-found"
        );
        assert!(!world.broker.config.layout.package(super::PACKAGE).exists());
    });
}

#[test]
fn trashing_a_grain_while_it_starts_is_not_undone_by_the_start() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let (woken, trashed) = futures::join!(world.broker.wake(&id), world.broker.trash_grain(&who, &id));
        drop(woken);
        trashed.unwrap();
        let grain: Grain = world.broker.read(grain_key(&id)).unwrap().unwrap();
        assert!(grain.trashed.is_some(), "the start's own note undid the trash");
        assert!(
            world.broker.slot(&id).running().is_none(),
            "what is in the trash does not run"
        );
    });
}

#[test]
fn changes_made_at_once_all_last() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let title = json!({"title": "Wedding"}).to_string();
        let policy = json!({"relaxedPolicy": true}).to_string();
        let (renamed, relaxed, woken) = futures::join!(
            world.broker.change_grain(&who, &id, &title),
            world.broker.change_grain(&who, &id, &policy),
            world.broker.wake(&id),
        );
        renamed.and(relaxed).unwrap();
        woken.unwrap();
        let grain: Grain = world.broker.read(grain_key(&id)).unwrap().unwrap();
        assert_eq!(
            (grain.title.as_str(), grain.relaxed_policy, grain.begun),
            ("Wedding", true, true)
        );
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn a_start_nobody_waits_for_any_more_is_finished_and_not_repeated() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        for _ in 0..5 {
            // A browser that asks and goes away.
            let waking = world.broker.wake(&id);
            futures::pin_mut!(waking);
            assert!(futures::poll!(waking).is_pending());
        }
        world.broker.wake(&id).await.unwrap();
        assert_eq!(world.stage.starts.borrow().len(), 1, "one storage, one app");
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn a_stop_nobody_waits_for_any_more_is_over_before_the_next_start() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        world.stage.lingers.set(true);
        let last = world.broker.wake(&id).await.unwrap().pid;
        {
            // Who takes a backup and closes the page.
            let stopping = world.broker.stop_grain(&id);
            futures::pin_mut!(stopping);
            assert!(futures::poll!(stopping).is_pending());
        }
        world.broker.wake(&id).await.unwrap();
        assert_eq!(world.stage.starts.borrow().len(), 2);
        let state = std::fs::read_to_string(format!("/proc/{last}/stat")).unwrap_or_default();
        assert!(
            state.is_empty() || state.contains(") Z "),
            "two apps have one storage: {state}"
        );
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn what_is_deleted_leaves_nothing_in_memory() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let broker = &world.broker;
        let sizes = || {
            [
                broker.slots.borrow().len(),
                broker.views.borrow().len(),
                broker.pages.borrow().len(),
                broker.visits.borrow().len(),
                broker.references.borrow().len(),
                broker.abouts.borrow().len(),
                broker.audit.borrow().subjects(),
            ]
        };
        let before = sizes();
        for _ in 0..3 {
            let id = world.grain(&who).await;
            let opened = broker.open(&who, &id, "{}").unwrap();
            let (host, cookie) = enter(&world, &opened).await.unwrap();
            broker.page_session(&host, &cookie).await.unwrap().unwrap();
            broker.trash_grain(&who, &id).await.unwrap();
            broker.delete_grain(&who, &id).await.unwrap();
            // Who comes too late finds nothing, and leaves nothing.
            assert!(broker.wake(&id).await.is_err());
            assert!(broker.open(&who, &id, "{}").is_err());
            broker.stop_grain(&id).await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            sizes(),
            before,
            "slots, views, pages, visits, references, abouts, audited"
        );
    });
}

#[test]
fn openings_that_wait_to_be_noted_are_noted_together() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let (first, second) = (world.grain(&who).await, world.grain(&who).await);
        let last_used = |id| world.broker.grain_now(&who, id).unwrap()["lastUsed"].clone();
        let now = world.broker.outside.now().plus_seconds(60);
        let gone = GrainId::new(|bytes| bytes.fill(7));
        let turn = world.broker.changing.lock().await;
        let noting = [&first, &gone, &second].map(|id| {
            let (broker, id) = (world.broker.clone(), id.clone());
            tokio::task::spawn_local(async move { broker.note_used(&id, now).await })
        });
        tokio::task::yield_now().await;
        assert_eq!(world.broker.used.borrow().len(), 3, "they wait for their turn");
        drop(turn);
        let [one, ..] = noting;
        one.await.unwrap();
        assert_eq!((last_used(&first), last_used(&second)), (json!(now), json!(now)));
        assert!(world.broker.used.borrow().is_empty());
    });
}
