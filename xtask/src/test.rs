//! `cargo xtask test`: every suite, or those named, each ending with one line of counts.

mod count;
mod programs;
mod suites;

use std::time::Instant;

use crate::failure::Failure;
use crate::workspace::Workspace;
use count::Count;

/// A named group of tests.
pub struct Suite {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line for the help text.
    pub summary: &'static str,
    /// Whether it runs only when it is named.
    pub is_long: bool,
    run: fn(&Workspace) -> Result<Count, Failure>,
}

/// All suites, in the order in which they run: what fails fastest comes first.
pub const SUITES: [Suite; 12] = [
    Suite {
        name: "architecture",
        summary: "the crates and arrows of docs/architecture.md",
        is_long: false,
        run: suites::architecture,
    },
    Suite {
        name: "schemas",
        summary: "committed generated code is what the schemas say",
        is_long: false,
        run: suites::schemas,
    },
    Suite {
        name: "unit",
        summary: "the tests beside the code of every crate not below",
        is_long: false,
        run: suites::unit,
    },
    Suite {
        name: "store",
        summary: "the durable store, with its crash harness",
        is_long: false,
        run: suites::store,
    },
    Suite {
        name: "sandbox",
        summary: "namespaces, file system, seccomp, limits",
        is_long: false,
        run: suites::sandbox,
    },
    Suite {
        name: "instructions",
        summary: "what a warm request costs, counted; --renew writes the numbers of this build",
        is_long: false,
        run: suites::instructions,
    },
    Suite {
        name: "ui",
        summary: "the browser shell: types, tests, build",
        is_long: false,
        run: suites::ui,
    },
    Suite {
        name: "system",
        summary: "a whole server, driven from outside",
        is_long: false,
        run: suites::system,
    },
    Suite {
        name: "clients",
        summary: "programs that people own: git, calendars, WebDAV, curl",
        is_long: false,
        run: suites::clients,
    },
    Suite {
        name: "browser",
        summary: "the sample apps, used in Chromium",
        is_long: false,
        run: suites::browser,
    },
    Suite {
        name: "lint",
        summary: "format, clippy, licences of dependencies",
        is_long: false,
        run: suites::lint,
    },
    Suite {
        name: "residue",
        summary: "10,000 starts and ends, however they come about, leave nothing; only when named",
        is_long: true,
        run: suites::residue,
    },
];

/// Runs the suites named, or all that are not long; fails when any test failed or a suite could not run.
pub fn run(workspace: &Workspace, names: &[String]) -> Result<(), Failure> {
    if names == ["instructions", "--renew"] {
        return suites::renew_instructions();
    }
    if let Some(unknown) = names
        .iter()
        .find(|name| !SUITES.iter().any(|suite| suite.name == name.as_str()))
    {
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        return Err(Failure::new(format!(
            "there is no suite `{unknown}`; there are: {}",
            known.join(", ")
        )));
    }
    let mut bad = Vec::new();
    let mut closing = Vec::new();
    for suite in SUITES
        .iter()
        .filter(|suite| names.is_empty() && !suite.is_long || names.iter().any(|name| name == suite.name))
    {
        println!("\n== {}: {}", suite.name, suite.summary);
        let start = Instant::now();
        let count = (suite.run)(workspace).unwrap_or_else(|failure| {
            eprintln!("error: {failure}");
            Count::one_failure()
        });
        println!("({} took {} s)", suite.name, start.elapsed().as_secs());
        // A suite that ran nothing has shown nothing.
        let count = if count.passed == 0 && count.failed == 0 {
            eprintln!("error: the suite {} ran no test", suite.name);
            Count::one_failure()
        } else {
            count
        };
        println!("{}: {count}", suite.name);
        closing.push(format!("{}: {count}", suite.name));
        if count.failed > 0 {
            bad.push(suite.name);
        }
    }
    if closing.len() > 1 {
        println!("\n== all suites");
        closing.iter().for_each(|line| println!("{line}"));
    }
    if bad.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("tests failed in: {}", bad.join(", "))))
    }
}
