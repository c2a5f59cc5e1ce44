//! Measures what a grain host costs per call: the same requests to the same app, directly and through a host.
//!
//!     cargo run --release -p percloud-grain-host --example membrane_cost [CALLS AT ONCE]
//!
//! Caller, host and app are threads on sockets; each one's own processor time is counted.

use std::future::Future;
use std::os::unix::net::{UnixListener, UnixStream as StdStream};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use capnp::Error;
use capnp::capability::{Client, FromClientHook};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, new_client, twoparty};
use futures::future::join_all;
use percloud_grain_host::{AppHandles, Config, Limits, Storage, run};
use percloud_schemas::grain_capnp::{ui_session, ui_view};
use percloud_schemas::host_capnp::{grain_door, grain_host, host_keeper};
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session;
use rustix::thread::{Pid, gettid};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

/// As in the shipped program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const CALLS: usize = 30_000;

fn main() {
    let depths = match std::env::args().nth(1) {
        Some(depth) => vec![depth.parse().expect("a number of calls at once")],
        None => vec![1, 32],
    };
    println!("µs of processor time per call    caller    host     app   |  calls/s");
    for depth in depths {
        for (body, what) in [(128, "128 B"), (10_000, "10 kB")] {
            let mut direct = Vec::new();
            let mut hosted = Vec::new();
            for _ in 0..ROUNDS {
                direct.push(measure(depth, body, false));
                hosted.push(measure(depth, body, true));
            }
            report(&format!("{what}, {depth:>2} at once, directly"), direct);
            report(&format!("{what}, {depth:>2} at once, hosted"), hosted);
        }
    }
    let (seconds, host) = stream();
    println!(
        "1 GiB streamed through a host in 64 KiB chunks: {:.2} GB/s, host {:.2} s",
        1.074 / seconds,
        host
    );
}

#[derive(Clone, Copy, Default)]
struct Cost {
    caller: f64,
    host: f64,
    app: f64,
    seconds: f64,
}

fn report(name: &str, mut costs: Vec<Cost>) {
    // The median by the sum of what it cost.
    costs.sort_by(|one, other| {
        let sum = |cost: &Cost| cost.caller + cost.host + cost.app;
        sum(one).total_cmp(&sum(other))
    });
    let Cost {
        caller,
        host,
        app,
        seconds,
    } = costs[costs.len() / 2];
    let per_call = 1e6 / CALLS as f64;
    println!(
        "{name:<30} {:>8.2} {:>8.2} {:>8.2}  | {:>8.0}",
        caller * per_call,
        host * per_call,
        app * per_call,
        CALLS as f64 / seconds
    );
}

fn measure(depth: usize, body: usize, hosted: bool) -> Cost {
    with_app(body, |rpc, app| {
        if hosted {
            return with_host(rpc, app, |session, clock| calls(session, depth, clock));
        }
        on_runtime(async {
            let view: ui_view::Client = connect(rpc, Side::Server, None);
            let mut request = view.new_session_request();
            request.get().set_session_type(0xa507_11a1_4d35_a8ce);
            let answer = request.send().promise.await.expect("a session is opened");
            let session = answer
                .get()
                .expect("an answer")
                .get_session()
                .expect("a session")
                .cast_to();
            calls(session, depth, Clock { host: None, app }).await
        })
    })
}

/// Streams 1 GiB to the app; seconds it took, and seconds of the host's processor time.
fn stream() -> (f64, f64) {
    let write_all = |session: web_session::Client, clock: Clock| async move {
        let stream = session.post_streaming_request().send().pipeline.get_stream();
        let stream: byte_stream::Client = stream.cast_to();
        let begun = clock.read();
        for _ in 0..(1 << 30) / (64 << 10) {
            let mut write = stream.write_request();
            write.get().init_data(64 << 10);
            write.send().await.expect("the app takes it");
        }
        stream
            .done_request()
            .send()
            .promise
            .await
            .expect("the app has it");
        clock.read().since(begun)
    };
    let cost = with_app(0, |rpc, app| with_host(rpc, app, write_all));
    (cost.seconds, cost.host)
}

/// Makes the calls, `depth` at a time; what they cost.
async fn calls(session: web_session::Client, depth: usize, clock: Clock) -> Cost {
    let sink: byte_stream::Client = new_client(Sink);
    let some = |count: usize| {
        let (session, sink) = (session.clone(), sink.clone());
        async move {
            for _ in 0..count {
                get(&session, &sink).await;
            }
        }
    };
    some(1000).await;
    let begun = clock.read();
    join_all((0..depth).map(|_| some(CALLS / depth))).await;
    clock.read().since(begun)
}

/// A request like a browser's.
async fn get(session: &web_session::Client, sink: &byte_stream::Client) {
    let mut request = session.get_request();
    request.get().set_path("small");
    let mut context = request.get().init_context();
    context.set_response_stream(sink.clone());
    let mut cookie = context.reborrow().init_cookies(1).get(0);
    cookie.set_key("session");
    cookie.set_value("0123456789abcdef");
    let mut accept = context.reborrow().init_accept(3);
    for (index, kind) in ["text/html", "application/xhtml+xml", "*/*"]
        .into_iter()
        .enumerate()
    {
        accept.reborrow().get(index as u32).set_mime_type(kind);
    }
    let answer = request.send().promise.await.expect("the app answers");
    answer.get().expect("an answer");
}

/// Reads the processor time of all three.
#[derive(Clone, Copy)]
struct Clock {
    host: Option<Pid>,
    app: Pid,
}

impl Clock {
    fn read(self) -> Cost {
        Cost {
            caller: thread_time(gettid()),
            host: self.host.map_or(0.0, thread_time),
            app: thread_time(self.app),
            seconds: now(),
        }
    }
}

impl Cost {
    fn since(self, begun: Self) -> Self {
        Self {
            caller: self.caller - begun.caller,
            host: self.host - begun.host,
            app: self.app - begun.app,
            seconds: self.seconds - begun.seconds,
        }
    }
}

fn now() -> f64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Seconds a thread of this process has been running, as the scheduler counts them (proc(5), schedstat).
fn thread_time(thread: Pid) -> f64 {
    let path = format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero());
    let text = std::fs::read_to_string(path).expect("the thread lives");
    let nanoseconds: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a number");
    nanoseconds / 1e9
}

/// Runs `test` with an app on a thread of its own.
fn with_app(body: usize, test: impl FnOnce(StdStream, Pid) -> Cost) -> Cost {
    let (rpc, app_end) = StdStream::pair().expect("sockets can be made");
    let (say, app_thread) = mpsc::channel();
    let app = std::thread::spawn(move || {
        say.send(gettid()).expect("the caller waits");
        serve_app(app_end, body);
    });
    let cost = test(rpc, app_thread.recv().expect("the app starts"));
    app.join().expect("the app ends with its connection");
    cost
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in for the app needs no sandbox"
)]
#[expect(clippy::zombie_processes, reason = "the host reaps it")]
fn with_host<Test: Future<Output = Cost>>(
    rpc: StdStream,
    app: Pid,
    test: impl FnOnce(web_session::Client, Clock) -> Test,
) -> Cost {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("door");
    let door = UnixListener::bind(&path).expect("a socket can be bound");
    let (broker, host_end) = StdStream::pair().expect("sockets can be made");
    // Something to watch and kill in the place of the app's process.
    let stand_in = Command::new("sleep")
        .arg("600")
        .spawn()
        .expect("a process can be started");
    let pid = rustix::process::Pid::from_child(&stand_in);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("it lives");
    let (log, _app_log) = std::io::pipe().expect("a pipe can be made");
    let grain_dir = folder.path().to_owned();
    let (say, host_thread) = mpsc::channel();
    let host = std::thread::Builder::new()
        .name("host".to_owned())
        .spawn(move || {
            say.send(gettid()).expect("the caller waits");
            let app = AppHandles {
                rpc: rpc.into(),
                log: log.into(),
                pidfd,
                refused: None,
                group: None,
                freezer: None,
            };
            let idle = Duration::from_secs(90);
            run(Config {
                grain_dir,
                door,
                broker: host_end.into(),
                app,
                storage: Storage {
                    bytes: u64::MAX,
                    files: u64::MAX,
                    is_full: false,
                },
                idle,
                rest: Duration::ZERO,
                limits: Limits::default(),
                clock: || std::time::SystemTime::UNIX_EPOCH,
            })
        });
    let host = host.expect("a thread can be started");
    let host_thread = host_thread.recv().expect("the host starts");
    let cost = on_runtime(async {
        let keeper: host_keeper::Client = new_client(Keeper);
        let grain: grain_host::Client = connect(broker, Side::Server, Some(keeper.client));
        let mut request = grain.admit_request();
        request.get().set_nonce(&[1; 32]);
        let mut admission = request.get().init_session();
        admission.set_session_id(&[2; 16]);
        admission.set_tab_id(&[3; 16]);
        admission.set_is_owner(true);
        request.send().promise.await.expect("the host admits");
        let stream = StdStream::connect(&path).expect("the door is there");
        let door: grain_door::Client = connect(stream, Side::Client, None);
        let mut request = door.enter_request();
        request.get().set_nonce(&[1; 32]);
        let answer = request.send().promise.await.expect("the door opens");
        let session = answer
            .get()
            .expect("an answer")
            .get_session()
            .expect("a session")
            .cast_to();
        let cost = test(
            session,
            Clock {
                host: Some(host_thread),
                app,
            },
        )
        .await;
        assert!(
            grain.shutdown_request().send().promise.await.is_err(),
            "the connection breaks instead"
        );
        cost
    });
    host.join().expect("the host ends");
    cost
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, work)
}

fn connect<C: FromClientHook>(stream: StdStream, side: Side, bootstrap: Option<Client>) -> C {
    let (mut system, peer) = system(stream, side, bootstrap);
    let offered = system.bootstrap(peer);
    spawn_local(system);
    offered
}

fn system(stream: StdStream, side: Side, bootstrap: Option<Client>) -> (RpcSystem<Side>, Side) {
    stream.set_nonblocking(true).expect("it is a socket");
    let (reader, writer) = UnixStream::from_std(stream)
        .expect("a stream socket")
        .into_split();
    let reader = futures::io::BufReader::new(reader.compat());
    let writer = futures::io::BufWriter::new(writer.compat_write());
    let network = twoparty::VatNetwork::new(reader, writer, side, Default::default());
    let peer = if side == Side::Client {
        Side::Server
    } else {
        Side::Client
    };
    (RpcSystem::new(Box::new(network), bootstrap), peer)
}

fn serve_app(stream: StdStream, body: usize) {
    on_runtime(async {
        let view: ui_view::Client = new_client(View(body));
        let (system, _) = system(stream, Side::Client, Some(view.client));
        let _ended = system.await;
    });
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

struct View(usize);

impl ui_view::Server for View {
    async fn new_session(
        self: Rc<Self>,
        _: ui_view::NewSessionParams,
        mut results: ui_view::NewSessionResults,
    ) -> Result<(), Error> {
        let session: web_session::Client = new_client(Session(vec![b'x'; self.0]));
        results.get().set_session(session.cast_to());
        Ok(())
    }
}

struct Session(Vec<u8>);

impl ui_session::Server for Session {}

impl web_session::Server for Session {
    async fn get(
        self: Rc<Self>,
        params: web_session::GetParams,
        mut results: web_session::GetResults,
    ) -> Result<(), Error> {
        params.get()?.get_path()?;
        let mut content = results.get().init_content();
        content.set_mime_type("text/plain");
        content.init_body().set_bytes(&self.0);
        Ok(())
    }

    async fn post_streaming(
        self: Rc<Self>,
        _: web_session::PostStreamingParams,
        mut results: web_session::PostStreamingResults,
    ) -> Result<(), Error> {
        let sink: byte_stream::Client = new_client(Sink);
        results.get().set_stream(sink.cast_to());
        Ok(())
    }
}

struct Sink;

impl byte_stream::Server for Sink {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        params.get()?.get_data()?;
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        Ok(())
    }
}
