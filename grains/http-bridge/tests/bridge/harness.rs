//! Starts a bridge and plays the platform.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp::any_pointer;
use capnp::capability::FromClientHook;
use capnp::message::TypedBuilder;
use capnp::traits::HasTypeId;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::{main_view, session_context, ui_view};
use percloud_schemas::identity_capnp::user_info;
use percloud_schemas::package_capnp::bridge_config;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::app::App;
use crate::world::World;

/// Runs one test, with a limit that no passing test comes near.
pub fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(120), test)
            .await
            .expect("test hangs");
    });
}

pub struct Bridge {
    pub view: main_view::Client<any_pointer::Owned>,
    pub directory: Rc<tempfile::TempDir>,
    pub world: Rc<World>,
    /// Where its app listens.
    pub port: u16,
    pub process: Child,
    rpc: JoinHandle<Result<(), Error>>,
    /// The app's standard input: when the test is gone, a `cat` that plays the app's process ends, too.
    stdin: Option<ChildStdin>,
    log: mpsc::UnboundedReceiver<String>,
    has_panicked: Rc<Cell<bool>>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // A task that panics ends alone, and quietly; but it never should.
        assert!(
            std::thread::panicking() || !self.has_panicked.get(),
            "bridge has panicked"
        );
    }
}

pub fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/bridge_at");
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build --examples`",
        path.display()
    );
    path
}

/// Starts `program` with one end of a connection to the platform as descriptor 3.
pub fn spawn(program: &std::path::Path, args: &[&str]) -> (Child, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    // The shell moves the socket from standard output, where any process can be given one, to 3.
    let process = Command::new("/bin/sh")
        .args(["-c", "exec \"$0\" \"$@\" 3<&1 1>&2 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-"])
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    ours.set_nonblocking(true).unwrap();
    (process, ours)
}

impl Bridge {
    /// Starts a bridge in front of `port` whose app's process is `command`.
    pub fn start(port: u16, command: &[&str], configure: impl FnOnce(bridge_config::Builder<'_>)) -> Self {
        let directory = Rc::new(tempfile::tempdir().unwrap());
        Self::start_in(&Rc::default(), 0, directory, port, command, configure)
    }

    /// Starts a bridge as one grain of a world, with the storage that `directory` holds from before.
    pub fn start_in(
        world: &Rc<World>,
        grain: usize,
        directory: Rc<tempfile::TempDir>,
        port: u16,
        command: &[&str],
        configure: impl FnOnce(bridge_config::Builder<'_>),
    ) -> Self {
        let mut message = TypedBuilder::<bridge_config::Owned>::new_default();
        configure(message.init_root());
        let file = std::fs::File::create(directory.path().join("config")).unwrap();
        capnp::serialize::write_message(file, message.borrow_inner()).unwrap();

        let number = port.to_string();
        let mut args = vec![directory.path().to_str().unwrap(), &number, "--"];
        args.extend(command);
        let (mut process, socket) = spawn(&executable(), &args);

        let (lines, log) = mpsc::unbounded_channel();
        let has_panicked = Rc::<Cell<bool>>::default();
        let panicked = has_panicked.clone();
        let mut stderr = BufReader::new(process.stderr.take().unwrap()).lines();
        spawn_local(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                eprintln!("{line}");
                panicked.set(panicked.get() || line.contains("panicked at"));
                let _ = lines.send(line);
            }
        });

        let (read, write) = tokio::net::UnixStream::from_std(socket).unwrap().into_split();
        let network = twoparty::VatNetwork::new(
            read.compat(),
            write.compat_write(),
            Side::Server,
            capnp::message::ReaderOptions::new(),
        );
        let mut system = RpcSystem::new(Box::new(network), Some(world.api(grain).client));
        let view: main_view::Client<any_pointer::Owned> = system.bootstrap(Side::Client);
        world.set_view(grain, view.clone());
        Self {
            view,
            directory,
            world: world.clone(),
            port,
            stdin: process.stdin.take(),
            process,
            rpc: spawn_local(system),
            log,
            has_panicked,
        }
    }

    /// Starts a bridge before an app that is up, with two permissions and no API.
    pub async fn simple() -> (Self, App) {
        let app = App::listen().await;
        (Self::start(app.port(), &["cat"], two_permissions), app)
    }

    /// Waits for a line of the log that contains `text`.
    pub async fn wait_for_log(&mut self, text: &str) -> String {
        loop {
            let line = self
                .log
                .recv()
                .await
                .unwrap_or_else(|| panic!("log ended without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Cuts the connection, as a platform does that goes away.
    pub fn disconnect(&self) {
        self.rpc.abort();
    }

    /// Has the app end, and waits until bridge and connection are gone.
    pub async fn stop(&mut self) {
        self.stdin.take();
        self.exit().await;
        let _ = (&mut self.rpc).await;
    }

    /// Returns a path in the grain's storage.
    pub fn storage(&self, path: &str) -> PathBuf {
        self.directory.path().join("var").join(path)
    }

    pub async fn exit(&mut self) -> ExitStatus {
        self.process.wait().await.unwrap()
    }

    /// Opens a page session for someone with the given properties.
    pub async fn open(
        &self,
        fill: impl FnOnce(ui_view::new_session_params::Builder<'_>),
    ) -> web_session::Client {
        self.try_open(fill).await.unwrap()
    }

    pub async fn try_open(
        &self,
        fill: impl FnOnce(ui_view::new_session_params::Builder<'_>),
    ) -> Result<web_session::Client, Error> {
        let view: ui_view::Client = self.view.clone().cast_to();
        let mut request = view.new_session_request();
        let mut params = request.get();
        params.set_context(capnp_rpc::new_client(Context));
        params.set_session_type(web_session::Client::TYPE_ID);
        fill(params);
        let answer = request.send().promise.await?;
        Ok(answer.get()?.get_session()?.cast_to())
    }

    /// Opens a page session of nobody, from a platform that forgot the context.
    pub async fn open_without_context(&self) -> web_session::Client {
        let view: ui_view::Client = self.view.clone().cast_to();
        let mut request = view.new_session_request();
        request.get().set_session_type(web_session::Client::TYPE_ID);
        request
            .send()
            .promise
            .await
            .unwrap()
            .get()
            .unwrap()
            .get_session()
            .unwrap()
            .cast_to()
    }

    /// Opens a page session of an owner called Alice.
    pub async fn alice(&self) -> web_session::Client {
        self.open(|mut params| {
            alice(params.reborrow().init_user_info());
            params.set_tab_id(&[0xab; 16]);
            let mut page: web_session::params::Builder<'_> = params.init_session_params().init_as();
            page.set_base_path("http://ui-1.localhost:6080");
            page.set_user_agent("Test/1");
            let mut languages = page.init_acceptable_languages(2);
            languages.set(0, "de");
            languages.set(1, "en;q=0.5");
        })
        .await
    }

    /// Opens an API session, with a client address if `address` is one.
    pub async fn api(&self, address: Option<(u64, u64)>) -> Result<web_session::Client, Error> {
        self.try_open(|mut params| {
            alice(params.reborrow().init_user_info());
            params.set_tab_id(&[0x01; 16]);
            params.set_session_type(api_session::Client::TYPE_ID);
            let api: api_session::params::Builder<'_> = params.init_session_params().init_as();
            if let Some((upper, lower)) = address {
                let mut address = api.init_remote_address();
                address.set_upper64(upper);
                address.set_lower64(lower);
            }
        })
        .await
    }
}

pub fn two_permissions(config: bridge_config::Builder<'_>) {
    let mut permissions = config.init_view_info().init_permissions(3);
    for (index, name) in (0..).zip(["view", "edit", "admin"]) {
        permissions.reborrow().get(index).set_name(name);
    }
}

pub fn alice(mut user: user_info::Builder<'_>) {
    user.reborrow()
        .init_display_name()
        .set_default_text("Alice Ärger");
    user.set_preferred_handle("alice");
    user.set_picture_url("https://pictures.example/alice");
    user.set_pronouns(percloud_schemas::identity_capnp::profile::Pronouns::Female);
    let id: Vec<u8> = (0..32).collect();
    user.set_identity_id(&id);
    let mut permissions = user.init_permissions(3);
    permissions.set(0, true);
    permissions.set(2, true);
}

/// A session context; it is the real one if it can be closed.
pub struct Context;

impl session_context::Server for Context {
    async fn close(
        self: Rc<Self>,
        _: session_context::CloseParams,
        _: session_context::CloseResults,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// A response stream that remembers what it got and takes no more than it is allowed.
#[derive(Default)]
pub struct Sink {
    pub size: Cell<Option<u64>>,
    pub bytes: RefCell<Vec<u8>>,
    pub count: Cell<u64>,
    pub done: Cell<bool>,
    pub dropped: Cell<bool>,
    /// Whether bytes are only counted.
    pub counting: Cell<bool>,
    /// How many more bytes may be taken; none means any number.
    pub allowance: Cell<Option<u64>>,
    pub changed: Notify,
}

/// The capability in front of a [`Sink`].
struct SinkServer(Rc<Sink>);

impl Drop for SinkServer {
    fn drop(&mut self) {
        self.0.dropped.set(true);
        self.0.changed.notify_waiters();
    }
}

impl Sink {
    pub fn client(self: &Rc<Self>) -> byte_stream::Client {
        capnp_rpc::new_client(SinkServer(self.clone()))
    }

    pub async fn until(&self, mut test: impl FnMut(&Self) -> bool) {
        while !test(self) {
            self.changed.notified().await;
        }
    }
}

impl byte_stream::Server for SinkServer {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        let data = params.get()?.get_data()?;
        let sink = &self.0;
        sink.count.set(sink.count.get() + data.len() as u64);
        if !sink.counting.get() {
            sink.bytes.borrow_mut().extend_from_slice(data);
        }
        sink.changed.notify_waiters();
        let length = data.len() as u64;
        sink.until(|sink| sink.allowance.get().is_none_or(|left| left >= length))
            .await;
        sink.allowance.set(sink.allowance.get().map(|left| left - length));
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        self.0.done.set(true);
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn expect_size(
        self: Rc<Self>,
        params: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Result<(), Error> {
        self.0.size.set(Some(params.get()?.get_size()));
        Ok(())
    }
}
