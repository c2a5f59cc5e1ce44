//! Request and offer sessions, and what the app's hooks say.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::capability::FromClientHook;
use capnp::traits::HasTypeId;
use capnp::{Error, any_pointer};
use capnp_rpc::CapabilityServerSet;
use percloud_schemas::grain_capnp::{app_persistent, session_context, ui_view};
use percloud_schemas::sandstorm_http_bridge_capnp::app_hooks;
use percloud_schemas::sandstorm_http_bridge_internal_capnp::bridge_object_id;
use percloud_schemas::util_capnp::key_value;
use percloud_schemas::web_session_capnp::web_session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::app::App;
use crate::harness::{Bridge, Context, run, two_permissions};
use crate::sockets::connect;
use crate::world::is_unimplemented;

async fn session_type_seen(session: &web_session::Client, app: &App) -> String {
    let call = session.get_request().send().promise;
    let (response, head) = tokio::join!(call, app.answer("HTTP/1.1 204 No Content\r\n\r\n"));
    response.unwrap();
    let line = |name: &str| {
        head.lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    line("X-Sandstorm-Session-Type") + " " + &line("X-Sandstorm-Session-Id")
}

#[test]
fn request_sessions_show_the_app_what_is_asked_for() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let view: ui_view::Client = bridge.view.clone().cast_to();
        let mut request = view.new_request_session_request();
        let mut params = request.get();
        params.set_context(capnp_rpc::new_client(Context));
        params.set_session_type(web_session::Client::TYPE_ID);
        params
            .reborrow()
            .init_request_info(1)
            .get(0)
            .init_tags(1)
            .get(0)
            .set_id(42);
        let session = request
            .send()
            .promise
            .await
            .unwrap()
            .get()
            .unwrap()
            .get_session()
            .unwrap();
        let session: web_session::Client = session.cast_to();
        assert_eq!(
            session_type_seen(&session, &app).await,
            "X-Sandstorm-Session-Type: request X-Sandstorm-Session-Id: 0"
        );

        let api = connect(&bridge, None).await;
        let mut request = api.get_session_request_request();
        request.get().set_id("0");
        let answer = request.send().promise.await.unwrap();
        let info = answer.get().unwrap().get_request_info().unwrap();
        assert_eq!(info.get(0).get_tags().unwrap().get(0).get_id(), 42);
        let mut request = api.get_session_offer_request();
        request.get().set_id("0");
        assert!(request.send().promise.await.is_err());

        // Such a session takes two numbers.
        let next = bridge.alice().await;
        assert_eq!(
            session_type_seen(&next, &app).await,
            "X-Sandstorm-Session-Type: normal X-Sandstorm-Session-Id: 2"
        );
    });
}

#[test]
fn offer_sessions_hand_the_app_the_capability() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let view: ui_view::Client = bridge.view.clone().cast_to();
        let offered: session_context::Client = capnp_rpc::new_client(Context);
        let mut request = view.new_offer_session_request();
        let mut params = request.get();
        params.set_context(capnp_rpc::new_client(Context));
        params.set_session_type(web_session::Client::TYPE_ID);
        params
            .reborrow()
            .init_offer()
            .set_as_capability(offered.into_client_hook());
        params.init_descriptor().init_tags(1).get(0).set_id(43);
        let session = request
            .send()
            .promise
            .await
            .unwrap()
            .get()
            .unwrap()
            .get_session()
            .unwrap();
        let session: web_session::Client = session.cast_to();
        assert_eq!(
            session_type_seen(&session, &app).await,
            "X-Sandstorm-Session-Type: offer X-Sandstorm-Session-Id: 0"
        );

        let api = connect(&bridge, None).await;
        let mut request = api.get_session_offer_request();
        request.get().set_id("0");
        let answer = request.send().promise.await.unwrap();
        let answer = answer.get().unwrap();
        assert_eq!(
            answer
                .get_descriptor()
                .unwrap()
                .get_tags()
                .unwrap()
                .get(0)
                .get_id(),
            43
        );
        let offer: session_context::Client = answer.get_offer().get_as_capability().unwrap();
        offer.close_request().send().promise.await.unwrap();
        let mut request = api.get_session_request_request();
        request.get().set_id("0");
        assert!(request.send().promise.await.is_err());
    });
}

/// The app's hooks. With a title they describe the app, without one they leave that to the configuration.
struct TestHooks {
    title: Option<&'static str>,
    dropped: Rc<RefCell<Vec<String>>>,
}

impl app_hooks::Server<any_pointer::Owned> for TestHooks {
    async fn get_view_info(
        self: Rc<Self>,
        _: app_hooks::GetViewInfoParams<any_pointer::Owned>,
        mut results: app_hooks::GetViewInfoResults,
    ) -> Result<(), Error> {
        let title = self
            .title
            .ok_or_else(|| Error::unimplemented("no view info".into()))?;
        results.get().init_app_title().set_default_text(title);
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        params: app_hooks::RestoreParams<any_pointer::Owned>,
        mut results: app_hooks::RestoreResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let id: key_value::Reader<'_> = params.get()?.get_object_id()?.get_as()?;
        assert_eq!(id.get_key()?, "object");
        let cap: session_context::Client = capnp_rpc::new_client(Context);
        results.get().init_cap().set_as_capability(cap.into_client_hook());
        Ok(())
    }

    async fn drop(
        self: Rc<Self>,
        params: app_hooks::DropParams<any_pointer::Owned>,
        _: app_hooks::DropResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let id: key_value::Reader<'_> = params.get()?.get_object_id()?.get_as()?;
        self.dropped.borrow_mut().push(id.get_key()?.to_string()?);
        Ok(())
    }
}

fn with_hooks(mut config: percloud_schemas::package_capnp::bridge_config::Builder<'_>) {
    config.set_expect_app_hooks(true);
    config
        .reborrow()
        .init_view_info()
        .init_app_title()
        .set_default_text("from config");
}

async fn title(bridge: &Bridge) -> String {
    let view: ui_view::Client = bridge.view.clone().cast_to();
    let answer = view.get_view_info_request().send().promise.await.unwrap();
    answer
        .get()
        .unwrap()
        .get_app_title()
        .unwrap()
        .get_default_text()
        .unwrap()
        .to_string()
        .unwrap()
}

#[test]
fn hooks_describe_the_app_and_restore_its_objects() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], with_hooks);
        // The socket is there once a session could be opened.
        let _session = bridge.alice().await;
        let dropped = Rc::<RefCell<Vec<String>>>::default();
        let hooks = TestHooks {
            title: Some("from hooks"),
            dropped: dropped.clone(),
        };
        let hooks: app_hooks::Client<any_pointer::Owned> = capnp_rpc::new_client(hooks);
        let view = async {
            // Asked before the app has connected, it waits.
            assert_eq!(title(&bridge).await, "from hooks");
        };
        let app = async {
            let api = connect(&bridge, Some(hooks.client)).await;
            api.get_sandstorm_api_request().send().promise.await.unwrap();
            api
        };
        let ((), _api) = tokio::join!(view, app);
        // Only the first connection counts.
        let other = TestHooks {
            title: Some("other"),
            dropped: Rc::default(),
        };
        let other: app_hooks::Client<any_pointer::Owned> = capnp_rpc::new_client(other);
        let second = connect(&bridge, Some(other.client)).await;
        second.get_sandstorm_api_request().send().promise.await.unwrap();
        assert_eq!(title(&bridge).await, "from hooks");

        let mut request = bridge.view.restore_request();
        let id: bridge_object_id::Builder<'_> = request.get().init_object_id().init_as();
        id.init_application()
            .init_as::<key_value::Builder<'_>>()
            .set_key("object");
        let answer = request.send().promise.await.unwrap();
        let cap: session_context::Client = answer.get().unwrap().get_cap().get_as_capability().unwrap();
        cap.close_request().send().promise.await.unwrap();

        let mut request = bridge.view.drop_request();
        let id: bridge_object_id::Builder<'_> = request.get().init_object_id().init_as();
        id.init_application()
            .init_as::<key_value::Builder<'_>>()
            .set_key("gone");
        request.send().promise.await.unwrap();
        assert_eq!(*dropped.borrow(), ["gone"]);

        // What the bridge gave away is not their business.
        let mut request = bridge.view.restore_request();
        let id: bridge_object_id::Builder<'_> = request.get().init_object_id().init_as();
        id.init_http_api().set_name("api");
        request.send().promise.await.unwrap();
        let mut request = bridge.view.drop_request();
        let id: bridge_object_id::Builder<'_> = request.get().init_object_id().init_as();
        id.init_http_api().set_name("api");
        request.send().promise.await.unwrap();
        assert_eq!(*dropped.borrow(), ["gone"]);
    });
}

#[test]
fn hooks_may_leave_the_description_to_the_configuration() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], with_hooks);
        let _session = bridge.alice().await;
        let hooks = TestHooks {
            title: None,
            dropped: Rc::default(),
        };
        let hooks: app_hooks::Client<any_pointer::Owned> = capnp_rpc::new_client(hooks);
        let _api = connect(&bridge, Some(hooks.client)).await;
        assert_eq!(title(&bridge).await, "from config");
    });
}

#[test]
fn an_app_without_hooks_has_nothing_to_restore() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], two_permissions);
        let error = bridge.view.restore_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Unimplemented);
        let error = bridge.view.drop_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Unimplemented);
    });
}

/// An object of the app that can be saved, and can be told from others.
struct Thing;

impl session_context::Server for Thing {}

impl app_persistent::Server<any_pointer::Owned> for Thing {
    async fn save(
        self: Rc<Self>,
        _: app_persistent::SaveParams<any_pointer::Owned>,
        mut results: app_persistent::SaveResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let id: key_value::Builder<'_> = results.get().init_object_id().init_as();
        id.set_key_and_value("object", "thing");
        results.get().init_label().set_default_text("a thing");
        Ok(())
    }
}

trait SetBoth {
    fn set_key_and_value(self, key: &str, value: &str);
}

impl SetBoth for key_value::Builder<'_> {
    fn set_key_and_value(mut self, key: &str, value: &str) {
        self.set_key(key);
        self.set_value(value);
    }
}

/// Hooks that restore things, always the same one.
struct ThingHooks(app_persistent::Client<any_pointer::Owned>);

impl app_hooks::Server<any_pointer::Owned> for ThingHooks {
    async fn restore(
        self: Rc<Self>,
        params: app_hooks::RestoreParams<any_pointer::Owned>,
        mut results: app_hooks::RestoreResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let id: key_value::Reader<'_> = params.get()?.get_object_id()?.get_as()?;
        assert_eq!(
            (id.get_key()?, id.get_value()?),
            ("object".into(), "thing".into())
        );
        results
            .get()
            .init_cap()
            .set_as_capability(self.0.clone().into_client_hook());
        Ok(())
    }
}

#[test]
fn objects_of_the_app_are_saved_under_ids_of_the_bridge_and_come_home() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], with_hooks);
        let _session = bridge.alice().await;
        let mut things = CapabilityServerSet::<Thing, app_persistent::Client<any_pointer::Owned>>::new();
        let thing = things.new_client(Thing);
        let hooks: app_hooks::Client<any_pointer::Owned> = capnp_rpc::new_client(ThingHooks(thing.clone()));
        let api = connect(&bridge, Some(hooks.client)).await;

        let platform = api.get_sandstorm_api_request().send().pipeline.get_api();
        let mut request = platform.save_request();
        request.get().init_label().set_default_text("for later");
        request
            .get()
            .init_cap()
            .set_as_capability(thing.into_client_hook());
        let answer = request.send().promise.await.unwrap();
        let token = answer.get().unwrap().get_token().unwrap();
        // What the platform keeps: the app's id inside of one of the bridge's.
        bridge.world.with_object(token, |id| {
            let id: bridge_object_id::Reader<'_> = id.get_as().unwrap();
            let bridge_object_id::Application(id) = id.which().unwrap() else {
                panic!("not an object of the app");
            };
            let id: key_value::Reader<'_> = id.get_as().unwrap();
            assert_eq!(id.get_value().unwrap(), "thing");
        });

        let mut request = platform.restore_request();
        request.get().set_token(token);
        let answer = request.send().promise.await.unwrap();
        let cap: app_persistent::Client<any_pointer::Owned> =
            answer.get().unwrap().get_cap().get_as_capability().unwrap();
        // Nothing is wrapped around it any more.
        assert!(things.get_local_server(&cap).await.is_some());
    });
}

#[test]
fn only_an_app_s_own_objects_have_ids() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let _session = bridge.alice().await;
        let api = connect(&bridge, None).await;
        let platform = api.get_sandstorm_api_request().send().pipeline.get_api();
        let foreign: app_persistent::Client<any_pointer::Owned> = platform.cast_to();
        let error = foreign.save_request().send().promise.await.err().unwrap();
        assert!(is_unimplemented(&error), "{error}");
    });
}

#[test]
fn the_next_connection_brings_the_hooks_when_the_first_is_gone() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], with_hooks);
        let _session = bridge.alice().await;
        // Whoever this was, it did not know what is expected of it.
        let mut wrong = UnixStream::connect(bridge.directory.path().join("api"))
            .await
            .unwrap();
        wrong.write_all(&[0xff; 100]).await.unwrap();
        let _ = wrong.read_to_end(&mut Vec::new()).await;
        drop(wrong);
        loop {
            let hooks = TestHooks {
                title: Some("second"),
                dropped: Rc::default(),
            };
            let hooks: app_hooks::Client<any_pointer::Owned> = capnp_rpc::new_client(hooks);
            let _api = connect(&bridge, Some(hooks.client)).await;
            let view: ui_view::Client = bridge.view.clone().cast_to();
            if let Ok(answer) = view.get_view_info_request().send().promise.await {
                let title = answer.get().unwrap().get_app_title().unwrap();
                assert_eq!(title.get_default_text().unwrap(), "second");
                break;
            }
        }
    });
}
