//! WebSocket messages out of the bytes a client sent, piece by piece.

use super::frame::{self, Frame, FrameError, Opcode};

/// What is not read yet, and the fragments of the message that has begun. Holds no memory between messages.
#[derive(Debug)]
pub(crate) struct Messages {
    /// The largest message, in bytes.
    max: usize,
    /// The beginning of a frame, or what was not to be read yet.
    kept: Vec<u8>,
    /// The kind of the message that is in fragments, and those that came.
    fragments: Option<(Opcode, Vec<u8>)>,
}

/// A whole message, or a control frame that concerns the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// To be answered with the same data.
    Ping(&'a [u8]),
    /// The client closes.
    Close,
}

impl Messages {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            max,
            kept: Vec::new(),
            fragments: None,
        }
    }

    /// Keeps bytes for the next call of [`read`](Self::read).
    pub(crate) fn keep(&mut self, input: &[u8]) {
        self.kept.extend_from_slice(input);
    }

    /// Gives each message of what was kept and of `input` to `on_message`, until that returns false; then the rest is kept.
    ///
    /// # Errors
    /// When the client breaks the protocol.
    pub(crate) fn read(
        &mut self,
        input: &mut [u8],
        mut on_message: impl FnMut(Message<'_>) -> bool,
    ) -> Result<(), FrameError> {
        if self.kept.is_empty() {
            let used = self.read_all(input, &mut on_message)?;
            if used < input.len() {
                self.kept.extend_from_slice(&input[used..]);
            }
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(input);
        let used = self.read_all(&mut kept, &mut on_message)?;
        if used < kept.len() {
            kept.drain(..used);
            self.kept = kept;
        }
        Ok(())
    }

    /// Returns how many bytes were read.
    fn read_all(
        &mut self,
        input: &mut [u8],
        on_message: &mut impl FnMut(Message<'_>) -> bool,
    ) -> Result<usize, FrameError> {
        let mut used = 0;
        loop {
            let held = self.fragments.as_ref().map_or(0, |(_, fragments)| fragments.len());
            let Some(frame) = frame::parse(&mut input[used..], self.max, held)? else {
                break;
            };
            used += frame.size;
            if !self.take(&frame, on_message)? {
                break;
            }
        }
        Ok(used)
    }

    /// Returns whether to go on.
    fn take(
        &mut self,
        frame: &Frame<'_>,
        on_message: &mut impl FnMut(Message<'_>) -> bool,
    ) -> Result<bool, FrameError> {
        match frame.opcode {
            Opcode::Ping => Ok(on_message(Message::Ping(frame.payload))),
            Opcode::Pong => Ok(true),
            Opcode::Close => {
                frame::check_close(frame.payload)?;
                on_message(Message::Close);
                Ok(false)
            }
            Opcode::Continuation => {
                let (kind, mut fragments) = self.fragments.take().ok_or(FrameError::Protocol)?;
                fragments.extend_from_slice(frame.payload);
                if frame.is_last {
                    return Ok(on_message(message(kind, &fragments)?));
                }
                self.fragments = Some((kind, fragments));
                Ok(true)
            }
            Opcode::Text | Opcode::Binary if self.fragments.is_some() => Err(FrameError::Protocol),
            Opcode::Text | Opcode::Binary if frame.is_last => Ok(on_message(message(frame.opcode, frame.payload)?)),
            Opcode::Text | Opcode::Binary => {
                self.fragments = Some((frame.opcode, frame.payload.to_vec()));
                Ok(true)
            }
        }
    }
}

fn message(kind: Opcode, payload: &[u8]) -> Result<Message<'_>, FrameError> {
    match kind {
        Opcode::Text => std::str::from_utf8(payload)
            .map(Message::Text)
            .map_err(|_| FrameError::NotText),
        _ => Ok(Message::Binary(payload)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame::write_header(Opcode::Text, payload.len(), &mut frame);
        frame[0] = first;
        frame[1] |= 0x80;
        frame.extend([9, 8, 7, 6]);
        frame.extend(
            payload
                .iter()
                .zip([9, 8, 7, 6].iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        frame
    }

    fn read(messages: &mut Messages, input: &[u8]) -> Result<Vec<String>, FrameError> {
        let mut texts = Vec::new();
        messages.read(&mut input.to_vec(), |message| {
            texts.push(format!("{message:?}"));
            true
        })?;
        Ok(texts)
    }

    #[test]
    fn fragments_become_one_message_with_control_frames_between() {
        let frames = [
            masked(0x01, b"he"),
            masked(0x89, b"p"),
            masked(0x00, b"l"),
            masked(0x80, b"lo"),
            masked(0x82, b"x"),
        ];
        let texts = read(&mut Messages::new(5), &frames.concat()).unwrap();
        assert_eq!(texts, ["Ping([112])", "Text(\"hello\")", "Binary([120])"]);
        for (wrong, error) in [
            (vec![masked(0x80, b"x")], FrameError::Protocol),
            (vec![masked(0x01, b"x"), masked(0x81, b"x")], FrameError::Protocol),
            (vec![masked(0x01, b"123"), masked(0x80, b"456")], FrameError::TooLarge),
            (vec![masked(0x81, b"\xff")], FrameError::NotText),
        ] {
            assert_eq!(read(&mut Messages::new(5), &wrong.concat()), Err(error));
        }
    }

    #[test]
    fn nothing_is_read_once_it_was_said_to_stop() {
        let mut messages = Messages::new(5);
        let mut input = [masked(0x81, b"a"), masked(0x81, b"b"), masked(0x81, b"c")].concat();
        let mut count = 0;
        messages
            .read(&mut input, |_| {
                count += 1;
                false
            })
            .unwrap();
        assert_eq!(count, 1);
        assert_eq!(read(&mut messages, b"").unwrap(), ["Text(\"b\")", "Text(\"c\")"]);
        assert_eq!(messages.kept.capacity(), 0);
        assert_eq!(
            read(&mut messages, &[masked(0x88, b""), masked(0x81, b"d")].concat()).unwrap(),
            ["Close"]
        );
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_bytes_are_cut(texts in prop::collection::vec("[a-zé]{0,200}", 1..6), cuts in prop::collection::vec(1usize..90, 1..9)) {
            let input: Vec<u8> = texts.iter().flat_map(|text| masked(0x81, text.as_bytes())).collect();
            let mut messages = Messages::new(1000);
            let mut found = Vec::new();
            let (mut rest, mut cuts) = (&input[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                found.extend(read(&mut messages, piece).unwrap());
                rest = more;
            }
            let expected: Vec<_> = texts.iter().map(|text| format!("Text({text:?})")).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(messages.kept.capacity(), 0);
        }
    }
}
