//! Writes a package: archive, signature, compression.
//!
//! The signature comes first in the file and covers all that follows, so the files are read twice: once to be hashed,
//! once to be compressed. A file that changes in between would make the signature wrong, and is noticed. Neither pass
//! holds a file in memory. The same files, key, level and program give the same bytes, however many threads compress.

mod layout;
mod stream;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use capnp::message::Builder;
use capnp::serialize;
use ed25519_dalek::{Signer, SigningKey};
use lzma_rust2::{CheckType, LzmaOptions, XzOptions, XzWriterMt};
use percloud_schemas::package_capnp::signature;
use sha2::{Digest, Sha256, Sha512};

use crate::archive::MAGIC;
use crate::limits::Limits;
use crate::source::Collection;
use crate::{AppId, PackageId};
use layout::Layout;
use stream::Stream;

/// How to compress.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// 0 (fast) to 9 (small).
    pub level: u32,
    /// Threads that compress, each with about 65 MB at level 6. The result does not depend on it.
    pub threads: u32,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            level: 6,
            threads: u32::try_from(cores.min(MOST_THREADS)).unwrap_or(1),
        }
    }
}

/// More would need more memory than packing should.
const MOST_THREADS: usize = 4;

/// A package that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The key it is signed with.
    pub signer: AppId,
    /// Its id.
    pub package_id: PackageId,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the archive in it.
    pub archive: u64,
}

/// What is being done, and how far it is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Reading the files for the first time, for the signature: bytes done, bytes to do.
    Hash(u64, u64),
    /// Reading them again, compressing: bytes done, bytes to do.
    Compress(u64, u64),
}

/// Why a package could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// No reader would take the package.
    #[error("the package's {what} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too much.
        what: &'static str,
        /// The limit with its unit.
        limit: String,
    },
    /// A file is not what it was a moment ago.
    #[error("\"{path}\" changed while it was being packed; pack again when nothing writes to it", path = .0.display())]
    Changed(PathBuf),
    /// A file changed without changing its length.
    #[error("files changed while they were being packed; pack again when nothing writes to them")]
    ContentsChanged,
    /// A file cannot be read.
    #[error("cannot read \"{path}\"", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The package cannot be written.
    #[error("cannot write the package \"{path}\"", path = .path.display())]
    Write {
        /// The package.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Writes `collection`, signed with `key`, to the file `output`, which appears complete or not at all.
///
/// # Errors
/// Reports files that cannot be read or that change, and a package that would be too large.
pub fn pack(
    collection: &Collection,
    key: &SigningKey,
    output: &Path,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Packed, PackError> {
    let failed = |source| PackError::Write {
        path: output.to_owned(),
        source,
    };
    let folder = match output.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A package is an ordinary file: what the umask leaves, not the owner alone as for other temporary files.
    let mode = fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .prefix(".spk-")
        .permissions(mode)
        .tempfile_in(folder)
        .map_err(failed)?;
    let mut packed = write(collection, key, output, file.as_file_mut(), options, progress)?;
    packed.size = file.as_file().metadata().map_err(failed)?.len();
    file.as_file().sync_all().map_err(failed)?;
    file.persist(output).map_err(|error| failed(error.error))?;
    Ok(packed)
}

fn write(
    collection: &Collection,
    key: &SigningKey,
    output: &Path,
    sink: impl Write + Send,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Packed, PackError> {
    let failed = |source| PackError::Write {
        path: output.to_owned(),
        source,
    };
    let layout = Layout::plan(collection, &Limits::default())?;
    let total = layout.bytes();

    let mut hash = Sha512::new();
    Stream::new(collection, &layout).run(&mut |bytes, done| {
        hash.update(bytes);
        progress(Progress::Hash(done, total));
        Ok(())
    })?;
    let hash: [u8; 64] = hash.finalize().into();

    let mut sink = Hashing {
        sink: BufWriter::new(sink),
        hash: Sha256::new(),
    };
    sink.write_all(&MAGIC).map_err(failed)?;
    let mut compressor = XzWriterMt::new(sink, xz_options(options.level), options.threads).map_err(failed)?;
    compressor
        .write_all(&signature_message(key, &hash))
        .map_err(failed)?;
    let mut again = Sha512::new();
    Stream::new(collection, &layout).run(&mut |bytes, done| {
        again.update(bytes);
        compressor.write_all(bytes).map_err(failed)?;
        progress(Progress::Compress(done, total));
        Ok(())
    })?;
    if again.finalize()[..] != hash {
        return Err(PackError::ContentsChanged);
    }
    let mut sink = compressor.finish().map_err(failed)?;
    sink.flush().map_err(failed)?;
    let package_id = sink.hash.finalize()[..16]
        .try_into()
        .expect("SHA-256 has 32 bytes");
    let signer = AppId(key.verifying_key().to_bytes());
    Ok(Packed {
        signer,
        package_id: PackageId(package_id),
        size: 0,
        archive: total,
    })
}

/// Smaller dictionary and blocks than `xz` would take: several threads then fit into little memory, readers need less
/// of it too, and can decompress blocks side by side.
fn xz_options(level: u32) -> XzOptions {
    const LARGEST_DICTIONARY: u32 = 4 << 20;
    let mut lzma_options = LzmaOptions::with_preset(level);
    lzma_options.dict_size = lzma_options.dict_size.min(LARGEST_DICTIONARY);
    let block_size = NonZeroU64::new(u64::from(lzma_options.dict_size) * 2);
    XzOptions {
        lzma_options,
        check_type: CheckType::Crc64,
        block_size,
        filters: Vec::new(),
    }
}

/// The first message in a package: NaCl's combined form of a signature over the archive's hash.
pub(crate) fn signature_message(key: &SigningKey, hash: &[u8; 64]) -> Vec<u8> {
    let signed = [&key.sign(hash).to_bytes()[..], hash].concat();
    let mut message = Builder::new_default();
    let mut root: signature::Builder<'_> = message.init_root();
    root.set_public_key(key.verifying_key().as_bytes());
    root.set_signature(&signed);
    serialize::write_message_to_words(&message)
}

struct Hashing<W> {
    sink: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.sink.write(bytes)?;
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests;
