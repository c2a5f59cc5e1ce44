//! Scheduled jobs: what an app wants run later, and again and again (sheet 3.4).
//!
//! A job is taken up durably before it runs and put away durably when it has run: one that was interrupted by a crash
//! of the server runs again, one that has run does not. Copies and restored backups of a grain have no jobs.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use capnp::ErrorKind;
use percloud_core::id::{GrainId, JobId};
use percloud_core::time::Timestamp;
use percloud_schemas::grain_capnp::SchedulingPeriod;
use percloud_schemas::host_capnp::job_schedule;
use percloud_store::{Batch, CommitError, ReadError, Store};
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::catalogue::each;
use crate::keeper::write_object;
use crate::problem::Problem;
use crate::record::{Grain, Job, Period, grain_key};

/// Jobs one grain may have (sheet 3.4).
const JOBS: usize = 50;
/// Least slack, in milliseconds (sheet 3.4: 300 s).
const SLACK: u64 = 300_000;
/// How often a job is tried whose app goes away while it runs.
const TRIES: u32 = 5;
/// How long one run may take.
const RUN: Duration = Duration::from_secs(15 * 60);
/// Longest text of an error kept, in characters (sheet 3.4).
const PROBLEM: usize = 200;
/// Its grain is started so many milliseconds before a job is due.
const LEAD: u64 = 5_000;
/// Milliseconds between two tries.
const PAUSE: u64 = 60_000;

impl Period {
    /// Its length in milliseconds; months and years by the calendar's average, which is near enough for "about once a".
    fn length(self) -> u64 {
        const HOUR: u64 = 3_600_000;
        const DAY: u64 = 24 * HOUR;
        match self {
            Self::Hourly => HOUR,
            Self::Daily => DAY,
            Self::Weekly => 7 * DAY,
            Self::Monthly => 2_629_746_000,
            Self::Annually => 12 * 2_629_746_000,
        }
    }
}

fn key(grain: &GrainId, id: &JobId) -> Vec<u8> {
    format!("{grain}/{id}").into_bytes()
}

fn read_key(key: &[u8]) -> Option<(GrainId, JobId)> {
    let (grain, id) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some((grain.parse().ok()?, id.parse().ok()?))
}

/// When jobs are due, by the keys of their records; the store has the jobs.
#[derive(Default)]
pub(crate) struct Timetable {
    due: BTreeSet<(Timestamp, Vec<u8>)>,
    times: HashMap<Vec<u8>, Timestamp>,
}

impl Timetable {
    /// Takes up what the store has.
    pub(crate) fn load(store: &Store) -> Result<Self, ReadError> {
        let mut timetable = Self::default();
        each::<Job>(store, |record, job| timetable.put(record, Some(job.next)))?;
        Ok(timetable)
    }

    /// Takes up when a job is due, or that it is gone.
    fn put(&mut self, record: Vec<u8>, next: Option<Timestamp>) {
        let before = match next {
            Some(next) => self.times.insert(record.clone(), next),
            None => self.times.remove(&record),
        };
        if let Some(before) = before {
            self.due.remove(&(before, record.clone()));
        }
        if let Some(next) = next {
            self.due.insert((next, record));
        }
    }

    /// What is due by `now`, what will be within `lead` milliseconds, and when to look again.
    fn look(&self, now: Timestamp, lead: u64) -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Option<Timestamp>) {
        let due = self.due.iter().take_while(|(next, _)| *next <= now);
        let due: Vec<Vec<u8>> = due.map(|(_, record)| record.clone()).collect();
        let after = |time: u64| (Timestamp(time.saturating_add(1)), Vec::new());
        let ahead = now.0.saturating_add(lead);
        let coming = self.due.range(after(now.0)..after(ahead));
        let next = coming.clone().next().map(|(next, _)| *next);
        let later = self.due.range(after(ahead)..).next();
        let later = later.map(|(next, _)| Timestamp(next.0.saturating_sub(lead)));
        let coming = coming.map(|(_, record)| record.clone()).collect();
        (due, coming, [next, later].into_iter().flatten().min())
    }
}

impl Broker {
    /// A random moment within `span` milliseconds.
    fn within(&self, span: u64) -> u64 {
        let mut bytes = [0; 8];
        (self.outside.random)(&mut bytes);
        u64::from_le_bytes(bytes) % span.max(1)
    }

    /// Takes a job up.
    pub(crate) async fn schedule(
        self: &Rc<Self>,
        grain: &GrainId,
        object: String,
        name: &str,
        schedule: job_schedule::Reader<'_>,
    ) -> Result<(), Problem> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Problem::BadRequest(format!("the schedule cannot be read: {error}"))
        };
        let now = self.outside.now();
        let (period, next) = match schedule.which().map_err(|error| unreadable(&error))? {
            job_schedule::OneShot(once) => {
                let when = u64::try_from(once.get_when() / 1_000_000).unwrap_or(0);
                if when <= now.0 {
                    return Err(Problem::BadRequest("the time is in the past".to_owned()));
                }
                let slack = match once.get_slack() / 1_000_000 {
                    0 => (when - now.0) / 8,
                    slack => slack,
                };
                (None, when.saturating_add(self.within(slack.max(SLACK))))
            }
            job_schedule::Periodic(period) => {
                let period = match period.map_err(|error| unreadable(&error))? {
                    SchedulingPeriod::Hourly => Period::Hourly,
                    SchedulingPeriod::Daily => Period::Daily,
                    SchedulingPeriod::Weekly => Period::Weekly,
                    SchedulingPeriod::Monthly => Period::Monthly,
                    SchedulingPeriod::Annually => Period::Annually,
                };
                (Some(period), now.0 + self.within(period.length() / 2))
            }
        };
        if self.jobs_of(grain)?.len() >= JOBS {
            return Err(Problem::BadRequest(format!(
                "a grain has at most {JOBS} scheduled jobs"
            )));
        }
        let job = Job {
            object,
            name: name
                .chars()
                .filter(|letter| !letter.is_control())
                .take(PROBLEM)
                .collect(),
            period,
            next: Timestamp(next),
            created: now,
            tries: 0,
            problem: None,
        };
        let id = JobId::new(|bytes| (self.outside.random)(bytes));
        let mut batch = Batch::new();
        let record = key(grain, &id);
        batch.put(&record, &job);
        self.commit(batch).await?;
        self.timetable.borrow_mut().put(record, Some(job.next));
        self.jobs_changed.send_replace(());
        Ok(())
    }

    fn jobs_of(&self, grain: &GrainId) -> Result<Vec<(JobId, Job)>, Problem> {
        let all = self.store.scan::<Job>(format!("{grain}/").as_bytes());
        let all = all.map_err(|error| Problem::internal("read the store", &error))?;
        Ok(all
            .into_iter()
            .filter_map(|(key, job)| Some((read_key(&key)?.1, job)))
            .collect())
    }

    /// The jobs of a grain, for its owner.
    pub(crate) async fn jobs(&self, who: &SignedIn, grain: &GrainId) -> Result<Value, Problem> {
        self.own_grain(who, grain)?;
        let mut jobs = self.jobs_of(grain)?;
        jobs.sort_by_key(|(_, job)| job.next);
        let jobs: Vec<Value> = jobs
            .iter()
            .map(|(id, job)| {
                json!({"id": id, "name": job.name, "period": job.period, "next": job.next,
                       "created": job.created, "problem": job.problem})
            })
            .collect();
        Ok(json!({"jobs": jobs}))
    }

    /// Ends a job; one that runs at the moment runs to its end and not again.
    pub(crate) async fn end_job(&self, grain: &GrainId, id: &JobId) -> Result<(), Problem> {
        let record = key(grain, id);
        self.read::<Job>(&record)?.ok_or(Problem::NotFound)?;
        let mut batch = Batch::new();
        batch.delete::<Job>(&record);
        self.commit(batch).await?;
        self.timetable.borrow_mut().put(record, None);
        Ok(())
    }

    /// Has a batch forget the jobs of a grain; returns what [`Broker::no_longer_due`] is to hear once it is committed.
    pub(crate) fn forget_jobs(&self, batch: &mut Batch, grain: &GrainId) -> Result<Vec<Vec<u8>>, Problem> {
        let jobs = self.jobs_of(grain)?;
        let records: Vec<Vec<u8>> = jobs.iter().map(|(id, _)| key(grain, id)).collect();
        for record in &records {
            batch.delete::<Job>(record);
        }
        Ok(records)
    }

    /// Takes note that these jobs are gone.
    pub(crate) fn no_longer_due(&self, records: Vec<Vec<u8>>) {
        let mut timetable = self.timetable.borrow_mut();
        records.into_iter().for_each(|record| timetable.put(record, None));
    }

    /// Runs what is due, when it is due. Runs for as long as the server does.
    pub async fn keep_jobs(self: &Rc<Self>) {
        let mut changed = self.jobs_changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.store.has_failed() {
                // That a job has run could not be put away. What is due runs when everything has begun anew.
                return std::future::pending().await;
            }
            let (due, coming, soonest) = self.timetable.borrow().look(self.outside.now(), LEAD);
            for record in coming {
                if let Some((grain, _)) = read_key(&record)
                    && self.is_kept(&grain)
                {
                    self.start_ahead(&grain);
                }
            }
            for record in due {
                let Some((grain, id)) = read_key(&record) else {
                    continue;
                };
                let Ok(Some(job)) = self.read::<Job>(&record) else {
                    continue;
                };
                if let Entry::Vacant(free) = self.running_jobs.borrow_mut().entry(id.clone()) {
                    free.insert(grain.clone());
                    let broker = self.clone();
                    tokio::task::spawn_local(async move {
                        let turn = broker.job_turns.acquire().await;
                        if broker.can_be_put_away(&record, &job).await {
                            broker.run_job(&grain, &id, job).await;
                        }
                        drop(turn);
                        broker.running_jobs.borrow_mut().remove(&id);
                        broker.jobs_changed.send_replace(());
                    });
                }
            }
            tokio::select! {
                () = self.outside.until(soonest) => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Whether a grain is there and not in the trash.
    fn is_kept(&self, grain: &GrainId) -> bool {
        let record = self.read::<Grain>(grain_key(grain)).ok().flatten();
        record.is_some_and(|record| record.trashed.is_none())
    }

    /// Whether a job can be put away once it has run. Where a broker follows on one whose store failed, that shows only in
    /// a commit: without one, each of ever so many brokers would run it.
    async fn can_be_put_away(&self, record: &[u8], job: &Job) -> bool {
        if self.has_saved.get() {
            return !self.store.has_failed();
        }
        let mut batch = Batch::new();
        batch.frees_space();
        batch.expect_present::<Job>(record);
        batch.put(record, job);
        let next = match self.store.commit(batch).await {
            Ok(()) => {
                self.has_saved.set(true);
                return true;
            }
            Err(CommitError::Conflict { .. }) => None,
            Err(error) => {
                tracing::warn!("a job that is due waits, for that it has run could not be saved: {error}");
                Some(Timestamp(self.outside.now().0.saturating_add(PAUSE)))
            }
        };
        self.timetable.borrow_mut().put(record.to_vec(), next);
        false
    }

    async fn run_job(self: &Rc<Self>, grain: &GrainId, id: &JobId, mut job: Job) {
        let outcome = self.call_job(grain, &job).await;
        let now = self.outside.now();
        let mut batch = Batch::new();
        let record = key(grain, id);
        let again = |job: &mut Job| match job.period {
            // The next of its own rhythm that is still to come; what was missed meanwhile is not made up for.
            Some(period) => {
                let missed = now.0.saturating_sub(job.next.0) / period.length();
                job.next = Timestamp(job.next.0 + (missed + 1) * period.length());
                job.tries = 0;
                true
            }
            None => false,
        };
        let keep = match outcome {
            Ok(true) => false,
            Ok(false) => {
                job.problem = None;
                again(&mut job)
            }
            Err(Failure::Gone(reason)) if job.tries + 1 < TRIES => {
                job.tries += 1;
                job.problem = Some(reason);
                job.next = Timestamp(now.0 + PAUSE);
                true
            }
            Err(Failure::Gone(reason) | Failure::Said(reason)) => {
                job.problem = Some(reason);
                // One that was to run once stays, for its owner to see, and is not tried again.
                if !again(&mut job) {
                    job.next = Timestamp(u64::MAX);
                }
                true
            }
        };
        // A job that ran must be put away, or it runs again: a full disk is no reason.
        batch.frees_space();
        // It may have been forgotten while it ran.
        batch.expect_present::<Job>(&record);
        if keep {
            batch.put(&record, &job);
        } else {
            batch.delete::<Job>(&record);
        }
        let next = match self.store.commit(batch).await {
            Ok(()) => keep.then_some(job.next),
            Err(CommitError::Conflict { .. }) => {
                tracing::debug!(grain = %grain, "a job that ran is gone");
                None
            }
            // The record says that it is due, this that it has run: only a server that is started anew runs it again.
            Err(error) => {
                tracing::warn!(grain = %grain, "a job ran and could not be put away: {error}");
                keep.then(|| job.next.max(Timestamp(now.0.saturating_add(PAUSE))))
            }
        };
        self.timetable.borrow_mut().put(record, next);
    }

    async fn call_job(self: &Rc<Self>, grain: &GrainId, job: &Job) -> Result<bool, Failure> {
        let said = |text: String| Failure::Said(text.chars().take(PROBLEM).collect());
        if !self.is_kept(grain) {
            return Err(said("this is in the trash".to_owned()));
        }
        let running = self
            .wake(grain)
            .await
            .map_err(|problem| Failure::Gone(problem.to_string()))?;
        let mut request = running.host.run_job_request();
        write_object(&job.object, request.get().init_object()).map_err(|error| said(error.extra))?;
        let answer = tokio::time::timeout(RUN, request.send().promise).await;
        match answer {
            Err(_) => Err(said(format!(
                "it took longer than {} minutes",
                RUN.as_secs() / 60
            ))),
            Ok(Err(error)) if error.kind == ErrorKind::Disconnected => {
                Err(Failure::Gone(error.extra.chars().take(PROBLEM).collect()))
            }
            Ok(Err(error)) => Err(said(error.extra)),
            Ok(Ok(answer)) => Ok(answer.get().is_ok_and(|answer| answer.get_cancel_future_runs())),
        }
    }
}

/// Why a job did not run.
enum Failure {
    /// Its app went away; worth another try.
    Gone(String),
    /// Its app said so.
    Said(String),
}
