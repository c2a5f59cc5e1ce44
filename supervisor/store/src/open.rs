//! Opening a store: making it, verifying it, or rebuilding it from what can be trusted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::content::{self, Content, Everything};
use crate::engine::sled::Sled;
use crate::engine::{Engine, Writes};
use crate::error::{ImportError, OpenError};
use crate::export::{self, Exported};
use crate::folder::{self, Found};
use crate::head::Head;
use crate::retry;
use crate::store::Parts;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Folder of the exports, outside the store's own. Made with the first export.
    pub export_dir: PathBuf,
    /// What is done where no store can be trusted.
    pub otherwise: Otherwise,
}

/// What is done where there is no store that can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Nothing: it was there and whole a moment ago, and may be so again.
    Refuse,
    /// One is made where there is no trace of one.
    Create,
    /// That, and one that is damaged or missing is rebuilt from the newest state that can be trusted.
    Recover,
}

/// How a store came to be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none, and no trace of one.
    Created,
    /// It was there, and everything in it was verified.
    Clean,
    /// It could not be trusted, or was missing, and was rebuilt.
    Rebuilt {
        /// What it was rebuilt from.
        from: RebuiltFrom,
        /// What was wrong with it.
        reason: String,
        /// Acknowledged commits that are known to be lost; `None` if that cannot be told.
        lost: Option<u64>,
        /// Where the damaged store is kept; `None` if there was none.
        kept: Option<PathBuf>,
    },
}

/// What a store was rebuilt from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuiltFrom {
    /// Its own content, which was whole but older than what it had acknowledged.
    Itself,
    /// An export.
    Export(PathBuf),
}

impl Opened {
    /// What the owner of the server must be told, if anything.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self::Rebuilt {
            from,
            reason,
            lost,
            kept,
        } = self
        else {
            return None;
        };
        let source = match from {
            RebuiltFrom::Itself => "what was left of it".to_owned(),
            RebuiltFrom::Export(path) => format!("the export {}", path.display()),
        };
        let lost = match lost {
            Some(0) => "nothing is missing".to_owned(),
            Some(1) => "the last change before that is missing".to_owned(),
            Some(lost) => format!("the last {lost} changes before that are missing"),
            None => "recent changes may be missing".to_owned(),
        };
        let kept = kept.as_ref().map_or(String::new(), |kept| {
            format!("; the old one is kept in {}", kept.display())
        });
        Some(format!(
            "the store was rebuilt from {source}, because {reason}; {lost}{kept}"
        ))
    }
}

/// A store that was found to be whole.
type Examined = (Box<dyn Engine>, Content, Head);

/// A store that is missing or cannot be trusted.
struct Broken {
    reason: String,
    /// What is left of it, if that is whole in itself.
    rest: Option<Everything>,
    /// Commits it had acknowledged, if its mark says.
    acknowledged: Option<u64>,
    /// Whether a folder is in its place.
    in_place: bool,
}

pub(crate) fn open(dir: &Path, options: &OpenOptions) -> Result<(Parts, Opened), OpenError> {
    if options.otherwise == Otherwise::Refuse
        && folder::look(dir).map_err(said("look at", dir))? == Found::Nothing
    {
        return Err(OpenError::Gone { dir: dir.to_owned() });
    }
    let lock = lock(dir)?;
    let building = folder::beside(dir, ".building");
    remove_rubbish(&building)?;
    let broken = match folder::look(dir).map_err(said("look at", dir))? {
        Found::Other => return Err(OpenError::NotAStore { dir: dir.to_owned() }),
        Found::Store(found) if found > folder::FORMAT => {
            return Err(OpenError::Newer {
                dir: dir.to_owned(),
                found,
                known: folder::FORMAT,
            });
        }
        Found::Store(_) => match examine(dir)? {
            Ok((engine, content, head)) => {
                let parts = parts(dir, options, lock, engine, content, head)?;
                return Ok((parts, Opened::Clean));
            }
            Err(broken) => broken,
        },
        Found::Nothing => {
            let exports = export::list(&options.export_dir).map_err(said("list", &options.export_dir))?;
            let Some(trace) = exports.into_iter().next().or_else(|| folder::any_set_aside(dir)) else {
                build(&building, dir, &Content::default(), &[])?;
                return Ok((open_trusted(dir, options, lock)?, Opened::Created));
            };
            if options.otherwise != Otherwise::Recover {
                return Err(OpenError::Missing {
                    dir: dir.to_owned(),
                    trace,
                });
            }
            Broken {
                reason: "it was missing".to_owned(),
                rest: None,
                acknowledged: None,
                in_place: false,
            }
        }
    };
    if options.otherwise != Otherwise::Recover {
        return Err(OpenError::Damaged {
            dir: dir.to_owned(),
            reason: broken.reason,
        });
    }
    let opened = rebuild(dir, &building, options, broken)?;
    Ok((open_trusted(dir, options, lock)?, opened))
}

pub(crate) fn import(export: &Path, dir: &Path) -> Result<Exported, ImportError> {
    let (content, records) = export::read(export)?;
    let _lock = lock(dir).map_err(ImportError::Build)?;
    let found = folder::look(dir).map_err(|error| ImportError::Build(said("look at", dir)(error)))?;
    if found != Found::Nothing {
        return Err(ImportError::Exists { dir: dir.to_owned() });
    }
    let building = folder::beside(dir, ".building");
    remove_rubbish(&building).map_err(ImportError::Build)?;
    build(&building, dir, &content, &records).map_err(ImportError::Build)?;
    Ok(Exported {
        path: export.to_owned(),
        commits: content.commits,
        records: content.records,
    })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(OpenError::NotAStore { dir: dir.to_owned() }),
    };
    match fs::metadata(parent) {
        Ok(found) if found.is_dir() => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(said("look at", parent)(error)),
        _ => return Err(OpenError::MissingParent { dir: dir.to_owned() }),
    }
    let held = folder::lock(dir).map_err(said("lock", &folder::beside(dir, ".lock")))?;
    held.ok_or_else(|| OpenError::Locked { dir: dir.to_owned() })
}

/// Opens the engine and verifies what it holds. The outer error is of the world around the store, the inner of the store.
fn examine(dir: &Path) -> Result<Result<Examined, Broken>, OpenError> {
    let (head, acknowledged) = Head::open(&folder::head(dir)).map_err(said("open", &folder::head(dir)))?;
    let broken = |reason: String, rest| {
        Ok(Err(Broken {
            reason,
            rest,
            acknowledged,
            in_place: true,
        }))
    };
    retry::remove_probe(dir).map_err(said("remove", &folder::probe(dir)))?;
    retry::read_anew(dir).map_err(|(file, source)| OpenError::Io {
        what: "read (moved aside, the store is rebuilt from its newest export)",
        path: file,
        source,
    })?;
    let engine_dir = folder::engine(dir);
    // The engine would make an empty one.
    if !engine_dir.join("db").exists() {
        return broken("the engine's log is missing".to_owned(), None);
    }
    let engine = match Sled::open(&engine_dir) {
        Ok(engine) => engine,
        Err(error) if is_of_the_world(&error) => return Err(said("open", &engine_dir)(error)),
        Err(error) => return broken(format!("the engine cannot open its log: {error}"), None),
    };
    let content = match content::verify(&engine, &mut |_, _| {}) {
        Ok(content) => content,
        Err(untrusted) => return broken(untrusted.to_string(), None),
    };
    match acknowledged {
        Some(acknowledged) if content.commits < acknowledged => {
            let reason = format!(
                "it had acknowledged {acknowledged} commits and its log ends after {}",
                content.commits
            );
            let mut records = Vec::new();
            match content::verify(&engine, &mut |key, value| {
                records.push((key.to_vec(), value.to_vec()))
            }) {
                Ok(_) => broken(reason, Some((content, records))),
                Err(untrusted) => broken(untrusted.to_string(), None),
            }
        }
        _ => Ok(Ok((Box::new(engine), content, head))),
    }
}

/// Builds a store from the newest state that can be trusted and puts it in the place of the broken one.
fn rebuild(dir: &Path, building: &Path, options: &OpenOptions, broken: Broken) -> Result<Opened, OpenError> {
    let mut best = broken
        .rest
        .map(|(content, records)| (content, records, RebuiltFrom::Itself));
    let mut newest = best.as_ref().map_or(0, |(content, ..)| content.commits);
    for path in export::list(&options.export_dir).map_err(said("list", &options.export_dir))? {
        match export::read(&path) {
            Ok((content, records)) => {
                if best
                    .as_ref()
                    .is_none_or(|(best, ..)| best.commits < content.commits)
                {
                    newest = newest.max(content.commits);
                    best = Some((content, records, RebuiltFrom::Export(path)));
                }
                break;
            }
            Err(error) => tracing::warn!("skipping an export: {error}"),
        }
    }
    let Some((mut content, records, from)) = best else {
        return Err(OpenError::Unrecoverable {
            dir: dir.to_owned(),
            export_dir: options.export_dir.clone(),
            reason: broken.reason,
        });
    };
    let lost = broken
        .acknowledged
        .map(|acknowledged| acknowledged.saturating_sub(content.commits));
    // Numbers that were used are not used again: a later export must rank above every earlier one.
    content.commits = newest.max(broken.acknowledged.unwrap_or(0)) + 1;
    build_at(building, &content, &records)?;
    let kept = match broken.in_place {
        true => Some(folder::set_aside(dir).map_err(said("set aside", dir))?),
        false => None,
    };
    put_in_place(building, dir)?;
    Ok(Opened::Rebuilt {
        from,
        reason: broken.reason,
        lost,
        kept,
    })
}

/// Opens a store that was built a moment ago.
fn open_trusted(dir: &Path, options: &OpenOptions, lock: File) -> Result<Parts, OpenError> {
    match examine(dir)? {
        Ok((engine, content, head)) => parts(dir, options, lock, engine, content, head),
        Err(broken) => Err(OpenError::Damaged {
            dir: dir.to_owned(),
            reason: broken.reason,
        }),
    }
}

fn parts(
    dir: &Path,
    options: &OpenOptions,
    lock: File,
    engine: Box<dyn Engine>,
    content: Content,
    head: Head,
) -> Result<Parts, OpenError> {
    // A mark that was lost or lags begins to be true again here.
    head.set(content.commits)
        .map_err(said("write", &folder::head(dir)))?;
    let exported = export::list(&options.export_dir)
        .ok()
        .and_then(|all| export::commits(all.first()?))
        .unwrap_or(0);
    Ok(Parts {
        engine,
        content,
        head,
        dir: dir.to_owned(),
        export_dir: options.export_dir.clone(),
        exported,
        lock,
    })
}

fn build(
    building: &Path,
    dir: &Path,
    content: &Content,
    records: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), OpenError> {
    build_at(building, content, records)?;
    put_in_place(building, dir)
}

/// Builds a store in a folder of its own, durable before it gets its name.
fn build_at(building: &Path, content: &Content, records: &[(Vec<u8>, Vec<u8>)]) -> Result<(), OpenError> {
    let fill = || -> io::Result<()> {
        folder::create(building)?;
        let engine = Sled::open(&folder::engine(building))?;
        for chunk in records.chunks(64) {
            engine.apply(
                &chunk
                    .iter()
                    .map(|(key, value)| (key.clone(), Some(value.clone())))
                    .collect(),
            )?;
        }
        engine.apply(&Writes::from([(content::KEY.to_vec(), Some(content.encode()))]))?;
        engine.sync()?;
        drop(engine);
        Head::open(&folder::head(building))?.0.set(content.commits)?;
        folder::sync_tree(building)
    };
    fill().map_err(said("build", building))
}

fn put_in_place(building: &Path, dir: &Path) -> Result<(), OpenError> {
    // An empty folder in its place is replaced; anything else was moved aside or refused before.
    fs::rename(building, dir)
        .and_then(|()| folder::sync_parent(dir))
        .map_err(said("put in place", dir))
}

fn remove_rubbish(building: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(building) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(said("remove", building)(error)),
        _ => Ok(()),
    }
}

/// Whether an error is of the world around the store (too many open files, no room, an I/O error of the device), which no
/// rebuild cures; else what the store holds is not what it should be. The engine keeps of an error that one of its threads met
/// only the kind, and the kind of an I/O error of the device has no name.
pub(crate) fn is_of_the_world(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    error.raw_os_error().is_some()
        || !matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

/// Names what was attempted, on which path.
fn said(what: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::NoPermission { path, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::DiskFull { path, source },
            _ => OpenError::Io { what, path, source },
        }
    }
}

#[cfg(test)]
mod tests;
