use std::fs;

use capnp::message::Builder;
use capnp::serialize;
use percloud_schemas::package_capnp::{bridge_config, manifest};

use super::*;
use crate::crafted::*;

fn install(bytes: &[u8]) -> (tempfile::TempDir, Result<PackageInfo, SpkError>, Vec<Progress>) {
    let staging = tempfile::tempdir().unwrap();
    let mut spk = tempfile::tempfile().unwrap();
    spk.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut spk).unwrap();
    let mut heard = Vec::new();
    let result = check_and_unpack(spk, staging.path(), |progress| heard.push(progress));
    (staging, result, heard)
}

#[track_caller]
fn assert_refused(items: &[Item], code: &str) -> String {
    let (staging, result, _) = install(&spk_with(items));
    let error = result.expect_err("it has to be refused");
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(
        fs::read_dir(staging.path()).unwrap().count(),
        0,
        "nothing is left"
    );
    error.to_string()
}

fn rich() -> Vec<Item> {
    let mut message = Builder::new_default();
    let mut root: manifest::Builder<'_> = message.init_root();
    root.reborrow()
        .init_continue_command()
        .init_argv(1)
        .set(0, "/sandstorm-http-bridge");
    let mut icons = root.init_metadata().init_icons();
    icons.reborrow().init_app_grid().set_svg("<svg/>");
    let mut png = icons.init_grain().init_png();
    png.set_dpi1x(b"\x89PNG\r\n\x1a\n1");
    png.set_dpi2x(b"\x89PNG\r\n\x1a\n2");
    let manifest = serialize::write_message_to_words(&message);

    let mut message = Builder::new_default();
    let mut config: bridge_config::Builder<'_> = message.init_root();
    config.set_api_path("/api/");
    let mut view = config.init_view_info();
    view.reborrow().init_permissions(1).get(0).set_name("edit");
    let mut role = view.init_roles(1).get(0);
    role.reborrow().init_title().set_default_text("editor");
    role.init_permissions(1).set(0, true);
    let config = serialize::write_message_to_words(&message);
    vec![
        file("sandstorm-manifest", &manifest),
        file("sandstorm-http-bridge-config", &config),
        program("sandstorm-http-bridge", b"\x7fELF"),
    ]
}

#[test]
fn a_good_package_is_ready_to_run() {
    let (staging, info, heard) = install(&spk_with(&rich()));
    let info = info.unwrap();
    assert_eq!(info.app_id.0, key().verifying_key().to_bytes());
    assert_eq!(info.files, 3);
    assert!(info.manifest.uses_bridge);
    let bridge = info.bridge.as_ref().unwrap();
    assert!(bridge.has_api);
    assert_eq!(bridge.permissions[0].name, "edit");
    assert_eq!(bridge.roles[0].permissions, [true]);
    assert_eq!(
        fs::read(staging.path().join("tree/sandstorm-http-bridge")).unwrap(),
        b"\x7fELF"
    );
    let icons = staging.path().join("icons");
    assert_eq!(
        fs::read(icons.join(&info.icon(IconKind::AppGrid).unwrap().file)).unwrap(),
        b"<svg/>"
    );
    let grain = info.icon(IconKind::Grain).unwrap();
    assert_eq!(
        (grain.file.as_str(), grain.media_type.as_str()),
        ("grain.png", "image/png")
    );
    assert_eq!(
        fs::read(icons.join(grain.double_file.as_ref().unwrap())).unwrap(),
        b"\x89PNG\r\n\x1a\n2"
    );
    assert_eq!(info.icon(IconKind::MarketBig).unwrap().file, "appGrid.svg");
    assert_eq!(
        serde_json::from_str::<PackageInfo>(&serde_json::to_string(&info).unwrap()).unwrap(),
        info
    );

    for stage in [Stage::Verify, Stage::Unpack, Stage::Sync] {
        let last = heard.iter().rfind(|progress| progress.stage == stage).unwrap();
        assert_eq!(last.done, last.total, "{stage:?} ends complete");
    }
}

#[test]
fn packages_without_a_usable_manifest_are_refused() {
    assert_refused(&[], "no-manifest");
    assert_refused(
        &[
            program("sandstorm-manifest", &manifest_starting("/run")),
            program("run", b""),
        ],
        "no-manifest",
    );
    assert_refused(
        &[link("sandstorm-manifest", "run"), program("run", b"")],
        "no-manifest",
    );
    assert_refused(&[folder("sandstorm-manifest", vec![])], "no-manifest");
    assert_refused(
        &[folder("lib", vec![file("sandstorm-manifest", b"")])],
        "no-manifest",
    );
    assert_refused(
        &[file("sandstorm-manifest", b"{\"title\": \"not this\"}")],
        "bad-manifest",
    );
    assert_refused(
        &[file(
            "sandstorm-manifest",
            &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )],
        "no-continue-command",
    );
    let mut items = usable();
    items.push(file("sandstorm-http-bridge-config", b"nonsense"));
    let message = assert_refused(&items, "bad-manifest");
    assert!(message.contains("sandstorm-http-bridge-config"), "{message}");
}

#[test]
fn programs_have_to_be_there_and_executable() {
    let with = |program: &str, mut items: Vec<Item>| {
        items.push(file("sandstorm-manifest", &manifest_starting(program)));
        items
    };
    let message = assert_refused(&with("/run", vec![]), "missing-executable");
    assert!(
        message.contains("continueCommand") && message.contains("\"/run\""),
        "{message}"
    );
    assert_refused(&with("/bin/run", vec![program("run", b"")]), "missing-executable");
    assert_refused(&with("run", vec![link("run", "/nowhere")]), "missing-executable");
    assert_refused(&with("run", vec![link("run", "run")]), "missing-executable");
    // What is on this machine is not in the package.
    assert_refused(&with("/run", vec![link("run", "/bin/sh")]), "missing-executable");
    assert_refused(&with("../../../../bin/sh", vec![]), "missing-executable");
    assert_refused(&with("/run", vec![file("run", b"")]), "not-executable");
    assert_refused(&with("/run", vec![folder("run", vec![])]), "not-executable");
    for (name, items) in [
        ("./run", vec![program("run", b"")]),
        ("run", vec![program("run", b"")]),
        (
            "/bin/run",
            vec![
                link("bin", "usr/bin"),
                folder("usr", vec![folder("bin", vec![program("run", b"")])]),
            ],
        ),
        (
            "/run",
            vec![
                link("run", "/opt/../real"),
                folder("opt", vec![]),
                program("real", b""),
            ],
        ),
    ] {
        let (_, result, _) = install(&spk_with(&with(name, items)));
        assert!(result.is_ok(), "{name}: {:?}", result.err());
    }
}

#[test]
fn the_program_of_every_offered_action_counts() {
    let mut message = Builder::new_default();
    let mut root: manifest::Builder<'_> = message.init_root();
    root.reborrow()
        .init_continue_command()
        .init_argv(1)
        .set(0, "/run");
    let mut actions = root.init_actions(2);
    actions
        .reborrow()
        .get(0)
        .init_command()
        .init_argv(1)
        .set(0, "/run");
    actions.get(1).init_command().init_argv(1).set(0, "/gone");
    let manifest = serialize::write_message_to_words(&message);
    let message = assert_refused(
        &[file("sandstorm-manifest", &manifest), program("run", b"")],
        "missing-executable",
    );
    assert!(message.contains("action 1"), "{message}");
}

#[test]
fn an_unsigned_change_leaves_nothing_behind() {
    let good = archive(&usable(), 1024);
    let mut changed = good.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let (staging, result, heard) = install(&spk_of(&signature(&good), &changed));
    assert_eq!(result.err().unwrap().code(), "bad-signature");
    assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
    assert!(
        heard.iter().all(|progress| progress.stage == Stage::Verify),
        "nothing was unpacked"
    );
}
