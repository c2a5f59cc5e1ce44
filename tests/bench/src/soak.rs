//! `percloud-bench soak [--minutes N]`: a real server under churn. Grains are made, opened, used, killed, thrown away, restored
//! and deleted without end; memory is sampled all the while. It passes if nothing is left at the end and memory is flat.
//!
//! *Flat*: over the second half, the line through the samples of each of our long-lived processes rises by no more than
//! [`RISE`] bytes, or [`PART`] of their mean where that is more. An audit log that grows, and a store that caches it, are in that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use percloud_tests::http::Request;
use percloud_tests::package::Recipe;
use percloud_tests::residue::{Dice, Part, Residue, parts};
use percloud_tests::{Owner, Server};
use serde_json::json;

use crate::curve::{self, Axis, Curve, Line};
use crate::failure::{Attempt, Failure};
use crate::process::pss_bytes;

/// Minutes it takes unless another number is given.
const MINUTES: f64 = 30.0;
/// Memory a process may seem to gain over the second half, in bytes.
const RISE: f64 = 2e6;
/// Or this part of what it has.
const PART: f64 = 0.04;
/// People who work at a time.
const PEOPLE: u64 = 3;
/// Grains each has at most.
const EACH: usize = 12;
/// Grains that come and go unopened before anything is measured: a server has a history, and caches that are full. The store's
/// engine looks at how much a part of its cache holds with every 64th use of that part, and has 256 of them.
const FILLING: u64 = 2 * 256 * 64;
/// Time between two samples.
const PACE: Duration = Duration::from_secs(2);
const SEED: u64 = 20_261_128;

const KEPT: [(Part, &str); 4] = [
    (Part::Broker, "broker"),
    (Part::Edge, "edge"),
    (Part::Egress, "egress"),
    (Part::Launcher, "launcher"),
];

/// What was done, by name.
#[derive(Default)]
struct Done {
    made: AtomicU64,
    opened: AtomicU64,
    refused: AtomicU64,
    trashed: AtomicU64,
    restored: AtomicU64,
    deleted: AtomicU64,
    killed: AtomicU64,
}

/// Memory at one moment, in bytes.
struct Sample {
    minute: f64,
    kept: BTreeMap<Part, f64>,
    grains: f64,
    running: usize,
}

pub fn run(arguments: &[&str]) -> Result<(), Failure> {
    let minutes = match arguments {
        [] => Some(MINUTES),
        ["--minutes", minutes] => minutes.parse().ok().filter(|minutes| *minutes > 0.0),
        _ => None,
    };
    let minutes = minutes.ok_or_else(|| Failure::new("usage: soak [--minutes N]"))?;
    let (server, owner) = Server::owned();
    let package = Recipe::of_program("Guestbook", "percloud-raw-app", &[]).pack();
    let app = owner.install(package.path());
    let mut ever = BTreeSet::new();
    let done = Done::default();

    // The first time everything grows to the size it needs.
    println!("Filling the store's cache …");
    fill(&owner, &app);
    println!("Warming up …");
    churn(
        &server,
        &owner,
        &app,
        Duration::from_secs(20),
        &done,
        &mut ever,
        |_| Ok(()),
    )?;
    let before = at_rest(&server, &mut ever);

    println!("Churning for {minutes} minutes …");
    let mut samples: Vec<Sample> = Vec::new();
    let length = Duration::from_secs_f64(minutes * 60.0);
    churn(&server, &owner, &app, length, &done, &mut ever, |minute| {
        // What ended while it was looked at is looked at again the next time.
        if let Ok(now) = sample(&server, minute) {
            samples.push(now);
        }
        Ok(())
    })?;
    let after = at_rest(&server, &mut ever);
    let differences = after.differences(&before);
    let home = owner.get("/api/home");
    if home["grains"].as_array().is_none_or(|grains| !grains.is_empty()) {
        return Err(Failure::new("grains are left in the list"));
    }
    let rises = rises(&samples);
    report(minutes, &done, &samples, &rises, &differences)
}

/// Makes grains and deletes them, as fast as can be.
fn fill(owner: &Owner, app: &serde_json::Value) {
    thread::scope(|scope| {
        for _ in 0..PEOPLE {
            scope.spawn(|| {
                for _ in 0..FILLING / PEOPLE {
                    delete(owner, &owner.create(app));
                }
            });
        }
    });
}

fn delete(owner: &Owner, grain: &str) {
    owner.expect("POST", &format!("/api/grains/{grain}/trash"), None);
    owner.expect("DELETE", &format!("/api/grains/{grain}"), None);
}

/// Keeps people busy for a while, then has them delete what they have. `look` is called now and then, with the minutes gone.
fn churn(
    server: &Server,
    owner: &Owner,
    app: &serde_json::Value,
    length: Duration,
    done: &Done,
    ever: &mut BTreeSet<u32>,
    mut look: impl FnMut(f64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let over = AtomicBool::new(false);
    let since = Instant::now();
    thread::scope(|scope| {
        let people: Vec<_> = (0..PEOPLE)
            .map(|person| {
                let over = &over;
                scope.spawn(move || work(owner, app, &mut Dice::new(SEED + person), over, done))
            })
            .collect();
        let mut dice = Dice::new(SEED - 1);
        let mut outcome = Ok(());
        while since.elapsed() < length && outcome.is_ok() {
            thread::sleep(PACE);
            ever.extend(server.processes().iter().map(|process| process.pid));
            outcome = look(since.elapsed().as_secs_f64() / 60.0);
            kill_somebody(server, &mut dice, done);
            if people.iter().any(thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        for person in people {
            if person.join().is_err() {
                outcome = Err(Failure::new("somebody could not go on; what they saw is above"));
            }
        }
        outcome
    })
}

/// What one person does, until it is over; in the end they have nothing.
fn work(owner: &Owner, app: &serde_json::Value, dice: &mut Dice, over: &AtomicBool, done: &Done) {
    let count = |counter: &AtomicU64| _ = counter.fetch_add(1, Ordering::Relaxed);
    let mut grains: Vec<String> = Vec::new();
    let path = |grain: &str, act: &str| format!("/api/grains/{grain}{act}");
    while !over.load(Ordering::Relaxed) {
        let chosen = dice.below(grains.len() as u64) as usize;
        match dice.below(10) {
            0 | 1 if grains.len() < EACH => {
                grains.push(owner.create(app));
                count(&done.made);
            }
            2 if !grains.is_empty() => {
                let grain = grains.swap_remove(chosen);
                delete(owner, &grain);
                count(&done.trashed);
                count(&done.deleted);
            }
            3 if !grains.is_empty() => {
                owner.expect("POST", &path(&grains[chosen], "/trash"), None);
                owner.expect("POST", &path(&grains[chosen], "/restore"), None);
                count(&done.trashed);
                count(&done.restored);
            }
            4 => drop(owner.get("/api/home")),
            _ if !grains.is_empty() => {
                // It may be killed in between.
                let visit = owner.attempt_visit(&grains[chosen]);
                let page = visit.and_then(|visit| {
                    let page = visit.try_send(Request::new("GET", "/small")).ok()?;
                    visit
                        .try_send(Request::new("GET", "/download?bytes=1000000"))
                        .ok()?;
                    (page.status == 200).then_some(())
                });
                count(if page.is_some() {
                    &done.opened
                } else {
                    &done.refused
                });
            }
            _ => {}
        }
    }
    for grain in grains {
        delete(owner, &grain);
        count(&done.deleted);
    }
}

/// Kills an app or its host, as the machine's owner might, or a lack of memory.
fn kill_somebody(server: &Server, dice: &mut Dice, done: &Done) {
    let part = if dice.below(2) == 0 { Part::App } else { Part::Host };
    let now = parts(server);
    let fitting: Vec<_> = now.iter().filter(|(_, own)| **own == part).collect();
    if !fitting.is_empty() {
        let chosen = dice.below(fitting.len() as u64) as usize;
        fitting[chosen].0.kill();
        done.killed.fetch_add(1, Ordering::Relaxed);
    }
}

/// What there is of the server once it stays the same.
fn at_rest(server: &Server, ever: &mut BTreeSet<u32>) -> Residue {
    ever.extend(server.processes().iter().map(|process| process.pid));
    Residue::at_rest(server, ever)
}

fn sample(server: &Server, minute: f64) -> Result<Sample, Failure> {
    let now = parts(server);
    let mut kept = BTreeMap::new();
    for (part, _) in KEPT {
        let pids: Vec<u32> = of(&now, &[part]);
        kept.insert(part, pss_bytes(&pids)? as f64);
    }
    let grains = of(&now, &[Part::Host, Part::App]);
    // Grains come and go while they are counted.
    let memory = grains
        .iter()
        .filter_map(|pid| pss_bytes(&[*pid]).ok())
        .sum::<u64>();
    Ok(Sample {
        minute,
        kept,
        grains: memory as f64,
        running: of(&now, &[Part::App]).len(),
    })
}

fn of(all: &BTreeMap<percloud_tests::process::Process, Part>, wanted: &[Part]) -> Vec<u32> {
    let fitting = all.iter().filter(|(_, part)| wanted.contains(part));
    fitting.map(|(process, _)| process.pid).collect()
}

/// What each process gained over the second half, by the line through its samples; and what it may.
fn rises(samples: &[Sample]) -> Vec<(&'static str, f64, f64)> {
    let half = &samples[samples.len() / 2..];
    let length = half.last().map_or(0.0, |last| last.minute) - half.first().map_or(0.0, |first| first.minute);
    KEPT.iter()
        .map(|(part, name)| {
            let points: Vec<(f64, f64)> = half
                .iter()
                .map(|sample| (sample.minute, sample.kept[part]))
                .collect();
            let mean = points.iter().map(|point| point.1).sum::<f64>() / points.len().max(1) as f64;
            (*name, slope(&points) * length, RISE.max(PART * mean))
        })
        .collect()
}

/// Slope of the line of least squares; 0 where there is none.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let alone: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if alone > 0.0 { together / alone } else { 0.0 }
}

fn report(
    minutes: f64,
    done: &Done,
    samples: &[Sample],
    rises: &[(&str, f64, f64)],
    differences: &[String],
) -> Result<(), Failure> {
    let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let acts = json!({
        "made": number(&done.made), "opened": number(&done.opened), "openings refused": number(&done.refused),
        "trashed": number(&done.trashed), "restored": number(&done.restored), "deleted": number(&done.deleted),
        "killed": number(&done.killed),
    });
    let is_flat = rises.iter().all(|(_, rise, most)| rise <= most);
    let rises_json: Vec<_> = rises
        .iter()
        .map(|(name, rise, most)| json!({"process": name, "rise": rise, "most": most}))
        .collect();
    let shown: Vec<_> = samples
        .iter()
        .map(|sample| {
            let kept: serde_json::Map<String, serde_json::Value> = KEPT
                .iter()
                .map(|(part, name)| ((*name).to_owned(), json!(sample.kept[part])))
                .collect();
            json!({"minute": sample.minute, "pss": kept, "grains": sample.grains, "running": sample.running})
        })
        .collect();
    let passed = is_flat && differences.is_empty();
    let all = json!({
        "minutes": minutes, "seed": SEED, "passed": passed, "acts": acts, "second_half": rises_json,
        "left": differences, "samples": shown,
    });
    let folder = percloud_tests::built::target("bench");
    let mut lines: Vec<Line> = KEPT.iter().map(|(_, name)| Line::new(name)).collect();
    let mut grains = Line::new("all running grains");
    for sample in samples {
        for (line, (part, _)) in lines.iter_mut().zip(KEPT) {
            line.push(sample.minute, Some(sample.kept[&part] / 1e6));
        }
        grains.push(sample.minute, Some(sample.grains / 1e6));
    }
    lines.push(grains);
    let drawn = Curve::new(
        "soak",
        "Memory under churn",
        Axis::linear("minutes"),
        Axis::linear("MB, proportional set size"),
        lines,
    )
    .with_note(
        "Grains are made, opened, used, killed, thrown away, restored and deleted by three people at a time.",
    );
    curve::keep(&folder, vec![drawn])?;
    let path = folder.join("soak.json");
    std::fs::write(&path, serde_json::to_string_pretty(&all).expect("plain figures"))
        .attempt(|| format!("write {}", path.display()))?;
    println!("{acts}");
    for (name, rise, most) in rises {
        println!(
            "{name}: {:+.2} MB over the second half, at most {:.2} MB",
            rise / 1e6,
            most / 1e6
        );
    }
    println!("Kept in {}", path.display());
    match (differences.is_empty(), is_flat) {
        (true, true) => Ok(()),
        (false, _) => Err(Failure::new(format!(
            "something is left: {}",
            differences.join("; ")
        ))),
        (true, false) => Err(Failure::new("memory is not flat")),
    }
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn a_line_has_its_own_slope_and_noise_none() {
        let line: Vec<_> = (0..50)
            .map(|x| (f64::from(x), 7.0 + 3.0 * f64::from(x)))
            .collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        let flat: Vec<_> = (0..50).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        assert!(slope(&flat).abs() < 0.01);
        assert_eq!((slope(&[]), slope(&[(1.0, 5.0)])), (0.0, 0.0));
    }
}
