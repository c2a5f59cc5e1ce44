//! Names of the hosts that programs speak to, rather than pages.

use std::fmt;
use std::str::FromStr;

/// `api`, where the token alone says what is meant, or `api-` and 32 hexadecimal digits, which belongs to one token
/// (sheet 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiHost(String);

impl ApiHost {
    /// The name, without the domain it lives under.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the host belongs to no token in particular.
    pub(crate) fn is_generic(&self) -> bool {
        self.0 == "api"
    }
}

/// Says that a host name is not one for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAnApiHost;

impl FromStr for ApiHost {
    type Err = NotAnApiHost;

    fn from_str(text: &str) -> Result<Self, NotAnApiHost> {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let own = |digits: &str| digits.len() == 32 && digits.bytes().all(hexadecimal);
        if text == "api" || text.strip_prefix("api-").is_some_and(own) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnApiHost)
        }
    }
}

impl fmt::Display for ApiHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
