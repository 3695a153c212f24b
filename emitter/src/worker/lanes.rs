//! One after the other for one socket, at once for many.

use std::collections::HashMap;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Who is last in each lane.
#[derive(Debug, Default)]
pub(super) struct Lanes(HashMap<String, oneshot::Receiver<()>>);

/// A place in a lane; the next one's turn comes when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    before: Option<oneshot::Receiver<()>>,
    _gone: oneshot::Sender<()>,
}

/// Lanes that are kept before the empty ones are looked for.
const MIN_LANES: usize = 64;

impl Lanes {
    /// Takes the last place of a lane.
    pub(super) fn enter(&mut self, lane: &str) -> Place {
        if self.0.len() >= MIN_LANES && self.0.len() == self.0.capacity() {
            self.0
                .retain(|_, last| matches!(last.try_recv(), Err(TryRecvError::Empty)));
        }
        let (gone, last) = oneshot::channel();
        Place {
            before: self.0.insert(lane.to_owned(), last),
            _gone: gone,
        }
    }
}

impl Place {
    /// Returns when those before are gone.
    pub(super) async fn turn(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent; it ends when the one before does.
            let _ = before.await;
            self.before = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_lane_keeps_its_order_and_others_do_not_wait() {
        let mut lanes = Lanes::default();
        let (mut first, mut second, mut other) = (lanes.enter("a"), lanes.enter("a"), lanes.enter("b"));
        first.turn().await;
        other.turn().await;
        assert_eq!(second.turn().now_or_never(), None, "the first is not gone");
        let mut third = lanes.enter("a");
        drop(first);
        second.turn().await;
        assert_eq!(third.turn().now_or_never(), None, "the second is not gone");
        drop(second);
        third.turn().await;
    }

    #[test]
    fn empty_lanes_are_forgotten() {
        let mut lanes = Lanes::default();
        let kept = lanes.enter("kept");
        for number in 0..10_000 {
            drop(lanes.enter(&number.to_string()));
        }
        assert!(lanes.0.len() < 4 * MIN_LANES, "{} lanes", lanes.0.len());
        assert!(lanes.0.contains_key("kept"));
        drop(kept);
    }
}
