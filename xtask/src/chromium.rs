//! Finds a Chromium for the browser tests, or brings the distribution's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command;
use crate::debian::{self, Archive, Base};
use crate::failure::{Attempt, Failure};
use crate::prerequisites;
use crate::workspace::Workspace;

/// The browser, and fonts for the pages it shows.
const PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// A Chromium and the environment it must be started with.
#[derive(Debug)]
pub struct Chromium {
    /// The program.
    pub program: PathBuf,
    /// Variables for a browser that is not installed but unpacked.
    pub environment: Vec<(&'static str, String)>,
}

/// Returns the machine's Chromium; installs it as root; unpacks it under `target/` as an ordinary user.
pub fn provide(workspace: &Workspace) -> Result<Chromium, Failure> {
    if let Some(program) = installed() {
        return Ok(Chromium {
            program,
            environment: Vec::new(),
        });
    }
    if prerequisites::is_root() {
        debian::install(&PACKAGES)?;
        return installed()
            .map(|program| Chromium {
                program,
                environment: Vec::new(),
            })
            .ok_or_else(|| Failure::new("`apt-get install chromium` brought no chromium"));
    }
    let folder = workspace.target("debian/chromium");
    if !folder.join("complete").is_file() {
        println!(
            "Unpacking {} from the distribution under {} …",
            PACKAGES.join(" and "),
            folder.display()
        );
        let unpacked = Archive::open(workspace)
            .and_then(|archive| archive.unpack_with_dependencies(&PACKAGES, Base::Machine, &folder));
        unpacked.map_err(|failure| {
            Failure::new(format!(
                "{failure}\n  Or, as root: `apt-get install {}`",
                PACKAGES.join(" ")
            ))
        })?;
        fs::write(folder.join("complete"), "").attempt(|| format!("cannot write in {}", folder.display()))?;
    }
    unpacked(&folder)
}

fn installed() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .find_map(|name| command::find(name))
}

fn unpacked(folder: &Path) -> Result<Chromium, Failure> {
    let program = folder.join("usr/lib/chromium/chromium");
    if !program.is_file() {
        return Err(Failure::new(format!(
            "{} was unpacked without {}",
            folder.display(),
            program.display()
        )));
    }
    let libraries = [
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
        "usr/lib/chromium",
    ];
    let libraries = libraries.map(|place| folder.join(place));
    let private = private_libraries(&libraries)?;
    let libraries = std::env::join_paths(libraries.iter().chain(&private))
        .attempt(|| format!("cannot use the path {}", folder.display()))?;
    let fonts = folder.join("fonts.conf");
    let text = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig><dir>{0}/usr/share/fonts</dir>\
         <dir>/usr/share/fonts</dir><cachedir>{0}/font-cache</cachedir></fontconfig>\n",
        folder.display()
    );
    fs::write(&fonts, text).attempt(|| format!("cannot write {}", fonts.display()))?;
    let environment = vec![
        ("LD_LIBRARY_PATH", libraries.to_string_lossy().into_owned()),
        ("FONTCONFIG_FILE", fonts.display().to_string()),
    ];
    Ok(Chromium { program, environment })
}

/// The folders below `libraries` where packages keep libraries for their own use: what is installed finds them by an
/// absolute path (`RUNPATH`), which leads nowhere here.
fn private_libraries(libraries: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for folder in libraries.iter().filter(|folder| folder.is_dir()) {
        for inner in entries(folder)?.into_iter().filter(|inner| inner.is_dir()) {
            let is_library = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("lib") && name.contains(".so")
            };
            if entries(&inner)?.iter().any(is_library) {
                found.push(inner);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = |error: std::io::Error| Failure::new(format!("cannot read {}: {error}", folder.display()));
    let entries = fs::read_dir(folder).map_err(read)?;
    entries.map(|entry| Ok(entry.map_err(read)?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_a_package_keeps_to_itself_are_found() {
        let folder = std::env::temp_dir().join(format!("percloud-libraries-{}", std::process::id()));
        for (inner, file) in [
            ("pulseaudio", "libpulsecommon-16.1.so"),
            ("gconv", "UTF-16.so"),
            ("nss", "libsoft.so.3"),
        ] {
            fs::create_dir_all(folder.join(inner)).unwrap();
            fs::write(folder.join(inner).join(file), "").unwrap();
        }
        let found = private_libraries(&[folder.clone(), folder.join("missing")]).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [folder.join("nss"), folder.join("pulseaudio")]);
    }
}
