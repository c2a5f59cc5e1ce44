//! Logical exports: everything a store holds, in a file that needs no engine to read.
//!
//! One line of JSON each: a header, the records, a trailer. Every record carries its own checksum, the trailer the number of
//! records and a hash of all lines before it, so an export is either known to be whole or refused.
//!
//! ```text
//! {"percloud-export":1,"commits":812}
//! {"table":"grain","key":"9f3a…","version":1,"record":{…},"sum":"5d41402abc4b2a76b9719d911017c592"}
//! {"end":true,"records":1,"sha256":"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
//! ```
//!
//! `key` is text where it is printable, else `keyHex` holds it in hexadecimal. `sum` is [`content::hash`] of the record.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::content::{self, Content, Everything};
use crate::error::{ExportError, ImportError};
use crate::folder;
use crate::record::{MAX_KEY, MAX_VALUE, engine_key, from_hex, hex, is_table, split};
use crate::snapshot::Piece;

/// Version of the file's shape.
const VERSION: u32 = 1;

/// Exports that are kept, newest first.
const KEPT: usize = 3;

/// Longest line of an export: a record of the largest size with its key, escaped, and the fields around them.
const MAX_LINE: u64 = 2 * (MAX_VALUE + 6 * MAX_KEY + 1024) as u64;

/// An export that was written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// Commits the store had acknowledged when it was written.
    pub commits: u64,
    /// Records it holds.
    pub records: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "percloud-export")]
    version: u32,
    commits: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    table: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(rename = "keyHex", default, skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    version: u8,
    #[serde(borrow)]
    record: &'a RawValue,
    sum: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    end: bool,
    records: u64,
    sha256: String,
}

/// Writes an export of `content` into `dir`, durable and whole or not at all, and removes the oldest beyond [`KEPT`]. `next`
/// hands out the records in order, piece by piece.
pub(crate) fn write(
    dir: &Path,
    content: &Content,
    mut next: impl FnMut() -> Result<Option<Piece>, ExportError>,
) -> Result<Exported, ExportError> {
    let path = dir.join(file_name(content.commits));
    let unfinished = dir.join("unfinished");
    let failed = |source| ExportError::Write {
        path: path.clone(),
        source,
    };
    let mut finish = || {
        let mut lines = Lines::begin(dir, &unfinished, content.commits).map_err(failed)?;
        let mut found = Content::default();
        while let Some(piece) = next()? {
            for (key, value) in &piece {
                found.add(key, value);
                // No one of ours wrote what is of no table's shape.
                let line = line(key, value).map_err(|_| ExportError::Damaged)?;
                lines.write(&line).map_err(failed)?;
            }
        }
        found.commits = content.commits;
        if found != *content {
            return Err(ExportError::Damaged);
        }
        lines.end(content.records).map_err(failed)?;
        let in_place = || {
            fs::rename(&unfinished, &path)?;
            folder::sync(dir)?;
            folder::sync_parent(dir)
        };
        in_place().map_err(failed)
    };
    if let Err(error) = finish() {
        // Leave the room to whoever needs it; the next export would overwrite it anyway.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    for old in list(dir).unwrap_or_default().into_iter().skip(KEPT) {
        if let Err(error) = fs::remove_file(&old) {
            tracing::warn!("cannot remove the old export {}: {error}", old.display());
        }
    }
    Ok(Exported {
        path,
        commits: content.commits,
        records: content.records,
    })
}

/// Exports in `dir`, newest first.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(commits) = name.to_str().and_then(commits_of) {
            found.push((commits, dir.join(name)));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads a whole export and checks all of it before any of it is used.
pub(crate) fn read(path: &Path) -> Result<Everything, ImportError> {
    let failed = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let mut input = BufReader::with_capacity(64 * 1024, File::open(path).map_err(failed)?);
    let mut check = Check::default();
    let mut text = Vec::new();
    for number in 1_u64.. {
        text.clear();
        input
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut text)
            .map_err(failed)?;
        let outcome = check.line(&text);
        match outcome {
            Ok(true) => break,
            Ok(false) => {}
            Err(reason) => {
                let reason = format!("line {number}: {reason}");
                return Err(ImportError::Invalid {
                    path: path.to_owned(),
                    reason,
                });
            }
        }
    }
    if !input.fill_buf().map_err(failed)?.is_empty() {
        let reason = "something follows its end".to_owned();
        return Err(ImportError::Invalid {
            path: path.to_owned(),
            reason,
        });
    }
    Ok((check.content, check.records))
}

#[derive(Default)]
struct Check {
    begun: bool,
    content: Content,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    hash: Sha256,
}

impl Check {
    /// Takes one line; true after the trailer.
    fn line(&mut self, text: &[u8]) -> Result<bool, String> {
        let Some(json) = text.strip_suffix(b"\n") else {
            return Err(if text.is_empty() {
                "it ends early"
            } else {
                "it is cut short or too long"
            }
            .to_owned());
        };
        if !self.begun {
            let header: Header =
                serde_json::from_slice(json).map_err(|error| format!("no header: {error}"))?;
            if header.version != VERSION {
                return Err(format!(
                    "its version is {}, and {VERSION} is known",
                    header.version
                ));
            }
            self.begun = true;
            self.content.commits = header.commits;
        } else if json.starts_with(b"{\"end\"") {
            let end: Trailer = serde_json::from_slice(json).map_err(|error| error.to_string())?;
            if !end.end || end.records != self.content.records {
                return Err(format!(
                    "{} records were promised, {} are there",
                    end.records, self.content.records
                ));
            }
            if end.sha256 != hex(&self.hash.clone().finalize()) {
                return Err("the checksum of the whole is wrong".to_owned());
            }
            return Ok(true);
        } else {
            let (key, value) = record(json)?;
            if self.records.last().is_some_and(|(last, _)| *last >= key) {
                return Err("its records are out of order".to_owned());
            }
            self.content.add(&key, &value);
            self.records.push((key, value));
        }
        self.hash.update(text);
        Ok(false)
    }
}

fn record(json: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let line: Line<'_> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if !is_table(line.table) {
        return Err("no table has that name".to_owned());
    }
    let key = match (line.key, line.key_hex) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(digits)) => from_hex(&digits).ok_or("its key is not hexadecimal")?,
        _ => return Err("it has no key, or two".to_owned()),
    };
    let mut value = vec![line.version];
    value.extend_from_slice(line.record.get().as_bytes());
    if key.len() > MAX_KEY || value.len() > MAX_VALUE {
        return Err("it is larger than a record may be".to_owned());
    }
    let key = engine_key(line.table, &key);
    if line.sum != sum(&key, &value) {
        return Err("its checksum is wrong".to_owned());
    }
    Ok((key, value))
}

fn line<'a>(full_key: &'a [u8], value: &'a [u8]) -> io::Result<Line<'a>> {
    let strange = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "a record that is not of any table's shape",
        )
    };
    let (table, key) = split(full_key).ok_or_else(strange)?;
    let (&version, json) = value.split_first().ok_or_else(strange)?;
    let text = std::str::from_utf8(key)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    Ok(Line {
        table,
        key: text.map(str::to_owned),
        key_hex: text.is_none().then(|| hex(key)),
        version,
        record: serde_json::from_slice(json)?,
        sum: sum(full_key, value),
    })
}

fn sum(key: &[u8], value: &[u8]) -> String {
    hex(&content::hash(key, value).to_le_bytes())
}

struct Lines {
    file: BufWriter<File>,
    hash: Sha256,
}

impl Lines {
    /// Begins the file, and makes its folder if there is none.
    fn begin(dir: &Path, file: &Path, commits: u64) -> io::Result<Self> {
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(dir)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)?;
        let mut lines = Self {
            file: BufWriter::with_capacity(64 * 1024, file),
            hash: Sha256::new(),
        };
        lines.write(&Header {
            version: VERSION,
            commits,
        })?;
        Ok(lines)
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.file.write_all(&text)
    }

    /// Says that it is whole, and makes it durable.
    fn end(mut self, records: u64) -> io::Result<()> {
        let sha256 = hex(&self.hash.clone().finalize());
        self.write(&Trailer {
            end: true,
            records,
            sha256,
        })?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}

/// Commits held by the export at `path`, by its name.
pub(crate) fn commits(path: &Path) -> Option<u64> {
    commits_of(path.file_name()?.to_str()?)
}

fn file_name(commits: u64) -> String {
    format!("store-{commits:020}.jsonl")
}

fn commits_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("store-")?.strip_suffix(".jsonl")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests;
