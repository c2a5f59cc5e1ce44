//! What grains and apps are asked for most, in memory and in order: whose they are, which was used last, what they are
//! called, which package they need. The store is the truth; this is made from it at start and follows every change, so
//! that no request reads a whole table.

mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::ops::Bound;
use std::rc::Rc;

use percloud_core::id::{AccountId, GrainId};
use percloud_core::time::Timestamp;
use percloud_store::{ReadError, Record, Store};

use self::words::Words;
use crate::broker::Broker;
use crate::record::{App, Grain, Package, grain_key};

/// Records read at a time while the server starts.
const STEP: usize = 1024;

/// Where a grain stands among those of its owner: the trash after all else, in each what was used, or thrown away, last
/// first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    trashed: bool,
    time: Reverse<Timestamp>,
    id: Rc<GrainId>,
}

impl Place {
    /// Reads what [`Place::cursor`] wrote.
    pub(crate) fn parse(cursor: &str, trashed: bool) -> Option<Self> {
        let (time, id) = cursor.split_once('.')?;
        Some(Self {
            trashed,
            time: Reverse(Timestamp(time.parse().ok()?)),
            id: Rc::new(id.parse().ok()?),
        })
    }

    /// A word for this place, to go on from there.
    pub(crate) fn cursor(&self) -> String {
        format!("{}.{}", self.time.0.0, self.id)
    }

    pub(crate) fn id(&self) -> &GrainId {
        &self.id
    }
}

/// What is known of one grain.
struct Row {
    place: Place,
    owner: AccountId,
    kind: Kind,
    /// In small letters.
    title: Box<str>,
    /// Under which its title is listed in [`Words`].
    number: u32,
}

/// What many grains of one person have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    app_id: Rc<str>,
    package_id: Rc<str>,
    /// Title of the app and what it calls a grain, in small letters.
    text: Rc<str>,
}

type Shelf = BTreeMap<Place, Rc<Row>>;

/// Everything one person owns.
#[derive(Default)]
struct Owned {
    all: Shelf,
    kinds: BTreeMap<Kind, Shelf>,
    words: Words,
}

/// Which grains of a person are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Those in the trash, or all others.
    pub trashed: bool,
    /// Part of the title, of the app's title or of what the app calls them, in small letters.
    pub text: String,
    /// Only what comes after this.
    pub after: Option<Place>,
    /// So many at most.
    pub limit: usize,
}

/// An index of grains and apps.
#[derive(Default)]
pub(crate) struct Catalogue {
    rows: HashMap<Rc<GrainId>, Rc<Row>>,
    owners: HashMap<AccountId, Owned>,
    /// The package of each app somebody has, by the key of its record.
    apps: HashMap<Vec<u8>, Rc<str>>,
    /// How many grains and apps need a package; also where its name is kept once.
    needed: BTreeMap<Rc<str>, usize>,
}

/// Reads a whole table in steps.
pub(crate) fn each<R: Record>(store: &Store, mut take: impl FnMut(Vec<u8>, R)) -> Result<(), ReadError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.page::<R>(b"", after.as_deref(), STEP)?;
        let is_last = page.len() < STEP;
        after = page.last().map(|(key, _)| key.clone());
        page.into_iter().for_each(|(key, record)| take(key, record));
        if is_last {
            return Ok(());
        }
    }
}

impl Catalogue {
    /// Takes up what the store has.
    pub(crate) fn load(store: &Store) -> Result<Self, ReadError> {
        let mut titles: HashMap<String, String> = HashMap::new();
        each::<Package>(store, |key, package| {
            titles.insert(String::from_utf8_lossy(&key).into_owned(), package.title);
        })?;
        let mut catalogue = Self::default();
        each::<App>(store, |key, app| catalogue.put_app(key, Some(&app.package_id)))?;
        each::<Grain>(store, |key, grain| {
            if let Some(id) = std::str::from_utf8(&key).ok().and_then(|id| id.parse().ok()) {
                let app = titles.get(&grain.package_id).map_or("", String::as_str);
                catalogue.put(&id, &grain, app);
            }
        })?;
        Ok(catalogue)
    }

    /// Takes up a grain as it is now; `app` is the title of its app.
    pub(crate) fn put(&mut self, id: &GrainId, grain: &Grain, app: &str) {
        let before = self.take_out(id);
        let old_owner = before
            .as_ref()
            .map(|row| row.owner.clone())
            .filter(|owner| *owner != grain.owner);
        let package_id = self.need(&grain.package_id);
        let owned = self.owners.entry(grain.owner.clone()).or_default();
        let text = format!("{app}\n{}", grain.noun).to_lowercase();
        let kind = Kind {
            app_id: grain.app_id.as_str().into(),
            package_id,
            text: text.into(),
        };
        // The texts of a kind are kept once.
        let kind = owned
            .kinds
            .get_key_value(&kind)
            .map_or(kind, |(known, _)| known.clone());
        let title: Box<str> = grain.title.to_lowercase().into();
        let id = before
            .as_ref()
            .map_or_else(|| Rc::new(id.clone()), |row| row.place.id.clone());
        let number = match before.filter(|row| row.owner == grain.owner && row.title == title) {
            Some(row) => row.number,
            None => owned.words.list(&id, &title),
        };
        let row = Rc::new(Row {
            place: Place {
                trashed: grain.trashed.is_some(),
                time: Reverse(grain.trashed.unwrap_or(grain.last_used)),
                id: id.clone(),
            },
            owner: grain.owner.clone(),
            kind: kind.clone(),
            title,
            number,
        });
        owned.all.insert(row.place.clone(), row.clone());
        let of_kind = owned.kinds.entry(kind).or_default();
        of_kind.insert(row.place.clone(), row.clone());
        self.rows.insert(id, row);
        self.tidy(&grain.owner);
        if let Some(old) = old_owner {
            self.tidy(&old);
        }
    }

    /// Forgets a grain.
    pub(crate) fn remove(&mut self, id: &GrainId) {
        if let Some(row) = self.take_out(id) {
            self.tidy(&row.owner);
        }
    }

    /// Takes up which package an app somebody has runs from, or that they do not have it any more.
    pub(crate) fn put_app(&mut self, key: Vec<u8>, package_id: Option<&str>) {
        let now = package_id.map(|id| self.need(id));
        let before = match now {
            Some(package_id) => self.apps.insert(key, package_id),
            None => self.apps.remove(&key),
        };
        if let Some(before) = before {
            self.let_go(&before);
        }
    }

    /// Whether there is such a grain.
    pub(crate) fn has(&self, id: &GrainId) -> bool {
        self.rows.contains_key(id)
    }

    /// Whether any grain or app needs a package.
    pub(crate) fn is_needed(&self, package_id: &str) -> bool {
        self.needed.contains_key(package_id)
    }

    /// Whether a grain of this person needs a package.
    pub(crate) fn has_grain_of_package(&self, owner: &AccountId, package_id: &str) -> bool {
        let kinds = self.owners.get(owner).map(|owned| owned.kinds.keys());
        kinds
            .into_iter()
            .flatten()
            .any(|kind| &*kind.package_id == package_id)
    }

    /// Grains of this person that an app made, in the trash or not.
    pub(crate) fn grains_of_app(&self, owner: &AccountId, app_id: &str) -> Vec<GrainId> {
        let kinds = self.owners.get(owner).map(|owned| owned.kinds.iter());
        let kinds = kinds
            .into_iter()
            .flatten()
            .filter(|(kind, _)| &*kind.app_id == app_id);
        kinds
            .flat_map(|(_, shelf)| shelf.keys().map(|place| place.id().clone()))
            .collect()
    }

    /// Grains of a person, in order; and whether there are more.
    pub(crate) fn page(&self, owner: &AccountId, wanted: &Wanted) -> (Vec<Place>, bool) {
        let Some(owned) = self.owners.get(owner) else {
            return (Vec::new(), false);
        };
        // One more than wanted tells whether there are more.
        let limit = wanted.limit.saturating_add(1);
        let mut found: Vec<Place> = if wanted.text.is_empty() {
            range(&owned.all, wanted)
                .take(limit)
                .map(|(place, _)| place.clone())
                .collect()
        } else {
            let kinds = owned.kinds.iter();
            let kinds = kinds.filter(|(kind, _)| kind.text.contains(&wanted.text));
            let mut found: Vec<Place> = kinds
                .flat_map(|(_, shelf)| range(shelf, wanted).take(limit).map(|(place, _)| place.clone()))
                .collect();
            match owned.words.candidates(&wanted.text) {
                Some(few) => {
                    let rows = few.filter_map(|(number, id)| {
                        self.rows
                            .get(id)
                            .filter(|row| row.number == number && row.owner == *owner)
                    });
                    let fitting = rows.filter(|row| row.fits(wanted));
                    found.extend(fitting.map(|row| row.place.clone()));
                }
                None => {
                    let fitting = range(&owned.all, wanted).filter(|(_, row)| row.is_called(&wanted.text));
                    found.extend(fitting.take(limit).map(|(place, _)| place.clone()));
                }
            }
            found.sort();
            found.dedup();
            found
        };
        let more = found.len() > wanted.limit;
        found.truncate(wanted.limit);
        (found, more)
    }

    fn take_out(&mut self, id: &GrainId) -> Option<Rc<Row>> {
        let row = self.rows.remove(id)?;
        if let Some(owned) = self.owners.get_mut(&row.owner) {
            owned.all.remove(&row.place);
            if let btree_map::Entry::Occupied(mut shelf) = owned.kinds.entry(row.kind.clone()) {
                shelf.get_mut().remove(&row.place);
                if shelf.get().is_empty() {
                    shelf.remove();
                }
            }
        }
        self.let_go(&row.kind.package_id);
        Some(row)
    }

    /// Makes the index of an owner's titles anew once most of it speaks of titles that are gone; forgets an owner who owns
    /// nothing.
    fn tidy(&mut self, owner: &AccountId) {
        let Some(owned) = self.owners.get_mut(owner) else {
            return;
        };
        if owned.all.is_empty() {
            self.owners.remove(owner);
        } else if owned.words.is_stale(owned.all.len()) {
            owned.words = Words::default();
            let rows: Vec<Rc<Row>> = owned.all.values().cloned().collect();
            for row in rows {
                let number = owned.words.list(&row.place.id, &row.title);
                let row = Rc::new(Row {
                    place: row.place.clone(),
                    owner: row.owner.clone(),
                    kind: row.kind.clone(),
                    title: row.title.clone(),
                    number,
                });
                owned.all.insert(row.place.clone(), row.clone());
                let of_kind = owned.kinds.entry(row.kind.clone()).or_default();
                of_kind.insert(row.place.clone(), row.clone());
                self.rows.insert(row.place.id.clone(), row);
            }
        }
    }

    fn need(&mut self, package_id: &str) -> Rc<str> {
        let known = self.needed.get_key_value(package_id);
        let package_id = known.map_or_else(|| package_id.into(), |(known, _)| known.clone());
        *self.needed.entry(package_id.clone()).or_default() += 1;
        package_id
    }

    fn let_go(&mut self, package_id: &str) {
        if let Some(count) = self.needed.get_mut(package_id) {
            *count -= 1;
            if *count == 0 {
                self.needed.remove(package_id);
            }
        }
    }
}

impl Row {
    fn is_called(&self, text: &str) -> bool {
        self.title.contains(text)
    }

    fn fits(&self, wanted: &Wanted) -> bool {
        self.place.trashed == wanted.trashed
            && wanted.after.as_ref().is_none_or(|after| self.place > *after)
            && self.is_called(&wanted.text)
    }
}

fn range<'s>(shelf: &'s Shelf, wanted: &Wanted) -> impl Iterator<Item = (&'s Place, &'s Rc<Row>)> {
    let trashed = wanted.trashed;
    let first = match &wanted.after {
        Some(after) => Bound::Excluded(after.clone()),
        None if trashed => Bound::Included(first_in_trash()),
        None => Bound::Unbounded,
    };
    shelf
        .range((first, Bound::Unbounded))
        .take_while(move |(place, _)| place.trashed == trashed)
}

/// Comes before all there can be in the trash.
fn first_in_trash() -> Place {
    Place {
        trashed: true,
        time: Reverse(Timestamp(u64::MAX)),
        id: Rc::new("2222222222222222222222".parse().expect("the least of all ids")),
    }
}

impl Broker {
    /// Has the catalogue say of a grain what the store says. Called after every change of its record.
    pub(crate) fn catalogue_again(&self, id: &GrainId) {
        match self.read::<Grain>(grain_key(id)) {
            Ok(Some(grain)) => {
                let package: Option<Package> = self.read(grain.package_id.as_bytes()).ok().flatten();
                let app = package.map_or_else(String::new, |package| package.title);
                self.catalogue.borrow_mut().put(id, &grain, &app);
            }
            Ok(None) => self.catalogue.borrow_mut().remove(id),
            Err(problem) => tracing::error!(grain = %id, "cannot read the record of a grain: {problem}"),
        }
    }

    /// The same of an app somebody has, or had.
    pub(crate) fn catalogue_app_again(&self, key: Vec<u8>) {
        match self.read::<App>(&key) {
            Ok(app) => {
                let package_id = app.map(|app| app.package_id);
                self.catalogue.borrow_mut().put_app(key, package_id.as_deref());
            }
            Err(problem) => tracing::error!("cannot read the record of an app: {problem}"),
        }
    }
}

#[cfg(test)]
mod tests;
