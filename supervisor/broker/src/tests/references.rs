//! Saved references: sealed for one grain, alive while their conditions hold.

use std::pin::pin;

use percloud_schemas::host_capnp::{host_keeper, restored};
use serde_json::json;

use super::{World, enter, run, with_roles};
use crate::turns::AT_ONCE;

/// Has the latest grain host save one of its app's objects.
async fn save(keeper: &host_keeper::Client, grain: &str, object: &str) -> Result<Vec<u8>, capnp::Error> {
    let mut request = keeper.save_request();
    request.get().get_object()?.get_id().set_as(object)?;
    request.get().init_seal().set_grain(grain);
    Ok(request.send().promise.await?.get()?.get_token()?.to_vec())
}

async fn restore(keeper: &host_keeper::Client, token: &[u8]) -> Result<String, capnp::Error> {
    let mut request = keeper.restore_request();
    request.get().set_token(token);
    let answer = request.send().promise.await?;
    match answer.get()?.get_restored()?.which()? {
        restored::Own(object) => Ok(object?
            .get_id()
            .get_as::<capnp::text::Reader<'_>>()?
            .to_string()?),
        restored::Cap(_) => Ok("cap".to_owned()),
        restored::Door(_) => Ok("door".to_owned()),
    }
}

#[test]
fn a_token_is_restored_by_its_own_grain_and_nobody_else() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let (id, other) = (world.grain(&anna).await, world.grain(&anna).await);
        world.broker.wake(&id).await.unwrap();
        world.broker.wake(&other).await.unwrap();
        let keepers = world.stage.keepers.borrow().clone();
        let token = save(&keepers[0], id.as_str(), "the object").await.unwrap();
        assert_eq!(token.len(), 43);
        assert_eq!(restore(&keepers[0], &token).await.unwrap(), "the object");

        let foreign = restore(&keepers[1], &token).await.unwrap_err();
        let unknown = restore(&keepers[1], &[b'A'; 43]).await.unwrap_err();
        let garbage = restore(&keepers[1], b"\xff").await.unwrap_err();
        assert_eq!(
            foreign.extra, unknown.extra,
            "absent and not yours are one answer"
        );
        assert_eq!(garbage.extra, unknown.extra);
        assert!(
            save(&keepers[0], other.as_str(), "x").await.is_err(),
            "sealed for somebody else"
        );
        assert!(
            save(&keepers[0], id.as_str(), &"x".repeat(5000)).await.is_err(),
            "too long to keep"
        );

        let drop_it = async |keeper: &host_keeper::Client| {
            let mut request = keeper.drop_request();
            request.get().set_token(&token);
            request.send().promise.await.unwrap();
        };
        drop_it(&keepers[1]).await;
        assert!(
            restore(&keepers[0], &token).await.is_ok(),
            "only its own grain drops it"
        );
        drop_it(&keepers[0]).await;
        assert!(restore(&keepers[0], &token).await.is_err());
        drop_it(&keepers[0]).await;
        world.broker.stop().await;
    });
}

#[test]
fn identities_are_ours_alone_and_stay_the_same() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let opened = world.broker.open(&anna, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        let identity = world.visitor(|last| last.identity.clone().unwrap());
        let profile = identity.get_profile_request().send().promise.await.unwrap();
        let name = profile
            .get()
            .unwrap()
            .get_profile()
            .unwrap()
            .get_display_name()
            .unwrap();
        assert_eq!(name.get_default_text().unwrap(), "Anna");

        let keeper = world.stage.keepers.borrow()[0].clone();
        let mut request = keeper.identity_id_request();
        request
            .get()
            .init_identity()
            .set_as_capability(identity.client.hook.clone());
        let answer = request.send().promise.await.unwrap();
        let expected = world.broker.identity_id(&anna.account, &id);
        assert_eq!(answer.get().unwrap().get_id().unwrap(), expected);

        struct Imitation;
        impl percloud_schemas::identity_capnp::identity::Server for Imitation {}
        let imitation: percloud_schemas::identity_capnp::identity::Client = capnp_rpc::new_client(Imitation);
        let mut request = keeper.identity_id_request();
        request
            .get()
            .init_identity()
            .set_as_capability(imitation.client.hook);
        assert!(request.send().promise.await.is_err());
        world.broker.stop().await;
    });
}

#[test]
fn ties_end_when_the_person_loses_what_they_need() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let body = json!({"to": {"link": true}, "role": {"index": 0}}).to_string();
        let made = world.broker.share(&anna, &id, &body).await.unwrap();
        let (_, token) = made["url"].as_str().unwrap().split_once('#').unwrap();
        let opened = world
            .broker
            .open_link(&json!({"token": token}).to_string(), "a")
            .await
            .unwrap();
        enter(&world, &opened).await.unwrap();
        let keeper = world.visitor(|last| last.keeper.clone().unwrap());

        let tie = async |permissions: &[bool]| {
            let mut request = keeper.tie_request();
            let mut list = request.get().init_permissions(permissions.len() as u32);
            (0..)
                .zip(permissions)
                .for_each(|(index, held)| list.set(index, *held));
            let answer = request.send().promise.await?;
            Ok::<_, capnp::Error>(answer.get()?.get_id()?.to_vec())
        };
        let strong = tie(&[true, true]).await.unwrap();
        let weak = tie(&[true]).await.unwrap();
        assert!(
            tie(&[true, true, true]).await.is_err(),
            "nobody holds what the app does not have"
        );
        assert!(tie(&vec![false; 5000]).await.is_err());

        let way = made["way"]["id"].as_str().unwrap();
        let smaller = json!({"role": {"index": 1}}).to_string();
        world
            .broker
            .change_share(&anna, &id, way, &smaller)
            .await
            .unwrap();
        assert!(world.stage.ended.borrow().contains(&strong));
        assert!(!world.stage.ended.borrow().contains(&weak));
        world.broker.revoke_share(&anna, &id, way, "").await.unwrap();
        assert!(world.stage.ended.borrow().contains(&weak));
        world.broker.stop().await;
    });
}

/// Has the latest grain host say how large its grain is, which makes nothing durable; whatever it asked for before has been
/// taken up by then.
async fn is_heard(keeper: &host_keeper::Client) {
    let mut request = keeper.report_size_request();
    request.get().set_bytes(1);
    request.send().promise.await.unwrap();
}

#[test]
fn one_grain_has_some_commits_under_way_and_others_wait_for_none_of_its_own() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let (id, other) = (world.grain(&anna).await, world.grain(&anna).await);
        world.broker.wake(&id).await.unwrap();
        world.broker.wake(&other).await.unwrap();
        let keepers = world.stage.keepers.borrow().clone();
        let token = save(&keepers[0], id.as_str(), "the object").await.unwrap();
        let slot = world.broker.slot(&id);
        let turns = futures::future::join_all((0..AT_ONCE).map(|_| slot.commits.one())).await;
        let mut saving = pin!(save(&keepers[0], id.as_str(), "another"));
        let mut request = keepers[0].drop_request();
        request.get().set_token(&token);
        let mut dropping = request.send().promise;
        assert!(futures::poll!(&mut saving).is_pending());
        is_heard(&keepers[0]).await;
        // The disk takes them in the order in which they were asked for: had its own been among them, they were done.
        save(&keepers[1], other.as_str(), "theirs").await.unwrap();
        world.grain(&anna).await;
        is_heard(&keepers[0]).await;
        assert!(futures::poll!(&mut saving).is_pending());
        assert!(futures::poll!(&mut dropping).is_pending());
        drop(turns);
        let another = saving.await.unwrap();
        dropping.await.unwrap();
        assert_eq!(restore(&keepers[0], &another).await.unwrap(), "another");
        world.broker.stop().await;
    });
}
