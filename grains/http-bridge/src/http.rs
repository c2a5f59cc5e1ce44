//! The wire format between bridge and app, free of I/O.

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod cookie;
pub(crate) mod date;
pub(crate) mod disposition;
pub(crate) mod etag;
pub(crate) mod fields;
pub(crate) mod request;
pub(crate) mod request_head;
pub(crate) mod response;
