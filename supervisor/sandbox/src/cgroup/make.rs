//! Making a control group: what is to be called is written down first, then called.
//!
//! The two are apart because a group is made while the new process already runs on the same memory, when nothing may be
//! allocated ([`crate::sys::start_beside`]).

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};

use super::settings::{Setting, settings};
use super::{Cgroup, Place};
use crate::spec::Limits;
use crate::sys::Errno;

/// A group that is to be made.
pub(crate) struct Making {
    /// Gets its descriptors as it is made.
    group: Cgroup,
    steps: Vec<Step>,
    done: usize,
}

enum Step {
    Directory(CString),
    /// A file and what is written to it. Files that are `optional` may be missing.
    Setting {
        file: CString,
        value: String,
        optional: bool,
    },
    Door(CString, OFlags),
}

impl Place {
    /// Describes a new group with `limits`.
    pub(crate) fn plan(&self, limits: &Limits) -> Result<Making, Errno> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let hierarchies = self.hierarchies();
        let mut making = Making {
            group: Cgroup {
                directories: Vec::with_capacity(hierarchies.len()),
                doors: Vec::with_capacity(hierarchies.len()),
                unified: self.is_unified(),
            },
            steps: Vec::with_capacity(16),
            done: 0,
        };
        let settings = settings(self.is_unified(), limits);
        for base in hierarchies {
            let directory = base.directory.join(&name);
            making.steps.push(Step::Directory(c_path(&directory)?));
            for setting in settings.iter().filter(|setting| base.has(setting.controller)) {
                making.setting(&directory, setting)?;
            }
            let (door, flags) = if self.is_unified() {
                (directory.clone(), OFlags::RDONLY | OFlags::DIRECTORY)
            } else {
                (directory.join("tasks"), OFlags::WRONLY)
            };
            making
                .steps
                .push(Step::Door(c_path(&door)?, flags | OFlags::CLOEXEC));
            making.group.directories.push(directory);
        }
        Ok(making)
    }
}

impl Making {
    fn setting(&mut self, directory: &Path, setting: &Setting) -> Result<(), Errno> {
        self.steps.push(Step::Setting {
            file: c_path(&directory.join(setting.file))?,
            value: setting.value.clone(),
            optional: setting.optional,
        });
        Ok(())
    }

    /// Makes the group. Quiet, as [`crate::sys::start_beside`] asks.
    pub(crate) fn make(&mut self) -> Result<(), Errno> {
        while let Some(step) = self.steps.get(self.done) {
            match step {
                Step::Directory(path) => rustix::fs::mkdir(path.as_c_str(), Mode::RWXU)?,
                Step::Setting {
                    file,
                    value,
                    optional,
                } => match crate::ids::write(file, value) {
                    Err(Errno::NOENT) if *optional => {}
                    written => written?,
                },
                // The room was reserved.
                Step::Door(path, flags) => {
                    let opened = rustix::fs::open(path.as_c_str(), *flags, Mode::empty())?;
                    self.group.doors.push(opened);
                }
            }
            self.done += 1;
        }
        Ok(())
    }

    /// Whether it is of version 2.
    pub(crate) fn is_unified(&self) -> bool {
        self.group.unified
    }

    /// Version 1: the files by which [`super::enter`] moves in, one for each hierarchy.
    pub(crate) fn doors(&self) -> &[OwnedFd] {
        &self.group.doors
    }

    /// The group, as far as it has been made.
    pub(crate) fn group(&self) -> &Cgroup {
        &self.group
    }

    /// Takes the group, as far as it has been made.
    pub(crate) fn into_group(self) -> Cgroup {
        self.group
    }

    /// The file that making it stopped at.
    pub(crate) fn at(&self) -> String {
        match self.steps.get(self.done) {
            Some(Step::Directory(path) | Step::Setting { file: path, .. } | Step::Door(path, _)) => {
                path.to_string_lossy().into_owned()
            }
            None => String::new(),
        }
    }
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}
