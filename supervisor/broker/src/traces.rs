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
            self.forget_all::<OwnName>(&here).await?;
            self.forget_all::<Unread>(&here).await?;
            self.forget_all::<Follow>(&here).await?;
            self.forget_all::<Mute>(&here).await?;
        }
        Ok(())
    }

    /// Deletes the records whose keys begin with `prefix`, in full batches.
    async fn forget_all<R: Record>(&self, prefix: &[u8]) -> Result<(), Problem> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.page::<R>(prefix, after.as_deref(), STEP);
            let page = page.map_err(|error| Problem::internal("read the store", &error))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut batch = Batch::new();
            batch.frees_space();
            for (key, _) in &page {
                if batch.is_nearly_full() {
                    self.commit(batch.take()).await?;
                }
                batch.delete::<R>(key);
            }
            self.commit(batch).await?;
        }
    }
}
