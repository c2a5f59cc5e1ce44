//! The door: who may take what, once, and for how long.

use std::time::Duration;

use capnp::Error;
use capnp::capability::FromClientHook;
use percloud_schemas::ip_capnp::ip_network;
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::web_session_capnp::web_session;

use crate::said::{get, problem};
use crate::server::{Server, both};
use crate::world::{Outlet, World, pass, run, soon};

fn saveable(session: &web_session::Client) -> persistent::Client {
    FromClientHook::new(session.client.hook.add_ref())
}

async fn save(object: &persistent::Client, owner: &str) -> Result<Vec<u8>, Error> {
    let mut request = object.save_request();
    request.get().get_seal_for().set_as(owner)?;
    let answer = request.send().promise.await?;
    let token: capnp::data::Reader<'_> = answer.get()?.get_sturdy_ref().get_as()?;
    Ok(token.to_vec())
}

#[test]
fn a_nonce_is_good_once() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let nonce = world.admit(1, Outlet::Website(&server.url(""))).await;
        let (one, other) = (world.knock().await, world.knock().await);
        let session: web_session::Client = one.take(&nonce).await.unwrap();
        for host in [&one, &other] {
            let told = problem(host.take::<web_session::Client>(&nonce).await);
            assert!(told.contains("nobody was announced"), "{told}");
        }
        let (said, _) = both(get(&session, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(said.unwrap().body, b"well");
    });
}

#[test]
fn who_was_not_announced_takes_nothing() {
    run(async {
        let world = World::new().await;
        let nonce = world.admit(1, Outlet::Network { tls: false }).await;
        let host = world.knock().await;
        for wrong in [&[9; 32][..], &nonce[..31], &[0; 33], b""] {
            let told = problem(host.take::<ip_network::Client>(wrong).await);
            assert!(told.contains("nobody was announced"), "{told}");
        }
        let outlet = Outlet::Network { tls: false };
        for (nonce, reference) in [(&[7; 31][..], &[1; 16][..]), (&[7; 32], &[1; 15]), (b"", b"")] {
            world.try_admit(nonce, reference, outlet).await.unwrap_err();
        }
        host.take::<ip_network::Client>(&nonce).await.unwrap();
    });
}

#[test]
fn a_nonce_does_not_keep() {
    run(async {
        let world = World::new().await;
        let late = world.admit(1, Outlet::Interface).await;
        pass(Duration::from_secs(20)).await;
        let timely = world.admit(2, Outlet::Interface).await;
        pass(Duration::from_secs(11)).await;
        let host = world.knock().await;
        let told = problem(host.take::<web_session::Client>(&late).await);
        assert!(told.contains("nobody was announced"), "{told}");
        host.take::<web_session::Client>(&timely).await.unwrap();
    });
}

#[test]
fn what_ended_is_not_given_any_more() {
    run(async {
        let world = World::new().await;
        let ended = world.admit(1, Outlet::Interface).await;
        let other = world.admit(2, Outlet::Interface).await;
        world.end(1).await;
        world.end(3).await;
        let mut odd = world.broker.end_request();
        odd.get().set_reference(b"odd");
        odd.send().promise.await.unwrap();
        let host = world.knock().await;
        let told = problem(host.take::<web_session::Client>(&ended).await);
        assert!(told.contains("nobody was announced"), "{told}");
        host.take::<web_session::Client>(&other).await.unwrap();
    });
}

#[test]
fn who_takes_nothing_is_shown_out() {
    run(async {
        let world = World::new().await;
        let (idle, busy) = (world.knock().await, world.knock().await);
        // Both are served by now.
        idle.take::<web_session::Client>(b"").await.map(drop).unwrap_err();
        let nonce = world.admit(1, Outlet::Network { tls: false }).await;
        let network: ip_network::Client = busy.take(&nonce).await.unwrap();
        pass(Duration::from_secs(11)).await;
        soon(idle.hung_up()).await;
        let mut request = network.get_remote_host_by_name_request();
        request.get().set_address("a");
        request.send().promise.await.unwrap();
    });
}

#[test]
fn the_egress_ends_with_its_broker() {
    run(async {
        let mut world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        world.broker_dies().await;
        get(&session, "").await.map(drop).unwrap_err();
        assert!(server.is_lonely());
    });
}

#[test]
fn hosts_beyond_the_limit_wait() {
    run(async {
        let world = World::limited(|limits| limits.hosts = 1).await;
        let nonce = world.admit(1, Outlet::Interface).await;
        let first = world.knock().await;
        first
            .take::<web_session::Client>(b"")
            .await
            .map(drop)
            .unwrap_err();
        let second = world.knock().await;
        let mut taking = std::pin::pin!(second.take::<web_session::Client>(&nonce));
        let early = tokio::time::timeout(Duration::from_millis(100), &mut taking).await;
        early.map(drop).unwrap_err();
        drop(first);
        soon(taking).await.unwrap();
    });
}

#[test]
fn what_is_saved_is_saved_by_the_broker() {
    run(async {
        let world = World::new().await;
        let session = world.website("http://127.0.0.1/").await;
        let object = saveable(&session);
        assert_eq!(save(&object, "anna").await.unwrap(), b"a token");
        let network: web_session::Client = world.give(2, Outlet::Network { tls: true }).await;
        assert_eq!(save(&saveable(&network), "ben").await.unwrap(), b"a token");
        let interface: web_session::Client = world.give(3, Outlet::Interface).await;
        assert_eq!(save(&saveable(&interface), "cleo").await.unwrap(), b"a token");
        let saved = [(vec![1; 16], "anna"), (vec![2; 16], "ben"), (vec![3; 16], "cleo")];
        let saved = saved.map(|(reference, owner)| (reference, owner.to_owned()));
        assert_eq!(world.keeper.saved(), saved);
        save(&object, &"a".repeat(5000)).await.unwrap_err();
        world.end(1).await;
        let told = problem(save(&object, "anna").await);
        assert!(told.contains("revoked"), "{told}");
        assert_eq!(world.keeper.saved(), saved);
    });
}

#[test]
fn a_saved_owner_carries_no_capabilities() {
    run(async {
        let world = World::new().await;
        let session = world.website("http://127.0.0.1/").await;
        let mut request = saveable(&session).save_request();
        let owner = request.get().get_seal_for();
        owner
            .init_as::<capnp::any_pointer::Builder<'_>>()
            .set_as_capability(session.client.hook.add_ref());
        request.send().promise.await.map(drop).unwrap_err();
        assert_eq!(world.keeper.saved(), []);
    });
}
