//! Files over WebDAV: rclone and cadaver keep folders in a grain, and litmus says how well the protocol is kept.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::device::{Device, grain_with_devices};
use crate::program::{Outcome, Room};

/// Size of the file that must pass through without being held in memory.
const LARGE: usize = 200 << 20;

fn rclone(room: &Room, arguments: &[&str]) -> Outcome {
    let common = [
        "--config",
        "rclone.conf",
        "--retries",
        "1",
        "--low-level-retries",
        "1",
        "--stats",
        "0",
    ];
    room.run("rclone", common.iter().chain(arguments))
}

fn works(room: &Room, arguments: &[&str]) -> String {
    let outcome = rclone(room, arguments);
    assert!(outcome.status.success(), "rclone {arguments:?}: {outcome}");
    outcome.output
}

fn configure_rclone(room: &Room, name: &str, device: &Device) {
    let hidden = room.expect("rclone", ["obscure", &device.password]);
    let earlier = fs::read_to_string(room.path("rclone.conf")).unwrap_or_default();
    room.write(
        "rclone.conf",
        format!(
            "{earlier}[{name}]\ntype = webdav\nvendor = other\nurl = {}\nuser = {}\npass = {hidden}\n",
            device.url, device.user
        ),
    );
}

/// Writes a file larger than anything that may be held, a piece at a time.
fn write_large(room: &Room, relative: &str) {
    let block: Vec<u8> = (0..1 << 20)
        .map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut content = Vec::with_capacity(LARGE);
    while content.len() < LARGE {
        content.extend_from_slice(&block);
        // No two pieces are the same, so that none can be left out or swapped unseen.
        let at = content.len() - block.len();
        content[at..at + 8].copy_from_slice(&(at as u64).to_le_bytes());
    }
    room.write(relative, content);
}

fn same(left: &Path, right: &Path) -> bool {
    fs::read(left).expect("the file is there") == fs::read(right).expect("the file is there")
}

#[test]
fn rclone_keeps_a_folder_in_step() {
    let (_server, owner, grain, [device], _) = grain_with_devices("webdav", ["laptop"]);
    let reader = Device::with_role(&owner, &grain, "reader", json!({"index": 1}));
    let room = Room::new([device.host(), reader.host()].into_iter());
    configure_rclone(&room, "grain", &device);
    configure_rclone(&room, "reading", &reader);

    for number in 0..200 {
        let name = format!("here/year {}/näme #{number}%.txt", number % 7);
        room.write(&name, format!("file {number}\n").repeat(number));
    }
    works(&room, &["copy", "here", "grain:folder"]);
    works(&room, &["check", "--download", "here", "grain:folder"]);
    works(&room, &["copy", "grain:folder", "back"]);
    works(&room, &["check", "--download", "here", "back"]);

    fs::remove_dir_all(room.path("here/year 3")).unwrap();
    room.write("here/year 1/new.txt", "new\n");
    room.write(
        "here/year 2/näme #9%.txt",
        "longer than it was before, by far\n".repeat(99),
    );
    works(&room, &["sync", "here", "grain:folder"]);
    works(&room, &["check", "--download", "here", "reading:folder"]);
    let listed = works(&room, &["lsf", "--recursive", "--files-only", "grain:folder"]);
    assert!(!listed.contains("year 3/"), "{listed}");
    assert_eq!(listed.lines().count(), 200 - 29 + 1, "{listed}");

    works(
        &room,
        &[
            "moveto",
            "grain:folder/year 1/new.txt",
            "grain:folder/year 1/old.txt",
        ],
    );
    assert_eq!(works(&room, &["cat", "grain:folder/year 1/old.txt"]), "new\n");
    works(
        &room,
        &["copyto", "grain:folder/year 1/old.txt", "grain:folder/copy.txt"],
    );
    works(&room, &["move", "grain:folder/year 2", "grain:moved"]);
    assert!(works(&room, &["lsf", "grain:"]).contains("moved/"));

    let refused = rclone(&room, &["copy", "here/year 1/new.txt", "reading:elsewhere"]);
    assert!(!refused.status.success(), "{refused}");
    device.revoke(&owner, &grain);
    let refused = rclone(&room, &["lsf", "grain:"]);
    assert!(
        !refused.status.success() && refused.errors.contains("401"),
        "{refused}"
    );
}

#[test]
fn a_large_file_goes_there_and_back() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("webdav", ["laptop"]);
    configure_rclone(&room, "grain", &device);
    write_large(&room, "here/film.bin");
    works(&room, &["copy", "here", "grain:"]);
    works(&room, &["copy", "grain:", "back"]);
    assert!(same(&room.path("here/film.bin"), &room.path("back/film.bin")));
    // Part of it alone, as players ask for it.
    let part = works(
        &room,
        &["cat", "--offset", "104857600", "--count", "8", "grain:film.bin"],
    );
    assert_eq!(part.as_bytes(), (100_u64 << 20).to_le_bytes());
}

/// Types commands into cadaver; returns what it said.
fn cadaver(room: &Room, device: &Device, commands: &str) -> String {
    let host = device.host().split(':').next().unwrap_or_default();
    room.write(
        ".netrc",
        format!(
            "machine {host}\nlogin {}\npassword {}\n",
            device.user, device.password
        ),
    );
    let outcome = room.run_telling("cadaver", [&device.url], commands);
    assert!(outcome.status.success(), "{outcome}");
    outcome.output
}

#[test]
fn cadaver_changes_a_calendar_file_by_file() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("radicale", ["desk"]);
    let event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//percloud//clients//EN\r\nBEGIN:VEVENT\r\nUID:tea\r\n\
        DTSTAMP:20260101T000000Z\r\nDTSTART:20260301T160000Z\r\nSUMMARY:Tea\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    room.write("tea.ics", event);
    // A plain folder becomes a calendar by what is put into it.
    let url = format!("{}me/teas/", device.url);
    let credentials = format!("{}:{}", device.user, device.password);
    let calendar = "<mkcol xmlns=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\"><set><prop><resourcetype>\
        <collection/><C:calendar/></resourcetype></prop></set></mkcol>";
    room.expect(
        "curl",
        [
            "--silent",
            "--fail",
            "--user",
            &credentials,
            "--request",
            "MKCOL",
            "--header",
            "Content-Type: application/xml",
            "--data",
            calendar,
            &url,
        ],
    );
    let said = cadaver(
        &room,
        &device,
        "cd me/teas\nput tea.ics\nls\nget tea.ics again.ics\nmove tea.ics later.ics\nls\nget later.ics later.ics\n\
         delete later.ics\nls\nquit\n",
    );
    for (what, count) in [("succeeded", 7), ("failed", 0)] {
        assert_eq!(said.matches(what).count(), count, "{what}: {said}");
    }
    for name in ["again.ics", "later.ics"] {
        let text = String::from_utf8(room.read(name)).unwrap();
        assert!(text.contains("SUMMARY:Tea"), "{name}: {text}");
    }
}

/// What litmus holds against lighttpd, with Percloud or without: it reads XML with libxml2, which lets a namespace pass
/// that is declared empty (`xmlns:bar=""`).
const UNKEPT: [&str; 1] = ["propfind_invalid2"];

#[test]
fn litmus_finds_the_protocol_kept() {
    let (_server, _owner, _grain, [device], mut room) = grain_with_devices("webdav", ["litmus"]);
    // Left out are `locks` and `http`: an app never sees `If`, in which a client shows the lock it holds, nor `Expect`.
    room.set("TESTS", "basic copymove props");
    let outcome = room.run(
        "litmus",
        ["--keep-going", &device.url, &device.user, &device.password],
    );
    let report = &outcome.output;
    for (group, count) in [("basic", 16), ("copymove", 13), ("props", 30)] {
        let summary = format!("<- summary for `{group}': of {count} tests run:");
        assert!(report.contains(&summary), "{outcome}");
    }
    let failed: Vec<&str> = report
        .lines()
        .filter_map(|line| line.split_once(" FAIL").map(|(before, _)| before))
        .filter_map(|before| {
            before
                .rsplit_once(". ")
                .map(|(_, name)| name.trim_end_matches('.'))
        })
        .collect();
    assert_eq!(failed, UNKEPT, "{outcome}");
}
