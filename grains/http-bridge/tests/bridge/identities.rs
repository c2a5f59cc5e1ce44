//! People remembered: `saveIdentityCaps` and what apps get of it.

use std::path::PathBuf;
use std::rc::Rc;

use percloud_schemas::identity_capnp::identity;
use percloud_schemas::package_capnp::bridge_config;
use percloud_schemas::sandstorm_http_bridge_capnp::sandstorm_http_bridge;
use percloud_schemas::web_session_capnp::web_session;

use crate::app::App;
use crate::harness::{Bridge, run};
use crate::sockets::connect;
use crate::world::World;

const ADA: &str = "01010101010101010101010101010101";

pub fn saving(mut config: bridge_config::Builder<'_>) {
    config.set_save_identity_caps(true);
}

/// Opens a session of the person with the id `id` 32 times.
pub async fn visit(bridge: &Bridge, id: u8, person: &identity::Client) -> web_session::Client {
    bridge
        .open(|params| {
            let mut user = params.init_user_info();
            user.set_identity_id(&[id; 32]);
            user.set_identity(person.clone());
        })
        .await
}

async fn saved(api: &sandstorm_http_bridge::Client, id: &str) -> Result<String, capnp::Error> {
    let mut request = api.get_saved_identity_request();
    request.get().set_identity_id(id);
    let identity = request.send().promise.await?.get()?.get_identity()?;
    let answer = identity.get_profile_request().send().promise.await?;
    let name = answer
        .get()?
        .get_profile()?
        .get_display_name()?
        .get_default_text()?;
    Ok(name.to_string()?)
}

fn link(bridge: &Bridge, id: &str) -> PathBuf {
    bridge.storage(".sandstorm-http-bridge/identities").join(id)
}

fn trash(bridge: &Bridge) -> usize {
    let entries = std::fs::read_dir(bridge.storage(".sandstorm-http-bridge/trash"));
    entries.map_or(0, Iterator::count)
}

#[test]
fn who_comes_is_saved_once_and_found_again() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], saving);
        let ada = bridge.world.person(1, "Ada");
        let _first = visit(&bridge, 1, &ada).await;
        let api = connect(&bridge, None).await;
        // Asked for at once, it waits for the saving to be done.
        assert_eq!(saved(&api, ADA).await.unwrap(), "Ada");
        let token = bridge.world.tokens().pop().unwrap();
        assert_eq!(
            std::fs::read_link(link(&bridge, ADA))
                .unwrap()
                .as_os_str()
                .as_encoded_bytes(),
            token
        );

        let _second = visit(&bridge, 1, &ada).await;
        let _nobody = bridge.open(|_| ()).await;
        assert_eq!(saved(&api, &ADA.to_uppercase()).await.unwrap(), "Ada");
        assert_eq!(*bridge.world.labels.borrow(), ["user identity"]);
        for unknown in [
            "",
            "0",
            &"02".repeat(16),
            "../../../../../../../../etc/pass",
            &"g".repeat(32),
        ] {
            assert!(saved(&api, unknown).await.is_err(), "{unknown}");
        }
    });
}

#[test]
fn a_saved_identity_is_checked_by_the_next_process_and_replaced_if_it_is_dead() {
    run(async {
        let app = App::listen().await;
        let mut bridge = Bridge::start(app.port(), &["cat"], saving);
        let (world, directory) = (bridge.world.clone(), bridge.directory.clone());
        let ada = world.person(1, "Ada");
        let _session = visit(&bridge, 1, &ada).await;
        assert_eq!(saved(&connect(&bridge, None).await, ADA).await.unwrap(), "Ada");
        bridge.stop().await;

        let next = || Bridge::start_in(&world, 0, directory.clone(), app.port(), &["cat"], saving);
        let mut bridge = next();
        let before = world.restored.get();
        let _first = visit(&bridge, 1, &ada).await;
        let _second = visit(&bridge, 1, &ada).await;
        assert_eq!(saved(&connect(&bridge, None).await, ADA).await.unwrap(), "Ada");
        // Once to check it, once for the app.
        assert_eq!(world.restored.get() - before, 2);
        assert_eq!(world.labels.borrow().len(), 1);
        bridge.stop().await;

        let old = world.tokens().pop().unwrap();
        world.revoke_all();
        let bridge = next();
        let _session = visit(&bridge, 1, &ada).await;
        assert_eq!(saved(&connect(&bridge, None).await, ADA).await.unwrap(), "Ada");
        assert_eq!(world.labels.borrow().len(), 2);
        while world.dropped.borrow().is_empty() || trash(&bridge) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*world.dropped.borrow(), [old]);
        let kept = std::fs::read_link(link(&bridge, ADA)).unwrap();
        assert_eq!(kept.as_os_str().as_encoded_bytes(), world.tokens().pop().unwrap());
    });
}

#[test]
fn what_an_earlier_process_left_in_the_trash_is_dropped() {
    run(async {
        let app = App::listen().await;
        let directory = Rc::new(tempfile::tempdir().unwrap());
        let trashed = directory.path().join("var/.sandstorm-http-bridge/trash");
        std::fs::create_dir_all(&trashed).unwrap();
        std::os::unix::fs::symlink("left%2Fover", trashed.join("x")).unwrap();
        std::fs::write(trashed.join("no link"), b"").unwrap();
        let world = Rc::<World>::default();
        let bridge = Bridge::start_in(&world, 0, directory, app.port(), &["cat"], saving);
        // Counting with the file that is none of the bridge's.
        while world.dropped.borrow().is_empty() || trash(&bridge) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*world.dropped.borrow(), [b"left/over"]);
    });
}

#[test]
fn a_failing_save_keeps_nobody_out_and_is_tried_again() {
    run(async {
        let app = App::listen().await;
        let mut bridge = Bridge::start(app.port(), &["cat"], saving);
        let ada = bridge.world.person(1, "Ada");
        bridge.world.is_broken.set(true);
        let _first = visit(&bridge, 1, &ada).await;
        bridge.wait_for_log("could not save the identity").await;
        let api = connect(&bridge, None).await;
        assert!(saved(&api, ADA).await.is_err());
        bridge.world.is_broken.set(false);
        let _second = visit(&bridge, 1, &ada).await;
        assert_eq!(saved(&api, ADA).await.unwrap(), "Ada");
    });
}

#[test]
fn apps_add_identities_they_got_another_way() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], saving);
        let eve = bridge.world.person(0xe0, "Eve");
        bridge.world.choose("chosen", eve.client).await;
        let context = crate::world::Context::new(&bridge.world, 0, "");
        let _session = bridge
            .open(|mut params| params.set_context(context.client()))
            .await;
        let api = connect(&bridge, None).await;

        // All in one breath: the identity is a promise when it is saved.
        let mut request = api.get_session_context_request();
        request.get().set_id("0");
        let context = request.send().pipeline.get_context();
        let mut request = context.claim_request_request();
        request.get().set_request_token("chosen");
        let claimed = request.send();
        let mut request = api.save_identity_request();
        let claimed: identity::Client =
            capnp::capability::FromClientHook::new(claimed.pipeline.get_cap().as_cap());
        request.get().set_identity(claimed);
        request.send().promise.await.unwrap();
        assert_eq!(saved(&api, &"e0".repeat(16)).await.unwrap(), "Eve");

        let stranger: identity::Client =
            capnp_rpc::new_broken_cap(capnp::Error::failed("x".into())).client_as();
        let mut request = api.save_identity_request();
        request.get().set_identity(stranger);
        assert!(request.send().promise.await.is_err());
    });
}

/// Reads a capability as one of another interface.
trait ClientAs {
    fn client_as<T: capnp::capability::FromClientHook>(self) -> T;
}

impl ClientAs for capnp::capability::Client {
    fn client_as<T: capnp::capability::FromClientHook>(self) -> T {
        T::new(self.hook)
    }
}

#[test]
fn without_the_setting_nobody_is_remembered() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let ada = bridge.world.person(1, "Ada");
        let _session = visit(&bridge, 1, &ada).await;
        let api = connect(&bridge, None).await;
        let error = saved(&api, ADA).await.unwrap_err();
        assert!(error.extra.contains("saveIdentityCaps"), "{error}");
        let mut request = api.save_identity_request();
        request.get().set_identity(ada);
        assert!(request.send().promise.await.is_err());
        assert!(!bridge.storage(".sandstorm-http-bridge").exists());
        assert!(bridge.world.labels.borrow().is_empty());
    });
}
