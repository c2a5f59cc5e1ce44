//! `percloud serve`: a server until it is told to stop.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use percloud_broker::Broker;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing_subscriber::EnvFilter;

use crate::cli::Serve;
use crate::processes::{Server, Settings};

/// Runs a server until Ctrl-C or SIGTERM.
pub fn run(options: &Serve) -> Result<ExitCode, Box<dyn Error>> {
    log_to_stderr();
    let settings = Settings {
        data: std::path::absolute(&options.place.data)?,
        runtime: options.runtime.clone(),
        listen: options.place.listen,
        base_url: options.base_url.clone(),
        threads: options.threads,
        idle: Duration::from_secs(options.idle),
        rest: Duration::from_secs(options.rest),
        warm_memory: options.warm_memory,
        record_refused: false,
        egress: options.egress.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut server = Server::start(&settings)?;
        say(format_args!("Percloud is ready at {}", server.base.url()));
        if let Some(secret) = server.setup.take() {
            let url = server.base.url();
            say(format_args!("Set it up at {url}/setup#{}", secret.expose_hex()));
        }
        let broker = server.broker.clone();
        let outcome = tokio::select! {
            _ = interrupted.recv() => Ok(()),
            _ = terminated.recv() => Ok(()),
            () = server.keep_alive() => unreachable!("processes are kept for good"),
            () = maintain(&broker) => unreachable!("maintenance has no end"),
            () = broker.keep_jobs() => unreachable!("jobs have no end"),
            () = broker.keep_time() => unreachable!("time has no end"),
            () = broker.keep_memory() => unreachable!("watching memory has no end"),
        };
        server.stop().await;
        outcome.map(|()| ExitCode::SUCCESS)
    })
}

/// Prints a line for whoever started the server, who need not listen any more.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout();
    let _heard = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Lets the broker do what is due, every minute.
async fn maintain(broker: &Rc<Broker>) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        minutes.tick().await;
        broker.maintain().await;
    }
}

/// Logs to standard error; `PERCLOUD_LOG` chooses what, as `tracing` filters do.
pub fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("PERCLOUD_LOG").unwrap_or_else(|_| EnvFilter::new("warn,percloud=info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .compact()
        .try_init();
}
