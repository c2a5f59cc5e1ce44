//! Apps whose signing key was replaced: who signs for whom now, and which old keys no longer count.
//!
//! The table is compiled in; it is a part of the platform's trust, as it lets one key act for another's app.

use std::sync::LazyLock;

use percloud_schemas::appid_replacements_capnp::APP_ID_REPLACEMENT_LIST;

use crate::{AppId, PackageId};

struct Replacement {
    original: AppId,
    replacement: AppId,
    /// `Some` withdraws the original key, except for these packages.
    revoked_except: Option<Vec<PackageId>>,
}

static TABLE: LazyLock<Vec<Replacement>> =
    LazyLock::new(|| read_table().expect("the compiled-in table of replaced app ids is well-formed"));

fn read_table() -> capnp::Result<Vec<Replacement>> {
    let failed = |error: &dyn std::fmt::Display| capnp::Error::failed(error.to_string());
    let id = |text: capnp::text::Reader<'_>| text.to_str()?.parse().map_err(|error| failed(&error));
    let mut table = Vec::new();
    for entry in APP_ID_REPLACEMENT_LIST.get()? {
        let mut revoked_except = None;
        if entry.has_revoke_except_package_ids() {
            let mut packages = Vec::new();
            for package in entry.get_revoke_except_package_ids()? {
                packages.push(package?.to_str()?.parse().map_err(|error| failed(&error))?);
            }
            revoked_except = Some(packages);
        }
        table.push(Replacement {
            original: id(entry.get_original()?)?,
            replacement: id(entry.get_replacement()?)?,
            revoked_except,
        });
    }
    Ok(table)
}

/// Returns the app that a package signed by `signer` belongs to: the first key the app ever had.
#[must_use]
pub fn canonical(signer: AppId) -> AppId {
    // Each step consumes an entry of the table, so even a table with a circle in it comes to an end.
    let mut app = signer;
    for _ in TABLE.iter() {
        match TABLE.iter().find(|entry| entry.replacement == app) {
            Some(entry) => app = entry.original,
            None => break,
        }
    }
    app
}

/// Tells whether `signer` was withdrawn and `package` is not one of those it may still have signed.
#[must_use]
pub fn is_revoked(signer: AppId, package: PackageId) -> bool {
    TABLE
        .iter()
        .filter(|entry| entry.original == signer)
        .filter_map(|entry| entry.revoked_except.as_ref())
        .any(|packages| !packages.contains(&package))
}

/// Returns the key that signs new packages of `app`.
#[must_use]
pub fn signing_key(app: AppId) -> AppId {
    let mut key = app;
    for _ in TABLE.iter() {
        match TABLE.iter().find(|entry| entry.original == key) {
            Some(entry) => key = entry.replacement,
            None => break,
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(text: &str) -> AppId {
        text.parse().unwrap()
    }

    const OLD: &str = "nfqhx83vvzm80edpgkpax8mhqp176qj2vwg67rgq5e3kjc5r4cyh";
    const NEW: &str = "a3w50h1435gsxczugm16q0amwkqm9f4crykzea53sv61pt7phk8h";

    #[test]
    fn replaced_keys_belong_to_the_first_app() {
        assert_eq!(canonical(app(NEW)), app(OLD));
        assert_eq!(canonical(app(OLD)), app(OLD));
        assert_eq!(signing_key(app(OLD)), app(NEW));
        assert_eq!(signing_key(app(NEW)), app(NEW));
        assert_eq!(canonical(AppId([7; 32])), AppId([7; 32]));
    }

    #[test]
    fn withdrawn_key_signs_only_the_packages_it_signed() {
        assert!(is_revoked(app(OLD), PackageId([0; 16])));
        assert!(!is_revoked(
            app(OLD),
            "1450e0caa29b59ec938b3795bf17cb02".parse().unwrap()
        ));
        assert!(!is_revoked(app(NEW), PackageId([0; 16])));
        // Replaced, yet not withdrawn.
        let wekan = app("m86q05rdvj14yvn78ghaxynqz7u2svw6rnttptxx49g1785cdv1h");
        assert!(!is_revoked(wekan, PackageId([0; 16])));
    }
}
