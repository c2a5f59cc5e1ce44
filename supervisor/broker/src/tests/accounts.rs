use serde_json::json;

use super::{PASSWORD, World, run};

#[test]
fn the_setup_secret_makes_one_owner_once() {
    run(async {
        let world = World::new();
        let secret = world.secret.as_ref().unwrap().expose_hex();
        let body = |secret: &str, password: &str| {
            json!({"secret": secret, "name": "Anna", "handle": "anna", "password": password}).to_string()
        };
        let wrong = world
            .broker
            .set_up(&body(&"0".repeat(64), PASSWORD), "::1")
            .await
            .unwrap_err();
        assert_eq!(wrong.code(), "wrong-secret");
        let weak = world
            .broker
            .set_up(&body(&secret, "short"), "::1")
            .await
            .unwrap_err();
        assert_eq!(weak.code(), "weak-password");
        assert!(!world.broker.is_set_up());
        world
            .broker
            .set_up(&body(&secret, PASSWORD), "::1")
            .await
            .unwrap();
        assert!(world.broker.is_set_up());
        let again = world
            .broker
            .set_up(&body(&secret, PASSWORD), "::1")
            .await
            .unwrap_err();
        assert_eq!(again.code(), "already-set-up");
        let world = world.restarted();
        assert!(world.broker.is_set_up());
        assert!(
            world.secret.is_none(),
            "a server with an owner hands out no setup secret"
        );
    });
}

#[test]
fn guesses_at_the_setup_secret_are_slowed_down() {
    run(async {
        let world = World::new();
        let body =
            json!({"secret": "0".repeat(64), "name": "E", "handle": "eve", "password": PASSWORD}).to_string();
        let mut codes = Vec::new();
        for _ in 0..6 {
            codes.push(world.broker.set_up(&body, "192.0.2.1").await.unwrap_err().code());
        }
        assert_eq!(codes.last(), Some(&"too-many-attempts"));
    });
}

#[test]
fn unknown_handles_and_wrong_passwords_look_alike_and_are_slowed_down() {
    run(async {
        let world = World::new();
        world.owner().await;
        let body = |handle: &str, password: &str| json!({"handle": handle, "password": password}).to_string();
        let unknown = world
            .broker
            .sign_in(&body("nobody", PASSWORD), "a")
            .await
            .unwrap_err();
        let wrong = world
            .broker
            .sign_in(&body("anna", "not the password"), "b")
            .await
            .unwrap_err();
        assert_eq!(unknown.json(), wrong.json());
        assert_eq!(unknown.code(), "wrong-credentials");
        for address in ["c", "d", "e", "f"] {
            world
                .broker
                .sign_in(&body("anna", "not the password"), address)
                .await
                .unwrap_err();
        }
        let slowed = world
            .broker
            .sign_in(&body("anna", PASSWORD), "g")
            .await
            .unwrap_err();
        assert_eq!(slowed.code(), "too-many-attempts");
        world.pass(3600);
        assert!(world.broker.sign_in(&body(" Anna ", PASSWORD), "g").await.is_ok());
    });
}

#[test]
fn a_session_survives_a_restart_and_ends_with_signing_out_or_time() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        let cookie = who.cookie.clone().unwrap();
        let world = world.restarted();
        assert!(world.broker.resume(cookie.expose()).is_some());
        assert!(world.broker.resume(&[0; 32]).is_none());
        assert!(world.broker.resume(&cookie.expose()[..31]).is_none());
        world.pass(31 * 24 * 3600);
        assert!(
            world.broker.resume(cookie.expose()).is_none(),
            "sessions end by themselves"
        );

        let sign_in = json!({"handle": "anna", "password": PASSWORD}).to_string();
        let (_, cookie) = world.broker.sign_in(&sign_in, "a").await.unwrap();
        let who = world.broker.resume(cookie.expose()).unwrap();
        world.broker.sign_out(&who).await.unwrap();
        assert!(world.broker.resume(cookie.expose()).is_none());
    });
}

#[test]
fn bodies_of_another_shape_are_refused() {
    run(async {
        let world = World::new();
        for body in [
            "",
            "null",
            "[]",
            "{\"handle\": 1}",
            "{\"handle\":\"a\",\"password\":\"b\",\"admin\":true}",
        ] {
            assert_eq!(
                world.broker.sign_in(body, "a").await.unwrap_err().code(),
                "bad-request",
                "{body}"
            );
        }
    });
}

#[test]
fn guesses_made_at_once_do_not_slip_through_together() {
    run(async {
        let world = World::new();
        world.owner().await;
        let body = json!({"handle": "anna", "password": "not the password"}).to_string();
        let guesses = (0..40).map(|_| world.broker.sign_in(&body, "192.0.2.1"));
        let answers = futures::future::join_all(guesses).await;
        let codes: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.unwrap_err().code())
            .collect();
        let looked_at = codes.iter().filter(|code| **code == "wrong-credentials").count();
        assert!(looked_at <= 6, "{looked_at} guesses were looked at: {codes:?}");
        assert!(codes.contains(&"too-many-attempts"));
    });
}

#[test]
fn guesses_from_elsewhere_keep_nobody_out_for_long() {
    run(async {
        let world = World::new();
        world.owner().await;
        let wrong = json!({"handle": "anna", "password": "not the password"}).to_string();
        for address in 0..30 {
            world.pass(6);
            let _ = world
                .broker
                .sign_in(&wrong, &format!("198.51.100.{address}"))
                .await;
        }
        world.pass(6);
        let right = json!({"handle": "anna", "password": PASSWORD}).to_string();
        assert!(world.broker.sign_in(&right, "192.0.2.7").await.is_ok());
    });
}

#[test]
fn signing_out_ends_whatever_acts_for_the_session() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.broker.check(&who).unwrap();
        let (ended, signed_out) = futures::join!(world.broker.signed_out(&who), world.broker.sign_out(&who));
        let () = ended;
        signed_out.unwrap();
        assert_eq!(world.broker.check(&who).unwrap_err().code(), "signed-out");
    });
}
