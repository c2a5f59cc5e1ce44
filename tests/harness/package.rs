//! Makes packages with `spk`, good ones and bad ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::built;

/// What a package is made of.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The app's title.
    pub title: String,
    /// Files: path in the package, and where its contents come from.
    pub files: Vec<(String, PathBuf)>,
    /// What a new grain runs.
    pub argv: Vec<String>,
    /// What a grain runs later; `None` leaves it out.
    pub continue_argv: Option<Vec<String>>,
    /// The word in its `percloud-sandbox`, if it has one.
    pub sandbox: Option<String>,
}

impl Recipe {
    /// A package that runs one of our own static programs as `/app`.
    pub fn of_program(title: &str, program: &str, arguments: &[&str]) -> Self {
        let argv: Vec<String> = std::iter::once("/app")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        Recipe {
            title: title.to_owned(),
            files: vec![("app".to_owned(), built::grain_program(program))],
            continue_argv: Some(argv.clone()),
            argv,
            sandbox: None,
        }
    }

    /// An app that misbehaves in the way named; see `fixtures/hostile`.
    pub fn hostile(way: &str) -> Self {
        Recipe::of_program(&format!("Hostile ({way})"), "percloud-hostile", &[way])
    }

    /// Packs it, with a key of its own.
    pub fn pack(&self) -> Package {
        let folder = tempfile::Builder::new()
            .prefix("percloud-package-")
            .tempdir()
            .expect("a temporary folder can be made");
        for (place, from) in &self.files {
            let to = folder.path().join("root").join(place);
            fs::create_dir_all(to.parent().expect("it was joined")).expect("folders can be made");
            fs::copy(from, &to).expect("the file can be copied");
        }
        fs::create_dir_all(folder.path().join("root")).expect("folders can be made");
        if let Some(word) = &self.sandbox {
            fs::write(folder.path().join("root/percloud-sandbox"), word).expect("the file can be written");
        }
        let keyring = folder.path().join("keyring");
        let printed = spk(folder.path(), &["keygen", "-k"], &keyring, &[]);
        let id = printed
            .lines()
            .map(str::trim)
            .rfind(|line| line.len() == 52)
            .expect("keygen prints the app id");
        fs::write(folder.path().join("sandstorm-pkgdef.capnp"), self.definition(id))
            .expect("the definition can be written");
        spk(
            folder.path(),
            &["pack", "-p", "sandstorm-pkgdef.capnp:pkgdef", "-k"],
            &keyring,
            &["app.spk"],
        );
        Package {
            path: folder.path().join("app.spk"),
            _folder: folder,
        }
    }

    fn definition(&self, id: &str) -> String {
        let command =
            |argv: &[String]| format!("(argv = {argv:?}, environ = [(key = \"PATH\", value = \"/\")])");
        let later = self
            .continue_argv
            .as_deref()
            .map(|argv| format!("continueCommand = {},", command(argv)));
        format!(
            "@0xbf1d6c0b5a3e4728;\n\
             using Spk = import \"/sandstorm/package.capnp\";\n\
             const pkgdef :Spk.PackageDefinition = (\n\
               id = {id:?},\n\
               manifest = (\n\
                 appTitle = (defaultText = {:?}),\n\
                 appVersion = 1,\n\
                 appMarketingVersion = (defaultText = \"1.0\"),\n\
                 actions = [(nounPhrase = (defaultText = \"thing\"), command = {})],\n\
                 {}\n\
               ),\n\
               sourceMap = (searchPath = [(sourcePath = \"root\")]),\n\
               alwaysInclude = [\".\"]\n\
             );\n",
            self.title,
            command(&self.argv),
            later.unwrap_or_default(),
        )
    }
}

/// A package on disk, gone when dropped.
#[derive(Debug)]
pub struct Package {
    path: PathBuf,
    _folder: TempDir,
}

impl Package {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).expect("the package can be read")
    }
}

fn spk(folder: &Path, before: &[&str], keyring: &Path, after: &[&str]) -> String {
    let output = Command::new(built::program("spk"))
        .args(before)
        .arg(keyring)
        .args(after)
        .current_dir(folder)
        .output()
        .expect("spk can be started");
    assert!(
        output.status.success(),
        "spk {before:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
