//! What an app told the HTTP bridge, as far as people want to know it: who may do what.

use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::package_capnp::bridge_config;
use percloud_schemas::util_capnp::localized_text;
use serde::{Deserialize, Serialize};

use crate::error::SpkError;
use crate::manifest::{LocalizedText, localized, read_message};

/// The file at a package's root that holds the bridge's configuration.
pub const FILE_NAME: &str = "sandstorm-http-bridge-config";

const MOST_ENTRIES: u32 = 256;
const TEXT: usize = 512;

/// The bridge's configuration (`BridgeConfig` in `package.capnp`), read for display.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeInfo {
    /// What a person can be allowed to do, in the order of permission sets.
    pub permissions: Vec<Permission>,
    /// Bundles of permissions that are offered when sharing.
    pub roles: Vec<Role>,
    /// Clients may use the app through its API.
    pub has_api: bool,
    /// The bridge keeps a capability to each user's identity.
    pub save_identity_caps: bool,
    /// The app has hooks of its own beside HTTP.
    pub expect_app_hooks: bool,
    /// Names of the HTTP APIs that the app offers to others.
    pub powerbox_apis: Vec<String>,
}

/// Something a person can be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// The name the app uses.
    pub name: String,
    /// The name people see.
    pub title: LocalizedText,
    /// What it allows.
    pub description: LocalizedText,
    /// Not used any more; only keeps its place.
    pub obsolete: bool,
}

/// A bundle of permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// "editor"
    pub title: LocalizedText,
    /// "can edit"
    pub verb_phrase: LocalizedText,
    /// What it is for.
    pub description: LocalizedText,
    /// Which permissions it contains.
    pub permissions: Vec<bool>,
    /// Not offered any more.
    pub obsolete: bool,
    /// What one gets when no role is named.
    pub default: bool,
}

/// Reads the bytes of a package's `sandstorm-http-bridge-config`.
///
/// # Errors
/// Refuses what is not a bridge's configuration.
pub fn parse(bytes: &[u8]) -> Result<BridgeInfo, SpkError> {
    let message = read_message(bytes, FILE_NAME)?;
    let config: bridge_config::Reader<'_> = message.get_root().map_err(wrong_shape)?;
    let view: ui_view::view_info::Reader<'_> = config.get_view_info().map_err(wrong_shape)?;
    let mut info = BridgeInfo {
        has_api: config.has_api_path() && !config.get_api_path().map_err(wrong_shape)?.is_empty(),
        save_identity_caps: config.get_save_identity_caps(),
        expect_app_hooks: config.get_expect_app_hooks(),
        ..BridgeInfo::default()
    };
    let permissions = view.get_permissions().map_err(wrong_shape)?;
    for permission in permissions.iter().take(few(permissions.len())?) {
        info.permissions.push(Permission {
            name: text(permission.get_name())?,
            title: shown(permission.get_title())?,
            description: shown(permission.get_description())?,
            obsolete: permission.get_obsolete(),
        });
    }
    let roles = view.get_roles().map_err(wrong_shape)?;
    for role in roles.iter().take(few(roles.len())?) {
        let permissions = role.get_permissions().map_err(wrong_shape)?;
        info.roles.push(Role {
            title: shown(role.get_title())?,
            verb_phrase: shown(role.get_verb_phrase())?,
            description: shown(role.get_description())?,
            permissions: permissions.iter().take(few(permissions.len())?).collect(),
            obsolete: role.get_obsolete(),
            default: role.get_default(),
        });
    }
    let apis = config.get_powerbox_apis().map_err(wrong_shape)?;
    for api in apis.iter().take(few(apis.len())?) {
        info.powerbox_apis.push(text(api.get_name())?);
    }
    Ok(info)
}

/// Refuses lists whose positions could not be kept.
fn few(count: u32) -> Result<usize, SpkError> {
    if count <= MOST_ENTRIES {
        return Ok(count as usize);
    }
    Err(SpkError::BadManifest {
        file: FILE_NAME,
        reason: format!("a list in it has more than {MOST_ENTRIES} entries"),
    })
}

fn shown(text: capnp::Result<localized_text::Reader<'_>>) -> Result<LocalizedText, SpkError> {
    text.and_then(|text| localized(text, TEXT)).map_err(wrong_shape)
}

fn text(text: capnp::Result<capnp::text::Reader<'_>>) -> Result<String, SpkError> {
    Ok(crate::manifest::cut(text.map_err(wrong_shape)?, TEXT))
}

fn wrong_shape(error: capnp::Error) -> SpkError {
    SpkError::BadManifest {
        file: FILE_NAME,
        reason: error.to_string(),
    }
}
