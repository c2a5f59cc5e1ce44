//! `init`: writes a package definition to start from.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};

use rand::TryRngCore;
use rand::rngs::OsRng;

use super::arguments::{Common, Init};
use super::{Failure, keys, report};
use crate::AppId;

pub(super) fn init(common: &Common, arguments: &Init) -> Result<(), Failure> {
    let path = &arguments.output;
    if path.symlink_metadata().is_ok() {
        return Err(Failure::Use(format!(
            "\"{}\" is there already: name another file with -o",
            path.display()
        )));
    }
    let app = match arguments.app_id {
        Some(app) => app,
        None => keys::make_key(common)?,
    };
    let failed = || Failure::io(format!("write the package definition \"{}\"", path.display()));
    let mut file = File::create_new(path).map_err(failed())?;
    file.write_all(definition(arguments, app, random_id()?).as_bytes())
        .map_err(failed())?;
    report::note(
        common,
        &format!("wrote \"{}\"; edit it, then run `spk pack`", path.display()),
    );
    writeln!(io::stdout(), "{app}").map_err(Failure::io("write the answer"))
}

/// Every schema file has a random id with the highest bit set.
fn random_id() -> Result<u64, Failure> {
    let random = OsRng.try_next_u64();
    let random =
        random.map_err(|error| Failure::Use(format!("cannot get random bytes from the system: {error}")))?;
    Ok(random | 1 << 63)
}

fn definition(arguments: &Init, app: AppId, id: u64) -> String {
    let mut argv = Vec::new();
    if let Some(port) = arguments.port {
        argv.extend([
            "/sandstorm-http-bridge".to_owned(),
            port.to_string(),
            "--".to_owned(),
        ]);
    }
    argv.extend(arguments.command.iter().cloned());
    let argv: Vec<String> = argv.iter().map(|argument| quoted(argument)).collect();
    let bridge = if arguments.port.is_some() {
        BRIDGE_CONFIG
    } else {
        ""
    };
    let always_include = if arguments.include_all { "\".\"" } else { "" };
    TEMPLATE
        .replace("@@ID@@", &format!("{id:016x}"))
        .replace("@@APP@@", &app.to_string())
        .replace("@@SEARCH_PATH@@", &search_path(&arguments.source_paths))
        .replace("@@ALWAYS_INCLUDE@@", always_include)
        .replace("@@BRIDGE_CONFIG@@", bridge)
        .replace("@@ARGV@@", &argv.join(", "))
}

fn search_path(source_paths: &[String]) -> String {
    if source_paths.is_empty() {
        return USUAL_SEARCH_PATH.to_owned();
    }
    let mappings: Vec<String> = source_paths
        .iter()
        .map(|path| format!("      ( sourcePath = {} )", quoted(path)))
        .collect();
    mappings.join(",\n")
}

/// Writes a Cap'n Proto text literal.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            // Writing to a string does not fail.
            control if control.is_ascii_control() => drop(write!(literal, "\\x{:02x}", u32::from(control))),
            plain => literal.push(plain),
        }
    }
    literal.push('"');
    literal
}

const USUAL_SEARCH_PATH: &str = r#"      ( sourcePath = "." ),
      ( sourcePath = "/",
        hidePaths = [ "home", "proc", "sys",
                      "etc/passwd", "etc/hosts", "etc/host.conf",
                      "etc/nsswitch.conf", "etc/resolv.conf" ] )"#;

const BRIDGE_CONFIG: &str = r#"
  bridgeConfig = (
    # What people can be allowed to do. The app reads it from the header X-Sandstorm-Permissions.
    #viewInfo = (
    #  permissions = [
    #    ( name = "edit", title = (defaultText = "edit"),
    #      description = (defaultText = "change things") )
    #  ],
    #  roles = [
    #    ( title = (defaultText = "editor"), verbPhrase = (defaultText = "can edit"),
    #      permissions = [true], default = true ),
    #    ( title = (defaultText = "viewer"), verbPhrase = (defaultText = "can view"),
    #      permissions = [false] )
    #  ]
    #),
    # Requests from programs rather than browsers go to paths below this one.
    #apiPath = "/"
  ),"#;

const TEMPLATE: &str = r#"@0x@@ID@@;
# What goes into the package of this app. `spk pack FILE` packs it.

using Spk = import "/sandstorm/package.capnp";

const pkgdef :Spk.PackageDefinition = (
  # The app's identity: the public half of its key. The secret half is on your keyring.
  id = "@@APP@@",

  manifest = (
    appTitle = (defaultText = "Example App"),
    # Raise this number with every release.
    appVersion = 0,
    appMarketingVersion = (defaultText = "0.0.0"),

    actions = [
      # What a person can create with the app: "New document".
      ( nounPhrase = (defaultText = "document"),
        command = .command )
    ],
    # How a document that exists already is started.
    continueCommand = .command,

    metadata = (
      # What people see before they install the app.
      #icons = (
      #  appGrid = (svg = embed "icons/app-128.svg"),
      #  grain = (svg = embed "icons/app-24.svg"),
      #  market = (svg = embed "icons/app-150.svg")
      #),
      #website = "https://example.com",
      #codeUrl = "https://example.com/source",
      #license = (openSource = apache2),
      #categories = [productivity],
      #author = (contactEmail = "you@example.com"),
      #shortDescription = (defaultText = "one line"),
      #description = (defaultText = embed "description.md")
    )
  ),

  # Where files come from: the first folder that has a file is taken.
  sourceMap = (
    searchPath = [
@@SEARCH_PATH@@
    ]
  ),

  # Which files are packed: those in this list, one path in a line, without a leading slash …
  #fileList = "sandstorm-files.list",
  # … and these, folders with everything in them.
  alwaysInclude = [@@ALWAYS_INCLUDE@@],
@@BRIDGE_CONFIG@@
);

const command :Spk.Manifest.Command = (
  argv = [@@ARGV@@],
  environ = [
    # The whole environment of the app.
    (key = "PATH", value = "/usr/local/bin:/usr/bin:/bin"),
    (key = "SANDSTORM", value = "1")
  ]
);
"#;
