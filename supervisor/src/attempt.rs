//! `percloud try`: one package, installed, opened and judged on a throw-away server.

mod client;
mod report;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use percloud_core::id::GrainId;
use serde_json::{Value, json};

use crate::attempt::client::{Answer, Browser};
use crate::attempt::report::Report;
use crate::cli::Try;
use crate::processes::{Server, Settings};

/// Redirects followed, as a browser would.
const REDIRECTS: usize = 5;
/// Requests whose median is the warm time.
const WARM_REQUESTS: usize = 9;
/// Bytes of the app's log shown.
const LOG_SHOWN: u64 = 64 << 10;

/// Tries a package; the exit code says whether it works.
pub fn run(options: &Try) -> Result<ExitCode, Box<dyn Error>> {
    crate::serve::log_to_stderr();
    let temporary = tempfile::Builder::new().prefix("percloud-try-").tempdir()?;
    let data = match &options.keep {
        Some(folder) => std::path::absolute(folder)?,
        None => temporary.path().join("data"),
    };
    let settings = Settings {
        data: data.clone(),
        runtime: Some(temporary.path().join("run")),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        base_url: None,
        threads: None,
        idle: Duration::from_secs(90),
        rest: Duration::ZERO,
        warm_memory: percloud_core::warm::Budget::Share(0),
        record_refused: true,
        egress: crate::cli::Egress {
            open: Vec::new(),
            app_listen: std::net::Ipv6Addr::UNSPECIFIED.into(),
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = tokio::task::LocalSet::new().block_on(&runtime, async {
        let server = Server::start(&settings)?;
        let report = attempt(&server, options, &data).await;
        server.stop().await;
        Ok::<_, Box<dyn Error>>(report)
    })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.problem.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does what a person would; whatever goes wrong ends up in the report.
async fn attempt(server: &Server, options: &Try, data: &std::path::Path) -> Report {
    let mut report = Report::new(&options.file);
    let outcome = tokio::time::timeout(
        Duration::from_secs(options.timeout),
        steps(server, options, &mut report),
    )
    .await;
    report.problem = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("there was no answer within {} seconds", options.timeout)),
    };
    if let Some(grain) = report.grain.as_deref().and_then(|id| id.parse::<GrainId>().ok()) {
        report.refused_syscalls = server.broker.refused_syscalls(&grain).await;
        report.log = log(data.join("grains").join(grain.as_str())).await;
    }
    report
}

async fn steps(server: &Server, options: &Try, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let shell = Browser::new(server.address, &server.base.host);
    let secret = server
        .setup
        .as_ref()
        .ok_or("the throw-away server's folder is that of a server somebody owns")?;
    let owner = json!({"secret": secret.expose_hex(), "name": "Tester", "handle": "tester", "password": secret.expose_hex()});
    let shell = shell.signed_in(shell.json(Method::POST, "/api/setup", &owner).await?)?;

    let started = Instant::now();
    let package = shell
        .upload("/api/packages", &options.file)
        .await?
        .json(StatusCode::CREATED)?;
    report.describe(&package);
    let id = text(&package, "packageId")?;
    shell
        .json(Method::POST, &format!("/api/packages/{id}/install"), &json!({}))
        .await?
        .json(StatusCode::OK)?;
    report.timings.install = Some(started.elapsed().into());

    let new = json!({"packageId": id, "action": options.action});
    let grain = shell
        .json(Method::POST, "/api/grains", &new)
        .await?
        .json(StatusCode::CREATED)?;
    let grain = text(&grain, "id")?;
    report.grain = Some(grain.clone());

    let clicked = Instant::now();
    let open = json!({"path": options.path});
    let opened = shell
        .json(Method::POST, &format!("/api/grains/{grain}/open"), &open)
        .await?
        .json(StatusCode::OK)?;
    let host = text(&opened, "host")?;
    let host = host.split_once("://").map_or(host.as_str(), |(_, host)| host);
    let page = Browser::new(server.address, host);
    let entered = page.enter(&server.base.url(), &text(&opened, "secret")?).await?;
    let page = page.signed_in(entered)?;

    let mut path = options.path.clone();
    let mut answer = page.get(&path).await?;
    report.timings.cold_start = Some((clicked.elapsed() - answer.total + answer.first_byte).into());
    for _ in 0..REDIRECTS {
        let Some(next) = answer.redirect(host) else { break };
        report.redirects.push(next.clone());
        path = next;
        answer = page.get(&path).await?;
    }
    report.timings.first_byte = Some(answer.first_byte.into());
    report.answer(&path, &answer);
    judge(&answer)?;
    report.timings.warm = Some(warm(&page, &path).await?.into());
    Ok(())
}

fn judge(answer: &Answer) -> Result<(), Box<dyn Error>> {
    if answer.status.is_client_error() || answer.status.is_server_error() {
        return Err(format!("the app answered {}: {}", answer.status, answer.text_start()).into());
    }
    Ok(())
}

/// The median time to the first byte of a few more requests.
async fn warm(page: &Browser, path: &str) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::with_capacity(WARM_REQUESTS);
    for _ in 0..WARM_REQUESTS {
        times.push(page.get(path).await?.first_byte);
    }
    times.sort_unstable();
    Ok(times[WARM_REQUESTS / 2])
}

async fn log(grain: PathBuf) -> String {
    let read = tokio::task::spawn_blocking(move || percloud_broker::tail_of_log(&grain, LOG_SHOWN)).await;
    read.ok()
        .and_then(Result::ok)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn text(value: &Value, key: &str) -> Result<String, Box<dyn Error>> {
    Ok(value[key]
        .as_str()
        .ok_or_else(|| format!("the server's answer lacks {key}"))?
        .to_owned())
}
