//! Grains that are kept and do not run, all of one person: 10, 1,000, 100,000.

use std::time::Instant;

use percloud_tests::Server;

use super::{Place, ask, copies, median, open};
use crate::Plan;
use crate::curve::{Axis, Curve, Line};
use crate::failure::Failure;
use crate::figures::Series;
use crate::http::client::Shell;
use crate::process::pss_bytes;
use crate::summary::{Better, Entry};

/// Grains that are made as people make them; the others are copies of these.
const MADE: usize = 10;
const TITLE: &str = "Kumquat ledger";

struct Full {
    count: usize,
    shell: Shell,
    grain: String,
    server: Server,
    /// Seconds until it was ready.
    start: f64,
    /// Bytes of all its processes then.
    memory: f64,
    open: Series,
    list: Series,
    home: Series,
    search: Series,
}

fn prepare(count: usize) -> Result<Full, Failure> {
    println!("Preparing a server that keeps {count} grains …");
    let Place {
        mut server,
        shell,
        app,
        ..
    } = Place::new()?;
    let grains = (0..MADE)
        .map(|_| shell.create(&app))
        .collect::<Result<Vec<String>, Failure>>()?;
    for grain in &grains {
        open(&shell, &mut shell.connect()?, grain)?;
        shell.put_to_sleep(grain)?;
    }
    let grain = grains[0].clone();
    shell.rename(&grain, TITLE)?;
    drop(shell);
    server.stop();
    copies::fill(&server.data(), count)?;
    let since = Instant::now();
    server.run();
    let start = since.elapsed().as_secs_f64();
    let shell = Shell::sign_in(&server)?;
    let pids: Vec<u32> = server.processes().iter().map(|process| process.pid).collect();
    Ok(Full {
        count,
        shell,
        grain,
        start,
        memory: pss_bytes(&pids)? as f64,
        server,
        open: Series::default(),
        list: Series::default(),
        home: Series::default(),
        search: Series::default(),
    })
}

pub fn measure(plan: &Plan, entries: &mut Vec<Entry>, curves: &mut Vec<Curve>) -> Result<(), Failure> {
    let counts: &[usize] = if plan.quick {
        &[10, 1000]
    } else {
        &[10, 1000, 100_000]
    };
    let rounds = if plan.quick { 5 } else { 40 };
    let mut full = counts
        .iter()
        .map(|count| prepare(*count))
        .collect::<Result<Vec<Full>, Failure>>()?;
    println!("Asking them in turns …");
    for round in 0..=rounds {
        for place in &mut full {
            place.shell.put_to_sleep(&place.grain)?;
            // A new one each time: a server closes those that wait for long, and preparing the last takes minutes.
            let connection = &mut place.shell.connect()?;
            let seen = [
                open(&place.shell, connection, &place.grain)?,
                ask(connection, "/api/grains?limit=10")?,
                ask(connection, "/api/grains?search=kumquat&limit=10")?,
                // Last: a page of two hundred leaves nothing in the processor's caches to whoever asks next.
                ask(connection, "/api/home")?,
            ];
            // The first round warms what a server in use has warm.
            if round > 0 {
                let series = [
                    &mut place.open,
                    &mut place.list,
                    &mut place.search,
                    &mut place.home,
                ];
                series
                    .into_iter()
                    .zip(seen)
                    .for_each(|(series, value)| series.push(value));
            }
        }
    }
    let (few, many) = (&full[0], &full[full.len() - 1]);
    let entry = |name, series: fn(&Full) -> &Series| {
        Entry::alone(name, "ms", median(series(many)), Better::Lower)
            .against(
                &format!("the same with {} stored", few.count),
                series(few).median(),
            )
            .with_note(format!("{} stored grains of one person", many.count))
    };
    entries.push(entry("scale_stored_open", |full| &full.open));
    entries.push(entry("scale_stored_list", |full| &full.list));
    entries.push(entry("scale_stored_search", |full| &full.search));
    let line = |name: &str, value: &dyn Fn(&Full) -> f64| {
        let mut line = Line::new(name);
        for place in &full {
            line.push(place.count as f64, Some(value(place)));
        }
        line
    };
    let stored = || Axis::log("stored grains of one person");
    let times = vec![
        line("open a sleeping one", &|full| median(&full.open)),
        line("list the ten used last", &|full| median(&full.list)),
        line("find one by a word", &|full| median(&full.search)),
        line("home page: apps, 200 grains at most", &|full| median(&full.home)),
    ];
    let note = "Medians over HTTP; the servers run side by side and are asked in turns. Of a small server the home page is smaller.";
    curves.push(
        Curve::new(
            "stored",
            "Time by stored grains",
            stored(),
            Axis::log("ms"),
            times,
        )
        .with_note(note),
    );
    let start = vec![line("until the server is ready", &|full| full.start)];
    curves.push(
        Curve::new(
            "stored_start",
            "Start of the server by stored grains",
            stored(),
            Axis::linear("s"),
            start,
        )
        .with_note("Opening the store verifies every record; the indexes are made from it."),
    );
    let memory = vec![line("all processes, none of them an app", &|full| {
        full.memory / 1e6
    })];
    curves.push(
        Curve::new(
            "stored_memory",
            "Memory of the server by stored grains",
            stored(),
            Axis::linear("MB"),
            memory,
        )
        .with_note("Proportional set size right after the start."),
    );
    for mut place in full {
        place.server.stop();
    }
    Ok(())
}
