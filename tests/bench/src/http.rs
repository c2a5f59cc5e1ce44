//! Group `http`: opening a native grain, requests to it, bulk transfers, and memory at rest.
//!
//! One server, set up and used through its HTTP API as a browser would, with the native app of `tests/fixtures/raw-app`. The
//! peer is one nginx proxy hop in front of an upstream that gives the same answers. CPU is what the proxy side used, summed
//! over its processes: of ours all but the app, of nginx all but the upstream.

pub mod client;
pub mod grain;
pub mod load;
mod memory;
mod open;
pub mod transfer;

use percloud_tests::Server;
use percloud_tests::package::Recipe;

use crate::failure::Failure;
use crate::peer::Nginx;
use crate::process;
use crate::summary::Entry;
use crate::{Plan, summary};
use client::Shell;
use summary::Better;

pub const NAMES: [&str; 14] = [
    "open_sleeping",
    "open_warm",
    "request_cpu_c1",
    "request_cpu_c32",
    "request_sleeps_c1",
    "request_sleeps_c32",
    "request_p99_c1",
    "request_p99_c32",
    "request_rate_c1",
    "request_rate_c32",
    "upload",
    "download",
    "idle_server_pss",
    "idle_grain_pss",
];

const NGINX: &str = "nginx proxy hop";

/// Runs what the plan wants of this group.
pub fn run(plan: &Plan, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    println!("Starting a server and installing the native app …");
    let server = Server::start();
    let shell = Shell::set_up(&server)?;
    let package = Recipe::of_program("Guestbook", "percloud-raw-app", &[]).pack();
    let app = shell.install(package.path())?;
    // What cannot be measured here does not keep the rest from being measured.
    let mut failures = Vec::new();
    let mut keep = |measured: Result<Vec<Entry>, Failure>| match measured {
        Ok(measured) => entries.extend(measured),
        Err(failure) => failures.push(failure.to_string()),
    };
    if plan.wants(&["idle_server_pss"]) {
        keep(memory::of_the_server(&|| ours(&server)).map(|entry| vec![entry]));
    }
    if plan.wants(&["open_sleeping", "open_warm"]) {
        println!("Opening a grain, asleep and awake …");
        keep(open::measure(plan, &shell, &app));
    }
    let loads = [
        (
            32,
            [
                "request_cpu_c32",
                "request_sleeps_c32",
                "request_p99_c32",
                "request_rate_c32",
            ],
        ),
        (
            1,
            [
                "request_cpu_c1",
                "request_sleeps_c1",
                "request_p99_c1",
                "request_rate_c1",
            ],
        ),
    ];
    let transfers = plan.wants(&["upload", "download"]);
    if transfers || loads.iter().any(|(_, names)| plan.wants(names)) {
        let nginx = Nginx::start()?;
        let visit = shell.open(&shell.create(&app)?)?;
        for (connections, names) in loads {
            if plan.wants(&names) {
                println!("Requests over {connections} connection(s) …");
                keep(load::measure(
                    plan,
                    &server,
                    &visit,
                    nginx.as_ref(),
                    connections,
                    names,
                ));
            }
        }
        if transfers {
            println!("Moving bytes up and down …");
            keep(transfer::measure(plan, &server, &visit, nginx.as_ref()));
        }
    }
    if plan.wants(&["idle_grain_pss"]) {
        println!("Keeping grains awake …");
        keep(memory::of_a_grain(plan, &server, &shell, &app).map(|entry| vec![entry]));
    }
    entries.sort_by_key(|entry| NAMES.iter().position(|name| *name == entry.name));
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failures.join("; "))),
    }
}

/// Every process of the server but the apps.
pub fn ours(server: &Server) -> Vec<u32> {
    let all = server.processes();
    all.iter()
        .map(|process| process.pid)
        .filter(|pid| !process::is_sandboxed(*pid))
        .collect()
}

fn megabytes(name: &str, bytes: f64) -> Entry {
    Entry::alone(name, "MB", bytes / 1e6, Better::Lower)
}
