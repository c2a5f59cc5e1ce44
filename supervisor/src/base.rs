//! The URL people use, checked once.

use std::net::SocketAddr;

/// Why a base URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// Not `http://` or `https://`.
    #[error("the base URL {0} does not start with http:// or https://")]
    Scheme(String),
    /// Something after the host.
    #[error("the base URL {0} must end after its host and port")]
    Tail(String),
    /// Not a host name under which other names can live.
    #[error(
        "the base URL's host {0} must be a name, such as percloud.example.org: every page gets a name below it"
    )]
    Host(String),
}

/// Scheme and host of the shell, the host with its port where that is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub scheme: String,
    pub host: String,
}

impl Base {
    /// The URL people use: the one they asked for, or `percloud.localhost` with the port listened on.
    pub fn new(asked: Option<&str>, listening: SocketAddr) -> Result<Self, BaseError> {
        match asked {
            None => {
                let port = if listening.port() == 80 {
                    String::new()
                } else {
                    format!(":{}", listening.port())
                };
                Ok(Self {
                    scheme: "http".to_owned(),
                    host: format!("percloud.localhost{port}"),
                })
            }
            Some(url) => Self::parse(url),
        }
    }

    /// Reads `scheme://host[:port]`.
    pub fn parse(url: &str) -> Result<Self, BaseError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| BaseError::Scheme(url.to_owned()))?;
        if !matches!(scheme, "http" | "https") {
            return Err(BaseError::Scheme(url.to_owned()));
        }
        let host = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
        if host.contains(['/', '?', '#', '@']) {
            return Err(BaseError::Tail(url.to_owned()));
        }
        let (name, port) = host
            .split_once(':')
            .map_or((host.as_str(), None), |(name, port)| (name, Some(port)));
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty() && label.len() <= 63 && label.bytes().all(plain) && !label.starts_with('-')
        };
        let named = name.split('.').all(label) && name.parse::<std::net::Ipv4Addr>().is_err();
        let ported = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if !named || !ported || name.len() > 200 {
            return Err(BaseError::Host(host));
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            host,
        })
    }

    /// `scheme://host`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_and_anything_else_is_explained() {
        let good = Base::parse("https://Cloud.Example.org/").unwrap();
        assert_eq!(good.url(), "https://cloud.example.org");
        assert_eq!(
            Base::parse("http://percloud.localhost:8000").unwrap().host,
            "percloud.localhost:8000"
        );
        for bad in [
            "cloud.example.org",
            "ftp://x",
            "http://",
            "http://127.0.0.1:80",
            "http://a/b",
            "http://a:0",
            "http://-a",
            "http://u@a",
        ] {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
        let default = Base::new(None, "127.0.0.1:6080".parse().unwrap()).unwrap();
        assert_eq!(default.url(), "http://percloud.localhost:6080");
    }
}
