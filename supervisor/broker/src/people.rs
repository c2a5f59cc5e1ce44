//! Who has an account here, and how others get one.

use std::rc::Rc;

use percloud_core::account;
use percloud_core::id::{AccountId, InvitationId};
use percloud_core::secret::Secret;
use percloud_core::sharing::access::Facts;
use percloud_store::Batch;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::audit::Act;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Account, AccountRole, Invitation};
use crate::token::TokenText;

/// How long an invitation can be taken up, in seconds.
const INVITED: u64 = 14 * 24 * 60 * 60;
/// Invitations that may be open at a time.
const INVITATIONS: usize = 100;
/// Longest note on an invitation, in characters.
const NOTE_LIMIT: usize = 80;
/// Accounts one server has at most; all are held in memory.
const ACCOUNTS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invite {
    #[serde(default)]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    secret: String,
    name: String,
    handle: String,
    password: String,
}

impl Broker {
    /// Everybody with an account here, the person themselves first.
    pub(crate) fn people(&self, who: &SignedIn) -> Result<Value, Problem> {
        let accounts = self.accounts.borrow();
        let mut people: Vec<_> = accounts.iter().collect();
        people.sort_by_key(|(id, account)| (**id != who.account, account.name.to_lowercase(), (*id).clone()));
        let people: Vec<Value> = people
            .into_iter()
            .map(|(id, account)| {
                json!({"id": id, "name": account.name, "handle": account.handle, "me": *id == who.account})
            })
            .collect();
        Ok(json!({"people": people}))
    }

    /// Whether the person runs this server; for all others its affairs do not exist.
    pub(crate) fn runs_the_server(&self, who: &SignedIn) -> Result<(), Problem> {
        let runs = self.facts().is_admin(&who.account);
        if runs { Ok(()) } else { Err(Problem::NotFound) }
    }

    pub(crate) fn invitations(&self, who: &SignedIn) -> Result<Value, Problem> {
        self.runs_the_server(who)?;
        let now = self.outside.now();
        let mut open: Vec<_> = self.open_invitations()?;
        open.retain(|(_, invitation)| now < invitation.expires);
        open.sort_by_key(|(_, invitation)| std::cmp::Reverse(invitation.created));
        let open: Vec<Value> = open
            .iter()
            .map(|(id, invitation)| shown(id, invitation))
            .collect();
        Ok(json!({"invitations": open}))
    }

    fn open_invitations(&self) -> Result<Vec<(InvitationId, Invitation)>, Problem> {
        let all = self.store.scan::<Invitation>(b"");
        let all = all.map_err(|error| Problem::internal("read the store", &error))?;
        Ok(all
            .into_iter()
            .filter_map(|(key, invitation)| Some((std::str::from_utf8(&key).ok()?.parse().ok()?, invitation)))
            .collect())
    }

    /// Makes an invitation; its secret is shown once, in a link.
    pub(crate) async fn invite(self: &Rc<Self>, who: &SignedIn, body: &str) -> Result<Value, Problem> {
        self.runs_the_server(who)?;
        let request: Invite = parse(if body.trim().is_empty() { "{}" } else { body })?;
        let note = request.note.unwrap_or_default();
        let note: String = note
            .chars()
            .filter(|letter| !letter.is_control())
            .take(NOTE_LIMIT)
            .collect();
        let _turn = self.sharing_turn.lock().await;
        let now = self.outside.now();
        let mut batch = Batch::new();
        let (expired, open): (Vec<_>, Vec<_>) = self
            .open_invitations()?
            .into_iter()
            .partition(|(_, invitation)| invitation.expires <= now);
        if open.len() >= INVITATIONS {
            return Err(Problem::BadRequest(
                "there are too many open invitations; take some back".to_owned(),
            ));
        }
        for (id, _) in expired.iter().take(16) {
            batch.delete::<Invitation>(id.as_str().as_bytes());
        }
        let secret = TokenText::new(&self.outside);
        let id = InvitationId::new(|bytes| (self.outside.random)(bytes));
        let invitation = Invitation {
            secret: secret.hash(),
            note,
            by: who.account.clone(),
            created: now,
            expires: now.plus_seconds(INVITED),
        };
        batch.put(id.as_str().as_bytes(), &invitation);
        self.note(
            &mut batch,
            Some(&who.account),
            Act::Invited,
            None,
            &invitation.note,
        );
        self.commit_noted(batch).await?;
        let (scheme, shell) = &self.config.base;
        let url = format!("{scheme}://{shell}/join#{}", secret.expose());
        Ok(json!({"invitation": shown(&id, &invitation), "url": url}))
    }

    pub(crate) async fn uninvite(self: &Rc<Self>, who: &SignedIn, id: &str) -> Result<(), Problem> {
        self.runs_the_server(who)?;
        let id: InvitationId = id.parse().map_err(|_| Problem::NotFound)?;
        let _turn = self.sharing_turn.lock().await;
        let invitation: Invitation = self.read(id.as_str().as_bytes())?.ok_or(Problem::NotFound)?;
        let mut batch = Batch::new();
        // The entry in the log is written, but an invitation must be taken back on a full disk, too.
        batch.frees_space();
        batch.delete::<Invitation>(id.as_str().as_bytes());
        self.note(
            &mut batch,
            Some(&who.account),
            Act::Uninvited,
            None,
            &invitation.note,
        );
        self.commit_noted(batch).await
    }

    /// Trades an invitation for an account; returns what to show and the session cookie.
    pub(crate) async fn join(self: &Rc<Self>, body: &str, address: &str) -> Result<(Value, Secret), Problem> {
        let request: Join = parse(body)?;
        let key = format!("join {address}");
        self.check_throttle(&[&key])?;
        let invited = TokenText::parse(request.secret.trim()).and_then(|secret| self.invitation(&secret));
        let Some((invitation, _)) = invited else {
            self.throttle.borrow_mut().failed(&key, self.outside.now());
            return Err(Problem::WrongInvitation);
        };
        let name = account::name(&request.name)?.to_owned();
        let handle = account::handle(&request.handle)?.to_owned();
        account::password(&request.password, &handle)?;
        let password = self.hash_password(request.password).await?;

        let _turn = self.sharing_turn.lock().await;
        // Hashing took a while: the invitation may be gone, and so may the handle.
        let secret = TokenText::parse(request.secret.trim()).ok_or(Problem::WrongInvitation)?;
        if self.invitation(&secret).is_none_or(|(id, _)| id != invitation) {
            return Err(Problem::WrongInvitation);
        }
        {
            let accounts = self.accounts.borrow();
            if accounts.values().any(|account| account.handle == handle) {
                return Err(Problem::HandleTaken);
            }
            if accounts.len() >= ACCOUNTS {
                return Err(Problem::Unavailable);
            }
        }
        let id = AccountId::new(|bytes| (self.outside.random)(bytes));
        let account = Account {
            name,
            handle,
            password,
            role: AccountRole::Member,
            created: self.outside.now(),
        };
        let mut batch = Batch::new();
        batch.put(id.as_str().as_bytes(), &account);
        batch.delete::<Invitation>(invitation.as_str().as_bytes());
        self.note(&mut batch, Some(&id), Act::Joined, None, &account.name);
        self.commit_noted(batch).await?;
        self.accounts.borrow_mut().insert(id.clone(), account);
        self.begin_session(id).await
    }

    fn invitation(&self, secret: &TokenText) -> Option<(InvitationId, Invitation)> {
        let (now, hash) = (self.outside.now(), secret.hash());
        let open = self.open_invitations().ok()?;
        open.into_iter()
            .find(|(_, invitation)| invitation.secret == hash && now < invitation.expires)
    }
}

fn shown(id: &InvitationId, invitation: &Invitation) -> Value {
    json!({
        "id": id,
        "note": invitation.note,
        "created": invitation.created,
        "expires": invitation.expires,
    })
}
