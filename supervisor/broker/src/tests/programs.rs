//! Programs that come with a token: device passwords and offer templates.

use serde_json::json;

use super::{World, run};
use crate::device::Call;

fn call(host: &str, token: &str) -> Call {
    Call {
        host: host.to_owned(),
        token: token.to_owned(),
        agent: "git/2.47".to_owned(),
        remote_address: String::new(),
    }
}

#[test]
fn a_device_password_opens_one_grain_until_it_is_taken_back() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let made = world
            .broker
            .add_device(&anna, &id, r#"{"label": "my phone"}"#)
            .await
            .unwrap();
        let (token, url) = (made["password"].as_str().unwrap(), made["url"].as_str().unwrap());
        assert_eq!((token.len(), &made["user"]), (43, &json!("anna")));
        let host = url.trim_start_matches("http://").split('.').next().unwrap();

        let opened = world
            .broker
            .api_session(call(host, token))
            .await
            .unwrap()
            .unwrap();
        assert!(opened.is_api);
        assert_eq!(world.stage.visitors.borrow().last().unwrap().name, "Anna");
        let session = world.stage.visitors.borrow().last().unwrap().session.clone();
        world
            .broker
            .api_session(call("api", token))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            world.stage.visitors.borrow().last().unwrap().session,
            session,
            "one program is one visit"
        );

        for (host, token) in [
            ("api-00000000000000000000000000000000", token),
            (host, &token[1..]),
            (host, &"A".repeat(43)),
        ] {
            assert!(
                world.broker.api_session(call(host, token)).await.is_none(),
                "{host} {token}"
            );
        }
        // It is for programs: no page comes of it.
        let body = json!({"token": token}).to_string();
        assert_eq!(
            world.broker.open_link(&body, "a").await.unwrap_err().code(),
            "not-found"
        );

        let devices = world.broker.devices(&anna, &id).await.unwrap();
        let device = &devices["devices"][0];
        assert_eq!(
            (&device["label"], &device["lastAgent"]),
            (&json!("my phone"), &json!("git/2.47"))
        );
        assert!(device["lastUsed"].is_u64());
        world
            .broker
            .remove_device(&anna, &id, device["id"].as_str().unwrap())
            .await
            .unwrap();
        assert!(world.stage.ended.borrow().contains(&session));
        assert!(world.broker.api_session(call(host, token)).await.is_none());
        world.broker.stop().await;
    });
}

#[test]
fn a_template_s_token_dies_unused_and_lives_once_used() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let body = json!({"template": "git clone http://$API_HOST/ $GRAIN_TITLE_SLUG # $API_TOKEN",
                          "unauthenticated": {"options": {"dav": ["1", "calendar-access"]}, "resources": {"": {"body": "hello"}}}});
        let (unused, used) = (
            world
                .broker
                .offer_template(&anna, &id, &body.to_string())
                .await
                .unwrap(),
            world
                .broker
                .offer_template(&anna, &id, &body.to_string())
                .await
                .unwrap(),
        );
        let token = |made: &serde_json::Value| made["token"].as_str().unwrap().to_owned();
        let text = used["text"].as_str().unwrap();
        assert!(
            text.contains(&token(&used)) && text.contains(" guestbook #") && !text.contains('$'),
            "{text}"
        );
        let host = used["host"]
            .as_str()
            .unwrap()
            .split('.')
            .next()
            .unwrap()
            .to_owned();
        let known = world.broker.api_host(&host).unwrap();
        assert_eq!((known.dav.len(), known.resources[""].body.as_str()), (2, "hello"));

        world
            .broker
            .api_session(call("api", &token(&used)))
            .await
            .unwrap()
            .unwrap();
        world.pass(301);
        assert!(
            world
                .broker
                .api_session(call("api", &token(&unused)))
                .await
                .is_none()
        );
        world.broker.maintain().await;
        assert_eq!(
            world.broker.devices(&anna, &id).await.unwrap()["devices"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        world
            .broker
            .api_session(call("api", &token(&used)))
            .await
            .unwrap()
            .unwrap();
        world.broker.stop().await;
    });
}
