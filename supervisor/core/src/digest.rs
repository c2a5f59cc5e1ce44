//! SHA-256 sums that name things: read and written as 64 hexadecimal digits.
//!
//! Unlike [`crate::secret::SecretHash`] they are no stand-in for a secret, so they may be compared, ordered and printed.

/// Says why a text is not such a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 sum: 64 hexadecimal digits are expected")]
pub struct NotADigest;

/// Reads 64 hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Result<[u8; 32], NotADigest> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(NotADigest);
    }
    let mut bytes = [0; 32];
    for (place, digit) in digits.iter().enumerate() {
        let nibble = char::from(*digit).to_digit(16).ok_or(NotADigest)?;
        let nibble = u8::try_from(nibble).expect("a hexadecimal digit fits a byte");
        bytes[place / 2] = bytes[place / 2] << 4 | nibble;
    }
    Ok(bytes)
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 32]);

        impl From<$name> for String {
            fn from(digest: $name) -> Self {
                $crate::secret::hex(&digest.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::digest::NotADigest;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                $crate::digest::from_hex(&text).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&$crate::secret::hex(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }
    };
}

pub(crate) use digest;

#[cfg(test)]
mod tests {
    use super::*;

    digest! {
        /// For the test.
        Sum
    }

    #[test]
    fn sums_come_back_and_anything_else_is_refused() {
        let sum = Sum(std::array::from_fn(|place| {
            u8::try_from(place * 7 % 256).unwrap()
        }));
        let text = String::from(sum);
        assert_eq!(Sum::try_from(text.clone()), Ok(sum));
        assert_eq!(format!("{sum:?}"), format!("Sum({text})"));
        for wrong in [
            "",
            "00",
            &text[1..],
            &format!("{text}00"),
            &text.replace('0', "g"),
            &"\u{e4}".repeat(32),
        ] {
            assert_eq!(Sum::try_from(wrong.to_owned()), Err(NotADigest), "{wrong}");
        }
    }
}
