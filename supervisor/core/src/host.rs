//! Names of the hosts that grain sessions live on.

use std::fmt;
use std::str::FromStr;

use crate::secret::hex;

/// `ui-` and 32 hexadecimal digits: the unguessable host of one session (sheet 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionHost(String);

impl SessionHost {
    /// Makes a new host name from a source of fresh random bytes.
    pub fn new(fresh: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = [0; 16];
        fresh(&mut bytes);
        Self(format!("ui-{}", hex(&bytes)))
    }

    /// The name, without the domain it lives under.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Says that a host name is not that of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the host of a session: ui- and 32 hexadecimal digits are expected")]
pub struct NotASessionHost;

impl FromStr for SessionHost {
    type Err = NotASessionHost;

    fn from_str(text: &str) -> Result<Self, NotASessionHost> {
        let digits = text.strip_prefix("ui-").ok_or(NotASessionHost)?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() == 32 && digits.bytes().all(hexadecimal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotASessionHost)
        }
    }
}

impl fmt::Display for SessionHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
