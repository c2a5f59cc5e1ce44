//! The keys with which an author signs: a file of `KeyFile` messages, one after another.
//!
//! The format is Sandstorm's (sheet section 1.4), so both tools can use one file and two keyrings merge by `cat`.
//! The file is only ever appended to: a crash while adding a key cannot damage the keys that are there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use capnp::message::{Builder, ReaderOptions};
use capnp::serialize;
use ed25519_dalek::SigningKey;
use percloud_schemas::package_capnp::key_file;
use zeroize::Zeroizing;

use crate::AppId;

/// More than a hundred thousand keys; whatever is larger is not a keyring.
const LARGEST_FILE: u64 = 16 << 20;

/// Why a keyring could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is no such file.
    #[error("there is no keyring \"{path}\"; make a key with `spk keygen`, or name another keyring with -k", path = .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot {action} the keyring \"{path}\"", path = .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is not a keyring, or is damaged.
    #[error("the keyring \"{path}\" is damaged at byte {offset} ({reason})", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record that cannot be read begins.
        offset: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The keyring does not hold a key.
    #[error("the keyring \"{path}\" does not hold the key of {app}; name the keyring that does with -k", path = .path.display())]
    NoSuchKey {
        /// The file.
        path: PathBuf,
        /// The key, as an app id.
        app: AppId,
    },
}

/// All keys of a keyring file.
pub struct Keyring {
    path: PathBuf,
    keys: Vec<SigningKey>,
    /// Anyone but its owner may read the file.
    exposed: bool,
}

impl Keyring {
    /// Reads the keyring at `path`.
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let failed = |source| KeyringError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        };
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeyringError::Missing(path.to_owned()));
            }
            opened => opened.map_err(failed)?,
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::new());
        Read::by_ref(&mut file)
            .take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(damaged(path, 0, "it is far too large"));
        }
        let keys = parse(path, &bytes)?;
        Ok(Self {
            path: path.to_owned(),
            keys,
            exposed: mode & 0o077 != 0,
        })
    }

    /// Returns the app ids of all keys, in the file's order.
    pub fn app_ids(&self) -> impl Iterator<Item = AppId> {
        self.keys.iter().map(|key| AppId(key.verifying_key().to_bytes()))
    }

    /// Returns the key whose public half is `app`. Replaced keys are not followed.
    pub fn find(&self, app: AppId) -> Result<&SigningKey, KeyringError> {
        let key = self
            .keys
            .iter()
            .find(|key| key.verifying_key().to_bytes() == app.0);
        key.ok_or_else(|| KeyringError::NoSuchKey {
            path: self.path.clone(),
            app,
        })
    }

    /// Tells whether people other than the owner may read the file.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.exposed
    }
}

/// Appends `key` to the keyring at `path`, creating it for its owner only, and returns once it is on the disk.
pub fn append(path: &Path, key: &SigningKey) -> Result<(), KeyringError> {
    let failed = |source| KeyringError::Io {
        action: "add a key to",
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(&encode(key)).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Returns the `KeyFile` message for `key`, secret half included.
#[must_use]
pub fn encode(key: &SigningKey) -> Zeroizing<Vec<u8>> {
    let mut message = Builder::new_default();
    let mut record: key_file::Builder<'_> = message.init_root();
    record.set_public_key(&key.verifying_key().to_bytes());
    // libsodium's layout of a secret key: seed, then public key.
    record.set_private_key(&*Zeroizing::new(key.to_keypair_bytes()));
    Zeroizing::new(serialize::write_message_to_words(&message))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<SigningKey>, KeyringError> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        keys.push(parse_one(&mut rest).map_err(|error| damaged(path, offset, &error.to_string()))?);
    }
    Ok(keys)
}

fn parse_one(rest: &mut &[u8]) -> capnp::Result<SigningKey> {
    let message = serialize::read_message(rest, ReaderOptions::new())?;
    let record: key_file::Reader<'_> = message.get_root()?;
    let wrong = |_| capnp::Error::failed("a key has the wrong length".to_owned());
    let public: &[u8; 32] = record.get_public_key()?.try_into().map_err(wrong)?;
    let private: &[u8; 64] = record.get_private_key()?.try_into().map_err(wrong)?;
    let key = SigningKey::from_keypair_bytes(private)
        .map_err(|_| capnp::Error::failed("the halves of a key do not belong together".to_owned()))?;
    if key.verifying_key().as_bytes() != public {
        return Err(capnp::Error::failed(
            "the halves of a key do not belong together".to_owned(),
        ));
    }
    Ok(key)
}

fn damaged(path: &Path, offset: usize, reason: &str) -> KeyringError {
    KeyringError::Damaged {
        path: path.to_owned(),
        offset,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn app(key: &SigningKey) -> AppId {
        AppId(key.verifying_key().to_bytes())
    }

    #[test]
    fn appended_keys_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        append(&path, &key(1)).unwrap();
        append(&path, &key(2)).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let ring = Keyring::read(&path).unwrap();
        assert_eq!(ring.app_ids().collect::<Vec<_>>(), [app(&key(1)), app(&key(2))]);
        assert_eq!(ring.find(app(&key(2))).unwrap().to_bytes(), [2; 32]);
        assert!(matches!(
            ring.find(app(&key(3))),
            Err(KeyringError::NoSuchKey { .. })
        ));
        assert!(!ring.is_exposed());
    }

    #[test]
    fn a_record_has_sandstorms_128_bytes() {
        assert_eq!(encode(&key(1)).len(), 128);
    }

    #[test]
    fn two_keyrings_merge_by_concatenation() {
        let both = [&encode(&key(1))[..], &encode(&key(2))[..]].concat();
        assert_eq!(parse(Path::new("-"), &both).unwrap().len(), 2);
    }

    #[test]
    fn damage_is_located() {
        let mut bytes = [&encode(&key(1))[..], &encode(&key(2))[..]].concat();
        bytes.truncate(250);
        let error = parse(Path::new("-"), &bytes).err().unwrap();
        assert!(
            matches!(error, KeyringError::Damaged { offset: 128, .. }),
            "{error}"
        );
        let mut bytes = encode(&key(1)).to_vec();
        bytes[127] ^= 1;
        assert!(parse(Path::new("-"), &bytes).is_err());
    }

    #[test]
    fn missing_keyring_names_the_remedy() {
        let error = Keyring::read(Path::new("/nonexistent/keyring")).err().unwrap();
        assert!(error.to_string().contains("spk keygen"), "{error}");
    }
}
