//! Versions of an app that come while its grains are in use.

use std::time::Duration;

use percloud_core::id::GrainId;
use percloud_core::time::Timestamp;
use percloud_store::Batch;
use serde_json::json;

use super::{APP, PACKAGE, World, info, run};
use crate::account::SignedIn;
use crate::record::{App, Grain, Package, app_key, grain_key};

const SECOND: &str = "11111111111111111111111111111111";
const THIRD: &str = "22222222222222222222222222222222";

/// Another version of the app, as an installation leaves it behind that did not come to the grains.
async fn version(world: &World, who: &SignedIn, id: &str, version: u32) {
    let mut info = info();
    info["packageId"] = json!(id);
    info["manifest"]["appVersion"] = json!(version);
    let folder = world.broker.config.layout.package(id);
    std::fs::create_dir_all(folder.join("tree")).unwrap();
    std::fs::write(folder.join("info.json"), info.to_string()).unwrap();
    let known: Package = world.broker.read(PACKAGE.as_bytes()).unwrap().unwrap();
    let mut batch = Batch::new();
    let package = Package {
        app_version: version,
        ..known
    };
    batch.put(id.as_bytes(), &package);
    let key = app_key(&who.account, APP);
    let app = App {
        package_id: id.into(),
        installed: Timestamp(0),
    };
    batch.put(&key, &app);
    world.broker.commit(batch).await.unwrap();
    world.broker.catalogue_app_again(key);
}

/// Begins to install what is there, and goes on beside what the test does meanwhile.
async fn start_install(world: &World, who: &SignedIn, id: &'static str) -> tokio::task::JoinHandle<()> {
    let (broker, who) = (world.broker.clone(), who.clone());
    let mut installing = Box::pin(async move { drop(broker.install(&who, id).await.unwrap()) });
    // It is the first to have the lock.
    assert!(futures::poll!(&mut installing).is_pending());
    tokio::task::spawn_local(installing)
}

fn package_of(world: &World, id: &GrainId) -> String {
    let grain: Grain = world.broker.read(grain_key(id)).unwrap().unwrap();
    grain.package_id
}

fn is_there(world: &World, package: &str) -> bool {
    let record: Option<Package> = world.broker.read(package.as_bytes()).unwrap();
    assert_eq!(
        record.is_some(),
        world.broker.config.layout.package(package).exists()
    );
    record.is_some()
}

#[test]
fn nobody_waits_for_an_app_whose_grain_is_being_backed_up() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        world.broker.catalogue_app_again(app_key(&anna.account, APP));
        let id = world.grain(&anna).await;
        let slot = world.broker.slot(&id);
        // As a backup does until it is packed.
        let turn = slot.turn.lock().await;
        version(&world, &anna, SECOND, 2).await;
        let installing = start_install(&world, &anna, SECOND).await;
        let body = json!({"packageId": SECOND, "action": 0}).to_string();
        let making = world.broker.create_grain(&anna, &body);
        let made = tokio::time::timeout(Duration::from_secs(10), making).await;
        made.expect("it waits for no grain").unwrap();
        assert!(!installing.is_finished());
        assert!(is_there(&world, PACKAGE), "the grain still needs it");
        drop(turn);
        installing.await.unwrap();
        assert_eq!(package_of(&world, &id), SECOND);
        assert!(!is_there(&world, PACKAGE));
    });
}

#[test]
fn of_two_versions_that_come_while_a_grain_is_busy_it_goes_on_with_the_last() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let slot = world.broker.slot(&id);
        let turn = slot.turn.lock().await;
        version(&world, &anna, SECOND, 2).await;
        let second = start_install(&world, &anna, SECOND).await;
        // The first is the app by now, and waits for the grain.
        drop(world.broker.packaging.lock().await);
        version(&world, &anna, THIRD, 3).await;
        let third = start_install(&world, &anna, THIRD).await;
        let removed = world.broker.remove_package(&anna, THIRD).await;
        assert_eq!(removed.unwrap_err().code(), "in-use");
        drop(turn);
        let (second, third) = tokio::join!(second, third);
        second.unwrap();
        third.unwrap();
        assert_eq!(package_of(&world, &id), THIRD);
        assert!(is_there(&world, THIRD));
    });
}

#[test]
fn a_grain_an_installation_did_not_reach_goes_on_with_the_new_version_at_its_next_start() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        version(&world, &anna, SECOND, 2).await;
        let world = world.restarted();
        assert_eq!(package_of(&world, &id), PACKAGE);
        world.broker.wake(&id).await.unwrap();
        assert_eq!(package_of(&world, &id), SECOND);
        assert!(!is_there(&world, PACKAGE), "nothing needs it any more");
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn a_grain_does_not_go_on_with_an_older_version_nor_wait_for_room_on_the_disk() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        world.broker.wake(&id).await.unwrap();
        world.broker.stop_grain(&id).await;
        version(&world, &anna, SECOND, 0).await;
        world.broker.wake(&id).await.unwrap();
        assert_eq!(package_of(&world, &id), PACKAGE);
        world.broker.stop_grain(&id).await;

        version(&world, &anna, THIRD, 3).await;
        world.broker.store.keep_free(u64::MAX, 0);
        world.broker.wake(&id).await.unwrap();
        assert_eq!(package_of(&world, &id), PACKAGE, "the old one works as well");
        assert!(is_there(&world, PACKAGE));
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn a_backup_that_waits_for_its_turn_is_of_the_version_its_grain_has_by_then() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let slot = world.broker.slot(&id);
        let turn = slot.turn.lock().await;
        let mut copying = Box::pin(world.broker.duplicate(&anna, &id));
        assert!(futures::poll!(&mut copying).is_pending());
        version(&world, &anna, SECOND, 2).await;
        let grain: Grain = world.broker.read(grain_key(&id)).unwrap().unwrap();
        world.broker.go_on_with_app(&id, grain).await.unwrap();
        assert!(!is_there(&world, PACKAGE));
        drop(turn);
        assert!(copying.await.is_err(), "nobody packs anything in this world");
        assert_eq!(*world.stage.backed_up.borrow(), [2]);
    });
}
