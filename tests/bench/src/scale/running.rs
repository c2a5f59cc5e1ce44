//! Grains that run, idle, with a page open each: 1, 10, 100, 1,000.

use std::collections::BTreeSet;
use std::fs;

use percloud_tests::process::Process;

use super::{Place, ask, median, open};
use crate::Plan;
use crate::curve::{Axis, Curve, Line};
use crate::failure::{Attempt, Failure};
use crate::figures::Series;
use crate::http::grain::Visit;
use crate::process::pss_bytes;
use crate::summary::{Better, Entry};

/// Pages of one person. Of more than 500 the broker closes the one that was used least recently.
const EACH: usize = 250;

/// What was seen with so many running.
struct Seen {
    count: usize,
    open: Series,
    open_beside: Series,
    request: Series,
    request_beside: Series,
    /// Bytes per grain of its own processes, of all processes, and of the kernel.
    own: f64,
    all: f64,
    kernel: f64,
    /// Descriptors of the broker, and of all other processes of the server that are none of a grain's.
    broker: usize,
    others: usize,
}

pub fn measure(plan: &Plan, entries: &mut Vec<Entry>, curves: &mut Vec<Curve>) -> Result<(), Failure> {
    let counts: &[usize] = if plan.quick { &[1, 10] } else { &[1, 10, 100, 1000] };
    println!("Running ever more grains …");
    let (place, beside) = (Place::new()?, Place::new()?);
    let last = counts[counts.len() - 1];
    let family = place.family(last.div_ceil(EACH))?;
    let grains = (0..last)
        .map(|number| family[number / EACH].create(&place.app))
        .collect::<Result<Vec<_>, _>>()?;
    let sleeping = place.shell.create(&place.app)?;
    let pair = beside.create(2)?;
    let page_beside = beside.shell.open(&pair[0])?;
    let idle = place.server.processes();
    let idle_memory = memory(&idle)?;
    let kernel_before = kernel_bytes()?;
    let mut pages: Vec<Visit> = Vec::new();
    let mut seen = Vec::new();
    for count in counts {
        for number in pages.len()..*count {
            pages.push(family[number / EACH].open(&grains[number])?);
        }
        println!("  {count} run");
        let mut now = Seen {
            count: *count,
            open: Series::default(),
            open_beside: Series::default(),
            request: Series::default(),
            request_beside: Series::default(),
            own: 0.0,
            all: 0.0,
            kernel: 0.0,
            broker: 0,
            others: 0,
        };
        let rounds = if plan.quick { 5 } else { 40 };
        let (mut connection, mut connection_beside) = (place.shell.connect()?, beside.shell.connect()?);
        for round in 0..=rounds {
            place.shell.put_to_sleep(&sleeping)?;
            beside.shell.put_to_sleep(&pair[1])?;
            let opened = open(&place.shell, &mut connection, &sleeping)?;
            let opened_beside = open(&beside.shell, &mut connection_beside, &pair[1])?;
            // Another page each time: nothing of it is in a cache because it was just used.
            let page = round * 7919 % pages.len();
            // The server closes connections that wait for long, and opening so many takes minutes.
            let (mut own, mut other) = (pages[page].connect()?, page_beside.connect()?);
            for turn in 0..6 {
                let asked = ask(&mut own, "/small")?;
                let asked_beside = ask(&mut other, "/small")?;
                if round > 0 && turn > 0 {
                    now.request.push(asked);
                    now.request_beside.push(asked_beside);
                }
            }
            if round > 0 {
                now.open.push(opened);
                now.open_beside.push(opened_beside);
            }
        }
        place.shell.put_to_sleep(&sleeping)?;
        let all = place.server.processes();
        let of_grains: BTreeSet<Process> = all.difference(&idle).copied().collect();
        let per_grain = |bytes: f64| bytes / *count as f64;
        now.own = per_grain(memory(&of_grains)?);
        now.all = per_grain(memory(&all)? - idle_memory);
        now.kernel = per_grain((kernel_bytes()? - kernel_before).max(0.0));
        let broker = place.server.broker();
        now.broker = descriptors(broker.pid);
        let others = idle.iter().filter(|process| **process != broker);
        now.others = others.map(|process| descriptors(process.pid)).sum();
        seen.push(now);
    }
    drop((pages, page_beside));
    report(&seen, entries, curves);
    Ok(())
}

fn report(seen: &[Seen], entries: &mut Vec<Entry>, curves: &mut Vec<Curve>) {
    let most = &seen[seen.len() - 1];
    let entry = |name, ours: &Series, beside: &Series| {
        Entry::alone(name, "ms", median(ours), Better::Lower)
            .against("a server where one runs, at the same time", beside.median())
            .with_note(format!(
                "{} running; p99 {:.1} ms, beside {:.1} ms",
                most.count,
                ours.quantile(0.99).unwrap_or(f64::NAN),
                beside.quantile(0.99).unwrap_or(f64::NAN)
            ))
    };
    entries.push(entry("scale_running_open", &most.open, &most.open_beside));
    entries.push(entry(
        "scale_running_request",
        &most.request,
        &most.request_beside,
    ));
    entries.push(
        Entry::alone("scale_running_memory", "MB", most.all / 1e6, Better::Lower).with_note(format!(
            "per running grain, of {}: {:.2} MB its own processes, the rest edge and broker; {:.2} MB more in the kernel",
            most.count,
            most.own / 1e6,
            most.kernel / 1e6
        )),
    );
    let line = |name: &str, value: &dyn Fn(&Seen) -> f64| {
        let mut line = Line::new(name);
        for seen in seen {
            line.push(seen.count as f64, Some(value(seen)));
        }
        line
    };
    let running = || Axis::log("running grains");
    let times = vec![
        line("open a sleeping one", &|seen| median(&seen.open)),
        line("the same where one runs", &|seen| median(&seen.open_beside)),
        line("request to a warm one", &|seen| median(&seen.request)),
        line("the same where one runs", &|seen| median(&seen.request_beside)),
    ];
    curves.push(
        Curve::new(
            "running",
            "Time by running grains",
            running(),
            Axis::log("ms"),
            times,
        )
        .with_note("Medians; in turns with a second server on the same machine, where one grain runs."),
    );
    let memory = vec![
        line("app and grain host", &|seen| seen.own / 1e6),
        line("with what edge and broker keep for it", &|seen| seen.all / 1e6),
        line("kernel: slab, stacks, page tables", &|seen| seen.kernel / 1e6),
    ];
    curves.push(
        Curve::new("running_memory", "Memory per running grain", running(), Axis::linear("MB"), memory)
            .with_note("Proportional set size, idle, a page open in each. The kernel's share is the machine's growth meanwhile, so of few grains it is noise."),
    );
    let descriptors = vec![
        line("broker", &|seen| seen.broker as f64),
        line("edge, egress, launcher", &|seen| seen.others as f64),
    ];
    curves.push(
        Curve::new(
            "running_descriptors",
            "Open descriptors by running grains",
            running(),
            Axis::log("descriptors"),
            descriptors,
        )
        .with_note("The limit is what the hard RLIMIT_NOFILE allows each process."),
    );
}

fn memory(processes: &BTreeSet<Process>) -> Result<f64, Failure> {
    let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
    pss_bytes(&pids).map(|bytes| bytes as f64)
}

/// Memory the kernel uses for itself, in bytes.
fn kernel_bytes() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/meminfo").attempt(|| "read /proc/meminfo".to_owned())?;
    let wanted = ["SUnreclaim:", "KernelStack:", "PageTables:", "Percpu:"];
    let lines = text
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    let kilobytes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(kilobytes.sum::<f64>() * 1024.0)
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
