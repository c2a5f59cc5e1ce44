use std::fs;

use super::*;
use crate::crafted::key;

const GOOD: &str = r#"@0xb8e3c1f0a7d64e21;
using Spk = import "/sandstorm/package.capnp";
using Shared = import "shared.capnp";

const pkgdef :Spk.PackageDefinition = (
  id = "APP_ID",
  manifest = (
    appTitle = (defaultText = "Notes", localizations = [(locale = "de", text = "Notizen")]),
    appVersion = 7,
    appMarketingVersion = (defaultText = "1.2"),
    actions = [(nounPhrase = (defaultText = "notebook"), command = .run)],
    continueCommand = .run,
    metadata = (
      icons = (appGrid = (svg = embed "icon.svg")),
      license = (openSource = mit),
      categories = [office]
    )
  ),
  sourceMap = (searchPath = [
    (packagePath = "opt/app", sourcePath = "build"),
    (sourcePath = "/", hidePaths = ["home", "etc/passwd"])
  ]),
  fileList = "files.list",
  alwaysInclude = ["opt/app", "usr/share"],
  bridgeConfig = (viewInfo = (permissions = [(name = "edit")]), apiPath = "/api/")
);

const run :Spk.Manifest.Command = (
  argv = ["/sandstorm-http-bridge", "8000", "--", Shared.program],
  environ = [(key = "PATH", value = "/usr/bin")]
);

const number :UInt32 = 5;
"#;

const SHARED: &str = "@0xb8e3c1f0a7d64e22;\nconst program :Text = \"/opt/app/run\";\n";

fn app_id() -> AppId {
    AppId(key().verifying_key().to_bytes())
}

fn evaluated(text: &str, constant: &str) -> (tempfile::TempDir, Result<Definition, DefinitionError>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandstorm-pkgdef.capnp");
    fs::write(&file, text.replace("APP_ID", &app_id().to_string())).unwrap();
    fs::write(folder.path().join("shared.capnp"), SHARED).unwrap();
    fs::write(folder.path().join("icon.svg"), "<svg/>").unwrap();
    let location = Location {
        file,
        constant: constant.to_owned(),
    };
    let definition = evaluate(&location, &[]);
    (folder, definition)
}

#[track_caller]
fn assert_wrong(from: &str, to: &str, expected: &str) {
    let text = GOOD.replacen(from, to, 1);
    assert_ne!(text, GOOD, "there is something to replace");
    let error = evaluated(&text, "pkgdef").1.expect_err("it has to be refused");
    let message = error.to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_real_definition_is_evaluated() {
    let (folder, definition) = evaluated(GOOD, "pkgdef");
    let definition = definition.unwrap();
    assert_eq!(definition.app_id, app_id());
    assert_eq!(definition.manifest.app_title.localizations[0].text, "Notizen");
    assert_eq!(definition.manifest.app_version, 7);
    assert_eq!(
        definition.manifest.continue_command.argv[3], "/opt/app/run",
        "constants of other files are known"
    );
    assert!(definition.manifest.uses_bridge);
    let (_, icons) = parse(&definition.manifest_message).unwrap();
    assert_eq!(
        icons.app_grid,
        Some(crate::manifest::Icon::Svg(b"<svg/>".to_vec())),
        "files are embedded"
    );
    let path = |path: &str| path.parse::<PackagePath>().unwrap();
    let expected = [
        Mapping {
            at: path("opt/app"),
            from: folder.path().join("build"),
            hide: vec![],
        },
        Mapping {
            at: path(""),
            from: "/".into(),
            hide: vec![path("home"), path("etc/passwd")],
        },
    ];
    assert_eq!(definition.search_path, expected);
    assert_eq!(definition.file_list, Some(folder.path().join("files.list")));
    assert_eq!(definition.always_include, [path("opt/app"), path("usr/share")]);
    let bridge = crate::bridge_config::parse(&definition.bridge_config.unwrap()).unwrap();
    assert_eq!(bridge.permissions[0].name, "edit");
    assert!(bridge.has_api);
}

#[test]
fn the_bridge_gets_a_configuration_even_if_none_is_written() {
    let start = GOOD.find("  bridgeConfig").unwrap();
    let end = start + GOOD[start..].find('\n').unwrap();
    let without = format!("{}{}", &GOOD[..start], &GOOD[end..]);
    let definition = evaluated(&without, "pkgdef").1.unwrap();
    assert!(
        !crate::bridge_config::parse(&definition.bridge_config.unwrap())
            .unwrap()
            .has_api
    );
    let raw = without.replace("\"/sandstorm-http-bridge\", \"8000\", \"--\", ", "");
    assert!(evaluated(&raw, "pkgdef").1.unwrap().bridge_config.is_none());
}

#[test]
fn mistakes_are_named() {
    assert_wrong("APP_ID", "not-an-id", "`id` that is not an app id");
    assert_wrong(
        "appTitle = (defaultText = \"Notes\"",
        "appTitle = (defaultText = \"\"",
        "no `appTitle`",
    );
    assert_wrong(
        "appMarketingVersion = (defaultText = \"1.2\"),",
        "",
        "no `appMarketingVersion`",
    );
    assert_wrong(
        "appVersion = 7",
        "appVersion = 7, minApiVersion = 1, maxApiVersion = 1",
        "above 0",
    );
    assert_wrong("appVersion = 7", "appVersion = 7, minApiVersion = 1", "above its");
    assert_wrong(
        "license =",
        "website = \"ftp://example.com\", license =",
        "`website`",
    );
    assert_wrong("\"usr/share\"", "\"/usr/share\"", "begins with a slash");
    assert_wrong("\"etc/passwd\"", "\"../etc\"", "\"..\"");
    assert_wrong("continueCommand = .run,", "", "no server would take");
}

#[test]
fn constants_are_told_apart() {
    let error = evaluated(GOOD, "nothing").1.err().unwrap();
    assert!(error.to_string().contains("no such constant"), "{error}");
    let error = evaluated(GOOD, "number").1.err().unwrap();
    assert!(error.to_string().contains("another type"), "{error}");
    let error = evaluated(GOOD, "run").1.err().unwrap();
    assert!(error.to_string().contains("another type"), "{error}");
}

#[test]
fn schemas_with_mistakes_are_left_to_the_compiler() {
    let error = evaluated("@0xb8e3c1f0a7d64e21;\nconst pkgdef :Nothing = 1;\n", "pkgdef")
        .1
        .err()
        .unwrap();
    assert!(matches!(error, DefinitionError::Compile { .. }), "{error}");
    let missing = Location {
        file: "/nonexistent/pkgdef.capnp".into(),
        ..Location::default()
    };
    let error = evaluate(&missing, &[]).err().unwrap();
    assert!(matches!(error, DefinitionError::Read { .. }), "{error}");
}

#[test]
fn own_schemas_come_first() {
    let own = tempfile::tempdir().unwrap();
    fs::write(
        own.path().join("mine.capnp"),
        "@0xb8e3c1f0a7d64e23;\nconst title :Text = \"Mine\";\n",
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.capnp");
    let text = GOOD
        .replace("APP_ID", &app_id().to_string())
        .replace(
            "using Shared = import \"shared.capnp\";",
            "using Mine = import \"/mine.capnp\";",
        )
        .replace("Shared.program", "Mine.title")
        .replace("svg = embed \"icon.svg\"", "svg = \"<svg/>\"");
    fs::write(&file, text).unwrap();
    let location = Location {
        file,
        ..Location::default()
    };
    let definition = evaluate(&location, &[own.path().to_owned()]).unwrap();
    assert_eq!(definition.manifest.continue_command.argv[3], "Mine");
}

#[test]
fn locations_have_a_file_and_a_constant() {
    let location = |text: &str| text.parse::<Location>().unwrap().to_string();
    assert_eq!(location("a/b.capnp:c"), "a/b.capnp:c");
    assert_eq!(location("b.capnp"), "b.capnp:pkgdef");
    assert_eq!(location(":c"), "sandstorm-pkgdef.capnp:c");
    assert_eq!(location("b.capnp:"), "b.capnp:pkgdef");
}
