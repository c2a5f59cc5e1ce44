//! Reads what a package says of itself the way the broker needs it.

use percloud_spk::install::{IconKind, PackageInfo};
use percloud_spk::manifest::{Action, Command, LocalizedText};

use crate::problem::Problem;

/// What the app in a package is called.
pub(crate) fn title(info: &PackageInfo) -> String {
    let title = text(Some(&info.manifest.app_title));
    if title.is_empty() {
        "Untitled app".to_owned()
    } else {
        title
    }
}

/// A localized text in its default language; shells in other languages come with the account's language.
pub(crate) fn text(text: Option<&LocalizedText>) -> String {
    text.map(|text| text.default_text.clone()).unwrap_or_default()
}

/// The action `index` if a person may choose it.
pub(crate) fn action(info: &PackageInfo, index: u32) -> Result<&Action, Problem> {
    let found = info
        .manifest
        .actions
        .iter()
        .find(|action| action.index == index && action.input_none);
    found.ok_or_else(|| Problem::BadRequest(format!("this app has no action number {index}")))
}

/// What an action makes, in the app's words: "calendar", "wiki".
pub(crate) fn noun(info: &PackageInfo, action: &Action) -> String {
    match &action.noun_phrase {
        Some(noun) if !noun.default_text.is_empty() => noun.default_text.clone(),
        // Old packages have a whole phrase for a button instead: "New wiki".
        _ => match text(action.title.as_ref()) {
            phrase if phrase.is_empty() => title(info),
            phrase => phrase.strip_prefix("New ").unwrap_or(&phrase).to_owned(),
        },
    }
}

/// How the app of a grain is started: with its action's command the first time, with the continue command later.
pub(crate) fn command(info: &PackageInfo, begun: bool, index: u32) -> Result<&Command, Problem> {
    if begun {
        Ok(&info.manifest.continue_command)
    } else {
        action(info, index).map(|action| &action.command)
    }
}

/// The address of the best icon for `kind`.
pub(crate) fn icon_url(info: &PackageInfo, kind: IconKind) -> Option<String> {
    info.icon(kind)
        .map(|icon| format!("/api/packages/{}/icons/{}", info.package_id, icon.kind.name()))
}
