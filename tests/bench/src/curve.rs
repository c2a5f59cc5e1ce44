//! How figures change with size: `target/bench/curves.json`, and a plot of each (see [`plot`](crate::plot)).
//!
//! An array of `{"name", "title", "note", "x": {"label", "log"}, "y": {"label", "log"}, "lines": [{"name", "points": [[x, y], …]}]}`.
//! Running some curves keeps the others.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::{Attempt, Failure};
use crate::plot;

/// One axis of a plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What it counts, with its unit.
    pub label: String,
    pub log: bool,
}

impl Axis {
    pub fn log(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            log: true,
        }
    }

    pub fn linear(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            log: false,
        }
    }
}

/// What was measured of one side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Line {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            points: Vec::new(),
        }
    }

    /// Adds a point; what could not be measured is left out.
    pub fn push(&mut self, x: f64, y: Option<f64>) {
        if let Some(y) = y.filter(|y| y.is_finite()) {
            self.points.push((x, y));
        }
    }
}

/// Several sides over one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub title: String,
    pub note: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

impl Curve {
    pub fn new(name: &str, title: &str, x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            note: String::new(),
            x,
            y,
            lines: lines.into_iter().filter(|line| !line.points.is_empty()).collect(),
        }
    }

    pub fn with_note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }
}

/// Replaces curves of the same name in `folder`, keeps the others, and draws them all.
pub fn keep(folder: &Path, new: Vec<Curve>) -> Result<(), Failure> {
    let path = folder.join("curves.json");
    let mut curves: Vec<Curve> = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| {
            Failure::new(format!("{} holds no curves; remove it: {error}", path.display()))
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Failure::new(format!("cannot read {}: {error}", path.display()))),
    };
    for curve in new {
        match curves.iter_mut().find(|kept| kept.name == curve.name) {
            Some(kept) => *kept = curve,
            None => curves.push(curve),
        }
    }
    let mut text = serde_json::to_string_pretty(&curves).expect("plain figures");
    text.push('\n');
    let write = |name: &str, text: &str| {
        let unfinished = folder.join("unfinished");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&unfinished, text))
            .and_then(|()| fs::rename(&unfinished, folder.join(name)))
            .attempt(|| format!("write {name} in {}", folder.display()))
    };
    write("curves.json", &text)?;
    for curve in &curves {
        write(&format!("{}.svg", curve.name), &plot::svg(curve))?;
    }
    write("index.html", &plot::index(&curves))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, y: f64) -> Curve {
        let mut line = Line::new("ours <&>");
        line.push(1.0, Some(y));
        line.push(10.0, Some(f64::NAN));
        line.push(100.0, None);
        Curve::new(
            name,
            "Title",
            Axis::log("grains"),
            Axis::linear("ms"),
            vec![line, Line::new("none")],
        )
    }

    #[test]
    fn curves_are_kept_by_name_and_drawn() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), vec![curve("a", 1.0), curve("b", 2.0)]).unwrap();
        keep(folder.path(), vec![curve("b", 3.0)]).unwrap();
        let text = fs::read(folder.path().join("curves.json")).unwrap();
        let kept: Vec<Curve> = serde_json::from_slice(&text).unwrap();
        let points: Vec<_> = kept.iter().map(|curve| &curve.lines[0].points).collect();
        assert_eq!(points, [&vec![(1.0, 1.0)], &vec![(1.0, 3.0)]]);
        assert_eq!(kept[0].lines.len(), 1);
        let index = fs::read_to_string(folder.path().join("index.html")).unwrap();
        assert!(index.contains("a.svg") && index.contains("b.svg"));
        let svg = fs::read_to_string(folder.path().join("a.svg")).unwrap();
        assert!(svg.contains("ours &lt;&amp;&gt;") && !svg.contains("NaN"));
    }
}
