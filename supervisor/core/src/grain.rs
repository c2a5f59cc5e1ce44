//! What a grain is at a moment, and what may happen to it next.

use serde::{Deserialize, Serialize};

/// Longest title of a grain, in characters.
pub const TITLE_LIMIT: usize = 200;

/// Where a grain stands between sleeping and serving; lives in memory, a restart begins at `Asleep`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No process; costs nothing.
    #[default]
    Asleep,
    /// Its sandbox is being built or its app has not answered yet.
    Starting,
    /// Its app runs.
    Running,
    /// Its last start failed or its app ended by itself; opening it tries again.
    Failed,
}

/// Cleans a title somebody typed: no control characters, no surrounding space, not too long.
///
/// `None` when nothing is left.
#[must_use]
pub fn title(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .filter(|character| !character.is_control())
        .take(TITLE_LIMIT)
        .collect();
    let plain = plain.trim();
    (!plain.is_empty()).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_one_plain_line() {
        assert_eq!(title("  Holiday\u{0007}s\n "), Some("Holidays".to_owned()));
        assert_eq!(title(" \t "), None);
        assert_eq!(title(&"x".repeat(500)).map(|text| text.len()), Some(TITLE_LIMIT));
    }
}
