//! Bulk bytes through a grain, and what that does to the memory of our processes.

use std::io::Write;
use std::time::Instant;

use percloud_tests::Server;

use super::client::Connection;
use super::grain::Visit;
use super::{NGINX, ours};
use crate::Plan;
use crate::failure::Failure;
use crate::figures::Series;
use crate::peer::Nginx;
use crate::process::{forget_peak, peak_bytes};
use crate::summary::{Better, Entry};

const BLOCK: usize = 256 << 10;

/// Moves so many bytes and takes the time of it, in seconds.
type Transfer = fn(&mut Connection, u64) -> Result<f64, Failure>;

pub fn measure(
    plan: &Plan,
    server: &Server,
    visit: &Visit,
    nginx: Option<&Nginx>,
) -> Result<Vec<Entry>, Failure> {
    let (rounds, bytes) = if plan.quick { (1, 64 << 20) } else { (5, 1 << 30) };
    let mut entries = Vec::new();
    for (name, transfer) in [("upload", upload as Transfer), ("download", download as Transfer)] {
        if !plan.wants(&[name]) {
            continue;
        }
        let (mut own, mut peer) = (Series::default(), Series::default());
        let our_pids = ours(server);
        transfer(&mut visit.connect()?, 16 << 20)?;
        // Not everybody may read this; the speed is worth knowing all the same.
        let before = forget_peak(&our_pids).and_then(|()| peak_bytes(&our_pids));
        for _ in 0..rounds {
            own.push(bytes as f64 / 1e9 / transfer(&mut visit.connect()?, bytes)?);
            if let Some(nginx) = nginx {
                let mut connection = Connection::open(nginx.address, "localhost", "")?;
                peer.push(bytes as f64 / 1e9 / transfer(&mut connection, bytes)?);
            }
        }
        let memory = match (before, peak_bytes(&our_pids)) {
            (Ok(before), Ok(after)) => {
                format!(
                    "our processes grew by {:.1} MB meanwhile",
                    after.saturating_sub(before) as f64 / 1e6
                )
            }
            (Err(failure), _) | (_, Err(failure)) => format!("memory unknown: {failure}"),
        };
        entries.push(
            Entry::alone(name, "GB/s", own.median().unwrap_or(f64::NAN), Better::Higher)
                .against(NGINX, peer.median())
                .with_note(format!("{} MiB at a time; {memory}", bytes >> 20)),
        );
    }
    Ok(entries)
}

/// Fetches so many bytes; seconds it took.
pub fn download(connection: &mut Connection, bytes: u64) -> Result<f64, Failure> {
    let since = Instant::now();
    let head = connection.send("GET", &format!("/download?bytes={bytes}"), &[], 0, |_| Ok(()))?;
    let count = connection.count(&head)?;
    let took = since.elapsed().as_secs_f64();
    match (head.status, count) {
        (200, count) if count == bytes => Ok(took),
        (status, count) => Err(Failure::new(format!(
            "a download of {bytes} bytes gave {status} and {count} bytes"
        ))),
    }
}

/// Sends so many bytes, counted on the other side; seconds it took.
pub fn upload(connection: &mut Connection, bytes: u64) -> Result<f64, Failure> {
    let block = vec![b'u'; BLOCK];
    let since = Instant::now();
    let head = connection.send(
        "PUT",
        "/upload",
        &[("Content-Type", "application/octet-stream")],
        bytes,
        |stream| {
            let mut left = bytes;
            while left > 0 {
                let count = left.min(BLOCK as u64);
                stream.write_all(&block[..count as usize])?;
                left -= count;
            }
            Ok(())
        },
    )?;
    let body = connection.body(&head)?;
    let took = since.elapsed().as_secs_f64();
    let counted = serde_json::from_slice(&body)
        .ok()
        .and_then(|said: serde_json::Value| said["bytes"].as_u64());
    match (head.status, counted) {
        (200, Some(counted)) if counted == bytes => Ok(took),
        (status, counted) => Err(Failure::new(format!(
            "an upload of {bytes} bytes gave {status}, and the app counted {counted:?}"
        ))),
    }
}
