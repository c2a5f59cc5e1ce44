//! Requests for 128 bytes over 1 to 256 connections.

use percloud_tests::Server;

use crate::Plan;
use crate::curve::{Axis, Curve, Line};
use crate::failure::Failure;
use crate::figures::Series;
use crate::http::grain::Visit;
use crate::http::load;
use crate::peer::Nginx;
use crate::summary::Entry;

const FIGURES: [&str; 4] = ["cpu", "sleeps", "p99", "rate"];

pub fn measure(
    plan: &Plan,
    server: &Server,
    visit: &Visit,
    nginx: Option<&Nginx>,
    curves: &mut Vec<Curve>,
) -> Result<(), Failure> {
    let counts: &[u32] = if plan.quick {
        &[1, 32]
    } else {
        &[1, 2, 4, 8, 16, 32, 64, 128, 256]
    };
    let rounds = if plan.quick { 1 } else { 5 };
    // Short turns, many of them: what disturbs one does not disturb them all.
    let short = Plan {
        quick: true,
        ..plan.clone()
    };
    let mut lines: Vec<[Line; 2]> = FIGURES
        .iter()
        .map(|_| [Line::new("Percloud, two hops"), Line::new("nginx, one hop")])
        .collect();
    for count in counts {
        let mut series = vec![[Series::default(), Series::default()]; FIGURES.len()];
        for _ in 0..rounds {
            let entries: Vec<Entry> = load::measure(&short, server, visit, nginx, *count, FIGURES)?;
            for (entry, [ours, peer]) in entries.iter().zip(&mut series) {
                ours.push(entry.ours);
                entry.peer.into_iter().for_each(|value| peer.push(value));
            }
        }
        for (sides, measured) in lines.iter_mut().zip(&series) {
            for (line, series) in sides.iter_mut().zip(measured) {
                line.push(f64::from(*count), series.median());
            }
        }
    }
    let [cpu, _, p99, rate] = lines.try_into().expect("one for each figure");
    let connections = || Axis::log("connections");
    curves.push(
        Curve::new("connections_cpu", "CPU per request", connections(), Axis::log("\u{b5}s per request"), cpu.into())
            .with_note("All processes of the proxy side: edge, grain host and broker against nginx. The app and nginx's upstream are not counted."),
    );
    curves.push(
        Curve::new(
            "connections_p99",
            "Slowest of a hundred requests",
            connections(),
            Axis::log("\u{b5}s, p99"),
            p99.into(),
        )
        .with_note("The load generator runs on the same two cores."),
    );
    curves.push(Curve::new(
        "connections_rate",
        "Requests per second",
        connections(),
        Axis::log("requests per second"),
        rate.into(),
    ));
    Ok(())
}
