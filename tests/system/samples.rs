//! `percloud try` on every sample app: software that none of us wrote, over the bridge.

use std::process::Command;

use percloud_tests::built;
use serde_json::Value;

#[test]
fn try_succeeds_on_radicale() {
    tries("radicale", "/.web/");
}

#[test]
fn try_succeeds_on_tiddlywiki() {
    tries("tiddlywiki", "/");
}

#[test]
fn try_succeeds_on_dokuwiki() {
    tries("dokuwiki", "/doku.php?id=start");
}

#[test]
fn try_succeeds_on_cgit() {
    tries("cgit", "/welcome.git/log/");
}

#[test]
fn try_succeeds_on_the_native_guestbook() {
    tries("guestbook", "/");
}

#[test]
fn try_fails_on_an_app_that_exits_at_once() {
    let package = percloud_tests::package::Recipe::hostile("exit").pack();
    let output = Command::new(built::program("percloud"))
        .arg("try")
        .arg(package.path())
        .arg("--json")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        report["log"]
            .as_str()
            .is_some_and(|log| log.contains("leaving at once")),
        "{report}"
    );
}

fn tries(sample: &str, path: &str) {
    let mut command = Command::new(built::program("percloud"));
    command
        .arg("try")
        .arg(built::sample(sample))
        .args(["--path", path, "--json"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(report["status"], 200, "{said}");
}
