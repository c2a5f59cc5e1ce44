//! Decides whether a file is a package whose signer wrote exactly these contents.
//!
//! One pass over the file: the package id is computed from the bytes as they come, the decompressed archive goes to an
//! unnamed temporary file while it is hashed, and the signature decides. Only then is the archive looked at. Cheap
//! refusals come first: the signer's signature over the claimed hash is checked before the archive is decompressed.

mod source;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;

use capnp::message::ReaderOptions;
use capnp::serialize;
use ed25519_dalek::{Signature, VerifyingKey};
use lzma_rust2::XzReader;
use percloud_schemas::package_capnp::signature;
use sha2::{Digest, Sha512};

use crate::archive::{Archive, MAGIC, Step};
use crate::error::SpkError;
use crate::limits::Limits;
use crate::replacements;
use crate::{AppId, PackageId};
use source::Source;

/// A package whose signature is valid and whose tree is safe to unpack. Only [`verify`] makes one.
#[derive(Debug)]
pub struct VerifiedSpk {
    app_id: AppId,
    signer: AppId,
    package_id: PackageId,
    size: u64,
    contents: Contents,
    archive: Archive,
}

/// How much a package holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Regular files, executables included.
    pub files: u64,
    /// Folders, without the root.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes in all regular files together.
    pub bytes: u64,
}

impl VerifiedSpk {
    /// The app: the signer, or the key that the signer replaces.
    #[must_use]
    pub fn app_id(&self) -> AppId {
        self.app_id
    }

    /// The key that signed this package.
    #[must_use]
    pub fn signer(&self) -> AppId {
        self.signer
    }

    /// The package's own id.
    #[must_use]
    pub fn package_id(&self) -> PackageId {
        self.package_id
    }

    /// Bytes of the `.spk` file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Counts of what is inside.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// The tree.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }
}

/// How fast memory is refilled; large enough for few system calls, small enough for the processor's cache.
const CHUNK: usize = 128 << 10;
/// The signature message: 200 bytes in every package there is.
const LARGEST_SIGNATURE: u64 = 64 << 10;
const SIGNATURE_PART: &str = "signature";
const XZ_MAGIC: [u8; 6] = *b"\xfd7zXZ\0";
/// What an xz stream may exceed its contents by: headers, index, and blocks that did not compress.
const XZ_OVERHEAD: u64 = 1 << 20;

/// Reads and checks the package `spk`.
///
/// `scratch` is a folder for an unnamed temporary file of the size of the decompressed package; the file vanishes with
/// the result. `progress` hears how many bytes of `spk` were read.
///
/// # Errors
/// Whatever is wrong with the package, or with reading it.
pub fn verify(
    spk: impl Read,
    scratch: &Path,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifiedSpk, SpkError> {
    let most = limits.archive + limits.archive / 64 + XZ_OVERHEAD;
    let mut source = Source::new(spk, most);
    read_magic(&mut source)?;
    let payload = decompress(&mut source, scratch, limits, progress);
    // The reason lies below the decoder if reading failed there.
    let payload = match source.take_failure() {
        Some(failure) => return Err(failure),
        None => payload?,
    };
    let (package_id, size) = source.finish();
    let signer = payload.signer;
    if replacements::is_revoked(signer, package_id) {
        return Err(SpkError::Revoked { signer });
    }
    let archive = Archive::open(payload.archive, payload.length, limits)?;
    let contents = check_tree(&archive)?;
    Ok(VerifiedSpk {
        app_id: replacements::canonical(signer),
        signer,
        package_id,
        size,
        contents,
        archive,
    })
}

struct Payload {
    signer: AppId,
    archive: File,
    length: u64,
}

fn read_magic(source: &mut impl Read) -> Result<(), SpkError> {
    let mut magic = [0; MAGIC.len()];
    let length = read_full(source, &mut magic).map_err(|error| SpkError::io("read the package", error))?;
    if magic[..length] != MAGIC[..length] {
        return Err(SpkError::WrongMagic);
    }
    if length < MAGIC.len() {
        Err(SpkError::Truncated {
            part: "first eight bytes",
        })
    } else {
        Ok(())
    }
}

fn decompress(
    source: &mut Source<impl Read>,
    scratch: &Path,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<Payload, SpkError> {
    let read_bytes = source.counter();
    let mut compressed = BufReader::with_capacity(CHUNK, source);
    let mut start = [0; XZ_MAGIC.len()];
    let length = read_full(&mut compressed, &mut start).map_err(decoding)?;
    if start[..length] != XZ_MAGIC[..length] {
        return Err(SpkError::NotXz);
    }
    if length < XZ_MAGIC.len() {
        return Err(SpkError::Truncated {
            part: "compressed data",
        });
    }
    let mut decoder =
        XzReader::new_mem_limit(Cursor::new(start).chain(compressed), false, limits.xz_memory_kib);

    let claim = Claim::read(&mut decoder)?;
    let scratch_failed = |error| SpkError::io("keep the decompressed package in a temporary file", error);
    let mut archive = tempfile::tempfile_in(scratch).map_err(scratch_failed)?;
    let mut hash = Sha512::new();
    let mut length = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let filled = read_full(&mut decoder, &mut chunk).map_err(decoding)?;
        length += filled as u64;
        if length > limits.archive {
            return Err(SpkError::too_large(
                "decompressed size",
                format!("{} bytes", limits.archive),
            ));
        }
        // Blocks that hold nothing cost time and are made by no compressor.
        if read_bytes.get() > length + length / 64 + XZ_OVERHEAD {
            return Err(SpkError::Corrupt(io::Error::other(
                "the compressed data is larger than what it holds",
            )));
        }
        hash.update(&chunk[..filled]);
        archive.write_all(&chunk[..filled]).map_err(scratch_failed)?;
        progress(read_bytes.get());
        if filled < chunk.len() {
            break;
        }
    }
    let (_, mut rest) = decoder.into_inner().into_inner();
    if !rest.fill_buf().map_err(decoding)?.is_empty() {
        return Err(SpkError::TrailingBytes {
            part: "compressed data",
        });
    }
    progress(read_bytes.get());
    if hash.finalize()[..] != claim.hash {
        return Err(SpkError::BadSignature {
            reason: "it is for other contents",
        });
    }
    Ok(Payload {
        signer: claim.signer,
        archive,
        length,
    })
}

/// What the signer claims: "the archive has this hash". The signature over the claim is valid.
struct Claim {
    signer: AppId,
    hash: [u8; 64],
}

impl Claim {
    fn read(decoder: &mut impl Read) -> Result<Self, SpkError> {
        let bytes = read_signature_message(decoder)?;
        let malformed = |error: capnp::Error| SpkError::BadArchive {
            part: SIGNATURE_PART,
            reason: error.to_string(),
        };
        let message = serialize::read_message(&bytes[..], ReaderOptions::new()).map_err(malformed)?;
        let message: signature::Reader<'_> = message.get_root().map_err(malformed)?;
        let key = exactly::<32>("signing key", message.get_public_key().map_err(malformed)?)?;
        let signature = exactly::<128>("signature", message.get_signature().map_err(malformed)?)?;

        // NaCl's combined form: the signature, then what was signed.
        let (signature, hash) = signature.split_at(64);
        let signature: &[u8; 64] = signature.try_into().expect("it was split at 64 bytes");
        let invalid_key = SpkError::BadSignature {
            reason: "its key is not valid",
        };
        if !is_canonical(&key) {
            return Err(invalid_key);
        }
        let verifier = VerifyingKey::from_bytes(&key).map_err(|_| invalid_key)?;
        verifier
            .verify_strict(hash, &Signature::from_bytes(signature))
            .map_err(|_| SpkError::BadSignature {
                reason: "it was not made with its key",
            })?;
        Ok(Self {
            signer: AppId(key),
            hash: hash.try_into().expect("it has the other 64 bytes"),
        })
    }
}

/// Tells whether a key encodes its curve point in the one permitted way: y below 2^255 − 19. Like libsodium, and so that
/// one key has one app id.
fn is_canonical(key: &[u8; 32]) -> bool {
    let overflows = key[31] & 0x7f == 0x7f && key[1..31].iter().all(|byte| *byte == 0xff) && key[0] >= 0xed;
    !overflows
}

/// Reads the signature message and not a byte more, as the signed bytes begin right after it.
fn read_signature_message(decoder: &mut impl Read) -> Result<Vec<u8>, SpkError> {
    let mut bytes = vec![0; 4];
    read_part(decoder, &mut bytes)?;
    let too_large = || SpkError::too_large(SIGNATURE_PART, format!("{LARGEST_SIGNATURE} bytes"));
    let segments = u64::from(u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"))) + 1;
    let table = (4 * (segments + 1)).next_multiple_of(8);
    if table > LARGEST_SIGNATURE {
        return Err(too_large());
    }
    bytes.resize(usize::try_from(table).expect("bounded above"), 0);
    read_part(decoder, &mut bytes[4..])?;
    let sizes = bytes[4..]
        .chunks_exact(4)
        .take(usize::try_from(segments).expect("bounded above"));
    let words: u64 = sizes
        .map(|size| u64::from(u32::from_le_bytes(size.try_into().expect("four bytes"))))
        .sum();
    let total = table + words * 8;
    if total > LARGEST_SIGNATURE {
        return Err(too_large());
    }
    let body = bytes.len();
    bytes.resize(usize::try_from(total).expect("bounded above"), 0);
    read_part(decoder, &mut bytes[body..])?;
    Ok(bytes)
}

fn read_part(decoder: &mut impl Read, bytes: &mut [u8]) -> Result<(), SpkError> {
    let length = read_full(decoder, bytes).map_err(decoding)?;
    if length < bytes.len() {
        Err(SpkError::Truncated { part: SIGNATURE_PART })
    } else {
        Ok(())
    }
}

fn exactly<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], SpkError> {
    bytes.try_into().map_err(|_| SpkError::WrongLengths {
        what,
        found: bytes.len(),
        expected: N,
    })
}

/// Fills `bytes` as far as there is something to read.
fn read_full(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn decoding(error: io::Error) -> SpkError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SpkError::Truncated {
            part: "compressed data",
        },
        io::ErrorKind::OutOfMemory => {
            SpkError::too_large("need of memory for decompression", "what `xz -9` needs")
        }
        _ => SpkError::Corrupt(error),
    }
}

/// Walks the whole tree once, so that unpacking cannot meet a surprise half-way.
fn check_tree(archive: &Archive) -> Result<Contents, SpkError> {
    let mut contents = Contents::default();
    let mut walk = archive.walk();
    while let Some(step) = walk.step()? {
        match step {
            Step::Enter { .. } => contents.folders += 1,
            Step::Leave { .. } => {}
            Step::Link { .. } => contents.links += 1,
            Step::File { content, .. } => {
                contents.files += 1;
                contents.bytes += content.length;
            }
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests;
