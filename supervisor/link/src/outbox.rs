//! Messages on their way out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use capnp::message::{Builder, HeapAllocator};

use super::passing::Passed;
use super::repeated::Letter;
use super::socket::Socket;

/// Pieces handed to the kernel in one call.
const SLICES: usize = 64;

/// Counts bytes that wait to be sent, over one connection or several.
#[derive(Default)]
pub struct Gauge {
    bytes: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
    /// Counts these bytes too.
    whole: Option<Rc<Gauge>>,
}

impl Gauge {
    /// Counts a part of what `whole` counts.
    #[must_use]
    pub fn within(whole: &Rc<Self>) -> Self {
        Self {
            whole: Some(Rc::clone(whole)),
            ..Self::default()
        }
    }

    /// How many wait now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Ready when at most `limit` bytes wait.
    pub(crate) fn poll_below(&self, limit: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes.get() <= limit {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
        if let Some(whole) = &self.whole {
            whole.add(bytes);
        }
    }

    fn sub(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() - bytes);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
        if let Some(whole) = &self.whole {
            whole.sub(bytes);
        }
    }
}

/// The queue of one connection.
pub(super) struct Outbox {
    queue: RefCell<VecDeque<Parcel>>,
    /// Bytes of the first message that are out already.
    written: Cell<usize>,
    bytes: Cell<usize>,
    gauge: Rc<Gauge>,
    state: Cell<State>,
    /// Who sends, while that is asleep.
    sender: Cell<Option<Waker>>,
    /// Who waits for the end.
    driver: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What the socket takes at once is still sent, then no more.
    Closing,
    /// A write failed; what is queued will never leave.
    Dead,
}

impl Outbox {
    pub(super) fn new(gauge: Rc<Gauge>) -> Self {
        Self {
            queue: RefCell::default(),
            written: Cell::new(0),
            bytes: Cell::new(0),
            gauge,
            state: Cell::new(State::Open),
            sender: Cell::new(None),
            driver: Cell::new(None),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state.get() == State::Dead
    }

    pub(super) fn push(&self, message: Rc<Builder<HeapAllocator>>) {
        self.add(|| Parcel::new(message));
    }

    /// Sends a message whose body is as it came in.
    pub(super) fn pass(&self, message: Passed) {
        self.add(|| Parcel {
            bytes: message.bytes(),
            contents: Contents::Passed(message),
        });
    }

    /// Sends a call that shares words with others.
    pub(super) fn repeat(&self, letter: Letter) {
        self.add(|| Parcel {
            bytes: letter.bytes(),
            contents: Contents::Repeated(letter),
        });
    }

    fn add(&self, parcel: impl FnOnce() -> Parcel) {
        if self.state.get() != State::Open && self.state.get() != State::Closing {
            return;
        }
        let parcel = parcel();
        self.bytes.set(self.bytes.get() + parcel.bytes);
        self.gauge.add(parcel.bytes);
        self.queue.borrow_mut().push_back(parcel);
        self.wake();
    }

    /// Ends the connection, also one on which a write has failed: whoever drives it is waiting to be told.
    pub(super) fn close(&self) {
        self.state.set(State::Closing);
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Ready once the connection was closed.
    pub(super) fn poll_closing(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.state.get() == State::Closing {
            return Poll::Ready(());
        }
        self.driver.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// From now on nobody is woken to send: [`Outbox::send`] will be called.
    pub(super) fn hold(&self) {
        self.sender.take();
    }

    /// Sends what is queued, as far as the socket takes it, and arranges to be woken when there is more to do.
    pub(super) fn send(&self, socket: &Socket, context: &mut Context<'_>) {
        self.sender.replace(Some(context.waker().clone()));
        if self.state.get() != State::Dead {
            self.flush(socket, context);
        }
    }

    fn flush(&self, socket: &Socket, context: &mut Context<'_>) {
        loop {
            let sent = {
                let queue = self.queue.borrow();
                if queue.is_empty() {
                    return;
                }
                let mut slices = Vec::with_capacity(SLICES);
                gather(&queue, self.written.get(), &mut slices);
                socket.poll_write(&slices, context)
            };
            match sent {
                Poll::Pending => return,
                Poll::Ready(Ok(count)) => self.advance(count),
                Poll::Ready(Err(_)) => {
                    if self.state.get() == State::Open {
                        self.state.set(State::Dead);
                    }
                    self.abandon();
                    return;
                }
            }
        }
    }

    fn advance(&self, count: usize) {
        self.bytes.set(self.bytes.get() - count);
        let mut written = self.written.get() + count;
        let mut queue = self.queue.borrow_mut();
        while let Some(first) = queue.front()
            && written >= first.bytes
        {
            written -= first.bytes;
            queue.pop_front();
        }
        self.written.set(written);
        drop(queue);
        self.gauge.sub(count);
    }

    /// Forgets what has not been sent.
    pub(super) fn abandon(&self) {
        self.queue.borrow_mut().clear();
        self.written.set(0);
        self.gauge.sub(self.bytes.replace(0));
    }

    fn wake(&self) {
        let sender = self.sender.take();
        if let Some(sender) = sender {
            sender.wake();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A message with the table of its segments in front (Cap'n Proto stream framing).
struct Parcel {
    contents: Contents,
    bytes: usize,
}

enum Contents {
    Built(Table, Rc<Builder<HeapAllocator>>),
    Passed(Passed),
    Repeated(Letter),
}

impl Parcel {
    fn new(message: Rc<Builder<HeapAllocator>>) -> Self {
        let (table, words) = {
            let segments = message.get_segments_for_output();
            (
                Table::new(&segments),
                segments.iter().map(|segment| segment.len()).sum::<usize>(),
            )
        };
        Self {
            bytes: table.bytes().len() + words,
            contents: Contents::Built(table, message),
        }
    }
}

/// The segment table; short ones need no memory of their own.
enum Table {
    Short([u8; 8]),
    Long(Vec<u8>),
}

impl Table {
    fn new(segments: &[&[u8]]) -> Self {
        let count = |number: usize| {
            u32::try_from(number)
                .expect("segments are counted and measured in 32 bits")
                .to_le_bytes()
        };
        let words = |segment: &[u8]| count(segment.len() / 8);
        if let [segment] = segments {
            let mut table = [0; 8];
            table[4..].copy_from_slice(&words(segment));
            return Self::Short(table);
        }
        let mut table = Vec::with_capacity(4 * segments.len() + 8);
        table.extend(count(segments.len() - 1));
        segments.iter().for_each(|segment| table.extend(words(segment)));
        table.resize(table.len().next_multiple_of(8), 0);
        Self::Long(table)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(table) => table,
            Self::Long(table) => table,
        }
    }
}

/// The next pieces to send, after `skip` bytes of the first message.
fn gather<'queue>(queue: &'queue VecDeque<Parcel>, mut skip: usize, slices: &mut Vec<IoSlice<'queue>>) {
    let mut piece = |bytes: &'queue [u8], slices: &mut Vec<IoSlice<'queue>>| {
        let start = skip.min(bytes.len());
        skip -= start;
        if start < bytes.len() {
            slices.push(IoSlice::new(&bytes[start..]));
        }
        slices.len() < SLICES
    };
    for parcel in queue {
        let is_all = match &parcel.contents {
            Contents::Built(table, message) => {
                let segments = message.get_segments_for_output();
                piece(table.bytes(), slices) && segments.iter().all(|segment| piece(segment, slices))
            }
            Contents::Passed(message) => message.pieces().iter().all(|part| piece(part, slices)),
            Contents::Repeated(letter) => letter.pieces().iter().all(|part| piece(part, slices)),
        };
        if !is_all {
            return;
        }
    }
}
