//! Somebody with very many things.

use std::collections::BTreeSet;

use percloud_core::id::GrainId;
use percloud_core::time::Timestamp;
use percloud_store::Batch;
use serde_json::{Value, json};

use super::{APP, PACKAGE, World, run};
use crate::account::SignedIn;
use crate::record::{Grain, grain_key};
use crate::view::Asked;

/// Writes what a server would have that has made so many grains; they count after the next start.
async fn fill(world: &World, who: &SignedIn, count: u64) {
    let mut batch = Batch::new();
    for number in 0..count {
        let grain = Grain {
            owner: who.account.clone(),
            app_id: APP.into(),
            package_id: PACKAGE.into(),
            action: 0,
            title: format!("Book {number}"),
            noun: "guestbook".into(),
            created: Timestamp(number),
            last_used: Timestamp(number),
            size: None,
            begun: true,
            trashed: number.is_multiple_of(3).then_some(Timestamp(number)),
            relaxed_policy: false,
            public_id: None,
            files: None,
            limits: Default::default(),
        };
        let id = GrainId::new(|bytes| (world.broker.outside.random)(bytes));
        batch.put(grain_key(&id), &grain);
        if batch.is_nearly_full() {
            world.broker.commit(std::mem::take(&mut batch)).await.unwrap();
        }
    }
    world.broker.commit(batch).await.unwrap();
}

fn titles(page: &Value) -> Vec<String> {
    let grains = page["grains"].as_array().unwrap();
    let titles = grains.iter().map(|grain| grain["title"].as_str().unwrap());
    titles.map(str::to_owned).collect()
}

#[test]
fn much_comes_in_pages_and_is_found_by_words() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        fill(&world, &anna, 1500).await;
        let world = world.restarted();

        // The latest first: a page of what is in use and one of the trash, with where to go on.
        let home = world.broker.home(&anna).await.unwrap();
        let first = titles(&home);
        assert_eq!(
            (first.len(), &*first[0], &*first[200]),
            (400, "Book 1499", "Book 1497")
        );
        let mut asked = Asked {
            after: home["more"]["grains"].as_str().unwrap().to_owned(),
            ..Asked::default()
        };
        let mut seen: BTreeSet<String> = first[..200].iter().cloned().collect();
        loop {
            let page = world.broker.grains(&anna, &asked).unwrap();
            for title in titles(&page) {
                assert!(seen.insert(title.clone()), "{title} came twice");
            }
            match page["more"].as_str() {
                Some(cursor) => asked.after = cursor.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen.len(), 1000);

        // By words, far from the first page; and in the trash only there.
        let search = |search: &str, trashed| {
            let asked = Asked {
                search: search.into(),
                trashed,
                ..Asked::default()
            };
            world.broker.grains(&anna, &asked).unwrap()
        };
        assert_eq!(titles(&search(" bOOk 1000 ", false)), ["Book 1000"]);
        assert_eq!(titles(&search("book 1002", false)).len(), 0);
        assert_eq!(titles(&search("book 1002", true)), ["Book 1002"]);
        let every = search("guestb", false);
        assert_eq!((titles(&every).len(), every["more"].is_string()), (200, true));

        // What changes moves at once.
        let id: GrainId = search("book 1000", false)["grains"][0]["id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let body = json!({"title": "Zebra"}).to_string();
        world.broker.change_grain(&anna, &id, &body).await.unwrap();
        assert_eq!(titles(&search("zebra", false)), ["Zebra"]);
        assert_eq!(titles(&search("book 1000", false)).len(), 0);
        world.broker.trash_grain(&anna, &id).await.unwrap();
        assert_eq!(titles(&search("zebra", false)).len(), 0);
        assert_eq!(titles(&world.broker.home(&anna).await.unwrap())[200], "Zebra");

        for wrong in ["x", "1.x", "x.2222222222222222222222"] {
            let asked = Asked {
                after: wrong.into(),
                ..Asked::default()
            };
            assert!(world.broker.grains(&anna, &asked).is_err(), "{wrong}");
        }
        world.broker.stop().await;
    });
}

#[test]
fn an_app_is_removed_only_when_its_last_grain_is_gone_even_from_the_trash() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        let bela = world.member(&anna, "Bela").await;
        world.app(&anna).await;
        world.app(&bela).await;
        let world = world.restarted();
        let id = world.grain(&anna).await;
        world.broker.trash_grain(&anna, &id).await.unwrap();
        let refused = world.broker.remove_package(&anna, PACKAGE).await.unwrap_err();
        assert_eq!(refused.json()["error"]["code"], "in-use");
        world.broker.delete_grain(&anna, &id).await.unwrap();
        world.broker.remove_package(&anna, PACKAGE).await.unwrap();
        // Somebody else still has the app, so the package stays; with the last it goes.
        let folder = world.broker.config.layout.package(PACKAGE);
        assert!(folder.exists());
        world.broker.remove_package(&bela, PACKAGE).await.unwrap();
        assert!(!folder.exists());
        world.broker.stop().await;
    });
}

#[test]
fn a_changed_audit_log_is_noticed() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        for _ in 0..3 {
            world.broker.invite(&anna, "{}").await.unwrap();
        }
        let history = world.broker.server_history(&anna).await.unwrap();
        assert_eq!(
            (&history["intact"], history["entries"].as_array().unwrap().len()),
            (&json!(true), 4)
        );
        // One entry is replaced by another.
        let other: crate::record::Audited = world.broker.read(&2_u64.to_be_bytes()).unwrap().unwrap();
        let mut batch = Batch::new();
        batch.put(&1_u64.to_be_bytes(), &other);
        world.broker.commit(batch).await.unwrap();
        let history = world.broker.server_history(&anna).await.unwrap();
        assert_eq!(history["intact"], false);
        let world = world.restarted();
        let history = world.broker.server_history(&anna).await.unwrap();
        assert_eq!(history["intact"], false);
        // It goes on all the same.
        world.broker.invite(&anna, "{}").await.unwrap();
        let history = world.broker.server_history(&anna).await.unwrap();
        assert_eq!(history["entries"].as_array().unwrap().len(), 5);
        world.broker.stop().await;
    });
}
