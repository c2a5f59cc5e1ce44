//! Hostile code in place of a role of ours: tries what an attacker who owns the process would, and tells what was
//! possible. In builds for tests only (feature `hostile`), which cannot be release builds.
//!
//! A test names the role in [`VARIABLE`]; that role, once it is confined, waits for a line of [`Hints`] on standard
//! input, tries everything, and writes one line to standard error: [`MARK`] and a JSON object.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::{Errno, raw};

/// The variable that says which role is hostile.
pub const VARIABLE: &str = "PERCLOUD_HOSTILE";
/// What the line with the report begins with.
pub const MARK: &str = "hostile: ";

/// What there is to attack, each by a name for the report.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hints {
    /// Files to read and folders to list.
    pub read: BTreeMap<String, PathBuf>,
    /// Folders to make a file in.
    pub write: BTreeMap<String, PathBuf>,
    /// Other processes.
    pub pids: BTreeMap<String, u32>,
    /// Ports of 127.0.0.1 somebody listens on.
    pub ports: BTreeMap<String, u16>,
    /// Sockets with a path somebody listens on.
    pub sockets: BTreeMap<String, PathBuf>,
    /// Names of abstract sockets somebody listens on.
    pub abstract_sockets: BTreeMap<String, String>,
}

/// What was possible.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Who tells it.
    pub role: String,
    /// Each attempt: `ok`, or the name of the error.
    pub attempts: BTreeMap<String, String>,
    /// What it holds: the kind of each open descriptor.
    pub descriptors: BTreeMap<i32, String>,
}

/// Is hostile, if `role` is the one that shall be; does nothing else.
#[allow(clippy::disallowed_methods, reason = "this is for tests")]
pub fn act(role: &str) {
    if std::env::var(VARIABLE).is_ok_and(|hostile| hostile == role) {
        let hints: Hints = serde_json::from_str(&line()).unwrap_or_default();
        let mut found = Attempts(BTreeMap::new());
        found.files(&hints);
        found.network(&hints);
        found.processes(&hints);
        found.kernel();
        let report = Report {
            role: role.to_owned(),
            attempts: found.0,
            descriptors: descriptors(),
        };
        let report = serde_json::to_string(&report).unwrap_or_default();
        eprintln!("{MARK}{report}");
    }
}

/// A line of standard input, byte by byte: another role may be next.
fn line() -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while matches!(std::io::stdin().lock().read(&mut byte), Ok(1)) && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8_lossy(&line).into_owned()
}

struct Attempts(BTreeMap<String, String>);

impl Attempts {
    fn note<T>(&mut self, name: impl Into<String>, outcome: Result<T, Errno>) -> Option<T> {
        let (said, value) = match outcome {
            Ok(value) => ("ok".to_owned(), Some(value)),
            Err(errno) => (named(errno), None),
        };
        self.0.insert(name.into(), said);
        value
    }

    fn io<T>(&mut self, name: impl Into<String>, outcome: std::io::Result<T>) {
        let outcome = outcome.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        self.note(name, outcome);
    }

    fn call(&mut self, name: &str, number: libc::c_long, arguments: &[u64]) -> Option<i64> {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        self.note(name, raw(number, all))
    }

    fn files(&mut self, hints: &Hints) {
        for (name, path) in &hints.read {
            if path.is_dir() {
                self.io(format!("list {name}"), std::fs::read_dir(path));
            } else {
                self.io(format!("read {name}"), std::fs::File::open(path));
            }
            self.io(
                format!("find {name}"),
                std::fs::read_dir(path.parent().unwrap_or(path)),
            );
        }
        for (name, path) in &hints.write {
            let file = path.join(format!("hostile-{}", std::process::id()));
            self.io(format!("write {name}"), std::fs::write(&file, b"x"));
            let link = path.join(format!("hostile-link-{}", std::process::id()));
            let device = path.join(format!("hostile-device-{}", std::process::id()));
            self.io(
                format!("link in {name}"),
                std::fs::hard_link("/etc/passwd", &link),
            );
            let made = rustix::fs::mknodat(
                rustix::fs::CWD,
                &device,
                rustix::fs::FileType::CharacterDevice,
                rustix::fs::Mode::RUSR,
                rustix::fs::makedev(1, 3),
            );
            self.note(format!("device in {name}"), made);
            for path in [file, link, device] {
                let _ = std::fs::remove_file(path);
            }
        }
        for path in [
            "/etc/passwd",
            "/proc/self/status",
            "/proc/1/environ",
            "/sys/kernel",
            "/dev/mem",
            "/dev/kmsg",
            "/dev/null",
        ] {
            if !matches!(std::fs::exists(path), Ok(false)) {
                self.io(format!("read {path}"), std::fs::File::open(path));
            }
        }
        self.call(
            "open_by_handle_at",
            libc::SYS_open_by_handle_at,
            &[u64::MAX, 0, 0],
        );
        self.call("chroot", libc::SYS_chroot, &[c"/".as_ptr() as u64]);
    }

    fn network(&mut self, hints: &Hints) {
        for (name, port) in &hints.ports {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], *port));
            self.io(
                format!("connect to {name}"),
                std::net::TcpStream::connect(address),
            );
        }
        for (name, socket) in &hints.sockets {
            self.io(
                format!("connect to {name}"),
                std::os::unix::net::UnixStream::connect(socket),
            );
        }
        for (name, socket) in &hints.abstract_sockets {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(socket);
            let connected =
                address.and_then(|address| std::os::unix::net::UnixStream::connect_addr(&address));
            self.io(format!("connect to {name}"), connected);
        }
        self.io("listen on TCP", std::net::TcpListener::bind(("127.0.0.1", 0)));
        self.io("send UDP", std::net::UdpSocket::bind(("127.0.0.1", 0)));
        for (name, family, kind) in [
            ("UNIX socket", libc::AF_UNIX, libc::SOCK_STREAM),
            ("TCP socket", libc::AF_INET, libc::SOCK_STREAM),
            ("TCP socket of IPv6", libc::AF_INET6, libc::SOCK_STREAM),
            ("raw socket", libc::AF_INET, libc::SOCK_RAW),
            ("netlink socket", libc::AF_NETLINK, libc::SOCK_RAW),
            ("packet socket", libc::AF_PACKET, libc::SOCK_RAW),
            ("vsock socket", libc::AF_VSOCK, libc::SOCK_STREAM),
            ("algorithm socket", libc::AF_ALG, libc::SOCK_SEQPACKET),
        ] {
            if let Some(fd) = self.call(name, libc::SYS_socket, &[family as u64, kind as u64, 0]) {
                let _ = raw(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]);
            }
        }
    }

    fn processes(&mut self, hints: &Hints) {
        let mut page = [0_u8; 64];
        for (name, &pid) in &hints.pids {
            let pid = u64::from(pid);
            let at = |what: &str| format!("{what} {name}");
            self.call(&at("signal"), libc::SYS_kill, &[pid, 0]);
            self.call(&at("signal a thread of"), libc::SYS_tgkill, &[pid, pid, 0]);
            self.call(&at("queue a signal to"), libc::SYS_rt_sigqueueinfo, &[pid, 0, 0]);
            self.call(&at("pidfd_open"), libc::SYS_pidfd_open, &[pid, 0]);
            self.call(&at("trace"), libc::SYS_ptrace, &[0x4206, pid, 0, 0]);
            let ours = libc::iovec {
                iov_base: page.as_mut_ptr().cast(),
                iov_len: page.len(),
            };
            let theirs = libc::iovec {
                iov_base: std::ptr::without_provenance_mut(0x40_0000),
                iov_len: page.len(),
            };
            let arguments = [pid, &raw const ours as u64, 1, &raw const theirs as u64, 1, 0];
            self.call(&at("read the memory of"), libc::SYS_process_vm_readv, &arguments);
            self.call(&at("compare"), libc::SYS_kcmp, &[pid, pid, 0, 0, 0]);
            self.call(
                &at("limit"),
                libc::SYS_prlimit64,
                &[pid, libc::RLIMIT_NOFILE as u64, 0, 0],
            );
            let mut mask = [u64::MAX; 16];
            let mask = mask.as_mut_ptr() as u64;
            self.call(&at("move"), libc::SYS_sched_setaffinity, &[pid, 128, mask]);
            self.call(&at("slow down"), libc::SYS_setpriority, &[0, pid, 0]);
            for file in ["mem", "environ", "fd", "root"] {
                self.io(
                    format!("open /proc/{file} of {name}"),
                    std::fs::File::open(format!("/proc/{pid}/{file}")),
                );
            }
        }
    }

    fn kernel(&mut self) {
        let path = c"/proc/nothing/of/that/name".as_ptr() as u64;
        self.call("execute", libc::SYS_execve, &[path, 0, 0]);
        self.call("execveat", libc::SYS_execveat, &[u64::MAX, path, 0, 0, 0]);
        self.call("mount", libc::SYS_mount, &[path, path, path, 0, 0]);
        self.call("umount", libc::SYS_umount2, &[path, 0]);
        self.call("open_tree", libc::SYS_open_tree, &[u64::MAX, path, 0]);
        self.call("fsopen", libc::SYS_fsopen, &[path, 0]);
        self.call(
            "move_mount",
            libc::SYS_move_mount,
            &[u64::MAX, path, u64::MAX, path, 0],
        );
        self.call("pivot_root", libc::SYS_pivot_root, &[path, path]);
        self.call("unshare", libc::SYS_unshare, &[libc::CLONE_NEWUSER as u64 | 1]);
        self.call(
            "clone",
            libc::SYS_clone,
            &[(libc::CLONE_NEWUSER | libc::CLONE_FS) as u64],
        );
        // A process; of an invalid kind, so that none comes to be where it is allowed.
        self.call("fork", libc::SYS_clone, &[libc::CLONE_SIGHAND as u64]);
        self.call("clone3", libc::SYS_clone3, &[0, 88]);
        self.call("setns", libc::SYS_setns, &[u64::MAX, 0]);
        self.call("bpf", libc::SYS_bpf, &[0, 0, 0]);
        self.call("io_uring", libc::SYS_io_uring_setup, &[1, 0]);
        self.call("io_setup", libc::SYS_io_setup, &[1, 0]);
        self.call("keyctl", libc::SYS_keyctl, &[0, (-3_i64) as u64, 0]);
        self.call("add_key", libc::SYS_add_key, &[0, 0, 0, 0, 0]);
        self.call("request_key", libc::SYS_request_key, &[0, 0, 0, 0]);
        self.call("perf", libc::SYS_perf_event_open, &[0, 0, 0, 0, 0]);
        self.call("userfaultfd", libc::SYS_userfaultfd, &[1]);
        self.call(
            "name_to_handle_at",
            libc::SYS_name_to_handle_at,
            &[u64::MAX, path, 0, 0, 0],
        );
        self.call("memfd_create", libc::SYS_memfd_create, &[c"x".as_ptr() as u64, 0]);
        self.call("personality", libc::SYS_personality, &[0xffff_ffff]);
        self.call("init_module", libc::SYS_init_module, &[0, 0, 0]);
        self.call("kexec_load", libc::SYS_kexec_load, &[0, 0, 0, 0]);
        self.call("reboot", libc::SYS_reboot, &[0, 0, 0, 0]);
        self.call("syslog", libc::SYS_syslog, &[3, 0, 0]);
        self.call("modify_ldt", libc::SYS_modify_ldt, &[0, 0, 0]);
        self.call("fanotify", libc::SYS_fanotify_init, &[0x200, 0]);
        self.call("set the clock", libc::SYS_settimeofday, &[0, 0]);
        self.call(
            "hand out a descriptor by signal",
            libc::SYS_fcntl,
            &[0, libc::F_SETOWN as u64, 1],
        );
        self.call("push terminal input", libc::SYS_ioctl, &[0, libc::TIOCSTI, path]);
        self.call("x32 getpid", 0x4000_0000 | libc::SYS_getpid, &[]);
        self.call("a call of the future", 600, &[]);
        let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        let code = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        self.call(
            "executable memory",
            libc::SYS_mmap,
            &[0, 4096, code, anonymous, u64::MAX, 0],
        );
        let data = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        if let Ok(at) = raw(libc::SYS_mmap, [0, 4096, data, anonymous, u64::MAX, 0]) {
            self.call(
                "memory made executable",
                libc::SYS_mprotect,
                &[at as u64, 4096, code],
            );
        }
    }
}

/// What is open in this process.
fn descriptors() -> BTreeMap<i32, String> {
    let mut found = BTreeMap::new();
    for number in 0..1024 {
        let mut data = [0_u64; 18];
        let at = data.as_mut_ptr() as u64;
        if raw(libc::SYS_fstat, [number as u64, at, 0, 0, 0, 0]).is_err() {
            continue;
        }
        // struct stat of x86-64: st_mode is the lower half of the fourth word.
        let kind = match data[3] as u32 & libc::S_IFMT {
            libc::S_IFSOCK => socket(number),
            libc::S_IFREG => "file".to_owned(),
            libc::S_IFDIR => "folder".to_owned(),
            libc::S_IFIFO => "pipe".to_owned(),
            libc::S_IFCHR => "device".to_owned(),
            0 => "kernel object".to_owned(),
            other => format!("{other:o}"),
        };
        found.insert(number, kind);
    }
    found
}

fn socket(number: i32) -> String {
    let ask = |option: i32| {
        let (mut value, mut length) = (0_i32, 4_u32);
        let arguments = [
            number as u64,
            libc::SOL_SOCKET as u64,
            option as u64,
            &raw mut value as u64,
            &raw mut length as u64,
            0,
        ];
        raw(libc::SYS_getsockopt, arguments).ok().map(|_| value)
    };
    let family = match ask(libc::SO_DOMAIN) {
        Some(libc::AF_UNIX) => "UNIX",
        Some(libc::AF_INET | libc::AF_INET6) => "internet",
        _ => "other",
    };
    match ask(libc::SO_ACCEPTCONN) {
        Some(1) => format!("{family} listener"),
        _ => format!("{family} socket"),
    }
}

fn named(errno: Errno) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno.raw_os_error()))
}
