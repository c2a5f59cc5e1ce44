//! Brings every file of a sample into `target/samples/cache`, each checked against its hash.
//!
//! Files come through the ordinary clients, so a mirror, proxy or certificate set up for them serves here too. A file
//! once in the cache is never asked for again, so that packing works without a network.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Sample;
use super::lock::{Artifact, Lock, Origin};
use crate::command;
use crate::debian::{self, Archive, Base};
use crate::digest;
use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

/// A locked artifact and its file in the cache.
pub type Fetched = (Artifact, PathBuf);

/// Returns the files of `sample` in the cache, in the order of its lock, with a note on each that differs from it.
///
/// A Debian package whose pinned revision the archive no longer carries (a security update took its place) is taken in
/// the newer revision of the same upstream version: the archive's signature vouches for it, and the note says so.
pub fn fetch(workspace: &Workspace, sample: &Sample) -> Result<(Vec<Fetched>, Vec<String>), Failure> {
    let lock = Lock::read(sample)?;
    let cache = cache(workspace)?;
    let wanted = wanted(sample, &lock)?;
    debian_together(workspace, &wanted, &cache)?;
    let mut files = Vec::new();
    let mut notes = Vec::new();
    for artifact in wanted {
        let path = cache.join(&artifact.file);
        if !holds(&path, &artifact.sha256)? {
            let fetched = match artifact.origin {
                Origin::Debian => {
                    Archive::open(workspace)?.download(&[(&artifact.name, &artifact.version)], &cache)
                }
                Origin::Python => wheel(workspace, &artifact.name, &artifact.version, &cache),
                Origin::Npm => tarball(&artifact.name, &artifact.version, &cache),
            };
            match fetched {
                Ok(()) => {}
                Err(failure) if artifact.origin == Origin::Debian => {
                    let (artifact, path) = successor(workspace, artifact, &cache, failure)?;
                    notes.push(format!(
                        "{} is {} instead of the pinned revision",
                        artifact.name, artifact.version
                    ));
                    files.push((artifact, path));
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            if !holds(&path, &artifact.sha256)? {
                let found = digest::of_file(&path)?;
                let _ = fs::remove_file(&path);
                return Err(Failure::new(format!(
                    "{} {} is not the file that was pinned: sha256 {found}, pinned {}",
                    artifact.name, artifact.version, artifact.sha256
                )));
            }
        }
        files.push((artifact.clone(), path));
    }
    Ok((files, notes))
}

/// Fetches everything `sample.json` names in the versions on offer, and returns what a lock should say.
pub fn resolve(workspace: &Workspace, sample: &Sample) -> Result<Vec<Artifact>, Failure> {
    let cache = cache(workspace)?;
    let mut artifacts = Vec::new();
    let archive = if sample.debian.is_empty() {
        None
    } else {
        Some(Archive::open(workspace)?)
    };
    for name in &sample.debian {
        let archive = archive.as_ref().expect("opened because there are packages");
        let offer = archive.offer(name)?;
        let path = arrival(&cache, || archive.download(&[(name, &offer.version)], &cache))?
            .map_or_else(|| find_by_digest(&cache, &offer.sha256), Ok)?;
        let artifact = record(Origin::Debian, name, &offer.version, &path)?;
        if artifact.sha256 != offer.sha256 {
            return Err(Failure::new(format!(
                "{} differs from what the archive's index says",
                path.display()
            )));
        }
        artifacts.push(artifact);
    }
    for pinned in sample.python.iter().flat_map(|python| &python.packages) {
        let (name, version) = split(pinned, "==")?;
        let path = arrival(&cache, || wheel(workspace, name, version, &cache))?
            .map_or_else(|| find_by_prefix(&cache, &format!("{name}-{version}-")), Ok)?;
        artifacts.push(record(Origin::Python, name, version, &path)?);
    }
    for node in &sample.npm {
        let (name, version) = split(&node.package, "@")?;
        let path = arrival(&cache, || tarball(name, version, &cache))?
            .map_or_else(|| find_by_prefix(&cache, &format!("{name}-{version}")), Ok)?;
        artifacts.push(record(Origin::Npm, name, version, &path)?);
    }
    Ok(artifacts)
}

/// The locked artifacts that the definition asks for, in its order.
fn wanted<'a>(sample: &Sample, lock: &'a Lock) -> Result<Vec<&'a Artifact>, Failure> {
    let mut wanted = Vec::new();
    for name in &sample.debian {
        wanted.push(lock.artifact(Origin::Debian, name)?);
    }
    let python = sample
        .python
        .iter()
        .flat_map(|python| &python.packages)
        .map(|pinned| (Origin::Python, pinned, "=="));
    let npm = sample.npm.iter().map(|node| (Origin::Npm, &node.package, "@"));
    for (origin, pinned, separator) in python.chain(npm) {
        let (name, version) = split(pinned, separator)?;
        let artifact = lock.artifact(origin, name)?;
        if artifact.version != version {
            return Err(Failure::new(format!(
                "{name} is pinned to {} in lock.json and to {version} in sample.json",
                artifact.version
            )));
        }
        wanted.push(artifact);
    }
    Ok(wanted)
}

/// Asks for all missing Debian packages in one go: apt reads its lists once per call, and they are long. Whatever this
/// does not bring is asked for again one by one, where a failure has a name.
fn debian_together(workspace: &Workspace, wanted: &[&Artifact], cache: &Path) -> Result<(), Failure> {
    let missing: Vec<(&str, &str)> = wanted
        .iter()
        .filter(|artifact| artifact.origin == Origin::Debian && !cache.join(&artifact.file).is_file())
        .map(|artifact| (artifact.name.as_str(), artifact.version.as_str()))
        .collect();
    if missing.len() > 1 {
        let _ = Archive::open(workspace)?.download(&missing, cache);
    }
    Ok(())
}

/// Takes the archive's newer revision of a package whose pinned one is gone.
fn successor(
    workspace: &Workspace,
    pinned: &Artifact,
    cache: &Path,
    failure: Failure,
) -> Result<Fetched, Failure> {
    let archive = Archive::open(workspace)?;
    let Ok(offer) = archive.offer(&pinned.name) else {
        return Err(failure);
    };
    if offer.version == pinned.version || upstream(&offer.version) != upstream(&pinned.version) {
        return Err(failure);
    }
    let path = match find_by_digest(cache, &offer.sha256) {
        Ok(path) => path,
        Err(_) => {
            archive.download(&[(&offer.name, &offer.version)], cache)?;
            find_by_digest(cache, &offer.sha256)?
        }
    };
    let artifact = record(Origin::Debian, &offer.name, &offer.version, &path)?;
    Ok((artifact, path))
}

/// The upstream part of a Debian version: without epoch and revision.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

fn wheel(workspace: &Workspace, name: &str, version: &str, cache: &Path) -> Result<(), Failure> {
    // Pure Python only: the interpreter in the package need not be the one that runs pip.
    let flags = [
        "--no-deps",
        "--only-binary=:all:",
        "--python-version=3.11",
        "--implementation=py",
        "--abi=none",
        "--platform=any",
    ];
    let mut pip = pip(workspace)?;
    pip.args(["--disable-pip-version-check", "--no-input", "--quiet", "download"])
        .args(flags);
    command::output(pip.arg("--dest").arg(cache).arg(format!("{name}=={version}"))).map(drop)
}

fn tarball(name: &str, version: &str, cache: &Path) -> Result<(), Failure> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
        .arg(cache);
    command::output(npm.arg(format!("{name}@{version}")).current_dir(cache)).map(drop)
}

/// The machine's pip, or the distribution's, unpacked under `target/`.
fn pip(workspace: &Workspace) -> Result<Command, Failure> {
    let mut own = Command::new("python3");
    own.args(["-m", "pip"]);
    if command::output(Command::new("python3").args(["-m", "pip", "--version"])).is_ok() {
        return Ok(own);
    }
    let folder = workspace.target("debian/pip");
    if !folder.join("usr/lib/python3/dist-packages/pip").is_dir() {
        let packages = [
            "python3-pip",
            "python3.11",
            "libpython3.11-stdlib",
            "python3-distutils",
        ];
        Archive::open(workspace)?.unpack_with_dependencies(&packages, Base::Nothing, &folder)?;
    }
    let mut pip = staged_python(&folder)?;
    pip.env("PYTHONPATH", folder.join("usr/lib/python3/dist-packages"));
    pip.args(["-m", "pip"]);
    Ok(pip)
}

fn cache(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let cache = workspace.target("samples/cache");
    fs::create_dir_all(&cache).attempt(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}

fn holds(path: &Path, sha256: &str) -> Result<bool, Failure> {
    if path.is_file() {
        Ok(digest::of_file(path)? == sha256)
    } else {
        Ok(false)
    }
}

/// Runs `fetch` and returns the file that is new in the cache after it, if any.
fn arrival(cache: &Path, fetch: impl FnOnce() -> Result<(), Failure>) -> Result<Option<PathBuf>, Failure> {
    let before = listing(cache)?;
    fetch()?;
    Ok(listing(cache)?.difference(&before).next().cloned())
}

fn find_by_digest(cache: &Path, sha256: &str) -> Result<PathBuf, Failure> {
    for path in listing(cache)? {
        if holds(&path, sha256)? {
            return Ok(path);
        }
    }
    Err(Failure::new(format!(
        "no file with sha256 {sha256} in {}",
        cache.display()
    )))
}

fn find_by_prefix(cache: &Path, prefix: &str) -> Result<PathBuf, Failure> {
    let simple = |text: &str| text.to_lowercase().replace('-', "_");
    let matches = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| simple(&name.to_string_lossy()).starts_with(&simple(prefix)))
    };
    listing(cache)?
        .into_iter()
        .find(matches)
        .ok_or_else(|| Failure::new(format!("no file named {prefix}… in {}", cache.display())))
}

fn listing(folder: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .attempt(|| format!("cannot list {}", folder.display()))
}

fn record(origin: Origin, name: &str, version: &str, path: &Path) -> Result<Artifact, Failure> {
    let file = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Artifact {
        origin,
        name: name.to_owned(),
        version: version.to_owned(),
        file,
        sha256: digest::of_file(path)?,
    })
}

fn split<'a>(pinned: &'a str, separator: &str) -> Result<(&'a str, &'a str), Failure> {
    pinned.rsplit_once(separator).ok_or_else(|| {
        Failure::new(format!(
            "`{pinned}` has no version; write it as name{separator}version"
        ))
    })
}

/// Unpacks one fetched file to where the definition wants it.
pub fn unpack(sample: &Sample, artifact: &Artifact, path: &Path, root: &Path) -> Result<(), Failure> {
    match artifact.origin {
        Origin::Debian => debian::unpack(path, root),
        Origin::Python => {
            let into = sample
                .python
                .as_ref()
                .expect("the artifact is one of its wheels")
                .into
                .as_str();
            unpack_wheel(path, root, into)
        }
        Origin::Npm => {
            let node = sample.npm.iter().find(|node| {
                node.package
                    .rsplit_once('@')
                    .is_some_and(|(name, _)| name == artifact.name)
            });
            let into = root.join(&node.expect("the artifact is one of its packages").into);
            fs::create_dir_all(&into).attempt(|| format!("cannot make {}", into.display()))?;
            let mut tar = Command::new("tar");
            tar.args([
                "--extract",
                "--gzip",
                "--strip-components=1",
                "--no-same-owner",
                "--file",
            ])
            .arg(path);
            command::output(tar.arg("--directory").arg(&into)).map(drop)
        }
    }
}

/// A wheel is a zip file; the interpreter just staged reads it, so that the machine needs neither Python nor unzip.
fn unpack_wheel(wheel: &Path, root: &Path, into: &str) -> Result<(), Failure> {
    let mut python = staged_python(root)?;
    command::output(
        python
            .args(["-m", "zipfile", "--extract"])
            .arg(wheel)
            .arg(root.join(into)),
    )
    .map(drop)
}

/// Compiles what was staged to bytecode, as installing does elsewhere: a grain cannot write beside its program, so it
/// would compile everything anew at each start.
pub fn compile_python(root: &Path) -> Result<(), Failure> {
    let mut python = staged_python(root)?;
    python
        .args([
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode=unchecked-hash",
            "-s",
        ])
        .arg(root)
        .args(["-p", "/"]);
    // Old syntax lies in some packages' tests; what does not compile is read as text, as ever.
    let _ = command::output(
        python
            .arg(root.join("usr/lib/python3"))
            .arg(root.join("usr/lib/python3.11")),
    );
    Ok(())
}

/// The interpreter of the package under construction, run from where it lies.
fn staged_python(root: &Path) -> Result<Command, Failure> {
    let libraries = [
        root.join("lib/x86_64-linux-gnu"),
        root.join("usr/lib/x86_64-linux-gnu"),
    ];
    let libraries =
        std::env::join_paths(libraries).attempt(|| format!("cannot use the path {}", root.display()))?;
    let mut python = Command::new(root.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
    python
        .arg("--library-path")
        .arg(libraries)
        .arg(root.join("usr/bin/python3.11"));
    python
        .env("PYTHONHOME", root.join("usr"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_security_revision_keeps_the_upstream_version() {
        assert_eq!(upstream("3.11.2-6+deb12u6"), upstream("3.11.2-6+deb12u9"));
        assert_eq!(upstream("1:1.35.0-4+b1"), "1.35.0");
        assert_ne!(upstream("18.20.4+dfsg-1"), upstream("18.21.0+dfsg-1"));
        assert_eq!(upstream("2026a"), "2026a");
    }
}
