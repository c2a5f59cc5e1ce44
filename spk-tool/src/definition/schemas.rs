//! Sandstorm's schemas, which definitions import as `/sandstorm/….capnp`.

use std::{fs, io};

/// Puts the schemas into a temporary folder, as the compiler only reads files. The folder goes with the result.
pub(super) fn stage() -> io::Result<tempfile::TempDir> {
    let staged = tempfile::Builder::new().prefix("spk-schemas-").tempdir()?;
    let folder = staged.path().join("sandstorm");
    fs::create_dir(&folder)?;
    for (name, text) in SCHEMAS {
        fs::write(folder.join(name), text)?;
    }
    Ok(staged)
}

macro_rules! schemas {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../schemas/sandstorm/", $name)))),*]
    };
}

const SCHEMAS: &[(&str, &str)] = schemas![
    "activity.capnp",
    "api-session-impl.capnp",
    "api-session.capnp",
    "app-index.capnp",
    "appid-replacements.capnp",
    "backend.capnp",
    "bridge-proxy.capnp",
    "email-impl.capnp",
    "email.capnp",
    "grain.capnp",
    "hack-session.capnp",
    "identity-impl.capnp",
    "identity.capnp",
    "ip.capnp",
    "package.capnp",
    "payments.capnp",
    "persistentuiview.capnp",
    "powerbox.capnp",
    "sandstorm-http-bridge-internal.capnp",
    "sandstorm-http-bridge.capnp",
    "submit.capnp",
    "supervisor.capnp",
    "update-tool.capnp",
    "util.capnp",
    "web-publishing.capnp",
    "web-session.capnp",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A schema that is added to the folder has to be added to the list.
    #[test]
    fn every_schema_is_staged() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/sandstorm");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".capnp"))
            .collect();
        there.sort();
        let mut staged: Vec<&str> = super::SCHEMAS.iter().map(|(name, _)| *name).collect();
        staged.sort_unstable();
        assert_eq!(there, staged);
    }
}
