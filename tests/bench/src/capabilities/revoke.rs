//! How long something still works after its end was asked for: a new call, and an open stream.

use std::time::{Duration, Instant};

use percloud_tests::http::Request;
use percloud_tests::package::Recipe;
use percloud_tests::{Owner, Server};
use serde_json::json;

use crate::Plan;
use crate::failure::Failure;
use crate::figures::Series;
use crate::summary::{Better, Entry};

/// Longer than anything may last.
const LIMIT: Duration = Duration::from_secs(10);

pub fn measure(plan: &Plan) -> Result<Vec<Entry>, Failure> {
    let rounds = if plan.quick { 5 } else { 200 };
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(Recipe::of_program("Guestbook", "percloud-raw-app", &[]).pack().path());
    let (mut calls, mut streams) = (Series::default(), Series::default());
    for _ in 0..rounds {
        let (way, token) = owner.link(&grain, json!({"index": 0}));
        let body = json!({"token": token}).to_string();
        let opened = server.send(&percloud_tests::owner::change("POST", "/api/links/open").body("application/json", body));
        let visit = owner.visit(&opened.json());
        let mut stream = visit
            .start(Request::new("GET", "/endless"))
            .map_err(|error| Failure::new(format!("a stream did not begin: {error}")))?;
        let limited = stream.patience(LIMIT);
        limited.map_err(|error| Failure::new(format!("no time limit: {error}")))?;
        // It flows before it is cut.
        let _first = stream.piece();
        let (begun, cut) = std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                while let Ok(Some(_)) = stream.piece() {}
                Instant::now()
            });
            let begun = Instant::now();
            take_back(&owner, &grain, &way);
            while visit
                .try_send(Request::new("GET", "/small"))
                .is_ok_and(|answer| answer.status == 200)
            {}
            calls.push(begun.elapsed().as_secs_f64() * 1e3);
            (begun, reading.join())
        });
        let cut = cut.map_err(|_| Failure::new("reading a stream failed".to_owned()))?;
        streams.push((cut - begun).as_secs_f64() * 1e3);
    }
    let entry = |name, series: &Series| {
        let p99 = series.quantile(0.99).unwrap_or(f64::NAN);
        let p50 = series.median().unwrap_or(f64::NAN);
        Entry::alone(name, "ms", p99, Better::Lower).with_note(format!("p99; p50 {p50:.1} ms, {rounds} rounds"))
    };
    Ok(vec![entry("revoke_new_call", &calls), entry("revoke_open_stream", &streams)])
}

fn take_back(owner: &Owner, grain: &str, way: &str) {
    owner.expect("DELETE", &format!("/api/grains/{grain}/shares/{way}"), None);
}
