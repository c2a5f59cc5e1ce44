//! Counts, hashes and bounds the bytes of a package as they are read.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::PackageId;
use crate::error::SpkError;

/// A package's file. Keeps the reason when reading fails, since decoders above it blur reasons.
pub(super) struct Source<R> {
    inner: R,
    hash: Sha256,
    read: Rc<Cell<u64>>,
    most: u64,
    failure: Option<SpkError>,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R, most: u64) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            read: Rc::default(),
            most,
            failure: None,
        }
    }

    /// Returns a view of how many bytes were read.
    pub(super) fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.read)
    }

    pub(super) fn take_failure(&mut self) -> Option<SpkError> {
        self.failure.take()
    }

    /// Returns the package id and size, provided that all was read.
    pub(super) fn finish(self) -> (PackageId, u64) {
        let hash = self.hash.finalize();
        let id = hash[..16].try_into().expect("SHA-256 has 32 bytes");
        (PackageId(id), self.read.get())
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match self.inner.read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let blurred = io::Error::from(error.kind());
                self.failure = Some(SpkError::io("read the package", error));
                return Err(blurred);
            }
        };
        self.hash.update(&buffer[..length]);
        self.read.set(self.read.get() + length as u64);
        if self.read.get() > self.most {
            self.failure = Some(SpkError::too_large("size", format!("{} bytes", self.most)));
            return Err(io::Error::other("too large"));
        }
        Ok(length)
    }
}
