//! What goes to clients: written once, shared by all who get it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Protocol;
use super::frame::{self, Opcode};
use super::payload::Item;

/// One or more Engine.IO packets that belong together. Cloning shares them.
///
/// They are kept as Engine.IO 4 has them on a WebSocket, frame headers included; polling takes the same bytes without the headers.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing(Arc<Written>);

#[derive(Debug)]
struct Written {
    frames: Bytes,
    /// Where in the frames the text packet stands; empty when there is none.
    text: Range<usize>,
    /// Where in the frames each binary message stands.
    binaries: Box<[Range<usize>]>,
    /// For Engine.IO 3, where a type stands before binary data.
    frames_v3: OnceLock<Bytes>,
}

impl Outgoing {
    /// A packet that is no message.
    pub(crate) fn packet(packet: &str) -> Self {
        Self::write(&[packet], &[])
    }

    /// A message, its text in parts, and the binary messages that follow it.
    pub(crate) fn message(parts: &[&str], binaries: &[Bytes]) -> Self {
        let mut packet: smallvec::SmallVec<[&str; 12]> = smallvec::smallvec!["4"];
        packet.extend_from_slice(parts);
        Self::write(&packet, binaries)
    }

    /// A binary message alone.
    pub(crate) fn binary(data: Bytes) -> Self {
        Self::write(&[], &[data])
    }

    /// A WebSocket control frame, which nothing but a WebSocket is sent.
    pub(crate) fn control(frame: Vec<u8>) -> Self {
        Self(Arc::new(Written {
            frames: frame.into(),
            text: 0..0,
            binaries: Box::default(),
            frames_v3: OnceLock::new(),
        }))
    }

    fn write(packet: &[&str], binaries: &[Bytes]) -> Self {
        let length: usize = packet.iter().map(|part| part.len()).sum();
        let framed = |length: usize| frame::header_size(length) + length;
        let size = binaries.iter().map(|data| framed(data.len())).sum::<usize>() + framed(length);
        let mut frames = Vec::with_capacity(size);
        let mut text = 0..0;
        if length > 0 {
            frame::write_header(Opcode::Text, length, &mut frames);
            let start = frames.len();
            packet.iter().for_each(|part| frames.extend_from_slice(part.as_bytes()));
            text = start..frames.len();
        }
        let binaries = binaries.iter().map(|data| {
            frame::write_header(Opcode::Binary, data.len(), &mut frames);
            let start = frames.len();
            frames.extend_from_slice(data);
            start..frames.len()
        });
        let binaries = binaries.collect();
        Self(Arc::new(Written {
            frames: frames.into(),
            text,
            binaries,
            frames_v3: OnceLock::new(),
        }))
    }

    /// The WebSocket frames.
    pub(crate) fn frames(&self, protocol: Protocol) -> &[u8] {
        let written = &*self.0;
        match protocol {
            Protocol::V3 if !written.binaries.is_empty() => written.frames_v3.get_or_init(|| written.typed()),
            _ => &written.frames,
        }
    }

    /// The packets of a polling payload.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item<'_>> + Clone {
        let written = &*self.0;
        // It was put there as text.
        let text = std::str::from_utf8(&written.frames[written.text.clone()]).unwrap_or_default();
        let binaries = written.binaries.iter();
        let binaries = binaries.map(|range| Item::Binary(written.frames[range.clone()].into()));
        (!text.is_empty())
            .then_some(Item::Text(text))
            .into_iter()
            .chain(binaries)
    }

    /// Its size in bytes, as a WebSocket has it.
    pub(crate) fn size(&self) -> usize {
        self.0.frames.len()
    }
}

impl Written {
    /// The frames, binary data with the type of a message before it.
    fn typed(&self) -> Bytes {
        let mut frames = self.frames[..self.text.end].to_vec();
        for range in &self.binaries {
            frame::write_header(Opcode::Binary, range.len() + 1, &mut frames);
            frames.push(4);
            frames.extend_from_slice(&self.frames[range.clone()]);
        }
        frames.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_frames_and_items() {
        let message = Outgoing::message(&["2", "[1]"], &[Bytes::from_static(b"ab")]);
        assert_eq!(message.frames(Protocol::V4), b"\x81\x0542[1]\x82\x02ab");
        assert_eq!(message.frames(Protocol::V3), b"\x81\x0542[1]\x82\x03\x04ab");
        let items: Vec<_> = message.items().collect();
        assert_eq!(items, [Item::Text("42[1]"), Item::Binary(b"ab".into())]);
        let binary = Outgoing::binary(Bytes::from_static(b"ab"));
        assert_eq!(binary.frames(Protocol::V4), b"\x82\x02ab");
        assert_eq!(binary.items().collect::<Vec<_>>(), [Item::Binary(b"ab".into())]);
    }
}
