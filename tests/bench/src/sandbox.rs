//! Group `sandbox`: from the decision to start a program to the first byte it writes.
//!
//! The same small, statically linked program every time; the starts of all sides take turns. Ours is a start as the server
//! makes it, asked of a launcher that keeps sandboxes ready; and, with `unpooled` in the name, one from nothing:
//! `percloud_sandbox::start`, called by a single-threaded process as a grain host is.

pub mod ahead;
mod others;
pub mod ours;
mod payload;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use percloud_sandbox::SandboxSpec;

use crate::Plan;
use crate::curve::{Axis, Curve, Line};
use crate::failure::{Attempt, Failure};
use crate::figures::Series;
use crate::summary::{Better, Entry};

pub const NAMES: [&str; 5] = [
    "sandbox_start_vs_bwrap",
    "sandbox_start_vs_runc",
    "sandbox_start_vs_fork_exec",
    "sandbox_start_unpooled_vs_bwrap",
    "sandbox_start_unpooled_vs_runc",
];

/// One start of one side: its time in milliseconds.
type Start<'a> = Box<dyn FnMut() -> Result<f64, Failure> + 'a>;

/// Runs what the plan wants of this group.
pub fn run(plan: &Plan, entries: &mut Vec<Entry>, curves: &mut Vec<Curve>) -> Result<(), Failure> {
    println!("Starting sandboxes …");
    let folder = tempfile::Builder::new().prefix("percloud-sandboxes-").tempdir();
    let folder = folder.attempt(|| "make a temporary folder".to_owned())?;
    let payload = payload::build(folder.path())?;
    let ahead = ahead::Starter::new(folder.path(), &payload)?;
    let mut ours = ours::Starter::new(folder.path(), &payload, "auto")?;
    let mut ungrouped = ours::Starter::new(folder.path(), &payload, "off")?;
    let warnings = ours.warnings().join("; ");
    let mut fork_exec = others::fork_exec(&payload);
    let mut bwrap = others::bwrap(folder.path(), &payload)?;
    let mut runc = others::runc(folder.path(), &payload)?;
    let rounds = if plan.quick { 5 } else { 100 };
    let wanted = |name| plan.wants(&[name]);
    let bwrap = bwrap.as_mut().filter(|_| wanted(NAMES[0]) || wanted(NAMES[3]));
    let runc = runc.as_mut().filter(|_| wanted(NAMES[1]) || wanted(NAMES[4]));
    let mut sides = [
        Side::new(Some(Box::new(|| ahead.start()))),
        Side::new(Some(Box::new(|| ours.start()))),
        Side::new(Some(Box::new(|| ungrouped.start()))),
        Side::new(bwrap.map(boxed)),
        Side::new(runc.map(boxed)),
        Side::new(wanted(NAMES[2]).then_some(boxed(&mut fork_exec))),
    ];
    for round in 0..=rounds {
        for (index, side) in sides.iter_mut().enumerate() {
            let Some(start) = &mut side.start else { continue };
            // The kernel takes the last one's network namespace down in the background, under locks that the next one
            // needs: whoever comes next would pay for whoever came before.
            std::thread::sleep(SETTLE);
            match start() {
                // The first of each finds nothing in any cache.
                Ok(took) if round > 0 => side.series.push(took),
                Ok(_) => {}
                Err(failure) if index < 3 => return Err(failure),
                // Some peers do not run everywhere (runc wants its control groups): then there is nothing to compare with.
                Err(failure) => {
                    eprintln!("a peer is left out: {failure}");
                    *side = Side::new(None);
                }
            }
        }
    }
    let [ahead, own, ungrouped, bwrap, runc, fork_exec] = sides.map(|side| side.series);
    curves.push(distribution(&[
        ("Percloud, made ahead", &ahead),
        ("bwrap --unshare-all", &bwrap),
        ("runc run", &runc),
        ("fork + exec: no sandbox", &fork_exec),
        ("Percloud, from nothing", &own),
    ]));
    let figure = |series: &Series, part| series.quantile(part).unwrap_or(f64::NAN);
    let spread = |series: &Series| {
        format!(
            "p10 {:.2} ms, p99 {:.2} ms",
            figure(series, 0.1),
            figure(series, 0.99)
        )
    };
    let of_ahead = |name: &str| Entry::alone(name, "ms", figure(&ahead, 0.5), Better::Lower);
    let unpooled = |name: &str| Entry::alone(name, "ms", figure(&own, 0.5), Better::Lower);
    let (named_bwrap, named_runc) = ("bwrap --unshare-all", "runc run");
    entries.push(
        of_ahead(NAMES[0])
            .against(named_bwrap, bwrap.median())
            .times_faster()
            .with_note(format!("made ahead; {}; {rounds} rounds", spread(&ahead))),
    );
    entries.push(
        of_ahead(NAMES[1])
            .against(named_runc, runc.median())
            .times_faster(),
    );
    entries.push(
        of_ahead(NAMES[2])
            .against("fork + exec", fork_exec.median())
            .with_note(warnings),
    );
    let note = format!(
        "from nothing; {}; {:.2} ms without a control group",
        spread(&own),
        figure(&ungrouped, 0.5)
    );
    entries.push(
        unpooled(NAMES[3])
            .against(named_bwrap, bwrap.median())
            .times_faster()
            .with_note(note),
    );
    entries.push(
        unpooled(NAMES[4])
            .against(named_runc, runc.median())
            .times_faster(),
    );
    Ok(())
}

/// Which part of the starts was done by when, of each side.
fn distribution(sides: &[(&str, &Series)]) -> Curve {
    let line = |(name, series): &(&str, &Series)| {
        let mut line = Line::new(name);
        for percent in 0..=100 {
            let part = f64::from(percent) / 100.0;
            if let Some(took) = series.quantile(part) {
                line.push(took, Some(f64::from(percent)));
            }
        }
        line
    };
    Curve::new(
        "sandbox_start",
        "Starting a sandbox",
        Axis::log("ms from the decision to the program's first byte"),
        Axis::linear("% of starts"),
        sides.iter().map(line).collect(),
    )
    .with_note("The same static program; all sides take turns. Further left is faster, steeper is steadier.")
}

/// Time between two starts.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(15);

/// One way of starting the program, and how long it took so far.
struct Side<'a> {
    start: Option<Start<'a>>,
    series: Series,
}

impl<'a> Side<'a> {
    fn new(start: Option<Start<'a>>) -> Self {
        Self {
            start,
            series: Series::default(),
        }
    }
}

fn boxed(starter: &mut others::Starter) -> Start<'_> {
    Box::new(|| timed(&mut starter()))
}

/// Starts a command, waits for its first byte, and lets it end outside the clock.
fn timed(command: &mut Command) -> Result<f64, Failure> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let since = Instant::now();
    let mut child = command
        .spawn()
        .attempt(|| format!("start {:?}", command.get_program()))?;
    let mut byte = [0];
    let read = child.stdout.take().expect("it is piped").read_exact(&mut byte);
    let took = since.elapsed();
    let output = child.wait_with_output().attempt(|| "wait for it".to_owned())?;
    if read.is_err() || byte[0] != payload::BYTE || !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "{command:?} ended with {}: {}",
            output.status,
            said.trim()
        )));
    }
    Ok(took.as_secs_f64() * 1e3)
}

/// Makes package and storage of our sandboxes, and what to start in them.
fn place(folder: &std::path::Path, payload: &std::path::Path) -> Result<SandboxSpec, Failure> {
    let package = root(folder, "package", payload)?;
    let var = folder.join("var");
    fs::create_dir_all(&var).attempt(|| format!("make {}", var.display()))?;
    Ok(SandboxSpec::new(package, var, vec!["/first-byte".to_owned()]))
}

/// Makes the root of a sandbox: the program, and places to mount on.
fn root(
    folder: &std::path::Path,
    name: &str,
    payload: &std::path::Path,
) -> Result<std::path::PathBuf, Failure> {
    let root = folder.join(name);
    let make = || {
        for place in ["dev", "proc", "sys", "tmp", "var"] {
            fs::create_dir_all(root.join(place))?;
        }
        fs::copy(payload, root.join("first-byte")).map(drop)
    };
    make().attempt(|| format!("make {}", root.display()))?;
    Ok(root)
}
