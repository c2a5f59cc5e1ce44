//! Many people open sleeping grains at the same moment.

use std::sync::Barrier;
use std::thread;

use super::{Place, open};
use crate::Plan;
use crate::curve::{Axis, Curve, Line};
use crate::failure::Failure;
use crate::figures::Series;
use crate::summary::{Better, Entry};

pub fn measure(plan: &Plan, entries: &mut Vec<Entry>, curves: &mut Vec<Curve>) -> Result<(), Failure> {
    let counts: &[usize] = if plan.quick {
        &[1, 10]
    } else {
        &[1, 10, 50, 100, 200, 500]
    };
    println!("Opening many grains at once …");
    let place = Place::new()?;
    let most = counts[counts.len() - 1];
    let grains = place.create(most)?;
    // What an app says of itself is kept at its first start; a grain that sleeps has had that.
    for some in grains.chunks(50) {
        at_once(&place, some)?;
        for grain in some {
            place.shell.put_to_sleep(grain)?;
        }
    }
    let (mut half, mut slow) = (Line::new("p50"), Line::new("p99"));
    let mut figures = Series::default();
    for count in counts {
        let times = at_once(&place, &grains[..*count])?;
        half.push(*count as f64, times.quantile(0.5));
        slow.push(*count as f64, times.quantile(0.99));
        figures = times;
        for grain in &grains[..*count] {
            place.shell.put_to_sleep(grain)?;
        }
    }
    let p99 = figures.quantile(0.99).unwrap_or(f64::NAN);
    entries.push(
        Entry::alone("scale_parallel_opens", "ms", p99, Better::Lower).with_note(format!(
            "p99 of {most} sleeping grains opened at once, all answered; p50 {:.0} ms",
            figures.median().unwrap_or(f64::NAN)
        )),
    );
    curves.push(
        Curve::new(
            "parallel_opens",
            "Sleeping grains opened at once",
            Axis::log("opened at the same moment"),
            Axis::log("ms, click to first byte"),
            vec![half, slow],
        )
        .with_note("Every one is answered. The clients use the same two cores as the server."),
    );
    Ok(())
}

/// Opens all of them at once; the time of each. One that is not answered is a failure.
fn at_once(place: &Place, grains: &[String]) -> Result<Series, Failure> {
    let start = Barrier::new(grains.len());
    let times: Vec<Result<f64, Failure>> = thread::scope(|scope| {
        let openings: Vec<_> = grains
            .iter()
            .map(|grain| {
                let start = &start;
                scope.spawn(move || {
                    let connection = place.shell.connect();
                    start.wait();
                    open(&place.shell, &mut connection?, grain)
                })
            })
            .collect();
        let ended = openings.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|ended| ended.unwrap_or_else(|_| Err(Failure::new("an opening panicked"))))
            .collect()
    });
    let mut series = Series::default();
    for time in times {
        series.push(time?);
    }
    Ok(series)
}
