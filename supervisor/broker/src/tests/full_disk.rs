//! A disk that is nearly full, and one that could not be written to.

use percloud_store::Batch;
use serde_json::{Value, json};

use super::{PACKAGE, PASSWORD, World, run, with_roles};
use crate::account::SignedIn;
use crate::problem::Problem;
use crate::record::{Site, grain_key};
use crate::staging::AT_ONCE;
use crate::upload::{Kind, Upload};

async fn warnings(world: &World, who: &SignedIn) -> Vec<String> {
    let home = world.broker.home(who).await.unwrap();
    let warnings = home["warnings"].as_array().unwrap().iter();
    let codes = warnings.map(|warning: &Value| warning["code"].as_str().unwrap().to_owned());
    codes.collect()
}

fn code<T>(outcome: Result<T, Problem>) -> &'static str {
    outcome.err().expect("it is refused").code()
}

#[test]
fn on_a_full_disk_people_sign_in_take_back_and_delete() {
    run(async {
        let world = World::new();
        let broker = &world.broker;
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        broker.stop_grain(&id).await;
        let made = broker
            .share(&anna, &id, &json!({"to": {"link": true}}).to_string())
            .await
            .unwrap();
        let way = made["way"]["id"].as_str().unwrap();
        let made = broker
            .add_device(&anna, &id, r#"{"label": "Phone"}"#)
            .await
            .unwrap();
        let device = made["device"]["id"].as_str().unwrap();
        let made = broker.invite(&anna, "{}").await.unwrap();
        let invitation = made["invitation"]["id"].as_str().unwrap();

        // Between its two reserves: nothing comes to be any more, and all of that goes.
        broker.store.keep_free(u64::MAX, 0);
        assert_eq!(code(broker.invite(&anna, "{}").await), "disk-full");
        let body = json!({"packageId": PACKAGE, "action": 0}).to_string();
        assert_eq!(code(broker.create_grain(&anna, &body).await), "disk-full");
        let body = json!({"handle": "anna", "password": PASSWORD}).to_string();
        broker.sign_in(&body, "127.0.0.1").await.unwrap();
        broker.revoke_share(&anna, &id, way, "").await.unwrap();
        broker.remove_device(&anna, &id, device).await.unwrap();
        broker.uninvite(&anna, invitation).await.unwrap();
        broker.trash_grain(&anna, &id).await.unwrap();

        // Below both the store takes nothing, and nothing is half done.
        broker.store.keep_free(u64::MAX, u64::MAX);
        assert_eq!(code(broker.delete_grain(&anna, &id).await), "disk-full");
        assert!(broker.grain_now(&anna, &id).is_ok());
        broker.store.keep_free(u64::MAX, 0);
        broker.delete_grain(&anna, &id).await.unwrap();
        assert_eq!(code(broker.grain_now(&anna, &id)), "not-found");
        assert!(warnings(&world, &anna).await.is_empty(), "nothing has failed");
    });
}

#[test]
fn a_store_that_has_failed_is_called_so() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        assert!(warnings(&world, &anna).await.is_empty());
        let store = world.broker.config.layout.store();
        std::fs::rename(&store, store.with_extension("elsewhere")).unwrap();
        for _ in 0..2 {
            let problem = world.broker.invite(&anna, "{}").await.unwrap_err();
            assert!(matches!(problem, Problem::StoreFailed), "{problem}");
        }
        assert_eq!(warnings(&world, &anna).await, ["store-failed"]);
        assert!(warnings(&world, &bela).await.is_empty(), "it is not hers to mend");
    });
}

#[test]
fn nothing_is_uploaded_or_copied_where_grains_may_not_grow() {
    run(async {
        let world = World::new();
        let broker = &world.broker;
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let begin = |size| Upload::begin(broker, &anna, Kind::Backup, size, "it");
        let upload = begin(0).unwrap();
        upload.write(b"some").unwrap();
        assert_eq!(code(begin(49 << 30)), "disk-full", "it would not fit");
        world.stage.disk_is_short.set(true);
        assert_eq!(code(begin(1)), "disk-full");
        assert_eq!(code(upload.write(b"more")), "disk-full");
        assert_eq!(code(broker.duplicate(&anna, &id).await), "disk-full");
        world.stage.disk_is_short.set(false);
        assert_eq!(code(upload.write(b"more")), "bad-request", "it has a hole");
        begin(1).unwrap().write(b"x").unwrap();
        let copied = broker.duplicate(&anna, &id).await;
        assert_eq!(code(copied), "unavailable", "no worker here, but it was begun");
        drop(upload);
        assert!(broker.staging.borrow().is_empty());
    });
}

#[test]
fn nobody_has_many_things_on_their_way_at_a_time() {
    run(async {
        let world = World::new();
        let broker = &world.broker;
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let begin = |who| Upload::begin(broker, who, Kind::Package, 0, "it");
        let mut under_way: Vec<_> = (0..AT_ONCE).map(|_| begin(&anna).unwrap()).collect();
        assert_eq!(code(begin(&anna)), "bad-request");
        assert_eq!(code(broker.duplicate(&anna, &id).await), "bad-request");
        begin(&bela).unwrap();
        under_way.pop();
        begin(&anna).unwrap();
    });
}

#[test]
fn what_does_not_say_that_it_frees_space_does_not() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        world.broker.store.keep_free(u64::MAX, 0);
        let mut batch = Batch::new();
        batch.put(grain_key(&id), &Site { grain: id.clone() });
        assert_eq!(code(world.broker.commit(batch).await), "disk-full");
        let published = world.broker.public_id(&id).await;
        assert_eq!(code(published), "disk-full");
    });
}
