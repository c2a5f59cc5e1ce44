//! Why a backup was not made or not restored.

use std::io;

/// Why a backup was not made or not restored. What was written until then is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The archive, or the grain, is not what a backup may be.
    #[error("{}{reason}", prefix(.entry))]
    Refused {
        /// The entry concerned, fit to be shown; empty when it is the whole file.
        entry: String,
        /// What is wrong with it.
        reason: Refusal,
    },
    /// The system refused something.
    #[error("cannot {action}")]
    System {
        /// What was tried, on what.
        action: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something else.
    #[error("this is not a zip file")]
    NotZip,
    /// The end is missing.
    #[error("the file ends too early: it is incomplete")]
    Truncated,
    /// The archive contradicts itself.
    #[error("the archive is damaged: {0}")]
    Damaged(&'static str),
    /// Parts of it are elsewhere.
    #[error("the archive is one of several parts")]
    SeveralParts,
    /// It has a password.
    #[error("it is encrypted")]
    Encrypted,
    /// Neither stored nor deflated.
    #[error("it is compressed by a method that is not understood (number {0})")]
    Compression(u16),
    /// A name no file of a grain can have.
    #[error("its name {0}")]
    Name(&'static str),
    /// The same name twice.
    #[error("there are two entries of this name")]
    Duplicate,
    /// Something below a file or a link.
    #[error("it lies below something that is not a folder")]
    NoFolder,
    /// A device, a socket, a pipe.
    #[error("it is neither a file nor a folder nor a link")]
    Special,
    /// A set-user-id or set-group-id program.
    #[error("it wants to run with the rights of its owner (set-id)")]
    SetId,
    /// A link to nowhere.
    #[error("it is a link without a usable target")]
    Link,
    /// More than [`crate::Limits::entries`].
    #[error("there are more than {0} files and folders")]
    Entries(u64),
    /// More than [`crate::Limits::bytes`].
    #[error("its files have more than {0} bytes")]
    Bytes(u64),
    /// More than [`crate::Limits::depth`].
    #[error("it lies in more than {0} folders")]
    Depth(usize),
    /// More than [`crate::Limits::ratio`].
    #[error("it would grow to more than {0} times its size")]
    Ratio(u64),
    /// No `metadata`.
    #[error("the archive is not a grain's backup: it has no entry \"metadata\"")]
    NoMetadata,
    /// `metadata` is not what it should be.
    #[error("it is not understood: {0}")]
    Metadata(String),
}

impl Refusal {
    pub(crate) fn at(self, entry: &[u8]) -> BackupError {
        BackupError::Refused {
            entry: printable(entry),
            reason: self,
        }
    }

    pub(crate) fn whole(self) -> BackupError {
        self.at(b"")
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotZip => "not-a-zip",
            Self::Truncated => "truncated",
            Self::Damaged(_) => "damaged",
            Self::SeveralParts => "several-parts",
            Self::Encrypted => "encrypted",
            Self::Compression(_) => "compression",
            Self::Name(_) => "bad-name",
            Self::Duplicate => "duplicate-name",
            Self::NoFolder => "no-folder",
            Self::Special => "special-file",
            Self::SetId => "set-id",
            Self::Link => "bad-link",
            Self::Entries(_) => "too-many-entries",
            Self::Bytes(_) => "too-large",
            Self::Depth(_) => "too-deep",
            Self::Ratio(_) => "bomb",
            Self::NoMetadata => "no-metadata",
            Self::Metadata(_) => "bad-metadata",
        }
    }
}

impl BackupError {
    pub(crate) fn system(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System {
            action: action.into(),
            source: source.into(),
        }
    }

    /// A stable word for the reason: `disk-full` and `system` for what the machine refused, else what is wrong.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { reason, .. } => reason.code(),
            Self::System { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk-full",
                _ => "system",
            },
        }
    }
}

fn prefix(entry: &str) -> String {
    if entry.is_empty() {
        String::new()
    } else {
        format!("\"{entry}\": ")
    }
}

/// A foreign name as it may be shown and logged: its end if it is long, everything unusual escaped.
pub(crate) fn printable(name: &[u8]) -> String {
    const SHOWN: usize = 200;
    let (mark, end) = match name.len().checked_sub(SHOWN) {
        None | Some(0) => ("", name),
        Some(start) => ("…", &name[start..]),
    };
    let mut text = String::from(mark);
    for chunk in end.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Letters and signs of any script, but nothing that steers a terminal or the direction of text.
            let steers = character.is_control()
                || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if steers || matches!(character, '"' | '\\') {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
