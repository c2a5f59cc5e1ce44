//! Packages: staged by an upload, installed by a decision, immutable from then on.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use percloud_core::grain::TITLE_LIMIT;
use percloud_core::id::{AccountId, GrainId};
use percloud_core::time::Timestamp;
use percloud_spk::install::{ICONS, IconKind, PackageInfo};
use percloud_store::Batch;
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::described;
use crate::layout::sync_folder;
use crate::problem::Problem;
use crate::record::{App, Grain, Package, app_key};
use crate::tree;

/// How long an upload waits for a decision, in seconds.
const STAGED_LIFE: u64 = 60 * 60;
/// Uploads one account may have waiting; the oldest gives way.
const STAGED_LIMIT: usize = 4;
/// Package descriptions kept in memory.
const INFO_CACHE: usize = 64;
/// Largest description read back from disk, in bytes.
const INFO_LIMIT: u64 = 16 << 20;
/// Largest icon served, in bytes (sheet 1.6: 256 kB, four times that for SVG).
const ICON_LIMIT: u64 = 1 << 20;

/// A checked, unpacked package waiting for a decision.
pub(crate) struct Staged {
    folder: PathBuf,
    info: Rc<PackageInfo>,
    account: AccountId,
    expires: Timestamp,
}

impl Staged {
    pub(crate) fn new(folder: PathBuf, info: PackageInfo, who: &SignedIn, now: Timestamp) -> Self {
        let expires = now.plus_seconds(STAGED_LIFE);
        Self {
            folder,
            info: Rc::new(info),
            account: who.account.clone(),
            expires,
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        tree::remove_in_background(self.folder.clone());
    }
}

impl Broker {
    /// Keeps an unpacked upload until its owner decides.
    pub(crate) fn stage(&self, who: &SignedIn, upload: Staged) -> Result<Value, Problem> {
        let id = upload.info.package_id.to_string();
        let now = self.outside.now();
        self.forget_expired_uploads(now);
        let mut staged = self.staged.borrow_mut();
        let own = staged
            .iter()
            .filter(|(_, waiting)| waiting.account == who.account);
        if own.clone().count() >= STAGED_LIMIT {
            let oldest = own
                .min_by_key(|(_, waiting)| waiting.expires)
                .map(|(id, _)| id.clone());
            oldest.map(|id| staged.remove(&id));
        }
        let info = upload.info.clone();
        staged.insert(id, upload);
        drop(staged);
        self.package_view(who, &info)
    }

    /// Forgets uploads nobody decided on.
    pub(crate) fn forget_expired_uploads(&self, now: Timestamp) {
        self.staged
            .borrow_mut()
            .retain(|_, waiting| now < waiting.expires);
    }

    fn staged_info(&self, who: &SignedIn, id: &str) -> Option<Rc<PackageInfo>> {
        let staged = self.staged.borrow();
        let waiting = staged.get(id).filter(|waiting| waiting.account == who.account)?;
        (self.outside.now() < waiting.expires).then(|| waiting.info.clone())
    }

    /// What an installed package says of itself.
    pub(crate) async fn package_info(&self, id: &str) -> Result<Rc<PackageInfo>, Problem> {
        if let Some(info) = self.infos.borrow().get(id) {
            return Ok(info.clone());
        }
        // Only ids in the store become paths.
        let _: Package = self.read(id.as_bytes())?.ok_or(Problem::NotFound)?;
        let path = self.config.layout.package(id).join("info.json");
        let read = tokio::task::spawn_blocking(move || read_bounded(&path, INFO_LIMIT)).await;
        let bytes = read
            .map_err(io::Error::other)
            .and_then(|bytes| bytes)
            .map_err(|error| Problem::internal("read the description of a package", &error))?;
        let info: PackageInfo = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::internal("understand the description of a package", &error))?;
        let info = Rc::new(info);
        let mut infos = self.infos.borrow_mut();
        if infos.len() >= INFO_CACHE {
            infos.clear();
        }
        infos.insert(id.to_owned(), info.clone());
        Ok(info)
    }

    /// The package `id` if this person uploaded or has it.
    pub(crate) async fn own_package(&self, who: &SignedIn, id: &str) -> Result<Rc<PackageInfo>, Problem> {
        if let Some(info) = self.staged_info(who, id) {
            return Ok(info);
        }
        let info = self.package_info(id).await?;
        let has_app = self.app_of(who, &info)?.is_some_and(|app| app.package_id == id);
        let has_grain = || {
            let catalogue = self.catalogue.borrow();
            catalogue.has_grain_of_package(&who.account, id)
        };
        if has_app || has_grain() {
            Ok(info)
        } else {
            Err(Problem::NotFound)
        }
    }

    pub(crate) fn app_of(&self, who: &SignedIn, info: &PackageInfo) -> Result<Option<App>, Problem> {
        self.read(&app_key(&who.account, &info.app_id.to_string()))
    }

    /// Installs a staged package: its files become permanent, then the record that makes them count. Grains made
    /// with an older version of the app continue with this one.
    pub(crate) async fn install(self: &Rc<Self>, who: &SignedIn, id: &str) -> Result<Value, Problem> {
        let info = self.install_app(who, id).await?;
        // Packages may come and go meanwhile: a grain that is being backed up is waited for, and that may take long.
        self.upgrade_grains(who, &info.app_id.to_string()).await?;
        self.app_view(who, &info)
    }

    /// Makes an app this person's, if it is not; what they already made with it goes on as it was.
    async fn install_app(&self, who: &SignedIn, id: &str) -> Result<Rc<PackageInfo>, Problem> {
        let _packaging = self.packaging.lock().await;
        if self.staged_info(who, id).is_none() {
            // Installing what is installed already is not an error; it finishes what an earlier try may have left.
            return self.own_package(who, id).await;
        }
        // Out of the waiting room, so that nothing that empties it touches these files now.
        let staged = self.staged.borrow_mut().remove(id).ok_or(Problem::NotFound)?;
        let info = staged.info.clone();
        let outcome = self.install_staged(who, id, &staged).await;
        if outcome.is_err() && staged.folder.join("unpacked").exists() {
            self.staged.borrow_mut().insert(id.to_owned(), staged);
        }
        outcome.map(|()| info)
    }

    async fn install_staged(&self, who: &SignedIn, id: &str, staged: &Staged) -> Result<(), Problem> {
        let info = staged.info.clone();
        let known: Option<Package> = self.read(id.as_bytes())?;
        if known.is_none() {
            let folder = staged.folder.join("unpacked");
            let (packages, to) = (self.config.layout.packages(), self.config.layout.package(id));
            let description = serde_json::to_vec(&*info)
                .map_err(|error| Problem::internal("describe a package", &error))?;
            let moved =
                tokio::task::spawn_blocking(move || make_permanent(&folder, &description, &to, &packages))
                    .await;
            moved
                .map_err(io::Error::other)
                .and_then(|moved| moved)
                .map_err(|error| Problem::internal("install a package", &error))?;
        }
        let now = self.outside.now();
        let app_id = info.app_id.to_string();
        let mut batch = Batch::new();
        let package = Package {
            app_id: app_id.clone(),
            app_version: info.manifest.app_version,
            title: described::title(&info).chars().take(TITLE_LIMIT).collect(),
            marketing_version: described::text(Some(&info.manifest.app_marketing_version))
                .chars()
                .take(TITLE_LIMIT)
                .collect(),
            icon: described::icon_url(&info, IconKind::Grain),
            installed: now,
        };
        batch.put(id.as_bytes(), &package);
        let key = app_key(&who.account, &app_id);
        batch.put(
            &key,
            &App {
                package_id: id.to_owned(),
                installed: now,
            },
        );
        self.commit(batch).await?;
        self.catalogue_app_again(key);
        let view = self.app_view(who, &info)?;
        self.events
            .tell(&who.account, &json!({"type": "app", "app": view}));
        Ok(())
    }

    /// Has the grains of an app go on with what this person has of it now, each when its turn comes. One that is not
    /// reached, because of a crash or a full disk, goes on when it starts next.
    async fn upgrade_grains(&self, who: &SignedIn, app_id: &str) -> Result<(), Problem> {
        let made = self.catalogue.borrow().grains_of_app(&who.account, app_id);
        for id in made {
            if !self.is_behind(who, &id).await? {
                continue;
            }
            let slot = self.slot(&id);
            let _turn = slot.turn.lock().await;
            // Waiting took a while.
            if self.is_behind(who, &id).await? {
                // Stopped, and kept from starting: nothing of the old version runs once the record says otherwise.
                slot.stop().await;
                // That took a while too: it may be somebody else's by now.
                if let Ok(grain) = self.own_grain(who, &id) {
                    self.go_on_with_app(&id, grain).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether a grain is this person's and may go on with another package; one that is gone meanwhile is not.
    async fn is_behind(&self, who: &SignedIn, id: &GrainId) -> Result<bool, Problem> {
        match self.own_grain(who, id) {
            Ok(grain) => Ok(self.newer_package(&grain).await?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// Has a grain that does not run go on with what its owner has of its app by now, if that is another package and not
    /// an older one; then lets go of the one it had, if nothing needs that any more. Returns the grain as it is then.
    ///
    /// The caller holds the grain's turn. Of the two locks [`Broker::packaging`] always comes second, and nobody waits for
    /// a grain while holding it.
    pub(crate) async fn go_on_with_app(&self, id: &GrainId, mut grain: Grain) -> Result<Grain, Problem> {
        if self.newer_package(&grain).await?.is_none() {
            return Ok(grain);
        }
        let _packaging = self.packaging.lock().await;
        // Looked at again: it may have been uninstalled, or another installed, and only what an app or a grain names stays.
        let Some(package_id) = self.newer_package(&grain).await? else {
            return Ok(grain);
        };
        self.update_grain(id, |grain| grain.package_id.clone_from(&package_id))
            .await?;
        let old = std::mem::replace(&mut grain.package_id, package_id);
        if let Err(problem) = self.let_go_of_package(&old).await {
            // It takes room and does nothing else; the grain goes on.
            tracing::warn!("a package that nothing needs is kept: {problem}");
        }
        Ok(grain)
    }

    /// The package a grain's owner has of its app, if it is not the grain's, and at least as new.
    async fn newer_package(&self, grain: &Grain) -> Result<Option<String>, Problem> {
        let app: Option<App> = self.read(&app_key(&grain.owner, &grain.app_id))?;
        let Some(app) = app.filter(|app| app.package_id != grain.package_id) else {
            return Ok(None);
        };
        let info = self.package_info(&app.package_id).await?;
        let old: Option<Package> = self.read(grain.package_id.as_bytes())?;
        let may = old.is_none_or(|old| old.app_version <= info.manifest.app_version);
        Ok(may.then_some(app.package_id))
    }

    /// Removes a package that no app and no grain names. The caller holds [`Broker::packaging`].
    async fn let_go_of_package(&self, id: &str) -> Result<(), Problem> {
        if self.catalogue.borrow().is_needed(id) {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.delete::<Package>(id.as_bytes());
        self.commit(batch).await?;
        self.infos.borrow_mut().remove(id);
        self.discard(&self.config.layout.package(id), id);
        Ok(())
    }

    /// Forgets an upload, or uninstalls an app nothing was made with.
    pub(crate) async fn remove_package(&self, who: &SignedIn, id: &str) -> Result<(), Problem> {
        if self.staged_info(who, id).is_some() {
            self.staged.borrow_mut().remove(id);
            return Ok(());
        }
        let _packaging = self.packaging.lock().await;
        let info = self.own_package(who, id).await?;
        let app_id = info.app_id.to_string();
        let made = self.catalogue.borrow().grains_of_app(&who.account, &app_id);
        if !made.is_empty() {
            return Err(Problem::InUse);
        }
        let mut batch = Batch::new();
        let key = app_key(&who.account, &app_id);
        batch.delete::<App>(&key);
        self.commit(batch).await?;
        self.catalogue_app_again(key);
        self.events
            .tell(&who.account, &json!({"type": "app-removed", "appId": app_id}));
        self.let_go_of_package(id).await
    }

    /// A picture of a package, as (media type, bytes).
    pub(crate) async fn icon(
        &self,
        who: &SignedIn,
        id: &str,
        name: &str,
    ) -> Result<(&'static str, Vec<u8>), Problem> {
        let info = self.own_package(who, id).await?;
        let icon = info
            .icons
            .iter()
            .find(|icon| icon.kind.name() == name)
            .ok_or(Problem::NotFound)?;
        let staged = self
            .staged
            .borrow()
            .get(id)
            .map(|waiting| waiting.folder.join("unpacked"));
        // The worker that named the file read hostile bytes: only names we would have given count.
        let extension = if icon.media_type == "image/png" {
            "png"
        } else {
            "svg"
        };
        let file = format!("{}.{extension}", icon.kind.name());
        let path = staged
            .unwrap_or_else(|| self.config.layout.package(id))
            .join(ICONS)
            .join(file);
        let read = tokio::task::spawn_blocking(move || read_bounded(&path, ICON_LIMIT)).await;
        let bytes = read.ok().and_then(Result::ok).ok_or(Problem::NotFound)?;
        let media_type = if extension == "png" {
            "image/png"
        } else {
            "image/svg+xml"
        };
        Ok((media_type, bytes))
    }
}

fn make_permanent(folder: &Path, description: &[u8], to: &Path, packages: &Path) -> io::Result<()> {
    let mut file = fs::File::create_new(folder.join("info.json"))?;
    file.write_all(description)?;
    file.sync_all()?;
    sync_folder(folder)?;
    // A folder without a record is what an earlier crash left; it is rubbish, however complete.
    tree::remove(to)?;
    fs::rename(folder, to)?;
    sync_folder(packages)
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = fs::File::open(path)?;
    if file.metadata()?.len() > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than it may be",
        ));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
