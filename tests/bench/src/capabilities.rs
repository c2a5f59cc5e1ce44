//! Group `capabilities`: what a membrane costs per call, and how soon taking back bites.

mod membrane;
mod revoke;

use crate::Plan;
use crate::failure::Failure;
use crate::summary::Entry;

pub const NAMES: [&str; 3] = ["membrane", "revoke_new_call", "revoke_open_stream"];

/// Runs what the plan wants of this group.
pub fn run(plan: &Plan, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    if plan.wants(&["membrane"]) {
        println!("Calling through a membrane and without …");
        entries.push(membrane::measure(plan)?);
    }
    if plan.wants(&["revoke_new_call", "revoke_open_stream"]) {
        println!("Taking back what is in use …");
        entries.extend(revoke::measure(plan)?);
    }
    Ok(())
}
