//! Packets with binary attachments, put together from the messages they come in.

use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::packet::{Head, NotAPacket, Packet};
use crate::config::Limits;

/// What a packet may take to come together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AssemblyLimits {
    pub(crate) attachments: usize,
    /// Of all attachments together.
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

impl AssemblyLimits {
    pub(crate) const fn new(limits: &Limits) -> Self {
        Self {
            attachments: limits.attachments,
            bytes: limits.assembly_bytes,
            time: limits.assembly_time,
        }
    }
}

/// The packet of one client that waits for attachments, if one does.
#[derive(Debug, Default)]
pub(crate) struct Assembly(Option<Box<Pending>>);

#[derive(Debug)]
struct Pending {
    /// The packet's text.
    text: Box<str>,
    expected: usize,
    attachments: Vec<Bytes>,
    bytes: usize,
    since: Instant,
}

impl Assembly {
    /// Takes a text; `None` while attachments are to come.
    ///
    /// # Errors
    /// When it is no packet, another one is not complete, or it announces more than is allowed.
    pub(crate) fn text(&mut self, text: &str, limits: &AssemblyLimits) -> Result<Option<Packet>, NotAPacket> {
        let head = Head::parse(text)?;
        if self.0.is_some() || head.attachments > limits.attachments {
            return Err(NotAPacket);
        }
        if head.attachments == 0 {
            return head.packet(Vec::new()).map(Some);
        }
        // No client shall send attachments for nothing.
        serde_json::from_str::<IgnoredAny>(head.payload).map_err(|_| NotAPacket)?;
        self.0 = Some(Box::new(Pending {
            text: text.into(),
            expected: head.attachments,
            attachments: Vec::new(),
            bytes: 0,
            since: Instant::now(),
        }));
        Ok(None)
    }

    /// Takes an attachment.
    ///
    /// # Errors
    /// When none is expected, there is more than allowed, or the packet makes no sense with it.
    pub(crate) fn binary(&mut self, data: &[u8], limits: &AssemblyLimits) -> Result<Option<Packet>, NotAPacket> {
        let pending = self.0.as_mut().ok_or(NotAPacket)?;
        pending.bytes += data.len();
        if pending.bytes > limits.bytes {
            return Err(NotAPacket);
        }
        pending.attachments.push(Bytes::copy_from_slice(data));
        if pending.attachments.len() < pending.expected {
            return Ok(None);
        }
        let complete = self.0.take().ok_or(NotAPacket)?;
        Head::parse(&complete.text)?.packet(complete.attachments).map(Some)
    }

    /// Whether a packet has been waiting for too long.
    pub(crate) fn is_late(&self, limits: &AssemblyLimits) -> bool {
        self.0
            .as_ref()
            .is_some_and(|pending| pending.since.elapsed() >= limits.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AssemblyLimits = AssemblyLimits {
        attachments: 2,
        bytes: 4,
        time: Duration::from_secs(1),
    };

    #[test]
    fn placeholders_name_their_attachments_in_any_order() {
        let mut assembly = Assembly::default();
        let text = r#"52-["e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
        assert_eq!(assembly.text(text, &LIMITS), Ok(None));
        assert_eq!(assembly.binary(b"a", &LIMITS), Ok(None));
        let Ok(Some(Packet::Event { args, .. })) = assembly.binary(b"b", &LIMITS) else {
            panic!("an event")
        };
        assert_eq!(args.attachments(), [&b"a"[..], &b"b"[..]]);
        assert!(args.as_json().starts_with(r#"{"_placeholder":true,"num":1}"#));
        assert_eq!(
            assembly.text("2[\"next\"]", &LIMITS).map(|packet| packet.is_some()),
            Ok(true)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let begun = || {
            let mut assembly = Assembly::default();
            assembly
                .text(r#"51-["e",{"_placeholder":true,"num":0}]"#, &LIMITS)
                .unwrap();
            assembly
        };
        assert_eq!(Assembly::default().binary(b"a", &LIMITS), Err(NotAPacket));
        assert_eq!(begun().text("2[\"e\"]", &LIMITS), Err(NotAPacket));
        assert_eq!(begun().binary(b"12345", &LIMITS), Err(NotAPacket));
        assert_eq!(Assembly::default().text("53-[\"e\"]", &LIMITS), Err(NotAPacket));
        let mut wrong = Assembly::default();
        wrong
            .text(r#"51-["e",{"_placeholder":true,"num":1}]"#, &LIMITS)
            .unwrap();
        assert_eq!(wrong.binary(b"a", &LIMITS), Err(NotAPacket));
    }

    #[tokio::test(start_paused = true)]
    async fn a_packet_that_does_not_come_together_is_late() {
        let mut assembly = Assembly::default();
        assembly.text("51-[\"e\"]", &LIMITS).unwrap();
        assert!(!assembly.is_late(&LIMITS));
        tokio::time::advance(LIMITS.time).await;
        assert!(assembly.is_late(&LIMITS));
    }
}
