//! A bounded run of bytes from a capability that is written to, to whoever sends them on.
//!
//! One side is a `ByteStream` (or another streaming method) that an app writes to as fast as it likes; the other is
//! as slow as a browser wants to be. A write is acknowledged once the bytes held here fit the window again, so the
//! writer's flow control carries the reader's pace, and memory stays constant however long the stream is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use capnp::Error;
use percloud_schemas::util_capnp::byte_stream;

use crate::budget::Budget;

/// A writer that ignores flow control may hold this many windows here before its stream is broken.
const OVERRUN: usize = 16;
/// Largest piece that a writer who waited for its turn may write at once, in bytes: half of what a message can carry
/// (sheet 3.1). Some apps write a whole file at once. What a pipe's budget has no room for is refused all the same.
const LARGEST: usize = 32 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// All has been said.
    Done,
    /// The writer went away in the middle, or broke the rules.
    Broken,
}

#[derive(Debug)]
struct Shared {
    queue: VecDeque<Bytes>,
    held: usize,
    window: usize,
    written: u64,
    expected: Option<u64>,
    end: End,
    reader_gone: bool,
    reader: Option<Waker>,
    writers: Vec<Waker>,
    /// Pieces that wait for the budget.
    waiting: usize,
    #[cfg(test)]
    most_held: usize,
}

impl Shared {
    /// Why a piece may not be written now, if so.
    fn refusal(&self, length: usize) -> Option<Error> {
        if self.reader_gone {
            return Some(reader_gone());
        }
        if self.end != End::Open {
            return Some(Error::failed("this stream has ended".to_owned()));
        }
        let announced = |expected| self.written + length as u64 > expected;
        if self.expected.is_some_and(announced) {
            return Some(Error::failed(
                "more bytes than the size announced for this stream".to_owned(),
            ));
        }
        let overrun = self.window.saturating_mul(OVERRUN);
        let largest = overrun.max(LARGEST);
        if length > largest {
            return Some(Error::failed(format!(
                "a piece of {length} bytes, where this stream takes {largest} at once"
            )));
        }
        let waited = self.held <= self.window;
        if !waited && self.held.saturating_add(length) > overrun {
            return Some(Error::failed(
                "writing on without waiting for this stream to take what was written".to_owned(),
            ));
        }
        None
    }

    /// Refuses a piece that may not be written now; a writer that broke the rules has no second try.
    fn check(&mut self, length: usize) -> Result<(), Error> {
        let Some(refusal) = self.refusal(length) else {
            return Ok(());
        };
        if !self.reader_gone {
            self.break_off();
        }
        Err(refusal)
    }

    fn break_off(&mut self) {
        if self.end == End::Open {
            self.end = End::Broken;
            self.wake_reader();
        }
    }

    fn wake_later(&mut self, context: &Context<'_>) {
        if !self.writers.iter().any(|waker| waker.will_wake(context.waker())) {
            self.writers.push(context.waker().clone());
        }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writers(&mut self) {
        self.writers.drain(..).for_each(Waker::wake);
    }
}

fn reader_gone() -> Error {
    Error::disconnected("the reader of this stream has gone away".to_owned())
}

/// What a stream that was cut off says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream ended before it was done")]
pub(crate) struct CutOff;

/// Makes both ends of a pipe that holds about `window` bytes, all of which count towards `budget` if they are copied by
/// [`Writer::copy`].
pub(crate) fn pipe(window: usize, budget: Budget) -> (Writer, Reader) {
    let shared = Rc::new(RefCell::new(Shared {
        queue: VecDeque::new(),
        held: 0,
        window,
        written: 0,
        expected: None,
        end: End::Open,
        reader_gone: false,
        reader: None,
        writers: Vec::new(),
        waiting: 0,
        #[cfg(test)]
        most_held: 0,
    }));
    (Writer(shared.clone(), budget), Reader(shared))
}

/// The end that is written to. Dropping it before [`Writer::finish`] breaks the stream.
#[derive(Debug)]
pub(crate) struct Writer(Rc<RefCell<Shared>>, Budget);

impl Writer {
    /// Adds bytes, in the order of the calls.
    ///
    /// # Errors
    ///
    /// When the reader is gone, the stream has ended, more comes than was announced, the window was ignored, or the
    /// piece is too large.
    pub(crate) fn push(&self, bytes: Bytes) -> Result<(), Error> {
        let mut shared = self.0.borrow_mut();
        shared.check(bytes.len())?;
        if !bytes.is_empty() {
            shared.written += bytes.len() as u64;
            shared.held += bytes.len();
            #[cfg(test)]
            {
                shared.most_held = shared.most_held.max(shared.held);
            }
            shared.queue.push_back(bytes);
            shared.wake_reader();
        }
        Ok(())
    }

    /// Copies bytes that somebody not trusted wants to write, and adds them, once the budget has room for them. The
    /// original can be let go then, before [`Writer::room`] is waited for.
    ///
    /// # Errors
    ///
    /// As [`Writer::push`]; and when the reader goes away meanwhile.
    pub(crate) async fn copy(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.borrow_mut().check(bytes.len())?;
        if bytes.len() > self.1.total() {
            self.0.borrow_mut().break_off();
            return Err(Error::failed(format!(
                "a piece of {} bytes, where all streams together may hold {}",
                bytes.len(),
                self.1.total()
            )));
        }
        let _waiting = Waiting::new(&self.0);
        let copy = tokio::select! {
            biased;
            copy = self.1.copy(bytes) => copy,
            () = self.nobody_reads() => return Err(reader_gone()),
        };
        self.push(copy)
    }

    /// Waits until what is held fits the window.
    ///
    /// # Errors
    ///
    /// When the reader goes away meanwhile.
    pub(crate) async fn room(&self) -> Result<(), Error> {
        poll_fn(|context| {
            let mut shared = self.0.borrow_mut();
            if shared.reader_gone {
                Poll::Ready(Err(reader_gone()))
            } else if shared.held <= shared.window {
                Poll::Ready(Ok(()))
            } else {
                shared.wake_later(context);
                Poll::Pending
            }
        })
        .await
    }

    async fn nobody_reads(&self) {
        poll_fn(|context| {
            let mut shared = self.0.borrow_mut();
            if shared.reader_gone {
                return Poll::Ready(());
            }
            shared.wake_later(context);
            Poll::Pending
        })
        .await;
    }

    /// [`Writer::finish`], after the pieces that still wait for the budget: a writer may say that it is done without
    /// waiting for its last writes.
    pub(crate) async fn finish_in_turn(&self) {
        poll_fn(|context| {
            let mut shared = self.0.borrow_mut();
            if shared.waiting == 0 || shared.reader_gone {
                return Poll::Ready(());
            }
            shared.wake_later(context);
            Poll::Pending
        })
        .await;
        self.finish();
    }

    /// Whether nothing is waiting to be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.borrow().held == 0
    }

    /// Announces the size of the whole, in bytes. Counts only before the first byte, and once.
    pub(crate) fn expect(&self, size: u64) {
        let mut shared = self.0.borrow_mut();
        if shared.written == 0 && shared.expected.is_none() && shared.end == End::Open {
            shared.expected = Some(size);
            shared.wake_reader();
        }
    }

    /// Says that all has been written.
    pub(crate) fn finish(&self) {
        let mut shared = self.0.borrow_mut();
        if shared.end == End::Open {
            let short = shared.expected.is_some_and(|expected| shared.written < expected);
            shared.end = if short { End::Broken } else { End::Done };
            shared.wake_reader();
        }
    }
}

/// A piece that waits for the budget, until dropped.
struct Waiting<'writer>(&'writer RefCell<Shared>);

impl<'writer> Waiting<'writer> {
    fn new(shared: &'writer RefCell<Shared>) -> Self {
        shared.borrow_mut().waiting += 1;
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.waiting -= 1;
        shared.wake_writers();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.borrow_mut().break_off();
    }
}

/// The end that is read. Dropping it tells the writer that nobody listens any more.
#[derive(Debug)]
pub(crate) struct Reader(Rc<RefCell<Shared>>);

impl Reader {
    /// The next bytes; `None` when all has been read.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        let mut shared = self.0.borrow_mut();
        if let Some(bytes) = shared.queue.pop_front() {
            shared.held -= bytes.len();
            if shared.held <= shared.window {
                shared.wake_writers();
            }
            return Poll::Ready(Some(Ok(bytes)));
        }
        match shared.end {
            End::Done => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err(CutOff))),
            End::Open => {
                shared.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next bytes; `None` when all has been read.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, CutOff>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Waits for the first word: a size, bytes or an end.
    pub(crate) async fn first_word(&mut self) {
        poll_fn(|context| {
            let mut shared = self.0.borrow_mut();
            if shared.expected.is_some() || shared.written > 0 || shared.end != End::Open {
                Poll::Ready(())
            } else {
                shared.reader = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }

    /// Size of the whole, in bytes, where it is known: it was announced, or everything is here already.
    pub(crate) fn size(&self) -> Option<u64> {
        let shared = self.0.borrow();
        match shared.end {
            End::Done => Some(shared.written),
            _ => shared.expected,
        }
    }

    /// The most bytes ever held at once.
    #[cfg(test)]
    pub(crate) fn most_held(&self) -> usize {
        self.0.borrow().most_held
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.reader_gone = true;
        shared.queue.clear();
        shared.held = 0;
        shared.wake_writers();
    }
}

impl byte_stream::Server for Writer {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        self.copy(params.get()?.get_data()?).await?;
        // The message is not held for as long as a slow reader reads.
        drop(params);
        self.room().await
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        self.finish_in_turn().await;
        Ok(())
    }

    async fn expect_size(
        self: Rc<Self>,
        params: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Result<(), Error> {
        self.expect(params.get()?.get_size());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_write_waits_for_the_reader_and_order_is_kept() {
        let (writer, mut reader) = pipe(4, Budget::of(64 << 20));
        writer.push(Bytes::from_static(b"abc")).unwrap();
        assert!(
            writer.room().now_or_never().is_some(),
            "three bytes fit a window of four"
        );
        writer.push(Bytes::from_static(b"def")).unwrap();
        assert!(writer.room().now_or_never().is_none(), "six do not");
        assert_eq!(reader.next().now_or_never().flatten().unwrap().unwrap(), "abc");
        assert!(writer.room().now_or_never().is_some());
        writer.finish();
        assert_eq!(reader.next().now_or_never().flatten().unwrap().unwrap(), "def");
        assert_eq!(reader.next().now_or_never(), Some(None));
        assert_eq!(reader.most_held(), 6);
    }

    #[test]
    fn an_end_without_done_is_an_error() {
        let (writer, mut reader) = pipe(4, Budget::of(64 << 20));
        drop(writer);
        assert_eq!(reader.next().now_or_never(), Some(Some(Err(CutOff))));
    }

    #[test]
    fn the_announced_size_is_neither_passed_nor_missed() {
        let (writer, mut reader) = pipe(64, Budget::of(64 << 20));
        writer.expect(3);
        writer.expect(9);
        assert_eq!(reader.size(), Some(3));
        assert!(writer.push(Bytes::from_static(b"four")).is_err());
        assert_eq!(reader.next().now_or_never(), Some(Some(Err(CutOff))));

        let (writer, mut reader) = pipe(64, Budget::of(64 << 20));
        writer.expect(3);
        writer.push(Bytes::from_static(b"ab")).unwrap();
        writer.finish();
        assert!(reader.next().now_or_never().flatten().unwrap().is_ok());
        assert_eq!(reader.next().now_or_never(), Some(Some(Err(CutOff))));
    }

    #[test]
    fn a_writer_learns_that_nobody_reads() {
        let (writer, reader) = pipe(1, Budget::of(64 << 20));
        writer.push(Bytes::from_static(b"ab")).unwrap();
        drop(reader);
        assert!(writer.room().now_or_never().unwrap().is_err());
        assert!(writer.push(Bytes::from_static(b"c")).is_err());
    }

    #[test]
    fn ignoring_the_window_breaks_the_stream() {
        let (writer, _reader) = pipe(1024, Budget::of(64 << 20));
        let outcome = (0..64).try_for_each(|_| writer.push(Bytes::from(vec![0; 1024])));
        assert!(outcome.is_err());
    }
    #[test]
    fn a_piece_counts_before_it_is_taken() {
        let (writer, mut reader) = pipe(1024, Budget::of(64 << 20));
        let error = writer.push(Bytes::from(vec![0; LARGEST + 1])).unwrap_err();
        assert!(error.extra.contains("33554433 bytes"), "{error}");
        assert_eq!(
            reader.next().now_or_never(),
            Some(Some(Err(CutOff))),
            "nothing of it is held"
        );
        assert_eq!(reader.most_held(), 0);
        assert!(
            writer.push(Bytes::from_static(b"a")).is_err(),
            "there is no second try"
        );
    }

    #[test]
    fn a_large_piece_is_taken_from_a_writer_who_waited() {
        let (writer, mut reader) = pipe(1024, Budget::of(64 << 20));
        writer.push(Bytes::from(vec![0; LARGEST])).unwrap();
        assert!(writer.room().now_or_never().is_none());
        assert_eq!(
            reader.next().now_or_never().flatten().unwrap().unwrap().len(),
            LARGEST
        );
        assert!(writer.room().now_or_never().is_some());
        // And not from one who did not.
        writer.push(Bytes::from(vec![0; LARGEST])).unwrap();
        assert!(writer.push(Bytes::from_static(b"a")).is_err());
        assert_eq!(reader.most_held(), LARGEST);
    }

    #[test]
    fn streams_of_one_budget_wait_for_each_other() {
        let budget = Budget::of(4);
        let (first, mut first_reader) = pipe(4, budget.clone());
        let (second, mut second_reader) = pipe(4, budget.clone());
        first.copy(b"abc").now_or_never().unwrap().unwrap();
        let mut waiting = Box::pin(second.copy(b"de"));
        assert!(waiting.as_mut().now_or_never().is_none());
        let read = first_reader.next().now_or_never().flatten().unwrap();
        assert!(
            waiting.as_mut().now_or_never().is_none(),
            "what was read lies here until it is sent"
        );
        drop(read);
        waiting.now_or_never().unwrap().unwrap();
        assert_eq!(
            second_reader.next().now_or_never().flatten().unwrap().unwrap(),
            "de"
        );
    }

    #[test]
    fn a_stream_is_done_after_the_pieces_that_waited() {
        let budget = Budget::of(4);
        let (writer, mut reader) = pipe(4, budget.clone());
        let held = budget.copy(b"abcd").now_or_never().unwrap();
        let mut write = Box::pin(writer.copy(b"ef"));
        assert!(write.as_mut().now_or_never().is_none());
        let mut done = Box::pin(writer.finish_in_turn());
        assert!(done.as_mut().now_or_never().is_none());
        drop(held);
        write.as_mut().now_or_never().unwrap().unwrap();
        drop(write);
        done.now_or_never().unwrap();
        assert_eq!(reader.next().now_or_never().flatten().unwrap().unwrap(), "ef");
        assert_eq!(reader.next().now_or_never(), Some(None));
    }

    #[test]
    fn nobody_waits_for_a_budget_in_vain() {
        let budget = Budget::of(4);
        let (writer, reader) = pipe(4, budget.clone());
        let _held = budget.copy(b"abcd").now_or_never().unwrap();
        let mut waiting = Box::pin(writer.copy(b"e"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(reader);
        assert!(waiting.now_or_never().unwrap().is_err());
        let (writer, _reader) = pipe(4, budget);
        let error = writer.copy(b"abcde").now_or_never().unwrap().unwrap_err();
        assert!(error.extra.contains("may hold 4"), "{error}");
    }
}
