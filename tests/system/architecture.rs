//! Compares the arrows drawn in `docs/architecture.md` with those that Cargo follows.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the graph comes from `cargo metadata`")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// Crates that stand outside: they test and build the others.
const OUTSIDE: [&str; 4] = [
    "percloud-tests",
    "percloud-bench",
    "percloud-instructions",
    "xtask",
];

type Arrow = (String, String);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

#[test]
fn the_arrows_drawn_are_the_arrows_there_are() {
    let (drawn, real) = (drawn(), real());
    let missing: Vec<&Arrow> = real.difference(&drawn).collect();
    let gone: Vec<&Arrow> = drawn.difference(&real).collect();
    assert!(
        missing.is_empty(),
        "not drawn in docs/architecture.md (a new arrow is a decision: write an ADR): {missing:?}"
    );
    assert!(
        gone.is_empty(),
        "drawn in docs/architecture.md but gone: {gone:?}"
    );
}

#[test]
fn the_processes_that_must_not_know_one_another_do_not() {
    let real = real();
    let apart = ["percloud-edge", "percloud-broker", "percloud-grain-host"];
    for from in apart {
        for to in apart {
            assert!(
                !real.contains(&(from.to_owned(), to.to_owned())),
                "{from} must not know {to}"
            );
        }
    }
    for alone in ["percloud-sandbox", "percloud-store"] {
        assert!(
            !real.iter().any(|(from, _)| from == alone),
            "{alone} uses nothing else of ours"
        );
    }
}

#[test]
fn unsafe_code_is_forbidden_where_it_has_no_business() {
    let allowed = ["percloud-sandbox", "percloud-hostile"];
    let root = root();
    let sources = [
        "schemas/src/lib.rs",
        "schemas/compiler/src/lib.rs",
        "supervisor/src/main.rs",
        "supervisor/core/src/lib.rs",
        "supervisor/store/src/lib.rs",
        "supervisor/backup/src/lib.rs",
        "supervisor/broker/src/lib.rs",
        "supervisor/grain-host/src/lib.rs",
        "supervisor/edge/src/lib.rs",
        "spk-tool/src/lib.rs",
        "spk-tool/src/main.rs",
        "xtask/src/main.rs",
        "tests/harness/lib.rs",
    ];
    for source in sources {
        let text =
            std::fs::read_to_string(root.join(source)).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{source} does not forbid unsafe code; only {allowed:?} may have it"
        );
    }
}

/// The fenced block of `A -> B` lines under the heading "Arrows".
fn drawn() -> BTreeSet<Arrow> {
    let text =
        std::fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md is there");
    let (_, after) = text
        .split_once("\n## Arrows\n")
        .expect("docs/architecture.md has a heading \"Arrows\"");
    let (_, block) = after
        .split_once("```arrows\n")
        .expect("a block of arrows follows the heading");
    let (block, _) = block.split_once("```").expect("the block ends");
    let arrows: BTreeSet<Arrow> = block
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (from, to) = line
                .split_once("->")
                .unwrap_or_else(|| panic!("`{line}` is no arrow"));
            (from.trim().to_owned(), to.trim().to_owned())
        })
        .collect();
    assert!(!arrows.is_empty());
    arrows
}

/// What Cargo builds with: normal and build dependencies between crates of this workspace.
fn real() -> BTreeSet<Arrow> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root())
        .output();
    let output = output.expect("cargo can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).expect("cargo prints its metadata as JSON");
    let mut arrows = BTreeSet::new();
    for package in metadata
        .packages
        .iter()
        .filter(|package| !OUTSIDE.contains(&package.name.as_str()))
    {
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some());
        for dependency in ours.filter(|dependency| dependency.kind.as_deref() != Some("dev")) {
            arrows.insert((package.name.clone(), dependency.name.clone()));
        }
    }
    arrows
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in a folder of the repository")
}
