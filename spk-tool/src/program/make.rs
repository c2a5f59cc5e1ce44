//! `pack`.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use super::arguments::{Common, Pack};
use super::report::{self, Meter};
use super::{Failure, keys};
use crate::definition::{Definition, evaluate};
use crate::error::SpkError;
use crate::limits::Limits;
use crate::manifest::check_commands;
use crate::pack::{self, Options, Progress};
use crate::replacements;
use crate::source::{Wanted, collect};

const BRIDGE: &str = "sandstorm-http-bridge";

pub(super) fn pack(common: &Common, arguments: &Pack) -> Result<(), Failure> {
    let definition = evaluate(&arguments.definition, &arguments.import_paths)?;
    let keyring = keys::open(common)?;
    // The app may have got a new key since the definition was written.
    let key = keyring.find(replacements::signing_key(definition.app_id))?;
    let bridge = match definition.bridge_config {
        Some(_) => Some(find_bridge(arguments)?),
        None => None,
    };
    let wanted = Wanted {
        output: Some(arguments.output.clone()),
        ..wanted(&definition, bridge)
    };
    let collection = collect(&wanted, &Limits::default())?;
    for warning in &collection.warnings {
        report::note(common, &format!("warning: {warning}"));
    }
    match check_commands(&collection, &definition.manifest) {
        Ok(()) => {}
        // Said, not enforced: the author may be testing just that.
        Err(error @ (SpkError::MissingExecutable { .. } | SpkError::NotExecutable { .. })) => {
            report::note(
                common,
                &format!("warning: servers will refuse this package: {error}"),
            );
        }
        Err(error) => return Err(error.into()),
    }

    let options = Options {
        level: arguments.level,
        threads: arguments.threads.unwrap_or(Options::default().threads),
    };
    let mut meter = Meter::new(common);
    let packed = pack::pack(
        &collection,
        key,
        &arguments.output,
        options,
        &mut |progress| match progress {
            Progress::Hash(done, total) => meter.show("reading", done, Some(total)),
            Progress::Compress(done, total) => meter.show("packing", done, Some(total)),
        },
    )?;
    drop(meter);

    let app = replacements::canonical(packed.signer);
    report::note(
        common,
        &format!(
            "\"{}\" has {} (unpacked {}) and the package id {}",
            arguments.output.display(),
            report::bytes(packed.size),
            report::bytes(packed.archive),
            packed.package_id
        ),
    );
    let answer = if arguments.json {
        serde_json::json!({ "appId": app, "packageId": packed.package_id, "size": packed.size }).to_string()
    } else {
        app.to_string()
    };
    writeln!(io::stdout(), "{answer}").map_err(Failure::io("write the answer"))
}

fn wanted(definition: &Definition, bridge: Option<PathBuf>) -> Wanted {
    Wanted {
        search_path: definition.search_path.clone(),
        file_list: definition.file_list.clone(),
        always_include: definition.always_include.clone(),
        manifest: definition.manifest_message.clone(),
        bridge_config: definition.bridge_config.clone(),
        bridge,
        output: None,
        modified: definition.modified,
    }
}

fn find_bridge(arguments: &Pack) -> Result<PathBuf, Failure> {
    if let Some(bridge) = &arguments.bridge {
        return Ok(bridge.clone());
    }
    let beside = env::current_exe()
        .ok()
        .map(|program| program.with_file_name(BRIDGE));
    beside.filter(|bridge| bridge.is_file()).ok_or_else(|| {
        Failure::Use(format!(
            "the app uses the HTTP bridge, and there is no \"{BRIDGE}\" beside this program: \
             name one with --bridge or in PERCLOUD_HTTP_BRIDGE"
        ))
    })
}
