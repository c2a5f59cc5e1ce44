//! Names of things that live in the store: random, opaque, at least 128 bits, never reused.
//!
//! Ids say nothing about place, owner or time. Package and app ids belong to the package format and come from
//! its crate as text; here they are only carried.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Digits and letters without those people mistake for one another; 55 symbols (sheet 5.8).
const ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
/// 22 symbols of 55 carry 127 bits.
const LENGTH: usize = 22;

/// Says why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: {LENGTH} letters and digits are expected")]
pub struct NotAnId;

/// Turns fresh random bytes into id text, one symbol per accepted byte.
///
/// Bytes that would favour some symbols are skipped, so `fresh` is called until there are enough.
fn id_text(mut fresh: impl FnMut(&mut [u8])) -> String {
    const FAIR: u8 = (256 / ALPHABET.len() * ALPHABET.len()) as u8;
    let mut text = String::with_capacity(LENGTH);
    let mut bytes = [0_u8; 32];
    while text.len() < LENGTH {
        fresh(&mut bytes);
        let symbols = bytes.iter().filter(|byte| **byte < FAIR);
        for byte in symbols.take(LENGTH - text.len()) {
            text.push(char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        }
    }
    text
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Makes a new id from a source of fresh random bytes.
            pub fn new(fresh: impl FnMut(&mut [u8])) -> Self {
                Self(id_text(fresh))
            }

            /// The id as text: 22 letters and digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let known = |byte: u8| byte.is_ascii_alphanumeric();
                if text.len() == LENGTH && text.bytes().all(known) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NotAnId)
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id! {
    /// Names a person's account on this server; never changes.
    AccountId
}
id! {
    /// Names a grain; never changes, a copy or a restored backup gets its own.
    GrainId
}
id! {
    /// Names an act of sharing, and the link it made if it made one; never changes. Knowing it opens nothing.
    ShareId
}
id! {
    /// Names an upload in staging; gone at the next start of the server.
    UploadId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_of_fair_symbols_only() {
        let mut next = 0_u8;
        let id = GrainId::new(|bytes| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(7);
            }
        });
        assert_eq!(id.as_str().len(), LENGTH);
        assert!(id.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(id.as_str().parse::<GrainId>(), Ok(id));
    }

    #[test]
    fn foreign_text_is_not_an_id() {
        for text in [
            "",
            "short",
            "../../../../etc/passwd",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA\u{e4}",
        ] {
            assert_eq!(text.parse::<GrainId>(), Err(NotAnId), "{text}");
        }
    }
}
