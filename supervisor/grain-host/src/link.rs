//! This host's limits as the bounds of its connections.

#[cfg(test)]
mod tests;

use std::rc::Rc;

pub(crate) use percloud_link::{Bounds, Gauge, Link, Pulse};

use crate::config::Limits;

/// What a peer on one connection may make us hold. `gauge` counts the bytes on their way to it; while too many wait on
/// `pressure`, where its words go, no more of them are read.
pub(crate) fn bounds(limits: &Limits, gauge: Rc<Gauge>, pressure: Option<Rc<Gauge>>) -> Bounds {
    Bounds {
        message_words: limits.message_words,
        call_words: limits.call_words,
        calls: limits.calls,
        capabilities: limits.capabilities,
        queued_bytes: limits.queued_bytes,
        gauge,
        pressure,
        ..Bounds::default()
    }
}
