//! What a start costs, side by side with what else starts programs.
//!
//! `start_cost [--json] [--rounds N] PROGRAM`: PROGRAM is a static binary that writes a byte and ends when called with
//! the argument `byte` (the prober). Interleaves, N times: fork and exec; a complete sandbox of each kind; and, where
//! installed, `bwrap --unshare-all` and `runc run` (a tenth of the rounds). Each is measured from the call to the first
//! byte the program writes. Prints 10th percentile and median in microseconds, and the median of the processor time
//! spent until everything is reaped, which a busy machine disturbs less.

#![allow(clippy::disallowed_methods, reason = "measures starting programs")]

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use percloud_sandbox::launcher::{Client, Kind, Request, Task};
use percloud_sandbox::{CgroupMode, Policy, SandboxSpec};
use rustix::event::{PollFd, PollFlags, poll};

struct Bench {
    directory: PathBuf,
    rounds: usize,
}

type Once = Box<dyn Fn(&Bench) -> Option<Duration>>;

/// Elapsed and processor time of one start.
type Sample = (Duration, Duration);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "launcher") {
        percloud_sandbox::launcher::serve(percloud_sandbox::process::take(3).unwrap(), 2, host)
    }
    let json = arguments.iter().any(|argument| argument == "--json");
    let rounds = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = rounds
        .and_then(|at| arguments[at + 1].parse().ok())
        .unwrap_or(200);
    let program = arguments.last().expect("a program");
    let directory = tempfile::Builder::new()
        .prefix("percloud-start-cost")
        .tempdir()
        .unwrap();
    let bench = Bench::new(directory.path(), rounds, Path::new(program));
    percloud_sandbox::prepare();

    let launcher = Launcher::new();
    let pooled: Once = Box::new(move |bench: &Bench| Some(launcher.start(bench.spec())));
    let sandbox = |change: fn(&mut SandboxSpec)| -> Once {
        Box::new(move |bench: &Bench| {
            let mut spec = bench.spec();
            change(&mut spec);
            Some(bench.sandbox(&spec))
        })
    };
    let subjects: Vec<(&str, usize, Once)> = vec![
        ("fork+exec", 1, Box::new(|bench| Some(bench.fork_exec()))),
        ("sandbox", 1, sandbox(|_| ())),
        ("sandbox, made ahead", 1, pooled),
        (
            "sandbox, allow list",
            1,
            sandbox(|spec| spec.policy = Policy::Native),
        ),
        ("sandbox, loopback", 1, sandbox(|spec| spec.loopback = true)),
        (
            "sandbox, no cgroup",
            1,
            sandbox(|spec| spec.cgroup = CgroupMode::Off),
        ),
        ("bwrap --unshare-all", 1, Box::new(Bench::bwrap)),
        ("runc run", 10, Box::new(Bench::runc)),
    ];
    let mut times: Vec<Vec<Sample>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..bench.rounds {
        for ((_, every, once), times) in subjects.iter().zip(&mut times) {
            if round % every == 0 {
                // The kernel takes network namespaces down in the background, under locks the next one needs.
                std::thread::sleep(Duration::from_millis(15));
                let before = processor_time();
                times.extend(once(&bench).map(|elapsed| (elapsed, processor_time() - before)));
            }
        }
    }
    percloud_sandbox::cgroup::leave();
    report(json, &subjects, &mut times);
}

/// The life of a grain host: says when the app wrote its byte, and sees to its end.
fn host(request: Request) -> i32 {
    let Task::Grain { app, .. } = request.task else {
        return 1;
    };
    let app = app.unwrap();
    std::fs::File::from(app.log).read_exact(&mut [0]).unwrap();
    let now = moment();
    std::fs::File::from(request.fds.into_iter().next().unwrap())
        .write_all(&now.to_le_bytes())
        .unwrap();
    poll(&mut [PollFd::new(&app.pidfd, PollFlags::IN)], None).unwrap();
    percloud_sandbox::reap(app.pidfd.as_fd()).unwrap();
    if let Some(group) = app.cgroup {
        group.remove();
    }
    0
}

/// Nanoseconds of a clock that is the same for all processes.
fn moment() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A launcher that keeps sandboxes ahead.
struct Launcher(std::cell::RefCell<Client>);

impl Launcher {
    fn new() -> Self {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let own = std::env::current_exe().unwrap();
        let fds = vec![(theirs.into(), 3)];
        percloud_sandbox::process::spawn_role(&own, &["launcher".into()], &[], fds).unwrap();
        Self(Client::new(ours.into()).into())
    }

    /// From the request to the app's byte.
    fn start(&self, spec: SandboxSpec) -> Duration {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let kind = Kind::Grain {
            sandbox: Box::new(spec),
            host: serde_json::Value::Null,
        };
        let begun = moment();
        let started = self.0.borrow_mut().request(&kind, &[writer.as_fd()]).unwrap();
        let mut ended = [0; 8];
        reader.read_exact(&mut ended).unwrap();
        poll(&mut [PollFd::new(&started.pidfd, PollFlags::IN)], None).unwrap();
        Duration::from_nanos(u64::from_le_bytes(ended) - begun)
    }
}

/// Processor time of this process and all it has waited for.
fn processor_time() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let both = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| getrusage(who).unwrap());
    let times = both
        .iter()
        .flat_map(|usage| [usage.user_time(), usage.system_time()]);
    times
        .map(|time| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64))
        .sum()
}

fn report(json: bool, subjects: &[(&str, usize, Once)], times: &mut [Vec<Sample>]) {
    let mut entries = Vec::new();
    for ((name, ..), times) in subjects.iter().zip(times) {
        let rounds = times.len();
        if rounds == 0 {
            continue;
        }
        let at = |samples: &mut Vec<Sample>, pick: fn(&Sample) -> Duration, percent: usize| {
            samples.sort_by_key(pick);
            pick(&samples[rounds * percent / 100]).as_micros() as u64
        };
        let (p10, p50) = (at(times, |sample| sample.0, 10), at(times, |sample| sample.0, 50));
        let cpu = at(times, |sample| sample.1, 50);
        if !json {
            println!(
                "{name:22} p10 {p10:>6} us   p50 {p50:>6} us   processor p50 {cpu:>6} us   ({rounds} rounds)"
            );
        }
        entries.push(serde_json::json!({
            "name": name, "unit": "us", "p10": p10, "p50": p50, "processor_p50": cpu, "rounds": rounds,
        }));
    }
    if json {
        println!("{}", serde_json::to_string(&entries).unwrap());
    }
}

impl Bench {
    fn new(directory: &Path, rounds: usize, program: &Path) -> Self {
        let bench = Self {
            directory: directory.to_owned(),
            rounds,
        };
        for name in [
            "package/bin",
            "package/var",
            "package/tmp",
            "package/dev",
            "package/proc",
            "var",
        ] {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        std::fs::copy(program, directory.join("package/bin/program")).unwrap();
        bench
    }

    fn spec(&self) -> SandboxSpec {
        let argv = vec!["/bin/program".to_owned(), "byte".to_owned()];
        let mut spec = SandboxSpec::new(self.directory.join("package"), self.directory.join("var"), argv);
        spec.policy = Policy::Sandstorm;
        spec
    }

    fn sandbox(&self, spec: &SandboxSpec) -> Duration {
        let begun = Instant::now();
        let app = percloud_sandbox::start(spec).unwrap();
        let mut log = std::fs::File::from(app.log);
        log.read_exact(&mut [0]).unwrap();
        let time = begun.elapsed();
        poll(&mut [PollFd::new(&app.pidfd, PollFlags::IN)], None).unwrap();
        percloud_sandbox::reap(app.pidfd.as_fd()).unwrap();
        if let Some(group) = app.cgroup {
            group.remove();
        }
        time
    }

    fn fork_exec(&self) -> Duration {
        let mut command = Command::new(self.directory.join("package/bin/program"));
        self.timed(command.arg("byte")).unwrap()
    }

    /// The same namespaces, file system, session and capabilities; without Landlock, call filter and control group.
    fn bwrap(&self) -> Option<Duration> {
        let mut command = Command::new("bwrap");
        command.args([
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--hostname",
            "sandbox",
        ]);
        command.args(["--cap-drop", "ALL", "--clearenv", "--chdir", "/"]);
        command
            .arg("--ro-bind")
            .arg(self.directory.join("package"))
            .arg("/");
        command.arg("--bind").arg(self.directory.join("var")).arg("/var");
        command.args(["--tmpfs", "/tmp", "--tmpfs", "/dev"]);
        for device in ["/dev/null", "/dev/zero", "/dev/urandom"] {
            command.args(["--dev-bind", device, device]);
        }
        command.args([
            "--dev-bind",
            "/dev/urandom",
            "/dev/random",
            "--tmpfs",
            "/dev/shm",
            "--remount-ro",
            "/dev",
        ]);
        self.timed(command.args(["/bin/program", "byte"]))
    }

    fn runc(&self) -> Option<Duration> {
        let bundle = self.directory.join("bundle");
        if !bundle.join("config.json").exists() {
            std::fs::create_dir_all(&bundle).ok()?;
            let made = Command::new("runc")
                .arg("spec")
                .current_dir(&bundle)
                .status()
                .ok()?;
            if !made.success() {
                return None;
            }
            let config = std::fs::read(bundle.join("config.json")).ok()?;
            let mut config: serde_json::Value = serde_json::from_slice(&config).ok()?;
            config["process"]["terminal"] = false.into();
            config["process"]["args"] = serde_json::json!(["/bin/program", "byte"]);
            config["root"]["path"] = self.directory.join("package").display().to_string().into();
            std::fs::create_dir_all(self.directory.join("package/sys")).ok()?;
            std::fs::write(bundle.join("config.json"), config.to_string()).ok()?;
        }
        let name = format!("percloud-start-cost-{}", std::process::id());
        self.timed(
            Command::new("runc")
                .args(["run", "--bundle"])
                .arg(&bundle)
                .arg(name),
        )
    }

    fn timed(&self, command: &mut Command) -> Option<Duration> {
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let first = child.stdout.take()?.read_exact(&mut [0]);
        let time = begun.elapsed();
        child.wait().ok()?;
        first.ok().map(|()| time)
    }
}
