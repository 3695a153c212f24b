//! WebSocket frames (RFC 6455, section 5.2), well-formed or not.

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with a fragmented message.
    Continuation = 0,
    /// Text.
    Text = 1,
    /// Binary data.
    Binary = 2,
    /// The first of the reserved numbers.
    Reserved = 3,
    /// Close.
    Close = 8,
    /// Ping.
    Ping = 9,
    /// Pong.
    Pong = 10,
}

impl Opcode {
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        let known = [Continuation, Text, Binary, Close, Ping, Pong];
        known.into_iter().find(|&opcode| opcode as u8 == bits)
    }
}

/// A frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub last: bool,
    /// The three reserved bits, as in the first byte.
    pub reserved: u8,
    /// What it is.
    pub opcode: Opcode,
    /// The payload.
    pub payload: Vec<u8>,
}

/// The masking key of all frames; RFC 6455 wants it unpredictable, which is of no use here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl Frame {
    /// A whole message, or a control frame.
    #[must_use]
    pub fn new(opcode: Opcode, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            last: true,
            reserved: 0,
            opcode,
            payload: payload.into(),
        }
    }

    /// A close frame with this code and no reason.
    #[must_use]
    pub fn close(code: u16) -> Self {
        Self::new(Opcode::Close, code.to_be_bytes())
    }

    /// The same, to be continued.
    #[must_use]
    pub fn unfinished(self) -> Self {
        Self { last: false, ..self }
    }

    /// The same, with reserved bits.
    #[must_use]
    pub fn reserved(self, reserved: u8) -> Self {
        Self { reserved, ..self }
    }

    /// As a client writes it: masked, the length in as few bytes as possible.
    #[must_use]
    pub fn masked(&self) -> Vec<u8> {
        let mut bytes = self.header(0x80);
        bytes.extend_from_slice(&MASK);
        let masked = self.payload.iter().zip(MASK.iter().cycle());
        bytes.extend(masked.map(|(byte, key)| byte ^ key));
        bytes
    }

    /// As a server writes it, and a client must not.
    #[must_use]
    pub fn unmasked(&self) -> Vec<u8> {
        let mut bytes = self.header(0);
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The code and the reason of a close frame that has them.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk()?;
        (self.opcode == Opcode::Close).then(|| u16::from_be_bytes(*code))
    }

    fn header(&self, mask: u8) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.last) << 7 | self.reserved | self.opcode as u8];
        match self.payload.len() {
            length @ 0..126 => bytes.push(mask | length as u8),
            length @ 126..0x1_0000 => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes
    }
}
