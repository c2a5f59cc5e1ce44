//! What comes with a request: what is accepted, on which condition; and what OPTIONS answers.

use capnp::Error;

use crate::said::{ask, get};
use crate::server::{Server, both};
use crate::world::{World, run};

#[test]
fn options_are_taken_apart() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let mut request = session.options_request();
        request.get().set_path("a");
        let dav = "DAV: 1,3, calendar-access\r\nDAV: <http://a.example/>\r\nAllow: GET\r\n";
        let (answer, seen) = both(request.send().promise, server.answer("200 OK", dav, b"hello")).await;
        assert_eq!(seen.line, "OPTIONS /a HTTP/1.1");
        let answer = answer.unwrap();
        let options = answer.get().unwrap();
        assert_eq!(
            (
                options.get_dav_class1(),
                options.get_dav_class2(),
                options.get_dav_class3()
            ),
            (true, false, true)
        );
        let extensions: Result<Vec<String>, Error> = options
            .get_dav_extensions()
            .unwrap()
            .iter()
            .map(|extension| Ok(extension?.to_string()?))
            .collect();
        assert_eq!(extensions.unwrap(), ["calendar-access", "<http://a.example/>"]);
    });
}

#[test]
fn what_is_accepted_is_told() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let asked = ask(&session, "", |mut context| {
            let mut types = context.reborrow().init_accept(2);
            types.reborrow().get(0).set_mime_type("text/html");
            let mut second = types.get(1);
            second.set_mime_type("*/*");
            second.set_q_value(0.5);
            let mut codings = context.init_accept_encoding(2);
            codings.reborrow().get(0).set_content_coding("br");
            let mut second = codings.get(1);
            second.set_content_coding("gzip");
            second.set_q_value(f32::NAN);
        });
        let (_, seen) = both(asked, server.answer("204 Empty", "", b"")).await;
        assert_eq!(seen.field("accept"), "text/html, */*;q=0.500");
        assert_eq!(seen.field("accept-encoding"), "br, gzip");
        let (_, seen) = both(get(&session, ""), server.answer("204 Empty", "", b"")).await;
        assert_eq!(
            (seen.field("accept"), seen.field("accept-encoding")),
            ("", "identity")
        );
    });
}

#[test]
fn conditions_are_told() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for (kind, name, value) in [
            (0, "if-match", "*"),
            (1, "if-none-match", "*"),
            (2, "if-match", "\"a\", W/\"b c\""),
            (3, "if-none-match", "\"a\", W/\"b c\""),
        ] {
            let asked = ask(&session, "", |context| {
                let mut condition = context.init_e_tag_precondition();
                let mut tags = match kind {
                    0 => return condition.set_exists(()),
                    1 => return condition.set_doesnt_exist(()),
                    2 => condition.init_matches_one_of(2),
                    _ => condition.init_matches_none_of(2),
                };
                tags.reborrow().get(0).set_value("a");
                let mut second = tags.get(1);
                second.set_value("b c");
                second.set_weak(true);
            });
            let (_, seen) = both(asked, server.answer("204 Empty", "", b"")).await;
            assert_eq!(seen.field(name), value);
            assert_eq!(seen.all("if-match").len() + seen.all("if-none-match").len(), 1);
        }
    });
}
