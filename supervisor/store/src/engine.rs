//! What the store needs of an ordered key-value engine; any that offers this can take sled's place.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

pub(crate) mod sled;

/// Writes of a group, by engine key; `None` deletes.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What [`Engine::scan`] calls with each key and value.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// An ordered map of bytes. Never panics: a damaged file is an error of kind [`io::ErrorKind::InvalidData`].
pub(crate) trait Engine: Send + Sync {
    /// Reads one value.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Visits every key that begins with `prefix` and is greater than `after`, in order.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, visit: Visit<'_>) -> io::Result<()>;

    /// Applies all of `writes` or, after a crash, none. Durable only after [`Engine::sync`].
    fn apply(&self, writes: &Writes) -> io::Result<()>;

    /// Makes everything applied so far durable, down to the platters.
    fn sync(&self) -> io::Result<()>;
}
