//! A process with one thread for the tests to start sandboxes from, and the launcher they start.
//!
//! - `run`: reads a specification as JSON from standard input, runs the app to its end, prints a [`Run`] as JSON.
//! - `run-many N`: starts and ends the app N times and prints what it left in this process.
//! - `host`: starts the app, passes on what it prints, stays until it ends.
//! - `launcher N AHEAD`: serves launch requests on descriptor N, with AHEAD children that wait. A grain is hosted as by `host`, with descriptor 0 of the
//!   request for its output; a worker does the job named in the request (see `work`).

#![allow(
    clippy::disallowed_methods,
    reason = "tries to start a program, and must fail"
)]

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use percloud_sandbox::confine::{self, WorkerLimits};
use percloud_sandbox::launcher::{Request, Task};
use percloud_sandbox::refused::Recorder;
use percloud_sandbox::{App, Policy, SandboxSpec, StartError, process};
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;

/// What became of one app.
#[derive(Serialize)]
struct Run {
    error: Option<String>,
    output: String,
    exit: String,
    warnings: Vec<String>,
    refused: Vec<(String, u64, u16)>,
    memory_refused: Option<u64>,
    memory_kills: Option<u64>,
    processes_refused: Option<u64>,
    processor_us: Option<u64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("run") => {
            let run = run(&spec());
            println!("{}", serde_json::to_string(&run).unwrap());
            percloud_sandbox::cgroup::leave();
        }
        Some("run-many") => {
            run_many(&spec(), arguments[1].parse().unwrap());
            percloud_sandbox::cgroup::leave();
        }
        Some("host") => {
            let code = host(percloud_sandbox::start(&spec()), &mut std::io::stdout());
            percloud_sandbox::cgroup::leave();
            std::process::exit(code);
        }
        Some("launcher") => {
            let control = process::take(arguments[1].parse().unwrap()).unwrap();
            // As the server's own, which apps inherit from.
            confine::launcher(false).unwrap();
            percloud_sandbox::launcher::serve(control, arguments[2].parse().unwrap(), handle)
        }
        other => panic!("unknown command {other:?}"),
    }
}

fn spec() -> SandboxSpec {
    serde_json::from_reader(std::io::stdin()).unwrap()
}

fn run(spec: &SandboxSpec) -> Run {
    let app = match percloud_sandbox::start(spec) {
        Ok(app) => app,
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            let kind = match error {
                StartError::Missing { .. } => "missing: ",
                _ => "",
            };
            return Run {
                error: Some(format!("{kind}{error}{cause}")),
                output: String::new(),
                exit: String::new(),
                warnings: Vec::new(),
                refused: Vec::new(),
                memory_refused: None,
                memory_kills: None,
                processes_refused: None,
                processor_us: None,
            };
        }
    };
    let App {
        pidfd,
        log,
        refused,
        cgroup,
        warnings,
        rpc,
        ..
    } = app;
    let policy = spec.policy;
    let recorder = refused.map(|listener| {
        std::thread::spawn(move || {
            let mut last = Vec::new();
            for call in Recorder::new(listener, policy) {
                last.retain(|(name, _, _)| *name != call.name);
                last.push((call.name.to_owned(), call.count, call.errno));
            }
            last
        })
    });
    let mut output = Vec::new();
    std::fs::File::from(log).read_to_end(&mut output).unwrap();
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).unwrap();
    let exit = percloud_sandbox::reap(pidfd.as_fd()).unwrap().unwrap();
    drop(rpc);
    let refused = recorder.map(|thread| thread.join().unwrap()).unwrap_or_default();
    let met = cgroup
        .as_ref()
        .map(|group| group.meter().read())
        .unwrap_or_default();
    if let Some(group) = cgroup {
        group.remove();
    }
    let output = String::from_utf8_lossy(&output).into_owned();
    Run {
        error: None,
        output,
        exit: exit.to_string(),
        warnings,
        refused,
        memory_refused: met.memory_refused,
        memory_kills: met.memory_kills,
        processes_refused: met.processes_refused,
        processor_us: met.processor.map(|time| time.as_micros() as u64),
    }
}

fn run_many(spec: &SandboxSpec, times: usize) {
    let first = run(spec);
    assert_eq!(first.error, None);
    let state = || {
        (
            descriptors(),
            mounts(),
            rustix::process::dumpable_behavior().unwrap(),
        )
    };
    let (before, mapped) = (state(), mappings());
    for _ in 0..times {
        let run = run(spec);
        assert_eq!((run.error, run.exit.as_str()), (None, "exit status 0"));
    }
    assert_eq!(state(), before);
    // The allocator may map a little more; each start would add two if its stacks stayed.
    assert!(mappings() < mapped + times / 2);
    println!("clean");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

fn host(app: Result<App, StartError>, output: &mut dyn Write) -> i32 {
    let app = match app {
        Ok(app) => app,
        Err(error) => {
            let _ = writeln!(output, "error: {error}");
            return 1;
        }
    };
    let mut log = std::fs::File::from(app.log);
    let mut buffer = [0; 4096];
    loop {
        match log.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                let _ = output.write_all(&buffer[..length]);
                let _ = output.flush();
            }
        }
    }
    poll(&mut [PollFd::new(&app.pidfd, PollFlags::IN)], None).unwrap();
    percloud_sandbox::reap(app.pidfd.as_fd()).unwrap();
    if let Some(group) = app.cgroup {
        group.remove();
    }
    0
}

fn handle(request: Request) -> i32 {
    let mut fds = request.fds.into_iter();
    let mut output = fds.next().map(std::fs::File::from);
    match request.task {
        Task::Grain {
            sandbox,
            app,
            host: what,
        } if what["confine"] == true => {
            confined_host(&sandbox, app.unwrap(), &mut output.expect("an output"))
        }
        Task::Grain { app, .. } => match &mut output {
            Some(output) => host(app, output),
            None => host(app, &mut std::io::sink()),
        },
        Task::Worker { job } if job["freeze"].is_u64() => {
            let hold = fds
                .next()
                .map(std::fs::File::from)
                .expect("something to wait for");
            freeze(&job, &mut output.expect("an output"), hold)
        }
        Task::Worker { job } => work(&job, output.as_mut()),
    }
}

/// Confines itself to the grain's storage, tries things, waits until the app is ready and kills it.
fn confined_host(spec: &SandboxSpec, app: App, output: &mut std::fs::File) -> i32 {
    confine::grain_host(&spec.var).unwrap();
    let say = |name: &str, result: std::io::Result<()>| {
        let outcome = match result {
            Ok(()) => "ok".to_owned(),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => "no such family".to_owned(),
            Err(error) => error.kind().to_string(),
        };
        let mut output: &std::fs::File = output;
        writeln!(output, "{name}: {outcome}").unwrap();
    };
    say("write its grain", std::fs::write(spec.var.join("log"), b"x"));
    say(
        "listen in its grain",
        std::os::unix::net::UnixListener::bind(spec.var.join("socket")).map(drop),
    );
    say("read the package", std::fs::read_dir(&spec.package).map(drop));
    say("read /etc/passwd", std::fs::read("/etc/passwd").map(drop));
    say("write /tmp", std::fs::write("/tmp/percloud-host-was-here", b"x"));
    say(
        "run a program",
        std::process::Command::new("/bin/true").status().map(drop),
    );
    say(
        "thread",
        std::thread::spawn(|| ())
            .join()
            .map_err(|_| std::io::ErrorKind::Other.into()),
    );
    say("socket", std::net::UdpSocket::bind("127.0.0.1:0").map(drop));
    let parent = rustix::process::getppid().unwrap();
    say(
        "signal the launcher",
        rustix::process::test_kill_process(parent).map_err(Into::into),
    );
    let mut ready = [0; 6];
    say(
        "read the log",
        std::fs::File::from(app.log).read_exact(&mut ready),
    );
    say("kill the app", percloud_sandbox::kill(app.pidfd.as_fd()));
    poll(&mut [PollFd::new(&app.pidfd, PollFlags::IN)], None).unwrap();
    say(
        "reap the app",
        percloud_sandbox::reap(app.pidfd.as_fd()).map(drop),
    );
    0
}

/// The job `{"freeze": PID}`: holds the app of that host still until the other end of `hold` closes.
fn freeze(job: &serde_json::Value, output: &mut std::fs::File, mut hold: std::fs::File) -> i32 {
    match percloud_sandbox::cgroup::freeze(job["freeze"].as_u64().unwrap() as u32) {
        Ok(_frozen) => {
            writeln!(output, "ready").unwrap();
            let _ = hold.read(&mut [0]);
            0
        }
        Err(error) => {
            writeln!(output, "error: {error}").unwrap();
            1
        }
    }
}

/// Jobs: `{"exit": N}` ends so; `{"adjust": PID, "weight": N}` gives the app of that host another weight; `{"wait": true}` never ends; `{"panic": true}` panics; `{"descriptors": true}` lists
/// what is open; `{"confined": {"read": [...], "write": [...]}}` confines itself and then tries things.
fn work(job: &serde_json::Value, output: Option<&mut std::fs::File>) -> i32 {
    if let Some(code) = job["exit"].as_i64() {
        return code as i32;
    }
    if job["panic"] == true {
        panic!("as asked");
    }
    if let Some(host) = job["adjust"].as_u64() {
        let limits = percloud_sandbox::Limits {
            weight: job["weight"].as_u64().unwrap() as _,
            ..Default::default()
        };
        percloud_sandbox::cgroup::adjust(host as u32, &limits).unwrap();
        return 0;
    }
    let output = output.expect("an output");
    if job["wait"] == true {
        writeln!(output, "ready").unwrap();
        loop {
            std::thread::park();
        }
    }
    if job["descriptors"] == true {
        for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            writeln!(output, "{} {}", entry.file_name().display(), target.display()).unwrap();
        }
        return 0;
    }
    let paths = |key: &str| -> Vec<PathBuf> { serde_json::from_value(job["confined"][key].clone()).unwrap() };
    let (read, write) = (paths("read"), paths("write"));
    let parent = rustix::process::getppid().unwrap();
    let limits = WorkerLimits {
        read: &read,
        write: &write,
        memory: 1 << 30,
        cpu_seconds: 30,
        file_size: 1 << 20,
    };
    if let Err(error) = confine::worker(&limits) {
        writeln!(output, "error: {error}").unwrap();
        return 1;
    }
    let say = |name: &str, result: std::io::Result<()>| {
        let outcome = result.map_or_else(|error| error.kind().to_string(), |()| "ok".to_owned());
        let mut output: &std::fs::File = output;
        writeln!(output, "{name}: {outcome}").unwrap();
    };
    let first = |paths: &[PathBuf]| paths[0].clone();
    say("read", std::fs::read(first(&read)).map(drop));
    say("change what is read", std::fs::write(first(&read), b"x"));
    say("write", std::fs::write(first(&write).join("file"), b"x"));
    say(
        "make directories",
        std::fs::create_dir_all(first(&write).join("a/b/c")),
    );
    say(
        "link",
        std::os::unix::fs::symlink("/etc", first(&write).join("link")),
    );
    say(
        "rename",
        std::fs::rename(first(&write).join("file"), first(&write).join("a/file")),
    );
    say(
        "read through the link",
        std::fs::read(first(&write).join("link/passwd")).map(drop),
    );
    say("read /etc/passwd", std::fs::read("/etc/passwd").map(drop));
    say("read /proc", std::fs::read("/proc/self/status").map(drop));
    say(
        "write /tmp",
        std::fs::write("/tmp/percloud-worker-was-here", b"x"),
    );
    say("socket", std::net::TcpListener::bind("127.0.0.1:0").map(drop));
    say("unix socket", std::os::unix::net::UnixStream::pair().map(drop));
    say("thread", std::thread::Builder::new().spawn(|| ()).map(drop));
    say(
        "signal the launcher",
        rustix::process::test_kill_process(parent).map_err(Into::into),
    );
    say(
        "write too much",
        std::fs::write(first(&write).join("big"), vec![0; 2 << 20]),
    );
    let spec = SandboxSpec {
        policy: Policy::Native,
        ..SandboxSpec::new("/", "/", vec!["/".to_owned()])
    };
    let started = percloud_sandbox::start(&spec);
    say(
        "sandbox",
        started
            .map(drop)
            .map_err(|_| std::io::ErrorKind::PermissionDenied.into()),
    );
    0
}
