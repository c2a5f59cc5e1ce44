//! Says why a package was refused, in a word for programs and a sentence for people.

use std::io;

/// Why a package could not be read, checked, unpacked or written.
///
/// [`SpkError::code`] is a stable word for programs; the message says what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpkError {
    /// The file ends before the package does.
    #[error("the package ends in the middle of its {part}: it was cut short; fetch or copy it again")]
    Truncated {
        /// Which part was being read.
        part: &'static str,
    },
    /// The first eight bytes are not those of a package.
    #[error(
        "this is not a Sandstorm package: it does not start with a package's eight bytes; choose an .spk file"
    )]
    WrongMagic,
    /// The bytes after the magic are not xz.
    #[error(
        "this package does not hold xz-compressed data after its first eight bytes; ask its author for a new one"
    )]
    NotXz,
    /// The compressed data is damaged, or uses a feature of xz that no packer uses.
    #[error("the package's compressed data is damaged; fetch or copy it again")]
    Corrupt(#[source] io::Error),
    /// The signature does not fit the contents.
    #[error(
        "the package's signature is not valid ({reason}): it was changed after it was signed; fetch it from its author"
    )]
    BadSignature {
        /// Which of the checks failed.
        reason: &'static str,
    },
    /// Key or signature have a length they cannot have.
    #[error(
        "the package's {what} has {found} bytes where {expected} are needed; ask its author for a new one"
    )]
    WrongLengths {
        /// Key or signature.
        what: &'static str,
        /// Length found, in bytes.
        found: usize,
        /// The only length allowed, in bytes.
        expected: usize,
    },
    /// Something follows the package.
    #[error("there are bytes after the end of the package's {part}; fetch or copy it again")]
    TrailingBytes {
        /// Which part should have been the last.
        part: &'static str,
    },
    /// A limit was exceeded.
    #[error("the package's {what} exceeds the limit of {limit}; nothing of it was kept")]
    TooLarge {
        /// What was too much.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The signature message or the archive is not a well-formed Cap'n Proto message.
    #[error("the package's {part} cannot be read ({reason}); ask its author for a new one")]
    BadArchive {
        /// Signature or archive.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A name in the archive could not be created safely.
    #[error(
        "the package holds an entry with the unsafe name {name:?} in \"/{folder}\" ({reason}); it was refused"
    )]
    BadName {
        /// The folder's path in the package.
        folder: String,
        /// The name, made printable.
        name: String,
        /// What is wrong with the name.
        reason: &'static str,
    },
    /// Two entries of one folder have the same name.
    #[error("the package holds \"/{path}\" twice; it was refused")]
    DuplicateName {
        /// Path in the package.
        path: String,
    },
    /// An entry is neither file, symbolic link nor folder.
    #[error(
        "the package's entry \"/{path}\" is of the unknown kind {tag}; it may need a newer version of Percloud"
    )]
    UnknownEntry {
        /// Path in the package.
        path: String,
        /// The kind found.
        tag: u16,
    },
    /// There is no regular file `sandstorm-manifest` at the root.
    #[error(
        "the package has no manifest: \"/sandstorm-manifest\" is not a regular file in it; pack it with `spk pack`"
    )]
    NoManifest,
    /// The manifest, or the bridge's configuration, is not what it has to be.
    #[error("the package's {file} cannot be used ({reason}); ask its author for a new one")]
    BadManifest {
        /// Which file in the package.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Grains could be created but never opened again.
    #[error(
        "the package's manifest has no continueCommand, so its grains could never be opened again; its author has to add one"
    )]
    NoContinueCommand,
    /// A command names a program that the package does not hold.
    #[error(
        "the package's {command} starts \"{path}\", which is not in the package; its author has to add it"
    )]
    MissingExecutable {
        /// Which command of the manifest.
        command: String,
        /// Its program.
        path: String,
    },
    /// A command names something that cannot be executed.
    #[error(
        "the package's {command} starts \"{path}\", which is {found}; its author has to make it an executable file"
    )]
    NotExecutable {
        /// Which command of the manifest.
        command: String,
        /// Its program.
        path: String,
        /// What was found in its place.
        found: &'static str,
    },
    /// The key that signed the package was withdrawn.
    #[error(
        "the package is signed with the key {signer}, which was withdrawn; get a newer package from its author"
    )]
    Revoked {
        /// The withdrawn key, as an app id.
        signer: crate::AppId,
    },
    /// A folder to be created exists already.
    #[error("cannot create the folder \"{path}\": something of that name is there already; name another one")]
    Exists {
        /// The folder.
        path: String,
    },
    /// The disk, or the quota on it, is full.
    #[error("there is no room left on the disk while trying to {what}; free some space and try again")]
    DiskFull {
        /// What was being done.
        what: String,
    },
    /// The system refused something else.
    #[error("cannot {what}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl SpkError {
    /// Returns the stable, kebab-case word for this kind of refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::WrongMagic => "wrong-magic",
            Self::NotXz => "not-xz",
            Self::Corrupt(_) => "corrupt",
            Self::BadSignature { .. } => "bad-signature",
            Self::WrongLengths { .. } => "wrong-lengths",
            Self::TrailingBytes { .. } => "trailing-bytes",
            Self::TooLarge { .. } => "too-large",
            Self::BadArchive { .. } => "bad-archive",
            Self::BadName { .. } => "bad-name",
            Self::DuplicateName { .. } => "duplicate-name",
            Self::UnknownEntry { .. } => "unknown-entry",
            Self::NoManifest => "no-manifest",
            Self::BadManifest { .. } => "bad-manifest",
            Self::NoContinueCommand => "no-continue-command",
            Self::MissingExecutable { .. } => "missing-executable",
            Self::NotExecutable { .. } => "not-executable",
            Self::Revoked { .. } => "revoked",
            Self::Exists { .. } => "exists",
            Self::DiskFull { .. } => "disk-full",
            Self::Io { .. } => "io",
        }
    }

    /// Wraps a system error, telling a full disk from everything else.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { what },
            _ => Self::Io { what, source },
        }
    }

    pub(crate) fn too_large(what: impl Into<String>, limit: impl Into<String>) -> Self {
        Self::TooLarge {
            what: what.into(),
            limit: limit.into(),
        }
    }
}

/// Makes bytes from a package fit for a message: at most 200 characters, control and direction characters escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST)]);
    let mut shown = String::new();
    for (position, character) in text.chars().enumerate() {
        if position == LONGEST {
            shown.push('…');
            break;
        }
        let reorders =
            matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}
