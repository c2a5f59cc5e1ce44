//! Sharing: by link and by person, who has access, and taking it back.

use percloud_core::id::GrainId;
use serde_json::{Value, json};

use super::{PASSWORD, World, enter, run, with_roles};
use crate::account::SignedIn;

async fn link(world: &World, who: &SignedIn, id: &GrainId, more: Value) -> (String, String) {
    let mut body = json!({"to": {"link": true}, "role": {"index": 0}});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let made = world.broker.share(who, id, &body.to_string()).await.unwrap();
    let url = made["url"].as_str().unwrap();
    let (place, token) = url.split_once('#').unwrap();
    assert_eq!(
        place, "http://percloud.localhost:6080/shared",
        "the token is behind the #"
    );
    (made["way"]["id"].as_str().unwrap().to_owned(), token.to_owned())
}

fn last_visitor(world: &World) -> (String, bool, Vec<bool>) {
    let visitors = world.stage.visitors.borrow();
    let last = visitors.last().unwrap();
    (last.name.clone(), last.owner, last.permissions.clone())
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, crate::Problem>) -> &'static str {
    outcome.unwrap_err().code()
}

#[test]
fn a_link_lets_a_stranger_in_with_its_role_and_no_more() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({"role": {"index": 1}})).await;
        let body = json!({"token": token}).to_string();

        let look = world.broker.look_at_link(&body, "198.51.100.1").await.unwrap();
        assert_eq!((&look["by"], &look["can"]), (&json!("Anna"), &json!("can look")));

        let opened = world.broker.open_link(&body, "198.51.100.1").await.unwrap();
        assert!(opened.get("token").is_none(), "a link for many keeps its secret");
        enter(&world, &opened).await.unwrap();
        assert_eq!(
            last_visitor(&world),
            ("Anonymous User".into(), false, vec![true, false])
        );
        world.broker.stop().await;
    });
}

#[test]
fn guessed_truncated_and_foreign_tokens_are_one_answer_and_slowed_down() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({})).await;
        let mut other = token.clone();
        other.replace_range(..1, if token.starts_with('A') { "B" } else { "A" });
        for wrong in [
            "",
            &token[1..],
            &format!("{token}A"),
            &other,
            &"\u{e4}".repeat(43),
        ] {
            let body = json!({"token": wrong}).to_string();
            assert_eq!(
                refused(world.broker.look_at_link(&body, "198.51.100.2").await),
                "not-found"
            );
        }
        let body = json!({"token": token}).to_string();
        assert_eq!(
            refused(world.broker.look_at_link(&body, "198.51.100.2").await),
            "too-many-attempts"
        );
        world.broker.look_at_link(&body, "198.51.100.3").await.unwrap();
        world.broker.stop().await;
    });
}

#[test]
fn taking_a_link_back_ends_open_pages_and_stays_so_after_a_restart() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let (way, token) = link(&world, &anna, &id, json!({})).await;
        let body = json!({"token": token}).to_string();
        let opened = world.broker.open_link(&body, "a").await.unwrap();
        let (host, cookie) = enter(&world, &opened).await.unwrap();
        let session = world.stage.visitors.borrow().last().unwrap().session.clone();

        world.broker.revoke_share(&anna, &id, &way, "").await.unwrap();
        assert!(
            world.stage.ended.borrow().contains(&session),
            "the grain host was told before we said done"
        );
        assert!(world.broker.page_session(&host, &cookie).await.is_none());
        assert_eq!(refused(world.broker.open_link(&body, "b").await), "not-found");

        world.broker.stop().await;
        tokio::task::yield_now().await;
        drop(world.stage.visitors.take());
        drop(world.stage.keepers.take());
        let world = settled(world).await;
        assert_eq!(refused(world.broker.open_link(&body, "c").await), "not-found");
        let anna = signed_in(&world).await;
        assert_eq!(world.broker.sharing(&anna, &id).await.unwrap()["ways"], json!([]));
        let history = world.broker.grain_history(&anna, &id).await.unwrap();
        assert_eq!(history["intact"], true);
        assert_eq!(history["entries"].as_array().unwrap().len(), 2, "{history}");
        world.broker.stop().await;
    });
}

/// Starts the server again once the last task has let go of it.
async fn settled(world: World) -> World {
    for _ in 0..10_000 {
        if std::rc::Rc::strong_count(&world.broker) == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    world.restarted()
}

async fn signed_in(world: &World) -> SignedIn {
    let body = json!({"handle": "anna", "password": PASSWORD}).to_string();
    let (_, cookie) = world.broker.sign_in(&body, "127.0.0.1").await.unwrap();
    world.broker.resume(cookie.expose()).unwrap()
}

#[test]
fn a_link_for_one_use_belongs_to_the_first_who_comes() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({"singleUse": true})).await;
        let body = json!({"token": token}).to_string();
        let opened = world.broker.open_link(&body, "a").await.unwrap();
        let own = opened["token"]
            .as_str()
            .expect("traded for a secret of their own")
            .to_owned();
        assert_eq!(refused(world.broker.open_link(&body, "b").await), "not-found");
        assert_eq!(refused(world.broker.accept_link(&bela, &body).await), "not-found");

        // The first comes again, and later makes it theirs; with that the link is gone.
        let own = json!({"token": own}).to_string();
        world.broker.open_link(&own, "a").await.unwrap();
        world.broker.accept_link(&bela, &own).await.unwrap();
        assert_eq!(refused(world.broker.open_link(&own, "a").await), "not-found");
        assert_eq!(
            world.broker.home(&bela).await.unwrap()["grains"][0]["owner"],
            "Anna"
        );
        world.broker.stop().await;
    });
}

#[test]
fn a_person_is_asked_first_and_then_has_it_among_their_own() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let body =
            json!({"to": {"person": bela.account}, "role": {"index": 0}, "note": "for us"}).to_string();
        let made = world.broker.share(&anna, &id, &body).await.unwrap();
        assert_eq!(made["way"]["state"], "pending");
        assert_eq!(refused(world.broker.open(&bela, &id, "")), "not-found");

        let home = world.broker.home(&bela).await.unwrap();
        assert_eq!(home["grains"], json!([]));
        let offer = &home["offers"][0];
        assert_eq!(
            (&offer["by"], &offer["can"], &offer["note"]),
            (&json!("Anna"), &json!("can edit"), &json!("for us"))
        );
        let taken = world
            .broker
            .answer_offer(&bela, offer["id"].as_str().unwrap(), true)
            .await
            .unwrap();
        assert_eq!(
            (&taken["mine"], &taken["can"]),
            (&json!(false), &json!("can edit"))
        );

        let opened = world.broker.open(&bela, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world), ("Bela".into(), false, vec![true, true]));

        // What only its owner may do does not exist for others.
        assert_eq!(refused(world.broker.trash_grain(&bela, &id).await), "not-found");
        assert_eq!(refused(world.broker.grain_history(&bela, &id).await), "not-found");
        let renamed = world
            .broker
            .change_grain(&bela, &id, r#"{"title": "Ours"}"#)
            .await
            .unwrap();
        assert_eq!(
            (&renamed["title"], &renamed["ownersTitle"]),
            (&json!("Ours"), &json!("Guestbook"))
        );
        assert_eq!(world.broker.grain_now(&anna, &id).unwrap()["title"], "Guestbook");
        world.broker.stop().await;
    });
}

#[test]
fn a_smaller_role_is_felt_at_once_and_everywhere_below() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let (bela, cleo) = (
            world.member(&anna, "Bela").await,
            world.member(&anna, "Cleo").await,
        );
        let id = with_roles(&world, &anna).await;
        let body = json!({"to": {"person": bela.account}, "role": {"index": 0}}).to_string();
        let way = world.broker.share(&anna, &id, &body).await.unwrap()["way"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        world.broker.answer_offer(&bela, &way, true).await.unwrap();
        let (_, token) = link(&world, &bela, &id, json!({})).await;
        world
            .broker
            .accept_link(&cleo, &json!({"token": token}).to_string())
            .await
            .unwrap();
        let opened = world.broker.open(&cleo, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world).2, [true, true]);
        let session = world.stage.visitors.borrow().last().unwrap().session.clone();

        let smaller = json!({"role": {"index": 1}}).to_string();
        let changed = world
            .broker
            .change_share(&anna, &id, &way, &smaller)
            .await
            .unwrap();
        assert_eq!(changed["can"], "can look");
        assert!(
            world.stage.ended.borrow().contains(&session),
            "Cleo's page held more than she now may"
        );
        let opened = world.broker.open(&cleo, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world).2, [true, false]);

        // Bela may take back what hangs below her, not what is Anna's.
        let ways = world.broker.sharing(&bela, &id).await.unwrap()["ways"].clone();
        let of = |name: &str| {
            ways.as_array()
                .unwrap()
                .iter()
                .find(|way| way["name"] == name)
                .unwrap()
                .clone()
        };
        assert_eq!(
            (&of("Cleo")["mayChange"], &of("Bela")["mayChange"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(
            refused(world.broker.revoke_share(&bela, &id, &way, "").await),
            "not-found"
        );
        world.broker.revoke_share(&anna, &id, &way, "").await.unwrap();
        assert_eq!(refused(world.broker.open(&cleo, &id, "")), "not-found");
        world.broker.stop().await;
    });
}

#[test]
fn what_may_not_be_passed_on_is_not() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({"mayReshare": false})).await;
        world
            .broker
            .accept_link(&bela, &json!({"token": token}).to_string())
            .await
            .unwrap();
        let body = json!({"to": {"link": true}}).to_string();
        assert_eq!(
            refused(world.broker.share(&bela, &id, &body).await),
            "may-not-share"
        );
        // Who may not share sees no ways but their own.
        let ways = world.broker.sharing(&bela, &id).await.unwrap()["ways"].clone();
        assert_eq!(ways.as_array().unwrap().len(), 1, "{ways}");
        world.broker.stop().await;
    });
}

#[test]
fn removing_only_the_link_keeps_those_who_came_by_it() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let (way, token) = link(&world, &anna, &id, json!({"role": {"index": 1}})).await;
        let body = json!({"token": token}).to_string();
        world.broker.accept_link(&bela, &body).await.unwrap();
        world
            .broker
            .revoke_share(&anna, &id, &way, r#"{"onlyLink": true}"#)
            .await
            .unwrap();
        assert_eq!(refused(world.broker.open_link(&body, "a").await), "not-found");
        let opened = world.broker.open(&bela, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world).2, [true, false], "with the link's role");
        world.broker.stop().await;
    });
}

#[test]
fn access_ends_when_its_time_is_over_without_anybody_asking() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let until = world.stage.now.get() + 1500;
        let (_, token) = link(&world, &anna, &id, json!({"expires": until})).await;
        let opened = world
            .broker
            .open_link(&json!({"token": token}).to_string(), "a")
            .await
            .unwrap();
        enter(&world, &opened).await.unwrap();
        let session = world.stage.visitors.borrow().last().unwrap().session.clone();
        let clock = tokio::task::spawn_local({
            let broker = world.broker.clone();
            async move { broker.keep_time().await }
        });
        world.pass(2);
        // The next change of anything makes the clock look; the moment itself does, too, when time really passes.
        world.broker.time_changed.send_replace(());
        for _ in 0..1000 {
            if world.stage.ended.borrow().contains(&session) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(world.stage.ended.borrow().contains(&session));
        clock.abort();
        world.broker.stop().await;
    });
}

#[test]
fn ownership_changes_hands_only_when_the_other_accepts() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({"role": {"index": 1}})).await;
        let body = json!({"person": bela.account, "keep": {"index": 1}}).to_string();
        world.broker.offer_ownership(&anna, &id, &body).await.unwrap();
        assert_eq!(refused(world.broker.open(&bela, &id, "")), "not-found");
        let offer = world.broker.home(&bela).await.unwrap()["offers"][0].clone();
        assert_eq!(offer["kind"], "transfer");
        let offer = offer["id"].as_str().unwrap();
        assert_eq!(
            refused(world.broker.answer_offer(&anna, offer, true).await),
            "not-found"
        );
        let mine = world.broker.answer_offer(&bela, offer, true).await.unwrap();
        assert_eq!(mine["mine"], true);
        assert_eq!(refused(world.broker.trash_grain(&anna, &id).await), "not-found");
        let opened = world.broker.open(&anna, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world), ("Anna".into(), false, vec![true, false]));
        // What was shared stays shared.
        world
            .broker
            .look_at_link(&json!({"token": token}).to_string(), "a")
            .await
            .unwrap();
        assert_eq!(
            refused(world.broker.answer_offer(&bela, offer, true).await),
            "not-found"
        );
        world.broker.stop().await;
    });
}

#[test]
fn trash_takes_access_and_restoring_gives_it_back() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({})).await;
        world
            .broker
            .accept_link(&bela, &json!({"token": token}).to_string())
            .await
            .unwrap();
        world.broker.trash_grain(&anna, &id).await.unwrap();
        assert_eq!(refused(world.broker.open(&bela, &id, "")), "not-found");
        assert_eq!(world.broker.home(&bela).await.unwrap()["grains"], json!([]));
        world.broker.restore_grain(&anna, &id).await.unwrap();
        world.broker.open(&bela, &id, "").unwrap();
        world.broker.trash_grain(&anna, &id).await.unwrap();
        world.broker.delete_grain(&anna, &id).await.unwrap();
        assert_eq!(
            refused(
                world
                    .broker
                    .look_at_link(&json!({"token": token}).to_string(), "a")
                    .await
            ),
            "not-found"
        );
        assert_eq!(refused(world.broker.grain_now(&bela, &id)), "not-found");
        world.broker.stop().await;
    });
}

#[test]
fn an_invitation_makes_one_account() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        assert_eq!(refused(world.broker.invite(&bela, "{}").await), "not-found");
        let invited = world.broker.invite(&anna, r#"{"note": "Cleo"}"#).await.unwrap();
        let (_, secret) = invited["url"].as_str().unwrap().split_once('#').unwrap();
        let join = |secret: &str, handle: &str| {
            json!({"secret": secret, "name": "Cleo", "handle": handle, "password": PASSWORD}).to_string()
        };
        assert_eq!(
            refused(world.broker.join(&join(&"A".repeat(43), "cleo"), "a").await),
            "wrong-secret"
        );
        assert_eq!(
            refused(world.broker.join(&join(secret, "bela"), "a").await),
            "bad-request"
        );
        world.broker.join(&join(secret, "cleo"), "a").await.unwrap();
        assert_eq!(
            refused(world.broker.join(&join(secret, "cleo2"), "a").await),
            "wrong-secret"
        );
        let people = world.broker.people(&bela).unwrap();
        assert_eq!(people["people"].as_array().unwrap().len(), 3);
        assert_eq!(people["people"][0]["me"], true);

        let invited = world.broker.invite(&anna, "{}").await.unwrap();
        let (_, secret) = invited["url"].as_str().unwrap().split_once('#').unwrap();
        world.pass(15 * 24 * 60 * 60);
        assert_eq!(
            refused(world.broker.join(&join(secret, "late"), "a").await),
            "wrong-secret"
        );
        world.broker.stop().await;
    });
}

#[test]
fn one_can_limit_oneself_and_leave() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({})).await;
        world
            .broker
            .accept_link(&bela, &json!({"token": token}).to_string())
            .await
            .unwrap();
        world
            .broker
            .limit_myself(&bela, &id, r#"{"role": {"index": 1}}"#)
            .await
            .unwrap();
        let opened = world.broker.open(&bela, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world).2, [true, false]);
        assert_eq!(refused(world.broker.leave(&anna, &id).await), "bad-request");
        world.broker.leave(&bela, &id).await.unwrap();
        assert_eq!(refused(world.broker.open(&bela, &id, "")), "not-found");
        world.broker.stop().await;
    });
}

#[test]
fn an_app_that_redefines_its_roles_changes_what_was_shared() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let (_, token) = link(&world, &anna, &id, json!({"role": {"index": 1}})).await;
        let body = json!({"token": token}).to_string();
        let opened = world.broker.open_link(&body, "a").await.unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world).2, [true, false]);

        *world.stage.roles.borrow_mut() = vec![
            ("can edit", &[false, true, true], false),
            ("can look", &[false, false, true], true),
        ];
        world.broker.stop_grain(&id).await;
        let opened = world.broker.open_link(&body, "a").await.unwrap();
        enter(&world, &opened).await.unwrap();
        assert_eq!(last_visitor(&world).2, [false, false, true]);
        world.broker.stop().await;
    });
}

#[test]
fn noting_that_somebody_came_brings_nothing_back() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let (way, _) = link(&world, &anna, &id, json!({})).await;
        let share: percloud_core::id::ShareId = way.parse().unwrap();
        // The note waits for its turn while the link is taken back.
        let revoke = world.broker.revoke_share(&anna, &id, &way, "");
        let note = world.broker.mark_used(&share);
        let (revoked, noted) = futures::join!(revoke, note);
        revoked.unwrap();
        noted.unwrap();
        let kept: Option<crate::record::Way> = world.broker.read(way.as_bytes()).unwrap();
        assert!(kept.is_none(), "it would be back after a restart");
        world.broker.stop().await;
    });
}

#[test]
fn what_an_app_said_is_read_again_once_it_is_not_at_hand() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let said = world.broker.view_of(&id);
        assert_eq!(said.roles.len(), 2);
        // Of a grain that runs, what it said is known from itself.
        world.broker.views.borrow_mut().remove(&id);
        assert_eq!(world.broker.view_of(&id), said);
        assert_eq!(world.broker.views.borrow().len(), 0);
        world.broker.stop_grain(&id).await;
        assert_eq!(world.broker.view_of(&id), said);
        assert_eq!(world.broker.views.borrow().len(), 1);
        world.broker.views.borrow_mut().remove(&id);
        assert_eq!(world.broker.view_of(&id), said);
        world.broker.stop().await;
    });
}
