//! What came of a try, for people and for programs.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use percloud_broker::RefusedSyscall;
use serde::Serialize;
use serde_json::Value;

use crate::attempt::client::Answer;

/// A duration, printed in milliseconds with three decimals.
#[derive(Debug, Clone, Copy)]
pub struct Milliseconds(Duration);

impl From<Duration> for Milliseconds {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0.as_secs_f64() * 1e6).round() / 1e3)
    }
}

/// Milliseconds each step took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Upload, verification, unpacking, installation.
    pub install: Option<Milliseconds>,
    /// From the click to the first byte of the first answer, with a grain that never ran.
    pub cold_start: Option<Milliseconds>,
    /// From the last request of the opening to its first byte.
    pub first_byte: Option<Milliseconds>,
    /// The same later, the median of a few.
    pub warm: Option<Milliseconds>,
}

/// Everything a try found out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub file: String,
    pub ok: bool,
    pub problem: Option<String>,
    pub app_id: Option<String>,
    pub package_id: Option<String>,
    pub title: Option<String>,
    pub version: Option<String>,
    pub grain: Option<String>,
    pub path: Option<String>,
    pub redirects: Vec<String>,
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    pub body_bytes: Option<u64>,
    pub body_start: Option<String>,
    pub timings: Timings,
    pub refused_syscalls: Vec<RefusedSyscall>,
    pub log: String,
}

impl Report {
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.display().to_string(),
            ok: false,
            problem: None,
            app_id: None,
            package_id: None,
            title: None,
            version: None,
            grain: None,
            path: None,
            redirects: Vec::new(),
            status: None,
            headers: Vec::new(),
            body_bytes: None,
            body_start: None,
            timings: Timings::default(),
            refused_syscalls: Vec::new(),
            log: String::new(),
        }
    }

    pub fn describe(&mut self, package: &Value) {
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        self.app_id = text("appId");
        self.package_id = text("packageId");
        self.title = text("title");
        self.version = text("marketingVersion");
    }

    pub fn answer(&mut self, path: &str, answer: &Answer) {
        self.path = Some(path.to_owned());
        self.status = Some(answer.status.as_u16());
        self.headers = answer.headers.clone();
        self.body_bytes = Some(answer.body_bytes);
        self.body_start = Some(answer.text_start());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        writeln!(
            out,
            "{} {} ({})",
            known(&self.title),
            known(&self.version),
            self.file
        )?;
        writeln!(out, "app      {}", known(&self.app_id))?;
        writeln!(out, "package  {}", known(&self.package_id))?;
        for (name, time) in [
            ("install", self.timings.install),
            ("cold start", self.timings.cold_start),
            ("first byte", self.timings.first_byte),
            ("warm", self.timings.warm),
        ] {
            if let Some(Milliseconds(time)) = time {
                writeln!(out, "{name:<10} {:>10.3} ms", time.as_secs_f64() * 1e3)?;
            }
        }
        for redirect in &self.redirects {
            writeln!(out, "redirected to {redirect}")?;
        }
        if let (Some(path), Some(status)) = (&self.path, self.status) {
            writeln!(
                out,
                "\nGET {path} -> {status}, {} bytes",
                self.body_bytes.unwrap_or(0)
            )?;
            for (name, value) in &self.headers {
                writeln!(out, "  {name}: {value}")?;
            }
        }
        if !self.refused_syscalls.is_empty() {
            writeln!(out, "\nsystem calls refused:")?;
            for call in &self.refused_syscalls {
                writeln!(out, "  {} ({}) x{}", call.name, call.number, call.count)?;
            }
        }
        writeln!(out, "\nlog of the app:")?;
        for line in self.log.lines() {
            writeln!(out, "  {line}")?;
        }
        match &self.problem {
            None => writeln!(out, "\nit works"),
            Some(problem) => writeln!(out, "\nit does not work: {problem}"),
        }
    }
}
