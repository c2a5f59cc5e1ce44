//! Writes a verified package's tree into a new folder.
//!
//! Every entry is created by its single name below the descriptor of the folder it belongs to, with exclusive
//! creation and without following links, so no path is ever resolved and nothing outside the new folder can be
//! touched, whatever else happens on the disk meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, copy_file_range, fchmod, futimens, mkdirat, openat,
    symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::archive::{Archive, Extent, Step};
use crate::error::{SpkError, printable};
use crate::verify::VerifiedSpk;

/// Who may read and write what is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// What the process's umask leaves of 0666 and 0777, as for any new file.
    Umask,
    /// 0644 for files, 0755 for executables and folders: a server's packages are read by sandboxes of other users.
    Shared,
}

/// Creates the folder `destination` and unpacks `spk` into it. `progress` hears how many bytes of contents are written.
///
/// Data is handed to the system, not yet forced to the disk. If anything fails, what was written is removed again.
///
/// # Errors
/// Fails if `destination` exists already, and if the system refuses anything.
pub fn unpack(
    spk: &VerifiedSpk,
    destination: &Path,
    access: Access,
    progress: &mut dyn FnMut(u64),
) -> Result<(), SpkError> {
    let shown = printable(destination.as_os_str().as_encoded_bytes());
    match mkdirat(CWD, destination, Mode::from_raw_mode(0o777)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(SpkError::Exists { path: shown }),
        Err(error) => {
            return Err(SpkError::io(
                format!("create the folder \"{shown}\""),
                error.into(),
            ));
        }
    }
    let unpacked = open_folder(CWD, destination)
        .map_err(|error| SpkError::io(format!("open the folder \"{shown}\""), error))
        .and_then(|root| {
            let copier = Copier {
                archive: spk.archive(),
                in_kernel: true,
                buffer: vec![0; CHUNK],
                written: 0,
                progress,
            };
            Unpacking {
                access,
                copier,
                folders: vec![Opened {
                    descriptor: root,
                    name: shown,
                }],
            }
            .run()
        });
    if unpacked.is_err() {
        // The first failure is what the caller has to know; rubbish that cannot be removed is only rubbish.
        let _ = std::fs::remove_dir_all(destination);
    }
    unpacked
}

const CHUNK: usize = 128 << 10;
/// Below this, a read and a write are faster than asking the kernel to copy.
const SMALL: u64 = 64 << 10;
/// How much the kernel copies at once, between two reports of progress.
const COPY: u64 = 8 << 20;

struct Unpacking<'a> {
    access: Access,
    copier: Copier<'a>,
    /// From the root to the current folder. Their number is bounded by [`crate::Limits::depth`].
    folders: Vec<Opened>,
}

struct Opened {
    descriptor: OwnedFd,
    name: String,
}

impl Unpacking<'_> {
    fn run(mut self) -> Result<(), SpkError> {
        self.share(self.current(), 0o755)
            .map_err(|error| self.failed(b"", error))?;
        let mut walk = self.copier.archive.walk();
        while let Some(step) = walk.step()? {
            match step {
                Step::Enter { name } => self.enter(&name).map_err(|error| self.failed(&name, error))?,
                Step::Leave { modified } => self.leave(modified).map_err(|error| self.failed(b"", error))?,
                Step::Link {
                    name,
                    modified,
                    target,
                } => {
                    self.link(&name, modified, &target)
                        .map_err(|error| self.failed(&name, error))?;
                }
                Step::File {
                    name,
                    modified,
                    executable,
                    content,
                } => {
                    let file = self
                        .create(&name, executable)
                        .map_err(|error| self.failed(&name, error))?;
                    self.copier.copy(&file, content).map_err(|cause| match cause {
                        Cause::Package(error) => error,
                        Cause::System(error) => self.failed(&name, error),
                    })?;
                    // Last, since writing changes it.
                    futimens(&file, &both(modified)).map_err(|error| self.failed(&name, error.into()))?;
                }
            }
        }
        Ok(())
    }

    fn current(&self) -> BorrowedFd<'_> {
        self.folders
            .last()
            .expect("the root is never left")
            .descriptor
            .as_fd()
    }

    fn enter(&mut self, name: &[u8]) -> io::Result<()> {
        mkdirat(self.current(), name, Mode::from_raw_mode(0o777))?;
        let descriptor = open_folder(self.current(), name)?;
        self.folders.push(Opened {
            descriptor,
            name: printable(name),
        });
        self.share(self.current(), 0o755)
    }

    fn leave(&mut self, modified: i64) -> io::Result<()> {
        futimens(self.current(), &both(modified))?;
        self.folders.pop();
        Ok(())
    }

    fn link(&self, name: &[u8], modified: i64, target: &[u8]) -> io::Result<()> {
        symlinkat(target, self.current(), name)?;
        utimensat(self.current(), name, &both(modified), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn create(&self, name: &[u8], executable: bool) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (mode, shared) = if executable {
            (0o777, 0o755)
        } else {
            (0o666, 0o644)
        };
        let file = openat(self.current(), name, flags, Mode::from_raw_mode(mode))?;
        self.share(file.as_fd(), shared)?;
        Ok(file.into())
    }

    fn share(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        match self.access {
            Access::Umask => Ok(()),
            Access::Shared => Ok(fchmod(file, Mode::from_raw_mode(mode))?),
        }
    }

    fn failed(&self, name: &[u8], error: io::Error) -> SpkError {
        let mut path: Vec<&str> = self.folders.iter().map(|folder| folder.name.as_str()).collect();
        let name = printable(name);
        if !name.is_empty() {
            path.push(&name);
        }
        SpkError::io(format!("write \"{}\"", path.join("/")), error)
    }
}

/// Copies contents out of the archive.
struct Copier<'a> {
    archive: &'a Archive,
    /// Cleared when the kernel, or a filter on its calls, will not copy between these files.
    in_kernel: bool,
    buffer: Vec<u8>,
    written: u64,
    progress: &'a mut dyn FnMut(u64),
}

enum Cause {
    Package(SpkError),
    System(io::Error),
}

impl Copier<'_> {
    fn copy(&mut self, file: &File, content: Extent) -> Result<(), Cause> {
        let Extent {
            mut offset,
            mut length,
        } = content;
        while length > 0 {
            let copied = if self.in_kernel && length >= SMALL {
                self.copy_in_kernel(file, offset, length.min(COPY))
                    .map_err(Cause::System)?
            } else {
                self.copy_by_hand(file, offset, length)?
            };
            offset += copied;
            length -= copied;
            self.written += copied;
            (self.progress)(self.written);
        }
        Ok(())
    }

    /// Returns 0 after finding out that it does not work here.
    fn copy_in_kernel(&mut self, file: &File, offset: u64, length: u64) -> io::Result<u64> {
        let length = usize::try_from(length).expect("at most 8 MiB");
        let mut from = offset;
        match self
            .archive
            .with_file(|source| copy_file_range(source, Some(&mut from), file, None, length))
        {
            Ok(copied) if copied > 0 => Ok(copied as u64),
            Err(Errno::NOSPC) => Err(Errno::NOSPC.into()),
            Err(Errno::DQUOT) => Err(Errno::DQUOT.into()),
            Err(Errno::INTR) => Ok(0),
            // Other file systems, old kernels, filters: whatever the reason, a plain write tells the truth.
            Ok(_) | Err(_) => {
                self.in_kernel = false;
                Ok(0)
            }
        }
    }

    fn copy_by_hand(&mut self, mut file: &File, offset: u64, length: u64) -> Result<u64, Cause> {
        let part = self
            .buffer
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX));
        let buffer = &mut self.buffer[..part];
        self.archive.read_at(buffer, offset).map_err(Cause::Package)?;
        io::Write::write_all(&mut file, buffer).map_err(Cause::System)?;
        Ok(part as u64)
    }
}

fn open_folder<P: rustix::path::Arg>(parent: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Access and modification time from nanoseconds since 1970, which may be negative.
fn both(modified: i64) -> Timestamps {
    const SECOND: i64 = 1_000_000_000;
    let time = Timespec {
        tv_sec: modified.div_euclid(SECOND),
        tv_nsec: modified.rem_euclid(SECOND),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

#[cfg(test)]
mod tests;
