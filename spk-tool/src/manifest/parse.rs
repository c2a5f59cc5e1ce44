//! Reads a `Manifest` message into plain values.

use capnp::message::{Reader, ReaderOptions};
use capnp::serialize::{self, OwnedSegments};
use capnp::{text, text_list};
use percloud_schemas::package_capnp::{Category, OpenSourceLicense, manifest, metadata};
use percloud_schemas::util_capnp::{key_value, localized_text};

use super::{
    Action, Author, AuthorProof, Command, FILE_NAME, Icon, Icons, License, Localization, LocalizedText,
    Manifest, Metadata, Variable,
};
use crate::error::SpkError;

/// 8 MiB, in words: `Manifest.sizeLimitInWords`.
const TRAVERSAL_LIMIT: usize = 1 << 20;
const MOST_ACTIONS: u32 = 256;
const MOST_LOCALIZATIONS: u32 = 64;
/// Bytes of all arguments and variables of one command; what Linux lets a program be started with is in this order.
const LARGEST_COMMAND: usize = 256 << 10;
/// Bytes of all commands together.
const LARGEST_COMMANDS: usize = 1 << 20;
/// Sandstorm recommends 64 kB, four times that for SVG; nothing enforces it there.
const LARGEST_ICON: usize = 1 << 20;

/// Bytes after which texts for people are cut.
pub(crate) const TITLE: usize = 512;
const SENTENCE: usize = 2 << 10;
const PROSE: usize = 64 << 10;

/// Programs that are the bridge.
const BRIDGE_PATHS: [&str; 3] = [
    "/sandstorm-http-bridge",
    "./sandstorm-http-bridge",
    "sandstorm-http-bridge",
];

/// Reads the bytes of a package's `sandstorm-manifest`.
///
/// # Errors
/// Refuses what is not a manifest, what cannot be continued, and commands that no system could start.
pub fn parse(bytes: &[u8]) -> Result<(Manifest, Icons), SpkError> {
    let message = read_message(bytes, FILE_NAME)?;
    let manifest: manifest::Reader<'_> = message.get_root().map_err(wrong_shape)?;
    let (mut manifest, icons) = read_manifest(manifest)?;
    manifest
        .actions
        .retain(|action| !action.command.argv.is_empty() || action.input_none);
    Ok((manifest, icons))
}

/// Opens a message with the limits of a manifest.
pub(crate) fn read_message(bytes: &[u8], file: &'static str) -> Result<Reader<OwnedSegments>, SpkError> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(TRAVERSAL_LIMIT));
    // Copies, since words have to be aligned and bytes from a file need not be.
    serialize::read_message(bytes, options).map_err(|error| SpkError::BadManifest {
        file,
        reason: error.to_string(),
    })
}

fn read_manifest(manifest: manifest::Reader<'_>) -> Result<(Manifest, Icons), SpkError> {
    if !manifest.has_continue_command() {
        return Err(SpkError::NoContinueCommand);
    }
    let mut room = LARGEST_COMMANDS;
    let continue_command = read_command(
        "continueCommand",
        manifest.get_continue_command().map_err(wrong_shape)?,
        &mut room,
    )?;
    if continue_command.argv.is_empty() {
        return Err(SpkError::NoContinueCommand);
    }
    let actions = manifest.get_actions().map_err(wrong_shape)?;
    if actions.len() > MOST_ACTIONS {
        return Err(refused(format!("it has more than {MOST_ACTIONS} actions")));
    }
    let actions: Vec<Action> = (0..actions.len())
        .map(|index| read_action(index, actions.get(index), &mut room))
        .collect::<Result<_, _>>()?;
    let (metadata, icons) = read_metadata(manifest.get_metadata().map_err(wrong_shape)?)?;
    let mut app_title = required(manifest.get_app_title(), TITLE)?;
    if app_title.default_text.is_empty() {
        // Manifests older than app titles name only what they make.
        app_title = actions
            .iter()
            .find_map(Action::label)
            .cloned()
            .unwrap_or_default();
    }
    let manifest = Manifest {
        app_title,
        app_version: manifest.get_app_version(),
        app_marketing_version: required(manifest.get_app_marketing_version(), TITLE)?,
        uses_bridge: is_bridge(&continue_command),
        actions,
        continue_command,
        metadata,
    };
    Ok((manifest, icons))
}

/// Tells whether a command starts the HTTP bridge.
pub(crate) fn is_bridge(command: &Command) -> bool {
    command
        .argv
        .first()
        .is_some_and(|program| BRIDGE_PATHS.contains(&program.as_str()))
}

fn read_action(
    index: u32,
    action: manifest::action::Reader<'_>,
    room: &mut usize,
) -> Result<Action, SpkError> {
    let input_none = matches!(
        action.get_input().which(),
        Ok(manifest::action::input::Which::None(()))
    );
    let what = format!("action {index}");
    let command = read_command(&what, action.get_command().map_err(wrong_shape)?, room)?;
    if input_none && command.argv.is_empty() {
        return Err(refused(format!("{what} has no command")));
    }
    let noun_phrase = action.has_noun_phrase().then(|| action.get_noun_phrase());
    let title = action.has_title().then(|| action.get_title());
    let description = action.has_description().then(|| action.get_description());
    Ok(Action {
        index,
        input_none,
        noun_phrase: optional(noun_phrase, TITLE)?,
        title: optional(title, TITLE)?,
        description: optional(description, SENTENCE)?,
        command,
    })
}

fn read_command(
    what: &str,
    command: manifest::command::Reader<'_>,
    room: &mut usize,
) -> Result<Command, SpkError> {
    let mut read = Command::default();
    let mut size = 0;
    if command.has_deprecated_executable_path() {
        let path = command.get_deprecated_executable_path().map_err(wrong_shape)?;
        read.argv.push(system_text(what, path, &mut size)?);
    }
    let argv: text_list::Reader<'_> = command.get_argv().map_err(wrong_shape)?;
    for argument in argv {
        read.argv
            .push(system_text(what, argument.map_err(wrong_shape)?, &mut size)?);
    }
    for variable in command.get_environ().map_err(wrong_shape)? {
        read.environ.push(read_variable(what, variable, &mut size)?);
    }
    if read.argv.first().is_some_and(String::is_empty) {
        return Err(refused(format!("the program of {what} has an empty path")));
    }
    *room = room
        .checked_sub(size)
        .ok_or_else(|| refused("its commands are too large".to_owned()))?;
    Ok(read)
}

fn read_variable(
    what: &str,
    variable: key_value::Reader<'_>,
    size: &mut usize,
) -> Result<Variable, SpkError> {
    let key = system_text(what, variable.get_key().map_err(wrong_shape)?, size)?;
    let value = system_text(what, variable.get_value().map_err(wrong_shape)?, size)?;
    if key.is_empty() || key.contains('=') {
        return Err(refused(format!(
            "the environment of {what} has a variable without a proper name"
        )));
    }
    Ok(Variable { key, value })
}

/// Reads text that the kernel will be handed.
fn system_text(what: &str, text: text::Reader<'_>, size: &mut usize) -> Result<String, SpkError> {
    // The kernel counts the final NUL and a pointer for each.
    *size += text.len() + 9;
    if *size > LARGEST_COMMAND {
        return Err(refused(format!("{what} is larger than {LARGEST_COMMAND} bytes")));
    }
    let text = text
        .to_str()
        .map_err(|_| refused(format!("{what} is not UTF-8")))?;
    if text.contains('\0') {
        return Err(refused(format!("{what} holds a NUL")));
    }
    Ok(text.to_owned())
}

fn read_metadata(metadata: metadata::Reader<'_>) -> Result<(Metadata, Icons), SpkError> {
    let license = metadata.get_license();
    let notices = license.has_notices().then(|| license.get_notices());
    let author = metadata.get_author();
    let short_description = metadata
        .has_short_description()
        .then(|| metadata.get_short_description());
    let description = metadata.has_description().then(|| metadata.get_description());
    let change_log = metadata.has_change_log().then(|| metadata.get_change_log());
    let read = Metadata {
        website: web_address(metadata.get_website().map_err(wrong_shape)?),
        code_url: web_address(metadata.get_code_url().map_err(wrong_shape)?),
        license: read_license(license)?,
        license_notices: optional(notices, PROSE)?,
        categories: read_categories(metadata)?,
        author: Author {
            upstream_author: some_text(author.get_upstream_author().map_err(wrong_shape)?),
            contact_email: some_text(author.get_contact_email().map_err(wrong_shape)?),
            proof: if author.has_pgp_signature() {
                AuthorProof::Unverified
            } else {
                AuthorProof::None
            },
        },
        short_description: optional(short_description, SENTENCE)?,
        description: optional(description, PROSE)?,
        change_log: optional(change_log, PROSE)?,
    };
    let icons = metadata.get_icons();
    let icons = Icons {
        app_grid: read_icon(icons.get_app_grid())?,
        grain: read_icon(icons.get_grain())?,
        market: read_icon(icons.get_market())?,
        market_big: read_icon(icons.get_market_big())?,
    };
    Ok((read, icons))
}

fn read_license(license: metadata::license::Reader<'_>) -> Result<License, SpkError> {
    use metadata::license::Which;
    Ok(match license.which() {
        Ok(Which::OpenSource(Ok(license))) => open_source(license),
        Ok(Which::Proprietary(text)) => License::Proprietary {
            text: required(text, PROSE)?,
        },
        Ok(Which::PublicDomain(text)) => License::PublicDomain {
            text: required(text, PROSE)?,
        },
        // A licence newer than this list is not wrong, only unknown.
        Ok(Which::None(()) | Which::OpenSource(Err(_))) | Err(_) => License::None,
    })
}

/// The `osiInfo` annotations (sheet section 1.6).
fn open_source(license: OpenSourceLicense) -> License {
    use OpenSourceLicense as L;
    let (id, title, require_source) = match license {
        L::Invalid => return License::None,
        L::Mit => ("MIT", "MIT License", false),
        L::Apache2 => ("Apache-2.0", "Apache License v2", false),
        L::Gpl3 => ("GPL-3.0", "GNU GPL v3", true),
        L::Agpl3 => ("AGPL-3.0", "GNU AGPL v3", true),
        L::Bsd3Clause => ("BSD-3-Clause", "BSD 3-Clause", false),
        L::Bsd2Clause => ("BSD-2-Clause", "BSD 2-Clause", false),
        L::Gpl2 => ("GPL-2.0", "GNU GPL v2", true),
        L::Lgpl2 => ("LGPL-2.1", "GNU LGPL v2.1", true),
        L::Lgpl3 => ("LGPL-3.0", "GNU LGPL v3", true),
        L::Isc => ("ISC", "ISC License", false),
        L::Artistic2 => ("Artistic-2.0", "Artistic License v2", false),
        L::Python2 => ("Python-2.0", "Python License v2", false),
        L::Php3 => ("PHP-3.0", "PHP License v3", false),
        L::Mpl2 => ("MPL-2.0", "Mozilla Public License v2", true),
        L::Cddl => ("CDDL-1.0", "CDDL", true),
        L::Epl => ("EPL-1.0", "Eclipse Public License", true),
        L::Cpal => ("CPAL-1.0", "Common Public Attribution License", true),
        L::Zlib => ("Zlib", "Zlib/libpng License", false),
    };
    License::OpenSource {
        id: id.to_owned(),
        title: title.to_owned(),
        require_source,
    }
}

fn read_categories(metadata: metadata::Reader<'_>) -> Result<Vec<String>, SpkError> {
    const MOST: usize = 16;
    let categories = metadata.get_categories().map_err(wrong_shape)?;
    let known = categories.iter().filter_map(Result::ok).take(MOST);
    Ok(known.map(|category| category_word(category).to_owned()).collect())
}

fn category_word(category: Category) -> &'static str {
    match category {
        Category::Other => "other",
        Category::Productivity => "productivity",
        Category::Communications => "communications",
        Category::Social => "social",
        Category::WebPublishing => "webPublishing",
        Category::Office => "office",
        Category::DeveloperTools => "developerTools",
        Category::Science => "science",
        Category::Media => "media",
        Category::Games => "games",
        Category::Graphics => "graphics",
    }
}

/// Reads a picture; one that is too large or not what it says is left out, as the app works without it.
fn read_icon(icon: capnp::Result<metadata::icon::Reader<'_>>) -> Result<Option<Icon>, SpkError> {
    use metadata::icon::Which;
    let icon = match icon.map_err(wrong_shape)?.which() {
        Ok(Which::Svg(text)) => Some(Icon::Svg(text.map_err(wrong_shape)?.as_bytes().to_vec())),
        Ok(Which::Png(png)) => {
            let single = png.get_dpi1x().map_err(wrong_shape)?;
            let double = png.get_dpi2x().map_err(wrong_shape)?;
            match (is_png(single), is_png(double)) {
                (true, double_fits) => Some(Icon::Png {
                    single: single.to_vec(),
                    double: double_fits.then(|| double.to_vec()),
                }),
                (false, true) => Some(Icon::Png {
                    single: double.to_vec(),
                    double: None,
                }),
                (false, false) => None,
            }
        }
        Ok(Which::Unknown(())) | Err(_) => None,
    };
    Ok(icon.filter(|icon| !matches!(icon, Icon::Svg(text) if text.is_empty() || text.len() > LARGEST_ICON)))
}

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() <= LARGEST_ICON
}

fn optional(
    text: Option<capnp::Result<localized_text::Reader<'_>>>,
    most: usize,
) -> Result<Option<LocalizedText>, SpkError> {
    let Some(text) = text else { return Ok(None) };
    let text = text.and_then(|text| localized(text, most)).map_err(wrong_shape)?;
    Ok((text != LocalizedText::default()).then_some(text))
}

fn required(text: capnp::Result<localized_text::Reader<'_>>, most: usize) -> Result<LocalizedText, SpkError> {
    text.and_then(|text| localized(text, most)).map_err(wrong_shape)
}

/// Reads a text for people, each language cut to `most` bytes.
pub(crate) fn localized(text: localized_text::Reader<'_>, most: usize) -> capnp::Result<LocalizedText> {
    let default_text = cut(text.get_default_text()?, most);
    let localizations = text.get_localizations()?;
    let mut read = Vec::new();
    for localization in localizations.iter().take(MOST_LOCALIZATIONS as usize) {
        read.push(Localization {
            locale: cut(localization.get_locale()?, 64),
            text: cut(localization.get_text()?, most),
        });
    }
    Ok(LocalizedText {
        default_text,
        localizations: read,
    })
}

/// Makes text valid UTF-8 of at most `most` bytes and an ellipsis.
pub(crate) fn cut(text: text::Reader<'_>, most: usize) -> String {
    let bytes = text.as_bytes();
    let whole = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    if bytes.len() <= most {
        return whole.into_owned();
    }
    // A character cut in two has become a replacement character at the end.
    format!("{}…", whole.trim_end_matches('\u{fffd}'))
}

fn some_text(text: text::Reader<'_>) -> Option<String> {
    (!text.is_empty()).then(|| cut(text, TITLE))
}

/// Takes an address only if a browser will do nothing but visit it.
fn web_address(text: text::Reader<'_>) -> Option<String> {
    let address = text.to_str().ok().filter(|address| address.len() <= SENTENCE)?;
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let is_plain = !address
        .chars()
        .any(|character| character.is_control() || character.is_whitespace());
    (is_web && is_plain).then(|| address.to_owned())
}

fn refused(reason: String) -> SpkError {
    SpkError::BadManifest {
        file: FILE_NAME,
        reason,
    }
}

fn wrong_shape(error: capnp::Error) -> SpkError {
    refused(error.to_string())
}
