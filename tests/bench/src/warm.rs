//! Group `warm`: opening again what was used lately, of apps that take long to start: from the click to the first byte of
//! the app's own page, against the same from sleep. The app is the software as its authors publish it.

use std::time::Instant;

use percloud_tests::{Server, built};

use crate::Plan;
use crate::failure::Failure;
use crate::figures::Series;
use crate::http::client::Shell;
use crate::summary::{Better, Entry};

pub const NAMES: [&str; 2] = ["reopen_radicale", "reopen_tiddlywiki"];

/// Each figure, the sample it is about, and the page that is asked for.
const APPS: [(&str, &str, &str); 2] = [(NAMES[0], "radicale", "/.web/"), (NAMES[1], "tiddlywiki", "/")];

/// Runs what the plan wants of this group.
pub fn run(plan: &Plan, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    println!("Opening slow apps again …");
    let server = Server::start();
    let shell = Shell::set_up(&server)?;
    let mut failures = Vec::new();
    for (name, sample, page) in APPS {
        if plan.wants(&[name]) {
            match measure(plan, &shell, name, sample, page) {
                Ok(entry) => entries.push(entry),
                Err(failure) => failures.push(failure.to_string()),
            }
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failures.join("; "))),
    }
}

fn measure(plan: &Plan, shell: &Shell, name: &str, sample: &str, page: &str) -> Result<Entry, Failure> {
    let (starts, reopenings) = if plan.quick { (1, 2) } else { (5, 12) };
    let package = built::target("samples").join(format!("{sample}.spk"));
    let grain = shell.create(&shell.install(&package)?)?;
    let mut connection = shell.connect()?;
    // From the click to the first byte, and what the same page then takes where it is open already: the app's own part.
    let mut open = || -> Result<(f64, f64), Failure> {
        let click = Instant::now();
        let mut visit = shell.open_on(&mut connection, &grain)?;
        let opened = visit.connection.get(page)?.first_byte - click;
        let again = Instant::now();
        let page = visit.connection.get(page)?.first_byte - again;
        Ok((opened.as_secs_f64() * 1e3, page.as_secs_f64() * 1e3))
    };
    // What an app makes of an empty folder is made once.
    open()?;
    let (mut asleep, mut awake, mut open_already) = (Series::default(), Series::default(), Series::default());
    for _ in 0..starts {
        shell.put_to_sleep(&grain)?;
        asleep.push(open()?.0);
        for _ in 0..reopenings {
            let (opened, page) = open()?;
            awake.push(opened);
            open_already.push(page);
        }
    }
    let p99 = awake.quantile(0.99).unwrap_or(f64::NAN);
    let page = open_already.median().unwrap_or(f64::NAN);
    Ok(
        Entry::alone(name, "ms", awake.median().unwrap_or(f64::NAN), Better::Lower)
            .against("from sleep", asleep.median())
            .with_note(format!(
                "p99 {p99:.1} ms, {} rounds; the page alone, once it is open: {page:.1} ms",
                starts * reopenings
            )),
    )
}
