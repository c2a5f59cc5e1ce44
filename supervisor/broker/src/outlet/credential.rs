//! What signs a grain in at a website. The grain never sees it, and the store never has it in the clear: it is encrypted
//! under the token that stands for it, of which only a hash is kept (sheet 6.1).

use std::{fmt, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use capnp::Error;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::problem::Problem;
use crate::token::TokenText;

/// Longest credential, in bytes.
const LENGTH: usize = 4096;
/// Sets the key apart from everything else that is made of a token.
const PURPOSE: &[u8] = b"percloud credential 1";

/// How a person signs in.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Wish {
    /// With a key (RFC 6750).
    Bearer { token: String },
    /// With a name and a password (RFC 7617).
    Basic { user: String, password: String },
}

/// The value of a request's `Authorization`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Credential {
    /// As it is kept: base64 of what was encrypted under the token it belongs to.
    Sealed(String),
    /// As it is used. Cannot be stored.
    #[serde(skip)]
    Open(String),
}

impl Credential {
    pub(super) fn read(wish: Wish) -> Result<Self, Problem> {
        let unfit = |what: &str| Problem::BadRequest(what.to_owned());
        let value = match wish {
            Wish::Bearer { token } => {
                let token = token.trim();
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(unfit(
                        "an access key consists of letters, digits and signs, without spaces",
                    ));
                }
                format!("Bearer {token}")
            }
            Wish::Basic { user, password } => {
                if user.contains(':') {
                    return Err(unfit("a user name for a website contains no colon"));
                }
                if user.is_empty() && password.is_empty() {
                    return Err(unfit("user name and password are empty"));
                }
                if user.chars().chain(password.chars()).any(char::is_control) {
                    return Err(unfit("user name or password contain signs that cannot be sent"));
                }
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
        };
        if value.len() > LENGTH {
            return Err(unfit("this is too long to sign in with"));
        }
        Ok(Self::Open(value))
    }

    /// The value, for the one who sends it.
    pub(super) fn expose(&self) -> Result<&str, Error> {
        match self {
            Self::Open(value) => Ok(value),
            Self::Sealed(_) => Err(Error::failed("a credential that is not open".to_owned())),
        }
    }

    /// As it may be kept with the token.
    pub(crate) fn sealed(&self, token: &TokenText) -> Result<Self, Problem> {
        let Self::Open(value) = self else {
            let other = io::Error::other("it is sealed under another token");
            return Err(Problem::internal("keep a credential", &other));
        };
        let sealed = cipher(token).encrypt(&Nonce::default(), value.as_bytes());
        let sealed = sealed.map_err(|error| Problem::internal("encrypt a credential", &error))?;
        Ok(Self::Sealed(STANDARD.encode(sealed)))
    }

    /// As it may be used by who has the token.
    pub(crate) fn opened(&self, token: &TokenText) -> Result<Self, Problem> {
        let Self::Sealed(sealed) = self else {
            return Ok(self.clone());
        };
        let damaged =
            |error: &(dyn std::error::Error + 'static)| Problem::internal("decrypt a credential", error);
        let sealed = STANDARD.decode(sealed).map_err(|error| damaged(&error))?;
        let value = cipher(token).decrypt(&Nonce::default(), sealed.as_slice());
        let value = value.map_err(|error| damaged(&error))?;
        let value = String::from_utf8(value).map_err(|error| damaged(&error))?;
        Ok(Self::Open(value))
    }
}

/// A token seals one credential, once, so the nonce may be the same for all.
fn cipher(token: &TokenText) -> ChaCha20Poly1305 {
    let key = Sha256::new()
        .chain_update(PURPOSE)
        .chain_update(token.expose())
        .finalize();
    ChaCha20Poly1305::new(Key::from_slice(&key))
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(letter: char) -> TokenText {
        TokenText::parse(&String::from(letter).repeat(43)).unwrap()
    }

    fn open(wish: Wish) -> Result<String, Problem> {
        Ok(Credential::read(wish)?.expose().unwrap().to_owned())
    }

    #[test]
    fn credentials_become_headers() {
        let basic = |user: &str, password: &str| Wish::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let bearer = |token: &str| Wish::Bearer {
            token: token.to_owned(),
        };
        assert_eq!(
            open(basic("Aladdin", "open sesame")).unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(
            open(bearer(" mF_9.B5f-4.1JqM ")).unwrap(),
            "Bearer mF_9.B5f-4.1JqM"
        );
        let long = "a".repeat(LENGTH);
        for wish in [
            basic("a:b", "c"),
            basic("", ""),
            basic("a", "b\r\nHost: evil"),
            bearer(""),
            bearer("a b"),
            bearer("a\nb"),
            bearer(&long),
        ] {
            assert!(matches!(open(wish), Err(Problem::BadRequest(_))));
        }
    }

    #[test]
    fn only_the_token_opens_what_is_kept() {
        let credential = Credential::Open("Bearer abc".to_owned());
        let kept = credential.sealed(&token('a')).unwrap();
        let written = serde_json::to_string(&kept).unwrap();
        assert!(!written.contains("abc"));
        let read: Credential = serde_json::from_str(&written).unwrap();
        assert_eq!(read.opened(&token('a')).unwrap(), credential);
        assert!(read.opened(&token('b')).is_err());
        assert!(
            serde_json::to_string(&credential).is_err(),
            "in the clear it cannot be written"
        );
        assert_eq!(format!("{credential:?}"), "Credential(…)");
    }
}
