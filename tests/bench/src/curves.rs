//! Group `curves`: how the figures of the other groups change with size. Each is drawn and kept in `target/bench/curves.json`;
//! none is in the summary.

mod bodies;
mod connections;

use percloud_tests::Server;
use percloud_tests::package::Recipe;

use crate::Plan;
use crate::curve::Curve;
use crate::failure::Failure;
use crate::http::client::Shell;
use crate::peer::Nginx;

pub const NAMES: [&str; 2] = ["connections", "bodies"];

/// Runs what the plan wants of this group.
pub fn run(plan: &Plan, curves: &mut Vec<Curve>) -> Result<(), Failure> {
    let server = Server::start();
    let shell = Shell::set_up(&server)?;
    let package = Recipe::of_program("Guestbook", "percloud-raw-app", &[]).pack();
    let app = shell.install(package.path())?;
    let visit = shell.open(&shell.create(&app)?)?;
    let nginx = Nginx::start()?;
    if plan.wants(&["connections"]) {
        println!("Requests over ever more connections …");
        connections::measure(plan, &server, &visit, nginx.as_ref(), curves)?;
    }
    if plan.wants(&["bodies"]) {
        println!("Bodies of every size …");
        bodies::measure(plan, &server, &visit, nginx.as_ref(), curves)?;
    }
    Ok(())
}
