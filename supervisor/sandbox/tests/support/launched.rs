//! A launcher in a process of its own, and what its client asks of it.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use percloud_sandbox::launcher::{Client, Kind, Started};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::support::{Place, Running, Starter};

/// A launcher and the broker's end of its socket.
pub struct Launcher {
    pub process: Running,
    pub socket: UnixStream,
    pub client: Client,
}

impl Launcher {
    pub fn start(place: &Place, starter: Starter) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = place.driver(starter, &["launcher", "0", "2"]);
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null());
        let process = Running(command.spawn().unwrap());
        let client = Client::new(ours.try_clone().unwrap().into());
        Self {
            process,
            socket: ours,
            client,
        }
    }

    pub fn work(&mut self, job: Value) -> (Started, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let started = self
            .client
            .request(&Kind::Worker { job }, &[writer.as_fd()])
            .unwrap();
        (started, reader)
    }

    pub fn grain(&mut self, spec: percloud_sandbox::SandboxSpec) -> (Started, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let kind = Kind::Grain {
            sandbox: Box::new(spec),
            host: Value::Null,
        };
        let started = self.client.request(&kind, &[writer.as_fd()]).unwrap();
        (started, reader)
    }

    /// What a worker wrote until it ended.
    pub fn report(&mut self, job: Value) -> String {
        let (started, mut reader) = self.work(job);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        ended(&started);
        text
    }

    /// That it still works.
    pub fn lives(&mut self) {
        let (started, _reader) = self.work(json!({"exit": 0}));
        ended(&started);
    }
}

/// Waits for the end of a child the launcher reaps.
pub fn ended(started: &Started) {
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(&started.pidfd, PollFlags::IN)];
    assert_eq!(
        poll(&mut polled, Some(&limit)).unwrap(),
        1,
        "process {} goes on",
        started.pid
    );
}

/// An argument by which an app's processes are known.
pub fn mark(place: &Place) -> String {
    format!("mark={}", place.path("").display())
}
