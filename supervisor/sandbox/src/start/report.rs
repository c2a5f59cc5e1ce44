//! What the new process tells the host before it becomes the app.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::cgroup;
use crate::error::Step;
use crate::sys::Errno;

/// One message: a datagram of six bytes, a tag and what belongs to it.
pub(super) enum Report {
    /// Everything that is the same for every app is in place; what this app is comes next.
    Prepared,
    /// Everything is in place; the next thing is exec. Carries the seccomp listener, if there is one.
    Ready,
    /// The sandbox differs from what was asked, harmlessly.
    Warning(Warning),
    /// A step failed.
    Failed(Step, Errno),
}

/// What a sandbox can be without.
#[derive(Clone, Copy)]
pub(super) enum Warning {
    NoLandlock,
    VarIsNoDirectory,
    TmpIsNoDirectory,
    DevIsNoDirectory,
    NoNamespaceLimit,
}

impl Warning {
    pub(super) const ALL: [Self; 5] = [
        Self::NoLandlock,
        Self::VarIsNoDirectory,
        Self::TmpIsNoDirectory,
        Self::DevIsNoDirectory,
        Self::NoNamespaceLimit,
    ];
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoLandlock => "started without Landlock, as allowed by the person running this server",
            Self::VarIsNoDirectory => "the package's /var is not a directory: the grain has no storage",
            Self::TmpIsNoDirectory => "the package's /tmp is not a directory: there are no temporary files",
            Self::DevIsNoDirectory => "the package's /dev is not a directory: there are no devices",
            Self::NoNamespaceLimit => {
                "the kernel has no limit on namespaces to set; the call filter stands alone"
            }
        })
    }
}

const PREPARED: u8 = b'P';
const READY: u8 = b'R';
const WARNING: u8 = b'W';
const FAILED: u8 = b'F';

/// What the host tells the new process: a datagram of one byte, and descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    /// The id maps are written.
    Ids = b'I',
    /// The control group is made. With the doors of one of version 1.
    Group = b'C',
    /// The order lies ready. With the mounts of package and storage, where the host detaches them.
    Go = b'G',
}

/// Most descriptors in one message: the doors of a control group.
const MOST: usize = cgroup::HIERARCHIES;

/// Host: says a word, and hands over descriptors. Quiet, as [`crate::sys::start_beside`] asks.
pub(super) fn tell<'fd>(
    socket: BorrowedFd<'_>,
    word: Word,
    fds: impl IntoIterator<Item = BorrowedFd<'fd>>,
) -> Result<(), Errno> {
    let mut handed = [socket; MOST];
    let mut count = 0;
    for fd in fds {
        *handed.get_mut(count).ok_or(Errno::TOOBIG)? = fd;
        count += 1;
    }
    transmit(socket, &[word as u8], &handed[..count])
}

/// New process: waits for the next [`tell`]. `None`: the host is gone.
pub(super) fn await_word(socket: BorrowedFd<'_>) -> Result<Option<(Word, Vec<OwnedFd>)>, Errno> {
    let mut byte = [0];
    let (length, fds) = collect(socket, &mut byte)?;
    let known = [Word::Ids, Word::Group, Word::Go];
    match known.into_iter().find(|word| *word as u8 == byte[0]) {
        Some(word) if length == 1 => Ok(Some((word, fds))),
        None if length > 0 => Err(Errno::BADMSG),
        _ => Ok(None),
    }
}

/// New process: whether the host's end is still open.
pub(super) fn host_lives(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    poll(
        &mut polled,
        Some(&rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    )?;
    Ok(!polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// New process: sends one report.
pub(super) fn send(socket: BorrowedFd<'_>, report: &Report, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let (tag, detail, errno) = match report {
        Report::Prepared => (PREPARED, 0, 0),
        Report::Ready => (READY, 0, 0),
        Report::Warning(warning) => (WARNING, *warning as u8, 0),
        Report::Failed(step, errno) => (FAILED, *step as u8, errno.raw_os_error()),
    };
    let mut bytes = [tag, detail, 0, 0, 0, 0];
    bytes[2..].copy_from_slice(&errno.to_le_bytes());
    transmit(socket, &bytes, fd.as_slice())
}

fn transmit(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map(|_| ())
}

/// Waits for one datagram; returns its length (0: the other end has closed) and its descriptors.
fn collect(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags) {
            Ok(received)
                if received
                    .flags
                    .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) =>
            {
                return Err(Errno::MSGSIZE);
            }
            Ok(received) => {
                let mut fds = Vec::new();
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(more) = message {
                        fds.extend(more);
                    }
                }
                return Ok((received.bytes, fds));
            }
            // Told once when the other end closes and has not read all we said: what it said itself still waits here.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Host: waits for the next report, and the descriptor that came with it. `None`: the other end has closed.
pub(super) fn receive(socket: BorrowedFd<'_>) -> Result<(Option<Report>, Option<OwnedFd>), Errno> {
    let mut bytes = [0; 6];
    let (length, fds) = collect(socket, &mut bytes)?;
    if length == 0 {
        return Ok((None, None));
    }
    let [tag, detail, e0, e1, e2, e3] = bytes;
    let report = match tag {
        PREPARED => Some(Report::Prepared),
        READY => Some(Report::Ready),
        WARNING => Warning::ALL
            .get(usize::from(detail))
            .map(|&warning| Report::Warning(warning)),
        FAILED => Step::from_byte(detail).map(|step| {
            Report::Failed(
                step,
                Errno::from_raw_os_error(i32::from_le_bytes([e0, e1, e2, e3])),
            )
        }),
        _ => None,
    };
    match report {
        Some(report) if length == bytes.len() => Ok((Some(report), fds.into_iter().next())),
        _ => Err(Errno::BADMSG),
    }
}

/// Keeps the borrow of a descriptor out of the callers' way.
pub(super) fn warn(socket: &impl AsFd, warning: Warning) -> Result<(), Errno> {
    send(socket.as_fd(), &Report::Warning(warning), None)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn the_last_words_of_one_that_did_not_listen_are_heard() {
        let pair = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        );
        let (host, app) = pair.unwrap();
        tell(host.as_fd(), Word::Ids, []).unwrap();
        send(app.as_fd(), &Report::Failed(Step::Namespaces, Errno::NOSPC), None).unwrap();
        drop(app);
        let (heard, _) = receive(host.as_fd()).unwrap();
        assert!(matches!(
            heard,
            Some(Report::Failed(Step::Namespaces, Errno::NOSPC))
        ));
        assert!(receive(host.as_fd()).unwrap().0.is_none());
    }
}
