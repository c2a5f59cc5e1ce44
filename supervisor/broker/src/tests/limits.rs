//! What grains may take, who changes that, and who hears when a limit was met.

use std::rc::Rc;

use percloud_core::id::GrainId;
use percloud_schemas::host_capnp as host;
use serde_json::{Value, json};

use super::{World, run};
use crate::account::SignedIn;
use crate::keeper::Keeper;
use crate::limits::{Disk, Limit};
use crate::record::{Grain, grain_key};

async fn told(world: &World, who: &SignedIn) -> Vec<Value> {
    let notices = world.broker.notifications(who).await.unwrap();
    notices["notifications"].as_array().unwrap().clone()
}

async fn change(world: &World, who: &SignedIn, id: &GrainId, to: Value) -> Result<Value, String> {
    let changed = world.broker.change_limits(who, id, &to.to_string()).await;
    changed.map_err(|problem| problem.code().to_owned())
}

/// Notes how much a grain takes, as its host would.
async fn takes(world: &World, id: &GrainId, bytes: u64, files: u64) {
    let sized = world.broker.update_grain(id, |grain: &mut Grain| {
        (grain.size, grain.files) = (Some(bytes), Some(files));
    });
    sized.await.unwrap();
}

#[test]
fn who_runs_the_server_raises_and_others_only_lower() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        for who in [&anna, &bela] {
            world.app(who).await;
        }
        let (hers, his) = (world.grain(&anna).await, world.grain(&bela).await);
        let seen = world.broker.limits(&anna, &hers).await.unwrap();
        assert_eq!(seen["limits"]["memory"]["limit"], json!(512 << 20));
        assert_eq!(seen["mayRaise"], json!(true));
        let raised = change(&world, &anna, &hers, json!({"memory": 1_u64 << 30}))
            .await
            .unwrap();
        assert_eq!(raised["limits"]["memory"]["limit"], json!(1 << 30));
        assert_eq!(
            raised["limits"]["disk"]["limit"],
            json!(10_000_000_000_u64),
            "not named, not changed"
        );

        let seen = world.broker.limits(&bela, &his).await.unwrap();
        assert_eq!(seen["mayRaise"], json!(false));
        assert_eq!(seen["limits"]["disk"]["most"], json!(10_000_000_000_u64));
        let refused = change(&world, &bela, &his, json!({"disk": 11_u64 << 30})).await;
        assert_eq!(refused.unwrap_err(), "bad-request");
        let lowered = change(&world, &bela, &his, json!({"disk": 1_u64 << 30}))
            .await
            .unwrap();
        assert_eq!(lowered["limits"]["disk"]["limit"], json!(1 << 30));
        let usual = change(&world, &bela, &his, json!({"disk": null})).await.unwrap();
        assert_eq!(usual["limits"]["disk"]["limit"], json!(10_000_000_000_u64));

        // Nobody else: to them there is no such grain.
        for (who, id) in [(&anna, &his), (&bela, &hers)] {
            assert_eq!(
                world.broker.limits(who, id).await.unwrap_err().code(),
                "not-found"
            );
            let refused = change(&world, who, id, json!({"files": 2000})).await;
            assert_eq!(refused.unwrap_err(), "not-found");
        }
        for nonsense in [
            json!({"memory": 1}),
            json!({"memory": "much"}),
            json!({"gpus": 1}),
        ] {
            assert_eq!(
                change(&world, &anna, &hers, nonsense).await.unwrap_err(),
                "bad-request"
            );
        }
    });
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_and_says_so() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        takes(&world, &id, 2 << 30, 5000).await;
        let refused = change(&world, &who, &id, json!({"disk": 1_u64 << 30})).await;
        assert_eq!(refused.unwrap_err(), "bad-request");
        change(&world, &who, &id, json!({"disk": 3_u64 << 30}))
            .await
            .unwrap();
    });
}

#[test]
fn a_grain_starts_with_its_limits_and_a_full_one_reads_only() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        change(&world, &who, &id, json!({"processes": 99, "files": 6000}))
            .await
            .unwrap();
        takes(&world, &id, 1, 6001).await;
        world.broker.wake(&id).await.unwrap();
        let (limits, full) = *world.stage.limited.borrow().last().unwrap();
        assert_eq!((limits.processes, limits.files), (99, 6000));
        assert_eq!(full, Some(Limit::Files));
        let shown = world.broker.grain_now(&who, &id).unwrap();
        assert_eq!(
            shown["limit"],
            json!("files"),
            "its owner sees why it cannot write"
        );
        // Room: it starts anew, as others do.
        change(&world, &who, &id, json!({"files": 9000})).await.unwrap();
        assert!(world.broker.slot(&id).running().is_none());
        world.broker.wake(&id).await.unwrap();
        assert_eq!(world.stage.limited.borrow().last().unwrap().1, None);
        // What runs is bounded anew at once.
        let changed = change(&world, &who, &id, json!({"memory": 128 << 20}))
            .await
            .unwrap();
        assert_eq!(changed["applies"], json!("next-start"), "no group here");
        assert_eq!(world.stage.adjusted.borrow().last().unwrap().memory, 128 << 20);
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn an_owner_hears_of_each_limit_once_a_day() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        for _ in 0..3 {
            world.broker.note_limit(&id, Limit::Memory).await.unwrap();
        }
        world.broker.note_limit(&id, Limit::Log).await.unwrap();
        let notices = told(&world, &who).await;
        let kinds: Vec<&Value> = notices.iter().map(|notice| &notice["limit"]).collect();
        assert_eq!(notices.len(), 2, "{notices:?}");
        assert!(kinds.contains(&&json!("memory")) && kinds.contains(&&json!("log")));
        let met = world.broker.limits(&who, &id).await.unwrap()["met"].clone();
        assert_eq!(met.as_array().unwrap().len(), 2);

        let world = world.restarted();
        world.pass(23 * 60 * 60);
        world.broker.note_limit(&id, Limit::Memory).await.unwrap();
        assert_eq!(told(&world, &who).await.len(), 2, "a restart forgets nothing");
        world.pass(2 * 60 * 60);
        world.broker.note_limit(&id, Limit::Memory).await.unwrap();
        assert_eq!(told(&world, &who).await.len(), 3);

        // Who wants to hear nothing of a grain hears nothing.
        let first = notices[0]["id"].as_str().unwrap();
        let mute = json!({"act": "mute-grain"}).to_string();
        world.broker.answer_notice(&who, first, &mute).await.unwrap();
        let before = told(&world, &who).await.len();
        world.broker.note_limit(&id, Limit::Processes).await.unwrap();
        assert_eq!(told(&world, &who).await.len(), before);
    });
}

#[test]
fn a_grain_that_ends_for_want_of_memory_says_so() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        world.broker.wake(&id).await.unwrap();
        let slot = world.broker.slot(&id);
        let keeper = Rc::new(Keeper::new(&world.broker, &id, &slot));
        let client: host::host_keeper::Client = capnp_rpc::new_client_from_rc(keeper.clone());
        let mut request = client.report_exit_request();
        request
            .get()
            .set_reason("the app needed more memory than it may use");
        request.get().set_limit(host::Limit::Memory);
        request.send().promise.await.unwrap();
        keeper.ended(&Rc::downgrade(&slot.running().unwrap()), None);
        let shown = world.broker.grain_now(&who, &id).unwrap();
        assert_eq!(
            (&shown["state"], &shown["limit"]),
            (&json!("failed"), &json!("memory"))
        );
        while told(&world, &who).await.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(told(&world, &who).await[0]["limit"], json!("memory"));
        // The next start begins without a word of it.
        world.broker.wake(&id).await.unwrap();
        assert_eq!(world.broker.grain_now(&who, &id).unwrap()["limit"], Value::Null);
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn when_the_disk_is_nearly_full_grains_read_only_until_there_is_room() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        assert!(
            world.broker.home(&who).await.unwrap()["warnings"]
                .as_array()
                .unwrap()
                .is_empty()
        );
        world.stage.disk_is_short.set(true);
        let home = world.broker.home(&who).await.unwrap();
        assert_eq!(home["warnings"][0]["code"], json!("disk-short"));
        world.broker.wake(&id).await.unwrap();
        assert_eq!(
            world.stage.limited.borrow().last().unwrap().1,
            Some(Limit::ServerDisk)
        );
        world.stage.disk_is_short.set(false);
        let room = Disk {
            total: 100 << 30,
            free: 50 << 30,
        };
        world.broker.make_sure_of_room(room, None).await;
        assert!(
            world.broker.slot(&id).running().is_none(),
            "it may write from its next start on"
        );
        world.broker.wake(&id).await.unwrap();
        assert_eq!(world.stage.limited.borrow().last().unwrap().1, None);
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn records_of_older_servers_are_read_and_a_deleted_grain_leaves_nothing() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let grain: Grain = world.broker.read(grain_key(&id)).unwrap().unwrap();
        let mut old = serde_json::to_value(&grain).unwrap();
        let fields = old.as_object_mut().unwrap();
        assert!(fields.remove("limits").is_some() && fields.remove("files").is_some());
        let read: Grain = serde_json::from_value(old).unwrap();
        assert_eq!(read.limits.effective().memory, 512 << 20);

        world.broker.note_limit(&id, Limit::Disk).await.unwrap();
        world.broker.trash_grain(&who, &id).await.unwrap();
        world.broker.delete_grain(&who, &id).await.unwrap();
        let left = world.broker.store.scan::<crate::record::LimitMet>(b"").unwrap();
        assert!(left.is_empty());
    });
}
