//! An edge with a broker and a grain around it, started in one line and taken down again.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use percloud_edge::{Assets, BaseUrl, Config, EdgeError, Limits};
use tokio::sync::{oneshot, watch};

use crate::broker;
use crate::client::{Answer, Client, get, request};

/// The session host that the broker knows.
pub const PAGE: &str = "ui-0123456789abcdef0123456789abcdef";
/// The host for programs that the broker knows, and the token that belongs to it.
pub const API: &str = "api-0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDE-_";
/// The public id of the grain that publishes something.
pub const SITE: &str = "abcdefghij0123456789";
/// Secrets the broker knows, as the byte they are filled with.
pub const SHELL_COOKIE: u8 = 7;
pub const HAND_OVER: u8 = 5;
pub const PAGE_COOKIE: u8 = 9;

pub fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// What broker and app have seen, and what they are told to do. Tests wait for it to change.
#[derive(Debug, Default)]
pub struct Facts {
    pub relaxed: bool,
    pub failed: Option<String>,
    pub hand_over_used: bool,
    pub nonces: Vec<Vec<u8>>,
    pub opened: usize,
    pub params: Vec<(String, String, Vec<String>)>,
    pub calls: Vec<String>,
    /// Connections to the door, each with the way to cut it.
    pub doors: Vec<Option<oneshot::Sender<()>>>,
    pub doors_closed: usize,
    /// Bytes written by the app to a response and acknowledged, and how writing ended.
    pub written: u64,
    pub write_error: Option<String>,
    pub handles_dropped: usize,
    pub pings: usize,
    /// Bytes of uploads that arrived, and how they ended.
    pub received: u64,
    pub expected: Option<u64>,
    pub done: bool,
    pub upload_dropped: bool,
    /// Uploads and messages wait while this is set.
    pub hold: bool,
    pub package: Vec<u8>,
    pub package_dropped: bool,
    /// Finishing a package waits while this is set; how often it was begun, and came to its end.
    pub hold_finish: bool,
    pub finishing: usize,
    pub finished: usize,
    pub listener_handles_dropped: usize,
    pub sockets_closed: usize,
    pub cancelled: usize,
    /// The token opens nothing any more.
    pub revoked: bool,
    /// Sessions up to this one were broken by the grain host.
    pub broken: usize,
    /// Pieces read of published files, and how many files were let go of.
    pub slices: usize,
    pub files_closed: usize,
    /// What the broker says when a backup is asked for, and how many bytes it has; endless without a number.
    pub backup: Option<String>,
    pub backup_size: Option<u64>,
}

#[derive(Clone, Default)]
pub struct Shared(Arc<Known>);

#[derive(Default)]
struct Known {
    facts: Mutex<Facts>,
    changed: Condvar,
    version: watch::Sender<()>,
}

impl Shared {
    pub fn update<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        let result = change(&mut self.0.facts.lock().unwrap());
        self.0.changed.notify_all();
        self.0.version.send_replace(());
        result
    }

    pub fn read<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.0.facts.lock().unwrap())
    }

    /// Waits until something is so.
    pub fn wait(&self, what: &str, mut is_so: impl FnMut(&Facts) -> bool) {
        let facts = self.0.facts.lock().unwrap();
        let patience = Duration::from_secs(20);
        let (facts, waited) = self
            .0
            .changed
            .wait_timeout_while(facts, patience, |facts| !is_so(facts))
            .unwrap();
        drop(facts);
        assert!(
            !waited.timed_out(),
            "waited in vain for: {what}; so far {:?}",
            self.read(|facts| format!("{facts:?}"))
        );
    }

    /// Waits until something is so, within a task.
    pub async fn until(&self, mut is_so: impl FnMut(&Facts) -> bool) {
        let mut version = self.0.version.subscribe();
        while !self.read(&mut is_so) {
            version.changed().await.expect("the sender lives as long as this");
        }
    }
}

pub struct World {
    pub address: SocketAddr,
    pub facts: Shared,
    stop: Option<oneshot::Sender<()>>,
    broker: Option<JoinHandle<()>>,
    edge: Option<JoinHandle<Result<(), EdgeError>>>,
    _folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A world whose edge holds to other limits than usual.
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::of(2, change)
    }

    /// A world whose edge has one thread, and so one session for one cookie.
    pub fn single(change: impl FnOnce(&mut Limits)) -> Self {
        Self::of(1, change)
    }

    fn of(threads: usize, change: impl FnOnce(&mut Limits)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let door: PathBuf = folder.path().join("door");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let facts = Shared::default();
        let (brokers, ends): (Vec<_>, Vec<_>) = (0..threads)
            .map(|_| std::os::unix::net::UnixStream::pair().unwrap())
            .unzip();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let known = facts.clone();
        let broker = std::thread::spawn(move || broker::run(ends, &door, known, stopped, &ready));
        is_ready.recv().expect("the broker listens at its door");

        let mut limits = Limits::default();
        change(&mut limits);
        let base = BaseUrl::new("http", &format!("percloud.localhost:{}", address.port())).unwrap();
        let page =
            |name: &str, text: &'static [u8]| (name.to_owned(), Bytes::from_static(text), "v1".to_owned());
        let assets = Assets::new([
            page("index.html", b"<title>Percloud</title>"),
            page("offer-template.html", b"<title>Offer</title>"),
        ]);
        let config = Config {
            listeners: vec![listener],
            brokers,
            base,
            assets,
            limits,
        };
        let edge = std::thread::spawn(move || percloud_edge::run(config));
        Self {
            address,
            facts,
            stop: Some(stop),
            broker: Some(broker),
            edge: Some(edge),
            _folder: folder,
        }
    }

    pub fn shell(&self) -> String {
        format!("percloud.localhost:{}", self.address.port())
    }

    pub fn page(&self) -> String {
        format!("{PAGE}.{}", self.shell())
    }

    pub fn api(&self) -> String {
        format!("{API}.{}", self.shell())
    }

    /// A request of a program that has the token.
    pub fn api_request(&self, method: &str, path: &str, rest: &str) -> String {
        let authorization = format!("Authorization: Bearer {TOKEN}\r\n{rest}");
        request(method, path, &self.api(), &authorization)
    }

    /// Tries again and again until it works.
    pub fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "tried in vain");
        }
    }

    pub fn connect(&self) -> Client {
        Client::new(self.address)
    }

    /// Asks once, on a connection of its own.
    pub fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect();
        client.send(request.as_bytes());
        client.answer()
    }

    /// GET of an app's path by somebody who has its cookie.
    pub fn get(&self, path: &str) -> Answer {
        self.ask(&self.page_request("GET", path, ""))
    }

    /// A request to the app by somebody who has its cookie. `rest` is header lines, an empty line if a body follows,
    /// and the body.
    pub fn page_request(&self, method: &str, path: &str, rest: &str) -> String {
        let cookie = format!("Cookie: __Host-percloud-session={}\r\n{rest}", hex(PAGE_COOKIE));
        request(method, path, &self.page(), &cookie)
    }

    /// A request to the shell by somebody who is signed in.
    pub fn shell_request(&self, method: &str, path: &str, rest: &str) -> String {
        let cookie = format!(
            "Cookie: __Host-percloud={}\r\nX-Percloud: 1\r\n{rest}",
            hex(SHELL_COOKIE)
        );
        request(method, path, &self.shell(), &cookie)
    }

    pub fn get_from(&self, host: &str, path: &str) -> Answer {
        self.ask(&get(path, host, ""))
    }

    /// Takes the broker away; the edge must then end by itself.
    pub fn end(&mut self) -> EdgeError {
        drop(self.stop.take());
        self.broker
            .take()
            .expect("ended once")
            .join()
            .expect("the broker does not panic");
        self.edge
            .take()
            .expect("ended once")
            .join()
            .expect("the edge does not panic")
            .unwrap_err()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.edge.is_some() {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
            if !std::thread::panicking() {
                assert!(matches!(ended, Ok(EdgeError::BrokerGone)), "{ended:?}");
            }
        }
    }
}
