//! Start, readiness, process duties and end.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener as StdTcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use percloud_schemas::grain_capnp::ui_view;
use tokio::io::AsyncWriteExt;

use crate::app::App;
use crate::harness::{Bridge, executable, run, spawn, two_permissions};

const BRIDGE: &str = env!("CARGO_BIN_EXE_sandstorm-http-bridge");

/// Reserves a port on which nothing listens yet.
fn reserve() -> (OwnedFd, u16) {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    bind(
        fd.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
    )
    .unwrap();
    let address: SockaddrIn = getsockname(fd.as_raw_fd()).unwrap();
    (fd, address.port())
}

#[test]
fn sessions_wait_for_the_app_and_the_view_does_not() {
    run(async {
        let (fd, port) = reserve();
        let bridge = Bridge::start(port, &["cat"], two_permissions);
        let view: ui_view::Client = capnp::capability::FromClientHook::cast_to(bridge.view.clone());
        let info = view.get_view_info_request().send().promise.await.unwrap();
        assert_eq!(info.get().unwrap().get_permissions().unwrap().len(), 3);

        let mut session = Box::pin(bridge.alice());
        let early = tokio::time::timeout(Duration::from_millis(300), &mut session).await;
        assert!(early.is_err(), "a session although nothing listens");

        listen(&fd, Backlog::new(16).unwrap()).unwrap();
        let listener = StdTcpListener::from(fd);
        listener.set_nonblocking(true).unwrap();
        let app = App::on(tokio::net::TcpListener::from_std(listener).unwrap());
        let session = session.await;
        let call = session.get_request().send().promise;
        let (response, _) = tokio::join!(call, app.answer("HTTP/1.1 204 No Content\r\n\r\n"));
        response.unwrap();
    });
}

#[test]
fn the_bridge_exits_as_the_app_does() {
    run(async {
        for (script, status) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("kill -9 $$", 137),
            ("kill -TERM $$", 143),
        ] {
            let (_fd, port) = reserve();
            let mut bridge = Bridge::start(port, &["sh", "-c", script], |_| ());
            assert_eq!(bridge.exit().await.code(), Some(status), "{script}");
        }
    });
}

#[test]
fn the_app_gets_its_environment_and_no_foreign_descriptor() {
    run(async {
        let (_fd, port) = reserve();
        let script = "echo proxy=$http_proxy,$HTTP_PROXY,$no_proxy >&2
            for fd in 3 4 5 6 7 8 9; do
                [ -e /proc/self/fd/$fd ] && echo open $fd >&2
            done
            echo checked >&2; exec cat";
        let mut bridge = Bridge::start(port, &["sh", "-c", script], |_| ());
        let [high, low] = port.to_be_bytes();
        let proxy = format!("http://127.15.{high}.{low}:15239/");
        let line = bridge.wait_for_log("proxy=").await;
        assert_eq!(line, format!("proxy={proxy},{proxy},localhost,127.0.0.1"));
        // Descriptors from 10 on may be the test runner's own; the harness has closed those before.
        assert_eq!(bridge.wait_for_log("e").await, "checked");
    });
}

#[test]
fn orphans_are_reaped() {
    run(async {
        let (_fd, port) = reserve();
        // The inner shell leaves a process behind.
        let script = "sh -c 'sleep 0.05 & echo orphan $! >&2'; exec cat";
        let mut bridge = Bridge::start(port, &["sh", "-c", script], |_| ());
        let line = bridge.wait_for_log("orphan ").await;
        let process = format!("/proc/{}", line.split(' ').nth(1).unwrap());
        // Dead but not reaped, it would stay there; the test's time limit is what ends this then.
        while std::path::Path::new(&process).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(bridge.process.try_wait().unwrap().is_none());
    });
}

#[test]
fn without_a_platform_everything_ends() {
    run(async {
        let (_fd, port) = reserve();
        let mut bridge = Bridge::start(port, &["sh", "-c", "echo pid $$ >&2; exec sleep 1000"], |_| ());
        let line = bridge.wait_for_log("pid ").await;
        let process = format!("/proc/{}/stat", line.split(' ').nth(1).unwrap());
        bridge.disconnect();
        assert_eq!(bridge.exit().await.code(), Some(1));
        // Gone, or dead and left for whoever reaps on this machine.
        while std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn garbage_from_the_platform_ends_the_bridge() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        // An empty message: one segment with a null root.
        std::fs::write(
            directory.path().join("config"),
            [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )
        .unwrap();
        for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 64]] {
            let (_fd, port) = reserve();
            let arguments = [directory.path().to_str().unwrap(), &port.to_string(), "cat"];
            let (mut process, socket) = spawn(&executable(), &arguments);
            // Or else waiting would close it, and end the app.
            let _stdin = process.stdin.take();
            let mut socket = tokio::net::UnixStream::from_std(socket).unwrap();
            socket.write_all(garbage).await.unwrap();
            assert_eq!(process.wait().await.unwrap().code(), Some(1));
        }
    });
}

/// Runs a bridge that cannot start and returns what it says.
async fn complaint(program: &std::path::Path, arguments: &[&str]) -> String {
    let (process, _socket) = spawn(program, arguments);
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_cannot_start_says_why() {
    run(async {
        let bridge = std::path::Path::new(BRIDGE);
        assert!(
            complaint(bridge, &[])
                .await
                .starts_with("** HTTP-BRIDGE: usage: ")
        );
        assert!(complaint(bridge, &["8000"]).await.contains("no command given"));
        let text = complaint(bridge, &["8000", "true"]).await;
        assert!(
            text.contains("could not read /sandstorm-http-bridge-config: "),
            "{text}"
        );

        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("config"),
            [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )
        .unwrap();
        let (_fd, port) = reserve();
        let path = directory.path().to_str().unwrap();
        let text = complaint(&executable(), &[path, &port.to_string(), "--", "no-such-program"]).await;
        assert!(
            text.contains("could not start \"no-such-program\": No such file"),
            "{text}"
        );
    });
}

#[test]
fn descriptor_three_must_be_a_connection() {
    for (redirection, reason) in [
        ("3<&-", "Bad file descriptor"),
        ("3</dev/null", "Socket operation on non-socket"),
    ] {
        #[expect(clippy::disallowed_methods, reason = "a test")]
        let output = Command::new("/bin/sh")
            .args(["-c", &format!("exec \"$0\" 8000 true {redirection}"), BRIDGE])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(reason), "{text}");
    }
}
