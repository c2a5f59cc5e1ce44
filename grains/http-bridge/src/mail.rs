//! Takes mail for the grain into the app's Maildir.

mod date;
mod header;
mod maildir;
mod mime;

use std::rc::Rc;

use capnp::Error;
use percloud_schemas::email_capnp::email_send_port;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::hack_session_capnp::hack_email_session;

use crate::bridge::Bridge;
use crate::session::Registration;

pub(crate) use maildir::Maildir;

/// What the platform opens to deliver mail.
pub(crate) struct MailSession {
    pub(crate) bridge: Rc<Bridge>,
    pub(crate) _registration: Registration,
}

impl ui_session::Server for MailSession {}
impl hack_email_session::Server for MailSession {}

impl email_send_port::Server for MailSession {
    async fn send(
        self: Rc<Self>,
        params: email_send_port::SendParams,
        _: email_send_port::SendResults,
    ) -> Result<(), Error> {
        let maildir = &self.bridge.mail;
        // One message at a time: each is held in memory twice while it is written.
        let turn = maildir.turn().await;
        let message = mime::write(params.get()?.get_email()?)?;
        drop(params);
        maildir
            .deliver(message)
            .await
            .map_err(|error| Error::failed(format!("could not deliver into {}: {error}", maildir.path())))?;
        drop(turn);
        Ok(())
    }
}
