//! The powerbox: a grain asks for something, a person chooses which, and the grain is handed exactly that.

mod choice;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use percloud_core::id::{AccountId, GrainId, RequestId};
use percloud_core::powerbox::Descriptor;
use percloud_core::time::Timestamp;
use percloud_schemas::powerbox_capnp::powerbox_descriptor;
use percloud_store::Batch;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::account::{SignedIn, parse};
use crate::audit::Act;
use crate::broker::Broker;
use crate::descriptor;
use crate::problem::Problem;
use crate::record::{Sealed, Token};
use crate::running::in_time;
use crate::token::TokenText;
use crate::visit::{SessionId, Visit};

/// How long a request waits for a choice, in seconds.
const PATIENCE: u64 = 60 * 60;
/// How long the answer waits to be claimed, in seconds (sheet 6.1).
const CLAIM: u64 = 10 * 60;
/// Requests one person may have open at a time.
const OPEN: usize = 20;
/// Descriptors a page may send, and the length of each, in bytes of base64.
const QUERY: usize = 32;
const QUERY_TEXT: usize = 22_000;
/// Longest label, in characters.
const LABEL: usize = 200;

pub(crate) type Message = capnp::message::Builder<capnp::message::HeapAllocator>;

/// What a grain asks a person for.
pub(crate) struct Asked {
    pub id: RequestId,
    /// The session that asks; the answer is for it alone.
    pub visit: Rc<Visit>,
    pub by: AccountId,
    pub label: String,
    pub query: Vec<Descriptor>,
    /// The same as it came, for an app that is to provide it.
    pub original: Message,
    created: Timestamp,
    /// The session in which an app provides it.
    pub providing: Cell<Option<SessionId>>,
    /// Who waits for the answer on the app's server side.
    waiting: RefCell<Option<oneshot::Sender<Answer>>>,
}

/// What a person chose.
pub(crate) struct Answer {
    /// For the session that asked, once.
    pub token: TokenText,
    /// One descriptor, as it was provided.
    pub descriptor: Message,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    page: String,
    query: Vec<String>,
    #[serde(default)]
    label: Option<String>,
}

type List<'a> = capnp::struct_list::Reader<'a, powerbox_descriptor::Owned>;

/// A message of our own with these descriptors. What holds a capability cannot be asked for.
fn copied(list: List<'_>) -> Result<Message, capnp::Error> {
    let mut message = Message::new_default();
    message.set_root::<capnp::struct_list::Owned<powerbox_descriptor::Owned>>(list)?;
    Ok(message)
}

impl Asked {
    pub(crate) fn original(&self) -> Result<List<'_>, capnp::Error> {
        self.original.get_root_as_reader()
    }
}

impl Broker {
    /// Opens a request a page of a grain made.
    pub(crate) async fn request(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: Request = parse(body)?;
        let visit = self
            .page_of(&who.account, id, &request.page)
            .ok_or(Problem::NotFound)?;
        if request.query.len() > QUERY || request.query.iter().any(|text| text.len() > QUERY_TEXT) {
            return Err(Problem::BadRequest(
                "the app asks for too much at once".to_owned(),
            ));
        }
        // What a page wrote is decoded where its app runs, not here.
        let running = self.wake(id).await?;
        let mut call = running.host.read_query_request();
        let mut query = call
            .get()
            .init_query(u32::try_from(request.query.len()).unwrap_or(0));
        for (index, text) in (0..).zip(&request.query) {
            query.set(index, text);
        }
        let unreadable = |error: &dyn std::fmt::Display| {
            Problem::BadRequest(format!("the app asks for something that cannot be read: {error}"))
        };
        let answer = in_time(call.send().promise)
            .await
            .map_err(|error| unreadable(&error.extra))?;
        let list = answer.get().and_then(|answer| answer.get_descriptors());
        let list = list.map_err(|error| unreadable(&error))?;
        let label = request.label.unwrap_or_default();
        let asked = self.ask(&visit, &who.account, &label, list, None)?;
        Ok(json!({"request": asked.id}))
    }

    /// Lists a request; it waits for its person from now on.
    pub(crate) fn ask(
        &self,
        visit: &Rc<Visit>,
        by: &AccountId,
        label: &str,
        list: List<'_>,
        waiting: Option<oneshot::Sender<Answer>>,
    ) -> Result<Rc<Asked>, Problem> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Problem::BadRequest(format!("the app asks for something that cannot be read: {error}"))
        };
        let query = descriptor::read(list).map_err(|error| unreadable(&error))?;
        let original = copied(list).map_err(|error| unreadable(&error))?;
        let now = self.outside.now();
        let mut requests = self.requests.borrow_mut();
        requests.retain(|_, asked| {
            now < asked.created.plus_seconds(PATIENCE) && self.is_visiting(&asked.visit.id)
        });
        if requests.values().filter(|asked| asked.by == *by).count() >= OPEN {
            return Err(Problem::TooManyAttempts { retry_after: 60 });
        }
        let asked = Rc::new(Asked {
            id: RequestId::new(|bytes| (self.outside.random)(bytes)),
            visit: visit.clone(),
            by: by.clone(),
            label: label
                .chars()
                .filter(|letter| !letter.is_control())
                .take(LABEL)
                .collect(),
            query,
            original,
            created: now,
            providing: Cell::default(),
            waiting: RefCell::new(waiting),
        });
        requests.insert(asked.id.clone(), asked.clone());
        Ok(asked)
    }

    /// A request that waits for this person, while the session that asked goes on.
    pub(crate) fn asked(&self, who: &AccountId, id: &RequestId) -> Result<Rc<Asked>, Problem> {
        let asked = self.requests.borrow().get(id).cloned();
        asked
            .filter(|asked| asked.by == *who && self.is_visiting(&asked.visit.id))
            .ok_or(Problem::NotFound)
    }

    /// Answers a request: makes the token its session claims, and tells whoever waits.
    pub(crate) async fn answer_request(
        self: &Rc<Self>,
        asked: &Asked,
        mut token: Token,
        provided: powerbox_descriptor::Reader<'_>,
    ) -> Result<Value, Problem> {
        if self.requests.borrow_mut().remove(&asked.id).is_none() {
            return Err(Problem::NotFound);
        }
        token.seal = Sealed::Answer(percloud_core::secret::hex(&asked.visit.id));
        token.expires = Some(self.outside.now().plus_seconds(CLAIM));
        token.by = Some(asked.by.clone());
        if token.label.is_empty() {
            token.label.clone_from(&asked.label);
        }
        // What an app calls it is the app's word; what it is, ours.
        let noted = match token.what.outside() {
            Some(what) => format!("{} ({what})", asked.label),
            None => asked.label.clone(),
        };
        {
            let _turn = self.sharing_turn.lock().await;
            let mut batch = Batch::new();
            let grain = &asked.visit.grain;
            self.note(&mut batch, Some(&asked.by), Act::Handed, Some(grain), &noted);
            self.commit_noted(batch).await?;
        }
        let text = self.make_token(token).await?;
        let waiting = asked.waiting.borrow_mut().take();
        if let Some(waiting) = waiting {
            let mut descriptor = Message::new_default();
            let copied = descriptor.set_root::<powerbox_descriptor::Owned>(provided);
            copied.map_err(|error| Problem::internal("copy a descriptor", &error))?;
            let _ = waiting.send(Answer {
                token: text,
                descriptor,
            });
            return Ok(json!({}));
        }
        let running = self.wake(&asked.visit.grain).await?;
        let mut call = running.host.write_descriptor_request();
        let filled = call.get().set_descriptor(provided);
        filled.map_err(|error| Problem::internal("copy a descriptor", &error))?;
        let written = in_time(call.send().promise).await;
        let written = written.map_err(|error| Problem::internal("write a descriptor", &error))?;
        let written = written
            .get()
            .and_then(|answer| Ok(answer.get_text()?.to_string()?));
        let written = written.map_err(|error| Problem::internal("write a descriptor", &error))?;
        Ok(json!({"token": text.expose(), "descriptor": written}))
    }

    /// Gives a request up.
    pub(crate) async fn cancel_request(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &RequestId,
    ) -> Result<(), Problem> {
        let asked = self.asked(&who.account, id)?;
        self.requests.borrow_mut().remove(&asked.id);
        asked.waiting.take();
        if let Some(session) = asked.providing.get() {
            self.close_pages(|page| page.visit.id == session).await;
        }
        Ok(())
    }
}
