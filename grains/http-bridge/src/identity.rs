//! Keeps the people the app has met: their `Identity` capabilities, saved, by the id the app knows them by.
//!
//! Each is saved once and then checked once in every process, the first time its person is seen. A token that no
//! longer works is replaced while there is somebody to replace it from.

mod store;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use capnp::any_pointer;
use capnp::capability::FromClientHook;
use capnp::{Error, ErrorKind};
use percloud_schemas::grain_capnp::sandstorm_api;
use percloud_schemas::identity_capnp::identity;
use tokio::sync::Mutex;
use tokio::task::spawn_local;

use crate::http::request::hex;
use crate::log::log;
use store::{Discarded, Store};

/// What a saved identity is called where the owner reviews what the grain holds.
const LABEL: &str = "user identity";

/// Longest token kept, in bytes; encoded it has to fit into the target of a symbolic link.
const MAX_TOKEN: usize = 1024;

/// How the app knows a person: the first 16 bytes of their identity id, in hex `X-Sandstorm-User-Id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UserId([u8; 16]);

impl UserId {
    /// Shortens the identity id a platform uses; none for somebody anonymous.
    pub(crate) fn of(identity_id: &[u8]) -> Option<Self> {
        Some(Self(*identity_id.first_chunk()?))
    }

    /// Reads 32 hexadecimal digits.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, digits) in bytes.iter_mut().zip(text.chunks(2)) {
            let mut value = 0;
            for digit in digits {
                value = value << 4 | char::from(*digit).to_digit(16)?;
            }
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self(bytes))
    }

    /// Returns the id as the app sees it, 32 lower-case hexadecimal digits.
    pub(crate) fn name(self) -> String {
        let mut name = Vec::with_capacity(32);
        hex(&self.0, &mut name);
        name.into_iter().map(char::from).collect()
    }
}

type Platform = sandstorm_api::Client<any_pointer::Owned>;

/// The identities this grain has saved.
pub(crate) struct Identities {
    store: Store,
    platform: Platform,
    /// Whom this process has seen; true once their token is known to be good. Locked while it is being found out.
    seen: RefCell<HashMap<UserId, Rc<Mutex<bool>>>>,
}

impl Identities {
    /// Keeps links below `directory`, and begins to give back what an earlier process had to leave behind.
    pub(crate) fn open(directory: PathBuf, platform: Platform) -> Rc<Self> {
        let this = Rc::new(Self {
            store: Store::new(directory),
            platform,
            seen: RefCell::default(),
        });
        // Listed before anything new could be on its way through the same folder.
        let left = this.store.discarded();
        if !left.is_empty() {
            let this = this.clone();
            spawn_local(async move {
                for discarded in left {
                    this.give_back(discarded).await;
                }
            });
        }
        this
    }

    /// Makes sure that `identity` is saved under `id`, unless this was done before. Returns at once; whoever looks
    /// the identity up meanwhile will wait.
    pub(crate) fn notice(self: &Rc<Self>, id: UserId, identity: identity::Client) {
        let seen = self.seen(id);
        // Good already, or being found out.
        if seen.try_lock().map_or(true, |is_good| *is_good) {
            return;
        }
        let this = self.clone();
        spawn_local(async move {
            if let Err(error) = this.save(id, &seen, identity).await {
                log(format_args!(
                    "could not save the identity of user {}: {error}",
                    id.name()
                ));
            }
        });
    }

    /// Saves `identity` under `id` unless a good token for it is there already.
    pub(crate) async fn remember(
        self: &Rc<Self>,
        id: UserId,
        identity: identity::Client,
    ) -> Result<(), Error> {
        let this = self.clone();
        // A task of its own: cancelled half-way, it would leave a token that nobody knows.
        let saving = spawn_local(async move {
            let seen = this.seen(id);
            this.save(id, &seen, identity).await
        });
        saving
            .await
            .unwrap_or_else(|error| Err(Error::failed(format!("could not save the identity: {error}"))))
    }

    /// Saves an identity that came from elsewhere; the platform says whose it is.
    pub(crate) async fn adopt(self: &Rc<Self>, identity: identity::Client) -> Result<(), Error> {
        let mut request = self.platform.get_identity_id_request();
        request.get().set_identity(identity.clone());
        let answer = request.send().promise.await?;
        let id = UserId::of(answer.get()?.get_id()?)
            .ok_or_else(|| Error::failed("the platform gave no usable id for this identity".into()))?;
        self.remember(id, identity).await
    }

    /// Restores the identity saved under `id`.
    pub(crate) async fn find(&self, id: UserId) -> Result<identity::Client, Error> {
        let seen = self.seen.borrow().get(&id).cloned();
        if let Some(seen) = seen {
            drop(seen.lock().await);
        }
        let token = self
            .store
            .read(id)
            .map_err(|error| Error::failed(format!("could not read the saved identity: {error}")))?
            .ok_or_else(|| Error::failed("no identity with this id has been saved".into()))?;
        self.restore(&token).await
    }

    fn seen(&self, id: UserId) -> Rc<Mutex<bool>> {
        self.seen.borrow_mut().entry(id).or_default().clone()
    }

    async fn save(&self, id: UserId, seen: &Mutex<bool>, identity: identity::Client) -> Result<(), Error> {
        let mut is_good = seen.lock().await;
        if *is_good {
            return Ok(());
        }
        let stored = self.store.read(id).unwrap_or_else(|error| {
            log(format_args!(
                "saved identity of user {} is unreadable: {error}",
                id.name()
            ));
            None
        });
        if let Some(token) = stored {
            match self.restore(&token).await {
                Ok(_) => {
                    *is_good = true;
                    return Ok(());
                }
                // Says nothing about the token.
                Err(error) if error.kind == ErrorKind::Disconnected => return Err(error),
                Err(_) => {}
            }
        }
        let mut request = self.platform.save_request();
        request.get().init_label().set_default_text(LABEL);
        request
            .get()
            .init_cap()
            .set_as_capability(identity.into_client_hook());
        let answer = request.send().promise.await?;
        let token = answer.get()?.get_token()?.to_vec();
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(Error::failed("the platform's token cannot be kept".into()));
        }
        match self.store.replace(id, &token).await {
            Ok(old) => {
                *is_good = true;
                drop(is_good);
                if let Some(old) = old {
                    self.give_back(old).await;
                }
                Ok(())
            }
            Err(error) => {
                // Nobody could ever find it again.
                let _ = self.drop_token(&token).await;
                Err(Error::failed(format!("could not keep the token: {error}")))
            }
        }
    }

    async fn restore(&self, token: &[u8]) -> Result<identity::Client, Error> {
        let mut request = self.platform.restore_request();
        request.get().set_token(token);
        let answer = request.send().promise.await?;
        answer.get()?.get_cap().get_as_capability()
    }

    async fn drop_token(&self, token: &[u8]) -> Result<(), Error> {
        let mut request = self.platform.drop_request();
        request.get().set_token(token);
        request.send().promise.await?;
        Ok(())
    }

    /// Has the platform forget a token that is no longer used, and then forgets it, too. What fails is tried again
    /// by the next process.
    async fn give_back(&self, discarded: Discarded) {
        match self.drop_token(&discarded.token).await {
            Ok(()) => self.store.forget(&discarded),
            Err(error) => log(format_args!("could not drop a replaced identity token: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_hexadecimal_digits() {
        let text = "00112233445566778899aabbccddeeff";
        let id = UserId::parse(text.as_bytes()).unwrap();
        assert_eq!(id.name(), text);
        assert_eq!(UserId::parse(text.to_uppercase().as_bytes()), Some(id));
        for text in [
            "",
            "0",
            &text[1..],
            "../../../../../../../../../../etc",
            &"g".repeat(32),
            &"ä".repeat(16),
        ] {
            assert_eq!(UserId::parse(text.as_bytes()), None, "{text}");
        }
        let long: Vec<u8> = (0..32).collect();
        assert_eq!(
            UserId::of(&long).unwrap().name(),
            "000102030405060708090a0b0c0d0e0f"
        );
        assert_eq!(UserId::of(&long[..15]), None);
    }
}
