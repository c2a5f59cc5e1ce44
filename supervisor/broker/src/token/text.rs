//! What is told of a token, once.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percloud_core::secret::{Secret, hex};
use percloud_core::sharing::requirement::TokenHash;
use sha2::{Digest, Sha256};

use crate::outside::Outside;

/// 43 URL-safe characters that stand for authority. Cannot be printed or stored by accident.
///
/// Never starts with `-`: people give it to programs as a password, and those would take it for an option.
#[derive(Clone)]
pub(crate) struct TokenText(String);

impl TokenText {
    pub(crate) fn new(outside: &Outside) -> Self {
        Self::draw(|| outside.secret())
    }

    fn draw(mut secret: impl FnMut() -> Secret) -> Self {
        loop {
            let text = URL_SAFE_NO_PAD.encode(secret().expose());
            if !text.starts_with('-') {
                return Self(text);
            }
        }
    }

    /// Reads what somebody presents; `None` unless it could be a token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 43
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| Self(text.to_owned()))
    }

    /// Reads what an app presents: the text as bytes (sheet trap 27).
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::parse(std::str::from_utf8(bytes).ok()?)
    }

    /// The text, for the one place that hands it to its holder.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What may be kept of it.
    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(&self.0).into())
    }

    /// The host that goes with it (sheet 5.1).
    pub(crate) fn host(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"x");
        hash.update(&self.0);
        format!("api-{}", &hex(&hash.finalize())[..32])
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text made of secrets that start with these bytes, and how many of them were drawn.
    fn drawn(starts: &[u8]) -> (String, usize) {
        let mut count = 0;
        let text = TokenText::draw(|| {
            count += 1;
            Secret::new(|bytes| bytes[0] = starts[count - 1])
        });
        (text.0, count)
    }

    #[test]
    fn no_token_looks_like_an_option() {
        // Six bits make a letter: 62 is `-`, 63 is `_`.
        let (text, count) = drawn(&[62 << 2, (62 << 2) + 3, 0]);
        assert!(text.starts_with('A') && count == 3, "{text} after {count}");
        assert!(TokenText::parse(&text).is_some());
    }

    #[test]
    fn the_first_secret_that_fits_is_taken() {
        for start in [0, 61 << 2, 63 << 2] {
            assert_eq!(drawn(&[start]).1, 1);
        }
    }

    #[test]
    fn tokens_made_before_are_still_read() {
        assert!(TokenText::parse(&format!("-{}", "A".repeat(42))).is_some());
        assert!(TokenText::parse(&"A".repeat(42)).is_none());
    }
}
