//! A store that has failed saves nothing until it is opened anew, which takes another broker: when that is worth the while.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::broker::Broker;

/// How often the store is looked at, and a disk that failed is tried at first.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is tried in the end, while it is always the same that is in the way: a trial writes 8 MiB.
const RARELY: Duration = Duration::from_secs(120);

impl Broker {
    /// Whether the store saves nothing any more.
    #[must_use]
    pub fn store_has_failed(&self) -> bool {
        self.store.has_failed()
    }

    /// Waits until the store has failed and its disk takes writes again. Whoever hears of it stops this broker and starts
    /// another, which opens the store as it is on the disk.
    pub async fn until_the_store_can_be_opened_again(&self) {
        let mut said = String::new();
        let mut pause = LOOK;
        loop {
            sleep(pause).await;
            if !self.store.has_failed() {
                continue;
            }
            let store = self.store.clone();
            let hinders = match tokio::task::spawn_blocking(move || store.try_disk()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            if hinders == said {
                pause = (pause * 2).min(RARELY);
            } else {
                tracing::error!("the store cannot be opened again yet: {hinders}");
                said = hinders;
                pause = LOOK;
            }
        }
    }

    /// That nothing can be made durable for now, for whoever runs the server.
    pub(crate) fn store_warning(&self) -> Option<Value> {
        self.store.has_failed().then(|| {
            if self.store.is_damaged() {
                return json!({
                    "code": "store-damaged",
                    "message": "What this server has saved about itself is damaged, so that it saves nothing any more. Start it again by hand: it then goes back to the newest state that can be trusted. The server's log says what happened.",
                });
            }
            json!({
                "code": "store-failed",
                "message": "This server could not write to its disk and saves nothing for now. Look after the disk: as soon as it can be written to, the server starts anew by itself. The server's log says what happened.",
            })
        })
    }
}
