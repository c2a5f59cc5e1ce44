//! Who stays awake when memory is short, and who is started ahead.

use std::time::Duration;

use percloud_core::id::GrainId;
use percloud_core::sharing::requirement::Requirement;
use serde_json::json;

use super::{TOTAL, World, run};
use crate::account::SignedIn;
use crate::problem::Problem;
use crate::token::Reference;

/// Grains of one person, all running, the first unused for longest.
async fn awake<const N: usize>(world: &World, who: &SignedIn) -> [GrainId; N] {
    world.app(who).await;
    let mut grains = Vec::new();
    for _ in 0..N {
        world.pass(60);
        let id = world.grain(who).await;
        world.broker.wake(&id).await.unwrap();
        grains.push(id);
    }
    grains.try_into().unwrap()
}

fn runs(world: &World, id: &GrainId) -> bool {
    world.broker.slot(id).running().is_some()
}

fn running<const N: usize>(world: &World, grains: &[GrainId; N]) -> [bool; N] {
    grains.each_ref().map(|id| runs(world, id))
}

#[test]
fn idle_grains_sleep_when_memory_is_short_and_not_before() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        let grains: [GrainId; 6] = awake(&world, &who).await;
        world.broker.relieve().await;
        assert_eq!(running(&world, &grains), [true; 6], "there is memory");

        world.stage.lacking.set(100 << 20);
        world.broker.relieve().await;
        assert_eq!(
            running(&world, &grains),
            [false, false, true, true, true, true],
            "as many as that takes, the longest unused first"
        );
        assert_eq!(
            world.broker.grain_now(&who, &grains[0]).unwrap()["state"],
            json!("asleep")
        );
        world.stage.lacking.set(0);
        world.stage.waiting.set(10);
        world.broker.relieve().await;
        assert_eq!(
            running(&world, &grains),
            [false, false, false, true, true, true],
            "programs wait for memory"
        );
        world.broker.wake(&grains[0]).await.unwrap();
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn idle_grains_take_no_more_than_they_may_and_the_most_valuable_stay() {
    const MANY: u64 = 2 << 30;
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        // Large and slow, small and slow, small and quick; each used once, at the same time.
        let mut grains = Vec::new();
        for (memory, milliseconds) in [(MANY, 900), (MANY / 2, 900), (MANY / 2, 5), (MANY, 900)] {
            world.stage.figures.set((memory, milliseconds * 1000));
            let id = world.grain(&who).await;
            world.broker.wake(&id).await.unwrap();
            grains.push(id);
        }
        let grains: [GrainId; 4] = grains.try_into().unwrap();
        world.broker.ask_figures(Duration::ZERO).await;
        // The last one has been used, and is left again.
        world.broker.open(&who, &grains[3], "{}").unwrap();
        world.broker.count_use(&grains[3]);
        world
            .broker
            .close_pages(|page| page.visit.grain == grains[3])
            .await;
        world.broker.relieve().await;
        assert_eq!(
            running(&world, &grains),
            [false, true, false, true],
            "6 GiB where 4 are allowed: the quick one does not suffice, and of the slow ones the large one is worth least"
        );
        world.broker.relieve().await;
        assert_eq!(running(&world, &grains), [false, true, false, true]);
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn what_is_in_use_runs_on() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        let [open, busy, provider, holder, idle] = awake(&world, &who).await;
        world.broker.open(&who, &open, "{}").unwrap();
        let _work = world.broker.stay_awake(&busy, "binding the book", None).unwrap();
        let reference = Reference {
            holder: holder.clone(),
            provider: Some(provider.clone()),
            token: None,
            what: None,
            conditions: vec![Requirement::IsAdmin(who.account.clone())],
        };
        world.broker.list_reference(reference).unwrap();
        world.stage.lacking.set(TOTAL / 8);
        world.broker.relieve().await;
        for (id, goes_on) in [
            (open, true),
            (busy, true),
            (provider, true),
            (holder, false),
            (idle, false),
        ] {
            assert_eq!(runs(&world, &id), goes_on);
        }
        world.broker.stop_all_grains().await;
    });
}

#[test]
fn a_grain_is_started_ahead_for_who_may_open_it_while_there_is_room() {
    run(async {
        let world = World::new();
        let who = world.owner().await;
        world.app(&who).await;
        let id = world.grain(&who).await;
        let stranger = world.member(&who, "Bela").await;
        assert!(matches!(
            world.broker.prepare(&stranger, &id),
            Err(Problem::NotFound)
        ));

        world.stage.lacking.set(TOTAL / 8);
        world.broker.prepare(&who, &id).unwrap();
        assert_eq!(
            world.broker.ahead.available_permits(),
            super::super::warm::AHEAD,
            "nothing was begun"
        );

        world.stage.lacking.set(0);
        let before = world.broker.grain_now(&who, &id).unwrap()["lastUsed"].clone();
        let slot = world.broker.slot(&id);
        let mut changed = slot.changed.subscribe();
        world.broker.prepare(&who, &id).unwrap();
        while slot.running().is_none() {
            changed.changed().await.unwrap();
        }
        assert_eq!(
            world.broker.grain_now(&who, &id).unwrap()["lastUsed"],
            before,
            "it was not used"
        );

        world.broker.trash_grain(&who, &id).await.unwrap();
        assert!(matches!(world.broker.prepare(&who, &id), Err(Problem::InTrash)));
        world.broker.stop_all_grains().await;
    });
}
