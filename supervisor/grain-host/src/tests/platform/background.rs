//! What goes on with nobody there: wake locks and jobs.

use std::cell::Cell;
use std::rc::Rc;

use capnp::ErrorKind;
use capnp::capability::FromClientHook;
use percloud_schemas::activity_capnp::ongoing_notification;
use percloud_schemas::grain_capnp::SchedulingPeriod;
use percloud_schemas::util_capnp::handle;

use super::super::app::{Thing, ThingClient};
use super::super::rig::{Grain, NOW, refusal, until, with_grain};
use super::visit_of;

/// The app's notification: counts how often it was canceled.
struct Ours(Rc<Cell<usize>>);

impl ongoing_notification::Server for Ours {
    async fn cancel(
        self: Rc<Self>,
        _: ongoing_notification::CancelParams,
        _: ongoing_notification::CancelResults,
    ) -> Result<(), capnp::Error> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

async fn stay_awake(
    grain: &Grain,
    caption: &str,
    canceled: &Rc<Cell<usize>>,
) -> Result<handle::Client, capnp::Error> {
    let mut request = grain.api.stay_awake_request();
    request
        .get()
        .init_display_info()
        .init_caption()
        .set_default_text(caption);
    request
        .get()
        .set_notification(capnp_rpc::new_client(Ours(Rc::clone(canceled))));
    request.send().promise.await?.get()?.get_handle()
}

#[test]
fn a_wake_lock_lasts_until_its_handle_is_dropped_or_its_owner_cancels() {
    with_grain(|grain| async move {
        let canceled = Rc::new(Cell::new(0));
        let wake = Rc::clone(&grain.wired.wake);
        let shown = Rc::clone(&grain.broker().shown);
        let first = stay_awake(&grain, "syncing", &canceled).await.unwrap();
        let second = stay_awake(&grain, "indexing", &canceled).await.unwrap();
        assert_eq!(*grain.broker().told.borrow(), ["syncing", "indexing"]);
        assert!(wake.are_held());
        assert_eq!(shown.get(), 2);

        drop(first);
        until(|| shown.get() == 1).await;
        assert!(wake.are_held(), "the other one");
        let used = grain.wired.realm.touches();

        let notification = grain.broker().notifications.borrow_mut().pop().unwrap();
        notification.cancel_request().send().promise.await.unwrap();
        until(|| shown.get() == 0).await;
        assert_eq!(canceled.get(), 1, "the app is told");
        assert!(!wake.are_held(), "though the app holds its handle");
        assert!(grain.wired.realm.touches() > used, "letting go is use");
        second.ping_request().send().promise.await.unwrap();
        notification.cancel_request().send().promise.await.unwrap();
        assert_eq!(canceled.get(), 1, "only once");

        // The first lock is gone; canceling it now reaches nobody.
        let first = grain.broker().notifications.borrow_mut().pop().unwrap();
        first.cancel_request().send().promise.await.unwrap();
        assert_eq!(canceled.get(), 1);

        let third = stay_awake(&grain, "again", &canceled).await.unwrap();
        grain.broker().notifications.borrow_mut().clear();
        third.ping_request().send().promise.await.unwrap();
        assert!(
            wake.are_held() && shown.get() == 1,
            "its notification is gone, its handle is not"
        );
    });
}

#[test]
fn a_refused_wake_lock_is_none_and_there_are_so_many() {
    with_grain(|grain| async move {
        let canceled = Rc::new(Cell::new(0));
        assert!(refusal(stay_awake(&grain, "no", &canceled).await).contains("does not want"));
        assert!(!grain.wired.wake.are_held());
        let mut locks = Vec::new();
        let refused = loop {
            match stay_awake(&grain, "more", &canceled).await {
                Ok(lock) => locks.push(lock),
                Err(error) => break error,
            }
        };
        assert_eq!((locks.len(), refused.kind), (64, ErrorKind::Overloaded));
        drop(locks);
        until(|| !grain.wired.wake.are_held()).await;
    });
}

#[test]
fn jobs_are_scheduled_with_the_apps_own_objects() {
    const MINUTE: u64 = 60_000_000_000;
    with_grain(|grain| async move {
        let now = i64::try_from(NOW * 1_000_000_000).unwrap();
        let once = |callback: ThingClient, when: i64, slack: u64| {
            let mut request = grain.api.schedule_request();
            let mut job = request.get();
            job.reborrow().init_name().set_default_text("tidy up");
            job.set_callback(callback.cast_to());
            let mut once = job.get_schedule().init_one_shot();
            once.set_when(when);
            once.set_slack(slack);
            request.send().promise
        };
        let (_, job) = grain.app.thing("job");
        once(job.clone(), now, 1).await.unwrap();
        assert_eq!(
            grain.broker().told.take(),
            [format!("tidy up at {now} for {}", 5 * MINUTE)]
        );
        let tokens = grain.broker().tokens.borrow().len();
        assert!(refusal(once(job.clone(), now - 1, 1).await).contains("in the past"));
        assert!(refusal(once(grain.app.thing("passing").1, now, 1).await).contains("cannot be saved"));
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        assert!(refusal(once(ada.cast_to(), now, 1).await).contains("an object of the app itself"));
        assert_eq!(
            grain.broker().tokens.borrow().len(),
            tokens,
            "nothing is left behind"
        );

        let mut request = grain.api.schedule_request();
        request.get().set_callback(job.cast_to());
        request
            .get()
            .get_schedule()
            .set_periodic(SchedulingPeriod::Weekly);
        request.send().promise.await.unwrap();
        assert_eq!(grain.broker().told.take(), [" Weekly"]);
    });
}

#[test]
fn jobs_are_run_and_objects_dropped_as_the_broker_says() {
    with_grain(|grain| async move {
        let run = |object: &str| {
            let mut request = grain.host.run_job_request();
            request.get().init_object().get_id().set_as(object).unwrap();
            let answer = request.send().promise;
            async move { Ok::<_, capnp::Error>(answer.await?.get()?.get_cancel_future_runs()) }
        };
        assert!(!run("job").await.unwrap());
        assert!(run("last").await.unwrap());
        assert!(
            grain
                .app
                .restored
                .borrow()
                .iter()
                .all(|job: &Rc<Thing>| job.runs.get() == 1)
        );
        assert!(refusal(run("gone").await).contains("there is no such thing"));
        assert_eq!(grain.wired.realm.pending(), 0);

        let forget = |object: &str| {
            let mut request = grain.host.drop_object_request();
            request.get().init_object().get_id().set_as(object).unwrap();
            request.send().promise
        };
        forget("note").await.unwrap();
        forget("kept").await.unwrap();
        assert!(refusal(forget("stuck").await).contains("the disk is full"));
        assert_eq!(*grain.app.dropped.borrow(), ["note"]);
    });
}
