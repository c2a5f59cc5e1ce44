//! Reads `/sandstorm-http-bridge-config`, the `BridgeConfig` that was packed with the app.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use capnp::message::{HeapAllocator, ReaderOptions, TypedBuilder};
use capnp::traits::HasTypeId;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::ui_view::view_info;
use percloud_schemas::package_capnp::bridge_config;
use percloud_schemas::powerbox_capnp::powerbox_display_info;

/// Largest file accepted, in bytes. Icons inside a `ViewInfo` can be large, so the usual 8 MiB limits of a
/// message do not apply here.
const MAX_FILE: u64 = 64 << 20;

/// Most words followed while copying the file into memory; bounds a file that points at itself many times.
const MAX_TRAVERSAL: usize = 64 << 20;

/// The part of the packed configuration that the bridge acts on, copied out once: a message that is read for
/// every request would use up its traversal limit one day.
pub(crate) struct AppConfig {
    /// Answer to `getViewInfo`.
    pub(crate) view_info: TypedBuilder<view_info::Owned, HeapAllocator>,
    /// Permission names, by bit number.
    pub(crate) permissions: Vec<Vec<u8>>,
    /// Prefix of API requests, ending in `/`; none means that the app offers no API.
    pub(crate) api_path: Option<Vec<u8>>,
    /// Whether the app exports `AppHooks` on its first connection to the bridge's socket.
    pub(crate) expect_app_hooks: bool,
    /// Whether the identities of everybody who comes are to be saved.
    pub(crate) save_identities: bool,
    /// APIs that people may give to other grains.
    pub(crate) apis: Vec<PowerboxApi>,
}

/// An API that people may give to other grains.
pub(crate) struct PowerboxApi {
    pub(crate) name: String,
    /// Prefix of its requests, without the slash that follows.
    pub(crate) path: String,
    /// What its requests may do, and what whoever gives it away must hold.
    pub(crate) permissions: Vec<bool>,
    pub(crate) tag: TypedBuilder<api_session::powerbox_tag::Owned, HeapAllocator>,
    pub(crate) display: TypedBuilder<powerbox_display_info::Owned, HeapAllocator>,
}

impl PowerboxApi {
    fn read(api: bridge_config::powerbox_api::Reader<'_>) -> capnp::Result<Self> {
        let mut tag = TypedBuilder::new_default();
        tag.set_root(api.get_tag()?)?;
        let mut display = TypedBuilder::new_default();
        display.set_root(api.get_display_info()?)?;
        Ok(Self {
            name: api.get_name()?.to_string()?,
            path: api.get_path()?.to_string()?,
            permissions: api.get_permissions()?.iter().collect(),
            tag,
            display,
        })
    }

    /// Tells whether somebody with the permissions `held` may give the API away.
    pub(crate) fn is_covered_by(&self, held: &[bool]) -> bool {
        let mut needed = self.permissions.iter().enumerate().filter(|(_, needed)| **needed);
        needed.all(|(index, _)| held.get(index).copied().unwrap_or(false))
    }
}

/// Why the configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("could not read it")]
    Read(#[from] io::Error),
    #[error("it is larger than 64 MiB")]
    TooLarge,
    #[error("it is not a BridgeConfig message")]
    Shape(#[from] capnp::Error),
}

impl AppConfig {
    /// Reads the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(ConfigError::TooLarge);
        }
        let mut options = ReaderOptions::new();
        options.traversal_limit_in_words(Some(MAX_TRAVERSAL));
        let message = capnp::serialize::read_message(bytes.as_slice(), options)?;
        Ok(Self::from_message(message.get_root()?)?)
    }

    fn from_message(config: bridge_config::Reader<'_>) -> capnp::Result<Self> {
        let mut view_info = TypedBuilder::<view_info::Owned>::new_default();
        view_info.set_root(config.get_view_info()?)?;

        // Every powerbox API becomes one offer to answer requests for an `ApiSession` with that tag.
        let apis = config.get_powerbox_apis()?;
        if !apis.is_empty() {
            let mut matches = view_info.get_root()?.init_match_requests(apis.len());
            for (index, api) in (0..).zip(apis.iter()) {
                let mut tag = matches.reborrow().get(index).init_tags(1).get(0);
                tag.set_id(api_session::Client::TYPE_ID);
                tag.init_value().set_as(api.get_tag()?)?;
            }
        }

        let mut permissions = Vec::new();
        for permission in config.get_view_info()?.get_permissions()? {
            permissions.push(permission.get_name()?.as_bytes().to_vec());
        }
        let api_path = config.get_api_path()?.as_bytes();
        let apis = apis.iter().map(PowerboxApi::read).collect::<capnp::Result<_>>()?;
        Ok(Self {
            view_info,
            permissions,
            api_path: (!api_path.is_empty()).then(|| api_path.to_vec()),
            expect_app_hooks: config.get_expect_app_hooks(),
            save_identities: config.get_save_identity_caps(),
            apis,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powerbox_apis_replace_the_requests_the_app_matches() {
        let mut message = TypedBuilder::<bridge_config::Owned>::new_default();
        let mut config = message.init_root();
        config.reborrow().init_view_info().init_match_requests(3);
        let mut apis = config.init_powerbox_apis(1);
        apis.reborrow()
            .get(0)
            .init_tag()
            .set_canonical_url("https://example.com/calendar");
        let config = AppConfig::from_message(message.get_root_as_reader().unwrap()).unwrap();
        let view = config.view_info.get_root_as_reader().unwrap();
        let matches = view.get_match_requests().unwrap();
        assert_eq!(matches.len(), 1);
        let tag = matches.get(0).get_tags().unwrap().get(0);
        assert_eq!(tag.get_id(), 0xc879_e379_c625_cdc7);
        let value: api_session::powerbox_tag::Reader<'_> = tag.get_value().get_as().unwrap();
        assert_eq!(value.get_canonical_url().unwrap(), "https://example.com/calendar");
    }

    #[test]
    fn an_api_is_given_away_only_by_who_holds_all_it_may_do() {
        let api = |permissions: &[bool]| PowerboxApi {
            name: String::new(),
            path: String::new(),
            permissions: permissions.to_vec(),
            tag: TypedBuilder::new_default(),
            display: TypedBuilder::new_default(),
        };
        assert!(api(&[]).is_covered_by(&[]));
        assert!(api(&[false, false]).is_covered_by(&[]));
        assert!(api(&[false, true]).is_covered_by(&[false, true, true]));
        assert!(!api(&[false, true]).is_covered_by(&[true]));
        assert!(!api(&[true, true]).is_covered_by(&[true, false]));
    }

    #[test]
    fn a_configuration_beyond_the_usual_message_limit_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let mut message = TypedBuilder::<bridge_config::Owned>::new_default();
        let mut info = message.init_root().init_view_info();
        info.reborrow().init_permissions(1).get(0).set_name("edit");
        info.init_app_title()
            .set_default_text("x".repeat(20 << 20).as_str());
        capnp::serialize::write_message(File::create(&path).unwrap(), message.borrow_inner()).unwrap();
        let config = AppConfig::read(&path).unwrap();
        assert_eq!(config.permissions, [b"edit".to_vec()]);
        assert!(config.api_path.is_none());
    }

    #[test]
    fn what_is_not_a_configuration_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        assert!(matches!(AppConfig::read(&path), Err(ConfigError::Read(_))));
        for bytes in [
            &b""[..],
            b"garbage that is no message",
            &[0xff; 64],
            &[0, 0, 0, 0, 9, 0, 0, 0],
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(
                matches!(AppConfig::read(&path), Err(ConfigError::Shape(_))),
                "{bytes:?}"
            );
        }
    }
}
