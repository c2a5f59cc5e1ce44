//! Where things are on disk (design section 4).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use percloud_core::id::{GrainId, UploadId};

use crate::tree;

/// The folders of one server.
#[derive(Clone, Debug)]
pub struct Layout {
    data: PathBuf,
    runtime: PathBuf,
}

impl Layout {
    /// Describes a server that keeps what lasts in `data` and what does not in `runtime`.
    #[must_use]
    pub fn new(data: PathBuf, runtime: PathBuf) -> Self {
        // A folder of our own below, for it is emptied: whoever names `/tmp` shall not lose it.
        Self {
            data,
            runtime: runtime.join("doors"),
        }
    }

    /// Makes the folders that are missing. Changes nothing that another server on the same data could need.
    pub fn prepare(&self) -> io::Result<()> {
        for folder in [
            &self.data,
            &self.packages(),
            &self.grains(),
            &self.data.join("keys"),
            &self.runtime,
        ] {
            make_private(folder)?;
        }
        sync_folder(&self.data)
    }

    /// Creates the folder of doors alone, where what else is needed must be there.
    pub fn prepare_doors(&self) -> io::Result<()> {
        make_private(&self.runtime)
    }

    /// The folders a server keeps everything in, with no link in their names: its data, what links in there lead to
    /// (large things may lie on another disk), and the folder of doors. They must be there.
    pub fn folders(&self) -> io::Result<Vec<PathBuf>> {
        let data = fs::canonicalize(&self.data)?;
        let mut folders = vec![fs::canonicalize(&self.runtime)?];
        for entry in fs::read_dir(&data)? {
            let entry = entry?;
            if entry.file_type()?.is_symlink() && entry.path().is_dir() {
                folders.push(fs::canonicalize(entry.path())?);
            }
        }
        folders.push(data);
        Ok(folders)
    }

    /// Empties staging and the folder of doors: whatever a crash left there is rubbish by definition, since nothing in
    /// the store points to it. Only for who holds the store's lock.
    pub fn sweep(&self) -> io::Result<()> {
        let folder = self.staging();
        if let Err(error) = tree::remove(&folder) {
            // Rubbish that stays must not keep the server from starting.
            let aside = (0..).map(|number| folder.with_extension(format!("stuck-{number}")));
            let aside = aside
                .into_iter()
                .find(|aside| !aside.exists())
                .expect("numbers do not end");
            tracing::warn!(
                "cannot remove {}: {error}; it is now {}",
                folder.display(),
                aside.display()
            );
            fs::rename(&folder, &aside)?;
        }
        make_private(&folder)?;
        // Not the folder itself: the broker may change nothing beside it.
        tree::empty(&self.runtime)?;
        sync_folder(&self.data)
    }

    /// Empties the folder of doors: a server that has stopped leaves no socket.
    pub fn clear_doors(&self) {
        if let Err(error) = tree::empty(&self.runtime) {
            tracing::warn!("cannot empty {}: {error}", self.runtime.display());
        }
    }

    /// The store's folder.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    /// Whether a server works on this data now. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the store's lock cannot be looked at.
    pub fn in_use(&self) -> io::Result<bool> {
        percloud_store::in_use(&self.store())
    }

    /// The folder of the store's logical exports.
    #[must_use]
    pub fn export(&self) -> PathBuf {
        self.data.join("export")
    }

    /// The folder of sockets.
    #[must_use]
    pub fn doors(&self) -> &Path {
        &self.runtime
    }

    fn staging(&self) -> PathBuf {
        self.data.join("staging")
    }

    pub(crate) fn upload(&self, id: &UploadId) -> PathBuf {
        self.staging().join(id.as_str())
    }

    pub(crate) fn packages(&self) -> PathBuf {
        self.data.join("packages")
    }

    pub(crate) fn package(&self, id: &str) -> PathBuf {
        self.packages().join(id)
    }

    pub(crate) fn grains(&self) -> PathBuf {
        self.data.join("grains")
    }

    pub(crate) fn grain(&self, id: &GrainId) -> PathBuf {
        self.grains().join(id.as_str())
    }

    pub(crate) fn discarded(&self, name: &str) -> PathBuf {
        self.staging().join(format!("discarded-{name}"))
    }

    /// Where the egress is reached. No grain is called that: their ids are longer.
    #[must_use]
    pub fn egress_door(&self) -> PathBuf {
        self.runtime.join("egress")
    }

    pub(crate) fn door(&self, id: &GrainId) -> PathBuf {
        self.runtime.join(id.as_str())
    }
}

/// Makes a folder only its owner may enter.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
