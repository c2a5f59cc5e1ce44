//! The report, for people and for programs.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::check::{Check, Group, Status, plain};

/// Version of the JSON's shape: raised when a field changes its meaning or goes; new fields and checks do not raise it.
const FORMAT: u32 = 1;

/// Everything that was found.
pub struct Report {
    pub user: u32,
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub checks: Vec<Check>,
}

/// What `--json` prints; docs/doctor.md describes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Json<'r> {
    format: u32,
    version: &'static str,
    user: u32,
    data: String,
    listen: String,
    good: usize,
    gaps: usize,
    missing: usize,
    checks: &'r [Check],
}

impl Report {
    /// How many checks went so.
    pub fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }

    pub fn json(&self) -> Json<'_> {
        Json {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            user: self.user,
            data: self.data(),
            listen: self.listen.to_string(),
            good: self.count(Status::Good),
            gaps: self.count(Status::Gap),
            missing: self.count(Status::Missing),
            checks: &self.checks,
        }
    }

    /// Writes it for people: a line for what is good, three for what is not.
    pub fn write(&self, to: &mut impl Write, colour: bool) -> io::Result<()> {
        writeln!(
            to,
            "Percloud {} on this machine, as {}, with its data in {}",
            env!("CARGO_PKG_VERSION"),
            user(self.user),
            self.data()
        )?;
        for group in Group::ALL {
            let mut checks = self.checks.iter().filter(|check| check.group == group).peekable();
            if checks.peek().is_some() {
                writeln!(to, "\n{}", group.title())?;
            }
            for check in checks {
                write_check(to, check, colour)?;
            }
        }
        writeln!(to, "\n{}", self.verdict())
    }

    fn verdict(&self) -> String {
        let (gaps, missing) = (self.count(Status::Gap), self.count(Status::Missing));
        let gaps = match gaps {
            0 => String::new(),
            1 => "1 gap".to_owned(),
            many => format!("{many} gaps"),
        };
        match (missing, gaps.as_str()) {
            (0, "") => "Nothing is missing: Percloud has all it wants here.".to_owned(),
            (0, gaps) => format!("Nothing is missing: Percloud runs here; {gaps}."),
            (1, "") => "1 thing is missing: Percloud would not run here.".to_owned(),
            (missing, "") => format!("{missing} things are missing: Percloud would not run here."),
            (1, gaps) => format!("1 thing is missing: Percloud would not run here; also {gaps}."),
            (missing, gaps) => {
                format!("{missing} things are missing: Percloud would not run here; also {gaps}.")
            }
        }
    }

    fn data(&self) -> String {
        plain(&self.data.to_string_lossy())
    }
}

/// A user, in words.
pub fn user(id: u32) -> String {
    if id == 0 {
        "root".to_owned()
    } else {
        format!("user {id}")
    }
}

fn write_check(to: &mut impl Write, check: &Check, colour: bool) -> io::Result<()> {
    let (word, paint) = match check.status {
        Status::Good => ("good", "32"),
        Status::Gap => ("gap", "33"),
        Status::Missing => ("missing", "31"),
    };
    if colour {
        write!(to, "  \x1b[{paint}m{word:<7}\x1b[0m  ")?;
    } else {
        write!(to, "  {word:<7}  ")?;
    }
    writeln!(to, "{}: {}", check.title, check.found)?;
    if let Some(consequence) = &check.consequence {
        writeln!(to, "           means: {consequence}")?;
    }
    if let Some(remedy) = &check.remedy {
        writeln!(to, "           to do: {remedy}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::check::Subject;
    use super::*;

    fn report() -> Report {
        let subject = Subject::new(Group::Kernel, "a-thing", "A thing");
        Report {
            user: 1500,
            data: "/srv/\u{1b}[31m".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 6080)),
            checks: vec![
                Subject::new(Group::Data, "b-thing", "B thing").missing("none", "no data", "make some"),
                subject.good("there"),
                subject.gap("small", "slow", "enlarge it"),
            ],
        }
    }

    fn written(colour: bool) -> String {
        let mut bytes = Vec::new();
        report().write(&mut bytes, colour).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn good_takes_one_line_and_the_rest_three_grouped() {
        let expected = format!(
            "Percloud {} on this machine, as user 1500, with its data in /srv/\\u{{1b}}[31m\n\n\
             Kernel and sandbox\n  good     A thing: there\n  gap      A thing: small\n           means: slow\n           \
             to do: enlarge it\n\nData folder\n  missing  B thing: none\n           means: no data\n           to do: \
             make some\n\n1 thing is missing: Percloud would not run here; also 1 gap.\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(written(false), expected);
    }

    #[test]
    fn colour_says_nothing_the_words_do_not() {
        let mut coloured = written(true);
        assert!(coloured.contains("\x1b[31mmissing\x1b[0m"));
        for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, written(false));
    }

    #[test]
    fn json_counts_and_names_everything() {
        let report = report();
        let json = serde_json::to_value(report.json()).unwrap();
        assert_eq!(
            (&json["good"], &json["gaps"], &json["missing"]),
            (&1.into(), &1.into(), &1.into())
        );
        assert_eq!(json["checks"][0]["status"], "missing");
        assert_eq!(json["checks"][0]["group"], "data");
        assert_eq!(json["checks"][1]["consequence"], serde_json::Value::Null);
    }
}
