//! What the load generator and the bare limit know of WebSocket: a packet is one frame of text.

/// A frame of text (RFC 6455, section 5.6).
pub(crate) const TEXT: u8 = 1;
/// A frame that asks for a [`PONG`].
pub(crate) const PING: u8 = 9;
/// The answer to a [`PING`].
pub(crate) const PONG: u8 = 10;

/// Clients have to mask what they send. Not zero, since servers spare themselves the unmasking of that.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x99];

/// A whole frame at the start of what was read.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a mut [u8],
    /// Bytes of header and payload.
    pub(crate) length: usize,
}

/// The first frame of `bytes`, unmasked in place; `None` while it is not whole.
pub(crate) fn first(bytes: &mut [u8]) -> Option<Frame<'_>> {
    let &[opcode, length, ref rest @ ..] = &*bytes else {
        return None;
    };
    let masked = length & 0x80 != 0;
    let (extended, payload) = match (length & 0x7f, rest) {
        (126, &[a, b, ..]) => (2, u16::from_be_bytes([a, b]).into()),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (8, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (126 | 127, _) => return None,
        (short, _) => (0, short.into()),
    };
    let header = 2 + extended + if masked { MASK.len() } else { 0 };
    let length = header.checked_add(usize::try_from(payload).ok()?)?;
    let (header, payload) = bytes.get_mut(..length)?.split_at_mut(header);
    if masked && let Some(mask) = header.last_chunk::<4>() {
        apply(*mask, payload);
    }
    Some(Frame {
        opcode: opcode & 0x0f,
        payload,
        length,
    })
}

/// A frame of a client.
pub(crate) fn from_client(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), 0x80);
    frame.extend_from_slice(&MASK);
    let start = frame.len();
    frame.extend_from_slice(payload);
    apply(MASK, &mut frame[start..]);
    frame
}

/// A frame of text of a server.
pub(crate) fn from_server(text: &[u8]) -> Vec<u8> {
    let mut frame = header(TEXT, text.len(), 0);
    frame.extend_from_slice(text);
    frame
}

fn header(opcode: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut header = Vec::with_capacity(length + 14);
    header.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => header.push(masked | short),
        (_, Ok(medium)) => {
            header.push(masked | 126);
            header.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::{PONG, TEXT, first, from_client, from_server};

    #[test]
    fn frames_are_read_as_they_were_written() {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let frames = [(TEXT, from_server(&payload)), (PONG, from_client(PONG, &payload))];
            for (opcode, mut bytes) in frames {
                let whole = bytes.len();
                assert!(first(&mut bytes[..whole - 1]).is_none(), "{size}");
                bytes.push(0);
                let frame = first(&mut bytes).unwrap();
                assert_eq!((frame.opcode, frame.length), (opcode, whole));
                assert_eq!(*frame.payload, *payload);
            }
        }
    }
}
