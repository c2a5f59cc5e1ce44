//! A store that has failed saves nothing until it is opened anew, which takes another broker: when that is worth the while.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::broker::Broker;

impl Broker {
    /// Waits until the store has failed and its disk takes writes again, which is looked at every `pause`. Whoever hears of
    /// it stops this broker and starts another, which opens the store as it is on the disk.
    pub async fn until_the_store_can_be_opened_again(&self, pause: Duration) {
        let mut said = String::new();
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
            if hinders != said {
                tracing::error!("the store cannot be opened again yet: {hinders}");
                said = hinders;
            }
        }
    }

    /// That nothing can be made durable for now, for whoever runs the server.
    pub(crate) fn store_warning(&self) -> Option<Value> {
        self.store.has_failed().then(|| {
            json!({
                "code": "store-failed",
                "message": "This server could not write to its disk and saves nothing for now. Look after the disk: as soon as it can be written to, the server starts anew by itself. The server's log says what happened.",
            })
        })
    }
}
