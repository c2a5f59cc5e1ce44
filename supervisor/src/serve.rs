//! The broker's role: a server until it is told to stop, or has to be started anew.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use percloud_broker::{Broker, Layout, Part, StartError};
use percloud_sandbox::{confine, parent, process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, sleep, timeout};
use tracing_subscriber::EnvFilter;

use crate::base::Base;
use crate::cli;
use crate::parent_role::{AGAIN, PARENT_FD, TRIAL_FD};
use crate::processes::restarts::SETTLED;
use crate::processes::{Server, Settings};
use crate::trial::Trial;
use crate::wiring::Machine;

/// How long a store that has failed stays so at least where beginning anew was of little help before: apps end with it.
const RARELY: Duration = Duration::from_secs(120);

/// How long grains may take to end before everything begins anew.
const PARTING: Duration = Duration::from_secs(30);

/// Runs a server until Ctrl-C or SIGTERM, or until whoever tries a package with it has gone.
pub fn run(options: &cli::Broker) -> Result<ExitCode, Box<dyn Error>> {
    log_to_stderr();
    let parent = parent::Client::new(process::take(PARENT_FD)?);
    let trial = options.trial.then(|| process::take(TRIAL_FD)).transpose()?;
    let layout = Layout::new(options.data.clone(), options.runtime.clone());
    if options.again {
        layout.prepare_doors().map_err(StartError::Layout)?;
    } else {
        layout.prepare().map_err(StartError::Layout)?;
    }
    let folders = layout.folders().map_err(StartError::Layout)?;
    let machine = Machine::open();
    // Before the first thread and the first word with anybody: its own folders, and no way to the network.
    confine::broker(&[], &folders)?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("broker");
    let settings = Settings {
        layout,
        again: options.again,
        base: Base::parse(&options.base)?,
        threads: options.threads,
        idle: Duration::from_secs(options.idle),
        rest: Duration::from_secs(options.rest),
        warm_memory: options.warm_memory,
        record_refused: options.trial,
        machine,
        parent,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut server = Server::start(settings)?;
        let secret = server.setup.take();
        let mut trial = trial.map(Trial::new).transpose()?;
        match &mut trial {
            Some(trial) => trial.introduce(&server, options.address, secret).await?,
            None => {
                let url = server.base.url();
                say(format_args!("Percloud is ready at {url}"));
                if let Some(secret) = secret {
                    say(format_args!("Set it up at {url}/setup#{}", secret.expose_hex()));
                }
            }
        }
        let broker = server.broker.clone();
        let settled = async {
            if options.ends_often {
                broker.part_fails(Part::Broker, true);
                sleep(SETTLED).await;
                broker.part_fails(Part::Broker, false);
            }
            std::future::pending().await
        };
        let tried = async {
            match trial {
                Some(trial) => trial.serve(&broker).await,
                None => std::future::pending().await,
            }
        };
        let mended = async {
            // Whoever tries a package sees its problem at once, and has nothing to lose.
            if options.trial {
                std::future::pending::<()>().await;
            }
            if options.ends_often {
                sleep(RARELY).await;
            }
            broker.until_the_store_can_be_opened_again().await;
        };
        let again = tokio::select! {
            _ = interrupted.recv() => false,
            _ = terminated.recv() => false,
            () = tried => false,
            () = mended => true,
            () = settled => unreachable!("there is nothing after it"),
            () = server.keep_alive() => unreachable!("processes are kept for good"),
            () = maintain(&broker) => unreachable!("maintenance has no end"),
            () = broker.keep_jobs() => unreachable!("jobs have no end"),
            () = broker.keep_time() => unreachable!("time has no end"),
            () = broker.keep_room() => unreachable!("watching the disk has no end"),
            () = broker.keep_memory() => unreachable!("watching memory has no end"),
        };
        if again {
            tracing::warn!("the disk takes writes again: everything begins anew, with what is on it");
            let _in_order = timeout(PARTING, server.stop()).await;
        } else {
            server.stop().await;
        }
        if broker.store_has_failed() {
            // It is not closed: what it could not write is lost, and must not be written now.
            std::process::exit(if again { AGAIN.into() } else { 0 });
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints a line for whoever started the server, who need not listen any more.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout();
    let _heard = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Lets the broker do what is due, every minute.
async fn maintain(broker: &Rc<Broker>) {
    if let Err(problem) = broker.forget_traces_of_the_gone().await {
        tracing::warn!("something people kept of grains that are gone stays: {problem}");
    }
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
