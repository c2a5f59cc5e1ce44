//! The doors for the app: the Cap'n Proto socket and the HTTP proxy.

use capnp::capability::FromClientHook;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use percloud_schemas::hack_session_capnp::hack_session_context;
use percloud_schemas::sandstorm_http_bridge_capnp::sandstorm_http_bridge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::spawn_local;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::harness::{Bridge, run};
use crate::world::Context;

/// Connects as the app does, exporting `hooks` if there are any.
pub async fn connect(
    bridge: &Bridge,
    hooks: Option<capnp::capability::Client>,
) -> sandstorm_http_bridge::Client {
    let socket = UnixStream::connect(bridge.directory.path().join("api"))
        .await
        .unwrap();
    let (read, write) = socket.into_split();
    let options = capnp::message::ReaderOptions::new();
    let network = twoparty::VatNetwork::new(read.compat(), write.compat_write(), Side::Client, options);
    let mut system = RpcSystem::new(Box::new(network), hooks);
    let client = system.bootstrap(Side::Server);
    spawn_local(system);
    client
}

async fn context_is_found(api: &sandstorm_http_bridge::Client, id: &str) -> bool {
    let mut request = api.get_session_context_request();
    request.get().set_id(id);
    let Ok(answer) = request.send().promise.await else {
        return false;
    };
    let context = answer.get().unwrap().get_context().unwrap();
    context.close_request().send().promise.await.is_ok()
}

#[test]
fn the_app_reaches_the_platform_and_the_contexts_of_open_sessions() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let session = bridge.alice().await;
        for _ in 0..3 {
            let api = connect(&bridge, None).await;
            let platform = api.get_sandstorm_api_request().send().pipeline.get_api();
            let answer = platform.get_identity_id_request().send().promise.await.unwrap();
            assert_eq!(answer.get().unwrap().get_id().unwrap(), b"the platform");
            assert!(context_is_found(&api, "0").await);
            assert!(!context_is_found(&api, "1").await);
            assert!(!context_is_found(&api, "").await);
        }
        let api = connect(&bridge, None).await;
        let second = bridge.alice().await;
        assert!(context_is_found(&api, "1").await);
        drop(session);
        while context_is_found(&api, "0").await {
            tokio::task::yield_now().await;
        }
        assert!(context_is_found(&api, "1").await);
        drop(second);
        while context_is_found(&api, "1").await {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_session_without_a_context_works_until_the_context_is_needed() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.open_without_context().await;
        let call = session.get_request().send().promise;
        let (response, _) = tokio::join!(call, app.answer("HTTP/1.1 204 No Content\r\n\r\n"));
        response.unwrap();
        assert!(!context_is_found(&connect(&bridge, None).await, "0").await);
    });
}

#[test]
fn a_connection_that_speaks_nonsense_hurts_only_itself() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let _session = bridge.alice().await;
        let mut socket = UnixStream::connect(bridge.directory.path().join("api"))
            .await
            .unwrap();
        socket.write_all(&[0xff; 100]).await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert!(context_is_found(&connect(&bridge, None).await, "0").await);
    });
}

#[test]
fn messages_that_make_no_sense_hurt_only_their_connection() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let _session = bridge.alice().await;
        let path = bridge.directory.path().join("api");
        // A fixed sequence, so that what fails once fails again.
        let mut state = 1_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for round in 0..400 {
            let mut socket = UnixStream::connect(&path).await.unwrap();
            // A message of the RPC protocol, if the union tag is one it knows, with garbage for content: well framed,
            // small numbers for ids, and pointers that lead somewhere more often than not.
            let words = 4 + random() % 12;
            let mut message = Vec::new();
            message.extend(0_u32.to_le_bytes());
            message.extend(u32::try_from(words).unwrap().to_le_bytes());
            message.extend([0, 0, 0, 0, 1, 0, 1, 0]);
            message.extend((round % 16_u64).to_le_bytes());
            for _ in 2..words {
                let word = match random() % 4 {
                    0 => random() % 4,
                    1 => (random() % 3) << 2 | (random() % 3) << 32 | (random() % 3) << 48,
                    2 => (random() % 3) << 2 | 1 | (random() % 8) << 32 | (random() % 3) << 35,
                    _ => random() << 32 | random(),
                };
                message.extend(word.to_le_bytes());
            }
            socket.write_all(&message).await.unwrap();
            socket.shutdown().await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
        assert!(context_is_found(&connect(&bridge, None).await, "0").await);
    });
}

#[test]
fn contexts_are_the_platform_s_own() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let context = Context::new(&bridge.world, 0, "");
        let _session = bridge
            .open(|mut params| params.set_context(context.client()))
            .await;
        let api = connect(&bridge, None).await;
        let mut request = api.get_session_context_request();
        request.get().set_id("0");
        let context: hack_session_context::Client = request.send().pipeline.get_context().cast_to();
        let answer = context.get_public_id_request().send().promise.await.unwrap();
        assert_eq!(answer.get().unwrap().get_public_id().unwrap(), "public");
    });
}

#[test]
fn more_connections_than_are_served_wait_their_turn() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let _session = bridge.alice().await;
        let path = bridge.directory.path().join("api");
        let mut idle = Vec::new();
        for _ in 0..64 {
            idle.push(UnixStream::connect(&path).await.unwrap());
        }
        let api = connect(&bridge, None).await;
        let mut found = Box::pin(context_is_found(&api, "0"));
        let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut found).await;
        assert!(early.is_err(), "served beyond the limit");
        idle.pop();
        assert!(found.await);
    });
}
