//! Tells open shells what changed.

use std::cell::RefCell;
use std::rc::Rc;

use percloud_core::id::AccountId;
use serde_json::Value;
use tokio::sync::mpsc;

/// Events a slow shell may be behind by; beyond it the shell is cut off and asks anew when it reconnects.
const BACKLOG: usize = 256;

struct Watcher {
    account: AccountId,
    events: mpsc::Sender<Rc<str>>,
}

/// Everyone who wants to hear of changes.
#[derive(Default)]
pub(crate) struct Events {
    watchers: RefCell<Vec<Watcher>>,
}

impl Events {
    /// Subscribes a shell of `account`. The stream ends when the shell falls too far behind.
    pub(crate) fn watch(&self, account: AccountId) -> mpsc::Receiver<Rc<str>> {
        let (events, receiver) = mpsc::channel(BACKLOG);
        // The first word says that the line is open; the channel has room for it.
        let _ = events.try_send(r#"{"type":"hello"}"#.into());
        self.watchers.borrow_mut().push(Watcher { account, events });
        receiver
    }

    /// Whether a shell of `account` listens.
    pub(crate) fn is_watching(&self, account: &AccountId) -> bool {
        let watchers = self.watchers.borrow();
        watchers.iter().any(|watcher| watcher.account == *account)
    }

    /// Tells every shell of `account`.
    pub(crate) fn tell(&self, account: &AccountId, event: &Value) {
        let mut watchers = self.watchers.borrow_mut();
        if watchers.is_empty() {
            return;
        }
        let text: Rc<str> = event.to_string().into();
        watchers.retain(|watcher| {
            if watcher.account == *account {
                watcher.events.try_send(text.clone()).is_ok()
            } else {
                !watcher.events.is_closed()
            }
        });
    }
}
