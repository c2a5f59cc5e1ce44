//! Adds up what test runners report.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or things that kept tests from running.
    pub failed: u64,
    /// Tests that say of themselves why they did not run here.
    pub skipped: u64,
}

impl Count {
    /// One failure: of something that is not itself a counted test.
    pub fn one_failure() -> Self {
        Count {
            failed: 1,
            ..Count::default()
        }
    }

    /// One check that passed or failed.
    pub fn check(passed: bool) -> Self {
        Count {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            skipped: 0,
        }
    }

    /// Adds what a line of cargo's test harness says, if it is its closing line
    /// (`test result: ok. 3 passed; 0 failed; 1 ignored; …`).
    pub fn read_libtest(&mut self, line: &str) {
        let Some(results) = line.strip_prefix("test result: ") else {
            return;
        };
        let (_, results) = results.split_once(". ").unwrap_or_default();
        for part in results.split("; ") {
            let Some((number, what)) = part.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Adds what a line of Node's test runner says, if it is one of its closing lines (`# pass 3` or `ℹ pass 3`).
    pub fn read_node(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) else {
            return;
        };
        let Some((what, number)) = result.split_once(' ') else {
            return;
        };
        let Ok(number) = number.parse::<u64>() else { return };
        match what {
            "pass" => self.passed += number,
            "fail" | "cancelled" => self.failed += number,
            "skipped" | "todo" => self.skipped += number,
            _ => {}
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_cargo_add_up() {
        let mut count = Count::default();
        count.read_libtest(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
        );
        count.read_libtest(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9s",
        );
        count.read_libtest("test name ... ok");
        assert_eq!(
            count,
            Count {
                passed: 13,
                failed: 2,
                skipped: 1
            }
        );
    }

    #[test]
    fn closing_lines_of_node_add_up() {
        let mut count = Count::default();
        for line in [
            "# tests 9",
            "# pass 5",
            "# fail 1",
            "# cancelled 1",
            "# skipped 2",
            "# duration_ms 12.5",
            "ok 1 - pass 7",
        ] {
            count.read_node(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 5,
                failed: 2,
                skipped: 2
            }
        );
    }

    #[test]
    fn nothing_is_said_of_skipped_tests_when_there_are_none() {
        assert_eq!(Count::check(true).to_string(), "1 passed, 0 failed");
    }
}
