//! What people keep of a grain beside their access to it: a name of their own, what they follow, and what they do not want
//! to hear of. It goes when the grain is gone for good.

use percloud_core::id::GrainId;
use percloud_store::{Batch, Record};

use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Follow, Mute, OwnName, Unread, grain_of_person};

/// Records that are read at a time.
const STEP: usize = 128;

impl Broker {
    /// Forgets what anybody keeps of a grain that is gone.
    pub(crate) async fn forget_traces_of(&self, grain: &GrainId) -> Result<(), Problem> {
        let people: Vec<_> = self.accounts.borrow().keys().cloned().collect();
        for person in people {
            // Also those to whom it is long closed may keep something.
            let here = grain_of_person(&person, grain);
            self.forget_all::<OwnName>(&here, |_| true).await?;
            self.forget_all::<Unread>(&here, |_| true).await?;
            self.forget_all::<Follow>(&here, |_| true).await?;
            self.forget_all::<Mute>(&here, |_| true).await?;
        }
        Ok(())
    }

    /// Forgets what people keep of grains that are gone, as where the server ended while it forgot. Call it once.
    ///
    /// # Errors
    ///
    /// What the store said; the rest stays for the next time.
    pub async fn forget_traces_of_the_gone(&self) -> Result<(), Problem> {
        let is_gone = |key: &[u8]| grain_of(key).is_some_and(|grain| !self.catalogue.borrow().has(&grain));
        self.forget_all::<OwnName>(b"", is_gone).await?;
        self.forget_all::<Unread>(b"", is_gone).await?;
        self.forget_all::<Follow>(b"", is_gone).await?;
        self.forget_all::<Mute>(b"", is_gone).await
    }

    /// Deletes those of the records whose keys begin with `prefix` that `is_to_go` names by their keys, in full batches.
    async fn forget_all<R: Record>(
        &self,
        prefix: &[u8],
        is_to_go: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Problem> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.page::<R>(prefix, after.as_deref(), STEP);
            let page = page.map_err(|error| Problem::internal("read the store", &error))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let keys = page.iter().map(|(key, _)| key);
            self.delete_all::<R>(keys.filter(|key| is_to_go(key))).await?;
            // There may be very many, and others wait.
            tokio::task::yield_now().await;
        }
    }

    async fn delete_all<R: Record>(&self, keys: impl Iterator<Item = &Vec<u8>>) -> Result<(), Problem> {
        let mut batch = Batch::new();
        batch.frees_space();
        for key in keys {
            if batch.is_nearly_full() {
                self.commit(batch.take()).await?;
            }
            batch.delete::<R>(key);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.commit(batch).await
    }
}

/// The grain that the key of a record is about, behind the person's id.
fn grain_of(key: &[u8]) -> Option<GrainId> {
    std::str::from_utf8(key).ok()?.split('/').nth(1)?.parse().ok()
}
