//! Who a session belongs to, and which sessions are open.

mod headers;
mod table;

pub(crate) use headers::{SessionHeaders, SessionType, User, add_context};
pub(crate) use table::{Detail, Entry, Registration, SessionTable};
