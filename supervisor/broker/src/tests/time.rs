//! Waiting, where the clock and the time that passes are not of one mind.

use std::time::Duration;

use percloud_core::time::Timestamp;
use percloud_schemas::grain_capnp::ui_view;
use tokio::time::{Instant, sleep_until};

use super::{World, run};

#[test]
fn a_moment_is_waited_for_by_the_clock() {
    run(async {
        let world = World::new();
        tokio::time::pause();
        let hours = 60 * 60;
        // Seconds by the clock until the moment, how the clock is moved after how many seconds, and after how many the
        // moment is found to have come.
        for (what, moment, moves, woken) in [
            ("it is now", 0, &[][..], 0),
            ("it is past", -5, &[], 0),
            ("nothing special", 10, &[(9, 10)], 10),
            ("the machine was suspended", 10 * hours, &[(5, 20 * hours)], 30),
            ("and again", 10 * hours, &[(5, 4 * hours), (95, 7 * hours)], 120),
            ("the clock was set back", 10, &[(5, -20), (39, 30)], 40),
        ] {
            let started = Instant::now();
            let begun = world.stage.now.get();
            let moving = async {
                for (after, by) in moves {
                    sleep_until(started + Duration::from_secs(*after)).await;
                    let now = world.stage.now.get();
                    world.stage.now.set(now.saturating_add_signed(by * 1000));
                }
            };
            let moment = Timestamp(begun.saturating_add_signed(moment * 1000));
            tokio::join!(world.broker.outside.until(Some(moment)), moving);
            assert_eq!(started.elapsed().as_secs(), woken, "{what}");
        }
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let never = tokio::time::timeout(year, world.broker.outside.until(None)).await;
        never.expect_err("there is no moment");
        tokio::time::resume();
        world.broker.stop().await;
    });
}

#[test]
fn a_promise_that_is_never_kept_is_waited_for_for_a_while() {
    run(async {
        let world = World::new();
        tokio::time::pause();
        let never = || capnp_rpc::new_future_client(std::future::pending());
        let nobody = world.broker.account_behind(never()).await;
        nobody.expect_err("nobody is behind it");
        let view = ui_view::Client { client: never() };
        let nothing = world.broker.grain_behind(view).await;
        nothing.expect_err("no grain is behind it");
        tokio::time::resume();
        world.broker.stop().await;
    });
}
