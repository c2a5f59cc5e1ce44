//! Apps on the C++ library of Cap'n Proto, which old packages contain, where it behaves differently from ours.
//!
//! Building one needs `capnp`, its headers and static libraries (Debian: `capnproto` and `libcapnp-dev`) and `g++`, so
//! these tests run only when asked for: `cargo test -p percloud-tests --test system cpp -- --ignored`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use percloud_tests::package::Recipe;
use percloud_tests::{Server, wait};
use tempfile::TempDir;

/// The schemas the app is generated from.
const SCHEMAS: [&str; 6] = ["activity", "grain", "identity", "powerbox", "util", "web-session"];

fn run(command: &mut Command) {
    let ran = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; this needs capnproto, libcapnp-dev and g++"));
    assert!(
        ran.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// Builds the app in `folder`; returns the program.
fn build(folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let annotation = "import \"/capnp/c++.capnp\"";
    for name in SCHEMAS {
        let file = format!("{name}.capnp");
        let schema = fs::read_to_string(root.join("schemas/sandstorm").join(&file)).unwrap();
        let (id, rest) = schema.split_once('\n').expect("the id is on the first line");
        // What only concerns the C++: a namespace, and a name that is a macro of the C library.
        let rest = rest.replace(
            "infinity @0",
            &format!("infinity @0 ${annotation}.name(\"infinite\")"),
        );
        let text = format!("{id}\n${annotation}.namespace(\"sandstorm\");\n{rest}");
        fs::write(folder.join(file), text).unwrap();
    }
    let files = |ending: &str| SCHEMAS.map(|name| folder.join(format!("{name}.capnp{ending}")));
    run(Command::new("capnp")
        .args(["compile", "-oc++"])
        .arg(format!("--src-prefix={}", folder.display()))
        .args(files(""))
        .current_dir(folder));
    let program = folder.join("app");
    run(Command::new("g++")
        .args(["-std=c++17", "-O1", "-static", "-I"])
        .arg(folder)
        .arg("-o")
        .arg(&program)
        .arg(root.join("tests/fixtures/cpp-app/app.c++"))
        .args(files(".c++"))
        .args(["-lcapnp-rpc", "-lcapnp", "-lkj-async", "-lkj", "-lpthread"]));
    program
}

#[test]
#[ignore = "needs capnproto, libcapnp-dev and g++"]
fn an_app_in_cpp_is_at_home() {
    let folder = TempDir::new().unwrap();
    let argv = vec!["/app".to_owned()];
    let recipe = Recipe {
        title: "C++".to_owned(),
        files: vec![("app".to_owned(), build(folder.path()))],
        continue_argv: Some(argv.clone()),
        sandbox: None,
        argv,
    };
    let package = recipe.pack();
    let (_server, owner) = Server::owned();
    let grain = owner.grain_of(package.path());
    let visit = owner.open(&grain);
    assert_eq!(visit.get("/").text(), "C++");
    let failed = visit.get("/missing");
    assert_eq!(failed.status, 500);
    assert!(failed.text().contains("there is no such page"));
    assert_eq!(visit.get("/save").text(), "saved");
    assert_eq!(
        visit.get("/activity").text(),
        "told",
        "only the owner was here, yet the event is known"
    );

    // A call whose answer the app never wanted is made.
    assert_eq!(visit.get("/forgotten").text(), "made");
    wait::until("the job to be there", || {
        let jobs = owner.get(&format!("/api/grains/{grain}/jobs"));
        (jobs["jobs"][0]["name"] == "forgotten").then_some(())
    });

    // Forty pieces of 1 MiB, written without waiting for any.
    let flood = visit.get("/flood");
    assert_eq!(flood.status, 200);
    assert_eq!(flood.body.len(), 40 << 20);
    let is_in_order =
        |(index, piece): (usize, &[u8])| piece.iter().all(|byte| usize::from(*byte) == 97 + index % 26);
    assert!(flood.body.chunks(1 << 20).enumerate().all(is_in_order));
}
