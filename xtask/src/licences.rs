//! Checks that everything we link may be linked: the licence of each crate in the lock file, against a list.
//!
//! The same list stands in `deny.toml` for `cargo deny`, which also knows advisories; this check needs nothing installed.

use serde::Deserialize;

use crate::command::{cargo, output};
use crate::failure::{Attempt, Failure};

/// SPDX identifiers we accept. None of them asks more of us than notices and the source of changed files.
const ACCEPTED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Exceptions that only loosen a licence.
const ACCEPTED_EXCEPTIONS: [&str; 1] = ["LLVM-exception"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Returns a sentence for each crate whose licence is not on the list, and how many crates were looked at.
pub fn check() -> Result<(Vec<String>, usize), Failure> {
    let mut command = cargo();
    let text = output(command.args(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).attempt(|| "cannot make sense of `cargo metadata`".to_owned())?;
    let refused = metadata.packages.iter().filter_map(|package| {
        let licence = package.license.as_deref().unwrap_or_default();
        let said = if licence.is_empty() { "no licence" } else { licence };
        (!acceptable(licence)).then(|| format!("{} {} has {said}", package.name, package.version))
    });
    Ok((refused.collect(), metadata.packages.len()))
}

/// Whether an SPDX expression leaves us a choice that is on the list.
fn acceptable(expression: &str) -> bool {
    // `/` is how old manifests write OR.
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    either(&mut words) == Some(true) && words.is_empty()
}

/// `a OR b …`; `None` when the text is no expression.
fn either(words: &mut &[&str]) -> Option<bool> {
    let mut result = both(words)?;
    while let [first, rest @ ..] = words
        && *first == "OR"
    {
        *words = rest;
        result |= both(words)?;
    }
    Some(result)
}

/// `a AND b …`, which binds tighter.
fn both(words: &mut &[&str]) -> Option<bool> {
    let mut result = single(words)?;
    while let [first, rest @ ..] = words
        && *first == "AND"
    {
        *words = rest;
        result &= single(words)?;
    }
    Some(result)
}

fn single(words: &mut &[&str]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let inner = either(words)?;
        let (close, rest) = words.split_first()?;
        *words = rest;
        return (*close == ")").then_some(inner);
    }
    let mut accepted = ACCEPTED.contains(first);
    if let ["WITH", exception, rest @ ..] = words {
        accepted &= ACCEPTED_EXCEPTIONS.contains(exception);
        *words = rest;
    }
    Some(accepted)
}

#[cfg(test)]
mod tests {
    use super::acceptable;

    #[test]
    fn one_good_choice_is_enough() {
        for expression in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-2.0/MIT",
            "(MIT OR GPL-3.0) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR MIT",
        ] {
            assert!(acceptable(expression), "{expression}");
        }
    }

    #[test]
    fn copyleft_and_nonsense_are_refused() {
        for expression in [
            "",
            "AGPL-3.0-only",
            "MIT AND GPL-3.0",
            "MIT OR",
            "(MIT",
            "MIT ISC",
            "MIT WITH unknown-exception",
        ] {
            assert!(!acceptable(expression), "{expression}");
        }
    }
}
