//! What one person has on its way through staging: uploads, and backups and copies of grains. Each takes as much of the
//! disk as what it holds, so nobody has many at a time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use percloud_core::id::AccountId;

use crate::broker::Broker;
use crate::problem::Problem;

/// How many of them one account may have at a time.
pub(crate) const AT_ONCE: usize = 8;

/// How many there are, by account; none where there are none.
pub(crate) type Staging = Rc<RefCell<BTreeMap<AccountId, usize>>>;

/// One of them; over when it is let go.
pub(crate) struct Place {
    staging: Staging,
    account: AccountId,
}

impl Broker {
    /// Takes a place in staging for something of `size` bytes, as far as that is known: what would fill the disk is refused
    /// before it is begun.
    pub(crate) fn place_in_staging(&self, account: &AccountId, size: u64) -> Result<Place, Problem> {
        self.check_room(size)?;
        let mut staging = self.staging.borrow_mut();
        let count = staging.entry(account.clone()).or_default();
        if *count >= AT_ONCE {
            return Err(Problem::BadRequest(format!(
                "{AT_ONCE} uploads, backups or copies of yours are under way already; wait until one is done"
            )));
        }
        *count += 1;
        Ok(Place {
            staging: self.staging.clone(),
            account: account.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut staging = self.staging.borrow_mut();
        if let Some(count) = staging.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                staging.remove(&self.account);
            }
        }
    }
}
