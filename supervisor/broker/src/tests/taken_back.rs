//! Taking back, against everything that happens at the same moment or later.
use std::time::Duration;

use percloud_core::id::GrainId;
use serde_json::{Value, json};

use super::{World, enter, run, with_roles};
use crate::account::SignedIn;
use crate::record::{Referent, Sealed, Token};
use crate::visit::Changed;
use percloud_core::sharing::requirement::Requirement;

async fn give(world: &World, from: &SignedIn, id: &GrainId, to: &SignedIn, more: Value) -> String {
    let mut body = json!({"to": {"person": to.account}, "role": {"index": 0}});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let made = world.broker.share(from, id, &body.to_string()).await.unwrap();
    let way = made["way"]["id"].as_str().unwrap().to_owned();
    world.broker.answer_offer(to, &way, true).await.unwrap();
    way
}

#[test]
fn accepting_deleting_and_sharing_at_once_all_come_to_an_end() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let first = with_roles(&world, &anna).await;
        let second = world.grain(&anna).await;
        world.broker.trash_grain(&anna, &second).await.unwrap();
        let body = json!({"person": bela.account}).to_string();
        world.broker.offer_ownership(&anna, &first, &body).await.unwrap();
        let offer = world.broker.home(&bela).await.unwrap()["offers"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        // Anything that holds the turn while it commits: an ordinary share.
        let body = json!({"to": {"link": true}}).to_string();
        let all = async {
            tokio::join!(
                world.broker.share(&anna, &first, &body),
                world.broker.answer_offer(&bela, &offer, true),
                world.broker.delete_grain(&anna, &second),
            )
        };
        let done = tokio::time::timeout(Duration::from_secs(10), all).await;
        let (shared, accepted, deleted) = done.expect("nobody waits for anybody");
        shared.unwrap();
        accepted.unwrap();
        deleted.unwrap();
        let later = tokio::time::timeout(Duration::from_secs(3), world.broker.invite(&anna, "{}")).await;
        later.expect("the turn is free again").unwrap();
        world.broker.stop().await;
    });
}

#[test]
fn what_hangs_on_a_share_that_ends_is_looked_at_when_it_ends() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let until = world.stage.now.get() + 100_000;
        give(&world, &anna, &id, &bela, json!({"expires": until})).await;
        let opened = world.broker.open(&bela, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        let keeper = world.visitor(|last| last.keeper.clone().unwrap());
        let mut request = keeper.tie_request();
        request.get().init_permissions(1).set(0, true);
        let answer = request.send().promise.await.unwrap();
        let tie = answer.get().unwrap().get_id().unwrap().to_vec();
        // The page is closed; something unrelated changes.
        world
            .broker
            .close_pages(|page| page.visit.visitor.person.as_ref() == Some(&bela.account))
            .await;
        world.broker.enforce(&Changed::Everything).await;
        assert_eq!(world.broker.references.borrow().len(), 1);
        assert_eq!(world.broker.next_look.get().map(|next| next.0), Some(until));
        world.pass(200);
        world.broker.enforce(&Changed::Everything).await;
        assert!(world.stage.ended.borrow().contains(&tie));
        world.broker.stop().await;
    });
}

#[test]
fn what_was_claimed_ends_with_what_it_was_made_from() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let id = with_roles(&world, &anna).await;
        let opened = world.broker.open(&anna, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        let (session, keeper) = world.visitor(|last| (last.session.clone(), last.keeper.clone().unwrap()));
        let base = Token {
            what: Referent::Object {
                grain: id.clone(),
                id: "EAAQBAAAAA".into(),
            },
            seal: Sealed::Grain(id.clone()),
            label: String::new(),
            created: world.broker.outside.now(),
            expires: None,
            requirements: vec![],
            parent: None,
            by: None,
        };
        let parent = world.broker.make_token(base.clone()).await.unwrap();
        let child = world
            .broker
            .make_token(Token {
                what: Referent::View {
                    grain: id.clone(),
                    holder: percloud_core::sharing::share::Holder::Person(anna.account.clone()),
                    role: Default::default(),
                },
                seal: Sealed::Answer(percloud_core::secret::hex(&session)),
                parent: Some(parent.hash()),
                ..base
            })
            .await
            .unwrap();
        let mut request = keeper.claim_request();
        request.get().set_token(child.expose());
        let claimed = request.send().promise.await;
        assert!(claimed.is_ok());
        world.broker.forget_token(&id, &parent.hash()).await.unwrap();
        assert!(world.broker.references.borrow().is_empty());
        drop(claimed);
        world.broker.stop().await;
    });
}

#[test]
fn who_lost_access_hears_nothing_more() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let until = world.stage.now.get() + 100_000;
        give(&world, &anna, &id, &bela, json!({"expires": until})).await;
        world.pass(1000);
        assert!(world.broker.own_access(&bela, &id).is_err());
        let mut events = world.broker.events.watch(bela.account.clone());
        let _ = events.recv().await;
        world
            .broker
            .change_grain(&anna, &id, &json!({"title": "Divorce papers"}).to_string())
            .await
            .unwrap();
        assert!(
            events.try_recv().is_err(),
            "the new title is none of her business"
        );
        world.broker.trash_grain(&anna, &id).await.unwrap();
        while let Ok(event) = events.try_recv() {
            assert!(!event.contains("Divorce"), "{event}");
        }
        world.broker.stop().await;
    });
}

#[test]
fn a_link_for_one_use_lets_one_in_however_many_come_at_once() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let body = json!({"to": {"link": true}, "role": {"index": 0}, "singleUse": true}).to_string();
        let made = world.broker.share(&anna, &id, &body).await.unwrap();
        let (_, token) = made["url"].as_str().unwrap().split_once('#').unwrap();
        let body = json!({"token": token}).to_string();
        let (guest, member) = tokio::join!(
            world.broker.open_link(&body, "a"),
            world.broker.accept_link(&bela, &body)
        );
        assert!(guest.is_ok() != member.is_ok(), "one of them");
        world.broker.stop().await;
    });
}

#[test]
fn what_was_offered_ends_with_what_it_was_offered_from() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let holder = percloud_core::sharing::share::Holder::Person(anna.account.clone());
        let token = Token {
            what: Referent::View {
                grain: id.clone(),
                holder: holder.clone(),
                role: Default::default(),
            },
            seal: Sealed::Grain(id.clone()),
            label: String::new(),
            created: world.broker.outside.now(),
            expires: None,
            requirements: vec![Requirement::PermissionsHeld {
                grain: id.clone(),
                holder,
                permissions: Default::default(),
            }],
            parent: None,
            by: None,
        };
        let parent = world.broker.make_token(token.clone()).await.unwrap();
        world
            .broker
            .receive_view(
                &bela.account,
                Token {
                    parent: Some(parent.hash()),
                    ..token
                },
            )
            .await
            .unwrap();
        assert!(world.broker.own_access(&bela, &id).is_ok());
        world.broker.forget_token(&id, &parent.hash()).await.unwrap();
        assert!(world.broker.own_access(&bela, &id).is_err());
        world.broker.stop().await;
    });
}

#[test]
fn a_claim_that_races_with_taking_back_leaves_nothing_alive() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        let id = with_roles(&world, &anna).await;
        let way = give(&world, &anna, &id, &bela, json!({})).await;
        let opened = world.broker.open(&bela, &id, "").unwrap();
        enter(&world, &opened).await.unwrap();
        let (session, keeper) = world.visitor(|last| (last.session.clone(), last.keeper.clone().unwrap()));
        let token = world
            .broker
            .make_token(Token {
                what: Referent::Identity {
                    account: anna.account.clone(),
                },
                seal: Sealed::Answer(percloud_core::secret::hex(&session)),
                label: String::new(),
                created: world.broker.outside.now(),
                expires: None,
                requirements: vec![],
                parent: None,
                by: None,
            })
            .await
            .unwrap();
        let mut request = keeper.claim_request();
        request.get().set_token(token.expose());
        let claiming = request.send().promise;
        let (claimed, revoked) = tokio::join!(claiming, world.broker.revoke_share(&anna, &id, &way, ""));
        revoked.unwrap();
        assert!(world.broker.own_access(&bela, &id).is_err());
        assert!(world.broker.references.borrow().is_empty());
        drop(claimed);
        world.broker.stop().await;
    });
}
