//! When exports are written, and what they are good for.

use super::*;

#[test]
fn an_unreadable_newest_export_is_skipped() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=10);
    store.export_now().unwrap();
    write(&store, 11..=20);
    let newest = store.export_now().unwrap().path;
    drop(store);
    fs::remove_dir_all(place.dir()).unwrap();
    File::options()
        .write(true)
        .open(newest)
        .unwrap()
        .write_all_at(b"#", 300)
        .unwrap();
    assert_eq!(assert_whole(&place.open(true).unwrap().0), 10);
}

#[test]
fn exports_are_written_when_they_are_due() {
    use std::time::Duration;
    let place = Place::new();
    let store = place.opened();
    let long = Duration::from_secs(3600);
    assert_eq!(
        store.maybe_export(1, Duration::ZERO).unwrap(),
        None,
        "there is nothing to export"
    );
    write(&store, 1..=9);
    assert_eq!(store.maybe_export(10, long).unwrap(), None);
    write(&store, 10..=10);
    assert_eq!(store.maybe_export(10, long).unwrap().unwrap().commits, 10);
    assert_eq!(store.maybe_export(1, Duration::ZERO).unwrap(), None);
    write(&store, 11..=11);
    assert_eq!(
        store.maybe_export(10, Duration::ZERO).unwrap().unwrap().commits,
        11
    );
    drop(store);
    assert_eq!(
        place.opened().maybe_export(1, Duration::ZERO).unwrap(),
        None,
        "known across restarts"
    );
}

#[test]
fn after_a_failure_exports_wait_before_they_are_tried_again() {
    use std::time::Duration;
    let place = Place::new();
    let store = place.opened();
    let long = Duration::from_secs(3600);
    write(&store, 1..=10);
    let folder = place.options(false).export_dir;
    File::create(&folder).unwrap();
    assert!(store.maybe_export(1, long).is_err());
    assert_eq!(store.maybe_export(1, long).unwrap(), None, "not at once");
    assert!(
        store.maybe_export(1, Duration::ZERO).is_err(),
        "its time has come"
    );
    fs::remove_file(&folder).unwrap();
    assert_eq!(store.maybe_export(1, long).unwrap(), None, "twice as long");
    assert!(store.export_now().is_ok(), "whoever wants one at once has it");
    write(&store, 11..=20);
    assert!(store.maybe_export(1, long).unwrap().is_some(), "forgotten");
}

#[test]
fn an_export_is_of_one_moment_while_commits_go_on() {
    let place = Place::new();
    let store = place.opened();
    for number in 0..2000 {
        let mut batch = Batch::new();
        batch.put(format!("n{number:04}").as_bytes(), &entry(number));
        drop(store.commit(batch));
    }
    // Closed when this test ends, whichever way.
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (store, over) = (&store, over);
        scope.spawn(move || {
            for round in 0_u64.. {
                if is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    break;
                }
                let mut batch = Batch::new();
                for number in 0..20_u64 {
                    let key = format!("n{:04}", (round * 131 + number * 97) % 2500);
                    match number % 3 {
                        0 => batch.delete::<Entry>(key.as_bytes()),
                        _ => batch.put(key.as_bytes(), &entry(round)),
                    }
                }
                store.commit_blocking(batch).unwrap();
            }
        });
        let mut overlapped = 0;
        for round in 0..20 {
            let exported = store.export_now().expect("matches the digest of its moment");
            overlapped += u64::from(store.statistics().commits > exported.commits);
            let elsewhere = place.temp.path().join(format!("elsewhere{round}"));
            let imported = Store::import(&exported.path, &elsewhere).unwrap();
            assert_eq!(
                (imported.commits, imported.records),
                (exported.commits, exported.records)
            );
        }
        drop(over);
        assert!(overlapped > 0, "commits go on while an export is written");
    });
}

#[test]
fn an_export_of_much_waits_for_much_that_is_new() {
    use std::time::Duration;
    let place = Place::new();
    let store = place.opened();
    let write = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let mut batch = Batch::new();
            batch.put(number.to_string().as_bytes(), &entry(number));
            store.commit_blocking(batch).unwrap();
        }
    };
    write(0..80);
    store.export_now().unwrap();
    let long = Duration::from_secs(3600);
    write(80..99);
    assert_eq!(store.maybe_export(10, long).unwrap(), None, "19 of 99");
    write(99..107);
    assert!(store.maybe_export(10, long).unwrap().is_some(), "27 of 107");
}

#[test]
fn an_export_becomes_a_store_elsewhere() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=70);
    let exported = store.export_now().unwrap();
    assert!(matches!(
        Store::import(&exported.path, &place.dir()),
        Err(ImportError::Build(OpenError::Locked { .. }))
    ));
    drop(store);
    assert!(matches!(
        Store::import(&exported.path, &place.dir()),
        Err(ImportError::Exists { .. })
    ));
    let other = Place::new();
    assert_eq!(Store::import(&exported.path, &other.dir()).unwrap(), exported);
    let (store, opened) = other.open(false).unwrap();
    assert_eq!(opened, Opened::Clean);
    assert_eq!(assert_whole(&store), 70);
    write(&store, 71..=80);
    assert_eq!(assert_whole(&store), 80);
}
