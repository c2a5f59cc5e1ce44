use capnp::message::{Builder, HeapAllocator};
use capnp::serialize;
use percloud_schemas::package_capnp::{Category, OpenSourceLicense, manifest};
use proptest::prelude::*;

use super::*;
use crate::crafted::manifest_starting;

fn message(fill: impl FnOnce(manifest::Builder<'_>)) -> Vec<u8> {
    let mut message = Builder::new_default();
    fill(message.init_root());
    serialize::write_message_to_words(&message)
}

/// A manifest that could be continued, and more.
fn parsed(fill: impl FnOnce(manifest::Builder<'_>)) -> Result<(Manifest, Icons), SpkError> {
    parse(&message(|mut manifest| {
        manifest
            .reborrow()
            .init_continue_command()
            .init_argv(1)
            .set(0, "/run");
        fill(manifest);
    }))
}

#[track_caller]
fn assert_refused(bytes: &[u8], code: &str) {
    let error = parse(bytes).expect_err("it has to be refused");
    assert_eq!(error.code(), code, "{error}");
}

#[test]
fn a_manifest_reads_as_written() {
    let (manifest, icons) = parse(&manifest_starting("/run")).unwrap();
    assert_eq!(manifest.app_title.default_text, "Crafted");
    assert_eq!(manifest.app_version, 3);
    assert_eq!(manifest.app_marketing_version.default_text, "0.3");
    assert_eq!(manifest.continue_command.argv, ["/run"]);
    assert_eq!(manifest.actions[0].label().unwrap().default_text, "thing");
    assert!(!manifest.uses_bridge);
    assert_eq!(icons, Icons::default());
}

#[test]
fn what_is_no_manifest_is_refused() {
    assert_refused(b"", "bad-manifest");
    assert_refused(b"hello", "bad-manifest");
    assert_refused(&[0xff; 64], "bad-manifest");
    // The root is a list; the root is a struct of another shape.
    assert_refused(
        &[0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0x0a, 0, 0, 0],
        "bad-manifest",
    );
    assert_refused(
        &[
            0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9,
        ],
        "no-continue-command",
    );
    let mut cut = manifest_starting("/run");
    cut.truncate(cut.len() - 8);
    assert_refused(&cut, "bad-manifest");
}

#[test]
fn without_continue_command_it_cannot_run() {
    assert_refused(&message(|_| {}), "no-continue-command");
    assert_refused(
        &message(|manifest| {
            manifest.init_continue_command();
        }),
        "no-continue-command",
    );
    assert_refused(
        &message(|manifest| {
            manifest.init_continue_command().init_argv(0);
        }),
        "no-continue-command",
    );
}

#[test]
fn commands_have_to_be_possible() {
    let with = |argument: &[u8]| {
        let argument = argument.to_vec();
        message(move |manifest| {
            let mut argv = manifest.init_continue_command().init_argv(2);
            argv.set(0, "/run");
            argv.set(1, capnp::text::Reader(&argument));
        })
    };
    assert_refused(&with(b"a\0b"), "bad-manifest");
    assert_refused(&with(b"\xff"), "bad-manifest");
    assert_refused(&with(&vec![b'x'; 300 << 10]), "bad-manifest");
    assert!(parse(&with(&vec![b'x'; 100 << 10])).is_ok());
    assert_refused(
        &message(|manifest| manifest.init_continue_command().init_argv(1).set(0, "")),
        "bad-manifest",
    );
    for key in ["", "a=b", "a\0"] {
        let result = message(|manifest| {
            let mut command = manifest.init_continue_command();
            command.reborrow().init_argv(1).set(0, "/run");
            command.init_environ(1).get(0).set_key(key);
        });
        assert_refused(&result, "bad-manifest");
    }
    let error = parsed(|manifest| {
        manifest.init_actions(1);
    })
    .err()
    .unwrap();
    assert!(error.to_string().contains("action 0 has no command"), "{error}");
}

#[test]
fn the_environment_keeps_its_order() {
    let (manifest, _) = parse(&message(|manifest| {
        let mut command = manifest.init_continue_command();
        command.reborrow().init_argv(1).set(0, "/run");
        let mut environ = command.init_environ(2);
        environ.reborrow().get(0).set_key("B");
        environ.reborrow().get(0).set_value("1=2");
        environ.get(1).set_key("A");
    }))
    .unwrap();
    let pairs = manifest.continue_command.environ;
    assert_eq!(
        (
            pairs[0].key.as_str(),
            pairs[0].value.as_str(),
            pairs[1].key.as_str()
        ),
        ("B", "1=2", "A")
    );
}

#[test]
fn old_manifests_are_understood() {
    let (manifest, _) = parse(&message(|mut manifest| {
        manifest
            .reborrow()
            .init_continue_command()
            .set_deprecated_executable_path("/sandstorm-http-bridge");
        let mut action = manifest.init_actions(1).get(0);
        action.reborrow().init_title().set_default_text("New wiki");
        let mut command = action.init_command();
        command.set_deprecated_executable_path("/run");
        command.init_argv(1).set(0, "8000");
    }))
    .unwrap();
    assert_eq!(manifest.continue_command.argv, ["/sandstorm-http-bridge"]);
    assert!(manifest.uses_bridge);
    assert_eq!(manifest.actions[0].command.argv, ["/run", "8000"]);
    assert_eq!(manifest.actions[0].label().unwrap().default_text, "New wiki");
    assert_eq!(manifest.app_title.default_text, "New wiki");
}

#[test]
fn the_bridge_is_known_by_its_three_paths() {
    for (path, is_it) in [
        ("/sandstorm-http-bridge", true),
        ("./sandstorm-http-bridge", true),
        ("sandstorm-http-bridge", true),
        ("/bin/sandstorm-http-bridge", false),
    ] {
        let (manifest, _) = parse(&manifest_starting(path)).unwrap();
        assert_eq!(manifest.uses_bridge, is_it, "{path}");
    }
}

#[test]
fn texts_for_people_are_bounded_and_valid() {
    let (manifest, _) = parsed(|mut manifest| {
        manifest
            .reborrow()
            .init_app_title()
            .set_default_text("ä".repeat(10_000).as_str());
        manifest
            .init_metadata()
            .init_description()
            .set_default_text(capnp::text::Reader(b"a\xffb"));
    })
    .unwrap();
    let title = &manifest.app_title.default_text;
    assert!(title.len() <= 520 && title.ends_with("ä…"), "{title}");
    assert_eq!(manifest.metadata.description.unwrap().default_text, "a\u{fffd}b");
}

#[test]
fn only_web_addresses_are_addresses() {
    for (address, kept) in [
        ("https://example.com/a", true),
        ("http://example.com", true),
        ("javascript:alert(1)", false),
        ("HTTPS://example.com", false),
        ("https://exa mple.com", false),
        ("", false),
    ] {
        let (manifest, _) = parsed(|manifest| manifest.init_metadata().set_website(address)).unwrap();
        assert_eq!(manifest.metadata.website.is_some(), kept, "{address}");
    }
}

#[test]
fn licence_author_and_categories_are_read() {
    let (manifest, _) = parsed(|manifest| {
        let mut metadata = manifest.init_metadata();
        metadata
            .reborrow()
            .init_license()
            .set_open_source(OpenSourceLicense::Agpl3);
        let mut author = metadata.reborrow().init_author();
        author.set_contact_email("a@example.com");
        author.set_pgp_signature(b"signature");
        let mut categories = metadata.init_categories(1);
        categories.set(0, Category::WebPublishing);
    })
    .unwrap();
    let metadata = manifest.metadata;
    let License::OpenSource {
        id, require_source, ..
    } = metadata.license
    else {
        panic!("{:?}", metadata.license)
    };
    assert_eq!((id.as_str(), require_source), ("AGPL-3.0", true));
    assert_eq!(metadata.author.contact_email.as_deref(), Some("a@example.com"));
    assert_eq!(metadata.author.proof, AuthorProof::Unverified);
    assert_eq!(metadata.categories, ["webPublishing"]);
}

#[test]
fn pictures_are_what_they_say_or_left_out() {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
    let (_, icons) = parsed(|manifest| {
        let mut icons = manifest.init_metadata().init_icons();
        icons.reborrow().init_app_grid().set_svg("<svg/>");
        let mut png = icons.reborrow().init_grain().init_png();
        png.set_dpi1x(PNG);
        png.set_dpi2x(b"GIF89a");
        icons.reborrow().init_market().init_png().set_dpi2x(PNG);
        icons.init_market_big().set_svg("x".repeat(2 << 20).as_str());
    })
    .unwrap();
    assert_eq!(icons.app_grid, Some(Icon::Svg(b"<svg/>".to_vec())));
    assert_eq!(
        icons.grain,
        Some(Icon::Png {
            single: PNG.to_vec(),
            double: None
        })
    );
    assert_eq!(
        icons.market,
        Some(Icon::Png {
            single: PNG.to_vec(),
            double: None
        })
    );
    assert_eq!(icons.market_big, None);
}

#[test]
fn a_manifest_that_repeats_itself_stops_at_8_mib() {
    // Many localizations that all point at one long text.
    let mut message = Builder::new(HeapAllocator::new().first_segment_words(1 << 20));
    let mut manifest: manifest::Builder<'_> = message.init_root();
    manifest
        .reborrow()
        .init_continue_command()
        .init_argv(1)
        .set(0, "/run");
    let mut title = manifest.init_app_title();
    title.set_default_text("x".repeat(1 << 20).as_str());
    title.init_localizations(64);
    let mut bytes = serialize::write_message_to_words(&message);
    // The texts of all localizations become the default text: with one segment, offsets are relative to pointers.
    let words = bytes.len() / 8;
    let word =
        |bytes: &[u8], index: usize| u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap());
    assert_eq!(word(&bytes, 0) as u32, 0, "the message is in one segment");
    let is_long = |index: &usize| {
        word(&bytes, *index) >> 32 == ((1 << 20) + 1) << 3 | 2 && word(&bytes, *index) & 3 == 1
    };
    let long = (1..words).find(is_long).expect("there is a pointer to the text");
    let start = long as i64 + 1 + i64::from(word(&bytes, long) as u32 as i32 >> 2);
    let tag = (1..words)
        .find(|index| word(&bytes, *index) == 64 << 2 | 2 << 48)
        .expect("there is the list's tag");
    for element in 0..64 {
        let pointer = tag + 1 + 2 * element + 1;
        let offset = (start - pointer as i64 - 1) as u64 & 0x3fff_ffff;
        let pointing: u64 = 1 | offset << 2 | 2 << 32 | ((1 << 20) + 1) << 35;
        bytes[pointer * 8..pointer * 8 + 8].copy_from_slice(&pointing.to_le_bytes());
    }
    let error = parse(&bytes).err().unwrap();
    assert!(
        error.to_string().contains("imit"),
        "it is the limit that stops it: {error}"
    );
}

#[test]
fn the_plain_values_survive_json() {
    let (manifest, _) = parse(&manifest_starting("/run")).unwrap();
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_manifests_are_survived(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = manifest_starting("/run");
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let _ = parse(&bytes);
        let _ = crate::bridge_config::parse(&bytes);
    }
}
