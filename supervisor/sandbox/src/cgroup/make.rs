//! Making a control group: what is to be called is written down first, then called.
//!
//! The two are apart because a group is made while the new process already runs on the same memory, when nothing may be
//! allocated ([`crate::sys::start_beside`]).

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};

use super::settings::{Controller, Setting, settings};
use super::{Cgroup, HIERARCHIES, Place, freeze};
use crate::spec::Limits;
use crate::sys::Errno;

/// A group that is to be made.
pub(crate) struct Making {
    /// Gets its descriptors as it is made.
    group: Cgroup,
    steps: Vec<Step>,
    /// How many of them come before the new process, which is born into what they make.
    early: usize,
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
    /// A file by which a process moves in.
    Door(CString),
    /// The directory a process is born into.
    Birthplace(CString),
    /// A file that [`super::Freezer`] keeps open.
    Handle(CString, OFlags),
}

/// What the directories of the group are called which process `owner` makes as its `number`th, from 0.
pub(super) fn name(owner: u32, number: u64) -> String {
    format!("{owner}-{number}")
}

/// Where the kernel says what memory is used for.
const MEMORY: &str = "memory.stat";

impl Place {
    /// Describes a new group with `limits`.
    pub(crate) fn plan(&self, limits: &Limits) -> Result<Making, Errno> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = name(std::process::id(), number);
        let hierarchies = self.hierarchies();
        let mut making = Making {
            group: Cgroup {
                directories: Vec::new(),
                doors: Vec::with_capacity(HIERARCHIES),
                birthplace: None,
                handles: Vec::with_capacity(freeze::HANDLES.len() + 1),
                unified: self.is_unified(),
            },
            steps: Vec::new(),
            early: 0,
            done: 0,
        };
        let freezer = match self {
            Place::Unified(_) => None,
            Place::Separate { freezer, .. } => freezer.as_ref(),
        };
        if let Some(base) = freezer {
            let directory = making.directory(base.join(&name))?;
            making.plan_birthplace(&directory)?;
        }
        let settings = settings(self.is_unified(), limits);
        for base in hierarchies {
            let directory = making.directory(base.directory.join(&name))?;
            for setting in settings.iter().filter(|setting| base.has(setting.controller)) {
                making.setting(&directory, setting)?;
            }
            if self.is_unified() {
                making.plan_birthplace(&directory)?;
            } else {
                making.steps.push(Step::Door(c_path(&directory.join("tasks"))?));
            }
            if base.has(Controller::Memory) && (self.is_unified() || freezer.is_some()) {
                making.handle(&directory.join(MEMORY), OFlags::RDONLY)?;
            }
        }
        if self.is_unified() {
            making.early = making.steps.len();
        }
        Ok(making)
    }
}

impl Making {
    /// The group inside `outer` in which the app lives: whoever makes its backup freezes the outer one, its host this one.
    fn plan_birthplace(&mut self, outer: &Path) -> Result<(), Errno> {
        let directory = self.directory(outer.join(freeze::INNER))?;
        self.steps.push(Step::Birthplace(c_path(&directory)?));
        for (file, flags) in freeze::HANDLES {
            self.handle(&directory.join(file), flags)?;
        }
        self.early = self.steps.len();
        Ok(())
    }

    fn handle(&mut self, file: &Path, flags: OFlags) -> Result<(), Errno> {
        self.steps.push(Step::Handle(c_path(file)?, flags));
        Ok(())
    }

    fn directory(&mut self, directory: PathBuf) -> Result<PathBuf, Errno> {
        self.steps.push(Step::Directory(c_path(&directory)?));
        self.group.directories.push(directory.clone());
        Ok(directory)
    }

    fn setting(&mut self, directory: &Path, setting: &Setting) -> Result<(), Errno> {
        self.steps.push(Step::Setting {
            file: c_path(&directory.join(setting.file))?,
            value: setting.value.clone(),
            optional: setting.optional,
        });
        Ok(())
    }

    /// Makes what the new process is born into.
    pub(crate) fn make_birthplace(&mut self) -> Result<(), Errno> {
        self.make_until(self.early)
    }

    /// Makes the rest. Quiet, as [`crate::sys::start_beside`] asks.
    pub(crate) fn make(&mut self) -> Result<(), Errno> {
        self.make_until(self.steps.len())
    }

    fn make_until(&mut self, end: usize) -> Result<(), Errno> {
        let open =
            |path: &CString, flags| rustix::fs::open(path.as_c_str(), flags | OFlags::CLOEXEC, Mode::empty());
        // Wherever a descriptor is put, the room was reserved.
        while let Some(step) = self.steps[..end].get(self.done) {
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
                Step::Door(path) => self.group.doors.push(open(path, OFlags::WRONLY)?),
                Step::Birthplace(path) => {
                    self.group.birthplace = Some(open(path, OFlags::RDONLY | OFlags::DIRECTORY)?);
                }
                Step::Handle(path, flags) => self.group.handles.push(open(path, *flags)?),
            }
            self.done += 1;
        }
        Ok(())
    }

    /// Takes out what the new process is born into, once that is made.
    pub(crate) fn birthplace(&mut self) -> Option<OwnedFd> {
        self.group.birthplace.take()
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
            Some(
                Step::Directory(path)
                | Step::Setting { file: path, .. }
                | Step::Door(path)
                | Step::Birthplace(path)
                | Step::Handle(path, _),
            ) => path.to_string_lossy().into_owned(),
            None => String::new(),
        }
    }
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}
