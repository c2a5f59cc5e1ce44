//! Encryption: whom we believe who they are.

use std::sync::Arc;
use std::time::Duration;

use percloud_schemas::ip_capnp::ip_network;
use percloud_schemas::web_session_capnp::web_session;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::network::{connect, host};
use crate::said::{get, problem};
use crate::server::{Server, Visitor, both};
use crate::sink::{Sink, done, write};
use crate::world::{Outlet, World, run};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` that `issuer` vouches for, until a year.
fn identity(issuer: &Issuer, name: &str, until: i32) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn world(trusted: &Issuer) -> World {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    World::with(|config| config.roots = roots).await
}

async fn greet(server: &Server, identity: &TlsAcceptor) -> std::io::Result<Visitor<TlsStream<TcpStream>>> {
    let stream = server.raw().await;
    Ok(Visitor::new(identity.accept(stream).await?))
}

#[test]
fn a_site_with_the_right_certificate_is_spoken_to() {
    run(async {
        let authority = authority("known");
        let world = world(&authority).await;
        let server = Server::new().await;
        for name in ["localhost", "127.0.0.1"] {
            let identity = identity(&authority, name, 2100);
            let url = format!("https://{name}:{}/a", server.port);
            let session: web_session::Client = world.give(1, Outlet::SignedIn(&url, "Bearer a")).await;
            let serve = async {
                let mut visitor = greet(&server, &identity).await.unwrap();
                let seen = visitor.request().await;
                visitor.answer("302 So", "Location: b\r\n", b"").await;
                seen
            };
            let (said, seen) = both(get(&session, ""), serve).await;
            assert_eq!(
                (&*seen.line, seen.field("authorization")),
                ("GET /a HTTP/1.1", "Bearer a")
            );
            assert_eq!(
                said.unwrap().location,
                format!("https://{name}:{}/b", server.port)
            );
        }
    });
}

#[test]
fn who_cannot_prove_their_name_is_told_nothing() {
    run(async {
        let (known, unknown) = (authority("known"), authority("unknown"));
        let world = world(&known).await;
        let server = Server::new().await;
        let url = format!("https://localhost:{}/", server.port);
        let network = world.network(true).await;
        for (identity, why) in [
            (identity(&unknown, "localhost", 2100), "UnknownIssuer"),
            (identity(&known, "other.example", 2100), "not valid for name"),
            (identity(&known, "localhost", 2020), "expired"),
        ] {
            let session: web_session::Client = world.give(2, Outlet::SignedIn(&url, "Bearer secret")).await;
            let (said, greeted) = both(get(&session, ""), greet(&server, &identity)).await;
            let told = problem(said);
            assert!(told.contains("localhost") && told.contains(why), "{told}");
            assert!(!told.contains("secret"), "{told}");
            // In TLS 1.3 the server may think that all is well until it reads.
            if let Ok(mut visitor) = greeted {
                assert_eq!(visitor.closed().await, 0);
            }
            let sink = Sink::default();
            let machine = host(&network, "localhost");
            let (connected, greeted) =
                both(connect(&machine, server.port, &sink), greet(&server, &identity)).await;
            let told = problem(connected);
            assert!(told.contains("localhost cannot be spoken to in TLS"), "{told}");
            assert!(told.contains(why), "{told}");
            if let Ok(mut visitor) = greeted {
                assert_eq!(visitor.closed().await, 0);
            }
        }
    });
}

#[test]
fn a_site_that_does_not_speak_tls_is_told_nothing() {
    run(async {
        let world = world(&authority("known")).await;
        let server = Server::new().await;
        let url = format!("https://localhost:{}/", server.port);
        let session = world.website(&url).await;
        let plain = async {
            let mut visitor = server.accept().await;
            visitor
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                .await;
            let seen = visitor.take(5).await;
            assert_eq!(seen[..2], [0x16, 0x03], "a greeting in TLS");
        };
        let (said, ()) = both(get(&session, ""), plain).await;
        let told = problem(said);
        assert!(told.contains("localhost"), "{told}");
    });
}

#[test]
fn a_connection_is_encrypted_on_its_way() {
    run(async {
        let authority = authority("known");
        let world = world(&authority).await;
        let server = Server::new().await;
        let identity = identity(&authority, "localhost", 2100);
        let machine = host(&world.network(true).await, "localhost");
        let sink = Sink::default();
        let (upstream, visitor) =
            both(connect(&machine, server.port, &sink), greet(&server, &identity)).await;
        let (upstream, mut visitor) = (upstream.unwrap(), visitor.unwrap());
        write(&upstream, b"hello").await.unwrap();
        assert_eq!(visitor.take(5).await, b"hello");
        visitor.send("hello back").await;
        sink.until(|facts| facts.bytes == b"hello back").await;
        done(&upstream).await.unwrap();
        assert_eq!(visitor.closed().await, 0);
        visitor.shut_down().await;
        sink.until(|facts| facts.is_done).await;
        machine
            .get_udp_port_request()
            .send()
            .promise
            .await
            .map(drop)
            .unwrap_err();
    });
}

#[test]
fn what_was_cut_is_not_done() {
    run(async {
        let authority = authority("known");
        let world = world(&authority).await;
        let server = Server::new().await;
        let identity = identity(&authority, "localhost", 2100);
        let network: ip_network::Client = world.give(1, Outlet::Network { tls: true }).await;
        let sink = Sink::default();
        let machine = host(&network, "localhost");
        let (upstream, visitor) =
            both(connect(&machine, server.port, &sink), greet(&server, &identity)).await;
        let (_upstream, mut visitor) = (upstream.unwrap(), visitor.unwrap());
        visitor.send("the beginning").await;
        sink.until(|facts| facts.bytes == b"the beginning").await;
        // Without the farewell of TLS: anybody on the way could have done this.
        drop(visitor);
        sink.until(|facts| facts.is_dropped).await;
        assert!(!sink.read(|facts| facts.is_done));
    });
}

#[test]
fn a_greeting_does_not_take_for_ever() {
    run(async {
        let world = World::limited(|limits| limits.patience = std::time::Duration::from_millis(200)).await;
        let server = Server::new().await;
        let machine = host(&world.network(true).await, "localhost");
        let silent = async { server.accept().await.closed().await };
        let (connected, _) = both(connect(&machine, server.port, &Sink::default()), silent).await;
        let told = problem(connected);
        assert!(told.contains("localhost cannot be spoken to in TLS"), "{told}");
    });
}

#[test]
fn greetings_that_hang_are_few() {
    run(async {
        let authority = authority("known");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let world = World::with(|config| {
            config.roots = roots;
            config.limits.connections = 4;
        })
        .await;
        let server = Server::new().await;
        let url = format!("https://localhost:{}/", server.port);
        let session = world.website(&url).await;
        let identity = identity(&authority, "localhost", 2100);
        let mut asked = Box::pin(get(&session, ""));
        let mut visitor = tokio::select! {
            _ = &mut asked => unreachable!("nobody answers"),
            visitor = greet(&server, &identity) => visitor.unwrap(),
        };
        let well = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell";
        for _ in 0..10 {
            // Each time a request makes the client connect once more, and is then answered on the connection there is.
            visitor.request().await;
            let mut another = Box::pin(get(&session, ""));
            let early = tokio::time::timeout(Duration::from_millis(50), &mut another).await;
            early.map(drop).unwrap_err();
            let (said, ()) = both(asked, visitor.send(well)).await;
            assert_eq!(said.unwrap().body, b"well");
            asked = another;
        }
        let mut hanging = Vec::new();
        while let Some(stream) = server.waiting() {
            hanging.push(stream);
        }
        assert_eq!(hanging.len(), 3);
    });
}

#[test]
fn a_site_does_not_greet_for_ever() {
    run(async {
        let world = World::limited(|limits| limits.patience = Duration::from_millis(200)).await;
        let server = Server::new().await;
        let url = format!("https://localhost:{}/", server.port);
        let session = world.website(&url).await;
        let silent = async { server.accept().await.closed().await };
        let (said, _) = both(get(&session, ""), silent).await;
        let told = problem(said);
        assert!(told.contains("localhost cannot be spoken to in TLS"), "{told}");
    });
}
