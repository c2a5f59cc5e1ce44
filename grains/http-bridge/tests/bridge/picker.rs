//! APIs given to other grains: the page where people choose, and what the other grain gets.

use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp::traits::HasTypeId;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::package_capnp::bridge_config;
use percloud_schemas::web_session_capnp::web_session::{self, response};

use crate::app::App;
use crate::harness::{Bridge, run, two_permissions};
use crate::proxy::{Proxy, claim};
use crate::world::{Context, World};

const CALENDAR: &str = "https://calendar.example/v2";

/// An app with three permissions and as many APIs, which want `view`, `view` and `edit`, and nothing.
fn three_apis(mut config: bridge_config::Builder<'_>) {
    config.set_save_identity_caps(true);
    let mut apis = config.reborrow().init_powerbox_apis(3);
    let mut calendar = apis.reborrow().get(0);
    calendar.set_name("calendar");
    calendar.set_path("/dav");
    calendar.reborrow().init_tag().set_canonical_url(CALENDAR);
    calendar.reborrow().init_permissions(3).set(0, true);
    let mut display = calendar.init_display_info();
    display
        .reborrow()
        .init_title()
        .set_default_text("Calendar & <more>");
    display.init_description().set_default_text("Read your events");
    let mut full = apis.reborrow().get(1);
    full.set_name("full");
    full.set_path("/full/");
    let mut permissions = full.init_permissions(3);
    permissions.set(0, true);
    permissions.set(1, true);
    apis.get(2).set_name("public");
    two_permissions(config);
}

/// Opens a request session of the person whose id is `id` 32 times.
async fn request(
    bridge: &Bridge,
    context: &Rc<Context>,
    id: u8,
    held: [bool; 3],
    tags: &[(u64, Option<&str>)],
) -> web_session::Client {
    let view: ui_view::Client = bridge.view.clone().cast_to();
    let mut request = view.new_request_session_request();
    let mut params = request.get();
    params.set_context(context.client());
    params.set_session_type(web_session::Client::TYPE_ID);
    let mut user = params.reborrow().init_user_info();
    if id != 0 {
        user.set_identity_id(&[id; 32]);
        user.set_identity(bridge.world.person(id, "Ada"));
    }
    let mut permissions = user.init_permissions(3);
    for (index, held) in (0..).zip(held) {
        permissions.set(index, held);
    }
    let mut wanted = params
        .init_request_info(1)
        .get(0)
        .init_tags(u32::try_from(tags.len()).unwrap());
    for (index, (id, url)) in (0..).zip(tags) {
        let mut tag = wanted.reborrow().get(index);
        tag.set_id(*id);
        if let Some(url) = url {
            let mut value: api_session::powerbox_tag::Builder<'_> = tag.init_value().init_as();
            value.set_canonical_url(*url);
        }
    }
    let answer = request.send().promise.await.unwrap();
    answer.get().unwrap().get_session().unwrap().cast_to()
}

const ANY_API: &[(u64, Option<&str>)] = &[(api_session::Client::TYPE_ID, None)];

async fn get(session: &web_session::Client, path: &str) -> Result<String, u16> {
    let mut request = session.get_request();
    request.get().set_path(path);
    let answer = request.send().promise.await.unwrap();
    match answer.get().unwrap().which().unwrap() {
        response::Content(content) => {
            assert_eq!(content.get_mime_type().unwrap(), "text/html; charset=UTF-8");
            let response::content::body::Bytes(bytes) = content.get_body().which().unwrap() else {
                panic!("a page is not streamed");
            };
            Ok(String::from_utf8(bytes.unwrap().to_vec()).unwrap())
        }
        response::ClientError(error) => Err(error.get_status_code().unwrap() as u16),
        _ => panic!("neither a page nor a refusal"),
    }
}

/// Chooses; true if that was accepted.
async fn choose(session: &web_session::Client, name: &str) -> bool {
    let mut request = session.post_request();
    request.get().init_content().set_content(name.as_bytes());
    let answer = request.send().promise.await.unwrap();
    matches!(answer.get().unwrap().which().unwrap(), response::NoContent(_))
}

/// Names on the page, in their order.
fn names(page: &str) -> Vec<&str> {
    let parts = page.split("data-name=\"").skip(1);
    let names = parts.map(|part| part.split('"').next().unwrap());
    // The script speaks of the attribute, too.
    names.filter(|name| !name.contains(']')).collect()
}

#[test]
fn the_page_offers_what_this_person_may_give_away() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], three_apis);
        let context = Context::new(&bridge.world, 0, "");
        let page = |held, tags| {
            let (bridge, context) = (&bridge, &context);
            async move {
                get(&request(bridge, context, 1, held, tags).await, "")
                    .await
                    .unwrap()
            }
        };
        let none = [false; 3];
        let view = [true, false, false];
        let edit = [true, true, false];
        assert_eq!(names(&page(none, ANY_API).await), ["public"]);
        assert_eq!(names(&page([false, true, true], ANY_API).await), ["public"]);
        assert_eq!(names(&page(view, ANY_API).await), ["calendar", "public"]);
        assert_eq!(names(&page(edit, ANY_API).await), ["calendar", "full", "public"]);
        // What has no address of its own fits every address.
        let other = &[(api_session::Client::TYPE_ID, Some("https://other.example"))];
        assert_eq!(names(&page(edit, other).await), ["full", "public"]);
        let calendar = &[(api_session::Client::TYPE_ID, Some(CALENDAR))];
        assert_eq!(names(&page(view, calendar).await), ["calendar", "public"]);

        let text = page(view, ANY_API).await;
        assert!(text.contains("Calendar &amp; &lt;more&gt;") && text.contains("Read your events"));
        let session = request(&bridge, &context, 1, view, ANY_API).await;
        assert_eq!(names(&get(&session, "?x").await.unwrap()).len(), 2);
        assert_eq!(get(&session, "other").await, Err(2));
        for name in ["full", "", "nonsense", "Calendar"] {
            assert!(!choose(&session, name).await, "{name}");
        }
        assert!(context.fulfilled.borrow().is_none());
    });
}

#[test]
fn with_nothing_to_give_the_page_says_so() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], |mut config| {
            config
                .reborrow()
                .init_powerbox_apis(1)
                .get(0)
                .init_permissions(1)
                .set(0, true);
            two_permissions(config);
        });
        let context = Context::new(&bridge.world, 0, "");
        let session = request(&bridge, &context, 0, [false; 3], ANY_API).await;
        let page = get(&session, "").await.unwrap();
        assert!(names(&page).is_empty());
        assert!(page.contains("nothing here you can connect"));
    });
}

#[test]
fn requests_for_other_things_are_the_app_s_to_answer() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], three_apis);
        let context = Context::new(&bridge.world, 0, "");
        for tags in [
            &[(42, None)][..],
            &[(api_session::Client::TYPE_ID, None), (42, None)],
            &[],
        ] {
            let session = request(&bridge, &context, 1, [true; 3], tags).await;
            let call = session.get_request().send().promise;
            let (response, head) = tokio::join!(call, app.answer("HTTP/1.1 204 No Content\r\n\r\n"));
            response.unwrap();
            assert!(
                head.contains("\r\nX-Sandstorm-Session-Type: request\r\n"),
                "{head}"
            );
        }
    });
}

#[test]
fn a_chosen_api_is_given_away_with_its_rights() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], three_apis);
        let context = Context::new(&bridge.world, 0, "");
        let session = request(&bridge, &context, 1, [true, false, true], ANY_API).await;
        assert!(choose(&session, "calendar").await);
        let fulfilled = context.fulfilled.take().unwrap();
        assert_eq!(fulfilled.required, [true, false, false]);
        assert_eq!(fulfilled.label, "Calendar & <more>");
        let descriptor = fulfilled.descriptor.get_root_as_reader().unwrap();
        assert_eq!(descriptor.get_tags().unwrap().len(), 1);
        let tag = descriptor.get_tags().unwrap().get(0);
        assert_eq!(tag.get_id(), api_session::Client::TYPE_ID);
        let value: api_session::powerbox_tag::Reader<'_> = tag.get_value().get_as().unwrap();
        assert_eq!(value.get_canonical_url().unwrap(), CALENDAR);
        let display = fulfilled.display.get_root_as_reader().unwrap();
        assert_eq!(
            display.get_description().unwrap().get_default_text().unwrap(),
            "Read your events"
        );
    });
}

/// Two grains in one world, of which the first gives its APIs to the second.
struct Two {
    world: Rc<World>,
    provider: Bridge,
    app: App,
    consumer: Bridge,
    _consumers_app: App,
    _session: web_session::Client,
}

impl Two {
    async fn start() -> Self {
        let world = Rc::<World>::default();
        let start = |grain, port, configure: fn(bridge_config::Builder<'_>)| {
            let directory = Rc::new(tempfile::tempdir().unwrap());
            Bridge::start_in(&world, grain, directory, port, &["cat"], configure)
        };
        let (app, other) = (App::listen().await, App::listen().await);
        let provider = start(0, app.port(), three_apis);
        let consumer = start(1, other.port(), two_permissions);
        let context = Context::new(&world, 1, "");
        let session = consumer
            .open(|mut params| params.set_context(context.client()))
            .await;
        Self {
            world,
            provider,
            app,
            consumer,
            _consumers_app: other,
            _session: session,
        }
    }

    /// Has somebody give away an API, and the other grain claim it; returns the bearer token.
    async fn connect(&self, id: u8, name: &str) -> String {
        let context = Context::new(&self.world, 0, "request");
        let session = request(&self.provider, &context, id, [true; 3], ANY_API).await;
        assert!(choose(&session, name).await);
        claim(&self.consumer, "request").await.unwrap()
    }

    /// Makes a request through the proxy and returns the head the providing app sees.
    async fn ask(&self, path: &str, cap: &str) -> String {
        let request =
            format!("GET http://any.example/{path} HTTP/1.1\r\nAuthorization: Bearer {cap}\r\n\r\n");
        let proxy = Proxy::of(&self.consumer);
        let (answer, head) = tokio::join!(
            proxy.ask(&request),
            self.app.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        );
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"),
            "{answer}"
        );
        head
    }
}

#[test]
fn another_grain_s_requests_come_with_the_giver_s_name_and_the_api_s_rights() {
    run(async {
        let mut two = Two::start().await;
        let cap = two.connect(1, "calendar").await;
        let expected = |path: &str| {
            format!(
                "GET /dav/{path} HTTP/1.1\r\n\
                 Connection: close\r\n\
                 X-Sandstorm-Tab-Id: \r\n\
                 X-Sandstorm-Username: Ada\r\n\
                 X-Sandstorm-User-Id: 01010101010101010101010101010101\r\n\
                 X-Sandstorm-Preferred-Handle: ada\r\n\
                 X-Sandstorm-User-Pronouns: robot\r\n\
                 X-Sandstorm-Session-Type: normal\r\n\
                 X-Sandstorm-Permissions: view\r\n\
                 Host: sandbox\r\n\
                 X-Sandstorm-Session-Id: \r\n\
                 X-Sandstorm-Api: calendar\r\n\
                 Accept: */*\r\n\r\n"
            )
        };
        assert_eq!(two.ask("a?b=c", &cap).await, expected("a?b=c"));

        // The next process of the providing grain knows who it was; the consumer notices nothing.
        two.provider.stop().await;
        let (world, directory) = (two.world.clone(), two.provider.directory.clone());
        two.provider = Bridge::start_in(&world, 0, directory.clone(), two.app.port(), &["cat"], three_apis);
        assert_eq!(two.ask("", &cap).await, expected(""));

        // Nor does a new version of the app change what was given.
        two.provider.stop().await;
        two.provider = Bridge::start_in(&world, 0, directory, two.app.port(), &["cat"], two_permissions);
        assert_eq!(two.ask("x", &cap).await, expected("x"));
    });
}

#[test]
fn paths_and_permissions_are_those_of_the_api() {
    run(async {
        let two = Two::start().await;
        let cap = two.connect(0, "full").await;
        let head = two.ask("x", &cap).await;
        // A slash is added whatever the path ends in.
        assert!(head.starts_with("GET /full//x HTTP/1.1\r\n"), "{head}");
        assert!(
            head.contains("\r\nX-Sandstorm-Permissions: view,edit\r\n"),
            "{head}"
        );
        assert!(
            head.contains("\r\nX-Sandstorm-Username: Anonymous%20User\r\n"),
            "{head}"
        );
        assert!(!head.contains("X-Sandstorm-User-Id"), "{head}");
        let cap = two.connect(2, "public").await;
        let head = two.ask("x", &cap).await;
        assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nX-Sandstorm-Permissions: \r\n"), "{head}");
        assert!(
            head.contains("\r\nX-Sandstorm-User-Id: 02020202020202020202020202020202\r\n"),
            "{head}"
        );
    });
}

#[test]
fn without_its_giver_an_api_answers_nobody() {
    run(async {
        let mut two = Two::start().await;
        let cap = two.connect(1, "calendar").await;
        two.provider.stop().await;
        let link = two.provider.storage(".sandstorm-http-bridge/identities");
        std::fs::remove_file(link.join("01".repeat(16))).unwrap();
        let (world, directory) = (two.world.clone(), two.provider.directory.clone());
        two.provider = Bridge::start_in(&world, 0, directory, two.app.port(), &["cat"], three_apis);
        let request = format!("GET http://x/ HTTP/1.1\r\nAuthorization: Bearer {cap}\r\n\r\n");
        let answer = Proxy::of(&two.consumer).ask(&request).await;
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
        assert!(
            answer.contains("no identity with this id has been saved"),
            "{answer}"
        );
    });
}

#[test]
fn whoever_gives_something_away_is_remembered_whatever_the_settings() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], |mut config| {
            three_apis(config.reborrow());
            config.set_save_identity_caps(false);
        });
        let context = Context::new(&bridge.world, 0, "");
        let session = request(&bridge, &context, 1, [true; 3], ANY_API).await;
        let link = bridge
            .storage(".sandstorm-http-bridge/identities")
            .join("01".repeat(16));
        assert!(get(&session, "").await.is_ok());
        assert!(!link.is_symlink());
        assert!(choose(&session, "public").await);
        assert!(link.is_symlink());
    });
}

#[test]
fn a_failing_platform_is_told_to_the_person() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], three_apis);
        let context = Context::new(&bridge.world, 0, "");
        bridge.world.is_broken.set(true);
        let session = request(&bridge, &context, 1, [true; 3], ANY_API).await;
        let mut request = session.post_request();
        request.get().init_content().set_content(b"calendar");
        let answer: Result<_, Error> = request.send().promise.await;
        let answer = answer.unwrap();
        assert!(matches!(
            answer.get().unwrap().which().unwrap(),
            response::ServerError(_)
        ));
        // And may be tried again.
        bridge.world.is_broken.set(false);
        assert!(choose(&session, "calendar").await);
    });
}
