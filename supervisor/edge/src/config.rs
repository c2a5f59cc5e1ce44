//! What the edge is given when it starts, and every limit it holds to.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::{Assets, BaseUrl};

/// Everything the edge needs; nothing else is read from the machine.
#[derive(Debug)]
pub struct Config {
    /// Sockets to accept on. Threads share them in turn: one for all, or one each with `SO_REUSEPORT`.
    pub listeners: Vec<TcpListener>,
    /// One connection to the broker for each thread; their number is the number of threads. The broker's bootstrap
    /// is `Front`.
    pub brokers: Vec<UnixStream>,
    /// Where the shell and the sessions live.
    pub base: BaseUrl,
    /// The page shell, usually [`Assets::embedded`].
    pub assets: Assets,
    /// Bounds on what a client, an app or the broker may cost.
    pub limits: Limits,
}

/// Bounds on what a client, an app or the broker may cost. The defaults suit a server on the open network.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a client may take to send the head of a request; also how long a connection may idle between two.
    pub header_timeout: Duration,
    /// Largest head of a request, in bytes; more is answered with 431.
    pub header_bytes: usize,
    /// Longest path with its query, in bytes; more is answered with 414.
    pub path_bytes: usize,
    /// Connections held at once, over all threads; a further one takes the place of who has asked for nothing for
    /// longest, or waits in the kernel's queue when all are being answered.
    pub connections: usize,
    /// Connections one client may hold of those; further ones are closed. A client is an IPv4 address or the first 64 bits
    /// of an IPv6 address. What comes from this machine, as from a proxy, is not held to it.
    pub connections_per_client: usize,
    /// How long a client may make us wait for a request it has begun, or take nothing of its answer, before its place is
    /// another's who waits for one.
    pub crowded_wait: Duration,
    /// How long a client may pause while it sends a body.
    pub body_pause: Duration,
    /// How long a client may take nothing of an answer that is ready for it.
    pub write_stall: Duration,
    /// How long waking a grain and its app may take, for whoever waits.
    pub open: Duration,
    /// How long an app may think before it answers, or take nothing of what is sent to it.
    pub answer: Duration,
    /// How long a session is kept at hand after its last use (sheet 5.2: about two minutes).
    pub session_idle: Duration,
    /// How often the handle of an answer that still streams is pinged (sheet trap 14).
    pub ping: Duration,
    /// How often an event stream says something so that nobody takes it for dead.
    pub event_comment: Duration,
    /// Bodies shorter than this and of known length go to the app whole (sheet trap 54), in bytes.
    pub whole_body: usize,
    /// Longest body collected for an app that cannot take it as a stream, in bytes.
    pub collected_body: usize,
    /// Bytes of requests that may be collected at once, over all sessions and threads, and of answers given whole that may
    /// wait for their clients; less on a machine with little memory. What would exceed them is answered with 503. One
    /// session may have a quarter of each.
    pub bodies: usize,
    /// Longest XML document of a WebDAV request, in bytes.
    pub xml_body: usize,
    /// Largest package, in bytes.
    pub package: u64,
    /// Largest backup of a grain that is taken back, in bytes.
    pub backup: u64,
    /// Bytes of one stream held between an app and a slow client.
    pub window: usize,
    /// WebSockets one session may have open, on each thread; further ones are answered with 503.
    pub sockets_per_session: usize,
    /// Answers one session may have streaming, on each thread; further ones are answered with 503.
    pub streams_per_session: usize,
    /// Bodies one session may have streaming to its app, on each thread; further ones are answered with 503.
    pub uploads_per_session: usize,
    /// Bytes of answers given whole that may wait for the clients of one session, if its part of
    /// [`Limits::bodies`] is not less; what would exceed them, and is not the first, is answered with 503. Streams and
    /// WebSockets of the session may together hold as many again on each thread; beyond them, the app waits.
    pub bytes_per_session: usize,
    /// Wrong API tokens one client may bring in a row before it has to wait, on each thread.
    pub wrong_tokens: u32,
    /// How long a wrong API token counts.
    pub wrong_token_counts: Duration,
    /// How long requests may finish in when the edge stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            header_bytes: 64 << 10,
            path_bytes: 16 << 10,
            connections: 8192,
            connections_per_client: 1024,
            crowded_wait: Duration::from_secs(5),
            body_pause: Duration::from_secs(60),
            write_stall: Duration::from_secs(120),
            open: Duration::from_secs(120),
            answer: Duration::from_secs(300),
            session_idle: Duration::from_secs(120),
            ping: Duration::from_secs(60),
            event_comment: Duration::from_secs(20),
            whole_body: 64 << 10,
            collected_body: 16 << 20,
            // Sixteen of the largest at once: more than the people of one server send, and little beside its apps.
            bodies: 256 << 20,
            xml_body: 1 << 20,
            package: 1_288_490_189,
            backup: 64 << 30,
            window: 256 << 10,
            sockets_per_session: 64,
            streams_per_session: 128,
            uploads_per_session: 128,
            bytes_per_session: 64 << 20,
            wrong_tokens: 20,
            wrong_token_counts: Duration::from_secs(10),
            drain: Duration::from_secs(2),
        }
    }
}
