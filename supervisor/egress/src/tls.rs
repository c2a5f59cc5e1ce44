//! Encryption, with the certificate authorities the machine trusts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gate::bare;

/// Reads whom the machine trusts, and says so in the log when that is nobody. To be called before the process is confined:
/// they are files anywhere.
#[must_use]
pub fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("cannot read a certificate authority: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, _odd) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "no certificate authorities are installed, so apps reach no website by https (on Debian: apt install ca-certificates)"
        );
    }
    roots
}

/// How we speak to servers.
pub(crate) fn client(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Encrypts a connection to `host`, which has to prove that name.
pub(crate) async fn encrypt(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
    patience: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = TlsConnector::from(Arc::clone(config)).connect(proven(host)?, stream);
    tokio::time::timeout(patience, hello)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The name a host has to prove.
fn proven(host: &str) -> io::Result<ServerName<'static>> {
    // The gate takes addresses with and without brackets; certificates have none.
    ServerName::try_from(bare(host).to_owned()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_prove_names_and_addresses() {
        for host in ["example.org", "127.0.0.1", "::1", "[::1]"] {
            proven(host).unwrap();
        }
        assert_eq!(proven("[::1]").unwrap(), proven("::1").unwrap());
        for host in ["", "a b", "[", "[]", "[a]b"] {
            proven(host).unwrap_err();
        }
    }
}
