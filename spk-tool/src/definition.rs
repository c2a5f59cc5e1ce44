//! Evaluates `sandstorm-pkgdef.capnp`: what an app's author writes to say what goes into a package.
//!
//! A definition is a Cap'n Proto schema with a constant, and may use imports, `embed` and other constants, so it takes
//! a schema compiler to read one. The official compiler comes with us as WebAssembly and runs in this process; Sandstorm's
//! schemas come with us too. The reasons are in `docs/adr/0006-package-definitions.md`.

mod schemas;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use capnp::message::{Builder, ReaderOptions};
use capnp::schema_capnp::{code_generator_request, node, value};
use capnp::traits::HasTypeId;
use capnp::{serialize, text};
use percloud_schema_compiler::{Sources, compile};
use percloud_schemas::package_capnp::{bridge_config, manifest, package_definition};

use crate::manifest::{Manifest, is_bridge, parse};
use crate::source::{Mapping, PackagePath};
use crate::{AppId, SpkError};

/// Where a definition is: a schema file and the name of a constant in it. Written `FILE:CONSTANT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The schema file.
    pub file: PathBuf,
    /// The constant's name.
    pub constant: String,
}

impl Default for Location {
    fn default() -> Self {
        Self {
            file: "sandstorm-pkgdef.capnp".into(),
            constant: "pkgdef".to_owned(),
        }
    }
}

impl FromStr for Location {
    type Err = std::convert::Infallible;

    /// Reads `FILE:CONSTANT`; either half may be left out, with its colon.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let usual = Self::default();
        let (file, constant) = text.rsplit_once(':').unwrap_or((text, ""));
        Ok(Self {
            file: if file.is_empty() { usual.file } else { file.into() },
            constant: if constant.is_empty() {
                usual.constant
            } else {
                constant.to_owned()
            },
        })
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.file.display(), self.constant)
    }
}

/// An evaluated definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The app.
    pub app_id: AppId,
    /// The message that becomes `sandstorm-manifest`.
    pub manifest_message: Vec<u8>,
    /// The same, read as a server will read it.
    pub manifest: Manifest,
    /// The message that becomes `sandstorm-http-bridge-config`, if the app uses the bridge.
    pub bridge_config: Option<Vec<u8>>,
    /// Where files come from, in order of precedence.
    pub search_path: Vec<Mapping>,
    /// The text file that lists what to pack.
    pub file_list: Option<PathBuf>,
    /// What to pack in any case, folders with all they hold.
    pub always_include: Vec<PackagePath>,
    /// When the definition was last changed, in nanoseconds since 1970: the age of whatever is made from it.
    pub modified: i64,
}

/// Why a definition could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read the package definition \"{file}\"; name it with -p FILE:CONSTANT, or write one with `spk init`", file = .file.display())]
    Read {
        /// The definition's file.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The schema compiler found mistakes. It has printed them, with file and line, on standard error.
    #[error("the package definition \"{file}\" has mistakes: see above for file and line", file = .file.display())]
    Compile {
        /// The definition's file.
        file: PathBuf,
        /// The compiler's exit.
        #[source]
        source: percloud_schema_compiler::Error,
    },
    /// The schemas that come with this program could not be put where the compiler reads them.
    #[error("cannot write Sandstorm's schemas to a temporary folder for the schema compiler")]
    Stage(#[source] io::Error),
    /// The file has no such constant, or it is not a package definition.
    #[error("\"{file}\" {problem}; a definition looks like: const {constant} :Spk.PackageDefinition = (…)", file = .location.file.display(), constant = .location.constant)]
    NoDefinition {
        /// What was asked for.
        location: Location,
        /// What is there instead.
        problem: &'static str,
    },
    /// The definition lacks something or says something that cannot be.
    #[error("the package definition {location} {problem}")]
    Wrong {
        /// The definition.
        location: Location,
        /// What is wrong with it.
        problem: String,
    },
    /// A server would refuse its manifest.
    #[error("the package definition {location} has a manifest that no server would take")]
    Manifest {
        /// The definition.
        location: Location,
        /// What the server would say.
        #[source]
        source: SpkError,
    },
}

/// Evaluates the definition at `location`, looking for absolute imports in `import_paths` first.
///
/// # Errors
/// Reports what is wrong with the definition. Mistakes in the schema itself are printed on standard error.
pub fn evaluate(location: &Location, import_paths: &[PathBuf]) -> Result<Definition, DefinitionError> {
    let unreadable = |source| DefinitionError::Read {
        file: location.file.clone(),
        source,
    };
    let modified = modified(&location.file).map_err(unreadable)?;
    let staged = schemas::stage().map_err(DefinitionError::Stage)?;
    let own = Some(staged.path().to_owned());
    let system = ["/usr/local/include", "/usr/include"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|path| path.is_dir());
    let sources = Sources {
        files: vec![location.file.clone()],
        import_paths: import_paths.iter().cloned().chain(own).chain(system).collect(),
        ..Sources::default()
    };
    let request = compile(&sources).map_err(|source| DefinitionError::Compile {
        file: location.file.clone(),
        source,
    })?;
    Reading { location, modified }.read(&request)
}

fn modified(file: &Path) -> io::Result<i64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec()))
}

struct Reading<'a> {
    location: &'a Location,
    modified: i64,
}

impl Reading<'_> {
    fn read(&self, request: &[u8]) -> Result<Definition, DefinitionError> {
        // The compiler's own answer about the author's own file: large (pictures are embedded), not hostile.
        let mut options = ReaderOptions::new();
        options.traversal_limit_in_words(None);
        let message = serialize::read_message(request, options).map_err(|e| self.odd(e))?;
        let request: code_generator_request::Reader<'_> = message.get_root().map_err(|e| self.odd(e))?;
        let constant = self.find_constant(request).map_err(|e| self.odd(e))?;
        let constant = constant.ok_or_else(|| self.missing("has no such constant"))?;
        let definition = as_definition(constant).map_err(|e| self.odd(e))?;
        self.read_definition(
            definition.ok_or_else(|| self.missing("has a constant of that name and another type"))?,
        )
    }

    fn find_constant<'r>(
        &self,
        request: code_generator_request::Reader<'r>,
    ) -> capnp::Result<Option<node::Reader<'r>>> {
        let files = request.get_requested_files()?;
        if files.is_empty() {
            return Ok(None);
        }
        let file = files.get(0).get_id();
        let nodes = request.get_nodes()?;
        let find = |id: u64| nodes.iter().find(|node| node.get_id() == id);
        let Some(file) = find(file) else { return Ok(None) };
        for nested in file.get_nested_nodes()? {
            if nested.get_name()?.as_bytes() == self.location.constant.as_bytes() {
                return Ok(find(nested.get_id()));
            }
        }
        Ok(None)
    }

    fn read_definition(
        &self,
        definition: package_definition::Reader<'_>,
    ) -> Result<Definition, DefinitionError> {
        let odd = |error| self.odd(error);
        let app_id = self.text(definition.get_id(), "id")?;
        let app_id = app_id.parse().map_err(|error| {
            self.wrong(format!(
                "has an `id` that is not an app id ({error}); make one with `spk keygen`"
            ))
        })?;
        if !definition.has_manifest() {
            return Err(self.wrong("has no `manifest`".to_owned()));
        }
        let manifest = definition.get_manifest().map_err(odd)?;
        self.check_manifest(manifest)?;
        let manifest_message = message_of(|message| message.set_root(manifest)).map_err(odd)?;
        let (read, _) = parse(&manifest_message).map_err(|source| DefinitionError::Manifest {
            location: self.location.clone(),
            source,
        })?;

        let uses_bridge = read.uses_bridge || read.actions.iter().any(|action| is_bridge(&action.command));
        let mut bridge_config = None;
        if definition.has_bridge_config() {
            let config = definition.get_bridge_config().map_err(odd)?;
            bridge_config = Some(message_of(|message| message.set_root(config)).map_err(odd)?);
        } else if uses_bridge {
            bridge_config = Some(empty_bridge_config());
        }
        let file_list = self.text(definition.get_file_list(), "fileList")?;
        let mut always_include = Vec::new();
        for path in definition.get_always_include().map_err(odd)? {
            always_include.push(self.package_path(&self.text(path, "alwaysInclude")?, "alwaysInclude")?);
        }
        Ok(Definition {
            app_id,
            manifest_message,
            manifest: read,
            bridge_config,
            search_path: self.search_path(definition)?,
            file_list: (!file_list.is_empty()).then(|| self.folder().join(file_list)),
            always_include,
            modified: self.modified,
        })
    }

    /// Checks what only a packer demands.
    fn check_manifest(&self, manifest: manifest::Reader<'_>) -> Result<(), DefinitionError> {
        let odd = |error| self.odd(error);
        let title = manifest.get_app_title().map_err(odd)?;
        if title.get_default_text().map_err(odd)?.is_empty() {
            return Err(self.wrong(
                "has no `appTitle` in its manifest; add: appTitle = (defaultText = \"…\")".to_owned(),
            ));
        }
        let version = manifest.get_app_marketing_version().map_err(odd)?;
        if version.get_default_text().map_err(odd)?.is_empty() {
            let remedy = "has no `appMarketingVersion` in its manifest; add: appMarketingVersion = (defaultText = \"1.0\")";
            return Err(self.wrong(remedy.to_owned()));
        }
        let (least, most) = (manifest.get_min_api_version(), manifest.get_max_api_version());
        if least > most {
            return Err(self.wrong("has a `minApiVersion` above its `maxApiVersion`".to_owned()));
        }
        if least > 0 {
            return Err(self.wrong("has a `minApiVersion` above 0, the only version there is".to_owned()));
        }
        let metadata = manifest.get_metadata().map_err(odd)?;
        for (field, address) in [
            ("website", metadata.get_website()),
            ("codeUrl", metadata.get_code_url()),
        ] {
            let address = self.text(address, field)?;
            if !(address.is_empty() || address.starts_with("http://") || address.starts_with("https://")) {
                return Err(self.wrong(format!(
                    "has a `{field}` that does not begin with http:// or https://"
                )));
            }
        }
        Ok(())
    }

    fn search_path(
        &self,
        definition: package_definition::Reader<'_>,
    ) -> Result<Vec<Mapping>, DefinitionError> {
        let odd = |error| self.odd(error);
        let mut search_path = Vec::new();
        for mapping in definition
            .get_source_map()
            .map_err(odd)?
            .get_search_path()
            .map_err(odd)?
        {
            let package_path = self.text(mapping.get_package_path(), "packagePath")?;
            let source_path = self.text(mapping.get_source_path(), "sourcePath")?;
            let mut hide = Vec::new();
            for path in mapping.get_hide_paths().map_err(odd)? {
                hide.push(self.package_path(&self.text(path, "hidePaths")?, "hidePaths")?);
            }
            search_path.push(Mapping {
                at: self.package_path(&package_path, "packagePath")?,
                from: self.folder().join(source_path),
                hide,
            });
        }
        Ok(search_path)
    }

    /// Paths in a definition are relative to its file.
    fn folder(&self) -> &Path {
        self.location.file.parent().unwrap_or(Path::new(""))
    }

    fn package_path(&self, path: &str, field: &str) -> Result<PackagePath, DefinitionError> {
        path.parse()
            .map_err(|problem| self.wrong(format!("has in `{field}` the path \"{path}\", which {problem}")))
    }

    fn text(&self, text: capnp::Result<text::Reader<'_>>, field: &str) -> Result<String, DefinitionError> {
        let text = text.map_err(|error| self.odd(error))?;
        text.to_string()
            .map_err(|_| self.wrong(format!("has a `{field}` that is not UTF-8")))
    }

    fn missing(&self, problem: &'static str) -> DefinitionError {
        DefinitionError::NoDefinition {
            location: self.location.clone(),
            problem,
        }
    }

    fn wrong(&self, problem: String) -> DefinitionError {
        DefinitionError::Wrong {
            location: self.location.clone(),
            problem,
        }
    }

    fn odd(&self, error: capnp::Error) -> DefinitionError {
        self.wrong(format!("cannot be read ({error})"))
    }
}

fn as_definition<'r>(constant: node::Reader<'r>) -> capnp::Result<Option<package_definition::Reader<'r>>> {
    let Ok(node::Which::Const(constant)) = constant.which() else {
        return Ok(None);
    };
    let type_id = match constant.get_type()?.which() {
        Ok(capnp::schema_capnp::type_::Which::Struct(of)) => of.get_type_id(),
        _ => return Ok(None),
    };
    if type_id != <package_definition::Reader<'_> as HasTypeId>::TYPE_ID {
        return Ok(None);
    }
    match constant.get_value()?.which() {
        Ok(value::Which::Struct(content)) => content.get_as().map(Some),
        _ => Ok(None),
    }
}

fn message_of(
    fill: impl FnOnce(&mut Builder<capnp::message::HeapAllocator>) -> capnp::Result<()>,
) -> capnp::Result<Vec<u8>> {
    let mut message = Builder::new_default();
    fill(&mut message)?;
    Ok(serialize::write_message_to_words(&message))
}

fn empty_bridge_config() -> Vec<u8> {
    let mut message = Builder::new_default();
    message.init_root::<bridge_config::Builder<'_>>();
    serialize::write_message_to_words(&message)
}

#[cfg(test)]
mod tests;
