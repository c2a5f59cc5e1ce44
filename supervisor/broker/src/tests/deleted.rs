//! What a grain that is deleted leaves behind for a while: its tokens, and what people kept of it.

use std::pin::pin;
use std::task::Poll;

use percloud_core::id::GrainId;
use percloud_core::petname::Petname;
use percloud_core::sharing::requirement::TokenHash;
use percloud_store::Batch;

use super::{World, run};
use crate::account::SignedIn;
use crate::record::{
    Follow, Grain, Held, Mute, OwnName, Referent, Sealed, Token, Unread, grain_key, grain_of_person,
};

/// Of more than one step.
const MANY: usize = 300;

fn token(world: &World, of: &GrainId, holder: &GrainId, parent: Option<TokenHash>) -> Token {
    Token {
        what: Referent::Object {
            grain: of.clone(),
            id: "EAAQBAAAAA".into(),
        },
        seal: Sealed::Grain(holder.clone()),
        label: String::new(),
        created: world.broker.outside.now(),
        expires: None,
        requirements: vec![],
        parent,
        by: None,
    }
}

async fn make(world: &World, token: Token) -> TokenHash {
    world.broker.make_token(token).await.unwrap().hash()
}

/// How many tokens there are, and how many records under which grains find theirs.
fn left(world: &World) -> (usize, usize) {
    let store = &world.broker.store;
    let tokens = store.scan::<Token>(b"").unwrap().len();
    (tokens, store.scan::<Held>(b"").unwrap().len())
}

async fn two_grains(world: &World) -> (SignedIn, GrainId, GrainId) {
    let anna = world.owner().await;
    world.app(&anna).await;
    let (first, second) = (world.grain(&anna).await, world.grain(&anna).await);
    (anna, first, second)
}

#[test]
fn nobody_waits_while_the_tokens_of_a_deleted_grain_are_forgotten() {
    run(async {
        let world = World::new();
        let broker = &world.broker;
        let (anna, id, other) = two_grains(&world).await;
        let tokens = (0..MANY).map(|_| make(&world, token(&world, &id, &id, None)));
        let tokens = futures::future::join_all(tokens).await;
        let child = make(&world, token(&world, &other, &other, tokens.last().copied())).await;
        let kept = make(&world, token(&world, &other, &other, None)).await;
        let now = broker.outside.now();
        assert!(broker.token_stands(&child, now));
        broker.trash_grain(&anna, &id).await.unwrap();
        let mut deleting = pin!(broker.delete_grain(&anna, &id));
        let mut free_meanwhile = 0;
        loop {
            if let Poll::Ready(deleted) = futures::poll!(&mut deleting) {
                deleted.unwrap();
                break;
            }
            let is_gone = !broker.catalogue.borrow().has(&id);
            if is_gone && left(&world).0 > 2 {
                let is_free = broker.sharing_turn.try_lock().is_ok() && broker.changing.try_lock().is_ok();
                free_meanwhile += usize::from(is_free);
            }
            tokio::task::yield_now().await;
        }
        assert!(free_meanwhile > 0, "everybody else goes on");
        assert!(!broker.token_stands(&child, now), "it was made from one of them");
        assert!(broker.token_stands(&kept, now));
        assert_eq!(left(&world), (2, 2));
        let gone = token(&world, &id, &id, None).what;
        assert!(broker.leading.borrow().to(&gone).is_empty());
    });
}

#[test]
fn what_a_crash_left_of_a_deleted_grains_tokens_grants_nothing_and_is_forgotten() {
    run(async {
        let world = World::new();
        let (_, id, other) = two_grains(&world).await;
        let parent = make(&world, token(&world, &id, &id, None)).await;
        let child = make(&world, token(&world, &other, &other, Some(parent))).await;
        let kept = make(&world, token(&world, &other, &other, None)).await;
        let mut batch = Batch::new();
        batch.delete::<Grain>(grain_key(&id));
        world.broker.commit(batch).await.unwrap();

        let world = world.restarted();
        let now = world.broker.outside.now();
        assert_eq!(left(&world), (3, 3));
        assert!(!world.broker.token_stands(&parent, now));
        assert!(!world.broker.token_stands(&child, now));
        world.broker.forget_expired_tokens(now).await.unwrap();
        assert_eq!(left(&world), (2, 2));
        assert!(world.broker.token_stands(&kept, now), "its grain is there");
    });
}

#[test]
fn forgetting_an_object_forgets_all_that_leads_to_it_and_nothing_else() {
    run(async {
        let world = World::new();
        let (_, id, other) = two_grains(&world).await;
        let tokens = (0..MANY).map(|_| make(&world, token(&world, &id, &other, None)));
        futures::future::join_all(tokens).await;
        let kept = make(&world, token(&world, &other, &other, None)).await;
        let gone = token(&world, &id, &id, None).what;
        world.broker.forget_object(&gone).await.unwrap();
        assert_eq!(left(&world), (1, 1));
        assert!(world.broker.leading.borrow().to(&gone).is_empty());
        let what = token(&world, &other, &other, None).what;
        assert_eq!(world.broker.leading.borrow().to(&what).len(), 1);
        assert!(world.broker.token_stands(&kept, world.broker.outside.now()));
    });
}

#[test]
fn what_people_kept_of_a_grain_goes_with_it() {
    run(async {
        let world = World::new();
        let broker = &world.broker;
        let (anna, id, other) = two_grains(&world).await;
        let bela = world.member(&anna, "Bela").await;
        let since = broker.outside.now();
        for (person, grain) in [(&anna, &id), (&bela, &id), (&bela, &other)] {
            let here = grain_of_person(&person.account, grain);
            let mut batch = Batch::new();
            batch.put(&here, &OwnName(Petname::received("Ours")));
            batch.put(&here, &Unread { since });
            broker.commit(batch).await.unwrap();
            for thread in 0..MANY {
                let topic = [&here[..], format!("/{thread}").as_bytes()].concat();
                let mut batch = Batch::new();
                batch.put(&topic, &Follow { since });
                batch.put(&topic, &Mute {});
                broker.commit(batch).await.unwrap();
            }
        }
        let kept = || {
            let store = &broker.store;
            [
                store.scan::<OwnName>(b"").unwrap().len(),
                store.scan::<Unread>(b"").unwrap().len(),
                store.scan::<Follow>(b"").unwrap().len(),
                store.scan::<Mute>(b"").unwrap().len(),
            ]
        };
        assert_eq!(kept(), [3, 3, 3 * MANY, 3 * MANY]);
        broker.trash_grain(&anna, &id).await.unwrap();
        assert_eq!(kept(), [3, 3, 3 * MANY, 3 * MANY], "it may come back");
        broker.delete_grain(&anna, &id).await.unwrap();
        assert_eq!(kept(), [1, 1, MANY, MANY], "the other is still there");

        // What a crash left of it goes later.
        let here = grain_of_person(&bela.account, &id);
        let mut batch = Batch::new();
        batch.put(&here, &Unread { since });
        batch.put(&[&here[..], b"/"].concat(), &Mute {});
        broker.commit(batch).await.unwrap();
        assert_eq!(kept(), [1, 2, MANY, MANY + 1]);
        broker.forget_traces_of_the_gone().await.unwrap();
        assert_eq!(kept(), [1, 1, MANY, MANY]);
    });
}
