//! What a grain may run into, and telling its owner.

use std::rc::Rc;

use percloud_core::id::{GrainId, NoticeId};
use percloud_schemas::host_capnp as host;
use percloud_store::Batch;
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Grain, LimitMet, Notice, grain_key};

/// The owner hears of a limit at most once in so many seconds.
const NOTICE_EVERY: u64 = 24 * 60 * 60;

/// What a grain may run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Bytes of its storage.
    Disk,
    /// Files of its storage.
    Files,
    /// Words in its log.
    Log,
    /// Processor time, without a break.
    Processor,
    /// Files a process may have open.
    OpenFiles,
    /// Calls it may make before it takes answers.
    Calls,
    /// Patience: it says nothing, and somebody waits for it.
    Answers,
    /// The whole server's disk, not its own share.
    ServerDisk,
}

impl Limit {
    pub(crate) const ALL: [Limit; 10] = [
        Self::Memory,
        Self::Processes,
        Self::Disk,
        Self::Files,
        Self::Log,
        Self::Processor,
        Self::OpenFiles,
        Self::Calls,
        Self::Answers,
        Self::ServerDisk,
    ];

    /// As it is called in keys and in the shell API.
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk",
            Self::Files => "files",
            Self::Log => "log",
            Self::Processor => "processor",
            Self::OpenFiles => "open-files",
            Self::Calls => "calls",
            Self::Answers => "answers",
            Self::ServerDisk => "server-disk",
        }
    }

    /// What its owner reads; the shell has it in other languages too.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Memory => {
                "It needed more memory than it may use, and was stopped or lost a part of its work."
            }
            Self::Processes => "It tried to start more processes than it may.",
            Self::Disk => "It takes all the space it may. Until there is room it can read and delete only.",
            Self::Files => {
                "It keeps as many files as it may. Until some are gone it can read and delete only."
            }
            Self::Log => "It writes more into its log than is kept.",
            Self::Processor => {
                "It has kept a processor busy for more than a minute. Others are served first."
            }
            Self::OpenFiles => "It has as many files open as it may, and can open no more.",
            Self::Calls => "It asks for more than it finishes with. It was made to wait, or stopped.",
            Self::Answers => "It said nothing while somebody waited for it. It may help to start it again.",
            Self::ServerDisk => {
                "The disk of this server is nearly full. Until there is room it can read and delete only."
            }
        }
    }

    pub(crate) fn read(limit: host::Limit) -> Option<Self> {
        match limit {
            host::Limit::None => None,
            host::Limit::Memory => Some(Self::Memory),
            host::Limit::Processes => Some(Self::Processes),
            host::Limit::Disk => Some(Self::Disk),
            host::Limit::Files => Some(Self::Files),
            host::Limit::Log => Some(Self::Log),
            host::Limit::Processor => Some(Self::Processor),
            host::Limit::OpenFiles => Some(Self::OpenFiles),
            host::Limit::Calls => Some(Self::Calls),
            host::Limit::Answers => Some(Self::Answers),
        }
    }
}

impl Broker {
    /// Tells a grain's owner, at most once a day, that it met a limit.
    pub(crate) fn met_limit(self: &Rc<Self>, id: &GrainId, limit: Limit) {
        let (broker, id) = (self.clone(), id.clone());
        tokio::task::spawn_local(async move {
            if let Err(problem) = broker.note_limit(&id, limit).await {
                tracing::warn!(grain = %id, "cannot tell of a limit that was met: {problem}");
            }
        });
    }

    pub(crate) async fn note_limit(&self, id: &GrainId, limit: Limit) -> Result<(), Problem> {
        let _changing = self.changing.lock().await;
        let Some(grain) = self.read::<Grain>(grain_key(id))? else {
            return Ok(());
        };
        let (key, now) = (met_key(id, limit), self.outside.now());
        let last: Option<LimitMet> = self.read(&key)?;
        if last.is_some_and(|last| now < last.time.plus_seconds(NOTICE_EVERY)) {
            return Ok(());
        }
        tracing::info!(grain = %id, limit = limit.name(), "a grain met a limit");
        let mut batch = Batch::new();
        // The server must be able to say that there is no room.
        batch.frees_space();
        batch.put(&key, &LimitMet { time: now });
        let notice = Notice {
            grain: id.clone(),
            text: limit.sentence().to_owned(),
            from: None,
            path: None,
            thread: None,
            time: now,
            read: false,
            count: 1,
            limit: Some(limit),
        };
        let notice_id = NoticeId::new(|bytes| (self.outside.random)(bytes));
        self.put_notice(&mut batch, &grain.owner, id, &notice_id, &notice);
        self.commit(batch).await?;
        self.tell_notices(&grain.owner);
        self.tell_grain(id);
        Ok(())
    }

    /// Forgets which limits a grain met.
    pub(crate) fn forget_limits(batch: &mut Batch, id: &GrainId) {
        for limit in Limit::ALL {
            batch.delete::<LimitMet>(&met_key(id, limit));
        }
    }
}

pub(super) fn met_key(id: &GrainId, limit: Limit) -> Vec<u8> {
    format!("{id}/{}", limit.name()).into_bytes()
}
