//! What is told of a token, once.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percloud_core::secret::hex;
use percloud_core::sharing::requirement::TokenHash;
use sha2::{Digest, Sha256};

use crate::outside::Outside;

/// 43 URL-safe characters that stand for authority. Cannot be printed or stored by accident.
#[derive(Clone)]
pub(crate) struct TokenText(String);

impl TokenText {
    pub(crate) fn new(outside: &Outside) -> Self {
        Self(URL_SAFE_NO_PAD.encode(outside.secret().expose()))
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
