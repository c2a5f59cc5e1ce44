//! The app's own objects: by what it finds them again, and finding them.
//!
//! These are the only calls of `AppPersistent` and `MainView` there are; they go to the app directly, through no
//! membrane.

use std::future::Future;

use capnp::capability::{Client, FromClientHook};
use capnp::private::capability::ClientHook;
use capnp::{Error, ErrorKind, any_pointer};
use percloud_schemas::grain_capnp::{app_persistent, scheduled_job};
use percloud_schemas::host_capnp::object_id;

use super::{Platform, words};
use crate::membrane::Message;

/// Words an object id may have in its shortest form: 3 KiB. The broker keeps it in a record of a few.
const OBJECT_WORDS: usize = 384;

/// What an app says when it is asked for an object's id.
pub(super) struct Saved {
    /// An object id of any shape, in a message without capabilities.
    pub(super) object: Message,
    /// A `LocalizedText`.
    pub(super) label: Message,
}

impl Platform {
    /// Asks one of the app's objects by what the app will find it again.
    pub(super) async fn object_id(&self, object: Box<dyn ClientHook>) -> Result<Saved, Error> {
        let object: app_persistent::Client<any_pointer::Owned> = FromClientHook::new(object);
        let answer = self.in_time(object.save_request().send().promise).await;
        let answer = answer.map_err(|error| match error.kind {
            ErrorKind::Unimplemented => {
                Error::failed("this capability cannot be saved: the app could not find it again".to_owned())
            }
            _ => error,
        })?;
        let answer = answer.get()?;
        let mut label = Message::new(16);
        label.get_mut()?.set_as(words(answer.get_label()?)?)?;
        Ok(Saved {
            object: shortest(answer.get_object_id()?)?,
            label,
        })
    }

    /// The object the app finds by `object`.
    pub(crate) async fn find(&self, object: object_id::Reader<'_>) -> Result<Client, Error> {
        let mut request = self.peers().view.restore_request();
        request.get().get_object_id()?.set_as(object.get_id())?;
        let answer = self.in_time(request.send().promise).await;
        let answer = answer.map_err(|error| Error {
            extra: format!("the app could not bring the object back: {}", plain(&error)),
            ..error
        })?;
        let cap = answer.get()?.get_cap();
        if cap.is_null() {
            return Err(Error::failed("the app brought no object back".to_owned()));
        }
        cap.get_as_capability()
    }

    /// Tells the app that nobody will ask for this object any more. Apps need not listen.
    pub(crate) async fn forget(&self, object: object_id::Reader<'_>) -> Result<(), Error> {
        let mut request = self.peers().view.drop_request();
        request.get().get_object_id()?.set_as(object.get_id())?;
        match self.in_time(request.send().promise).await {
            Err(error) if error.kind != ErrorKind::Unimplemented => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs a scheduled job of the app, for as long as it takes; whether it is to be run no more.
    pub(crate) async fn run_job(&self, object: object_id::Reader<'_>) -> Result<bool, Error> {
        let callback: scheduled_job::callback::Client = self.find(object).await?.cast_to();
        let _in_use = self.realm.work();
        let answer = callback.run_request().send().promise.await?;
        Ok(answer.get()?.get_cancel_future_runs())
    }

    /// An answer of the app, unless it takes too long. The grain is in use meanwhile.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let _in_use = self.realm.work();
        let limit = self.limits.object_timeout;
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(Error::failed(format!(
                "the app did not answer within {seconds} seconds"
            )))
        })
    }
}

/// A copy of an object id in the shortest form it has.
pub(super) fn shortest(id: any_pointer::Reader<'_>) -> Result<Message, Error> {
    let size = id.target_size()?;
    if size.cap_count > 0 {
        return Err(Error::failed(
            "an object id cannot contain capabilities".to_owned(),
        ));
    }
    let too_long = || {
        let bytes = OBJECT_WORDS * 8;
        Error::failed(format!("an object id has {bytes} bytes at most"))
    };
    // The shortest form leaves out zeros at ends, so what is far longer is not looked at.
    if size.word_count > 16 * OBJECT_WORDS as u64 {
        return Err(too_long());
    }
    let words = u32::try_from(size.word_count + 1).expect("the bound is lower");
    let message = Message::canonical(id, words)?;
    if message.words() > OBJECT_WORDS {
        return Err(too_long());
    }
    Ok(message)
}

/// An error's text without the marks of the hops it took.
pub(super) fn plain(error: &Error) -> String {
    crate::membrane::carry_error(error.clone()).extra
}
