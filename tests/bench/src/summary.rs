//! The figures that are kept: `target/bench/summary.json`, and the table.
//!
//! An array of `{"name", "unit", "ours", "peer", "peer_name", "ratio", "better"}`. `ours` and `peer` are medians in `unit`;
//! `better` says of them whether `lower` or `higher` is better. `ratio` is ours / peer, except where the target says "faster"
//! (`sandbox_start_vs_bwrap`, `sandbox_start_vs_runc`): there it is how many times faster we are. Without a peer, `peer`,
//! `peer_name` and `ratio` are null. Running one group keeps the entries of the others.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::{Attempt, Failure};

/// Which of two figures is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub unit: String,
    pub ours: f64,
    pub peer: Option<f64>,
    pub peer_name: Option<String>,
    pub ratio: Option<f64>,
    pub better: Better,
    /// Shown in the table, not kept.
    #[serde(skip)]
    pub note: String,
}

impl Entry {
    /// A figure of ours alone.
    pub fn alone(name: &str, unit: &str, ours: f64, better: Better) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            ours: rounded(ours),
            peer: None,
            peer_name: None,
            ratio: None,
            better,
            note: String::new(),
        }
    }

    /// Puts a peer beside it; `None` if it could not be measured.
    pub fn against(mut self, name: &str, peer: Option<f64>) -> Self {
        match peer {
            Some(peer) => {
                self.ratio = Some(rounded(self.ours / peer));
                self.peer = Some(rounded(peer));
                self.peer_name = Some(name.to_owned());
            }
            None => self.note = format!("{name} is not here or did not run"),
        }
        self
    }

    /// Turns the ratio into how many times faster we are.
    pub fn times_faster(mut self) -> Self {
        self.ratio = self.peer.map(|peer| rounded(peer / self.ours));
        self
    }

    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(&note.into());
        self
    }
}

/// All figures that are kept.
#[derive(Debug, Default)]
pub struct Summary(Vec<Entry>);

impl Summary {
    /// Reads what is kept; nothing where there is no file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::new(format!("cannot read {}: {error}", path.display()))),
        };
        let entries = serde_json::from_slice(&text).map_err(|error| {
            Failure::new(format!(
                "{} is not a summary of benches; remove it: {error}",
                path.display()
            ))
        })?;
        Ok(Self(entries))
    }

    /// Replaces entries of the same name, in their place, and adds the others.
    pub fn merge(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match self.0.iter_mut().find(|kept| kept.name == entry.name) {
                Some(kept) => *kept = entry,
                None => self.0.push(entry),
            }
        }
    }

    /// Writes all of it, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(&self.0).expect("plain figures");
        text.push('\n');
        let unfinished = path.with_extension("unfinished");
        fs::create_dir_all(path.parent().expect("it lies below target"))
            .and_then(|()| fs::write(&unfinished, text))
            .and_then(|()| fs::rename(&unfinished, path))
            .attempt(|| format!("write {}", path.display()))
    }
}

/// The entries as a table.
pub fn table(entries: &[Entry]) -> String {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value}"));
    let mut rows = vec![["", "ours", "peer", "ratio", "unit", "against", "note"].map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| {
        let unit = match entry.better {
            Better::Lower => format!("{}, less is better", entry.unit),
            Better::Higher => format!("{}, more is better", entry.unit),
        };
        [
            entry.name.clone(),
            number(Some(entry.ours)),
            number(entry.peer),
            number(entry.ratio),
            unit,
            entry.peer_name.clone().unwrap_or_default(),
            entry.note.clone(),
        ]
    }));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
    rows.iter().fold(String::from("\n"), |mut text, row| {
        for (column, cell) in row.iter().enumerate() {
            let pad = widths[column].saturating_sub(cell.chars().count());
            let (before, after) = if (1..=3).contains(&column) {
                (pad, 0)
            } else {
                (0, pad)
            };
            let _ = write!(text, "{:before$}{cell}{:after$}  ", "", "");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    })
}

/// Three significant digits say all that a machine with moods can.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_keeps_the_figures_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench/summary.json");
        let mut summary = Summary::read(&path).unwrap();
        summary.merge(vec![
            Entry::alone("idle", "MB", 41.0, Better::Lower),
            Entry::alone("request", "µs", 18.0, Better::Lower).against("nginx", Some(12.0)),
        ]);
        summary.write(&path).unwrap();
        let mut summary = Summary::read(&path).unwrap();
        summary.merge(vec![
            Entry::alone("request", "µs", 24.0, Better::Lower).against("nginx", Some(12.0)),
        ]);
        summary.write(&path).unwrap();
        let kept = Summary::read(&path).unwrap().0;
        let shown: Vec<_> = kept
            .iter()
            .map(|entry| (entry.name.as_str(), entry.ours, entry.ratio))
            .collect();
        assert_eq!(shown, [("idle", 41.0, None), ("request", 24.0, Some(2.0))]);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let keys: Vec<&String> = json[0].as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["better", "name", "ours", "peer", "peer_name", "ratio", "unit"]
        );
        assert!(json[0]["peer"].is_null() && json[0]["ratio"].is_null());
    }

    #[test]
    fn something_else_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        fs::write(&path, "{}").unwrap();
        assert!(Summary::read(&path).is_err());
    }

    #[test]
    fn ratios_are_said_the_way_targets_are() {
        let entry = Entry::alone("x", "ms", 2.0, Better::Lower).against("runc", Some(30.0));
        assert_eq!(entry.ratio, Some(0.0667));
        assert_eq!(entry.times_faster().ratio, Some(15.0));
        let absent = Entry::alone("x", "ms", 2.0, Better::Lower)
            .against("runc", None)
            .times_faster();
        assert_eq!((absent.ratio, absent.peer_name), (None, None));
        assert_eq!(absent.note, "runc is not here or did not run");
    }
}
