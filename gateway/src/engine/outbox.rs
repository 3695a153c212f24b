//! What waits to be written to one client, and where it is written.

use std::io::{ErrorKind, IoSlice};

use smallvec::SmallVec;
use tokio::net::tcp::OwnedWriteHalf;

use super::Protocol;
use super::outgoing::Outgoing;

/// Frames given to the kernel in one call, at most.
const MAX_SLICES: usize = 128;

/// A burst is written before it is over once this many bytes wait.
const FLUSH_AT: usize = 64 * 1024;

/// The outgoing queue of a session. It is kept under the session's one lock, which nothing waits for a client with.
///
/// Everything goes through the queue, so packets leave in the order they came, whoever brought them: whoever brings the first one sees to it
/// that the queue is flushed soon, and all that came until then leaves in one write.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: SmallVec<[Outgoing; 2]>,
    /// Bytes in the queue that are not written yet.
    bytes: usize,
    /// Bytes of the queue's first entry that are written.
    written: usize,
    /// Somebody will flush.
    is_scheduled: bool,
    /// The kernel takes nothing more; the connection's own task flushes once it does.
    is_blocked: bool,
    /// More came than may wait.
    has_overflown: bool,
    sink: Sink,
}

/// Where packets leave.
#[derive(Debug)]
pub(crate) enum Sink {
    /// With the next answer to a poll.
    Polling {
        /// A poll waits for packets.
        is_waiting: bool,
        /// A WebSocket is being tried; polls do not wait.
        is_upgrading: bool,
    },
    /// At once.
    WebSocket(OwnedWriteHalf),
    /// What is queued leaves, then the connection ends.
    Ending(OwnedWriteHalf),
    /// Nowhere.
    Closed,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It will leave; the caller has to see to the flush.
    First,
    /// It will leave with others.
    Queued,
    /// It was volatile and the client cannot take it now.
    Dropped,
    /// The session is closed, or about to be.
    Closed,
}

/// How a flush ended.
#[derive(Debug)]
pub(crate) enum Flushed {
    /// Nothing waits.
    Done,
    /// The client is too slow: more came than may wait for it.
    Overflow,
    /// There is something for the poll that waits.
    Poll,
    /// The kernel took so many bytes and no more; the connection's task has to wait for it.
    Blocked(usize),
    /// The connection is broken.
    Broken,
}

impl Outbox {
    pub(crate) fn new(sink: Sink) -> Self {
        Self {
            queue: SmallVec::new(),
            bytes: 0,
            written: 0,
            is_scheduled: false,
            is_blocked: false,
            has_overflown: false,
            sink,
        }
    }

    pub(crate) const fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    pub(crate) const fn is_websocket(&self) -> bool {
        matches!(self.sink, Sink::WebSocket(_) | Sink::Ending(_))
    }

    /// Whether the connection's task has to wait for the kernel.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a packet; `limit` is what may wait, in bytes. A lone packet may be larger.
    pub(crate) fn push(&mut self, outgoing: &Outgoing, is_volatile: bool, limit: usize, protocol: Protocol) -> Pushed {
        let takes_volatile = match self.sink {
            Sink::Polling { is_waiting, .. } => is_waiting,
            Sink::WebSocket(_) => !self.is_blocked,
            Sink::Ending(_) | Sink::Closed => return Pushed::Closed,
        };
        if self.has_overflown {
            return Pushed::Closed;
        }
        if is_volatile && !takes_volatile {
            return Pushed::Dropped;
        }
        let size = outgoing.size();
        if self.bytes + size > FLUSH_AT && !self.is_blocked && self.is_websocket() {
            // A break is found again, and seen to, by the flush that is to come.
            let _ = self.write(protocol);
        }
        if self.bytes + size > limit && !self.queue.is_empty() {
            if is_volatile {
                return Pushed::Dropped;
            }
            // The flush closes the session: whoever pushes may be in the middle of something.
            self.has_overflown = true;
        } else {
            self.queue.push(outgoing.clone());
            self.bytes += size;
        }
        match std::mem::replace(&mut self.is_scheduled, true) {
            false => Pushed::First,
            true => Pushed::Queued,
        }
    }

    /// The caller will flush: until then packets only queue.
    pub(crate) const fn cork(&mut self) {
        self.is_scheduled = true;
    }

    /// Writes what waits, unless the kernel is known to take nothing.
    pub(crate) fn flush(&mut self, protocol: Protocol) -> Flushed {
        self.is_scheduled = false;
        match self.sink {
            Sink::Polling { .. } | Sink::WebSocket(_) if self.has_overflown => Flushed::Overflow,
            Sink::Polling { is_waiting, .. } if is_waiting && !self.queue.is_empty() => Flushed::Poll,
            Sink::WebSocket(_) | Sink::Ending(_) if self.is_blocked => Flushed::Blocked(0),
            Sink::WebSocket(_) | Sink::Ending(_) => self.write(protocol),
            Sink::Polling { .. } | Sink::Closed => Flushed::Done,
        }
    }

    /// The kernel takes something again.
    pub(crate) fn unblock(&mut self, protocol: Protocol) -> Flushed {
        self.is_blocked = false;
        self.write(protocol)
    }

    fn write(&mut self, protocol: Protocol) -> Flushed {
        let (Sink::WebSocket(stream) | Sink::Ending(stream)) = &self.sink else {
            return Flushed::Done;
        };
        let mut total = 0;
        while let Some(first) = self.queue.first() {
            let first = &first.frames(protocol)[self.written..];
            let written = match self.queue.len() {
                1 => stream.try_write(first),
                _ => {
                    let mut slices: SmallVec<[IoSlice<'_>; MAX_SLICES]> = SmallVec::new();
                    slices.push(IoSlice::new(first));
                    let rest = self.queue[1..].iter().take(MAX_SLICES - 1);
                    slices.extend(rest.map(|outgoing| IoSlice::new(outgoing.frames(protocol))));
                    stream.try_write_vectored(&slices)
                }
            };
            match written {
                Ok(0) => return Flushed::Broken,
                Ok(count) => {
                    total += count;
                    advance(&mut self.queue, &mut self.written, &mut self.bytes, count, protocol);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return Flushed::Blocked(total);
                }
                Err(_) => return Flushed::Broken,
            }
        }
        Flushed::Done
    }

    /// Takes all packets, for the answer to a poll.
    pub(crate) fn take(&mut self) -> SmallVec<[Outgoing; 2]> {
        self.is_scheduled = false;
        self.bytes = 0;
        std::mem::take(&mut self.queue)
    }

    /// From polling to a WebSocket. Returns false where that is not possible any more.
    pub(crate) fn upgrade(&mut self, stream: OwnedWriteHalf) -> bool {
        let is_polling = matches!(self.sink, Sink::Polling { .. });
        if is_polling {
            self.sink = Sink::WebSocket(stream);
        }
        is_polling
    }

    /// Closes it; `farewell` leaves last, where that is possible. Returns false when it was closed already.
    pub(crate) fn close(&mut self, farewell: Option<Outgoing>) -> bool {
        if matches!(self.sink, Sink::Ending(_) | Sink::Closed) {
            return false;
        }
        self.sink = match (std::mem::replace(&mut self.sink, Sink::Closed), farewell) {
            (Sink::WebSocket(stream), Some(farewell)) => {
                self.queue.push(farewell);
                Sink::Ending(stream)
            }
            (Sink::Polling { is_waiting: true, .. }, farewell) => {
                self.queue.extend(farewell);
                Sink::Closed
            }
            _ => {
                self.clear();
                Sink::Closed
            }
        };
        true
    }

    /// Gives up what waits, and the connection.
    pub(crate) fn clear(&mut self) {
        self.queue = SmallVec::new();
        self.bytes = 0;
        self.is_blocked = false;
        if self.is_websocket() {
            self.sink = Sink::Closed;
        }
    }
}

/// Takes `count` written bytes off the queue.
fn advance(
    queue: &mut SmallVec<[Outgoing; 2]>,
    written: &mut usize,
    bytes: &mut usize,
    count: usize,
    protocol: Protocol,
) {
    let mut left = *written + count;
    let mut done = 0;
    while let Some(outgoing) = queue.get(done) {
        let length = outgoing.frames(protocol).len();
        if left < length {
            break;
        }
        left -= length;
        *bytes = bytes.saturating_sub(outgoing.size());
        done += 1;
    }
    *written = left;
    if done == queue.len() {
        // An idle client keeps no buffer.
        *queue = SmallVec::new();
        *bytes = 0;
    } else {
        queue.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_kernel_takes_the_rest_stays(
            texts in prop::collection::vec("[a-z]{1,9}", 1..8),
            counts in prop::collection::vec(1usize..12, 0..40),
        ) {
            let all: Vec<_> = texts.iter().map(|text| Outgoing::message(&[text], &[])).collect();
            let expected: Vec<u8> = all.iter().flat_map(|outgoing| outgoing.frames(Protocol::V4).to_vec()).collect();
            let mut queue = SmallVec::from_vec(all);
            let (mut written, mut bytes, mut total) = (0, expected.len(), 0);
            for count in counts {
                let count = count.min(expected.len() - total);
                advance(&mut queue, &mut written, &mut bytes, count, Protocol::V4);
                total += count;
                let rest: Vec<u8> = queue.iter().flat_map(|outgoing| outgoing.frames(Protocol::V4).to_vec()).collect();
                prop_assert_eq!(&rest[written..], &expected[total..]);
            }
        }
    }
}
