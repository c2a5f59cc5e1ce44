//! What can be written on the command line, and what `--help` says about it.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::definition::Location;
use crate::{AppId, pack};

/// Makes and reads Sandstorm packages.
///
/// An .spk file holds an app: its files, a manifest that says how to start it, and the signature of its author. The
/// public half of the author's key is the app's id; whoever has the secret half can publish new versions of the app.
#[derive(Debug, Parser)]
#[command(name = "spk", version, max_term_width = 100, after_long_help = AFTERWORD)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const AFTERWORD: &str = "\
Making a package:
  spk keygen                                 makes a key, prints the app's id
  spk init -i APP_ID -p 8000 -- ./server     writes sandstorm-pkgdef.capnp; edit it
  spk pack app.spk                           packs what the definition says
  spk verify app.spk                         shows what came out

Files:
  ~/.sandstorm-keyring      secret keys; back it up, show it to nobody; two of them merge by `cat`
  sandstorm-pkgdef.capnp    the package definition
  percloud-sandbox          in the package's root, with the word `native` in it: Percloud then answers the
                            app only the system calls that native apps need, and refuses all others. Without
                            it the app runs under Sandstorm's rules. Sandstorm ignores the file. What an app
                            is refused is told by `percloud try`.

Exit status:
  0  done
  1  the package is not good, or something could not be done; the reason is on standard error
  2  the command line cannot be understood or carried out";

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Takes keys from this file [default: ~/.sandstorm-keyring]
    #[arg(short = 'k', long = "keyring", value_name = "FILE", global = true)]
    pub(super) keyring: Option<PathBuf>,

    /// Says nothing but results and errors
    #[arg(short = 'q', long = "quiet", global = true)]
    pub(super) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Makes a new key, adds it to the keyring and prints its app id
    Keygen,
    /// Prints the app id of every key on the keyring, one in a line
    Listkeys {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Writes keys to standard output, secret halves included
    ///
    /// The output is a keyring again: append it to another one, or keep it as a backup. Nothing is written to a
    /// terminal. Keys that were replaced by others are not followed: exactly the keys named are written.
    Getkey {
        /// The keys, as app ids
        #[arg(required = true, value_name = "APP_ID")]
        apps: Vec<AppId>,
    },
    /// Writes a package definition to start from
    Init(Init),
    /// Packs, signs and compresses what a definition says, and prints the app id
    Pack(Pack),
    /// Checks a package and unpacks it into a new folder, and prints the app id
    Unpack(Unpack),
    /// Checks a package and shows what is in it
    Verify(Verify),
}

impl Verb {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Listkeys { json } => *json,
            Self::Pack(pack) => pack.json,
            Self::Unpack(unpack) => unpack.json,
            Self::Verify(verify) => verify.json,
            Self::Keygen | Self::Getkey { .. } | Self::Init(_) => false,
        }
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("kind").required(true))]
pub(super) struct Init {
    /// The app speaks HTTP on this port, 1024 to 65535; the bridge connects it to the platform
    #[arg(short = 'p', long = "port", value_name = "PORT", group = "kind", value_parser = clap::value_parser!(u16).range(1024..))]
    pub(super) port: Option<u16>,

    /// The app speaks Cap'n Proto itself
    #[arg(short = 'r', long = "raw", group = "kind")]
    pub(super) raw: bool,

    /// Writes the definition to this file
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FILE",
        default_value = "sandstorm-pkgdef.capnp"
    )]
    pub(super) output: PathBuf,

    /// The app's id; without it, a new key is made
    #[arg(short = 'i', long = "app-id", value_name = "APP_ID")]
    pub(super) app_id: Option<AppId>,

    /// Takes files from this folder; may be given several times [default: the definition's folder, then /]
    #[arg(short = 'I', long = "source-path", value_name = "FOLDER", action = ArgAction::Append)]
    pub(super) source_paths: Vec<String>,

    /// Packs everything in the source folders
    #[arg(short = 'A', long = "include-all")]
    pub(super) include_all: bool,

    /// How the app is started: program and arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Pack {
    /// The package to write; it appears when it is complete
    #[arg(value_name = "PACKAGE")]
    pub(super) output: PathBuf,

    /// Looks here for what a definition imports; may be given several times
    ///
    /// Searched in the order given, before the schemas that come with this program, /usr/local/include and
    /// /usr/include.
    #[arg(short = 'I', long = "import-path", value_name = "FOLDER", action = ArgAction::Append)]
    pub(super) import_paths: Vec<PathBuf>,

    /// Takes the package definition from this file and constant
    #[arg(
        short = 'p',
        long = "pkg-def",
        value_name = "FILE:CONSTANT",
        default_value = "sandstorm-pkgdef.capnp:pkgdef"
    )]
    pub(super) definition: Location,

    /// The HTTP bridge to put into the package [default: `sandstorm-http-bridge` beside this program]
    #[arg(long, value_name = "FILE", env = "PERCLOUD_HTTP_BRIDGE")]
    pub(super) bridge: Option<PathBuf>,

    /// Compression: 0 is fast, 9 is small
    #[arg(long, value_name = "LEVEL", default_value_t = pack::Options::default().level, value_parser = clap::value_parser!(u32).range(0..=9))]
    pub(super) level: u32,

    /// Threads that compress, each with about 65 MB of memory [default: one per core, at most 4]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) threads: Option<u32>,

    /// Prints a JSON object with appId, packageId and size
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Unpack {
    /// The package; "-" reads standard input
    #[arg(value_name = "PACKAGE")]
    pub(super) package: PathBuf,

    /// The folder to create [default: the package's name without .spk]
    #[arg(value_name = "FOLDER")]
    pub(super) folder: Option<PathBuf>,

    /// Prints a JSON object with appId, packageId and folder
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The package; "-" reads standard input
    #[arg(value_name = "PACKAGE")]
    pub(super) package: PathBuf,

    /// Prints a JSON object instead of text; errors too are JSON then: {"error": {"code", "message"}}
    #[arg(long)]
    pub(super) json: bool,

    /// Shows texts in full
    #[arg(short = 'd', long = "details")]
    pub(super) details: bool,
}
