//! An open grain, as a page sees it.

use std::net::SocketAddr;

use super::client::Connection;
use crate::failure::Failure;

/// A session on a host of its own.
pub struct Visit {
    pub address: SocketAddr,
    /// The connection the page was entered on.
    pub connection: Connection,
}

impl Visit {
    /// One more connection of the same page.
    pub fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(self.address, self.connection.host(), self.connection.cookie())
    }
}
