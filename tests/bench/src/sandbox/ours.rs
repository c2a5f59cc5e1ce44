//! Our side: a process with a single thread that starts one sandbox per line it is sent.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use percloud_sandbox::{CgroupMode, Exit, SandboxSpec};
use rustix::event::{PollFd, PollFlags, poll};

use super::payload;
use crate::failure::{Attempt, Failure};

/// The process that starts sandboxes, from outside.
pub struct Starter {
    process: Child,
    // Taken before the process is waited for: it ends when nobody can ask any more.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    warnings: Vec<String>,
}

impl Starter {
    /// Starts it, and with it one sandbox to see that they can be; `cgroup` is `auto` or `off`.
    pub fn new(folder: &Path, payload: &Path, cgroup: &str) -> Result<Self, Failure> {
        let SandboxSpec { package, var, .. } = super::place(folder, payload)?;
        let own = std::env::current_exe().attempt(|| "find this program".to_owned())?;
        let mut process = Command::new(own)
            .arg("role:sandbox")
            .args([&package, &var])
            .arg(cgroup)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .attempt(|| "start the process that starts sandboxes".to_owned())?;
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut starter = Self {
            process,
            questions,
            answers,
            warnings: Vec::new(),
        };
        starter.start()?;
        Ok(starter)
    }

    /// Starts one sandbox; its time in milliseconds.
    pub fn start(&mut self) -> Result<f64, Failure> {
        let ask = |questions: &mut ChildStdin| questions.write_all(b"\n");
        self.questions
            .as_mut()
            .map_or(Ok(()), ask)
            .attempt(|| "ask for a sandbox".to_owned())?;
        loop {
            let mut answer = String::new();
            self.answers
                .read_line(&mut answer)
                .attempt(|| "hear of a sandbox".to_owned())?;
            let answer = answer.trim_end();
            if let Some(warning) = answer.strip_prefix("warning ") {
                if self.warnings.iter().all(|known| known != warning) {
                    self.warnings.push(warning.to_owned());
                }
            } else {
                let failed = || Failure::new("the process that starts sandboxes ended early");
                return answer
                    .parse::<u64>()
                    .map(|took| took as f64 / 1e6)
                    .map_err(|_| failed());
            }
        }
    }

    /// What the sandbox said is weaker here than it should be.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        self.questions.take();
        let _ = self.process.wait();
    }
}

/// The role: starts a sandbox for each line and answers with the nanoseconds to its first byte.
pub fn serve(arguments: &[&str]) -> Result<(), Failure> {
    let [package, var, cgroup] = arguments else {
        return Err(Failure::new(
            "package, storage and kind of control group are expected",
        ));
    };
    let mut spec = SandboxSpec::new(package, var, vec!["/first-byte".to_owned()]);
    if *cgroup == "off" {
        spec.cgroup = CgroupMode::Off;
    }
    percloud_sandbox::prepare();
    let mut answers = std::io::stdout().lock();
    for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
        let since = Instant::now();
        let app = percloud_sandbox::start(&spec).map_err(|error| describe(&error))?;
        let mut byte = [0];
        let mut log = File::from(app.log);
        let read = log.read_exact(&mut byte);
        let took = since.elapsed();
        poll(&mut [PollFd::new(&app.pidfd, PollFlags::IN)], None)
            .map_err(std::io::Error::from)
            .attempt(|| "wait for the app".to_owned())?;
        let ended = percloud_sandbox::reap(app.pidfd.as_fd()).attempt(|| "reap the app".to_owned())?;
        if let Some(group) = app.cgroup {
            group.remove();
        }
        if read.is_err() || byte[0] != payload::BYTE || ended != Some(Exit::Code(0)) {
            return Err(Failure::new(format!(
                "the app in the sandbox wrote no byte and ended with {ended:?}"
            )));
        }
        for warning in app.warnings {
            writeln!(answers, "warning {warning}").attempt(|| "answer".to_owned())?;
        }
        writeln!(answers, "{}", took.as_nanos())
            .and_then(|()| answers.flush())
            .attempt(|| "answer".to_owned())?;
    }
    percloud_sandbox::cgroup::leave();
    Ok(())
}

pub fn describe(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    Failure::new(text)
}
