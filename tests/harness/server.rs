//! Starts a whole Percloud in a folder of its own, and ends it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::built;
use crate::http::{Request, Response};
use crate::owner::Owner;
use crate::process::{self, Process};
use crate::wait::{self, DEADLINE};

/// The variable that marks every process of one server.
const MARK: &str = "PERCLOUD_TEST_SERVER";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A server under test. Dropping it kills every process of it and insists that none is left; its folder is kept when
/// the test is failing, and its place printed.
#[derive(Debug)]
pub struct Server {
    folder: Option<TempDir>,
    mark: String,
    arguments: Vec<String>,
    /// The role that is hostile, and what it is told to attack before anybody else can tell it.
    hostile: Option<(&'static str, Value)>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    url: String,
    secret: Option<String>,
    address: SocketAddr,
}

impl Server {
    /// Starts a server that nobody has set up.
    pub fn start() -> Self {
        Server::start_with(&[])
    }

    /// Starts one with further arguments to `percloud serve`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("percloud-")
            .tempdir()
            .expect("a temporary folder can be made");
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut server = Server {
            folder: Some(folder),
            mark: format!("{}-{number}", std::process::id()),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            hostile: None,
            running: None,
        };
        server.run();
        server
    }

    /// Starts a server and sets it up.
    pub fn owned() -> (Self, Owner) {
        let server = Server::start();
        let owner = Owner::set_up(&server);
        (server, owner)
    }

    /// Starts it again on its folder. It must have been stopped or killed.
    pub fn run(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        self.running = Some(
            self.try_run()
                .unwrap_or_else(|output| panic!("the server did not start:\n{output}")),
        );
    }

    /// Starts it again with a role that acts as if an attacker owned it. It attacks what `hints` says, and those of the
    /// server's processes that run by then.
    pub fn run_hostile(&mut self, role: &'static str, hints: Value) {
        self.hostile = Some((role, hints));
        self.run();
    }

    /// Tells the hostile role, which waits for it, what to attack.
    pub fn tell_hostile(&mut self, hints: &Value) {
        let running = self.running.as_mut().expect("the server runs");
        tell(&mut running.child, hints);
    }

    /// What was possible to the hostile role.
    pub fn hostile_report(&self) -> Value {
        let (role, _) = self.hostile.as_ref().expect("a role is hostile");
        wait::until("the hostile role's report", || {
            let log = self.log();
            let lines = log.lines().filter_map(|line| line.strip_prefix("hostile: "));
            let mut reports = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            reports.find(|report| report["role"] == *role)
        })
    }

    /// Process ids of the long-lived roles, by their names.
    pub fn pids(&self) -> Value {
        pids(self.parent().pid, &EARLY)
    }

    /// Starts it on its folder where it is expected to refuse; returns what it printed.
    pub fn run_expecting_failure(&mut self) -> String {
        assert!(self.running.is_none(), "it runs already");
        match self.try_run() {
            Err(output) => output,
            Ok(running) => {
                self.running = Some(running);
                panic!("the server started where it should have refused");
            }
        }
    }

    fn try_run(&self) -> Result<Running, String> {
        let log = self.folder().join("log");
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the log can be written");
        let mut command = Command::new(match &self.hostile {
            Some(_) => built::hostile(),
            None => built::program("percloud"),
        });
        command
            .arg("serve")
            .arg("--data")
            .arg(self.data())
            .args(["--listen", "127.0.0.1:0"]);
        command
            .arg("--runtime")
            .arg(self.folder().join("run"))
            .args(&self.arguments);
        command
            .env(MARK, &self.mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file);
        if let Some((role, _)) = &self.hostile {
            command.env("PERCLOUD_HOSTILE", role).stdin(Stdio::piped());
        }
        let mut child = command.spawn().expect("percloud can be started");
        if let Some((role, hints)) = &self.hostile
            && let Some(place) = EARLY.iter().position(|early| early == role)
        {
            // The server is not ready before this role has been told, and those before it run.
            let mut hints = hints.clone();
            hints["pids"] = pids(child.id(), &EARLY[..place]);
            tell(&mut child, &hints);
        }
        let stdout = child.stdout.take().expect("standard output is piped");
        let (lines, printed) = mpsc::channel();
        // Reads to the end, so that the server never waits for us.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut url = None;
        let mut all = String::new();
        while let Ok(line) = printed.recv_timeout(DEADLINE) {
            all.push_str(&line);
            all.push('\n');
            if let Some(ready) = line.strip_prefix("Percloud is ready at ") {
                url = Some(ready.trim().trim_end_matches('/').to_owned());
                break;
            }
        }
        let Some(url) = url else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!(
                "{all}{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            ));
        };
        let port = url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse::<u16>().ok())
            .expect("the URL ends with the port");
        let mut running = Running {
            child,
            url,
            secret: None,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        if !self.is_set_up(&running) {
            let line = printed
                .recv_timeout(DEADLINE)
                .expect("the setup secret is printed");
            running.secret = line.split_once("#").map(|(_, secret)| secret.trim().to_owned());
        }
        Ok(running)
    }

    fn is_set_up(&self, running: &Running) -> bool {
        let host = running.url.trim_start_matches("http://");
        let settings = Request::new("GET", "/api/settings")
            .send(running.address, host)
            .expect("the settings are served");
        settings.json()["setUp"]
            .as_bool()
            .expect("the settings say whether it is set up")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.state().address
    }

    /// The shell's URL.
    pub fn url(&self) -> &str {
        &self.state().url
    }

    /// The shell's host, with its port.
    pub fn host(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    /// The one-time secret, while nobody has set the server up.
    pub fn secret(&self) -> &str {
        self.state()
            .secret
            .as_deref()
            .expect("the server is set up already")
    }

    /// Sends a request to the shell's host.
    pub fn send(&self, request: &Request) -> Response {
        request
            .send(self.address(), self.host())
            .expect("the server answers")
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The folder of everything about it.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("it is there until dropped").path()
    }

    /// Whatever it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// The first process, the parent of all others.
    pub fn parent(&self) -> Process {
        Process::find(self.state().child.id()).expect("the parent runs")
    }

    /// The broker.
    pub fn broker(&self) -> Process {
        self.role("broker")
    }

    /// The process that is the edge, egress, launcher or broker.
    pub fn role(&self, name: &str) -> Process {
        self.try_role(name).unwrap_or_else(|| panic!("the {name} runs"))
    }

    /// The same, while it may be gone.
    pub fn try_role(&self, name: &str) -> Option<Process> {
        process::tree(self.parent().pid)
            .into_iter()
            .find(|process| process.arguments().get(1).is_some_and(|role| role == name))
    }

    /// Every process of it: its own and the apps'.
    pub fn processes(&self) -> BTreeSet<Process> {
        let mut all = process::marked(MARK, &self.mark);
        if let Some(running) = &self.running {
            all.append(&mut process::tree(running.child.id()));
        }
        let below: Vec<Process> = all
            .iter()
            .flat_map(|process| process::tree(process.pid))
            .collect();
        all.extend(below);
        all
    }

    /// Ends every process with SIGKILL, all at once, and waits until none is left.
    pub fn kill_everything(&mut self) {
        let all = self.processes();
        all.iter().for_each(Process::kill);
        self.reap(&all);
    }

    /// Ends one process with SIGKILL and waits until the whole server has gone with it.
    pub fn kill_and_expect_the_end(&mut self, process: Process) {
        let all = self.processes();
        process.kill();
        self.reap(&all);
    }

    /// Ends the broker with SIGKILL, and waits until all that ran but the parent is gone and the server answers again.
    pub fn kill_the_broker(&self) {
        let mut before = self.processes();
        before.remove(&self.parent());
        self.broker().kill();
        wait::until("everything to end with the broker", || {
            (!before.iter().any(Process::is_running)).then_some(())
        });
        self.wait_for_an_answer();
    }

    /// Waits until it answers, whatever became of its processes.
    pub fn wait_for_an_answer(&self) {
        wait::until("the server to answer", || {
            let answer = Request::new("GET", "/api/settings").send(self.address(), self.host());
            answer.ok().filter(|answer| answer.status == 200)
        });
    }

    /// Asks it to stop as a service manager would, and waits until none of it is left; returns whether it exited with 0.
    pub fn stop(&mut self) -> bool {
        let all = self.processes();
        self.parent().terminate();
        self.reap(&all)
    }

    fn reap(&mut self, all: &BTreeSet<Process>) -> bool {
        let mut running = self.running.take().expect("it runs");
        let status = wait::within(DEADLINE, || {
            running.child.try_wait().expect("it can be waited for")
        });
        let left = wait::within(DEADLINE, || self.leftovers(all).is_empty().then_some(()));
        if status.is_none() || left.is_none() {
            let leftovers = self.leftovers(all);
            let shown: Vec<String> = leftovers.iter().map(describe).collect();
            leftovers.iter().for_each(Process::kill);
            let _ = running.child.kill();
            let _ = running.child.wait();
            panic!("processes were left behind: {shown:?}");
        }
        status.is_some_and(|status| status.success())
    }

    fn leftovers(&self, all: &BTreeSet<Process>) -> BTreeSet<Process> {
        let mut left: BTreeSet<Process> = all.iter().copied().filter(Process::is_running).collect();
        left.append(&mut process::marked(MARK, &self.mark));
        left
    }

    fn state(&self) -> &Running {
        self.running.as_ref().expect("the server runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has failed already: end quietly, and leave the evidence.
            self.processes().iter().for_each(Process::kill);
            if let Some(mut running) = self.running.take() {
                let _ = running.child.wait();
            }
            if let Some(folder) = self.folder.take() {
                eprintln!("the server's folder is kept in {}", folder.keep().display());
            }
        } else if self.running.is_some() {
            self.stop();
        }
    }
}

/// The roles in the order in which they are started.
const EARLY: [&str; 4] = ["broker", "launcher", "egress", "edge"];

/// Process ids of the parent and these roles, once they run.
fn pids(parent: u32, roles: &[&str]) -> Value {
    let mut pids = json!({"parent": parent});
    for role in roles {
        let process = wait::until("a process of the server", || {
            process::tree(parent)
                .into_iter()
                .find(|process| process.arguments().get(1).is_some_and(|word| word == role))
        });
        pids[*role] = process.pid.into();
    }
    pids
}

fn tell(child: &mut Child, hints: &Value) {
    let stdin = child.stdin.as_mut().expect("its standard input is piped");
    writeln!(stdin, "{hints}").expect("a hostile role listens");
}

fn describe(process: &Process) -> String {
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    format!("{} {}", process.pid, command.replace('\0', " "))
}
