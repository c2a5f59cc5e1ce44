use percloud_core::id::GrainId;
use percloud_core::secret::Secret;
use serde_json::json;

use super::{World, handed_over, run};
use crate::account::SignedIn;

/// Opens a grain: the session host's name and its hand-over secret.
fn open(world: &World, who: &SignedIn, id: &GrainId, path: &str) -> (String, Secret) {
    let opened = world
        .broker
        .open(who, id, &json!({"path": path}).to_string())
        .unwrap();
    handed_over(&opened)
}

#[test]
fn a_hand_over_works_once_here_and_soon() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let (host, secret) = open(&world, &who, &id, "/a?b=c");
        let (other, _) = open(&world, &who, &id, "/");
        assert_ne!(host, other, "every page has a host of its own");
        assert!(
            world.broker.enter(&other, secret.expose()).is_none(),
            "not on another host"
        );
        assert!(world.broker.enter(&host, &[1; 32]).is_none());
        let (cookie, path) = world.broker.enter(&host, secret.expose()).unwrap();
        assert_eq!(path, "/a?b=c");
        assert!(world.broker.enter(&host, secret.expose()).is_none(), "not twice");
        assert!(world.broker.page_session(&other, cookie.expose()).await.is_none());
        assert!(
            world.broker.page_session(&host, secret.expose()).await.is_none(),
            "the secret is no cookie"
        );
        let opened = world
            .broker
            .page_session(&host, cookie.expose())
            .await
            .unwrap()
            .unwrap();
        assert!(opened.door.exists());
        assert_eq!(
            world.stage.admitted.borrow().last().unwrap(),
            opened.nonce.expose()
        );

        let (late, secret) = open(&world, &who, &id, "/");
        world.pass(61);
        assert!(
            world.broker.enter(&late, secret.expose()).is_none(),
            "not after its time"
        );
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn signing_out_closes_pages() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let (host, secret) = open(&world, &who, &id, "/");
        let (cookie, _) = world.broker.enter(&host, secret.expose()).unwrap();
        world
            .broker
            .page_session(&host, cookie.expose())
            .await
            .unwrap()
            .unwrap();
        world.broker.sign_out(&who).await.unwrap();
        assert_eq!(world.stage.ended_sessions.get(), 1);
        assert!(world.broker.page_session(&host, cookie.expose()).await.is_none());
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn trash_closes_pages() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let (host, secret) = open(&world, &who, &id, "/");
        let (cookie, _) = world.broker.enter(&host, secret.expose()).unwrap();
        world.broker.trash_grain(&who, &id).await.unwrap();
        assert!(world.broker.page_session(&host, cookie.expose()).await.is_none());
    });
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        for path in [
            "",
            "relative",
            "//evil.example",
            "/a\r\nSet-Cookie: x",
            "https://evil.example/",
        ] {
            let refused = world
                .broker
                .open(&who, &id, &json!({"path": path}).to_string())
                .unwrap_err();
            assert_eq!(refused.code(), "bad-request", "{path}");
        }
    });
}

#[test]
fn a_page_closed_while_its_grain_wakes_stays_closed() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let (host, secret) = open(&world, &who, &id, "/");
        let (cookie, _) = world.broker.enter(&host, secret.expose()).unwrap();
        let (session, signed_out) = futures::join!(
            world.broker.page_session(&host, cookie.expose()),
            world.broker.sign_out(&who)
        );
        signed_out.unwrap();
        assert!(session.is_none(), "a session was handed out after signing out");
        assert!(world.stage.ended_sessions.get() > 0, "the host was told");
        world.broker.stop_all_grains().await;
    });
}
