//! The peer of a request: one nginx proxy hop in front of an upstream that answers what our native app answers.

pub mod upstream;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use percloud_tests::wait;
use tempfile::TempDir;

use crate::failure::{Attempt, Failure};
use crate::process::{self, Running};

/// Idle connections nginx keeps to the upstream, and more than any load here has.
const KEPT: u32 = 64;

/// nginx and its upstream, running.
pub struct Nginx {
    pub address: SocketAddr,
    // Fields drop in this order: the proxy before what it leads to.
    proxy: Running,
    _upstream: Running,
    _folder: TempDir,
}

impl Nginx {
    /// Starts both; `None` where nginx is not installed.
    pub fn start() -> Result<Option<Self>, Failure> {
        let Some(program) = process::find("nginx") else {
            return Ok(None);
        };
        let folder = tempfile::Builder::new().prefix("percloud-nginx-").tempdir();
        let folder = folder.attempt(|| "make a temporary folder".to_owned())?;
        let socket = folder.path().join("upstream");
        let own = std::env::current_exe().attempt(|| "find this program".to_owned())?;
        let upstream = Running::start(Command::new(own).arg("role:upstream").arg(&socket))?;
        wait::until("the upstream's socket", || socket.exists().then_some(()));
        let (address, proxy) = proxy(&program, folder.path(), &socket)?;
        Ok(Some(Self {
            address,
            proxy,
            _upstream: upstream,
            _folder: folder,
        }))
    }

    /// The master and its workers; the upstream, like the app of a grain, is not the proxy's cost.
    pub fn pids(&self) -> Vec<u32> {
        let processes = percloud_tests::process::tree(self.proxy.0.id());
        processes.iter().map(|process| process.pid).collect()
    }
}

/// Starts nginx in `folder`, in front of `socket`, and waits until it listens.
fn proxy(program: &Path, folder: &Path, socket: &Path) -> Result<(SocketAddr, Running), Failure> {
    // Free a moment ago; nobody else here takes ports at random.
    let address = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .attempt(|| "find a free port".to_owned())?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, settings(folder, socket, address))
        .attempt(|| format!("write {}", configuration.display()))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(&configuration);
    let mut proxy = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let started = wait::within(wait::DEADLINE, || {
        let ended = proxy.0.try_wait().ok().flatten().is_some();
        (ended || TcpStream::connect(address).is_ok()).then_some(!ended)
    });
    if started != Some(true) {
        let said = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
        return Err(Failure::new(format!("nginx did not start: {said}")));
    }
    Ok((address, proxy))
}

/// As one would run it: a worker per core, kept connections on both sides, nothing logged, bodies passed on as they come.
fn settings(folder: &Path, socket: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    // Workers of a root's nginx are somebody else by default, who could not reach this folder.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user}
         daemon off;
         worker_processes auto;
         pid {folder}/pid;
         error_log {folder}/error.log;
         events {{ worker_connections 4096; }}
         http {{
             access_log off;
             client_body_temp_path {folder}/body;
             proxy_temp_path {folder}/proxy;
             fastcgi_temp_path {folder}/fastcgi;
             uwsgi_temp_path {folder}/uwsgi;
             scgi_temp_path {folder}/scgi;
             keepalive_requests 1000000000;
             client_max_body_size 0;
             tcp_nodelay on;
             upstream app {{ server unix:{socket}; keepalive {KEPT}; keepalive_requests 1000000000; }}
             server {{
                 listen {address};
                 location / {{
                     proxy_pass http://app;
                     proxy_http_version 1.1;
                     proxy_set_header Connection \"\";
                     proxy_set_header Host $host;
                     proxy_request_buffering off;
                     proxy_max_temp_file_size 0;
                 }}
             }}
         }}\n",
        socket = socket.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::client::Connection;
    use crate::http::transfer;

    #[test]
    fn nginx_passes_on_what_the_upstream_answers() {
        let Some(program) = process::find("nginx") else {
            eprintln!("skipped: nginx is not installed");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("upstream");
        let served = socket.clone();
        // Ends with this process.
        std::thread::spawn(move || upstream::serve(served.to_str().expect("a plain path")));
        wait::until("the upstream's socket", || socket.exists().then_some(()));
        let (address, proxy) = proxy(&program, folder.path(), &socket).unwrap();
        let mut connection = Connection::open(address, "localhost", "").unwrap();
        for _ in 0..3 {
            let head = connection.send("GET", "/small", &[], 0, |_| Ok(())).unwrap();
            assert_eq!(connection.body(&head).unwrap(), [b's'; 128], "{:?}", head.headers);
        }
        let bytes = 40_000_000;
        assert!(transfer::download(&mut connection, bytes).unwrap() > 0.0);
        assert!(transfer::upload(&mut connection, bytes).unwrap() > 0.0);
        assert!(connection.get("/nothing").is_err());
        drop(proxy);
        assert!(TcpStream::connect(address).is_err(), "nginx is gone");
    }
}
