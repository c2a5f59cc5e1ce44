//! `verify` and `unpack`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Failure;
use super::arguments::{Common, Unpack, Verify};
use super::report::{self, Meter};
use crate::error::printable;
use crate::install::{Description, read_description};
use crate::limits::Limits;
use crate::manifest::{AuthorProof, License, LocalizedText, Metadata, check_commands};
use crate::sandbox::Sandbox;
use crate::unpack::{Access, unpack as unpack_tree};
use crate::verify::{VerifiedSpk, verify as verify_spk};
use crate::{AppId, PackageId};

pub(super) fn unpack(common: &Common, arguments: &Unpack) -> Result<(), Failure> {
    let folder = match (&arguments.folder, is_stdin(&arguments.package)) {
        (Some(folder), _) => folder.clone(),
        (None, true) => {
            return Err(Failure::Use(
                "name the folder to unpack standard input into".to_owned(),
            ));
        }
        (None, false) => usual_folder(&arguments.package)?,
    };
    if folder.symlink_metadata().is_ok() {
        // Said before the work is done; the unpacking itself makes sure.
        return Err(crate::SpkError::Exists {
            path: printable(folder.as_os_str().as_encoded_bytes()),
        }
        .into());
    }
    // Beside the result, where there has to be room for it anyway.
    let scratch = folder
        .parent()
        .filter(|parent| *parent != Path::new(""))
        .unwrap_or(Path::new("."));
    let spk = read(common, &arguments.package, scratch)?;
    let total = spk.contents().bytes;
    let mut meter = Meter::new(common);
    unpack_tree(&spk, &folder, Access::Umask, &mut |done| {
        meter.show("unpacking", done, Some(total))
    })?;
    drop(meter);
    let answer = if arguments.json {
        let folder = folder.to_string_lossy();
        serde_json::json!({ "appId": spk.app_id(), "packageId": spk.package_id(), "folder": folder })
            .to_string()
    } else {
        spk.app_id().to_string()
    };
    writeln!(io::stdout(), "{answer}").map_err(Failure::io("write the answer"))
}

pub(super) fn verify(common: &Common, arguments: &Verify) -> Result<(), Failure> {
    let spk = read(common, &arguments.package, &std::env::temp_dir())?;
    let description = read_description(&spk)?;
    check_commands(spk.archive(), &description.manifest)?;
    let mut output = io::stdout().lock();
    let written = if arguments.json {
        let info = VerifiedInfo::new(&spk, &description);
        let json = serde_json::to_string_pretty(&info).map_err(io::Error::from);
        json.and_then(|json| writeln!(output, "{json}"))
    } else {
        write!(output, "{}", describe(&spk, &description, arguments.details))
    };
    written.map_err(Failure::io("write the answer"))
}

fn read(common: &Common, package: &Path, scratch: &Path) -> Result<VerifiedSpk, Failure> {
    let mut meter = Meter::new(common);
    let (spk, total): (Box<dyn Read>, _) = if is_stdin(package) {
        (Box::new(io::stdin().lock()), None)
    } else {
        let unreadable = Failure::io(format!("read the package \"{}\"", package.display()));
        let opened =
            File::open(package).and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        let (file, length) = opened.map_err(unreadable)?;
        (Box::new(file), Some(length))
    };
    Ok(verify_spk(spk, scratch, &Limits::default(), &mut |done| {
        meter.show("checking", done, total)
    })?)
}

fn is_stdin(package: &Path) -> bool {
    package.as_os_str() == OsStr::new("-")
}

fn usual_folder(package: &Path) -> Result<PathBuf, Failure> {
    match package.extension() {
        Some(extension) if extension == "spk" => Ok(package.with_extension("")),
        _ => Err(Failure::Use(
            "the package's name does not end in .spk: name the folder to unpack it into".to_owned(),
        )),
    }
}

/// `VerifiedInfo` of `package.capnp`, in JSON, and what else is worth knowing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerifiedInfo<'a> {
    app_id: AppId,
    package_id: PackageId,
    title: &'a LocalizedText,
    version: u32,
    marketing_version: &'a LocalizedText,
    /// Always null: signatures of authors are not checked.
    author_pgp_key_fingerprint: Option<&'a str>,
    metadata: &'a Metadata,
    signer: AppId,
    size: u64,
    unpacked_size: u64,
    files: u64,
    uses_bridge: bool,
    sandbox: Sandbox,
    actions: Vec<&'a LocalizedText>,
}

impl<'a> VerifiedInfo<'a> {
    fn new(spk: &VerifiedSpk, description: &'a Description) -> Self {
        let manifest = &description.manifest;
        Self {
            app_id: spk.app_id(),
            package_id: spk.package_id(),
            title: &manifest.app_title,
            version: manifest.app_version,
            marketing_version: &manifest.app_marketing_version,
            author_pgp_key_fingerprint: None,
            metadata: &manifest.metadata,
            signer: spk.signer(),
            size: spk.size(),
            unpacked_size: spk.contents().bytes,
            files: spk.contents().files,
            uses_bridge: manifest.uses_bridge,
            sandbox: description.sandbox,
            actions: manifest
                .actions
                .iter()
                .filter_map(|action| action.label())
                .collect(),
        }
    }
}

/// Describes a package for people.
fn describe(spk: &VerifiedSpk, description: &Description, in_full: bool) -> String {
    use std::fmt::Write;
    let manifest = &description.manifest;
    let metadata = &manifest.metadata;
    let mut text = format!(
        "{} {} (version {})\n\n",
        line(&manifest.app_title.default_text),
        line(&manifest.app_marketing_version.default_text),
        manifest.app_version
    );
    let mut row = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<14}{}", line(value));
    };
    row("app id", &spk.app_id().to_string());
    if spk.signer() != spk.app_id() {
        row("signed with", &spk.signer().to_string());
    }
    row("package id", &spk.package_id().to_string());
    row("signature", "valid");
    let contents = spk.contents();
    let unpacked = report::bytes(contents.bytes);
    row(
        "size",
        &format!(
            "{} ({unpacked} in {} files)",
            report::bytes(spk.size()),
            contents.files
        ),
    );
    row("licence", license_title(&metadata.license));
    let proof = match metadata.author.proof {
        AuthorProof::None => "",
        AuthorProof::Unverified => " (OpenPGP signature not checked)",
    };
    if let Some(author) = &metadata.author.upstream_author {
        row("written by", author);
    }
    if let Some(email) = &metadata.author.contact_email {
        row("packaged by", &format!("{email}{proof}"));
    }
    if let Some(website) = &metadata.website {
        row("website", website);
    }
    if let Some(code) = &metadata.code_url {
        row("source", code);
    }
    if !metadata.categories.is_empty() {
        row("categories", &metadata.categories.join(", "));
    }
    row(
        "speaks",
        if manifest.uses_bridge {
            "HTTP, through the bridge in the package"
        } else {
            "Cap'n Proto"
        },
    );
    row(
        "system calls",
        match description.sandbox {
            Sandbox::Sandstorm => "Sandstorm's rules",
            Sandbox::Native => "Percloud's rules: no more than native apps need",
        },
    );
    for action in manifest.actions.iter().filter(|action| action.input_none) {
        row(
            "makes",
            action.label().map_or("(unnamed)", |label| &label.default_text),
        );
    }
    for role in description
        .bridge
        .iter()
        .flat_map(|bridge| &bridge.roles)
        .filter(|role| !role.obsolete)
    {
        row("role", &role.title.default_text);
    }
    if let Some(short) = &metadata.short_description {
        let _ = writeln!(text, "\n{}", line(&short.default_text));
    }
    if let Some(long) = metadata.description.as_ref().filter(|_| in_full) {
        let _ = writeln!(
            text,
            "\n{}",
            long.default_text.lines().map(line).collect::<Vec<_>>().join("\n")
        );
    }
    text
}

fn license_title(license: &License) -> &str {
    match license {
        License::None => "none given",
        License::OpenSource { title, .. } => title,
        License::Proprietary { .. } => "proprietary: its terms have to be accepted",
        License::PublicDomain { .. } => "public domain",
    }
}

/// Makes a package's text safe for a terminal.
fn line(text: &str) -> String {
    printable(text.as_bytes())
}
