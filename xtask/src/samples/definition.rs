//! What a sample is made of, as its `sample.json` says.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

/// One sample app. Paths are relative to the root of the package.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The folder's name.
    #[serde(skip)]
    pub name: String,
    /// The folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// One line for people.
    #[allow(dead_code, reason = "read by people")]
    pub summary: String,
    /// Debian packages, unpacked in this order. All of them: nothing is added for dependencies.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Python wheels.
    pub python: Option<Wheels>,
    /// npm packages, unpacked without running any of their scripts.
    #[serde(default)]
    pub npm: Vec<NodePackage>,
    /// Our own statically linked programs: name of the binary, and where it goes.
    #[serde(default)]
    pub binaries: Vec<(String, String)>,
    /// Left out of the package: documentation and other things no program reads.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Folders of which only the entries named stay.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    /// Moved: `/var` belongs to the grain, so what a package ships there waits elsewhere.
    #[serde(default, rename = "move")]
    pub moves: Vec<(String, String)>,
    /// Symbolic links to make: where, and what they say.
    #[serde(default, rename = "link")]
    pub links: Vec<(String, String)>,
}

/// Wheels and where they are unpacked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheels {
    /// The folder of importable packages.
    pub into: String,
    /// `name==version`, dependencies included.
    pub packages: Vec<String>,
}

/// An npm package and where it is unpacked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePackage {
    /// `name@version`.
    pub package: String,
    /// The folder it becomes.
    pub into: String,
}

impl Sample {
    /// Reads `tests/samples/NAME/sample.json`.
    pub fn read(workspace: &Workspace, name: &str) -> Result<Self, Failure> {
        let folder = workspace.path("tests/samples").join(name);
        let path = folder.join("sample.json");
        let text = fs::read_to_string(&path).attempt(|| format!("cannot read {}", path.display()))?;
        let mut sample: Sample =
            serde_json::from_str(&text).attempt(|| format!("cannot make sense of {}", path.display()))?;
        sample.name = name.to_owned();
        sample.folder = folder;
        Ok(sample)
    }

    /// Where the sample is put together: `target/samples/NAME`.
    pub fn work(&self, workspace: &Workspace) -> PathBuf {
        workspace.target("samples").join(&self.name)
    }
}
