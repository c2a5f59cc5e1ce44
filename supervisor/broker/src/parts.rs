//! Parts of the server that end again and again, for whoever runs it to hear of.

use serde_json::{Value, json};

use crate::broker::Broker;

/// A process without which something does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// This process, with which everything begins anew.
    Broker,
    /// Answers browsers.
    Edge,
    /// Opens connections to other machines.
    Egress,
    /// Starts grains.
    Launcher,
}

impl Part {
    fn warning(self) -> Value {
        let (code, message) = match self {
            Self::Broker => (
                "broker-fails",
                "The part of this server that holds it together ends again and again. Everything begins anew each time, and apps lose what they had not saved. The server's log says why.",
            ),
            Self::Edge => (
                "edge-fails",
                "The part of this server that answers browsers ends again and again. Pages may fail to load. The server's log says why.",
            ),
            Self::Egress => (
                "egress-fails",
                "The part of this server that connects apps to other machines ends again and again. Until that is mended they reach none. The server's log says why.",
            ),
            Self::Launcher => (
                "launcher-fails",
                "The part of this server that starts apps ends again and again, and takes all that run along. The server's log says why.",
            ),
        };
        json!({"code": code, "message": message})
    }
}

impl Broker {
    /// Says what protects less than it should from now on.
    pub fn set_weaknesses(&self, weaknesses: Vec<String>) {
        const CODE: &str = "weaker-sandbox";
        let mut warnings = self.warnings.borrow_mut();
        warnings.retain(|(code, _)| *code != CODE);
        warnings.extend(weaknesses.into_iter().map(|weakness| (CODE, weakness)));
    }

    /// Takes note that a part ends again and again, or has settled.
    pub fn part_fails(&self, part: Part, fails: bool) {
        let mut failing = self.failing.borrow_mut();
        if fails {
            failing.insert(part);
        } else {
            failing.remove(&part);
        }
    }

    /// What to tell whoever runs the server.
    pub(crate) fn part_warnings(&self) -> Vec<Value> {
        self.failing.borrow().iter().map(|part| part.warning()).collect()
    }
}
