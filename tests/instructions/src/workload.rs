//! The work that is counted: an edge, a grain host, an app and a broker as threads on sockets, and requests to them.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use capnp::Error;
use capnp::capability::{Client, FromClientHook};
use capnp_rpc::new_client;
use capnp_rpc::rpc_twoparty_capnp::Side;
use percloud_edge::{Assets, BaseUrl, EdgeError};
use percloud_grain_host::{AppHandles, Ended};
use percloud_link::{Bounds, Link};
use percloud_schemas::front_capnp::front;
use percloud_schemas::grain_capnp::{ui_session, ui_view};
use percloud_schemas::host_capnp::{grain_host, host_keeper};
use percloud_schemas::web_session_capnp::web_session;
use tokio::task::{LocalSet, spawn_local};

/// The session host the broker knows, and the byte its cookie is filled with.
const PAGE: &str = "ui-0123456789abcdef0123456789abcdef";
const COOKIE: u8 = 9;
/// Length of an answer's body, in bytes.
const BODY: usize = 128;
const NONCE: [u8; 32] = [1; 32];

/// Everything that runs. Ends when dropped from its threads' point of view: the broker goes, and all follow.
struct World {
    address: SocketAddr,
    broker: JoinHandle<()>,
    app: JoinHandle<()>,
    host: JoinHandle<Ended>,
    edge: JoinHandle<Result<(), EdgeError>>,
    stop: tokio::sync::oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

/// Answers `requests` requests, over `connections` connections at once, and takes everything down again.
///
/// # Panics
///
/// When an answer is not what it should be.
pub fn run(requests: usize, connections: usize) {
    let world = World::start();
    let mut clients: Vec<TcpStream> = (0..connections).map(|_| world.connect()).collect();
    let request = request(&world.host_name());
    let mut answer = vec![0; 4096];
    for _ in 0..requests.div_ceil(connections) {
        for client in &mut clients {
            client.write_all(request.as_bytes()).expect("the edge reads");
        }
        for client in &mut clients {
            take(client, &mut answer);
        }
    }
    drop(clients);
    world.end();
}

/// A request as a browser makes it for a picture of a page.
fn request(host: &str) -> String {
    let cookie = format!("{COOKIE:02x}").repeat(32);
    format!(
        "GET /small HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
         AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36\r\nAccept: image/avif,image/webp,*/*;q=0.8\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\nReferer: http://{host}/\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
         Cookie: theme=dark; __Host-percloud-session={cookie}\r\n\r\n"
    )
}

/// Reads one answer; its body is shorter than `place`.
fn take(client: &mut TcpStream, place: &mut [u8]) {
    let mut read = 0;
    loop {
        read += match client.read(&mut place[read..]).expect("the edge answers") {
            0 => panic!("the edge hung up: {}", String::from_utf8_lossy(&place[..read])),
            count => count,
        };
        let Some(head) = place[..read].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        if read >= head + 4 + BODY {
            assert!(
                place.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&place[..read])
            );
            assert!(place[head + 4..read].iter().all(|byte| *byte == b's'));
            return;
        }
    }
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("door");
        let door = UnixListener::bind(&path).expect("a socket can be bound");
        let pair = || UnixStream::pair().expect("sockets can be made");
        let ((rpc, app_end), (front, edge_end), (keeper, host_end)) = (pair(), pair(), pair());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let broker = spawn("broker", move || serve_broker(front, keeper, &path, stopped));
        // The host watches a pipe in the place of a process: callgrind knows no descriptors of processes.
        let (alive, end) = std::io::pipe().expect("a pipe can be made");
        let (log, _app_log) = std::io::pipe().expect("a pipe can be made");
        let app = spawn("app", move || {
            serve_app(app_end);
            drop(end);
        });
        let grain_dir = folder.path().to_owned();
        let host = spawn("host", move || {
            percloud_grain_host::run(percloud_grain_host::Config {
                grain_dir,
                door,
                broker: host_end.into(),
                app: AppHandles {
                    rpc: rpc.into(),
                    log: log.into(),
                    pidfd: alive.into(),
                    refused: None,
                    group: None,
                    freezer: None,
                },
                storage: percloud_grain_host::Storage {
                    bytes: u64::MAX,
                    files: u64::MAX,
                    is_full: false,
                },
                idle: Duration::from_secs(900),
                rest: Duration::ZERO,
                limits: percloud_grain_host::Limits::default(),
                clock: || std::time::SystemTime::UNIX_EPOCH,
            })
        });

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let base = format!("percloud.localhost:{}", address.port());
        let edge = percloud_edge::Config {
            listeners: vec![listener],
            brokers: vec![edge_end],
            base: BaseUrl::new("http", &base).expect("an address"),
            assets: Assets::new([]),
            limits: percloud_edge::Limits::default(),
        };
        let edge = spawn("edge", move || percloud_edge::run(edge));
        Self {
            address,
            broker,
            app,
            host,
            edge,
            stop,
            _folder: folder,
        }
    }

    fn host_name(&self) -> String {
        format!("{PAGE}.percloud.localhost:{}", self.address.port())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the edge listens");
        stream.set_nodelay(true).expect("it is a TCP socket");
        stream
    }

    fn end(self) {
        let _ = self.stop.send(());
        self.broker.join().expect("the broker ends");
        assert!(matches!(
            self.edge.join().expect("the edge ends"),
            Err(EdgeError::BrokerGone)
        ));
        self.host.join().expect("the host ends");
        self.app.join().expect("the app ends with its connection");
    }
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).expect("a thread can be started")
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, work)
}

fn link(stream: UnixStream, side: Side, offered: Client) -> Link {
    stream.set_nonblocking(true).expect("it is a socket");
    let stream = tokio::net::UnixStream::from_std(stream).expect("a stream socket");
    Link::new(stream, side, Bounds::default(), Some(offered))
}

/// Knows one page; admits whoever brings its cookie.
struct Broker {
    host: grain_host::Client,
    door: String,
}

fn serve_broker(
    front: UnixStream,
    keeper: UnixStream,
    door: &Path,
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    on_runtime(async {
        let offered: host_keeper::Client = new_client(Keeper);
        let mut keeper = link(keeper, Side::Server, offered.client);
        let broker: front::Client = new_client(Broker {
            host: keeper.bootstrap(),
            door: door.to_str().expect("a plain path").to_owned(),
        });
        spawn_local(keeper.run());
        spawn_local(link(front, Side::Server, broker.client).run());
        let _ = stopped.await;
    });
}

impl front::Server for Broker {
    async fn grain_session(
        self: Rc<Self>,
        params: front::GrainSessionParams,
        mut results: front::GrainSessionResults,
    ) -> Result<(), Error> {
        assert_eq!(params.get()?.get_cookie()?, [COOKIE; 32]);
        let mut request = self.host.admit_request();
        request.get().set_nonce(&NONCE);
        let mut admission = request.get().init_session();
        admission.set_session_id(&[2; 16]);
        admission.set_tab_id(&[3; 16]);
        admission.set_is_owner(true);
        request.send().promise.await?;
        let mut access = results.get().init_access();
        access.set_socket_path(&self.door);
        access.set_nonce(&NONCE);
        Ok(())
    }
}

struct Keeper;

impl host_keeper::Server for Keeper {
    async fn report_exit(
        self: Rc<Self>,
        _: host_keeper::ReportExitParams,
        _: host_keeper::ReportExitResults,
    ) -> Result<(), Error> {
        Ok(())
    }
}

fn serve_app(stream: UnixStream) {
    on_runtime(async {
        let view: ui_view::Client = new_client(View);
        let _ended = link(stream, Side::Client, view.client).run().await;
    });
}

struct View;

impl ui_view::Server for View {
    async fn new_session(
        self: Rc<Self>,
        _: ui_view::NewSessionParams,
        mut results: ui_view::NewSessionResults,
    ) -> Result<(), Error> {
        let session: web_session::Client = new_client(Session);
        results
            .get()
            .set_session(ui_session::Client::new(session.into_client_hook()));
        Ok(())
    }
}

struct Session;

impl ui_session::Server for Session {}

impl web_session::Server for Session {
    async fn get(
        self: Rc<Self>,
        params: web_session::GetParams,
        mut results: web_session::GetResults,
    ) -> Result<(), Error> {
        assert_eq!(params.get()?.get_path()?, "small");
        let mut content = results.get().init_content();
        content.set_mime_type("text/plain");
        content.init_body().set_bytes(&[b's'; BODY]);
        Ok(())
    }
}
