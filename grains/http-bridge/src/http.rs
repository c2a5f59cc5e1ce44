//! The wire format between bridge and app, free of I/O.

pub(crate) mod body;
pub(crate) mod cookie;
pub(crate) mod date;
pub(crate) mod disposition;
pub(crate) mod etag;
pub(crate) mod request;
pub(crate) mod response;
