//! `keygen`, `listkeys`, `getkey`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::arguments::Common;
use super::{Failure, report};
use crate::AppId;
use crate::keyring::{Keyring, append, encode};

pub(super) fn generate(common: &Common) -> Result<(), Failure> {
    let app = make_key(common)?;
    writeln!(io::stdout(), "{app}").map_err(Failure::io("write the answer"))
}

/// Makes a key, adds it to the keyring and returns its app id.
pub(super) fn make_key(common: &Common) -> Result<AppId, Failure> {
    let path = keyring_path(common)?;
    let mut seed = Zeroizing::new([0; 32]);
    OsRng
        .try_fill_bytes(&mut *seed)
        .map_err(|error| Failure::Use(format!("cannot get random bytes from the system: {error}")))?;
    let key = SigningKey::from_bytes(&seed);
    append(&path, &key)?;
    report::note(
        common,
        &format!(
            "added a key to \"{}\"; keep a copy of that file in a safe place",
            path.display()
        ),
    );
    Ok(AppId(key.verifying_key().to_bytes()))
}

pub(super) fn list(common: &Common, as_json: bool) -> Result<(), Failure> {
    let keyring = open(common)?;
    let mut output = io::stdout().lock();
    let apps: Vec<AppId> = keyring.app_ids().collect();
    let written = if as_json {
        writeln!(output, "{}", serde_json::json!(apps))
    } else {
        apps.iter().try_for_each(|app| writeln!(output, "{app}"))
    };
    written.map_err(Failure::io("write the answer"))
}

pub(super) fn get(common: &Common, apps: &[AppId]) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        let remedy =
            "getkey writes secret keys in binary and will not write them to a terminal: add \"> FILE\"";
        return Err(Failure::Use(remedy.to_owned()));
    }
    let keyring = open(common)?;
    // All or nothing: look everything up before anything is written.
    let keys = apps
        .iter()
        .map(|app| keyring.find(*app))
        .collect::<Result<Vec<_>, _>>()?;
    let mut output = io::stdout().lock();
    let written = keys
        .into_iter()
        .try_for_each(|key| output.write_all(&encode(key)));
    written.map_err(Failure::io("write the keys"))
}

/// Reads the keyring, and says so if others could read it too.
pub(super) fn open(common: &Common) -> Result<Keyring, Failure> {
    let path = keyring_path(common)?;
    let keyring = Keyring::read(&path)?;
    if keyring.is_exposed() {
        let path = path.display();
        report::note(
            common,
            &format!("warning: others may read the secret keys in \"{path}\"; run: chmod 600 \"{path}\""),
        );
    }
    Ok(keyring)
}

fn keyring_path(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(path) = &common.keyring {
        return Ok(path.clone());
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| {
        Failure::Use("there is no home folder to find a keyring in: name one with -k".to_owned())
    })?;
    Ok(PathBuf::from(home).join(".sandstorm-keyring"))
}
