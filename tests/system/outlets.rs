//! What a grain reaches outside: nothing, until a person lets it; then that, and nothing beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percloud_tests::owner::{Visit, text};
use percloud_tests::{Owner, Server, built, wait};
use serde_json::{Value, json};

const API_SESSION: u64 = 0xc879_e379_c625_cdc7;
const IP_NETWORK: u64 = 0xa982_576b_7a2a_2040;
const IP_INTERFACE: u64 = 0xe32c_506e_e93e_d6fa;

/// Tests' own servers are on this machine, which is closed to apps unless somebody opens it.
const OPEN: [&str; 4] = ["--open-address", "127.0.0.0/8", "--app-listen", "127.0.0.1"];

/// A packed descriptor of one tag without a value (sheet section 9 shows the form).
fn any(id: u64) -> String {
    let mut packed = vec![
        0x10, 0x06, 0x50, 0x01, 0x01, 0, 0, 0x11, 0x01, 0x17, 0x51, 0x04, 0x01, 0x01,
    ];
    let id = id.to_le_bytes();
    packed.push(
        (0..8)
            .filter(|place| id[*place] != 0)
            .map(|place| 1 << place)
            .sum(),
    );
    packed.extend(id.iter().filter(|byte| **byte != 0));
    if id.iter().all(|byte| *byte != 0) {
        packed.push(0);
    }
    packed.extend([0, 0]);
    URL_SAFE_NO_PAD.encode(packed)
}

/// A website that answers each request with what it was asked, as JSON.
fn website() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _hung_up = answer(stream);
        }
    });
    port
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut authorization = None;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let Some((name, value)) = field.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("authorization") {
            authorization = Some(value.trim().to_owned());
        }
    }
    let body = json!({"asked": line.trim_end(), "authorization": authorization}).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Has the guestbook behind a visit do something with capabilities.
fn caps(visit: &Visit, what: &str) -> Value {
    let answer = visit.get(&format!("/caps/{what}"));
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    answer.json()
}

/// A guestbook with its page open.
fn book(owner: &Owner) -> (String, Visit) {
    let grain = owner.grain_of(&built::sample("guestbook"));
    let visit = owner.open(&grain);
    assert_eq!(visit.get("/").status, 200);
    (grain, visit)
}

/// Asks, as a page of `grain` does; returns the request with what may be chosen.
fn ask(owner: &Owner, grain: &str, visit: &Visit, what: u64) -> (String, Vec<String>) {
    let page = visit.host.split('.').next().unwrap();
    let body = json!({"page": page, "query": [any(what)], "label": "the world"});
    let asked = owner.expect("POST", &format!("/api/grains/{grain}/requests"), Some(body));
    let id = text(&asked["request"]);
    let choices = owner.get(&format!("/api/requests/{id}"));
    let choices = choices["choices"].as_array().unwrap();
    let choices = choices.iter().map(|choice| text(&choice["id"])).collect();
    (id, choices)
}

/// Chooses, and has the book claim what was chosen; under which number it holds that.
fn choose(owner: &Owner, visit: &Visit, request: &str, choice: Value) -> u64 {
    let chosen = owner.expect("POST", &format!("/api/requests/{request}/choose"), Some(choice));
    let claimed = caps(
        visit,
        &format!("claim?token={}&need=read", text(&chosen["token"])),
    );
    claimed["held"]
        .as_u64()
        .unwrap_or_else(|| panic!("the claim works: {claimed}"))
}

/// Whether any file below a folder contains these bytes.
fn is_written_below(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_written_below(&path, bytes);
        }
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|part| part == bytes)
    })
}

#[test]
fn a_website_is_given_used_kept_and_taken_away() {
    let port = website();
    let mut server = Server::start_with(&OPEN);
    let owner = Owner::set_up(&server);
    let (grain, visit) = book(&owner);
    let (request, choices) = ask(&owner, &grain, &visit, API_SESSION);
    assert!(choices.contains(&"website".to_owned()), "{choices:?}");
    let choice = json!({"choice": "website", "website": {
        "url": format!("http://127.0.0.1:{port}/api"),
        "credential": {"kind": "basic", "user": "ada", "password": "a very secret word"},
    }});
    let held = choose(&owner, &visit, &request, choice);
    let signed_in = STANDARD.encode("ada:a very secret word");
    let answered = json!({"asked": "GET /api HTTP/1.1", "authorization": format!("Basic {signed_in}")});
    assert_eq!(caps(&visit, &format!("use?held={held}")), answered);

    let kept = text(&caps(&visit, &format!("save?held={held}"))["token"]);
    let listed = owner.get(&format!("/api/grains/{grain}/authority"));
    assert_eq!(listed["held"][0]["what"], json!("a website"), "{listed}");
    assert_eq!(
        listed["held"][0]["from"],
        json!(format!("http://127.0.0.1:{port}/api"))
    );
    assert!(!listed.to_string().contains(&signed_in), "{listed}");

    // What is taken back ends where it is alive, too, though it was saved there.
    let (other, page) = book(&owner);
    let (request, _) = ask(&owner, &other, &page, API_SESSION);
    let choice = json!({"choice": "website", "website": {"url": format!("http://127.0.0.1:{port}/")}});
    let taken = choose(&owner, &page, &request, choice);
    assert!(caps(&page, &format!("save?held={taken}"))["token"].is_string());
    let id = text(&owner.get(&format!("/api/grains/{other}/authority"))["held"][0]["id"]);
    owner.expect("DELETE", &format!("/api/grains/{other}/authority/{id}"), None);
    assert_eq!(
        caps(&page, &format!("use?held={taken}"))["kind"],
        json!("Disconnected")
    );
    assert!(caps(&page, &format!("save?held={taken}"))["error"].is_string());

    server.kill_everything();
    for secret in ["a very secret word", signed_in.as_str(), kept.as_str()] {
        assert!(
            !is_written_below(&server.data().join("store"), secret.as_bytes()),
            "{secret}"
        );
    }
    server.run();
    let owner = Owner::sign_in(&server);
    let visit = owner.open(&grain);
    assert_eq!(caps(&visit, &format!("restore?token={kept}")), json!({"held": 0}));
    assert_eq!(caps(&visit, "use?held=0"), answered);

    let id = text(&owner.get(&format!("/api/grains/{grain}/authority"))["held"][0]["id"]);
    owner.expect("DELETE", &format!("/api/grains/{grain}/authority/{id}"), None);
    assert_eq!(caps(&visit, "use?held=0")["kind"], json!("Disconnected"));
    assert!(caps(&visit, &format!("restore?token={kept}"))["error"].is_string());
}

#[test]
fn this_machine_and_its_neighbours_stay_closed() {
    let port = website();
    let (_server, owner) = Server::owned();
    let (grain, visit) = book(&owner);
    for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"] {
        let (request, _) = ask(&owner, &grain, &visit, API_SESSION);
        let choice = json!({"choice": "website", "website": {"url": format!("http://{host}:{port}/")}});
        let held = choose(&owner, &visit, &request, choice);
        let refused = caps(&visit, &format!("use?held={held}"));
        let why = refused["error"].as_str().unwrap_or_default();
        assert!(why.contains("not public"), "{host}: {refused}");
    }
}

#[test]
fn what_is_no_website_is_said_and_nothing_typed_is_lost() {
    let (_server, owner) = Server::owned();
    let (grain, visit) = book(&owner);
    let (request, _) = ask(&owner, &grain, &visit, API_SESSION);
    let choose = format!("/api/requests/{request}/choose");
    for (website, word) in [
        (json!({"url": ""}), "address"),
        (json!({"url": "example.org"}), "address"),
        (json!({"url": "file:///etc/passwd"}), "https://"),
        (json!({"url": "https://ada:secret@example.org/"}), "password"),
        (json!({"url": "https://example.org/#x"}), "path"),
        (
            json!({"url": "https://example.org/", "credential": {"kind": "bearer", "token": "a b"}}),
            "access key",
        ),
        (
            json!({"url": "https://example.org/", "credential": {"kind": "basic", "user": "a:b", "password": "c"}}),
            "colon",
        ),
    ] {
        let answer = owner.change(
            "POST",
            &choose,
            Some(json!({"choice": "website", "website": website})),
        );
        assert_eq!(answer.status, 400, "{website}: {}", answer.text());
        assert!(answer.text().contains(word), "{website}: {}", answer.text());
    }
    for choice in [
        "website:0",
        "website:x",
        "network:plain",
        "interface",
        "website:",
        ":",
    ] {
        let answer = owner.change("POST", &choose, Some(json!({"choice": choice})));
        assert_eq!(answer.status, 404, "{choice}: {}", answer.text());
    }
    let done = json!({"choice": "website", "website": {"url": "https://example.org/"}});
    owner.expect("POST", &choose, Some(done));
}

#[test]
fn the_network_is_the_owners_to_give() {
    let mut server = Server::start_with(&OPEN);
    let owner = Owner::set_up(&server);
    let (grain, visit) = book(&owner);
    let (request, choices) = ask(&owner, &grain, &visit, IP_NETWORK);
    assert_eq!(choices, ["network:plain", "network:tls"]);
    let held = choose(&owner, &visit, &request, json!({"choice": "network:plain"}));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let listening = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        stream.write_all(format!("you said {said}").as_bytes()).unwrap();
    });
    let call = format!("call?held={held}&host=localhost&port={port}&say=hello");
    assert_eq!(caps(&visit, &call), json!({"heard": "you said hello"}));
    listening.join().unwrap();

    // A member may not give it, so it is not on offer; their own guestbook asks in vain.
    let bela = owner.invite(&server, "Bela");
    let (grain, visit) = book(&bela);
    let (request, choices) = ask(&bela, &grain, &visit, IP_NETWORK);
    assert!(choices.is_empty(), "{choices:?}");
    let refused = bela.change(
        "POST",
        &format!("/api/requests/{request}/choose"),
        Some(json!({"choice": "network:plain"})),
    );
    assert_eq!(refused.status, 404);
    server.kill_everything();
}

#[test]
fn an_app_listens_where_the_owner_let_it() {
    let server = Server::start_with(&OPEN);
    let owner = Owner::set_up(&server);
    let (grain, visit) = book(&owner);
    let (request, choices) = ask(&owner, &grain, &visit, IP_INTERFACE);
    assert_eq!(choices, ["interface"]);
    let held = choose(&owner, &visit, &request, json!({"choice": "interface"}));
    // A port nobody has: the kernel's choice, given back at once.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    assert_eq!(
        caps(&visit, &format!("listen?held={held}&port={port}")),
        json!({})
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello");
    let taken = caps(&visit, &format!("listen?held={held}&port={port}"));
    assert!(
        taken["error"]
            .as_str()
            .unwrap_or_default()
            .contains("cannot be had"),
        "{taken}"
    );
}

#[test]
fn an_egress_that_dies_is_replaced_and_what_was_kept_is_found_again() {
    let port = website();
    let server = Server::start_with(&OPEN);
    let owner = Owner::set_up(&server);
    let (grain, visit) = book(&owner);
    let (request, _) = ask(&owner, &grain, &visit, API_SESSION);
    let choice = json!({"choice": "website", "website": {"url": format!("http://127.0.0.1:{port}/api")}});
    let held = choose(&owner, &visit, &request, choice);
    let kept = text(&caps(&visit, &format!("save?held={held}"))["token"]);
    let egress = |server: &Server| {
        let all = server.processes();
        all.into_iter().find(|process| {
            let words = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
            words.split(|byte| *byte == 0).nth(1) == Some(b"egress")
        })
    };
    let dead = egress(&server).expect("an egress runs");
    dead.kill();
    wait::until("another egress runs", || {
        egress(&server).filter(|next| next.pid != dead.pid)
    });
    let gone = caps(&visit, &format!("use?held={held}"));
    assert_eq!(gone["kind"], json!("Disconnected"), "{gone}");
    let restored = wait::until("what was kept is found again", || {
        caps(&visit, &format!("restore?token={kept}"))["held"].as_u64()
    });
    let answered = json!({"asked": "GET /api HTTP/1.1", "authorization": null});
    assert_eq!(caps(&visit, &format!("use?held={restored}")), answered);
}
