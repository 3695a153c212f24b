//! What is being waited for, by number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ManagerError;

/// Entries that last as long as somebody holds their [`Entry`]; bounded in number.
#[derive(Debug)]
pub(super) struct Pending<T> {
    limit: usize,
    next: AtomicU64,
    entries: Arc<Mutex<HashMap<u64, T>>>,
}

/// Keeps an entry; gives it up when dropped.
#[derive(Debug)]
pub(super) struct Entry<T> {
    id: u64,
    entries: Arc<Mutex<HashMap<u64, T>>>,
}

impl<T> Pending<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            next: AtomicU64::new(1),
            entries: Arc::default(),
        }
    }

    pub(super) fn insert(&self, value: T) -> Result<Entry<T>, ManagerError> {
        let mut entries = lock(&self.entries);
        if entries.len() >= self.limit {
            return Err(ManagerError::TooManyPending { limit: self.limit });
        }
        let id = self.number();
        entries.insert(id, value);
        Ok(Entry {
            id,
            entries: self.entries.clone(),
        })
    }

    /// The number of something that nobody waits for.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether an entry ever had this number.
    pub(super) fn was(&self, id: u64) -> bool {
        (1..self.next.load(Ordering::Relaxed)).contains(&id)
    }

    /// Takes an entry out; `None` when nobody waits for it any more.
    pub(super) fn take(&self, id: u64) -> Option<T> {
        lock(&self.entries).remove(&id)
    }

    /// Ends the waiting for all others.
    pub(super) fn retain(&self, mut keep: impl FnMut(&T) -> bool) {
        lock(&self.entries).retain(|_, entry| keep(entry));
    }

    /// Does something with an entry; `None` when nobody waits for it any more.
    pub(super) fn with<R>(&self, id: u64, action: impl FnOnce(&T) -> R) -> Option<R> {
        lock(&self.entries).get(&id).map(action)
    }
}

impl<T: Clone> Pending<T> {
    /// All entries there are.
    pub(super) fn all(&self) -> Vec<T> {
        lock(&self.entries).values().cloned().collect()
    }
}

impl<T> Entry<T> {
    pub(super) const fn id(&self) -> u64 {
        self.id
    }
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        lock(&self.entries).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
