//! Bodies of 1 KB to 1 GB, up and down: how fast, and what they cost in memory.

use percloud_tests::Server;

use crate::Plan;
use crate::curve::{Axis, Curve, Line};
use crate::failure::Failure;
use crate::figures::Series;
use crate::http::client::Connection;
use crate::http::grain::Visit;
use crate::http::{ours, transfer};
use crate::peer::Nginx;
use crate::process::{forget_peak, peak_bytes};

type Transfer = fn(&mut Connection, u64) -> Result<f64, Failure>;

/// Bytes moved at each size at least; of small bodies many are sent, one after the other.
const ENOUGH: u64 = 8 << 20;

pub fn measure(
    plan: &Plan,
    server: &Server,
    visit: &Visit,
    nginx: Option<&Nginx>,
    curves: &mut Vec<Curve>,
) -> Result<(), Failure> {
    let powers: &[u32] = if plan.quick {
        &[10, 20]
    } else {
        &[10, 14, 17, 20, 23, 26, 30]
    };
    let rounds = if plan.quick { 1 } else { 3 };
    let mut speed = Vec::new();
    let mut growth = Vec::new();
    for (name, transfer) in [
        ("up", transfer::upload as Transfer),
        ("down", transfer::download as Transfer),
    ] {
        let mut own = Line::new(&format!("Percloud, {name}"));
        let mut peer = Line::new(&format!("nginx, {name}"));
        let mut grown = Line::new(name);
        for power in powers {
            let bytes = 1_u64 << power;
            let (mut here, mut there) = (Series::default(), Series::default());
            let pids = ours(server);
            let before = forget_peak(&pids).and_then(|()| peak_bytes(&pids));
            for _ in 0..rounds {
                here.push(rate(transfer, &mut visit.connect()?, bytes)?);
                if let Some(nginx) = nginx {
                    let mut connection = Connection::open(nginx.address, "localhost", "")?;
                    there.push(rate(transfer, &mut connection, bytes)?);
                }
            }
            own.push(bytes as f64, here.median());
            peer.push(bytes as f64, there.median());
            // Not everybody may read this; the speed is worth knowing all the same.
            if let (Ok(before), Ok(after)) = (before, peak_bytes(&pids)) {
                grown.push(bytes as f64, Some(after.saturating_sub(before) as f64 / 1e6));
            }
        }
        speed.extend([own, peer]);
        growth.push(grown);
    }
    let size = || Axis::log("bytes of the body");
    curves.push(
        Curve::new("bodies_speed", "Throughput by size of the body", size(), Axis::log("MB/s"), speed)
            .with_note("One after the other on one connection, so small bodies show what a request costs. Uploads are counted by the app."),
    );
    curves.push(
        Curve::new(
            "bodies_memory",
            "Memory a body costs",
            size(),
            Axis::linear("MB"),
            growth,
        )
        .with_note("Growth of the largest resident size of all our processes together."),
    );
    Ok(())
}

/// Megabytes per second.
fn rate(transfer: Transfer, connection: &mut Connection, bytes: u64) -> Result<f64, Failure> {
    let times = ENOUGH.div_ceil(bytes).min(500);
    let mut seconds = 0.0;
    for _ in 0..times {
        seconds += transfer(connection, bytes)?;
    }
    Ok((bytes * times) as f64 / 1e6 / seconds)
}
