//! Hostile code run as each of our processes: what it can reach is what is named here, and nothing else.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use percloud_tests::http::Request;
use percloud_tests::owner::change;
use percloud_tests::{Owner, Server, built};
use serde_json::{Value, json};

/// How the kernel says no.
const REFUSALS: [&str; 7] = [
    "EPERM",
    "EACCES",
    "ENOSYS",
    "EAFNOSUPPORT",
    "ENOTTY",
    "ESRCH",
    "ECONNREFUSED",
];

/// Whether an attempt has failed: by a refusal, or since what it was about cannot be seen.
fn is_refused(attempt: &str, outcome: &str) -> bool {
    let about_files = ["read ", "list ", "find ", "write ", "open ", "link ", "connect "];
    let unseen = match outcome {
        "ENOENT" | "EROFS" => true,
        // A file system of another kind is said before who asks.
        "EXDEV" => attempt.starts_with("link "),
        _ => false,
    };
    REFUSALS.contains(&outcome) || (unseen && about_files.iter().any(|word| attempt.starts_with(word)))
}

/// A stopped server with two grains, and services of the machine an attacker could talk to.
struct Scene {
    server: Server,
    grain: String,
    _port: TcpListener,
    _sockets: [UnixListener; 2],
    hints: Value,
}

impl Scene {
    fn new() -> Self {
        let (mut server, owner) = Server::owned();
        let app = owner.install(&built::sample("guestbook"));
        let (grain, other) = (owner.create(&app), owner.create(&app));
        assert_eq!(owner.open(&grain).get("/").status, 200);
        assert!(server.stop());
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let name = format!("percloud-hostile-{}-{grain}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let path = server.folder().join("a service");
        let sockets = [
            UnixListener::bind_addr(&address).unwrap(),
            UnixListener::bind(&path).unwrap(),
        ];
        let data = server.data();
        let grains = data.join("grains");
        let hints = json!({
            "read": {
                "store": data.join("store"), "keys": data.join("keys"), "staging": data.join("staging"),
                "a grain": grains.join(&grain), "another grain": grains.join(&other),
                "an app": data.join("packages"), "other folders": server.folder(),
            },
            "write": {
                "store": data.join("store"), "a grain": grains.join(&grain), "another grain": grains.join(&other),
                "other folders": server.folder(),
            },
            "ports": {"a service": port.local_addr().unwrap().port()},
            "sockets": {"a socket of the machine": path, "the egress's door": server.folder().join("run/doors/egress")},
            "abstract_sockets": {"an abstract socket": name},
        });
        Self {
            server,
            grain,
            _port: port,
            _sockets: sockets,
            hints,
        }
    }

    /// Has a role attack that is not there before somebody asks for it: beside all else, the other roles.
    fn tell(&mut self) {
        self.hints["pids"] = self.server.pids();
        self.server.tell_hostile(&self.hints);
    }

    /// Starts the server with this role hostile.
    fn run(&mut self, role: &'static str) {
        self.server.run_hostile(role, self.hints.clone());
    }

    /// Insists that these attempts of the hostile role were not refused, and no other; and that beside the three it reads,
    /// writes and complains to it holds these connections and no more than so many files. (How many control groups and
    /// translations of owners there are depends on the machine.)
    fn expect(&self, possible: &[&str], connections: &[&str], most_files: usize) {
        let report = self.server.hostile_report();
        let attempts = report["attempts"].as_object().unwrap();
        assert!(attempts.len() > 60, "{attempts:?}");
        let found: BTreeSet<&str> = attempts
            .iter()
            .filter(|(name, outcome)| !is_refused(name, outcome.as_str().unwrap()))
            .map(|(name, _)| name.as_str())
            .collect();
        let expected: BTreeSet<&str> = possible.iter().copied().collect();
        let outcomes: Vec<_> = found
            .symmetric_difference(&expected)
            .map(|name| (name, &attempts[*name]))
            .collect();
        assert_eq!(found, expected, "they differ in {outcomes:?}");
        let held: Vec<&str> = report["descriptors"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(number, _)| number.parse::<i32>().unwrap() > 2)
            .map(|(_, kind)| kind.as_str().unwrap())
            .collect();
        let of_a_machine = ["file", "device", "kernel object"];
        let mut connected: Vec<&str> = held
            .iter()
            .copied()
            .filter(|kind| !of_a_machine.contains(kind))
            .collect();
        connected.sort_unstable();
        assert_eq!(connected, connections);
        let files = held.iter().filter(|kind| **kind == "file").count();
        assert!(files <= most_files, "{held:?}");
    }
}

/// What everybody may who can make a socket: talk to processes of this machine that listen by a path.
const SOCKET: &str = "UNIX socket";

#[test]
fn the_edge_reaches_no_store_no_keys_and_no_network() {
    let mut scene = Scene::new();
    scene.run("edge");
    // Doors are what it is for; they ask for a nonce.
    let possible = [SOCKET, "connect to the egress's door"];
    let threads = std::thread::available_parallelism().unwrap().get().min(64);
    let mut connections = vec!["UNIX socket"; threads];
    connections.push("internet listener");
    scene.expect(&possible, &connections, 0);
}

#[test]
fn the_egress_reaches_the_network_and_nothing_here() {
    let mut scene = Scene::new();
    scene.run("egress");
    let possible = [
        "TCP socket",
        "TCP socket of IPv6",
        "connect to a service",
        "listen on TCP",
        "send UDP",
    ];
    scene.expect(&possible, &["UNIX listener", "UNIX socket"], 0);
}

#[test]
fn the_broker_reaches_its_folders_and_no_network() {
    let mut scene = Scene::new();
    scene.run("broker");
    let possible = [
        SOCKET,
        "find a grain",
        "find an app",
        "find another grain",
        "find keys",
        "find staging",
        "find store",
        "list a grain",
        "list an app",
        "list another grain",
        "list keys",
        "list staging",
        "list store",
        "write a grain",
        "write another grain",
        "write store",
    ];
    // The parent, and what the kernel says of the machine's memory and the pressure on it.
    scene.expect(&possible, &["UNIX socket"], 2);
}

#[test]
fn the_launcher_looks_into_no_process_it_did_not_start_and_reaches_no_machinery_no_sandbox_needs() {
    let mut scene = Scene::new();
    scene.run("launcher");
    let report = scene.server.hostile_report();
    let of_others = ["parent", "broker"].into_iter().flat_map(|other| {
        let ways = ["trace", "read the memory of", "compare", "open /proc/mem of"];
        ways.map(|way| format!("{way} {other}"))
    });
    let machinery = [
        "bpf",
        "io_uring",
        "io_setup",
        "keyctl",
        "add_key",
        "request_key",
        "perf",
        "userfaultfd",
        "open_by_handle_at",
        "init_module",
        "kexec_load",
        "reboot",
        "syslog",
        "modify_ldt",
        "fanotify",
        "set the clock",
        "packet socket",
        "vsock socket",
        "algorithm socket",
        "a call of the future",
        "device in other folders",
        "read /dev/kmsg",
    ];
    for attempt in of_others.chain(machinery.map(str::to_owned)) {
        let outcome = report["attempts"][&attempt].as_str();
        assert!(
            outcome.is_some_and(|outcome| REFUSALS.contains(&outcome)),
            "{attempt}: {outcome:?}"
        );
    }
    assert_eq!(
        Owner::sign_in(&scene.server).open(&scene.grain).get("/").status,
        200,
        "it builds sandboxes all the same"
    );
}

#[test]
fn who_looks_at_what_apps_take_reaches_nothing_else() {
    let mut scene = Scene::new();
    scene.run("background");
    if scene.server.log().contains("no control group") {
        eprintln!("NOT TESTED: without control groups there is no such process");
        return;
    }
    scene.tell();
    // The files by which processes go to the background and come back, and the namespace that translates owners.
    scene.expect(&[], &[], 3);
}

#[test]
fn a_grain_host_reaches_its_own_grain_alone() {
    let mut scene = Scene::new();
    scene.run("grain-host");
    scene.tell();
    let owner = Owner::sign_in(&scene.server);
    assert_eq!(owner.open(&scene.grain).get("/").status, 200);
    // Doors of others ask for a nonce. Services of the machine: see ADR 0015.
    let possible = [
        SOCKET,
        "connect to a socket of the machine",
        "connect to the egress's door",
        "list a grain",
        "write a grain",
    ];
    // Its door, the broker, its app, and what that writes. Files: what its app's control group bounds and counts, in up to
    // four hierarchies, and two namespaces that translate owners.
    let connections = ["UNIX listener", "UNIX socket", "UNIX socket", "pipe"];
    scene.expect(&possible, &connections, 14);
}

#[test]
fn workers_reach_what_they_were_given() {
    let mut scene = Scene::new();
    // Whom each reports to. Files: what it reads or writes, and the namespace that translates owners.
    let connections = ["UNIX socket"];
    let files = 2;

    scene.run("unpack");
    scene.tell();
    let owner = Owner::sign_in(&scene.server);
    owner.install(&built::sample("guestbook"));
    scene.expect(&[], &connections, files);
    assert!(scene.server.stop());

    scene.run("pack-backup");
    scene.tell();
    let owner = Owner::sign_in(&scene.server);
    let archive = owner.send(Request::new(
        "GET",
        &format!("/api/grains/{}/backup", scene.grain),
    ));
    assert_eq!(archive.status, 200);
    scene.expect(&["list a grain"], &connections, files);
    assert!(scene.server.stop());

    scene.run("restore-backup");
    scene.tell();
    let owner = Owner::sign_in(&scene.server);
    let restored = owner.send(
        change("POST", "/api/backups")
            .header("X-Upload-Id", "back")
            .body("application/zip", archive.body),
    );
    assert_eq!(restored.status, 201, "{}", restored.text());
    scene.expect(&[], &connections, files);
}
