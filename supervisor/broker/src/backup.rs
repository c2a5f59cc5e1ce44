//! Backups of grains: taken, restored, and both at once for a copy (sheet 6.7, ADR 0010).
//!
//! What comes of a backup holds no authority: no shares, no tokens, no jobs. It asks again. Only the names under which
//! the app knows people come back, or it would not recognise its own owner.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use percloud_backup::{GrainInfo, Limits, Profile, Restored, User};
use percloud_core::grain::title;
use percloud_core::id::{AccountId, GrainId, UploadId};
use percloud_core::secret::hex;
use percloud_schemas::util_capnp::byte_stream;
use percloud_store::Batch;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::task::AbortHandle;

use crate::account::SignedIn;
use crate::audit::Act;
use crate::broker::Broker;
use crate::described;
use crate::front::finished;
use crate::layout::{make_private, sync_folder};
use crate::limits::OwnLimits;
use crate::outside::{
    BackupReport, BackupStart, FreezeReport, FreezeStart, HostProcess, RestoreReport, RestoreStart,
};
use crate::pour::pour;
use crate::problem::Problem;
use crate::record::{App, Grain, KnownAs, app_key, person_of_grain};
use crate::staging::Place;
use crate::tree;
use crate::upload::Worker;

/// Bytes per write towards whoever downloads.
const CHUNK: usize = 256 << 10;
/// Longest line of a worker's report, in bytes: all a backup says of its grain.
const REPORT_LIMIT: u64 = 16 << 20;
/// People a backup names at most.
const USERS: usize = 1000;

/// A folder of staging, gone with its content when let go.
struct Scratch(
    PathBuf,
    #[expect(dead_code, reason = "held for as long as the folder")] Place,
);

impl Drop for Scratch {
    fn drop(&mut self) {
        tree::remove_in_background(self.0.clone());
    }
}

/// The lines a worker reports, each one document; bounded, for it read hostile bytes.
pub(crate) struct Report(BufReader<tokio::io::Take<tokio::net::UnixStream>>);

impl Report {
    /// Both ends of a report: ours, and the worker's.
    pub(crate) fn pair() -> std::io::Result<(Self, std::os::unix::net::UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = tokio::net::UnixStream::from_std(ours)?;
        Ok((Self(BufReader::new(ours.take(4 * REPORT_LIMIT))), theirs))
    }

    /// The next document; `None` when the worker is gone or does not make sense.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut line = Vec::new();
        let read = (&mut self.0)
            .take(REPORT_LIMIT)
            .read_until(b'\n', &mut line)
            .await;
        let whole = matches!(read, Ok(length) if length > 0) && line.last() == Some(&b'\n');
        if whole {
            serde_json::from_slice(&line).ok()
        } else {
            None
        }
    }
}

fn started(process: Result<HostProcess, crate::LaunchError>) -> Result<Worker, Problem> {
    let process = process.map_err(|error| Problem::internal("start a worker for a backup", &error))?;
    Ok(Worker(process.pidfd))
}

fn refused(code: String, message: String) -> Problem {
    if code == "disk-full" {
        Problem::DiskFull
    } else {
        Problem::BadBackup {
            reason: code,
            message,
        }
    }
}

/// How this server names an account in a backup, so that it finds them again.
fn credential(account: &AccountId) -> String {
    hex(&Sha256::digest(format!("percloud:{account}")))
}

impl Broker {
    /// Writes a grain's backup to `stream`. Returns once it is complete on our side, with its title and the task that sends it.
    pub(crate) async fn back_up(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        stream: byte_stream::Client,
    ) -> Result<(Value, AbortHandle), Problem> {
        let grain = self.own_grain(who, id)?;
        let scratch = self.scratch(who)?;
        let archive = scratch.0.join("backup.zip");
        self.pack(who, id, &archive).await?;
        let (broker, account, grain_id) = (self.clone(), who.account.clone(), id.clone());
        // To its end: what is noted and not committed would be missing in the log.
        finished(async move {
            let _turn = broker.sharing_turn.lock().await;
            let mut batch = Batch::new();
            broker.note(&mut batch, Some(&account), Act::BackedUp, Some(&grain_id), "");
            broker.commit_noted(batch).await
        })
        .await?;
        let io = |error: std::io::Error| Problem::internal("read a backup", &error);
        let file = File::open(&archive).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let sending = tokio::task::spawn_local(async move {
            let _scratch = scratch;
            send(&file, size, stream).await;
        });
        Ok((json!({"title": grain.title}), sending.abort_handle()))
    }

    fn scratch(&self, who: &SignedIn) -> Result<Scratch, Problem> {
        // How large it gets is seen when it is there: what a grain takes may shrink to little.
        let place = self.place_in_staging(&who.account, 0)?;
        let folder = self
            .config
            .layout
            .upload(&UploadId::new(|bytes| (self.outside.random)(bytes)));
        make_private(&folder).map_err(|error| Problem::internal("begin a backup", &error))?;
        Ok(Scratch(folder, place))
    }

    /// Writes the backup of a grain to a new file, of one moment: its app stands still meanwhile, or sleeps.
    async fn pack(self: &Rc<Self>, who: &SignedIn, id: &GrainId, archive: &Path) -> Result<(), Problem> {
        let io = |error: std::io::Error| Problem::internal("write a backup", &error);
        let slot = self.slot(id);
        let _turn = slot.turn.lock().await;
        // Waiting may have taken long: it may be somebody else's by now, or go on with another version of its app.
        let grain = self.own_grain(who, id)?;
        self.check_room(0)?;
        let frozen = match slot.running() {
            Some(running) => {
                let frozen = self.freeze(running.pid).await;
                if frozen.is_none() {
                    slot.stop().await;
                    self.tell_grain(id);
                }
                frozen
            }
            None => None,
        };
        let (mut report, theirs) = Report::pair().map_err(io)?;
        let out = File::create_new(archive).map_err(io)?;
        let start = BackupStart {
            grain: self.config.layout.grain(id),
            info: self.grain_info(id, &grain).await?,
            limits: Limits::default(),
            out: OwnedFd::from(out),
            report: theirs.into(),
        };
        let _worker = started(self.outside.launcher.start_backup(start).await)?;
        let packed = loop {
            match report.next().await {
                Some(BackupReport::Progress(_)) => {
                    if let Err(problem) = self.check_room(0) {
                        break Err(problem);
                    }
                }
                Some(BackupReport::Done(packed)) => break Ok(packed),
                Some(BackupReport::Failed { code, message }) => break Err(refused(code, message)),
                None => break Err(Problem::Unavailable),
            }
        };
        drop(frozen);
        let packed = packed?;
        if packed.skipped_count > 0 {
            tracing::info!(grain = %id, "{} entries are not in its backup", packed.skipped_count);
        }
        Ok(())
    }

    /// Holds an app still for as long as the result is kept; `None` where that cannot be done.
    async fn freeze(&self, host: u32) -> Option<(Report, Worker)> {
        let (mut report, theirs) = Report::pair().ok()?;
        let start = FreezeStart { host, report: theirs };
        let worker = started(self.outside.launcher.start_freeze(start).await).ok()?;
        match report.next().await {
            Some(FreezeReport::Frozen) => Some((report, worker)),
            Some(FreezeReport::Failed { message }) => {
                tracing::debug!("an app cannot be held still: {message}");
                None
            }
            None => None,
        }
    }

    async fn grain_info(&self, id: &GrainId, grain: &Grain) -> Result<GrainInfo, Problem> {
        let info = self.package_info(&grain.package_id).await?;
        let accounts = self.accounts.borrow();
        let users = self.people_of(id).into_iter().take(USERS).filter_map(|account| {
            let person = accounts.get(&account)?;
            Some(User {
                identity_id: hex(&self.identity_id(&account, id)),
                credential_ids: vec![credential(&account)],
                profile: Some(Profile {
                    display_name: person.name.clone(),
                    preferred_handle: person.handle.clone(),
                    ..Profile::default()
                }),
            })
        });
        Ok(GrainInfo {
            app_id: grain.app_id.clone(),
            app_version: info.manifest.app_version,
            title: grain.title.clone(),
            owner_identity_id: hex(&self.identity_id(&grain.owner, id)),
            users: users.collect(),
            original_grain_id: String::new(),
        })
    }

    /// Makes a grain of a backup in `folder`; tells how far it is.
    pub(crate) async fn restore_backup(
        self: &Rc<Self>,
        who: &SignedIn,
        folder: &Path,
        zip: PathBuf,
        name: impl Fn(&str) -> Option<String>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Value, Problem> {
        let io = |error: std::io::Error| Problem::internal("restore a backup", &error);
        let into = folder.join("grain");
        make_private(&into).map_err(io)?;
        let (mut report, theirs) = Report::pair().map_err(io)?;
        let start = RestoreStart {
            zip,
            into: into.clone(),
            limits: Limits::default(),
            report: theirs.into(),
        };
        let _worker = started(self.outside.launcher.start_restore(start).await)?;
        let restored = loop {
            match report.next().await {
                Some(RestoreReport::Progress { done, total }) => {
                    self.check_room(0)?;
                    progress(done, total);
                }
                Some(RestoreReport::Done(restored)) => break *restored,
                Some(RestoreReport::Failed { code, message }) => return Err(refused(code, message)),
                None => {
                    return Err(refused(
                        "worker-ended".to_owned(),
                        "restoring this backup was stopped: it asked for more than a backup may".to_owned(),
                    ));
                }
            }
        };
        self.adopt(who, &into, restored, name).await
    }

    /// Makes restored storage a grain of this person's.
    async fn adopt(
        self: &Rc<Self>,
        who: &SignedIn,
        storage: &Path,
        restored: Restored,
        name: impl Fn(&str) -> Option<String>,
    ) -> Result<Value, Problem> {
        let info = restored.info;
        let _packaging = self.packaging.lock().await;
        let app: App = self
            .read(&app_key(&who.account, &info.app_id))?
            .ok_or(Problem::AppMissing)?;
        let package = self.package_info(&app.package_id).await?;
        if package.manifest.app_version < info.app_version {
            return Err(Problem::BadBackup {
                reason: "newer-app".to_owned(),
                message: "this was made with a newer version of the app; install that first".to_owned(),
            });
        }
        let id = GrainId::new(|bytes| (self.outside.random)(bytes));
        let now = self.outside.now();
        let noun = package
            .manifest
            .actions
            .first()
            .map(|action| described::noun(&package, action));
        let grain = Grain {
            owner: who.account.clone(),
            app_id: info.app_id,
            package_id: app.package_id,
            action: 0,
            title: name(&info.title)
                .as_deref()
                .and_then(title)
                .unwrap_or_else(|| described::title(&package)),
            noun: noun.unwrap_or_default().chars().take(60).collect(),
            created: now,
            last_used: now,
            size: Some(restored.bytes),
            begun: true,
            trashed: None,
            relaxed_policy: false,
            public_id: None,
            files: None,
            limits: OwnLimits::default(),
        };
        let io = |error: std::io::Error| Problem::internal("keep a restored grain", &error);
        std::fs::rename(storage, self.config.layout.grain(&id)).map_err(io)?;
        let laid = sync_folder(&self.config.layout.grains()).map_err(io);
        let mut batch = Batch::new();
        self.remember_people(&mut batch, who, &id, &info.owner_identity_id, &info.users);
        self.keep_grain(who, &id, &grain, laid, batch).await
    }

    /// Keeps under which names the app knows people, where we know them too.
    fn remember_people(&self, batch: &mut Batch, who: &SignedIn, id: &GrainId, owner: &str, users: &[User]) {
        let whole = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if whole(owner) {
            let known = KnownAs {
                id: owner.to_lowercase(),
            };
            batch.put(&person_of_grain(id, &who.account), &known);
        }
        let accounts = self.accounts.borrow();
        for (account, _) in accounts.iter().filter(|(account, _)| **account != who.account) {
            let credential = credential(account);
            let user = users
                .iter()
                .find(|user| user.credential_ids.contains(&credential));
            // One batch holds so many; a family is smaller.
            if let Some(user) = user.filter(|user| whole(&user.identity_id) && user.identity_id != owner)
                && !batch.is_nearly_full()
            {
                let known = KnownAs {
                    id: user.identity_id.to_lowercase(),
                };
                batch.put(&person_of_grain(id, account), &known);
            }
        }
    }

    /// A copy of a grain, with its own id and no authority.
    pub(crate) async fn duplicate(self: &Rc<Self>, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        let grain = self.own_grain(who, id)?;
        if grain.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        let scratch = self.scratch(who)?;
        let archive = scratch.0.join("backup.zip");
        self.pack(who, id, &archive).await?;
        let name = |title: &str| Some(format!("Copy of {title}"));
        self.restore_backup(who, &scratch.0, archive, name, |_, _| {})
            .await
    }
}

/// Sends a file of `size` bytes; a reader that goes away ends it.
async fn send(file: &File, size: u64, stream: byte_stream::Client) {
    let mut request = stream.expect_size_request();
    request.get().set_size(size);
    if request.send().promise.await.is_ok() {
        pour(file, stream, 0..size, CHUNK).await;
    }
}
