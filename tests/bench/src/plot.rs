//! Draws curves as SVG, and a page with all of them. Readable in light and dark, on a phone and on a desk.

use std::fmt::Write;

use crate::curve::{Axis, Curve, Line};

// A narrow drawing with large letters: scaled down to a phone it can still be read.
const WIDTH: f64 = 360.0;
const PLOT: f64 = 220.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BELOW: f64 = 44.0;
const ROW: f64 = 18.0;

const STYLE: &str = "\
svg{--back:#fff;--ink:#1c2330;--soft:#5a6475;--grid:#dfe3ea;--c0:#1a56db;--c1:#b45309;--c2:#0f766e;--c3:#9333ea;--c4:#be123c;\
background:var(--back)}\
@media (prefers-color-scheme:dark){svg{--back:#12161f;--ink:#e6eaf2;--soft:#a3adbd;--grid:#2b3341;--c0:#82aaff;--c1:#f6ad55;\
--c2:#5eead4;--c3:#d8b4fe;--c4:#fda4af}}\
text{font:12px system-ui,sans-serif;fill:var(--ink)}.soft{fill:var(--soft)}.grid{stroke:var(--grid);stroke-width:1}\
.axis{stroke:var(--soft);stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round}\
.s0{stroke:var(--c0)}.s1{stroke:var(--c1);stroke-dasharray:6 3}.s2{stroke:var(--c2);stroke-dasharray:2 3}\
.s3{stroke:var(--c3);stroke-dasharray:8 3 2 3}.s4{stroke:var(--c4);stroke-dasharray:4 4}\
.m{stroke-dasharray:none}.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}";

/// From values to places.
struct Scale {
    log: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let values: Vec<f64> = values.filter(|value| !axis.log || *value > 0.0).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match (axis.log, low.is_finite()) {
            (_, false) => (1.0, 10.0),
            (true, true) => (low * 0.9, high * 1.1),
            // Lengths mean something only from nought.
            (false, true) => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
        };
        Self {
            log: axis.log,
            low,
            high,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let part = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values along it; few enough to be labelled.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
            let every = 1 + decades.clone().count() / 12;
            let wide: Vec<f64> = decades
                .clone()
                .step_by(every)
                .map(|power| 10_f64.powi(power))
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
            if wide.len() > 2 {
                return wide;
            }
            let fine = decades.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
            let fine: Vec<f64> = fine
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
            if fine.len() > 2 {
                return fine;
            }
        }
        let rough = (self.high - self.low) / 5.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|digit| digit * decade)
            .into_iter()
            .find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..)
            .map(|number| number as f64 * step)
            .take_while(|tick| *tick <= self.high)
            .collect()
    }
}

/// A number as people write it: 1500 as 1.5k.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        value if value >= 1e9 => (1e9, "G"),
        value if value >= 1e6 => (1e6, "M"),
        value if value >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let scaled = value / scaled;
    let digits = match scaled.abs() {
        value if value >= 100.0 || value == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    let mut text = format!("{scaled:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text + unit
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// One curve, drawn.
pub fn svg(curve: &Curve) -> String {
    let of = |part: fn(&(f64, f64)) -> f64| curve.lines.iter().flat_map(|line| &line.points).map(part);
    let x = Scale::of(&curve.x, of(|point| point.0), LEFT, WIDTH - RIGHT);
    let y = Scale::of(&curve.y, of(|point| point.1), TOP + PLOT, TOP);
    let height = TOP + PLOT + BELOW + ROW * curve.lines.len() as f64 + 8.0;
    let (bottom, right) = (TOP + PLOT, WIDTH - RIGHT);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\
         <style>{STYLE}</style>\n",
        escaped(&curve.title)
    );
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            short(tick)
        );
    }
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            short(tick)
        );
    }
    let _ = writeln!(
        out,
        "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        bottom + 34.0,
        escaped(&curve.x.label),
        TOP + PLOT / 2.0,
        escaped(&curve.y.label)
    );
    for (number, line) in curve.lines.iter().enumerate() {
        draw(&mut out, line, number % 5, &x, &y);
        let at = bottom + BELOW + ROW * number as f64 + 8.0;
        let number = number % 5;
        let _ = writeln!(
            out,
            "<path class=\"line s{number}\" d=\"M{LEFT} {at:.1}h26\"/>{}<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            marker(number, LEFT + 13.0, at),
            LEFT + 34.0,
            at + 4.0,
            escaped(&line.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, line: &Line, number: usize, x: &Scale, y: &Scale) {
    let places: Vec<(f64, f64)> = line
        .points
        .iter()
        .map(|(at, value)| (x.place(*at), y.place(*value)))
        .collect();
    let path: Vec<String> = places
        .iter()
        .map(|(at, value)| format!("{at:.1} {value:.1}"))
        .collect();
    let _ = writeln!(out, "<path class=\"line s{number}\" d=\"M{}\"/>", path.join("L"));
    // Of a long line the shape says all.
    if places.len() <= 16 {
        places
            .iter()
            .for_each(|(at, value)| out.push_str(&marker(number, *at, *value)));
        out.push('\n');
    }
}

/// Sides differ in shape too: not everybody tells colours apart.
fn marker(number: usize, x: f64, y: f64) -> String {
    let shape = match number {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
        1 => "m-3.5 -3.5h7v7h-7z",
        2 => "m0 -4.5l4.5 8h-9z",
        3 => "m0 -5l5 5l-5 5l-5 -5z",
        _ => "m0 4.5l4.5 -8h-9z",
    };
    format!("<path class=\"m f{number}\" d=\"M{x:.1} {y:.1}{shape}\"/>")
}

const PAGE: &str = "\
:root{color-scheme:light dark;--back:#f4f6f9;--card:#fff;--ink:#1c2330;--soft:#5a6475;--edge:#dfe3ea}\
@media (prefers-color-scheme:dark){:root{--back:#0b0e14;--card:#12161f;--ink:#e6eaf2;--soft:#a3adbd;--edge:#2b3341}}\
body{margin:0 auto;max-width:84rem;padding:1rem;background:var(--back);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}\
section{min-width:0;padding:1rem;border:1px solid var(--edge);border-radius:.5rem;background:var(--card)}\
h1{font-size:1.375rem;margin:.5rem 0 1rem}h2{font-size:1.0625rem;margin:0 0 .5rem}p{margin:.5rem 0 0;color:var(--soft)}img{display:block;width:100%}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.875rem}th,td{padding:.125rem .75rem .125rem 0;text-align:right}\
summary{padding:.75rem 0;cursor:pointer;color:var(--soft)}";

/// A page with all curves and their figures.
pub fn index(curves: &[Curve]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Percloud, measured</title><style>{PAGE}</style></head><body><h1>Percloud, measured</h1><main>\n"
    );
    for curve in curves {
        let (title, name) = (escaped(&curve.title), escaped(&curve.name));
        let _ = writeln!(
            page,
            "<section><h2>{title}</h2><a href=\"{name}.svg\"><img src=\"{name}.svg\" alt=\"{title}\"></a><p>{}</p>\
             <details><summary>Figures</summary><div class=\"scroll\" tabindex=\"0\"><table><tr><th>{}</th>{}</tr>{}</table></div></details></section>",
            escaped(&curve.note),
            escaped(&curve.x.label),
            curve
                .lines
                .iter()
                .map(|line| format!("<th>{}, {}</th>", escaped(&line.name), escaped(&curve.y.label)))
                .collect::<String>(),
            rows(curve)
        );
    }
    page.push_str("</main></body></html>\n");
    page
}

fn rows(curve: &Curve) -> String {
    let mut places: Vec<f64> = curve
        .lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.0))
        .collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    // Of a distribution every tenth says enough.
    let every = places.len().div_ceil(24).max(1);
    let cell = |line: &Line, place: f64| {
        let point = line.points.iter().find(|point| point.0 == place);
        point.map_or(String::new(), |point| short(point.1))
    };
    places
        .iter()
        .step_by(every)
        .map(|place| {
            let cells: String = curve
                .lines
                .iter()
                .map(|line| format!("<td>{}</td>", cell(line, *place)))
                .collect();
            format!("<tr><td>{}</td>{cells}</tr>", short(*place))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let scale = |axis: Axis, values: &[f64]| Scale::of(&axis, values.iter().copied(), 0.0, 1.0);
        let wide = scale(Axis::log(""), &[1e3, 1e9]).ticks();
        assert_eq!(wide.first(), Some(&1e3));
        assert!((3..=9).contains(&wide.len()), "{wide:?}");
        let narrow = scale(Axis::log(""), &[1.1, 6.0]).ticks();
        assert_eq!(narrow, [1.0, 2.0, 5.0]);
        let linear = scale(Axis::linear(""), &[3.0, 47.0]).ticks();
        assert_eq!(linear, [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert!(!scale(Axis::linear(""), &[]).ticks().is_empty());
        assert!(!scale(Axis::linear(""), &[0.0]).ticks().is_empty());
    }

    #[test]
    fn places_grow_with_values() {
        for axis in [Axis::log(""), Axis::linear("")] {
            let scale = Scale::of(&axis, [1.0, 1000.0].into_iter(), 0.0, 100.0);
            assert!(scale.place(1.0) < scale.place(10.0) && scale.place(10.0) < scale.place(1000.0));
            assert!(scale.place(1e9) <= 100.0);
        }
    }

    #[test]
    fn numbers_are_short() {
        let written = [0.0, 0.25, 1.0, 1500.0, 100_000.0, 1_073_741_824.0].map(short);
        assert_eq!(written, ["0", "0.25", "1", "1.5k", "100k", "1.07G"]);
    }
}
