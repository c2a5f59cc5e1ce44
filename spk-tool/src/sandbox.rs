//! Which system calls a package asks for: a mark of ours, which Sandstorm ignores.
//!
//! A package built for Percloud has a file [`FILE_NAME`] at its root that holds the word `native`. Its app then runs under
//! the allow list; one without the file under the deny list that Sandstorm's packages were tested against. A word that is
//! not known is refused, since running the app under other rules than it asked for would be a guess.

use serde::{Deserialize, Serialize};

use crate::error::{SpkError, printable};

/// The file at a package's root that says so.
pub const FILE_NAME: &str = "percloud-sandbox";
/// Longest such file, in bytes.
pub const LONGEST: u64 = 64;

/// Which rules for system calls an app runs under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Sandstorm's: what they name is refused.
    #[default]
    Sandstorm,
    /// Percloud's: what they name is allowed.
    Native,
}

/// Reads the bytes of a package's [`FILE_NAME`].
///
/// # Errors
/// Refuses any word but `native`.
pub fn parse(bytes: &[u8]) -> Result<Sandbox, SpkError> {
    match bytes.trim_ascii() {
        b"native" => Ok(Sandbox::Native),
        other => Err(SpkError::BadManifest {
            file: FILE_NAME,
            reason: format!(
                "it says {:?}, and this version knows only the word \"native\"",
                printable(other)
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_known() {
        assert_eq!(parse(b"native\n").unwrap(), Sandbox::Native);
        assert_eq!(parse(b"native").unwrap(), Sandbox::Native);
        for other in [
            &b""[..],
            b"Native",
            b"sandstorm",
            b"native native",
            b"\xff\x1b[2J",
        ] {
            let error = parse(other).unwrap_err();
            assert!(error.to_string().contains(FILE_NAME), "{error}");
            assert!(!error.to_string().contains('\x1b'));
        }
    }
}
