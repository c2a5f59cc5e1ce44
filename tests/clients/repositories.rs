//! git over HTTP: clones, pushes and fetches from a cgit grain with device passwords.

use serde_json::json;

use crate::device::{Device, grain_with_devices};
use crate::program::{Outcome, Room};

/// Who commits. Nothing may be asked: there is nobody to answer.
const CONFIGURATION: &str = "[user]\nname = Grace\nemail = grace@example.org\n[init]\ndefaultBranch = main\n\
    [core]\naskPass = true\n[credential]\nhelper =\n[advice]\ndetachedHead = false\n";

fn git(room: &Room, arguments: &[&str]) -> Outcome {
    room.write(".gitconfig", CONFIGURATION);
    room.run("git", arguments)
}

fn works(room: &Room, arguments: &[&str]) -> String {
    let outcome = git(room, arguments);
    assert!(outcome.status.success(), "git {arguments:?}: {outcome}");
    outcome.output.trim().to_owned()
}

/// The same for work that goes over the wire; returns what git tells of that.
fn traced(room: &mut Room, arguments: &[&str]) -> String {
    room.set("GIT_TRACE_CURL", "1");
    room.set("GIT_TRACE_CURL_NO_DATA", "1");
    let outcome = git(room, arguments);
    room.set("GIT_TRACE_CURL", "0");
    assert!(outcome.status.success(), "git {arguments:?}: {outcome}");
    outcome.errors
}

fn welcome(device: &Device) -> String {
    format!("{}welcome.git", device.url_with_password())
}

fn commit(room: &Room, clone: &str, file: &str, content: impl AsRef<[u8]>) {
    room.write(&format!("{clone}/{file}"), content);
    works(room, &["-C", clone, "add", file]);
    works(
        room,
        &[
            "-C",
            clone,
            "commit",
            "--quiet",
            "--message",
            &format!("Change {file}"),
        ],
    );
}

/// Bytes that no compression makes smaller, the same for the same seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn two_people_work_on_a_repository_until_one_password_is_revoked() {
    let (_server, owner, grain, [desk, train], room) = grain_with_devices("cgit", ["desk", "train"]);
    works(&room, &["clone", "--quiet", &welcome(&desk), "desk"]);
    works(&room, &["clone", "--quiet", &welcome(&train), "train"]);
    commit(&room, "desk", "notes.txt", "written at the desk\n");
    works(&room, &["-C", "desk", "push", "--quiet", "origin", "main"]);
    works(
        &room,
        &["-C", "desk", "push", "--quiet", "origin", "main:refs/heads/copy"],
    );
    works(&room, &["-C", "train", "fetch", "--quiet"]);
    works(
        &room,
        &["-C", "train", "merge", "--quiet", "--ff-only", "origin/main"],
    );
    assert_eq!(room.read("train/notes.txt"), b"written at the desk\n");
    works(&room, &["-C", "train", "push", "--quiet", "origin", ":copy"]);
    let branches = works(&room, &["-C", "desk", "ls-remote", "--heads", "origin"]);
    assert!(
        branches.contains("refs/heads/main") && !branches.contains("copy"),
        "{branches}"
    );

    train.revoke(&owner, &grain);
    let refused = git(&room, &["-C", "train", "fetch"]);
    assert!(!refused.status.success(), "{refused}");
    assert!(refused.errors.contains("Authentication failed"), "{refused}");
    works(&room, &["-C", "desk", "fetch", "--quiet"]);
}

#[test]
fn without_the_right_password_there_is_no_repository() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("cgit", ["desk"]);
    let wrong = git(&room, &["clone", &welcome(&device.guessing()), "wrong"]);
    assert!(!wrong.status.success(), "{wrong}");
    assert!(wrong.errors.contains("Authentication failed"), "{wrong}");
    // Asked for a password, git would ask the person.
    let none = git(&room, &["clone", &format!("{}welcome.git", device.url), "none"]);
    assert!(!none.status.success(), "{none}");
    assert!(
        none.errors.contains("could not read Username") || none.errors.contains("Authentication failed"),
        "{none}"
    );
}

#[test]
fn who_may_only_read_cannot_push() {
    let (_server, owner, grain, [writer], _) = grain_with_devices("cgit", ["writer"]);
    let reader = Device::with_role(&owner, &grain, "reader", json!({"index": 1}));
    let room = Room::new([writer.host(), reader.host()].into_iter());
    works(&room, &["clone", "--quiet", &welcome(&reader), "copy"]);
    commit(&room, "copy", "graffiti.txt", "was here\n");
    let refused = git(&room, &["-C", "copy", "push", "origin", "main"]);
    assert!(!refused.status.success(), "{refused}");
    assert!(refused.errors.contains("403"), "{refused}");
    works(
        &room,
        &["-C", "copy", "push", "--quiet", &welcome(&writer), "main"],
    );
}

#[test]
fn large_pushes_shallow_clones_and_compressed_requests_work() {
    let (_server, _owner, _grain, [device], mut room) = grain_with_devices("cgit", ["desk"]);
    works(&room, &["clone", "--quiet", &welcome(&device), "desk"]);
    let large = noise(20 << 20, 7);
    commit(&room, "desk", "large.bin", &large);
    let trace = traced(&mut room, &["-C", "desk", "push", "--quiet", "origin", "main"]);
    assert!(trace.contains("Transfer-Encoding: chunked"), "{trace}");

    works(
        &room,
        &["clone", "--quiet", "--depth", "1", &welcome(&device), "shallow"],
    );
    assert!(
        room.read("shallow/large.bin") == large,
        "what was pushed is what comes back"
    );
    assert_eq!(
        works(&room, &["-C", "shallow", "rev-list", "--count", "HEAD"]),
        "1"
    );
    works(&room, &["-C", "shallow", "fetch", "--quiet", "--unshallow"]);
    assert_eq!(
        works(&room, &["-C", "shallow", "rev-list", "--count", "HEAD"]),
        "4"
    );

    // Whoever has much that the server has not says so at length, and git compresses that.
    for number in 0..64 {
        works(
            &room,
            &[
                "-C",
                "shallow",
                "commit",
                "--quiet",
                "--allow-empty",
                "--message",
                &number.to_string(),
            ],
        );
    }
    commit(&room, "desk", "small.txt", "more\n");
    works(&room, &["-C", "desk", "push", "--quiet", "origin", "main"]);
    let trace = traced(&mut room, &["-C", "shallow", "fetch", "--quiet"]);
    assert!(trace.contains("Content-Encoding: gzip"), "{trace}");
    let (theirs, ours) = (
        ["-C", "shallow", "rev-parse", "origin/main"],
        ["-C", "desk", "rev-parse", "main"],
    );
    assert_eq!(works(&room, &theirs), works(&room, &ours));
}
