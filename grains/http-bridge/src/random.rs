//! Names nobody can guess.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Returns 22 characters of `A-Z`, `a-z`, `0-9`, `-` and `_`, with 128 bits from the operating system.
pub(crate) fn name() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
