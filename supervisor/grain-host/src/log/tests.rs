use std::io::Write;
use std::path::Path;

use super::{Log, Reader};
use crate::config::Limits;

struct Rig {
    dir: tempfile::TempDir,
    log: Log,
    reader: Reader,
    app: std::io::PipeWriter,
}

fn open(dir: tempfile::TempDir, limits: &Limits) -> Rig {
    let (pipe, app) = std::io::pipe().unwrap();
    let (log, reader) = Log::open(dir.path(), pipe.into(), limits).unwrap();
    Rig {
        dir,
        log,
        reader,
        app,
    }
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

fn limits(log_bytes: u64) -> Limits {
    Limits {
        log_bytes,
        log_rate: 1 << 30,
        ..Limits::default()
    }
}

#[test]
fn words_are_kept_in_two_files_that_never_grow_beyond_their_limit() {
    let mut rig = open(tempfile::tempdir().unwrap(), &limits(1000));
    for number in 0..500 {
        writeln!(rig.app, "line {number}").unwrap();
    }
    rig.reader.finish();
    let (newer, older) = (read(rig.dir.path(), "log"), read(rig.dir.path(), "log.1"));
    assert!(
        newer.len() <= 1000 && older.len() <= 1000,
        "{} {}",
        newer.len(),
        older.len()
    );
    let kept = older + &newer;
    let written: String = (0..500).map(|number| format!("line {number}\n")).collect();
    assert!(kept.len() > 1000 && written.ends_with(&kept), "{kept}");
}

#[test]
fn a_log_is_continued_by_the_next_run_and_ours_begin_a_line() {
    let mut rig = open(tempfile::tempdir().unwrap(), &limits(1000));
    rig.app.write_all(b"no line end").unwrap();
    rig.reader.finish();
    rig.log.line("the app exited");
    let mut rig = open(rig.dir, &limits(1000));
    rig.log.line("again");
    rig.app.write_all(b"x\n").unwrap();
    rig.reader.finish();
    let text = read(rig.dir.path(), "log");
    assert_eq!(
        text,
        "no line end\n** PERCLOUD: the app exited\n** PERCLOUD: again\nx\n"
    );
}

#[test]
fn a_link_in_the_place_of_the_log_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("victim"), "mine").unwrap();
    std::os::unix::fs::symlink("victim", dir.path().join("log")).unwrap();
    let (pipe, _app) = std::io::pipe().unwrap();
    assert!(Log::open(dir.path(), pipe.into(), &limits(1000)).is_err());
    assert_eq!(read(dir.path(), "victim"), "mine");
}

#[test]
fn the_app_may_keep_its_end_open_and_the_reader_still_ends() {
    let mut rig = open(tempfile::tempdir().unwrap(), &limits(1000));
    rig.app.write_all(b"last words\n").unwrap();
    rig.reader.finish();
    assert_eq!(read(rig.dir.path(), "log"), "last words\n");
    drop(rig.app);
}

#[tokio::test]
async fn a_follower_reads_both_files_and_what_comes_and_learns_what_it_missed() {
    let mut rig = open(tempfile::tempdir().unwrap(), &limits(1000));
    rig.app.write_all(&[b'a'; 900]).unwrap();
    rig.app.write_all(&[b'b'; 900]).unwrap();
    rig.reader.finish();
    let mut watch = rig.log.watch(1000).unwrap();
    let past = watch.next().await;
    assert_eq!(past.len(), 1000);
    assert_eq!((past[0], past[999]), (b'a', b'b'));

    let mut text = String::new();
    for number in 0..20_000 {
        rig.log.line(format_args!("line {number}"));
    }
    while !text.contains("bytes left out") {
        text += std::str::from_utf8(&watch.next().await).unwrap();
        assert!(text.len() <= 300 << 10, "memory is bounded");
    }
    assert!(
        text.starts_with("\n** PERCLOUD: line 0\n** PERCLOUD: line 1\n"),
        "{}",
        &text[..100]
    );
    rig.log.line("after the gap");
    assert_eq!(watch.next().await, b"** PERCLOUD: after the gap\n");
}

#[test]
fn only_so_many_follow_at_once() {
    let rig = open(tempfile::tempdir().unwrap(), &limits(1000));
    let mut watches: Vec<_> = std::iter::from_fn(|| rig.log.watch(0)).take(100).collect();
    assert_eq!(watches.len(), 16);
    watches.pop();
    assert!(rig.log.watch(0).is_some());
    rig.reader.finish();
}
