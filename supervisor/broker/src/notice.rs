//! Notifications: what happened in grains, for those it concerns, and what apps do in the background.

use std::rc::{Rc, Weak};

use capnp::Error;
use percloud_core::id::{AccountId, GrainId, NoticeId};
use percloud_core::sharing::share::Holder;
use percloud_core::time::Timestamp;
use percloud_schemas::activity_capnp::{activity_event, ongoing_notification};
use percloud_schemas::util_capnp::handle;
use percloud_store::Batch;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::broker::Broker;
use crate::keeper::told;
use crate::problem::Problem;
use crate::record::{Follow, Grain, Mute, Notice, Package, Unread, grain_key, grain_of_person};
use crate::turns::AT_ONCE;
use crate::view_info::Needed;

/// Notifications kept for one person; the oldest goes first.
const KEPT: usize = 200;
/// In the place of a notification's id: all of them. No id is so short.
const ALL: &str = "read";
/// Longest text, path and thread kept, in characters.
const TEXT: usize = 300;
/// People one event may name.
const NAMED: u32 = 500;
/// Threads of one grain a person follows; the oldest goes first.
const THREADS: usize = 256;
/// Things one grain may do in the background at a time.
const ONGOING: usize = 16;

/// What an app does while nobody looks.
pub(crate) struct Ongoing {
    pub grain: GrainId,
    text: String,
    since: Timestamp,
    /// What is called when its owner wants it to stop.
    stop: Option<ongoing_notification::Client>,
}

/// One event, as the rules need it.
struct Event {
    kind: u16,
    /// What those notified will read; the type's words when the app has none.
    caption: String,
    path: Option<String>,
    thread: Option<String>,
    /// Accounts named, each with whether it was mentioned, subscribed, and may see it.
    named: Vec<(AccountId, bool, bool, bool)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    act: Act,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadAll {
    until: Timestamp,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Read,
    Dismiss,
    Cancel,
    MuteGrain,
    MuteThread,
}

fn key(account: &AccountId, id: &NoticeId) -> Vec<u8> {
    format!("{account}/{id}").into_bytes()
}

fn topic_key(account: &AccountId, grain: &GrainId, thread: Option<&str>) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    // Threads are paths an app chose, of any length.
    let thread = thread.map(|thread| percloud_core::secret::hex(&Sha256::digest(thread)[..16]));
    format!("{account}/{grain}/{}", thread.unwrap_or_default()).into_bytes()
}

fn short(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(TEXT)
        .collect()
}

impl Broker {
    async fn read_event(&self, event: activity_event::Reader<'_>) -> Result<Event, Error> {
        let users = event.get_users()?;
        if users.len() > NAMED {
            return Err(Error::failed(format!("an event names at most {NAMED} people")));
        }
        let mut named = Vec::new();
        for user in users {
            let identity = user.get_identity()?;
            let identity =
                capnp::capability::Client::new(capnp::capability::FromClientHook::into_client_hook(identity));
            if let Ok(account) = self.account_behind(identity).await {
                named.push((
                    account,
                    user.get_mentioned(),
                    user.get_subscribed(),
                    user.get_can_view(),
                ));
            }
        }
        let some = |text: &str| (!text.is_empty()).then(|| short(text));
        Ok(Event {
            kind: event.get_type(),
            caption: if event.has_notification() {
                short(
                    event
                        .get_notification()?
                        .get_caption()?
                        .get_default_text()?
                        .to_str()?,
                )
            } else {
                String::new()
            },
            path: some(event.get_path()?.to_str()?),
            thread: if event.has_thread() {
                some(event.get_thread()?.get_path()?.to_str()?)
            } else {
                None
            },
            named,
        })
    }

    /// Tells those it concerns that something happened in a grain (sheet 7.1, "Activity subscriptions").
    pub(crate) async fn activity(
        self: &Rc<Self>,
        id: &GrainId,
        actor: Option<&AccountId>,
        event: activity_event::Reader<'_>,
    ) -> Result<(), Error> {
        let event = self.read_event(event).await?;
        let grain: Grain = self
            .read(grain_key(id))
            .map_err(told)?
            .ok_or_else(|| told(Problem::NotFound))?;
        let mut view = self.view_of(id);
        if usize::from(event.kind) >= view.events.len()
            && let Some(running) = self.slot(id).running()
        {
            // Visits of the owner do not ask an app what it says of itself, so it may never have been asked.
            view = self.learn_view(id, &running).await.unwrap_or(view);
        }
        let Some(kind) = view.events.get(usize::from(event.kind)) else {
            return Err(Error::failed(
                "the app does not define this type of event".to_owned(),
            ));
        };
        let text = if event.caption.is_empty() {
            &kind.verb
        } else {
            &event.caption
        };
        // Not before: what was asked of the app may wait for something it has made durable first.
        let slot = self.slot(id);
        let _turn = slot.commits.one().await;
        let mut batch = Batch::new();
        if let Some(actor) = actor {
            // Who takes part wants to know how it goes on, where the app says so.
            let thread = event.thread.as_deref().filter(|_| kind.follow_thread);
            for topic in [kind.follow_grain.then_some(None), thread.map(Some)]
                .into_iter()
                .flatten()
            {
                self.follow(&mut batch, actor, id, topic);
            }
        }
        let mut concerned = Vec::new();
        for person in self.people_of(id) {
            if Some(&person) == actor {
                continue;
            }
            let named = event.named.iter().find(|(account, ..)| *account == person);
            let access = self.access(id, &Holder::Person(person.clone()));
            let may_see = access.is_some_and(|access| match kind.needed {
                Needed::Nothing => true,
                Needed::Permission(index) => access.permissions.contains(usize::from(index)),
                Needed::Named => named.is_some_and(|(.., may_see)| *may_see),
            });
            if !may_see {
                continue;
            }
            if !kind.suppress_unread {
                self.make_room_for(&mut batch).await.map_err(told)?;
                batch.put(
                    &grain_of_person(&person, id),
                    &Unread {
                        since: self.outside.now(),
                    },
                );
            }
            let called = named.is_some_and(|(_, mentioned, subscribed, _)| *mentioned || *subscribed);
            // Its owner is subscribed to everything; others to what names them.
            let follows = || person == grain.owner || self.follows(&person, id, event.thread.as_deref());
            let subscribed = called || (kind.notify_subscribers && follows());
            if subscribed && !self.is_muted(&person, id, event.thread.as_deref()) {
                let notice = self.folded(&person, id, text, actor, &event);
                if let Some(oldest) = &notice.2 {
                    batch.delete::<Notice>(&key(&person, oldest));
                }
                self.make_room_for(&mut batch).await.map_err(told)?;
                batch.put(&key(&person, &notice.0), &notice.1);
            }
            concerned.push(person);
        }
        if !batch.is_empty() {
            self.commit(batch).await.map_err(told)?;
        }
        for person in concerned {
            self.tell_notices(&person);
        }
        self.tell_grain(id);
        Ok(())
    }

    async fn make_room_for(&self, batch: &mut Batch) -> Result<(), Problem> {
        if batch.is_nearly_full() {
            self.commit(std::mem::take(batch)).await?;
        }
        Ok(())
    }

    fn is_muted(&self, person: &AccountId, id: &GrainId, thread: Option<&str>) -> bool {
        let muted = |thread| matches!(self.read::<Mute>(&topic_key(person, id, thread)), Ok(Some(_)));
        muted(None) || (thread.is_some() && muted(thread))
    }

    /// Has a person hear how a topic goes on. An app may name ever new threads: of those the oldest are forgotten.
    fn follow(&self, batch: &mut Batch, person: &AccountId, id: &GrainId, thread: Option<&str>) {
        let topic = topic_key(person, id, thread);
        if matches!(self.read::<Follow>(&topic), Ok(Some(_))) {
            return;
        }
        let all = topic_key(person, id, None);
        // There may be more of older times; some go with each that comes.
        let threads = self.store.page::<Follow>(&all, None, 2 * THREADS);
        let mut threads = threads.unwrap_or_default();
        threads.retain(|(key, _)| *key != all);
        if thread.is_some() && threads.len() >= THREADS {
            threads.sort_by_key(|(_, follow)| follow.since);
            // Two at once may both have found room, so there may be one too many.
            let too_many = threads.len() + 1 - THREADS;
            for (key, _) in threads.iter().take(too_many.min(AT_ONCE)) {
                batch.delete::<Follow>(key);
            }
        }
        let since = self.outside.now();
        batch.put(&topic, &Follow { since });
    }

    fn follows(&self, person: &AccountId, id: &GrainId, thread: Option<&str>) -> bool {
        let follows = |thread| matches!(self.read::<Follow>(&topic_key(person, id, thread)), Ok(Some(_)));
        follows(None) || (thread.is_some() && follows(thread))
    }

    /// A new notification, or an unread one of the same kind that counts one more; and which gives way to it.
    fn folded(
        &self,
        person: &AccountId,
        id: &GrainId,
        text: &str,
        actor: Option<&AccountId>,
        event: &Event,
    ) -> (NoticeId, Notice, Option<NoticeId>) {
        let all = self.notices(person);
        // A new one takes the place of the oldest.
        let oldest = all.get(KEPT - 1).map(|(id, _)| id.clone());
        let same = all.into_iter().find(|(_, notice)| {
            !notice.read && notice.grain == *id && notice.path == event.path && notice.text == text
        });
        let from = actor.and_then(|actor| self.name_of(actor));
        match same {
            Some((id, mut notice)) => {
                notice.count += 1;
                notice.time = self.outside.now();
                notice.from = from;
                (id, notice, None)
            }
            None => {
                let notice = Notice {
                    grain: id.clone(),
                    text: text.to_owned(),
                    from,
                    path: event.path.clone(),
                    thread: event.thread.clone(),
                    time: self.outside.now(),
                    read: false,
                    count: 1,
                    limit: None,
                };
                let id = NoticeId::new(|bytes| (self.outside.random)(bytes));
                (id, notice, oldest)
            }
        }
    }

    /// A person's notifications, latest first.
    fn notices(&self, person: &AccountId) -> Vec<(NoticeId, Notice)> {
        let prefix = format!("{person}/");
        let all = self.store.scan::<Notice>(prefix.as_bytes()).unwrap_or_default();
        let mut all: Vec<_> = all
            .into_iter()
            .filter_map(|(key, notice)| {
                let id = std::str::from_utf8(key.get(prefix.len()..)?).ok()?.parse().ok()?;
                Some((id, notice))
            })
            .collect();
        all.sort_by_key(|(_, notice)| std::cmp::Reverse(notice.time));
        all
    }

    /// Puts a notification of ours before a person, unless they want to hear nothing of the grain.
    pub(crate) fn put_notice(
        &self,
        batch: &mut Batch,
        person: &AccountId,
        grain: &GrainId,
        id: &NoticeId,
        notice: &Notice,
    ) {
        if self.is_muted(person, grain, None) {
            return;
        }
        if let Some((oldest, _)) = self.notices(person).get(KEPT - 1) {
            batch.delete::<Notice>(&key(person, oldest));
        }
        batch.put(&key(person, id), notice);
    }

    /// How many a person has not looked at.
    pub(crate) fn unread_notices(&self, person: &AccountId) -> usize {
        self.notices(person)
            .iter()
            .filter(|(_, notice)| !notice.read)
            .count()
    }

    pub(crate) fn tell_notices(&self, person: &AccountId) {
        if self.events.is_watching(person) {
            let unread = self.unread_notices(person);
            self.events
                .tell(person, &json!({"type": "notifications", "unread": unread}));
        }
    }

    /// What the shell shows behind the bell.
    pub(crate) async fn notifications(self: &Rc<Self>, who: &SignedIn) -> Result<Value, Problem> {
        let mut shown = Vec::new();
        for (id, ongoing) in &*self.ongoing.borrow() {
            let Some(grain) = self.read::<Grain>(grain_key(&ongoing.grain))? else {
                continue;
            };
            if grain.owner == who.account {
                shown.push(self.notice_json(who, id, &ongoing.grain, &grain, |notice| {
                    notice["text"] = json!(ongoing.text);
                    notice["time"] = json!(ongoing.since);
                    notice["read"] = json!(true);
                    notice["ongoing"] = json!(true);
                }));
            }
        }
        let notices = self.notices(&who.account);
        let mut old = Batch::new();
        for (id, _) in notices.iter().skip(KEPT).take(16) {
            old.delete::<Notice>(&key(&who.account, id));
        }
        if !old.is_empty() {
            self.commit(old).await?;
        }
        for (id, notice) in notices.iter().take(KEPT) {
            let Some(grain) = self.read::<Grain>(grain_key(&notice.grain))? else {
                continue;
            };
            // What one may not see any more is not told either.
            if grain.owner != who.account && self.own_access(who, &notice.grain).is_err() {
                continue;
            }
            shown.push(self.notice_json(who, id, &notice.grain, &grain, |shown| {
                shown["text"] = json!(notice.text);
                shown["from"] = json!(notice.from);
                shown["path"] = json!(
                    notice
                        .path
                        .as_ref()
                        .map(|path| format!("/{}", path.trim_start_matches('/')))
                );
                shown["time"] = json!(notice.time);
                shown["read"] = json!(notice.read);
                shown["count"] = json!(notice.count);
                shown["limit"] = json!(notice.limit);
            }));
        }
        Ok(json!({"notifications": shown}))
    }

    fn notice_json(
        &self,
        who: &SignedIn,
        id: &NoticeId,
        grain_id: &GrainId,
        grain: &Grain,
        more: impl FnOnce(&mut Value),
    ) -> Value {
        let package: Option<Package> = self.read(grain.package_id.as_bytes()).ok().flatten();
        let title = self.petname(&who.account, grain_id);
        let mut notice = json!({
            "id": id,
            "grain": grain_id,
            "title": title.as_ref().map_or(grain.title.as_str(), |name| name.shown()),
            "text": "",
            "from": null,
            "icon": package.and_then(|package| package.icon),
            "path": null,
            "time": 0,
            "read": false,
            "ongoing": false,
            "count": 1,
            "limit": null,
        });
        more(&mut notice);
        notice
    }

    /// Does what the person wants of a notification.
    pub(crate) async fn answer_notice(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &str,
        body: &str,
    ) -> Result<(), Problem> {
        if id == ALL {
            return self.read_all_notices(who, parse::<ReadAll>(body)?.until).await;
        }
        let request: Answer = parse(body)?;
        let id: NoticeId = id.parse().map_err(|_| Problem::NotFound)?;
        let ongoing = {
            let ongoing = self.ongoing.borrow();
            ongoing
                .get(&id)
                .map(|ongoing| (ongoing.grain.clone(), ongoing.stop.clone()))
        };
        if let Some((grain, stop)) = ongoing {
            self.own_grain(who, &grain)?;
            if request.act == Act::Cancel {
                self.ongoing.borrow_mut().remove(&id);
                if let Some(stop) = stop {
                    // An app that does not answer does not keep its owner waiting; its lock is gone with this.
                    let asked = stop.cancel_request().send().promise;
                    tokio::task::spawn_local(async move { _ = asked.await });
                }
            }
            return Ok(());
        }
        let record = key(&who.account, &id);
        let mut notice: Notice = self.read(&record)?.ok_or(Problem::NotFound)?;
        let mut batch = Batch::new();
        match request.act {
            Act::Read => {
                notice.read = true;
                batch.put(&record, &notice);
            }
            Act::Dismiss | Act::Cancel => batch.delete::<Notice>(&record),
            Act::MuteGrain => {
                batch.put(&topic_key(&who.account, &notice.grain, None), &Mute {});
                batch.delete::<Notice>(&record);
            }
            Act::MuteThread => {
                let thread = notice.thread.as_deref();
                batch.put(&topic_key(&who.account, &notice.grain, thread), &Mute {});
                batch.delete::<Notice>(&record);
            }
        }
        self.commit(batch).await?;
        self.tell_notices(&who.account);
        Ok(())
    }

    /// Marks as read what the person has seen: what came later may be something else.
    async fn read_all_notices(&self, who: &SignedIn, until: Timestamp) -> Result<(), Problem> {
        let unread = self.notices(&who.account).into_iter();
        let unread = unread.filter(|(_, notice)| !notice.read && notice.time <= until);
        let read = unread.map(|(id, notice)| {
            let mut batch = Batch::new();
            batch.put(&key(&who.account, &id), &Notice { read: true, ..notice });
            self.commit(batch)
        });
        let read = futures::future::join_all(read).await;
        self.tell_notices(&who.account);
        read.into_iter().collect()
    }

    /// Notes that a person has looked at a grain.
    pub(crate) async fn seen(&self, person: &AccountId, id: &GrainId) -> Result<(), Problem> {
        let key = grain_of_person(person, id);
        if self.read::<Unread>(&key)?.is_some() {
            let mut batch = Batch::new();
            batch.delete::<Unread>(&key);
            self.commit(batch).await?;
        }
        Ok(())
    }

    /// Whether something happened in a grain since a person looked.
    pub(crate) fn is_unread(&self, person: &AccountId, id: &GrainId) -> bool {
        matches!(self.read::<Unread>(&grain_of_person(person, id)), Ok(Some(_)))
    }

    /// Shows the owner that an app works in the background, until the handle is dropped or they stop it.
    pub(crate) fn stay_awake(
        self: &Rc<Self>,
        grain: &GrainId,
        text: &str,
        stop: Option<ongoing_notification::Client>,
    ) -> Result<handle::Client, Problem> {
        let mut ongoing = self.ongoing.borrow_mut();
        if ongoing.values().filter(|ongoing| ongoing.grain == *grain).count() >= ONGOING {
            return Err(Problem::TooManyAttempts { retry_after: 60 });
        }
        let id = NoticeId::new(|bytes| (self.outside.random)(bytes));
        ongoing.insert(
            id.clone(),
            Ongoing {
                grain: grain.clone(),
                text: short(text),
                since: self.outside.now(),
                stop,
            },
        );
        drop(ongoing);
        self.tell_owner_of_notices(grain);
        Ok(capnp_rpc::new_client(Awake {
            broker: Rc::downgrade(self),
            id,
        }))
    }

    fn tell_owner_of_notices(&self, grain: &GrainId) {
        if let Ok(Some(record)) = self.read::<Grain>(grain_key(grain)) {
            self.tell_notices(&record.owner);
        }
    }

    /// Forgets what a grain that has stopped was doing.
    pub(crate) fn forget_ongoing(&self, grain: &GrainId) {
        self.ongoing
            .borrow_mut()
            .retain(|_, ongoing| ongoing.grain != *grain);
    }
}

/// Held by the grain host for as long as the app works.
struct Awake {
    broker: Weak<Broker>,
    id: NoticeId,
}

impl handle::Server for Awake {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        let broker = self.broker.upgrade();
        let goes_on = broker.is_some_and(|broker| broker.ongoing.borrow().contains_key(&self.id));
        if goes_on {
            Ok(())
        } else {
            Err(Error::disconnected("this was stopped".to_owned()))
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.upgrade() {
            let ended = broker.ongoing.borrow_mut().remove(&self.id);
            if let Some(ended) = ended {
                broker.tell_owner_of_notices(&ended.grain);
            }
        }
    }
}
