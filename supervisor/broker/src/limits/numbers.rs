//! How much a grain may take: what is usual, what was granted, and what its owner chose below that.

use serde::{Deserialize, Serialize};

/// Numbers for one grain, as far as somebody set them. Bytes, processes, bytes, files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Numbers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

/// What is kept of a grain's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OwnLimits {
    /// What the person who runs the server granted beyond, or below, the usual.
    pub granted: Numbers,
    /// How far its owner holds it below that.
    pub chosen: Numbers,
}

/// What one grain may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrainLimits {
    /// Memory of all its processes, in bytes.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes on disk, its log included.
    pub disk: u64,
    /// Files and folders.
    pub files: u64,
}

/// The bounds of one number.
pub(super) struct Bound {
    pub name: &'static str,
    pub least: u64,
    pub usual: u64,
    pub most: u64,
    pub of: fn(&mut Numbers) -> &mut Option<u64>,
}

/// Usual values: memory is what Sandstorm's apps were tested with; a mailbox or album of years fits into the storage, and
/// a thousand files a day for three years into the number of files; both are far below what a disk of today holds.
pub(super) const BOUNDS: [Bound; 4] = [
    Bound {
        name: "memory",
        least: 64 << 20,
        usual: 512 << 20,
        most: 64 << 30,
        of: |numbers| &mut numbers.memory,
    },
    Bound {
        name: "processes",
        least: 16,
        usual: 512,
        most: 16_384,
        of: |numbers| &mut numbers.processes,
    },
    Bound {
        name: "disk",
        least: 20_000_000,
        usual: 10_000_000_000,
        most: 16_000_000_000_000,
        of: |numbers| &mut numbers.disk,
    },
    Bound {
        name: "files",
        least: 1000,
        usual: 1_000_000,
        most: 100_000_000,
        of: |numbers| &mut numbers.files,
    },
];

impl Bound {
    pub(super) fn granted(&self, own: &mut OwnLimits) -> u64 {
        (self.of)(&mut own.granted).unwrap_or(self.usual)
    }

    pub(super) fn effective(&self, own: &mut OwnLimits) -> u64 {
        let granted = self.granted(own);
        (self.of)(&mut own.chosen).map_or(granted, |chosen| chosen.min(granted))
    }
}

impl OwnLimits {
    /// What holds in the end.
    pub(crate) fn effective(mut self) -> GrainLimits {
        let [memory, processes, disk, files] = BOUNDS.map(|bound| bound.effective(&mut self));
        GrainLimits {
            memory,
            processes,
            disk,
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_chooses_below_what_is_granted() {
        let own = OwnLimits {
            granted: Numbers {
                disk: Some(20 << 30),
                memory: Some(100 << 20),
                ..Numbers::default()
            },
            chosen: Numbers {
                disk: Some(5 << 30),
                memory: Some(200 << 20),
                ..Numbers::default()
            },
        };
        let limits = own.effective();
        assert_eq!(limits.disk, 5 << 30);
        assert_eq!(limits.memory, 100 << 20, "what was granted later is less");
        assert_eq!((limits.processes, limits.files), (512, 1_000_000));
    }

    #[test]
    fn records_of_older_servers_have_the_usual_limits() {
        let old: OwnLimits = serde_json::from_str("{}").unwrap();
        assert_eq!(old.effective(), OwnLimits::default().effective());
        let newer = r#"{"granted": {"disk": 5, "gpus": 3}, "chosen": {}, "later": 1}"#;
        let newer: OwnLimits = serde_json::from_str(newer).unwrap();
        assert_eq!(newer.granted.disk, Some(5));
    }
}
