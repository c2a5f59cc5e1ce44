//! From the click on a grain to the first byte of its page, as the browser does it: ask the shell to open, enter the new
//! host on a new connection, request the page on it.

use std::time::Instant;

use super::client::Shell;
use crate::Plan;
use crate::failure::Failure;
use crate::figures::Series;
use crate::summary::{Better, Entry};

pub fn measure(plan: &Plan, shell: &Shell, app: &str) -> Result<Vec<Entry>, Failure> {
    let rounds = if plan.quick { 5 } else { 60 };
    let grain = shell.create(app)?;
    let mut connection = shell.connect()?;
    let (mut asleep, mut awake) = (Series::default(), Series::default());
    for round in 0..=rounds {
        shell.put_to_sleep(&grain)?;
        for series in [&mut asleep, &mut awake] {
            let click = Instant::now();
            let mut visit = shell.open_on(&mut connection, &grain)?;
            let first_byte = visit.connection.get("/small")?.first_byte;
            // The first round warms caches that a server in use has warm.
            if round > 0 {
                series.push((first_byte - click).as_secs_f64() * 1e3);
            }
        }
    }
    let entry = |name, series: &Series| {
        let (median, p99) = (
            series.median().unwrap_or(f64::NAN),
            series.quantile(0.99).unwrap_or(f64::NAN),
        );
        Entry::alone(name, "ms", median, Better::Lower).with_note(format!("p99 {p99:.1} ms, {rounds} rounds"))
    };
    Ok(vec![entry("open_sleeping", &asleep), entry("open_warm", &awake)])
}
