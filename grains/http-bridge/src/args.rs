//! Reads the command line: `sandstorm-http-bridge <port> [--] <command> [<argument>…]`.

use std::ffi::OsString;

/// What the package's manifest asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// Loopback TCP port on which the app will listen, 1 to 65535.
    pub app_port: u16,
    /// The app's command and its arguments; never empty.
    pub command: Vec<OsString>,
}

/// A command line the bridge cannot act on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UsageError {
    /// No port was given, or it is not a number between 1 and 65535.
    #[error("usage: sandstorm-http-bridge <port> [--] <command> [<argument>...]: {0} is not a port")]
    Port(String),
    /// No command follows the port.
    #[error("usage: sandstorm-http-bridge <port> [--] <command> [<argument>...]: no command given")]
    NoCommand,
}

impl Args {
    /// Reads the arguments that follow the program name.
    ///
    /// # Errors
    /// See [`UsageError`].
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut args = args.into_iter();
        let port = args.next().unwrap_or_default();
        let app_port = port
            .to_str()
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| UsageError::Port(format!("{port:?}")))?;
        let mut command: Vec<OsString> = args.collect();
        if command.first().is_some_and(|first| first == "--") {
            command.remove(0);
        }
        if command.is_empty() {
            return Err(UsageError::NoCommand);
        }
        Ok(Self { app_port, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, UsageError> {
        Args::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn dashes_before_the_command_are_optional_and_taken_once() {
        for args in [&["8000", "run", "-x"][..], &["8000", "--", "run", "-x"]] {
            let args = parse(args).unwrap();
            assert_eq!(args.app_port, 8000);
            assert_eq!(args.command, ["run", "-x"]);
        }
        assert_eq!(parse(&["1", "--", "--"]).unwrap().command, ["--"]);
    }

    #[test]
    fn a_port_and_a_command_are_needed() {
        for args in [
            &[][..],
            &["0", "x"],
            &["65536", "x"],
            &["-1", "x"],
            &["http", "x"],
        ] {
            assert!(matches!(parse(args), Err(UsageError::Port(_))), "{args:?}");
        }
        assert_eq!(parse(&["80"]), Err(UsageError::NoCommand));
        assert_eq!(parse(&["80", "--"]), Err(UsageError::NoCommand));
    }
}
