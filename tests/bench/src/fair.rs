//! Group `fair`: signing in, and opening a sleeping grain, while another grain takes all the processor, memory and disk it
//! can get; against the same without it (threat model, P10).

use std::time::{Duration, Instant};

use percloud_tests::package::Recipe;
use percloud_tests::{Owner, Server};

use crate::Plan;
use crate::failure::Failure;
use crate::figures::Series;
use crate::summary::{Better, Entry};

pub const NAMES: [&str; 3] = ["fair_open_p99", "fair_sign_in_p99", "fair_open_at_first_p99"];

/// How long a hog may pass for an app that starts, at most: it is sent to the background after that.
const AT_FIRST: Duration = Duration::from_secs(2);

/// What takes how long, with and without the hog, in milliseconds.
#[derive(Default)]
struct Times {
    open: Series,
    sign_in: Series,
}

/// Runs what the plan wants of this group.
pub fn run(plan: &Plan, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    println!("Signing in and opening beside a grain that takes all it can …");
    let (blocks, rounds) = if plan.quick { (1, 5) } else { (4, 50) };
    let (server, owner) = Server::owned();
    let good = owner.grain_of(
        Recipe::of_program("Guestbook", "percloud-raw-app", &[])
            .pack()
            .path(),
    );
    let hog = owner.grain_of(Recipe::hostile("hog").pack().path());
    let (mut quiet, mut at_first, mut beside) = (Times::default(), Times::default(), Times::default());
    // Caches that a server in use has warm.
    measure(&server, &owner, &good, 2, &mut Times::default());
    for _ in 0..blocks {
        measure(&server, &owner, &good, rounds, &mut quiet);
        // It never answers, so nobody waits for it.
        let opened = owner.try_open(&hog, "/");
        if opened.status != 200 {
            return Err(Failure::new(format!("the hog does not start: {}", opened.text())));
        }
        owner.await_log(&hog, "taking all there is");
        let begun = Instant::now();
        while begun.elapsed() < AT_FIRST {
            measure(&server, &owner, &good, 1, &mut at_first);
        }
        measure(&server, &owner, &good, rounds, &mut beside);
        put_to_sleep(&owner, &hog);
    }
    let entry = |name, ours: &Series, peer: &Series| {
        let p99 = |series: &Series| series.quantile(0.99).unwrap_or(f64::NAN);
        let p50 = |series: &Series| series.median().unwrap_or(f64::NAN);
        Entry::alone(name, "ms", p99(ours), Better::Lower)
            .against("without the hog", Some(p99(peer)))
            .with_note(format!(
                "p50 {:.1} and {:.1} ms, {} rounds",
                p50(ours),
                p50(peer),
                ours.len()
            ))
    };
    entries.push(entry(NAMES[0], &beside.open, &quiet.open));
    entries.push(entry(NAMES[1], &beside.sign_in, &quiet.sign_in));
    entries.push(entry(NAMES[2], &at_first.open, &quiet.open));
    Ok(())
}

fn measure(server: &Server, owner: &Owner, grain: &str, rounds: usize, times: &mut Times) {
    for _ in 0..rounds {
        put_to_sleep(owner, grain);
        let click = Instant::now();
        let answer = owner.open(grain).get("/small");
        assert_eq!(answer.status, 200, "{}", answer.text());
        times.open.push(click.elapsed().as_secs_f64() * 1e3);
        let click = Instant::now();
        let _signed_in = Owner::sign_in(server);
        times.sign_in.push(click.elapsed().as_secs_f64() * 1e3);
    }
}

/// The trash stops a grain and returns when it has.
fn put_to_sleep(owner: &Owner, grain: &str) {
    owner.expect("POST", &format!("/api/grains/{grain}/trash"), None);
    owner.expect("POST", &format!("/api/grains/{grain}/restore"), None);
}
