//! Whether the grain's storage, being as it was found, ends its app.

use std::time::Duration;

use percloud_schemas::host_capnp::host_keeper;
use tokio::time::{sleep, timeout};

use super::{HEARD, Share};
use crate::config::{Ended, Limit, Storage};
use crate::usage::{self, Usage};

/// Percent of its limits a full grain must be below before it may write again.
const ROOM: u64 = 95;

impl Share {
    /// Measures the storage, and has the limits looked at if it is above them.
    pub(crate) async fn measure(&self) -> Option<Usage> {
        let usage = self.walk().await?;
        if exceeded(self.storage.get(), usage).is_some() {
            self.asked.notify_one();
        }
        Some(usage)
    }

    /// Measures it by a walk that begins now.
    pub(crate) async fn measure_anew(&self) -> Option<Usage> {
        let found = self.walks.measure_anew(self.storage.get().files).await?;
        Some(self.found(found))
    }

    /// What the last walk found.
    pub(crate) fn last(&self) -> Option<Usage> {
        self.last.get()
    }

    /// Bounds the storage from now on.
    pub(crate) fn limit_storage(&self, bytes: u64, files: u64) {
        let is_full = self.storage.get().is_full;
        self.storage.set(Storage {
            bytes,
            files,
            is_full,
        });
        self.asked.notify_one();
    }

    /// Measures for as long as the storage may be as it is: whenever the app was looked at, and has pauses. Returns why the
    /// app may no longer live.
    pub(super) async fn keep_storage(&self, keeper: &host_keeper::Client) -> Ended {
        let mut pause = Duration::ZERO;
        let mut reported = None;
        loop {
            let due = async {
                sleep(pause).await;
                self.looked.notified().await;
            };
            tokio::select! {
                () = due => {}
                () = self.asked.notified() => {}
            }
            // Without a result the machine is short of something; soon it may not be.
            pause = usage::PAUSE;
            let Some(mut usage) = self.walk().await else {
                continue;
            };
            if usage.is_hidden {
                // It may have been changing the mode of a folder just then, as an archive is unpacked. Joining would find the
                // walk that is just over.
                let Some(again) = self.measure_anew().await else {
                    continue;
                };
                usage = again;
            }
            pause = usage.pause;
            if let Some(ended) = self.judge(usage) {
                return ended;
            }
            let size = (usage.bytes, usage.files);
            if reported != Some(size)
                && matches!(timeout(HEARD, report_size(keeper, usage)).await, Ok(Ok(())))
            {
                reported = Some(size);
            }
        }
    }

    async fn walk(&self) -> Option<Usage> {
        let found = self.walks.measure(self.storage.get().files).await?;
        Some(self.found(found))
    }

    /// Takes note of what was found. What cannot be counted is more than there may be, for whoever only reads the number:
    /// a grain that is above its limit starts so that it can delete and no more.
    fn found(&self, mut usage: Usage) -> Usage {
        if usage.is_hidden {
            usage.files = usage.files.max(self.storage.get().files.saturating_add(1));
        }
        self.last.set(Some(usage));
        usage
    }

    fn judge(&self, usage: Usage) -> Option<Ended> {
        let storage = self.storage.get();
        match exceeded(storage, usage) {
            // It can do no more than read and delete.
            Some(_) if storage.is_full => None,
            Some(limit) => Some(Ended {
                reason: match limit {
                    Limit::Files if usage.is_hidden => {
                        "the app keeps files where they cannot be counted, in closed folders or too many inside one another, \
                         and was stopped"
                    }
                    Limit::Files => "the app keeps more files than it may and was stopped",
                    _ => "the app takes more space than it may and was stopped",
                }
                .to_owned(),
                asked: false,
                limit: Some(limit),
            }),
            None if storage.is_full && has_room(storage, usage) => Some(Ended {
                reason: "there is room again; the app starts anew".to_owned(),
                asked: true,
                limit: None,
            }),
            None => None,
        }
    }
}

/// Which limit of its storage a grain is above.
fn exceeded(storage: Storage, usage: Usage) -> Option<Limit> {
    if usage.bytes > storage.bytes {
        Some(Limit::Disk)
    } else if usage.is_hidden || usage.files > storage.files {
        Some(Limit::Files)
    } else {
        None
    }
}

fn has_room(storage: Storage, usage: Usage) -> bool {
    let below = |used: u64, limit: u64| used <= limit / 100 * ROOM;
    below(usage.bytes, storage.bytes) && below(usage.files, storage.files)
}

pub(crate) async fn report_size(keeper: &host_keeper::Client, usage: Usage) -> Result<(), capnp::Error> {
    let mut request = keeper.report_size_request();
    request.get().set_bytes(usage.bytes);
    request.get().set_files(usage.files);
    request.send().promise.await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::config::{Group, Reading};
    use crate::log::Log;
    use crate::tests::rig::{until, with_grain};

    const SMALL: Storage = Storage {
        bytes: 1 << 20,
        files: 100,
        is_full: false,
    };

    fn usage(bytes: u64, files: u64) -> Usage {
        Usage {
            bytes,
            files,
            is_hidden: false,
            pause: usage::PAUSE,
        }
    }

    fn share(folder: &Path, storage: Storage) -> Share {
        let (words, _said) = std::io::pipe().unwrap();
        let (log, _reader) = Log::open(folder, words.into(), &crate::Limits::default()).unwrap();
        Share::new(folder.to_owned(), None, storage, log)
    }

    /// Folders inside one another, deeper than anything is counted.
    fn deep(top: &Path) {
        fs::create_dir_all(top.join("d/".repeat(200))).unwrap();
    }

    /// Counts how often it is asked; the app works all the time.
    fn busy(looks: Arc<AtomicU64>) -> Group {
        Group {
            read: Box::new(move || Reading {
                processor: Some(Duration::from_secs(looks.fetch_add(1, Ordering::Relaxed))),
                ..Reading::default()
            }),
            open_files: Box::new(|| None),
            most_files: [1024, 4096],
            told: Vec::new(),
        }
    }

    /// Hears of nothing.
    struct Deaf;

    impl host_keeper::Server for Deaf {
        async fn report_size(
            self: Rc<Self>,
            _: host_keeper::ReportSizeParams,
            _: host_keeper::ReportSizeResults,
        ) -> Result<(), capnp::Error> {
            std::future::pending().await
        }
    }

    #[test]
    fn a_broker_that_does_not_listen_saves_nobody_who_is_above_their_limit() {
        with_grain(|grain| async move {
            let folder = tempfile::tempdir().unwrap();
            let share = share(folder.path(), SMALL);
            let deaf: host_keeper::Client = capnp_rpc::new_client(Deaf);
            let looks = share.keep(&grain.wired.concerned, &grain.wired.rest, &deaf);
            let writes = async {
                // Below the limit at the first look, whose report nobody hears.
                until(|| share.last().is_some()).await;
                fs::write(folder.path().join("heap"), vec![7; 2 << 20]).unwrap();
                share.asked.notify_one();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = looks => assert_eq!(ended.limit, Some(Limit::Disk)),
                () = writes => {}
            }
        });
    }

    #[test]
    fn who_hides_what_it_keeps_is_above_its_limit_until_it_does_not() {
        with_grain(|grain| async move {
            let folder = tempfile::tempdir().unwrap();
            deep(folder.path());
            let deaf: host_keeper::Client = capnp_rpc::new_client(Deaf);
            let hiding = Storage { files: 1000, ..SMALL };
            let share = share(folder.path(), hiding);
            let ended = share.keep(&grain.wired.concerned, &grain.wired.rest, &deaf).await;
            assert_eq!((ended.limit, ended.asked), (Some(Limit::Files), false));
            assert!(ended.reason.contains("cannot be counted"), "{}", ended.reason);
            // Who reads only the number starts it so that it can delete and no more.
            assert_eq!(share.last().unwrap().files, 1001);
            share.limit_storage(SMALL.bytes, 5000);
            assert_eq!(share.measure().await.unwrap().files, 5001, "raising helps nobody");

            let full = Storage {
                is_full: true,
                ..hiding
            };
            share.storage.set(full);
            let usage = share.measure().await.unwrap();
            assert_eq!(share.judge(usage), None, "it may delete");
            fs::remove_dir_all(folder.path().join("d")).unwrap();
            let usage = share.measure_anew().await.unwrap();
            assert!(share.judge(usage).is_some_and(|ended| ended.asked), "{usage:?}");
        });
    }

    #[test]
    fn a_slow_disk_holds_up_no_other_look() {
        with_grain(|grain| async move {
            let folder = tempfile::tempdir().unwrap();
            let looks = Arc::new(AtomicU64::new(0));
            let mut share = share(folder.path(), SMALL);
            share.group = Some(busy(Arc::clone(&looks)));
            let _walk = share.walks.hang();
            let deaf: host_keeper::Client = capnp_rpc::new_client(Deaf);
            tokio::select! {
                _ = share.keep(&grain.wired.concerned, &grain.wired.rest, &deaf) => unreachable!(),
                () = until(|| looks.load(Ordering::Relaxed) > 3) => {}
            }
            assert_eq!(share.last(), None);
        });
    }

    #[test]
    fn a_full_grain_needs_room_for_both_before_it_may_write_again() {
        let storage = Storage {
            bytes: 1000,
            files: 100,
            is_full: true,
        };
        assert_eq!(exceeded(storage, usage(1001, 1)), Some(Limit::Disk));
        assert_eq!(exceeded(storage, usage(1000, 101)), Some(Limit::Files));
        assert_eq!(exceeded(storage, usage(1000, 100)), None);
        assert!(
            !has_room(storage, usage(1000, 1)),
            "it would be full again at once"
        );
        assert!(!has_room(storage, usage(1, 100)));
        assert!(has_room(storage, usage(950, 95)));
    }
}
