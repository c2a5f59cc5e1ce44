//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A personal, permanent cloud: mail, calendars, files, photos and any Sandstorm app, each document in a box of its own.
#[derive(Parser, Debug)]
#[command(name = "percloud", version, about, long_about = None, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the server until it is told to stop (Ctrl-C or SIGTERM).
    Serve(Serve),
    /// Install a package on a throw-away server, open it and report what happened.
    ///
    /// Installs FILE, makes a grain with one of its actions, requests a path as its owner and prints status, headers,
    /// timings, the app's log and the system calls it was refused. Ends with a non-zero code when anything failed.
    Try(Try),
    /// Check this machine: name each gap, what it means and what to do about it.
    ///
    /// Looks at what `percloud serve` would meet if it were started with the same options, by the same user, from the
    /// same place: the kernel and each layer of the sandbox, namespaces, control groups, the file system of the data
    /// folder, limits, memory, the clock, the address to listen on. Each check is `good`, a `gap` (Percloud works with
    /// less than it could) or `missing` (Percloud refuses to run without).
    ///
    /// Nothing on the machine is changed: no setting is written, no control group made, no file left. Namespaces and
    /// a whole sandbox are tried by child processes that end at once. Where the data folder, or else the nearest
    /// folder above it, can be written to, a folder `.percloud-doctor-*` is made there, used and removed.
    #[command(after_help = DOCTOR_SEE_ALSO, after_long_help = DOCTOR_AFTER)]
    Doctor(Doctor),
    #[command(hide = true)]
    Edge(Edge),
    #[command(hide = true)]
    Egress(Egress),
    #[command(hide = true)]
    Launcher(Launcher),
    #[command(hide = true)]
    Broker(Broker),
}

const DOCTOR_SEE_ALSO: &str = "'percloud doctor --help' tells more; docs/doctor.md lists every check.";

const DOCTOR_AFTER: &str = "\
Exit status:
  0  nothing is missing; there may be gaps
  1  something is missing: percloud serve, or its apps, would refuse to start
  2  the command line is not understood

Environment:
  PERCLOUD_DATA, PERCLOUD_LISTEN  as the options; an option wins
  NO_COLOR                        when set to anything, colour is never used

Output:
  One line for each good check, three for others: what was found, what it
  means, what to do. Colour is used on a terminal only, and says nothing the
  words do not. With --json, one object: docs/doctor.md describes it, and the
  ids of the checks keep their meaning from version to version.

Examples:
  Check what a server on this data would meet:
      percloud doctor --data /srv/percloud
  Check as the user who will run it, as root:
      setpriv --reuid=percloud --regid=percloud --init-groups \\
          percloud doctor --data /srv/percloud
  Check inside the control group a service would have:
      systemd-run --user --scope -p Delegate=yes \\
          percloud doctor --data ~/percloud

Notes:
  While a server runs on the data, data-in-use and listen-address are missing: a
  second one could not be started.";

/// Whose folder, and at which address: what a server and whoever looks at the machine for it are both told.
#[derive(Args, Debug)]
pub struct Place {
    /// Folder for everything that lasts: accounts, apps, everybody's data.
    #[arg(long, value_name = "DIR", env = "PERCLOUD_DATA")]
    pub data: PathBuf,
    /// Address and port to listen on; port 0 picks a free one.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:6080",
        env = "PERCLOUD_LISTEN"
    )]
    pub listen: SocketAddr,
}

#[derive(Args, Debug)]
pub struct Doctor {
    #[command(flatten)]
    pub place: Place,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Serve {
    #[command(flatten)]
    pub place: Place,
    /// The URL people use, when it is not http://percloud.localhost:PORT. Its host needs a wildcard beside it.
    #[arg(long, value_name = "URL", env = "PERCLOUD_BASE_URL")]
    pub base_url: Option<String>,
    /// Folder for sockets; emptied at start. Its name must be short: sockets are named below it.
    #[arg(long, value_name = "DIR", env = "PERCLOUD_RUNTIME")]
    pub runtime: Option<PathBuf>,
    /// Threads that face browsers; one per core unless said otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Seconds after which an unused app is put to sleep (it may take up to twice as long).
    ///
    /// Until then it costs memory and hardly anything else, and opens at once. Where --warm-memory does not suffice, or the
    /// machine is short of memory, apps are put to sleep earlier.
    #[arg(long, value_name = "SECONDS", default_value_t = 14_400, value_parser = clap::value_parser!(u64).range(1..))]
    pub idle: u64,
    /// Seconds after which an app that has nothing to do is held still, so that it takes no processor time; 0 for never.
    ///
    /// It goes on with whatever is wanted of it next, within a thousandth of a second. One that is busy goes on for twelve times
    /// as long, and for as long as a page of it is open.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub rest: u64,
    /// How much memory unused apps may take together: a share of the machine's, or a size such as 512M or 4G.
    ///
    /// Those are put to sleep first that are worth least: seldom or long ago used, quick to start again, large. Whatever is
    /// allowed here, an eighth of the machine's memory is kept available.
    #[arg(long, value_name = "SIZE", default_value = "25%")]
    pub warm_memory: percloud_core::warm::Budget,
    #[command(flatten)]
    pub egress: Egress,
    /// Serve `percloud try`, at the other end of a descriptor.
    #[arg(long, hide = true)]
    pub trial: bool,
}

#[derive(Args, Debug, Clone)]
pub struct Egress {
    /// Addresses apps may reach though they are not public, such as 192.168.178.20/32; may be given several times.
    ///
    /// An app reaches other machines only where somebody let it, and then only public addresses: not this machine, not
    /// those beside it. What is named here is open as well, to every app that was let out.
    #[arg(
        long = "open-address",
        value_name = "RANGE",
        env = "PERCLOUD_OPEN_ADDRESSES",
        value_delimiter = ','
    )]
    pub open: Vec<ipnet::IpNet>,
    /// The address of this machine on which apps listen that the server's owner gave ports of it.
    #[arg(
        // Not by its field's name, which is that of the server's own option.
        id = "app-listen",
        long = "app-listen",
        value_name = "ADDRESS",
        default_value = "::",
        env = "PERCLOUD_APP_LISTEN"
    )]
    pub app_listen: std::net::IpAddr,
}

#[derive(Args, Debug)]
pub struct Try {
    /// The package to try.
    #[arg(value_name = "FILE.spk")]
    pub file: PathBuf,
    /// Which of the package's actions makes the grain.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub action: u32,
    /// The path to request.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub path: String,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Seconds to wait for the app before giving up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
    /// Keep the throw-away server's data in this folder instead of deleting it.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Edge {
    #[arg(long)]
    pub base: String,
    #[arg(long)]
    pub doors: PathBuf,
    #[arg(long)]
    pub threads: u16,
}

#[derive(Args, Debug)]
pub struct Launcher {
    #[arg(long)]
    pub recording: bool,
}

#[derive(Args, Debug)]
pub struct Broker {
    #[arg(long)]
    pub data: PathBuf,
    #[arg(long)]
    pub runtime: PathBuf,
    #[arg(long)]
    pub base: String,
    #[arg(long)]
    pub address: SocketAddr,
    #[arg(long)]
    pub threads: u16,
    #[arg(long)]
    pub idle: u64,
    #[arg(long)]
    pub rest: u64,
    #[arg(long)]
    pub warm_memory: percloud_core::warm::Budget,
    #[arg(long)]
    pub trial: bool,
    /// Whether another broker served from the same folders a moment ago.
    #[arg(long)]
    pub again: bool,
    /// Whether brokers before this one ended again and again.
    #[arg(long)]
    pub ends_often: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_options_share_a_name() {
        super::Cli::command().debug_assert();
    }
}
