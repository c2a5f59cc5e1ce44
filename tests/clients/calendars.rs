//! Calendars and address books: vdirsyncer keeps folders on two devices in step with a Radicale grain.

use std::fs;

use percloud_tests::http::Request;

use crate::device::{Device, grain_with_devices};
use crate::program::{Outcome, Room};

const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//percloud//clients//EN\r\nBEGIN:VEVENT\r\n\
    UID:dentist\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260301T090000Z\r\nDTEND:20260301T093000Z\r\n\
    SUMMARY:Dentist\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const CONTACT: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:grace\r\nFN:Grace Hopper\r\nN:Hopper;Grace;;;\r\n\
    EMAIL:grace@example.org\r\nEND:VCARD\r\n";

/// The files of one collection on a device.
fn items(room: &Room, collection: &str) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(room.path(collection)) else {
        return Vec::new();
    };
    let mut items: Vec<(String, String)> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).expect("items are text");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    items.sort();
    items
}

/// A folder of calendars and one of contacts, each with a counterpart on the server. Below them lie collections; the
/// one named here is made where it does not exist.
fn configure(room: &Room, device: &Device) {
    let pair = |kind: &str, folder: &str, extension: &str, collection: &str| {
        format!(
            "[pair {kind}]\na = \"{kind}_here\"\nb = \"{kind}_there\"\ncollections = [\"{collection}\"]\n\
             conflict_resolution = \"b wins\"\n\
             [storage {kind}_here]\ntype = \"filesystem\"\npath = \"{}\"\nfileext = \"{extension}\"\n\
             [storage {kind}_there]\ntype = \"{kind}\"\nurl = \"{}\"\nusername = \"{}\"\npassword = \"{}\"\n",
            room.path(folder).display(),
            device.url,
            device.user,
            device.password,
        )
    };
    let text = format!(
        "[general]\nstatus_path = \"{}\"\n{}{}",
        room.path("status").display(),
        pair("caldav", "calendars", ".ics", "appointments"),
        pair("carddav", "contacts", ".vcf", "friends"),
    );
    room.write("config", text);
}

fn vdirsyncer(room: &Room, arguments: &[&str]) -> Outcome {
    // Asked whether to make what does not exist yet, the person says yes.
    let config = ["--config", "config", "--verbosity", "WARNING"];
    let words = config.iter().chain(arguments);
    room.run_telling("vdirsyncer", words, &"y\n".repeat(16))
}

fn works(room: &Room, arguments: &[&str]) {
    let outcome = vdirsyncer(room, arguments);
    assert!(outcome.status.success(), "vdirsyncer {arguments:?}: {outcome}");
}

#[test]
fn two_devices_keep_a_calendar_and_an_address_book_in_step_until_one_is_revoked() {
    let (_server, owner, grain, [laptop, phone], first) = grain_with_devices("radicale", ["laptop", "phone"]);
    let second = Room::new([phone.host()].into_iter());
    configure(&first, &laptop);
    configure(&second, &phone);

    first.write("calendars/appointments/dentist.ics", EVENT);
    first.write("contacts/friends/grace.vcf", CONTACT);
    works(&first, &["discover"]);
    works(&first, &["sync"]);
    works(&second, &["discover"]);
    works(&second, &["sync"]);
    let [(name, event)] = items(&second, "calendars/appointments")
        .try_into()
        .expect("one event");
    assert!(event.contains("SUMMARY:Dentist"), "{event}");
    let [(_, contact)] = items(&second, "contacts/friends")
        .try_into()
        .expect("one contact");
    assert!(contact.contains("FN:Grace Hopper"), "{contact}");

    let moved = event
        .replace("Dentist", "Dentist later")
        .replace("T0900", "T1400")
        .replace("T0930", "T1430");
    second.write(&format!("calendars/appointments/{name}"), moved);
    works(&second, &["sync"]);
    works(&first, &["sync"]);
    let [(name, event)] = items(&first, "calendars/appointments")
        .try_into()
        .expect("one event");
    assert!(event.contains("SUMMARY:Dentist later"), "{event}");
    assert!(event.contains("T140000Z"), "{event}");

    fs::remove_file(first.path("calendars/appointments").join(name)).unwrap();
    // An event stays, so that an emptied calendar is not taken for an accident.
    first.write(
        "calendars/appointments/party.ics",
        EVENT.replace("dentist", "party").replace("Dentist", "Party"),
    );
    works(&first, &["sync"]);
    works(&second, &["sync"]);
    let [(_, event)] = items(&second, "calendars/appointments")
        .try_into()
        .expect("one event");
    assert!(event.contains("SUMMARY:Party"), "{event}");

    phone.revoke(&owner, &grain);
    let refused = vdirsyncer(&second, &["sync"]);
    assert!(!refused.status.success(), "{refused}");
    assert!(refused.errors.contains("401"), "{refused}");
    works(&first, &["sync"]);
}

#[test]
fn a_wrong_password_is_asked_for_again_and_finds_nothing() {
    let (server, _owner, _grain, [device], room) = grain_with_devices("radicale", ["laptop"]);
    configure(&room, &device.guessing());
    let refused = vdirsyncer(&room, &["discover"]);
    assert!(!refused.status.success(), "{refused}");
    assert!(refused.errors.contains("401"), "{refused}");

    let asked = Request::new("PROPFIND", "/")
        .send(server.address(), device.host())
        .unwrap();
    assert_eq!(asked.status, 401, "{}", asked.text());
    let challenge = asked.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Basic realm="), "{challenge}");
}

#[test]
fn a_client_that_knows_the_host_alone_is_led_to_the_calendars() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("radicale", ["phone"]);
    let credentials = format!("{}:{}", device.user, device.password);
    for kind in ["caldav", "carddav"] {
        let url = format!("{}.well-known/{kind}", device.url);
        let body = "<propfind xmlns=\"DAV:\"><prop><current-user-principal/></prop></propfind>";
        let found = room.expect(
            "curl",
            [
                "--silent",
                "--show-error",
                "--fail",
                "--location",
                "--user",
                &credentials,
                "--request",
                "PROPFIND",
                "--header",
                "Depth: 0",
                "--header",
                "Content-Type: application/xml",
                "--data",
                body,
                &url,
            ],
        );
        assert!(
            found.contains("<current-user-principal><href>/me/</href>"),
            "{kind}: {found}"
        );
    }
}
