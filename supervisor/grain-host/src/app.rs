//! The app: what it says of itself, and how it opens sessions.

mod admission;
mod opening;
mod process;
mod sessions;

use std::cell::Cell;
use std::rc::Rc;

use capnp::capability::{Request, Response};
use capnp::{Error, ErrorKind, any_pointer};
use percloud_schemas::grain_capnp::ui_view;
use tokio::sync::OnceCell;

pub(crate) use admission::Admission;
pub(crate) use process::{Exit, Process, kill};
pub(crate) use sessions::Sessions;

use crate::config::Limits;
use crate::log::Log;

/// Permissions an app may define.
const PERMISSIONS: u32 = 4096;
/// Words an app may take to describe itself: 1 MiB.
const VIEW_INFO_WORDS: u64 = 128 << 10;
/// An interface that no app has.
const NOBODYS: u64 = 0xf1c2_7a35_90de_4b68;

type ViewInfo = Response<ui_view::view_info::Owned>;

/// What an app says of itself.
pub(crate) enum Described {
    /// As it said it.
    As(ViewInfo),
    /// It does not say, which is allowed (trap 11).
    Nothing,
}

impl Described {
    /// How many permissions the app knows.
    pub(crate) fn permissions(&self) -> u32 {
        let count = |info: &ViewInfo| Ok::<_, Error>(info.get()?.get_permissions()?.len());
        match self {
            Self::As(info) => count(info).map_or(0, |count| count.min(PERMISSIONS)),
            Self::Nothing => 0,
        }
    }
}

/// The app's view, as it offered it on file descriptor 3. Not wrapped: never handed out.
pub(crate) struct App {
    view: ui_view::Client,
    described: OnceCell<Rc<Described>>,
    limits: Limits,
    log: Log,
    /// Whether it has been asked something and has not answered.
    is_asked: Rc<Cell<bool>>,
}

impl App {
    pub(crate) fn new(view: ui_view::Client, limits: Limits, log: Log) -> Self {
        Self {
            view,
            described: OnceCell::new(),
            limits,
            log,
            is_asked: Rc::default(),
        }
    }

    /// What the app says of itself, asked once in its life.
    ///
    /// # Errors
    /// Only when the app is gone: one that fails to answer, or answers nonsense, says nothing of itself.
    pub(crate) async fn describe(&self) -> Result<Rc<Described>, Error> {
        self.described.get_or_try_init(|| self.ask()).await.cloned()
    }

    /// Asks for what no app has: whoever listens refuses, and that is heard on its connection.
    pub(crate) fn ask_whether_it_listens(&self) {
        if self.is_asked.replace(true) {
            return;
        }
        let is_asked = Rc::clone(&self.is_asked);
        let question: Request<any_pointer::Owned, any_pointer::Owned> =
            self.view.client.new_call(NOBODYS, 0, None);
        let refusal = question.send().promise;
        tokio::task::spawn_local(async move {
            let _whatever_it_says = refusal.await;
            is_asked.set(false);
        });
    }

    async fn ask(&self) -> Result<Rc<Described>, Error> {
        let answer = self.view.get_view_info_request().send().promise;
        let described = match tokio::time::timeout(self.limits.view_info_timeout, answer).await {
            Ok(Ok(info)) if is_reasonable(&info) => Described::As(info),
            Ok(Ok(_)) => {
                self.log
                    .line("what the app says of itself is too long or cannot be read, and is left aside");
                Described::Nothing
            }
            // Old apps report "failed" where they mean "unimplemented".
            Ok(Err(error)) if error.kind == ErrorKind::Disconnected => return Err(error),
            Ok(Err(_)) => Described::Nothing,
            Err(_) => {
                self.log.line("the app does not say what it is; going on without");
                Described::Nothing
            }
        };
        Ok(Rc::new(described))
    }
}

fn is_reasonable(info: &ViewInfo) -> bool {
    info.hook
        .get()
        .and_then(|info| info.target_size())
        .is_ok_and(|size| size.word_count <= VIEW_INFO_WORDS)
        && info
            .get()
            .is_ok_and(|info| info.get_permissions().is_ok_and(|list| list.len() <= PERMISSIONS))
}
