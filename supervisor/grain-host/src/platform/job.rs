//! Scheduled jobs: what an app may ask to be woken for (sheet 3.4).

use std::time::{Duration, UNIX_EPOCH};

use capnp::Error;
use capnp::capability::{Client, FromClientHook};
use percloud_schemas::grain_capnp::{MINIMUM_SCHEDULING_SLACK, SchedulingPeriod, scheduled_job};
use percloud_schemas::host_capnp::job_schedule;

use super::seal::Recipient;
use super::{Platform, words};
use crate::membrane::Origin;

/// When a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Once, in a window of so many nanoseconds since the epoch, and so wide.
    Once {
        when: i64,
        slack: u64,
    },
    Again(SchedulingPeriod),
}

impl Platform {
    pub(super) async fn schedule(&self, job: scheduled_job::Reader<'_>) -> Result<(), Error> {
        let now = (self.clock)()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let due = due(
            job.get_schedule(),
            i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        )?;
        let name = words(job.get_name()?)?;
        let callback = job.get_callback();
        let callback = callback.map_err(|_| Error::failed("a job needs a callback".to_owned()))?;
        let callback: Client = callback.cast_to();
        if !matches!(self.origin(callback.clone()).await?, Origin::App { ties, .. } if ties.is_empty()) {
            return Err(Error::failed(
                "the callback of a job is an object of the app itself".to_owned(),
            ));
        }
        let token = self.save(callback, &Recipient::Platform, Some(name)).await?;
        let mut request = self.keeper().schedule_request();
        {
            let mut call = request.get();
            call.set_token(&token);
            call.set_name(name)?;
            due.write(call.init_job());
        }
        request.send().promise.await.map(drop)
    }
}

impl Due {
    fn write(self, mut job: job_schedule::Builder<'_>) {
        match self {
            Self::Once { when, slack } => {
                let mut once = job.init_one_shot();
                once.set_when(when);
                once.set_slack(slack);
            }
            Self::Again(period) => job.set_periodic(period),
        }
    }
}

/// When a job is due; `now` in nanoseconds since the epoch.
fn due(schedule: scheduled_job::schedule::Reader<'_>, now: i64) -> Result<Due, Error> {
    use scheduled_job::schedule::Which;
    Ok(match schedule.which()? {
        Which::OneShot(once) => {
            let when = once.get_when();
            let wait = when.checked_sub(now).filter(|wait| *wait >= 0);
            let wait =
                wait.ok_or_else(|| Error::failed("a job cannot be scheduled in the past".to_owned()))?;
            let slack = match once.get_slack() {
                0 => wait.unsigned_abs() / 8,
                slack => slack,
            };
            let slack = slack.max(MINIMUM_SCHEDULING_SLACK);
            Due::Once { when, slack }
        }
        Which::Periodic(period) => Due::Again(period?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    fn once(when: i64, slack: u64) -> Result<Due, Error> {
        let mut message = capnp::message::Builder::new_default();
        let mut job = message.init_root::<scheduled_job::Builder<'_>>();
        let mut once = job.reborrow().get_schedule().init_one_shot();
        once.set_when(when);
        once.set_slack(slack);
        due(job.into_reader().get_schedule(), 1000)
    }

    #[test]
    fn windows_are_never_narrower_than_the_platform_looks() {
        let five = 5 * MINUTE.unsigned_abs();
        for (wait, asked, slack) in [
            (80 * MINUTE, 0, 2 * five),
            (MINUTE, 0, five),
            (0, 0, five),
            (80 * MINUTE, 1, five),
            (MINUTE, 7 * five, 7 * five),
        ] {
            let when = 1000 + wait;
            assert_eq!(once(when, asked).unwrap(), Due::Once { when, slack });
        }
    }

    #[test]
    fn the_past_is_refused() {
        assert!(once(999, 0).unwrap_err().extra.contains("in the past"));
        assert!(once(i64::MIN, 0).is_err());
        assert!(once(i64::MAX, 0).is_ok());
    }
}
