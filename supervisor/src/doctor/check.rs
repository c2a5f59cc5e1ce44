//! One check: what was looked at, what was found, what it means and what to do.

use serde::Serialize;

/// Characters kept of a text; what the kernel or a file system says may be longer than anybody reads.
const LONGEST: usize = 600;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Good,
    /// Percloud works, with less than it could.
    Gap,
    /// Percloud refuses to run without.
    Missing,
}

/// Which part of the machine a check is about; the order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    Kernel,
    Namespaces,
    ControlGroups,
    Data,
    Limits,
    Machine,
    Network,
}

impl Group {
    pub const ALL: [Group; 7] = [
        Self::Kernel,
        Self::Namespaces,
        Self::ControlGroups,
        Self::Data,
        Self::Limits,
        Self::Machine,
        Self::Network,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Kernel => "Kernel and sandbox",
            Self::Namespaces => "Namespaces",
            Self::ControlGroups => "Control groups",
            Self::Data => "Data folder",
            Self::Limits => "Limits",
            Self::Machine => "Machine",
            Self::Network => "Network",
        }
    }
}

/// A check that has been made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Never changes its meaning once released; listed in docs/doctor.md.
    pub id: &'static str,
    pub group: Group,
    pub title: String,
    pub status: Status,
    /// What was measured.
    pub found: String,
    /// What that means for who uses Percloud; none when good.
    pub consequence: Option<String>,
    /// What the person who runs the machine can do; none when good.
    pub remedy: Option<String>,
}

/// What a check looks at, before anybody has looked.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub id: &'static str,
    pub group: Group,
    pub title: &'static str,
}

impl Subject {
    pub const fn new(group: Group, id: &'static str, title: &'static str) -> Self {
        Self { id, group, title }
    }

    pub fn good(self, found: impl AsRef<str>) -> Check {
        self.check(Status::Good, found.as_ref(), None)
    }

    pub fn gap(self, found: impl AsRef<str>, consequence: impl AsRef<str>, remedy: impl AsRef<str>) -> Check {
        let more = Some((consequence.as_ref(), remedy.as_ref()));
        self.check(Status::Gap, found.as_ref(), more)
    }

    pub fn missing(
        self,
        found: impl AsRef<str>,
        consequence: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) -> Check {
        let more = Some((consequence.as_ref(), remedy.as_ref()));
        self.check(Status::Missing, found.as_ref(), more)
    }

    /// A check that could not be made: nothing is known to be wrong, and nothing to be right.
    pub fn unknown(self, why: impl std::fmt::Display) -> Check {
        self.gap(
            format!("could not be looked at: {why}"),
            "it is not known whether Percloud has what it wants here",
            "run this command where the kernel's files (/proc, /sys) and the data folder can be read",
        )
    }

    fn check(self, status: Status, found: &str, more: Option<(&str, &str)>) -> Check {
        Check {
            id: self.id,
            group: self.group,
            title: self.title.to_owned(),
            status,
            found: plain(found),
            consequence: more.map(|(consequence, _)| plain(consequence)),
            remedy: more.map(|(_, remedy)| plain(remedy)),
        }
    }
}

/// One line of visible text: names of files and devices are foreign, and a terminal does what characters tell it.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len().min(4 * LONGEST));
    for (count, character) in text.chars().enumerate() {
        if count == LONGEST {
            plain.push('…');
            break;
        }
        // Beyond control characters: those that turn the direction of writing, join or hide, and end lines.
        let hidden = matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if character.is_control() || hidden {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_move_the_cursor_or_turn_around() {
        assert_eq!(plain("a\u{1b}[2J\nb\u{202e}c"), "a\\u{1b}[2J\\u{a}b\\u{202e}c");
        assert_eq!(plain("Grüße 日本"), "Grüße 日本");
        let long = plain(&"x".repeat(100_000));
        assert_eq!(long.chars().count(), LONGEST + 1);
    }

    #[test]
    fn what_is_not_good_says_what_it_means_and_what_to_do() {
        let subject = Subject::new(Group::Data, "some-thing", "Some thing");
        assert_eq!(subject.good("x").consequence, None);
        for check in [
            subject.gap("x", "y", "z"),
            subject.missing("x", "y", "z"),
            subject.unknown("x"),
        ] {
            assert!(check.consequence.is_some() && check.remedy.is_some(), "{check:?}");
        }
    }
}
