//! What the fuzz targets in `fuzz/` feed with bytes of their own. A target must not panic, whatever it is given.

use bytes::Bytes;
use hallporter_adapters::wire::{PythonWire, Wire};

use crate::config::Limits;
use crate::engine::messages::{Message, Messages};
use crate::engine::packet::Packet as EnginePacket;
use crate::engine::payload::{self, Item};
use crate::engine::{Protocol, frame};
use crate::socketio::assembly::{Assembly, AssemblyLimits};
use crate::socketio::msgpack;

/// WebSocket frames and messages, as a client sends them in pieces.
pub fn frames(data: &[u8]) {
    const MAX: usize = 4096;
    let _ = frame::parse(&mut data.to_vec(), MAX, 0);
    let mut messages = Messages::new(MAX);
    for piece in data.chunks(7) {
        let read = messages.read(&mut piece.to_vec(), |message| {
            if let Message::Text(text) = message {
                let _ = EnginePacket::parse(text);
            }
            data.len().is_multiple_of(2)
        });
        if read.is_err() {
            return;
        }
    }
}

/// Polling payloads of both protocols; what is read is written and read again.
pub fn payloads(data: &[u8]) {
    for (protocol, octets) in [(Protocol::V4, false), (Protocol::V3, false), (Protocol::V3, true)] {
        let Ok(items) = payload::decode(protocol, octets, data) else {
            continue;
        };
        let written = payload::encode(protocol, !octets, items.iter().cloned());
        let again = payload::decode(protocol, written.octets, &written.body);
        // A text may look like a binary packet, or hold what separates packets, only where the format was misread.
        let is_plain = items
            .iter()
            .all(|item| matches!(item, Item::Text(text) if !text.starts_with('b')));
        assert!(!is_plain || items.is_empty() || again == Ok(items), "{protocol:?}");
    }
}

/// Socket.IO packets, as JSON with attachments and as msgpack.
pub fn packets(data: &[u8]) {
    let limits = AssemblyLimits::new(&Limits::default());
    let mut assembly = Assembly::default();
    for line in data.split(|&byte| byte == b'\n') {
        let read = match std::str::from_utf8(line) {
            Ok(text) => assembly.text(text, &limits).map(drop),
            Err(_) => Ok(()),
        };
        if read.is_err() && assembly.binary(line, &limits).is_err() {
            assembly = Assembly::default();
        }
    }
    let _ = msgpack::decode(data);
    let _ = std::str::from_utf8(data).map(msgpack::decode_json);
}

/// Messages of python-socketio from the broker.
pub fn python_wire(data: &[u8]) {
    let _ = PythonWire::new("socketio").decode(Bytes::copy_from_slice(data));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Mutations of each seed: few enough for every run of the tests.
    const MUTATIONS: u64 = 400;

    /// Runs a target on its seeds, and on the same mutations of them each time.
    fn run(target: fn(&[u8]), name: &str) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut seeds: Vec<_> = std::fs::read_dir(&corpus)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{} is empty", corpus.display());
        for seed in seeds {
            let data = std::fs::read(&seed).unwrap();
            target(&data);
            for number in 0..MUTATIONS {
                target(&mutated(data.clone(), &mut StdRng::seed_from_u64(number)));
            }
        }
    }

    fn mutated(mut data: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..=data.len());
            match random.random_range(0..4) {
                0 => data.insert(at, random.random()),
                1 => data.truncate(at),
                2 => data.extend_from_within(..at),
                _ if at < data.len() => data[at] ^= 1 << random.random_range(0..8),
                _ => data.clear(),
            }
            data.truncate(1 << 16);
        }
        data
    }

    #[test]
    fn frames() {
        run(super::frames, "frames");
    }

    #[test]
    fn payloads() {
        run(super::payloads, "payloads");
    }

    #[test]
    fn packets() {
        run(super::packets, "packets");
    }

    #[test]
    fn python_wire() {
        run(super::python_wire, "python_wire");
    }
}
