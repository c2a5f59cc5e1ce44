//! Fetches packages from the distribution's archive, as root or as an ordinary user.
//!
//! apt keeps lists, cache and package status in a state folder of ours under `target/`, so nothing on the machine
//! changes and no rights are needed. Sources and keys are the machine's own, cut down to Debian 12: a repository
//! added by hand must not decide what goes into a sample. apt checks the archive's signatures as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::command;
use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

/// The release whose packages the samples are made of.
const RELEASE: &str = "bookworm";

/// Package lists older than this are fetched anew when something is looked up.
const LISTS_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The distribution's archive, seen through a private apt state.
#[derive(Debug)]
pub struct Archive {
    state: PathBuf,
}

/// One package file that apt offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The package's name.
    pub name: String,
    /// Its full version.
    pub version: String,
    /// SHA-256 of the package file as the signed index gives it.
    pub sha256: String,
}

/// What packages unpacked together may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The packages installed on this machine.
    Machine,
    /// Nothing but one another.
    Nothing,
}

/// Installs packages on this machine, as root.
pub fn install(packages: &[&str]) -> Result<(), Failure> {
    println!("Installing {} from the distribution …", packages.join(", "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet=2");
        apt
    };
    command::output(apt().arg("update"))?;
    command::output(
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )
    .map(drop)
}

impl Archive {
    /// Prepares the private state; asks the network for nothing yet.
    pub fn open(workspace: &Workspace) -> Result<Self, Failure> {
        if command::find("apt-get").is_none() {
            return Err(Failure::new(
                "there is no apt-get here; this part works on Debian 12 and its relatives only",
            ));
        }
        let state = workspace.target("debian/apt");
        for folder in ["lists/partial", "archives/partial", "parts", "no-preferences"] {
            let folder = state.join(folder);
            fs::create_dir_all(&folder).attempt(|| format!("cannot make {}", folder.display()))?;
        }
        let archive = Archive { state };
        archive.write_configuration()?;
        Ok(archive)
    }

    /// What the archive offers now for `name`.
    pub fn offer(&self, name: &str) -> Result<Offer, Failure> {
        self.refresh()?;
        let shown = command::output(self.apt("apt-cache").args(["show", "--no-all-versions", name]))?;
        let field = |key: &str| {
            let prefix = format!("{key}: ");
            shown
                .lines()
                .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
        };
        match (field("Version"), field("SHA256")) {
            (Some(version), Some(sha256)) => Ok(Offer {
                name: name.to_owned(),
                version,
                sha256,
            }),
            _ => Err(Failure::new(format!(
                "the distribution does not offer the package {name}"
            ))),
        }
    }

    /// Downloads packages, each in one version, into `folder`; apt names the files.
    pub fn download(&self, packages: &[(&str, &str)], folder: &Path) -> Result<(), Failure> {
        self.refresh()?;
        let wanted = packages.iter().map(|(name, version)| format!("{name}={version}"));
        command::output(
            self.apt("apt-get")
                .args(["--quiet", "download"])
                .args(wanted)
                .current_dir(folder),
        )
        .map(drop)
    }

    /// Downloads `packages` and whatever they need, and unpacks all of it into `folder`. With [`Base::Machine`] what is
    /// installed here already is left out; with [`Base::Nothing`] the folder stands by itself.
    pub fn unpack_with_dependencies(
        &self,
        packages: &[&str],
        base: Base,
        folder: &Path,
    ) -> Result<(), Failure> {
        self.refresh()?;
        let cache = folder.with_extension("archives");
        fs::create_dir_all(cache.join("partial")).attempt(|| format!("cannot make {}", cache.display()))?;
        let status = match base {
            Base::Machine => "/var/lib/dpkg/status".to_owned(),
            Base::Nothing => self.state.join("status").display().to_string(),
        };
        let status_option = format!("Dir::State::status={status}");
        let cache_option = format!("Dir::Cache::archives={}", cache.display());
        command::output(
            self.apt("apt-get")
                .args(["-o", &status_option, "-o", &cache_option])
                .args(["--quiet", "--yes", "--download-only", "install"])
                .args(packages),
        )?;
        let entries = fs::read_dir(&cache).attempt(|| format!("cannot list {}", cache.display()))?;
        for entry in entries {
            let path = entry
                .attempt(|| format!("cannot list {}", cache.display()))?
                .path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                unpack(&path, folder)?;
            }
        }
        fs::remove_dir_all(&cache).attempt(|| format!("cannot remove {}", cache.display()))
    }

    /// Fetches the package lists unless they are fresh. Old lists do when there is no network.
    fn refresh(&self) -> Result<(), Failure> {
        let stamp = self.state.join("refreshed");
        let age = fs::metadata(&stamp)
            .and_then(|metadata| metadata.modified())
            .map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
        if age.as_ref().is_ok_and(|age| *age < LISTS_AGE) {
            return Ok(());
        }
        let strict = ["-o", "APT::Update::Error-Mode=any"];
        match command::output(self.apt("apt-get").args(strict).args(["--quiet", "update"])) {
            Ok(_) => fs::write(&stamp, "").attempt(|| format!("cannot write {}", stamp.display())),
            Err(_) if age.is_ok() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.state.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn write_configuration(&self) -> Result<(), Failure> {
        let state = self.state.display();
        let configuration = format!(
            "Dir::State \"{state}\";\n\
             Dir::State::lists \"{state}/lists\";\n\
             Dir::State::status \"{state}/status\";\n\
             Dir::State::extended_states \"{state}/extended\";\n\
             Dir::Cache \"{state}\";\n\
             Dir::Cache::archives \"{state}/archives\";\n\
             Dir::Etc::sourcelist \"/dev/null\";\n\
             Dir::Etc::sourceparts \"{state}/parts\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"{state}/no-preferences\";\n\
             Debug::NoLocking \"true\";\n\
             APT::Sandbox::User \"\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Install-Recommends \"false\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n"
        );
        write(&self.state.join("apt.conf"), &configuration)?;
        write(&self.state.join("status"), "")?;
        let mut found = false;
        let mut places = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
            places.extend(entries.flatten().map(|entry| entry.path()));
        }
        for place in places {
            let Ok(text) = fs::read_to_string(&place) else {
                continue;
            };
            let (kept, extension) = match place.extension().and_then(|extension| extension.to_str()) {
                Some("list") => (release_lines(&text), "list"),
                Some("sources") => (release_stanzas(&text), "sources"),
                _ => continue,
            };
            let stem = place
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            found |= !kept.is_empty();
            write(&self.state.join(format!("parts/{stem}.{extension}")), &kept)?;
        }
        if found {
            return Ok(());
        }
        Err(Failure::new(format!(
            "no package source for Debian 12 ({RELEASE}) in /etc/apt; the samples are made of its packages"
        )))
    }
}

/// Unpacks a package file into `root`. Files belong to us, whoever owns them in the
/// package; what an earlier package brought stays, as with dpkg, where a folder never gives way to a link.
pub fn unpack(package: &Path, root: &Path) -> Result<(), Failure> {
    fs::create_dir_all(root).attempt(|| format!("cannot make {}", root.display()))?;
    let mut reader = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .attempt(|| "cannot run `dpkg-deb`".to_owned())?;
    let tar = reader.stdout.take().expect("standard output is piped");
    let status = Command::new("tar")
        .args([
            "--extract",
            "--no-same-owner",
            "--no-same-permissions",
            "--skip-old-files",
            "--file",
            "-",
            "--directory",
        ])
        .arg(root)
        .stdin(tar)
        .status()
        .attempt(|| "cannot run `tar`".to_owned())?;
    let read = reader
        .wait()
        .attempt(|| "cannot wait for `dpkg-deb`".to_owned())?;
    if status.success() && read.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "cannot unpack {} into {}",
        package.display(),
        root.display()
    )))
}

/// Keeps the one-line sources of the release.
fn release_lines(text: &str) -> String {
    let kept = text.lines().map(str::trim).filter(|line| {
        line.starts_with("deb ") && line.split_whitespace().any(|word| word.starts_with(RELEASE))
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// Keeps the stanzas (`deb822`) of the release that are switched on.
fn release_stanzas(text: &str) -> String {
    let mut kept = String::new();
    let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in without_comments.join("\n").split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let of_release = field("Suites")
            .is_some_and(|suites| suites.split_whitespace().any(|suite| suite.starts_with(RELEASE)));
        let enabled = !field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
        let binary = field("Types").is_some_and(|types| types.split_whitespace().any(|kind| kind == "deb"));
        if of_release && enabled && binary {
            kept.push_str(stanza.trim());
            kept.push_str("\n\n");
        }
    }
    kept
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).attempt(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_release_is_kept_of_stanzas() {
        let text = "# a comment\nTypes: deb\nURIs: http://a.example\nSuites: bookworm bookworm-updates\nComponents: main\n\n\
                    Types: deb\nURIs: http://b.example\nSuites: nodistro\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://c.example\nSuites: bookworm\n";
        let kept = release_stanzas(text);
        assert!(kept.contains("a.example"));
        assert!(!kept.contains("b.example"));
        assert!(!kept.contains("c.example"));
    }

    #[test]
    fn only_the_release_is_kept_of_lines() {
        let text = "deb http://a.example bookworm main\n# deb http://b.example bookworm main\ndeb http://c.example sid main\n\
                    deb-src http://d.example bookworm main\n";
        assert_eq!(release_lines(text), "deb http://a.example bookworm main\n");
    }
}
