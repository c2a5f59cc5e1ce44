//! Group `scale`: what a server that keeps or runs very much costs, beside one that keeps or runs little.
//!
//! Both run at the same time and are asked in turns, so that the machine's other work strikes them alike.

mod copies;
mod parallel;
mod running;
mod stored;

use std::time::Instant;

use percloud_tests::Server;
use percloud_tests::package::{Package, Recipe};

use crate::Plan;
use crate::curve::Curve;
use crate::failure::Failure;
use crate::figures::Series;
use crate::http::client::{Connection, Shell};
use crate::summary::Entry;

pub const NAMES: [&str; 7] = [
    "scale_stored_open",
    "scale_stored_list",
    "scale_stored_search",
    "scale_running_open",
    "scale_running_request",
    "scale_running_memory",
    "scale_parallel_opens",
];

/// Runs what the plan wants of this group.
pub fn run(plan: &Plan, entries: &mut Vec<Entry>, curves: &mut Vec<Curve>) -> Result<(), Failure> {
    raise_open_files();
    if plan.wants(&NAMES[..3]) {
        stored::measure(plan, entries, curves)?;
    }
    if plan.wants(&NAMES[3..6]) {
        running::measure(plan, entries, curves)?;
    }
    if plan.wants(&NAMES[6..]) {
        parallel::measure(plan, entries, curves)?;
    }
    Ok(())
}

/// This program holds a connection for each page.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _as_it_was = setrlimit(Resource::Nofile, limit);
}

/// A server with the native app.
struct Place {
    server: Server,
    shell: Shell,
    package: Package,
    app: String,
}

impl Place {
    fn new() -> Result<Self, Failure> {
        let server = Server::start();
        let shell = Shell::set_up(&server)?;
        let package = Recipe::of_program("Guestbook", "percloud-raw-app", &[]).pack();
        let app = shell.install(package.path())?;
        Ok(Self {
            server,
            shell,
            package,
            app,
        })
    }

    /// So many people more, each with the app.
    fn family(&self, count: usize) -> Result<Vec<Shell>, Failure> {
        let join = |number| {
            let person = self.shell.invite(&self.server, &format!("person{number}"))?;
            person.install(self.package.path())?;
            Ok(person)
        };
        (0..count).map(join).collect()
    }

    fn create(&self, count: usize) -> Result<Vec<String>, Failure> {
        (0..count).map(|_| self.shell.create(&self.app)).collect()
    }
}

/// Milliseconds from the click on a grain to the first byte of its page.
fn open(shell: &Shell, connection: &mut Connection, grain: &str) -> Result<f64, Failure> {
    let click = Instant::now();
    let mut visit = shell.open_on(connection, grain)?;
    let first_byte = visit.connection.get("/small")?.first_byte;
    Ok((first_byte - click).as_secs_f64() * 1e3)
}

/// Milliseconds that asking for `path` takes, to its last byte.
fn ask(connection: &mut Connection, path: &str) -> Result<f64, Failure> {
    let since = Instant::now();
    connection.get(path)?;
    Ok(since.elapsed().as_secs_f64() * 1e3)
}

fn median(series: &Series) -> f64 {
    series.median().unwrap_or(f64::NAN)
}
