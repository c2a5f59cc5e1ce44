use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

const TITLES: [&str; 6] = [
    "Shopping",
    "Holidays in Übersee",
    "shopping, old",
    "Tax 2024",
    "tax 2025",
    "ab",
];
const TEXTS: [&str; 11] = [
    "", "shop", "SHOPPING", "über", "tax 20", "a", "ab", "wiki", "note", "zebra", "old",
];

/// What the catalogue must answer, looked up the slow way.
fn naive(
    all: &BTreeMap<GrainId, (Grain, &str)>,
    owner: &AccountId,
    trashed: bool,
    text: &str,
) -> Vec<GrainId> {
    let mut found: Vec<_> = all
        .iter()
        .filter(|(_, (grain, app))| {
            let names = [grain.title.as_str(), app, grain.noun.as_str()];
            grain.owner == *owner
                && grain.trashed.is_some() == trashed
                && names.iter().any(|name| name.to_lowercase().contains(text))
        })
        .map(|(id, (grain, _))| (Reverse(grain.trashed.unwrap_or(grain.last_used)), id.clone()))
        .collect();
    found.sort();
    found.into_iter().map(|(_, id)| id).collect()
}

/// All pages of an answer, of a size that makes several of them.
fn pages(catalogue: &Catalogue, owner: &AccountId, trashed: bool, text: &str) -> Vec<GrainId> {
    let mut wanted = Wanted {
        trashed,
        text: text.to_owned(),
        limit: 7,
        ..Wanted::default()
    };
    let mut found = Vec::new();
    loop {
        let (places, more) = catalogue.page(owner, &wanted);
        assert!(places.len() == 7 || !more);
        found.extend(places.iter().map(|place| place.id().clone()));
        if !more {
            return found;
        }
        let cursor = places.last().unwrap().cursor();
        wanted.after = Some(Place::parse(&cursor, trashed).unwrap());
    }
}

fn history(seed: u64, changes: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut fresh = StdRng::seed_from_u64(seed);
    let owners: Vec<AccountId> = (0..3)
        .map(|_| AccountId::new(|bytes| fresh.fill(bytes)))
        .collect();
    let apps = [
        ("wiki", "p1", "Wiki"),
        ("wiki", "p2", "Wiki"),
        ("notes", "p3", "Notebook"),
    ];
    let mut all: BTreeMap<GrainId, (Grain, &str)> = BTreeMap::new();
    let mut catalogue = Catalogue::default();
    for step in 0..changes {
        let known: Option<GrainId> = all.keys().nth(random.random_range(0..60)).cloned();
        if random.random_ratio(1, 8) {
            if let Some(id) = known {
                all.remove(&id);
                catalogue.remove(&id);
            }
        } else {
            let id = known.unwrap_or_else(|| GrainId::new(|bytes| fresh.fill(bytes)));
            let (app_id, package_id, app) = *apps.choose(&mut random).unwrap();
            let time = |random: &mut StdRng| Timestamp(random.random_range(0..40));
            let grain = Grain {
                owner: owners.choose(&mut random).unwrap().clone(),
                app_id: app_id.into(),
                package_id: package_id.into(),
                action: 0,
                title: (*TITLES.choose(&mut random).unwrap()).into(),
                noun: "note".into(),
                created: Timestamp(0),
                last_used: time(&mut random),
                size: None,
                begun: false,
                trashed: random.random_bool(0.2).then(|| time(&mut random)),
                relaxed_policy: false,
                public_id: None,
                files: None,
                limits: Default::default(),
            };
            catalogue.put(&id, &grain, app);
            all.insert(id, (grain, app));
        }
        if step % 50 != 0 && step + 1 != changes {
            continue;
        }
        for owner in &owners {
            for trashed in [false, true] {
                for text in TEXTS.map(str::to_lowercase) {
                    let expected = naive(&all, owner, trashed, &text);
                    assert_eq!(
                        pages(&catalogue, owner, trashed, &text),
                        expected,
                        "{seed}: `{text}`"
                    );
                }
            }
            for (app_id, package_id, _) in apps {
                let mut made = catalogue.grains_of_app(owner, app_id);
                made.sort();
                let own = |grain: &Grain| grain.owner == *owner;
                let expected = all
                    .iter()
                    .filter(|(_, (grain, _))| own(grain) && grain.app_id == app_id);
                assert_eq!(made, expected.map(|(id, _)| id.clone()).collect::<Vec<_>>());
                let has = all
                    .values()
                    .any(|(grain, _)| own(grain) && grain.package_id == package_id);
                assert_eq!(catalogue.has_grain_of_package(owner, package_id), has);
            }
        }
        for (_, package_id, _) in apps {
            let needed = all.values().any(|(grain, _)| grain.package_id == package_id);
            assert_eq!(catalogue.is_needed(package_id), needed);
        }
    }
    for id in all.keys() {
        catalogue.remove(id);
    }
    assert!(catalogue.owners.is_empty() && catalogue.rows.is_empty() && catalogue.needed.is_empty());
}

#[test]
fn a_catalogue_answers_as_a_look_at_everything_would() {
    for seed in 0..10 {
        history(seed, 600);
    }
}

#[test]
fn titles_are_found_after_many_changes_of_them() {
    // Enough for the index of words to be made anew several times.
    history(99, 8000);
}

#[test]
fn a_package_is_needed_while_an_app_or_a_grain_is_there() {
    let mut catalogue = Catalogue::default();
    catalogue.put_app(b"anna/wiki".to_vec(), Some("p1"));
    catalogue.put_app(b"bela/wiki".to_vec(), Some("p1"));
    catalogue.put_app(b"anna/wiki".to_vec(), Some("p2"));
    assert!(catalogue.is_needed("p1") && catalogue.is_needed("p2"));
    catalogue.put_app(b"bela/wiki".to_vec(), None);
    catalogue.put_app(b"bela/wiki".to_vec(), None);
    assert!(!catalogue.is_needed("p1") && catalogue.is_needed("p2"));
}
