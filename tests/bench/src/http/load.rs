//! Requests for 128 bytes from a warm grain, under the load of `wrk`, in turns with nginx.
//!
//! Beside the CPU stands how often a process was put to sleep per request: each time costs some microseconds, and the
//! count depends on the machine's other work far less than the time does.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use percloud_tests::Server;

use super::grain::Visit;
use super::{NGINX, ours};
use crate::Plan;
use crate::failure::{Attempt, Failure};
use crate::figures::Series;
use crate::peer::Nginx;
use crate::process::{cpu_nanoseconds, find, sleeps};
use crate::summary::{Better, Entry};

/// What one run of `wrk` saw.
#[derive(Debug, PartialEq)]
struct Seen {
    requests: f64,
    per_second: f64,
    p99_microseconds: f64,
}

#[derive(Default)]
struct Side {
    cpu: Series,
    sleeps: Series,
    p99: Series,
    rate: Series,
}

/// Measures CPU and sleeps per request, p99 and rate over so many connections; `names` in this order.
pub fn measure(
    plan: &Plan,
    server: &Server,
    visit: &Visit,
    nginx: Option<&Nginx>,
    connections: u32,
    names: [&str; 4],
) -> Result<Vec<Entry>, Failure> {
    if find("wrk").is_none() {
        return Err(Failure::new(
            "the load generator wrk is not installed (Debian: apt-get install wrk)",
        ));
    }
    let (rounds, seconds) = if plan.quick { (1, 1) } else { (5, 4) };
    let cookie = visit.connection.cookie();
    let headers = [("Host", visit.connection.host()), ("Cookie", cookie)];
    let our_pids = ours(server);
    let (mut own, mut peer) = (Side::default(), Side::default());
    // One short turn each warms connections and branch predictors.
    run(visit.address, &headers, connections, 1)?;
    if let Some(nginx) = nginx {
        run(nginx.address, &[], connections, 1)?;
    }
    for _ in 0..rounds {
        turn(&mut own, &our_pids, visit.address, &headers, connections, seconds)?;
        if let Some(nginx) = nginx {
            turn(&mut peer, &nginx.pids(), nginx.address, &[], connections, seconds)?;
        }
    }
    let entry = |name, unit, better, ours: &Series, peer: &Series| {
        Entry::alone(name, unit, ours.median().unwrap_or(f64::NAN), better).against(NGINX, peer.median())
    };
    let [cpu, sleeps, p99, rate] = names;
    Ok(vec![
        entry(cpu, "µs", Better::Lower, &own.cpu, &peer.cpu).with_note("CPU of the proxy side per request"),
        entry(sleeps, "sleeps", Better::Lower, &own.sleeps, &peer.sleeps)
            .with_note("of the proxy side per request"),
        entry(p99, "µs", Better::Lower, &own.p99, &peer.p99),
        entry(rate, "1/s", Better::Higher, &own.rate, &peer.rate),
    ])
}

fn turn(
    side: &mut Side,
    pids: &[u32],
    address: SocketAddr,
    headers: &[(&str, &str)],
    connections: u32,
    seconds: u32,
) -> Result<(), Failure> {
    let (before, slept) = (cpu_nanoseconds(pids)?, sleeps(pids)?);
    let seen = run(address, headers, connections, seconds)?;
    let used = cpu_nanoseconds(pids)?.since(&before);
    let slept = sleeps(pids)?.since(&slept);
    side.sleeps.push(slept as f64 / seen.requests);
    side.cpu.push(used as f64 / 1e3 / seen.requests);
    side.p99.push(seen.p99_microseconds);
    side.rate.push(seen.per_second);
    Ok(())
}

fn run(
    address: SocketAddr,
    headers: &[(&str, &str)],
    connections: u32,
    seconds: u32,
) -> Result<Seen, Failure> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--latency"]);
    wrk.args([
        "--connections",
        &connections.to_string(),
        "--duration",
        &format!("{seconds}s"),
    ]);
    for (name, value) in headers {
        wrk.args(["--header", &format!("{name}: {value}")]);
    }
    let output = wrk
        .arg(format!("http://{address}/small"))
        .stdin(Stdio::null())
        .output();
    let output = output.attempt(|| "run wrk".to_owned())?;
    let said = String::from_utf8_lossy(&output.stdout);
    read(&said).ok_or_else(|| {
        let complained = String::from_utf8_lossy(&output.stderr);
        Failure::new(format!(
            "wrk did not see what it should have:\n{said}{complained}"
        ))
    })
}

/// Reads the report of `wrk`; `None` where an answer was not a success.
fn read(report: &str) -> Option<Seen> {
    if report.contains("Non-2xx or 3xx responses") || report.contains("Socket errors") {
        return None;
    }
    let line = |is: fn(&str) -> bool| report.lines().map(str::trim).find(|line| is(line));
    let requests: f64 = line(|line| line.contains(" requests in "))?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    let per_second = line(|line| line.starts_with("Requests/sec:"))?
        .rsplit(' ')
        .next()?
        .parse()
        .ok()?;
    let p99 = line(|line| line.starts_with("99%"))?.rsplit(' ').next()?;
    let (number, scale) = match p99 {
        _ if p99.ends_with("us") => (p99.strip_suffix("us")?, 1.0),
        _ if p99.ends_with("ms") => (p99.strip_suffix("ms")?, 1e3),
        _ => (p99.strip_suffix('s')?, 1e6),
    };
    let number: f64 = number.parse().ok()?;
    (requests > 0.0).then_some(Seen {
        requests,
        per_second,
        p99_microseconds: number * scale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 4s test @ http://127.0.0.1:1/small\n  1 threads and 32 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   450.01us   88.12us   3.02ms   91.02%\n    \
        Req/Sec    71.17k     3.77k   77.45k    70.00%\n  Latency Distribution\n     50%  433.00us\n     \
        99%    1.20ms\n  283334 requests in 4.00s, 66.20MB read\nRequests/sec:  70812.75\nTransfer/sec:     16.54MB\n";

    #[test]
    fn a_report_is_read_and_a_bad_run_is_not_taken_for_a_good_one() {
        let seen = Seen {
            requests: 283_334.0,
            per_second: 70_812.75,
            p99_microseconds: 1200.0,
        };
        assert_eq!(read(REPORT), Some(seen));
        assert_eq!(
            read(&format!("{REPORT}  Non-2xx or 3xx responses: 283334\n")),
            None
        );
        assert_eq!(
            read(&format!(
                "{REPORT}  Socket errors: connect 0, read 3, write 0, timeout 0\n"
            )),
            None
        );
        assert_eq!(read("unable to connect to 127.0.0.1:1 Connection refused"), None);
    }
}
