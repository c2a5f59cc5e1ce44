//! Static publishing: what a grain puts below `/var/www` is read by anybody who knows its public id (sheet 5.7).
//!
//! The app is not started and not trusted: every step of a path is opened from the folder above it, links are not
//! followed, and what is no regular file does not exist.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use capnp::Error;
use percloud_core::id::GrainId;
use percloud_schemas::front_capnp::front::published_site_results;
use percloud_schemas::util_capnp::{blob, byte_stream, handle};
use percloud_store::Batch;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::broker::Broker;
use crate::pour::pour;
use crate::problem::Problem;
use crate::record::{Grain, Site, grain_key};

/// Longest path served, in bytes.
const PATH: usize = 4096;
/// Bytes per write towards the reader.
const CHUNK: usize = 64 << 10;
/// Longest slice handed out at once, in bytes.
const SLICE: u32 = 1 << 20;
const SYMBOLS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID: usize = 20;

/// A public id, if it could be one.
fn public_id(text: &str) -> Option<&str> {
    let fits = text.len() == ID && text.bytes().all(|byte| SYMBOLS.contains(&byte));
    fits.then_some(text)
}

impl Broker {
    /// The public id of a grain, made when it is first asked for.
    pub(crate) async fn public_id(self: &Rc<Self>, id: &GrainId) -> Result<String, Problem> {
        let _changing = self.changing.lock().await;
        let mut grain: Grain = self.read(grain_key(id))?.ok_or(Problem::NotFound)?;
        if let Some(known) = grain.public_id {
            return Ok(known);
        }
        let mut text = String::with_capacity(ID);
        while text.len() < ID {
            let mut bytes = [0; 32];
            (self.outside.random)(&mut bytes);
            let fair = bytes.iter().filter(|byte| **byte < 252);
            text.extend(
                fair.take(ID - text.len())
                    .map(|byte| char::from(SYMBOLS[usize::from(byte % 36)])),
            );
        }
        grain.public_id = Some(text.clone());
        let mut batch = Batch::new();
        batch.put(grain_key(id), &grain);
        batch.put(text.as_bytes(), &Site { grain: id.clone() });
        self.commit(batch).await?;
        Ok(text)
    }

    /// Whose site it is, if its grain is not in the trash.
    fn site(&self, site: &str) -> Option<GrainId> {
        let site: Site = self.read(public_id(site)?.as_bytes()).ok()??;
        let grain: Grain = self.read(grain_key(&site.grain)).ok()??;
        grain.trashed.is_none().then_some(site.grain)
    }

    /// Writes what is at `path` of a site; nothing when there is no such site.
    pub(crate) fn publish(&self, site: &str, path: &str, results: published_site_results::Builder<'_>) {
        let Some(grain) = self.site(site) else { return };
        let mut into = results.init_file();
        let www = self.config.layout.grain(&grain).join("sandbox/www");
        match look(&www, path) {
            Some(Found::File(file, size)) => {
                let mut written = into.init_file();
                written.set_size(size);
                written.set_read(capnp_rpc::new_client(Blob(Rc::new(file), size)));
            }
            Some(Found::Folder) => into.set_directory(()),
            None => into.set_not_found(()),
        }
    }
}

enum Found {
    File(File, u64),
    Folder,
}

/// Opens `path` below `www`, following nothing.
fn look(www: &Path, path: &str) -> Option<Found> {
    let path = path.trim_start_matches('/');
    let plain = path.len() <= PATH
        && !path.contains('\0')
        && path
            .split('/')
            .rev()
            .skip(1)
            .all(|part| !matches!(part, "" | "." | ".."))
        && !matches!(path.rsplit('/').next(), Some("." | ".."));
    if !plain {
        return None;
    }
    let root = rustix::fs::open(
        www,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let below = if path.is_empty() {
        "."
    } else {
        path.trim_end_matches('/')
    };
    // Not to block on a pipe, nor to become the owner of a terminal: what it is shows only once it is open.
    let file: OwnedFd = rustix::fs::openat2(
        &root,
        below,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV,
    )
    .ok()?;
    let about = rustix::fs::fstat(&file).ok()?;
    match FileType::from_raw_mode(about.st_mode) {
        FileType::RegularFile => Some(Found::File(File::from(file), u64::try_from(about.st_size).ok()?)),
        FileType::Directory => Some(Found::Folder),
        _ => None,
    }
}

/// A file being read, and the size it is taken for; what the app does to it meanwhile is its own affair. Cut short, it
/// breaks off.
struct Blob(Rc<File>, u64);

impl blob::Server for Blob {
    async fn get_size(
        self: Rc<Self>,
        _: blob::GetSizeParams,
        mut results: blob::GetSizeResults,
    ) -> Result<(), Error> {
        results.get().set_size(self.1);
        Ok(())
    }

    async fn get_slice(
        self: Rc<Self>,
        params: blob::GetSliceParams,
        mut results: blob::GetSliceResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let size = params.get_size().min(SLICE) as usize;
        let mut bytes = vec![0; size];
        let read = self
            .0
            .read_at(&mut bytes, params.get_offset())
            .map_err(|error| Error::failed(format!("cannot read the file: {error}")))?;
        results.get().set_data(&bytes[..read]);
        Ok(())
    }

    async fn write_to(
        self: Rc<Self>,
        params: blob::WriteToParams,
        mut results: blob::WriteToResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let stream: byte_stream::Client = params.get_stream()?;
        let range = params.get_start_at_offset()..self.1;
        let file = self.0.clone();
        let task = tokio::task::spawn_local(async move { pour(&*file, stream, range, CHUNK).await });
        results
            .get()
            .set_handle(capnp_rpc::new_client(Reading(task.abort_handle())));
        Ok(())
    }
}

/// Ends a transfer when it is let go.
struct Reading(tokio::task::AbortHandle);

impl handle::Server for Reading {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::{Found, look};

    #[test]
    fn only_plain_files_below_the_folder_are_published() {
        let folder = tempfile::tempdir().unwrap();
        let www = folder.path().join("www");
        std::fs::create_dir_all(www.join("deep")).unwrap();
        std::fs::write(www.join("page.html"), "page").unwrap();
        std::fs::write(www.join("deep/page.html"), "deeper").unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        symlink("../secret", www.join("up")).unwrap();
        symlink("/etc/passwd", www.join("abroad")).unwrap();
        symlink("page.html", www.join("near")).unwrap();
        symlink("deep", www.join("folder")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            www.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let file = |path: &str| matches!(look(&www, path), Some(Found::File(..)));
        assert!(file("page.html") && file("/deep/page.html"));
        assert!(matches!(look(&www, "deep"), Some(Found::Folder)));
        assert!(matches!(look(&www, ""), Some(Found::Folder)));
        for path in [
            "up",
            "abroad",
            "near",
            "folder/page.html",
            "pipe",
            "../secret",
            "deep/../page.html",
            "./page.html",
            "deep//page.html",
            "nowhere",
            "page.html/x",
            "a\0b",
            "..",
            "deep/..",
        ] {
            assert!(look(&www, path).is_none(), "{path:?}");
        }
        symlink(&www, folder.path().join("moved")).unwrap();
        assert!(
            look(&folder.path().join("moved"), "page.html").is_none(),
            "the folder itself is a link"
        );
    }
}
