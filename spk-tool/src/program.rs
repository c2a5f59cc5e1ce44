//! The `spk` program: makes keys and packages, checks and unpacks packages.

mod arguments;
mod init;
mod inspect;
mod keys;
mod make;
mod report;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::definition::DefinitionError;
use crate::error::SpkError;
use crate::keyring::KeyringError;
use crate::pack::PackError;
use crate::source::SourceError;
use arguments::{Arguments, Verb};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Package(#[from] SpkError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The command cannot be carried out as given.
    #[error("{0}")]
    Use(String),
    /// Standard input or output, or a file named on the command line.
    #[error("cannot {what}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
}

impl Failure {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// 1: the package is not good, or something could not be done. 2: the command has to be given differently.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Use(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let as_json = arguments.verb.wants_json();
    let done = match &arguments.verb {
        Verb::Keygen => keys::generate(&arguments.common),
        Verb::Listkeys { json } => keys::list(&arguments.common, *json),
        Verb::Getkey { apps } => keys::get(&arguments.common, apps),
        Verb::Init(init) => init::init(&arguments.common, init),
        Verb::Pack(pack) => make::pack(&arguments.common, pack),
        Verb::Unpack(unpack) => inspect::unpack(&arguments.common, unpack),
        Verb::Verify(verify) => inspect::verify(&arguments.common, verify),
    };
    match done.and_then(|()| io::stdout().flush().map_err(Failure::io("write the answer"))) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our answer has seen enough.
        Err(Failure::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            report::failure(&failure, as_json);
            failure.exit_code()
        }
    }
}
