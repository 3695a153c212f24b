//! What a taker has in hand: so much and no more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The messages that a taker has taken and not settled, by what the broker calls them.
#[derive(Debug)]
pub(super) struct Hands<I> {
    size: u32,
    room: Arc<Semaphore>,
    held: Mutex<BTreeSet<I>>,
}

impl<I: Clone + Ord> Hands<I> {
    /// For so many messages at once, at least one.
    pub(super) fn new(in_hand: usize) -> Arc<Self> {
        let size = in_hand.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Arc::new(Self {
            size: u32::try_from(size).unwrap_or(u32::MAX),
            room: Arc::new(Semaphore::new(size)),
            held: Mutex::default(),
        })
    }

    /// How many messages may be in hand at once.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// All the room there is, once it is this much. It is given back when it is dropped.
    pub(super) async fn room(&self, least: u32) -> Option<OwnedSemaphorePermit> {
        // Never closed, so never an error.
        let mut room = self.room.clone().acquire_many_owned(least).await.ok()?;
        let more = u32::try_from(self.room.available_permits()).unwrap_or(u32::MAX);
        if let Ok(more) = self.room.clone().try_acquire_many_owned(more) {
            room.merge(more);
        }
        Some(room)
    }

    /// Returns when everything has been settled.
    pub(super) async fn empty(&self) {
        let _ = self.room.acquire_many(self.size).await;
    }

    /// Takes a message into hand, unless it is there already or `room` has no place.
    pub(super) fn hold(self: &Arc<Self>, id: I, room: &mut OwnedSemaphorePermit) -> Option<Grip<I>> {
        let mut held = self.held();
        if held.contains(&id) {
            return None;
        }
        let place = room.split(1)?;
        held.insert(id.clone());
        Some(Grip {
            hands: self.clone(),
            id,
            held: true,
            _place: place,
        })
    }

    /// The messages in hand.
    pub(super) fn ids(&self) -> Vec<I> {
        self.held().iter().cloned().collect()
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<I>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a message in hand.
#[derive(Debug)]
pub(super) struct Grip<I: Clone + Ord> {
    hands: Arc<Hands<I>>,
    id: I,
    held: bool,
    _place: OwnedSemaphorePermit,
}

impl<I: Clone + Ord> Grip<I> {
    /// What the broker calls it.
    pub(super) fn id(&self) -> &I {
        &self.id
    }

    /// It is in hand no more, but its place is taken until this value goes.
    pub(super) fn let_go(&mut self) {
        if std::mem::take(&mut self.held) {
            self.hands.held().remove(&self.id);
        }
    }
}

impl<I: Clone + Ord> Drop for Grip<I> {
    fn drop(&mut self) {
        self.let_go();
    }
}
