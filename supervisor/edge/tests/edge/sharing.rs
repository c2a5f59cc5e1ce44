//! The shell API's calls for sharing: each reaches its capability, with what it was sent.

use crate::client::request;
use crate::world::{SHELL_COOKIE, World, hex};

fn body(text: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{text}", text.len())
}

/// Method, path, document; what the broker is asked; what it says.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, u16, &'a str);

const CASES: [Case<'_>; 33] = [
    ("GET", "/api/people", "", "people", 200, r#"{"people":[]}"#),
    (
        "GET",
        "/api/invitations",
        "",
        "invitations",
        200,
        r#"{"invitations":[]}"#,
    ),
    (
        "POST",
        "/api/invitations",
        r#"{"note":"x"}"#,
        r#"invite {"note":"x"}"#,
        201,
        r#"{"url":"u"}"#,
    ),
    ("POST", "/api/invitations", "", "invite {}", 201, r#"{"url":"u"}"#),
    ("DELETE", "/api/invitations/i1", "", "uninvite i1", 204, ""),
    (
        "GET",
        "/api/grains/g1/sharing",
        "",
        "sharing",
        200,
        r#"{"ways":[]}"#,
    ),
    (
        "POST",
        "/api/grains/g1/shares",
        r#"{"to":1}"#,
        r#"share {"to":1}"#,
        201,
        r#"{"way":{}}"#,
    ),
    (
        "PATCH",
        "/api/grains/g1/shares/w1",
        r#"{"label":"x"}"#,
        r#"change_share w1 {"label":"x"}"#,
        200,
        r#"{"id":"w1"}"#,
    ),
    (
        "DELETE",
        "/api/grains/g1/shares/w1",
        "",
        "revoke_share w1 {}",
        204,
        "",
    ),
    (
        "DELETE",
        "/api/grains/g1/shares/w1",
        r#"{"onlyLink":true}"#,
        r#"revoke_share w1 {"onlyLink":true}"#,
        204,
        "",
    ),
    (
        "PATCH",
        "/api/grains/g1/access",
        r#"{"role":{}}"#,
        r#"limit_myself {"role":{}}"#,
        200,
        r#"{"id":"g1"}"#,
    ),
    ("POST", "/api/grains/g1/leave", "", "leave", 204, ""),
    (
        "POST",
        "/api/grains/g1/transfer",
        r#"{"person":"p"}"#,
        r#"transfer {"person":"p"}"#,
        201,
        "{}",
    ),
    (
        "POST",
        "/api/links/accept",
        r#"{"token":"t"}"#,
        r#"accept_link {"token":"t"}"#,
        201,
        r#"{"id":"g1"}"#,
    ),
    (
        "POST",
        "/api/offers/o1/accept",
        "",
        "offer o1 true",
        200,
        r#"{"id":"g1"}"#,
    ),
    ("POST", "/api/offers/o1/decline", "", "offer o1 false", 204, ""),
    (
        "GET",
        "/api/grains/g1/history",
        "",
        "history",
        200,
        r#"{"entries":[],"intact":true}"#,
    ),
    (
        "GET",
        "/api/history",
        "",
        "history",
        200,
        r#"{"entries":[],"intact":true}"#,
    ),
    (
        "GET",
        "/api/grains/g1/devices",
        "",
        "devices",
        200,
        r#"{"devices":[]}"#,
    ),
    (
        "POST",
        "/api/grains/g1/devices",
        r#"{"label":"x"}"#,
        r#"add_device {"label":"x"}"#,
        201,
        r#"{"password":"p"}"#,
    ),
    (
        "DELETE",
        "/api/grains/g1/devices/d1",
        "",
        "remove_device d1",
        204,
        "",
    ),
    (
        "POST",
        "/api/grains/g1/templates",
        r#"{"template":"x"}"#,
        r#"template {"template":"x"}"#,
        201,
        r#"{"token":"t"}"#,
    ),
    ("GET", "/api/grains/g1/jobs", "", "jobs", 200, r#"{"jobs":[]}"#),
    (
        "GET",
        "/api/grains/g1/authority",
        "",
        "authority",
        200,
        r#"{"held":[]}"#,
    ),
    (
        "DELETE",
        "/api/grains/g1/authority/t1",
        "",
        "drop_authority t1",
        204,
        "",
    ),
    (
        "POST",
        "/api/grains/g1/requests",
        r#"{"page":"ui"}"#,
        r#"request {"page":"ui"}"#,
        201,
        r#"{"request":"r1"}"#,
    ),
    ("GET", "/api/requests/r1", "", "choices", 200, r#"{"choices":[]}"#),
    (
        "POST",
        "/api/requests/r1/choose",
        r#"{"choice":"c"}"#,
        r#"choose {"choice":"c"}"#,
        200,
        r#"{"token":"t"}"#,
    ),
    ("DELETE", "/api/requests/r1", "", "cancel", 204, ""),
    (
        "GET",
        "/api/notifications",
        "",
        "notifications",
        200,
        r#"{"notifications":[]}"#,
    ),
    (
        "POST",
        "/api/notifications/n1",
        r#"{"act":"read"}"#,
        r#"answer_notification n1 {"act":"read"}"#,
        204,
        "",
    ),
    (
        "POST",
        "/api/grains/g1/duplicate",
        "",
        "duplicate",
        201,
        r#"{"id":"g2"}"#,
    ),
    (
        "GET",
        "/api/grains/g1/devices?x=y",
        "",
        "devices",
        200,
        r#"{"devices":[]}"#,
    ),
];

#[test]
fn every_call_reaches_its_capability() {
    let world = World::new();
    for (method, path, document, _, status, said) in CASES {
        let answer = world.ask(&world.shell_request(method, path, &body(document)));
        assert_eq!((answer.status, answer.text()), (status, said), "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let expected: Vec<&str> = CASES.iter().map(|case| case.3).collect();
    assert_eq!(world.facts.read(|facts| facts.calls.clone()), expected);
}

#[test]
fn strangers_and_other_sites_reach_none_of_them() {
    let world = World::new();
    for (method, path, document, ..) in CASES {
        let shell = world.shell();
        let stranger = request(
            method,
            path,
            &shell,
            &format!("X-Percloud: 1\r\n{}", body(document)),
        );
        assert_eq!(world.ask(&stranger).status, 401, "{method} {path}");
        let cookie = format!("Cookie: __Host-percloud={}\r\n", hex(SHELL_COOKIE));
        let foreign = format!("{cookie}Origin: http://{}\r\n{}", world.page(), body(document));
        assert_eq!(
            world.ask(&request(method, path, &shell, &foreign)).status,
            403,
            "{method} {path}"
        );
    }
    assert!(world.facts.read(|facts| facts.calls.is_empty()));
}

#[test]
fn what_is_not_there_is_not_found() {
    let world = World::new();
    for (method, path) in [
        ("POST", "/api/people"),
        ("GET", "/api/grains/g1/shares"),
        ("PUT", "/api/grains/g1/shares/w1"),
        ("GET", "/api/grains/g2/sharing"),
        ("GET", "/api/grains/g1/leave"),
        ("POST", "/api/offers/o1/take"),
        ("GET", "/api/requests/r2"),
        ("POST", "/api/requests/r1"),
        ("POST", "/api/links/steal"),
        ("GET", "/api/links/look"),
        ("GET", "/api/backups"),
    ] {
        let answer = world.ask(&world.shell_request(method, path, "Content-Length: 0\r\n"));
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    assert!(world.facts.read(|facts| facts.calls.is_empty()));
}

#[test]
fn strangers_may_join_and_follow_links() {
    let world = World::new();
    let post = |path: &str, headers: &str, document: &str| {
        world.ask(&request(
            "POST",
            path,
            &world.shell(),
            &format!("{headers}{}", body(document)),
        ))
    };
    let own = "X-Percloud: 1\r\nUser-Agent: T\r\n";
    let cookie = format!(
        "__Host-percloud={}; Path=/; HttpOnly; SameSite=Strict; Secure",
        hex(SHELL_COOKIE)
    );
    for (path, document, status, said, given) in [
        (
            "/api/join",
            "right",
            201,
            r#"{"name":"New"}"#,
            Some(cookie.as_str()),
        ),
        (
            "/api/join",
            "wrong",
            403,
            r#"{"error":{"code":"wrong-secret","message":"No."}}"#,
            None,
        ),
        (
            "/api/links/look",
            "right",
            200,
            r#"{"title":"Plan","grain":null}"#,
            None,
        ),
        (
            "/api/links/open",
            "any",
            200,
            r#"{"host":"h","secret":"s"}"#,
            None,
        ),
    ] {
        let answer = post(path, own, document);
        assert_eq!(
            (answer.status, answer.text(), answer.header("set-cookie")),
            (status, said, given),
            "{path} {document}"
        );
    }
    let slow = post("/api/links/look", own, "wrong");
    assert_eq!((slow.status, slow.header("retry-after")), (429, Some("7")));
    assert_eq!(
        world.facts.read(|facts| facts.calls.clone()),
        [
            "join right from 127.0.0.1 T",
            "join wrong from 127.0.0.1 T",
            "look right from 127.0.0.1 T",
            "follow any from 127.0.0.1 T",
            "look wrong from 127.0.0.1 T",
        ]
    );
    for path in ["/api/join", "/api/links/look", "/api/links/open"] {
        assert_eq!(
            post(path, "", "right").status,
            403,
            "{path} needs the mark of the shell"
        );
        assert_eq!(post(path, own, &"x".repeat(70_000)).status, 413, "{path}");
    }
}

#[test]
fn pages_of_links_and_invitations_are_the_shell_s_and_nobody_keeps_them() {
    let world = World::new();
    for path in ["/shared", "/join"] {
        let page = world.get_from(&world.shell(), path);
        assert_eq!(
            (page.status, page.text()),
            (200, "<title>Percloud</title>"),
            "{path}"
        );
        assert_eq!(page.header("cache-control"), Some("private, no-cache"));
        // The origin and no more: the form that hands a session over must say where it comes from.
        assert_eq!(page.header("referrer-policy"), Some("strict-origin"));
    }
}

#[test]
fn the_page_for_offers_may_be_framed_by_apps_and_do_little() {
    let world = World::new();
    let shell = world.shell();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src http://*.{shell}; base-uri 'none'; form-action 'none'; frame-ancestors 'self' http://*.{shell}; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    for path in ["/offer-template", "/offer-template.html"] {
        let page = world.get_from(&shell, path);
        assert_eq!(
            (page.status, page.text()),
            (200, "<title>Offer</title>"),
            "{path}"
        );
        assert_eq!(page.header("content-security-policy"), Some(policy.as_str()));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
    for path in ["//offer-template", "/offer-template/", "/Offer-Template"] {
        let page = world.get_from(&shell, path);
        assert!(
            page.header("content-security-policy")
                .unwrap()
                .contains("frame-ancestors 'none'"),
            "{path}"
        );
    }
}

#[test]
fn a_backup_comes_as_a_file_named_after_the_grain() {
    let world = World::new();
    for (told, name) in [
        (
            r#"{"title":"My \"garden\" ü"}"#,
            "attachment; filename=\"My -garden- _.zip\"; filename*=UTF-8''My%20-garden-%20%C3%BC.zip",
        ),
        ("{}", "attachment; filename=\"grain.zip\""),
    ] {
        world.facts.update(|facts| {
            facts.backup = Some(told.to_owned());
            facts.backup_size = Some(100_000);
        });
        let answer = world.ask(&world.shell_request("GET", "/api/grains/g1/backup", ""));
        assert_eq!((answer.status, answer.complete), (200, true));
        assert_eq!(answer.header("content-disposition"), Some(name));
        assert_eq!(answer.header("content-type"), Some("application/zip"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.body.len(), 100_000);
    }
    world.facts.update(|facts| facts.backup = None);
    let refused = world.ask(&world.shell_request("GET", "/api/grains/g1/backup", ""));
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("in-trash"));
}

#[test]
fn a_backup_is_packed_no_faster_than_it_is_read() {
    let world = World::with(|limits| limits.window = 100_000);
    world.facts.update(|facts| facts.backup = Some("{}".to_owned()));
    let mut client = world.connect();
    client.send(world.shell_request("GET", "/api/grains/g1/backup", "").as_bytes());
    assert_eq!(client.head().unwrap().status, 200);
    let mut read = 0;
    while read < 10_000_000 {
        read += client.chunk().unwrap().unwrap().len() as u64;
    }
    // What lies in the kernel, in hyper and in the window; the broker goes on for ever.
    let written = world.facts.read(|facts| facts.written);
    assert!(written - read < 8 << 20, "{written} {read}");
    drop(client);
    world.facts.wait("packing to be given up", |facts| {
        facts.write_error.is_some() && facts.listener_handles_dropped == 1
    });
}

#[test]
fn a_backup_is_passed_on_while_it_arrives() {
    let world = World::with(|limits| limits.backup = 1_000_000);
    let zip: Vec<u8> = (0..900_000u32)
        .map(|at| u8::try_from(at % 253).unwrap())
        .collect();
    let head = |length: usize| {
        let rest = format!("X-Upload-Id: b-1\r\nContent-Length: {length}\r\n");
        world.shell_request("POST", "/api/backups", &rest)
    };
    let mut client = world.connect();
    client.send(head(zip.len()).as_bytes());
    client.send(&zip);
    assert_eq!(client.answer().status, 201);
    assert!(world.facts.read(|facts| facts.package == zip));
    assert_eq!(world.facts.read(|facts| facts.calls.clone()), ["restore 900000"]);
    assert_eq!(world.ask(&head(1_000_001)).status, 413);
    let nameless = world.shell_request("POST", "/api/backups", "Content-Length: 0\r\n");
    assert_eq!(world.ask(&nameless).status, 400);
}
