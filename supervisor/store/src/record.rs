//! How a record becomes bytes under a key, and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ReadError;

/// Largest encoded record, in bytes. Larger values would be moved by the engine into files whose durability nobody
/// vouches for.
pub const MAX_VALUE: usize = 4096;

/// Longest key of a record within its table, in bytes. Keeps index pages of the engine far below the size at which they,
/// too, would be moved into separate files.
pub const MAX_KEY: usize = 192;

/// Longest table name, in bytes.
const MAX_TABLE: usize = 32;

/// Ends the table name within an engine key; no table name contains it.
const SEPARATOR: u8 = 0;

/// A shape that is kept, one per table.
///
/// Records are encoded as one byte of version followed by JSON. Add fields with `#[serde(default)]` and the version stays;
/// raise [`Record::VERSION`] when old bytes would be misread, and teach [`Record::migrate`] to read them.
pub trait Record: Serialize + DeserializeOwned {
    /// Name of the table: 1 to 32 of `a-z`, `0-9` and `-`, beginning with a letter; never reused for another shape.
    const TABLE: &'static str;
    /// Version that [`Serialize`] writes today.
    const VERSION: u8;

    /// Reads `json` as written by an older `version`, or returns `None` if it cannot.
    fn migrate(version: u8, json: &[u8]) -> Option<Self> {
        let _ = (version, json);
        None
    }
}

/// Whether `name` may name a table.
pub(crate) const fn is_table(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_TABLE || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 1;
    while at < bytes.len() {
        if !bytes[at].is_ascii_lowercase() && !bytes[at].is_ascii_digit() && bytes[at] != b'-' {
            return false;
        }
        at += 1;
    }
    true
}

/// Makes a mistaken table name a compile error where the table is used.
pub(crate) const fn table<R: Record>() -> &'static str {
    const {
        assert!(
            is_table(R::TABLE),
            "a table is named by 1 to 32 of a-z, 0-9 and -, a letter first"
        )
    };
    R::TABLE
}

/// The engine's key of `key` in `table`.
pub(crate) fn engine_key(table: &str, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(table.len() + 1 + key.len());
    full.extend_from_slice(table.as_bytes());
    full.push(SEPARATOR);
    full.extend_from_slice(key);
    full
}

/// Splits an engine key into table and key.
pub(crate) fn split(full: &[u8]) -> Option<(&str, &[u8])> {
    let end = full.iter().position(|&byte| byte == SEPARATOR)?;
    let table = std::str::from_utf8(&full[..end])
        .ok()
        .filter(|name| is_table(name))?;
    Some((table, &full[end + 1..]))
}

/// Encodes a record.
pub(crate) fn encode<R: Record>(record: &R) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = vec![R::VERSION];
    serde_json::to_writer(&mut bytes, record)?;
    Ok(bytes)
}

/// Decodes a record found under `key`.
pub(crate) fn decode<R: Record>(key: &[u8], bytes: &[u8]) -> Result<R, ReadError> {
    let table = table::<R>();
    let malformed = |source| ReadError::Malformed {
        table,
        key: printable(key),
        source,
    };
    let Some((&version, json)) = bytes.split_first() else {
        return Err(malformed(None));
    };
    if version > R::VERSION {
        return Err(ReadError::Newer {
            table,
            key: printable(key),
            found: version,
            known: R::VERSION,
        });
    }
    if version < R::VERSION {
        return R::migrate(version, json).ok_or(malformed(None));
    }
    serde_json::from_slice(json).map_err(|error| malformed(Some(error)))
}

/// A key as a person may read it in a message or an export.
pub(crate) fn printable(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => text.to_owned(),
        _ => hex(key),
    }
}

/// Lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Reads lower case hexadecimal.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
        pinned: bool,
    }

    impl Record for Note {
        const TABLE: &'static str = "note";
        const VERSION: u8 = 2;

        fn migrate(version: u8, json: &[u8]) -> Option<Self> {
            let text = (version == 1).then(|| serde_json::from_slice(json).ok())??;
            Some(Self { text, pinned: false })
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let note = Note {
            text: "milk".into(),
            pinned: true,
        };
        assert_eq!(decode::<Note>(b"k", &encode(&note).unwrap()).unwrap(), note);
    }

    #[test]
    fn an_older_version_is_migrated_and_a_newer_one_refused() {
        assert_eq!(
            decode::<Note>(b"k", b"\x01\"milk\"").unwrap(),
            Note {
                text: "milk".into(),
                pinned: false
            }
        );
        assert!(matches!(
            decode::<Note>(b"k", b"\x03{}"),
            Err(ReadError::Newer {
                found: 3,
                known: 2,
                ..
            })
        ));
        assert!(matches!(
            decode::<Note>(b"k", b"\0{}"),
            Err(ReadError::Malformed { .. })
        ));
        assert!(matches!(
            decode::<Note>(b"k", b"\x02{"),
            Err(ReadError::Malformed { .. })
        ));
        assert!(matches!(
            decode::<Note>(b"k", b""),
            Err(ReadError::Malformed { .. })
        ));
    }

    #[test]
    fn table_names_leave_no_room_for_confusion() {
        for name in ["a", "grain", "shell-session", "t2"] {
            assert!(is_table(name), "{name}");
        }
        for name in [
            "",
            "-a",
            "2t",
            "Grain",
            "a\0b",
            "a/b",
            "grain_",
            "abcdefghijklmnopqrstuvwxyzabcdefg",
        ] {
            assert!(!is_table(name), "{name:?}");
        }
        assert_eq!(split(&engine_key("app", b"a\0b")), Some(("app", &b"a\0b"[..])));
        assert_eq!(split(b"\0head"), None);
        assert_eq!(split(b"app"), None);
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&hex(&all)), Some(all));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("0A"), None);
    }
}
