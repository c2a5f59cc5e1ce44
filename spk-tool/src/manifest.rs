//! What an app says about itself, as plain values with bounds.
//!
//! The manifest is a Cap'n Proto message that someone else wrote. Text meant for people is cut to a sensible length
//! and made valid UTF-8; text that the system will use (commands, environment) must be right or the package is
//! refused. Old manifests are understood: titles in place of noun phrases, a path in place of `argv[0]`.

mod parse;

use serde::{Deserialize, Serialize};

pub use parse::parse;
pub(crate) use parse::{cut, is_bridge, localized, read_message};

use crate::error::SpkError;
use crate::tree::{Tree, check_command};

/// The file at a package's root that holds the manifest.
pub const FILE_NAME: &str = "sandstorm-manifest";

/// A package's manifest (`Manifest` in `package.capnp`), pictures left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The app's name.
    pub app_title: LocalizedText,
    /// Orders the versions of an app.
    pub app_version: u32,
    /// The version as people write it.
    pub app_marketing_version: LocalizedText,
    /// Ways to create a grain, in the manifest's order.
    pub actions: Vec<Action>,
    /// Starts a grain that exists already.
    pub continue_command: Command,
    /// What a shop or an install page shows.
    pub metadata: Metadata,
    /// The app speaks HTTP to the bridge inside its package.
    pub uses_bridge: bool,
}

/// A text in several languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalizedText {
    /// Shown where there is nothing better.
    pub default_text: String,
    /// The text in other languages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub localizations: Vec<Localization>,
}

/// A text in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Localization {
    /// Language tag, such as `de` or `zh-Hant`.
    pub locale: String,
    /// The text.
    pub text: String,
}

/// A way to create a grain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Position in the manifest's list, by which the action is asked for.
    pub index: u32,
    /// Needs nothing but a click. Other actions are not offered.
    pub input_none: bool,
    /// What one gets: "mailbox", "wiki".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noun_phrase: Option<LocalizedText>,
    /// The whole button's text in old manifests: "New mailbox".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<LocalizedText>,
    /// A longer explanation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<LocalizedText>,
    /// Starts the new grain for the first time.
    pub command: Command,
}

impl Action {
    /// Returns what the "new …" button should say the action makes.
    #[must_use]
    pub fn label(&self) -> Option<&LocalizedText> {
        self.noun_phrase.as_ref().or(self.title.as_ref())
    }
}

/// A program and how to start it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Arguments; the first is the program's path, taken from the package's root. Never empty, no NUL.
    pub argv: Vec<String>,
    /// The whole environment, in order.
    pub environ: Vec<Variable>,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name: not empty, no `=`, no NUL.
    pub key: String,
    /// Its value: no NUL.
    pub value: String,
}

/// What an app tells people before they install it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The app's home page; always `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    /// Where the source is; always `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_url: Option<String>,
    /// Under which terms it comes.
    pub license: License,
    /// Licences of parts of the app, and other notices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_notices: Option<LocalizedText>,
    /// What the app is for, in Sandstorm's words (`productivity`, `office`, …).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Who made it.
    pub author: Author,
    /// One sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_description: Option<LocalizedText>,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<LocalizedText>,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_log: Option<LocalizedText>,
}

/// Under which terms an app comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum License {
    /// Nothing is said.
    #[default]
    None,
    /// A licence approved by the Open Source Initiative.
    #[serde(rename_all = "camelCase")]
    OpenSource {
        /// SPDX-like id.
        id: String,
        /// Its name.
        title: String,
        /// The source has to be offered.
        require_source: bool,
    },
    /// Own terms; whoever uses the app has to accept them first.
    Proprietary {
        /// The terms.
        text: LocalizedText,
    },
    /// No rights reserved.
    PublicDomain {
        /// Why it is in the public domain.
        text: LocalizedText,
    },
}

/// Who made an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// Who wrote the software, if someone else packaged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_author: Option<String>,
    /// Where to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_email: Option<String>,
    /// Whether the author's identity is backed by an OpenPGP signature.
    pub proof: AuthorProof,
}

/// How far an author's identity can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorProof {
    /// The package says nothing.
    #[default]
    None,
    /// The package holds an OpenPGP signature, which was not checked: show the author as unverified.
    Unverified,
}

/// A picture of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Icon {
    /// An SVG document. May hold scripts; serve it so that they cannot run.
    Svg(Vec<u8>),
    /// PNG pictures for ordinary and, perhaps, for dense screens.
    Png {
        /// The picture at its nominal size.
        single: Vec<u8>,
        /// Twice that size.
        double: Option<Vec<u8>>,
    },
}

/// An app's pictures, as far as it has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Icons {
    /// 128×128, for the list of apps.
    pub app_grid: Option<Icon>,
    /// 24×24, for the list of grains.
    pub grain: Option<Icon>,
    /// 150×150, for a shop.
    pub market: Option<Icon>,
    /// 300×300, for a shop.
    pub market_big: Option<Icon>,
}

/// Makes sure that every command which can be asked for starts a program in the package.
pub fn check_commands<T: Tree>(tree: &T, manifest: &Manifest) -> Result<(), SpkError> {
    check_command(tree, "continueCommand", &manifest.continue_command)?;
    for action in manifest.actions.iter().filter(|action| action.input_none) {
        check_command(tree, &format!("action {}", action.index), &action.command)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
