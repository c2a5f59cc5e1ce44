//! Setting up, signing in, staying signed in.

use std::cell::Cell;
use std::rc::Rc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use percloud_core::account;
use percloud_core::id::AccountId;
use percloud_core::secret::Secret;
use percloud_core::time::Timestamp;
use percloud_store::{Batch, MAX_BATCH_WRITES};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::audit::Act;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Account, AccountRole, ShellSession};

/// How long a browser stays signed in, in seconds.
const SIGNED_IN: u64 = 30 * 24 * 60 * 60;
/// A hash that no password has, checked when the handle is unknown so that both failures take as long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cGVyY2xvdWQtbm9ib2R5$\
                      Yw1Zt1ZPkzEtfJmsmKcvZhpzUeVUUiVPWqPyTFN/1j4";

/// Longest wait for guesses at one handle from many places, in seconds.
const HANDLE_WAIT: u64 = 5;
/// How many may wait for a password to be hashed; each takes about a tenth of a second.
const WAITING_TO_HASH: usize = 16;

/// What attempts at signing in are counted under.
struct SignInKeys {
    handle: String,
    address: String,
    both: String,
}

impl SignInKeys {
    fn new(handle: &str, address: &str) -> Self {
        Self {
            handle: format!("handle {handle}"),
            address: format!("address {address}"),
            both: format!("handle {handle} address {address}"),
        }
    }

    fn each(&self, mut with: impl FnMut(&str)) {
        [&self.handle, &self.address, &self.both]
            .into_iter()
            .for_each(|key| with(key));
    }
}

/// Counts one who waits.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The account behind a request, found by its cookie.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub account: AccountId,
    pub cookie: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetUp {
    secret: String,
    name: String,
    handle: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    handle: String,
    password: String,
}

/// Reads a request body of the expected shape.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Problem> {
    serde_json::from_str(json)
        .map_err(|error| Problem::BadRequest(format!("the request cannot be read: {error}")))
}

impl Broker {
    /// Trades the setup secret for the owner's account; returns what to show and the session cookie.
    pub(crate) async fn set_up(&self, body: &str, address: &str) -> Result<(Value, Secret), Problem> {
        let request: SetUp = parse(body)?;
        let key = format!("setup {address}");
        self.check_throttle(&[&key])?;
        let expected = self.setup.borrow().ok_or(Problem::AlreadySetUp)?;
        let presented = Secret::from_hex(request.secret.trim());
        if presented.is_none_or(|secret| !expected.matches(&secret)) {
            self.throttle.borrow_mut().failed(&key, self.outside.now());
            return Err(Problem::WrongSecret);
        }
        let name = account::name(&request.name)?.to_owned();
        let handle = account::handle(&request.handle)?.to_owned();
        account::password(&request.password, &handle)?;
        let password = self.hash_password(request.password).await?;
        // Hashing took a while: somebody else may have been faster.
        if self.setup.borrow_mut().take().is_none() {
            return Err(Problem::AlreadySetUp);
        }
        let id = AccountId::new(|bytes| (self.outside.random)(bytes));
        let created = self.outside.now();
        let account = Account {
            name,
            handle,
            password,
            role: AccountRole::Owner,
            created,
        };
        let mut batch = Batch::new();
        let _noting = self.sharing_turn.lock().await;
        batch.put(id.as_str().as_bytes(), &account);
        self.note(&mut batch, Some(&id), Act::SetUp, None, &account.name);
        if let Err(problem) = self.commit_noted(batch).await {
            *self.setup.borrow_mut() = Some(expected);
            return Err(problem);
        }
        self.accounts.borrow_mut().insert(id.clone(), account);
        self.begin_session(id).await
    }

    /// Checks a password; returns what to show and the session cookie.
    pub(crate) async fn sign_in(&self, body: &str, address: &str) -> Result<(Value, Secret), Problem> {
        let request: SignIn = parse(body)?;
        let handle: String = request.handle.trim().to_lowercase().chars().take(64).collect();
        let keys = SignInKeys::new(&handle, address);
        self.check_sign_in(&keys)?;
        // Counted before it is known: attempts made at once must not slip through together.
        keys.each(|key| self.throttle.borrow_mut().failed(key, self.outside.now()));
        let found = {
            let accounts = self.accounts.borrow();
            accounts
                .iter()
                .find(|(_, account)| account.handle == handle)
                .map(|(id, account)| (id.clone(), account.password.clone()))
        };
        let hash = found
            .as_ref()
            .map_or_else(|| NOBODY.to_owned(), |(_, hash)| hash.clone());
        let right = self.verify_password(request.password, hash).await?;
        match found {
            Some((id, _)) if right => {
                keys.each(|key| self.throttle.borrow_mut().succeeded(key));
                self.begin_session(id).await
            }
            _ => Err(Problem::WrongCredentials),
        }
    }

    /// The account a shell cookie stands for, if it still does.
    pub(crate) fn resume(&self, cookie: &[u8]) -> Option<SignedIn> {
        let cookie = Secret::from_slice(cookie)?;
        let session: ShellSession = self.read(cookie.hash().as_bytes()).ok()??;
        let known = self.accounts.borrow().contains_key(&session.account);
        (known && self.outside.now() < session.expires).then_some(SignedIn {
            account: session.account,
            cookie: Some(cookie),
        })
    }

    /// Ends the session of this browser and closes the pages it opened.
    pub(crate) async fn sign_out(self: &Rc<Self>, who: &SignedIn) -> Result<(), Problem> {
        let Some(cookie) = &who.cookie else { return Ok(()) };
        let mut batch = Batch::new();
        batch.delete::<ShellSession>(cookie.hash().as_bytes());
        self.commit(batch).await?;
        self.sign_outs.send_replace(());
        self.close_pages(|page| page.visit.visitor.shell == Some(cookie.hash()))
            .await;
        self.events.tell(&who.account, &json!({"type": "signed-out"}));
        Ok(())
    }

    pub(crate) fn whoami(&self, who: &SignedIn) -> Result<Value, Problem> {
        let accounts = self.accounts.borrow();
        let account = accounts.get(&who.account).ok_or(Problem::SignedOut)?;
        let role = match account.role {
            AccountRole::Owner => "owner",
            AccountRole::Member => "member",
        };
        Ok(json!({"id": who.account, "name": account.name, "handle": account.handle, "role": role}))
    }

    /// Forgets shell sessions that have ended by themselves.
    pub(crate) async fn forget_expired_sessions(&self, now: Timestamp) -> Result<(), Problem> {
        let error = |error: percloud_store::ReadError| Problem::internal("read the store", &error);
        let sessions = self.store.scan::<ShellSession>(b"").map_err(error)?;
        let expired = sessions.into_iter().filter(|(_, session)| session.expires <= now);
        let mut batch = Batch::new();
        expired
            .take(MAX_BATCH_WRITES)
            .for_each(|(key, _)| batch.delete::<ShellSession>(&key));
        if !batch.is_empty() {
            self.commit(batch).await?;
        }
        // What expired since the last look ends now, whether its record was just removed or goes with the next.
        self.sign_outs.send_replace(());
        Ok(())
    }

    pub(crate) async fn begin_session(&self, account: AccountId) -> Result<(Value, Secret), Problem> {
        let cookie = self.outside.secret();
        let now = self.outside.now();
        let session = ShellSession {
            account: account.clone(),
            created: now,
            expires: now.plus_seconds(SIGNED_IN),
        };
        let mut batch = Batch::new();
        // Who makes room on a full disk has to sign in first.
        batch.frees_space();
        batch.put(cookie.hash().as_bytes(), &session);
        self.commit(batch).await?;
        let me = self.whoami(&SignedIn {
            account,
            cookie: None,
        })?;
        Ok((me, cookie))
    }

    /// Whether a session that was handed out still stands.
    pub(crate) fn check(&self, who: &SignedIn) -> Result<(), Problem> {
        let stands = match &who.cookie {
            Some(cookie) => self
                .resume(cookie.expose())
                .is_some_and(|now| now.account == who.account),
            None => true,
        };
        if stands { Ok(()) } else { Err(Problem::SignedOut) }
    }

    /// Returns once the session has ended; meanwhile costs nothing but a look whenever some session ends.
    pub(crate) async fn signed_out(&self, who: &SignedIn) {
        let mut sign_outs = self.sign_outs.subscribe();
        while self.check(who).is_ok() {
            if sign_outs.changed().await.is_err() {
                return;
            }
        }
    }

    /// Guesses from one place wait longer and longer; guesses at one handle from many places a little, so that nobody
    /// can keep its owner out.
    fn check_sign_in(&self, keys: &SignInKeys) -> Result<(), Problem> {
        self.check_throttle(&[&keys.address, &keys.both])?;
        match self
            .throttle
            .borrow()
            .wait_at_most(HANDLE_WAIT, &keys.handle, self.outside.now())
        {
            0 => Ok(()),
            retry_after => Err(Problem::TooManyAttempts { retry_after }),
        }
    }

    pub(crate) fn check_throttle(&self, keys: &[&str]) -> Result<(), Problem> {
        let now = self.outside.now();
        let throttle = self.throttle.borrow();
        match keys.iter().map(|key| throttle.wait(key, now)).max() {
            Some(retry_after) if retry_after > 0 => Err(Problem::TooManyAttempts { retry_after }),
            _ => Ok(()),
        }
    }

    pub(crate) async fn hash_password(&self, password: String) -> Result<String, Problem> {
        let mut salt = [0; 16];
        (self.outside.random)(&mut salt);
        self.off_thread(move || {
            let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
            let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
            hash.map(|hash| hash.to_string())
                .map_err(|error| error.to_string())
        })
        .await
    }

    async fn verify_password(&self, password: String, hash: String) -> Result<bool, Problem> {
        self.off_thread(move || {
            let hash = PasswordHash::new(&hash).map_err(|error| error.to_string())?;
            Ok(Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok())
        })
        .await
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, Problem> {
        if self.waiting_to_hash.get() >= WAITING_TO_HASH {
            return Err(Problem::TooManyAttempts { retry_after: 2 });
        }
        let _waiting = Waiting::new(&self.waiting_to_hash);
        let _turn = self
            .hashing
            .acquire()
            .await
            .expect("the semaphore is never closed");
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!("cannot hash a password: {error}");
                Err(Problem::Unavailable)
            }
            Err(error) => Err(Problem::internal("hash a password", &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_hash_is_a_hash_and_matches_nothing() {
        let hash = PasswordHash::new(NOBODY).expect("a PHC string");
        assert!(Argon2::default().verify_password(b"", &hash).is_err());
        assert!(Argon2::default().verify_password(b"password", &hash).is_err());
    }
}
