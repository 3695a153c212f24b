//! WebSocket frames (RFC 6455, section 5), as a server reads and writes them.
//!
//! A client's frame is unmasked where it lies. Nothing here owns a buffer or knows a socket.

/// What a frame is (RFC 6455, section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The client closes.
    Close = 8,
    /// To be answered by a pong with the same data.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

impl Opcode {
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Control frames are short, whole, and may stand between the fragments of a message.
    const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// One frame of a client, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: Opcode,
    /// Whether it is the last fragment of its message.
    pub(crate) is_last: bool,
    pub(crate) payload: &'a [u8],
    /// How many bytes of the input it took, header included.
    pub(crate) size: usize,
}

/// Why a client's bytes are no frames.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// Reserved bits or opcodes, no mask, a control frame that is long or fragmented, fragments out of order, a bad close.
    #[error("not a WebSocket frame a client may send")]
    Protocol,
    /// A text that is not UTF-8.
    #[error("a text that is not UTF-8")]
    NotText,
    /// More than `engine.max_payload`.
    #[error("larger than engine.max_payload")]
    TooLarge,
}

impl FrameError {
    /// The status code that tells the client (RFC 6455, section 7.4.1).
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// The longest payload of a control frame.
const MAX_CONTROL: usize = 125;

/// Reads the first frame of `input`, unmasking it there; `None` while it is incomplete. `held` is the size of the fragments that came before.
///
/// # Errors
/// When the client breaks the protocol or the message becomes longer than `max` bytes; known as soon as the header is there.
pub(crate) fn parse(input: &mut [u8], max: usize, held: usize) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(header) = Header::parse(input, max, held)? else {
        return Ok(None);
    };
    let size = header.size + header.length;
    let Some(payload) = input.get_mut(header.size..size) else {
        return Ok(None);
    };
    unmask(payload, header.mask);
    Ok(Some(Frame {
        opcode: header.opcode,
        is_last: header.is_last,
        payload,
        size,
    }))
}

struct Header {
    opcode: Opcode,
    is_last: bool,
    mask: [u8; 4],
    length: usize,
    size: usize,
}

impl Header {
    fn parse(input: &[u8], max: usize, held: usize) -> Result<Option<Self>, FrameError> {
        let &[first, second, ref rest @ ..] = input else {
            return Ok(None);
        };
        let opcode = Opcode::of(first).filter(|_| first & 0x70 == 0);
        let opcode = opcode.filter(|_| second & 0x80 != 0).ok_or(FrameError::Protocol)?;
        let is_last = first & 0x80 != 0;
        let (length, extra) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(&bytes) => (u64::from(u16::from_be_bytes(bytes)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(&bytes) => (u64::from_be_bytes(bytes), 8),
                None => return Ok(None),
            },
            length => (u64::from(length), 0),
        };
        if opcode.is_control() && (length > MAX_CONTROL as u64 || !is_last) {
            return Err(FrameError::Protocol);
        }
        let max = match opcode {
            Opcode::Continuation => max.saturating_sub(held),
            Opcode::Text | Opcode::Binary => max,
            Opcode::Close | Opcode::Ping | Opcode::Pong => MAX_CONTROL,
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= max);
        let length = length.ok_or(FrameError::TooLarge)?;
        Ok(rest[extra..].first_chunk().map(|&mask| Self {
            opcode,
            is_last,
            mask,
            length,
            size: 2 + extra + 4,
        }))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Whether a close frame's payload is one (RFC 6455, section 5.5.1).
pub(crate) fn check_close(payload: &[u8]) -> Result<(), FrameError> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Protocol)
        };
    };
    if !matches!(u16::from_be_bytes(code), 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::Protocol);
    }
    std::str::from_utf8(reason).map(drop).map_err(|_| FrameError::NotText)
}

/// Writes the header of an unfragmented, unmasked frame.
pub(crate) fn write_header(opcode: Opcode, length: usize, output: &mut Vec<u8>) {
    output.push(0x80 | opcode as u8);
    match length {
        0..=125 => output.push(length as u8),
        126..=0xffff => {
            output.push(126);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            output.push(127);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// How many bytes [`write_header`] writes.
pub(crate) const fn header_size(length: usize) -> usize {
    match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// A close frame with a status code.
pub(crate) fn close(code: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4);
    write_header(Opcode::Close, 2, &mut frame);
    frame.extend_from_slice(&code.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame as OtherFrame, FrameHeader};

    use super::*;

    /// A client's frame as tungstenite writes it.
    fn masked(opcode: OpCode, is_last: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = OtherFrame::message(payload.to_vec(), opcode, is_last);
        frame.header_mut().mask = Some([1, 0x82, 3, 0xf4]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn error(mut bytes: Vec<u8>) -> FrameError {
        parse(&mut bytes, 1000, 0).unwrap_err()
    }

    proptest! {
        #[test]
        fn what_tungstenite_writes_is_read(payload: Vec<u8>, more: Vec<u8>, is_last: bool, text: bool) {
            let (opcode, data) = if text { (Opcode::Text, Data::Text) } else { (Opcode::Binary, Data::Binary) };
            let mut bytes = masked(OpCode::Data(data), is_last, &payload);
            let size = bytes.len();
            for cut in 0..size.min(20) {
                prop_assert_eq!(parse(&mut bytes[..cut], 1 << 20, 0), Ok(None));
            }
            bytes.extend(more);
            let frame = Frame { opcode, is_last, payload: &payload, size };
            prop_assert_eq!(parse(&mut bytes, 1 << 20, 0), Ok(Some(frame)));
        }

        #[test]
        fn tungstenite_reads_what_is_written(length in prop_oneof![0usize..300, 65_530usize..65_540, Just(1 << 20)]) {
            let mut bytes = Vec::new();
            write_header(Opcode::Binary, length, &mut bytes);
            prop_assert_eq!(bytes.len(), header_size(length));
            let (header, read) = FrameHeader::parse(&mut std::io::Cursor::new(&bytes)).unwrap().unwrap();
            prop_assert_eq!((read, header.opcode, header.is_final), (length as u64, OpCode::Data(Data::Binary), true));
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(mut bytes: Vec<u8>, max in 0usize..200, held in 0usize..200) {
            let length = bytes.len();
            if let Ok(Some(frame)) = parse(&mut bytes, max, held) {
                prop_assert!(frame.size <= length && frame.payload.len() <= max.max(MAX_CONTROL));
            }
        }
    }

    #[test]
    fn breaches_of_the_protocol_are_found() {
        let mut long_ping = masked(OpCode::Data(Data::Text), true, &[0; 126]);
        long_ping[0] = 0x89;
        assert_eq!(error(long_ping), FrameError::Protocol);
        let mut fragmented_ping = masked(OpCode::Data(Data::Text), false, b"");
        fragmented_ping[0] = 0x09;
        assert_eq!(error(fragmented_ping), FrameError::Protocol);
        let text = masked(OpCode::Data(Data::Text), true, b"x");
        for (byte, bit) in [(0, 0x40), (0, 0x20), (0, 0x10), (1, 0x80), (0, 0x04)] {
            let mut wrong = text.clone();
            wrong[byte] ^= bit;
            assert_eq!(error(wrong), FrameError::Protocol, "{byte} {bit}");
        }
        assert_eq!(
            error(masked(OpCode::Data(Data::Text), true, &[b'x'; 1001])),
            FrameError::TooLarge
        );
        // The length alone tells.
        assert_eq!(error(vec![0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]), FrameError::TooLarge);
        assert!(
            parse(&mut masked(OpCode::Data(Data::Text), true, &[b'x'; 1000]), 1000, 0)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_close_has_a_code_a_reason_or_nothing() {
        for (payload, fine) in [
            (&b""[..], true),
            (&b"\x03\xe8"[..], true),
            (&b"\x03\xe8bye"[..], true),
            (&b"\x0b\xb8"[..], true),
            (&b"\x03"[..], false),
            (&b"\x03\xe7"[..], false),
            (&b"\x03\xed"[..], false),
            (&b"\x03\xe8\xff"[..], false),
        ] {
            assert_eq!(check_close(payload).is_ok(), fine, "{payload:?}");
        }
        assert_eq!(close(1009), b"\x88\x02\x03\xf1");
    }
}
