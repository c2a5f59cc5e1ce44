//! Scheduled jobs: once per period, through restarts and failures.

use percloud_core::id::GrainId;
use percloud_schemas::grain_capnp::SchedulingPeriod;
use percloud_schemas::host_capnp::host_keeper;

use super::{World, run};
use crate::record::Job;

const HOUR: u64 = 60 * 60;

/// Has the latest grain host schedule a callback.
async fn schedule(
    keeper: &host_keeper::Client,
    object: &str,
    fill: impl FnOnce(percloud_schemas::host_capnp::job_schedule::Builder<'_>),
) -> Result<(), capnp::Error> {
    let mut request = keeper.save_request();
    request.get().get_object()?.get_id().set_as(object)?;
    request.get().init_seal().set_platform(());
    let token = request.send().promise.await?.get()?.get_token()?.to_vec();
    let mut request = keeper.schedule_request();
    request.get().set_token(&token);
    request.get().init_name().set_default_text("tidy up");
    fill(request.get().init_job());
    request.send().promise.await.map(drop)
}

/// The same, once per period.
async fn every(
    period: SchedulingPeriod,
    keeper: &host_keeper::Client,
    object: &str,
) -> Result<(), capnp::Error> {
    schedule(keeper, object, |mut job| job.set_periodic(period)).await
}

async fn world_with_grain() -> (World, crate::account::SignedIn, GrainId, host_keeper::Client) {
    let world = World::new();
    let anna = world.owner().await;
    world.app(&anna).await;
    let id = world.grain(&anna).await;
    world.broker.wake(&id).await.unwrap();
    let keeper = world.stage.keepers.borrow().last().unwrap().clone();
    (world, anna, id, keeper)
}

/// Lets the broker look at its jobs until `enough`.
async fn until(world: &World, enough: impl Fn(&World) -> bool) {
    until_after(world, std::future::ready(()), enough).await;
}

/// The same, where something happens once the broker waits.
async fn until_after(world: &World, happens: impl Future<Output = ()>, enough: impl Fn(&World) -> bool) {
    let keeping = tokio::task::spawn_local({
        let broker = world.broker.clone();
        async move { broker.keep_jobs().await }
    });
    happens.await;
    let done = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !enough(world) || !world.broker.running_jobs.borrow().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    let done = done.await;
    keeping.abort();
    let _ = keeping.await;
    done.expect("the jobs ran");
}

#[test]
fn a_periodic_job_runs_once_per_period_however_long_nobody_was_there() {
    run(async {
        let (world, anna, id, keeper) = world_with_grain().await;
        every(SchedulingPeriod::Hourly, &keeper, "hourly").await.unwrap();
        let jobs = world.broker.jobs(&anna, &id).await.unwrap();
        assert_eq!(
            (&jobs["jobs"][0]["name"], &jobs["jobs"][0]["period"]),
            (&"tidy up".into(), &"hourly".into())
        );
        world.pass(HOUR / 2);
        until(&world, |world| world.stage.ran.borrow().len() == 1).await;
        // Ten periods pass while the server stands still: one run, not ten.
        world.pass(10 * HOUR);
        until(&world, |world| world.stage.ran.borrow().len() == 2).await;
        let next = world.broker.jobs(&anna, &id).await.unwrap()["jobs"][0]["next"]
            .as_u64()
            .unwrap();
        let now = world.stage.now.get();
        assert!(next > now && next <= now + HOUR * 1000, "its rhythm goes on");
        assert_eq!(*world.stage.ran.borrow(), ["hourly", "hourly"]);
        world.broker.stop().await;
    });
}

#[test]
fn a_job_is_due_by_the_clock_however_long_the_machine_slept() {
    run(async {
        let (world, _, _, keeper) = world_with_grain().await;
        let when = i64::try_from((world.stage.now.get() + 10 * HOUR * 1000) * 1_000_000).unwrap();
        schedule(&keeper, "once", |job| job.init_one_shot().set_when(when))
            .await
            .unwrap();
        let night = async {
            tokio::task::yield_now().await;
            // It passes without the timers of a machine that was suspended.
            world.pass(20 * HOUR);
            tokio::time::pause();
            tokio::time::advance(std::time::Duration::from_secs(31)).await;
            tokio::time::resume();
        };
        until_after(&world, night, |world| world.stage.ran.borrow().len() == 1).await;
        world.broker.stop().await;
    });
}

#[test]
fn a_job_for_once_is_gone_when_it_has_run() {
    run(async {
        let (world, anna, id, keeper) = world_with_grain().await;
        let when = i64::try_from((world.stage.now.get() + 1000) * 1_000_000).unwrap();
        let once = |when| {
            move |job: percloud_schemas::host_capnp::job_schedule::Builder<'_>| {
                job.init_one_shot().set_when(when)
            }
        };
        assert!(
            schedule(&keeper, "late", once(when - 2_000_000_000))
                .await
                .is_err(),
            "the past"
        );
        schedule(&keeper, "once", once(when)).await.unwrap();
        world.pass(302);
        until(&world, |world| world.stage.ran.borrow().len() == 1).await;
        assert_eq!(
            world.broker.jobs(&anna, &id).await.unwrap()["jobs"]
                .as_array()
                .unwrap()
                .len(),
            0
        );
        world.broker.stop().await;
    });
}

#[test]
fn failures_are_shown_and_only_lost_connections_are_tried_again() {
    run(async {
        let (world, anna, id, keeper) = world_with_grain().await;
        every(SchedulingPeriod::Daily, &keeper, "job").await.unwrap();
        *world.stage.runs.borrow_mut() = vec![
            Ok(true),
            Err(capnp::Error::failed("no space in the attic".to_owned())),
            Err(capnp::Error::disconnected("gone".to_owned())),
        ];
        world.pass(12 * HOUR);
        until(&world, |world| world.stage.ran.borrow().len() == 1).await;
        world.pass(61);
        until(&world, |world| world.stage.ran.borrow().len() == 2).await;
        let job = world.broker.jobs(&anna, &id).await.unwrap()["jobs"][0].clone();
        assert!(
            job["problem"].as_str().unwrap().contains("no space in the attic"),
            "{job}"
        );
        // A day later it says that it is done for good.
        world.pass(24 * HOUR);
        until(&world, |world| world.stage.ran.borrow().len() == 3).await;
        assert_eq!(
            world.broker.jobs(&anna, &id).await.unwrap()["jobs"]
                .as_array()
                .unwrap()
                .len(),
            0
        );
        world.broker.stop().await;
    });
}

#[test]
fn a_grain_has_so_many_jobs_and_a_deleted_one_none() {
    run(async {
        let (world, anna, id, keeper) = world_with_grain().await;
        for _ in 0..50 {
            every(SchedulingPeriod::Weekly, &keeper, "job").await.unwrap();
        }
        assert!(every(SchedulingPeriod::Weekly, &keeper, "job").await.is_err());
        world.broker.trash_grain(&anna, &id).await.unwrap();
        world.broker.delete_grain(&anna, &id).await.unwrap();
        world.pass(8 * 24 * HOUR);
        until(&world, |_| true).await;
        assert!(world.stage.ran.borrow().is_empty());
        world.broker.stop().await;
    });
}

#[test]
fn a_grain_is_started_shortly_before_its_job_is_due_and_the_job_waits_for_its_time() {
    run(async {
        let (world, anna, id, keeper) = world_with_grain().await;
        every(SchedulingPeriod::Hourly, &keeper, "hourly").await.unwrap();
        world.broker.stop_grain(&id).await;
        let next = world.broker.jobs(&anna, &id).await.unwrap()["jobs"][0]["next"]
            .as_u64()
            .unwrap();
        world.stage.now.set(next - 4_000);
        until(&world, |world| world.broker.slot(&id).running().is_some()).await;
        assert!(world.stage.ran.borrow().is_empty(), "it is not due");
        world.stage.now.set(next);
        until(&world, |world| world.stage.ran.borrow().len() == 1).await;
        world.broker.stop().await;
    });
}

#[test]
fn a_job_that_cannot_be_put_away_has_run_all_the_same() {
    run(async {
        let (world, anna, id, keeper) = world_with_grain().await;
        every(SchedulingPeriod::Hourly, &keeper, "hourly").await.unwrap();
        let when = i64::try_from((world.stage.now.get() + 1000) * 1_000_000).unwrap();
        schedule(&keeper, "once", |job| job.init_one_shot().set_when(when))
            .await
            .unwrap();
        world.broker.store.keep_free(u64::MAX, u64::MAX);
        world.pass(HOUR / 2);
        until(&world, |world| world.stage.ran.borrow().len() == 2).await;
        world.pass(120);
        until(&world, |_| true).await;
        assert_eq!(world.stage.ran.borrow().len(), 2, "each of them once");
        world.broker.store.keep_free(0, 0);
        world.pass(HOUR);
        until(&world, |world| world.stage.ran.borrow().len() == 3).await;
        assert_eq!(world.stage.ran.borrow()[2], "hourly", "its rhythm goes on");
        let jobs = world.broker.jobs(&anna, &id).await.unwrap();
        let next = jobs["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|job| job["period"] == "hourly");
        assert!(
            next.unwrap()["next"].as_u64().unwrap() > world.stage.now.get(),
            "{jobs}"
        );
        world.broker.stop().await;
    });
}

#[test]
fn no_job_runs_where_a_failed_store_could_not_say_that_it_did() {
    run(async {
        let (world, anna, _id, keeper) = world_with_grain().await;
        every(SchedulingPeriod::Hourly, &keeper, "hourly").await.unwrap();
        let store = world.broker.config.layout.store();
        std::fs::rename(&store, store.with_extension("elsewhere")).unwrap();
        assert!(world.broker.invite(&anna, "{}").await.is_err());
        world.pass(HOUR);
        let keeping = tokio::task::spawn_local({
            let broker = world.broker.clone();
            async move { broker.keep_jobs().await }
        });
        // One that is due begins within a few turns, as the test before this one shows with a full disk.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            assert!(world.broker.running_jobs.borrow().is_empty());
        }
        assert!(world.stage.ran.borrow().is_empty());
        keeping.abort();
    });
}

#[test]
fn a_grain_that_cannot_be_deleted_keeps_its_jobs() {
    run(async {
        let (world, anna, id, keeper) = world_with_grain().await;
        every(SchedulingPeriod::Weekly, &keeper, "job").await.unwrap();
        world.broker.trash_grain(&anna, &id).await.unwrap();
        let left = || world.broker.store.scan::<Job>(b"").unwrap().len();
        world.broker.store.keep_free(u64::MAX, u64::MAX);
        world.broker.delete_grain(&anna, &id).await.unwrap_err();
        assert_eq!(left(), 1);
        world.broker.store.keep_free(u64::MAX, 0);
        world.broker.delete_grain(&anna, &id).await.unwrap();
        assert_eq!(left(), 0);
        world.broker.stop().await;
    });
}
