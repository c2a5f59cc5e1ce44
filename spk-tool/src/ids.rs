//! Names of apps and packages, and their textual forms.

mod base32;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An app: the Ed25519 public key that signs its packages.
///
/// Written as 52 characters of [base32](AppId::from_str). Never changes for an app, except through the table in
/// [`crate::replacements`], which maps a new key to the app's first one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(pub [u8; 32]);

/// One package file: the first 16 bytes of the SHA-256 of the whole `.spk`, as 32 lower-case hexadecimal digits.
///
/// The same content packed anew may have another package id: the compressed bytes count, not the files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(pub [u8; 16]);

/// Why a text is not the id of an app or a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The length cannot be right.
    #[error("an id of this kind has {expected} characters")]
    Length {
        /// Characters needed.
        expected: usize,
    },
    /// A character has no meaning.
    #[error("an id cannot hold the character {0:?}")]
    Character(char),
    /// The last character holds bits that should be zero.
    #[error("the last character of the id is wrong")]
    LeftoverBits,
}

/// Characters of an app id.
const APP_ID_TEXT: usize = 52;

impl FromStr for AppId {
    type Err = ParseIdError;

    /// Reads an app id forgivingly: upper case is fine, `o` means 0, `i` and `l` mean 1, `b` means 8.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text.len() != APP_ID_TEXT {
            // Characters are named only if the length is right, since a wrong length is the likelier mistake.
            return Err(ParseIdError::Length {
                expected: APP_ID_TEXT,
            });
        }
        let bytes = base32::decode(text)?;
        let length = ParseIdError::Length {
            expected: APP_ID_TEXT,
        };
        Ok(Self(bytes.try_into().map_err(|_| length)?))
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&base32::encode(&self.0))
    }
}

impl FromStr for PackageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut id = [0; 16];
        if text.len() != 32 {
            return Err(ParseIdError::Length { expected: 32 });
        }
        for (position, character) in text.chars().enumerate() {
            let digit = character.to_digit(16).ok_or(ParseIdError::Character(character))?;
            let digit = u8::try_from(digit).expect("a hexadecimal digit fits a byte");
            id[position / 2] = id[position / 2] << 4 | digit;
        }
        Ok(Self(id))
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

macro_rules! textual {
    ($id:ident) => {
        impl fmt::Debug for $id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{self}")
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

textual!(AppId);
textual!(PackageId);

#[cfg(test)]
mod tests;
