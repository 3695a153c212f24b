//! The sessions of this gateway by id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Gauge, gauge};

use super::connection::Connection;
use super::session_id::SessionId;
use crate::metric;

/// All open sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: Mutex<HashMap<SessionId, Arc<Connection>>>,
    /// Sessions the layer above has not claimed yet.
    connecting: AtomicUsize,
    gauge: Gauge,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self {
            by_id: Mutex::default(),
            connecting: AtomicUsize::new(0),
            gauge: gauge!(metric::SESSIONS),
        }
    }

    pub(super) fn insert(&self, connection: &Arc<Connection>) {
        self.connecting.fetch_add(1, Ordering::Relaxed);
        self.gauge.increment(1.0);
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.insert(*connection.id(), connection.clone());
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Connection>> {
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.get(id).cloned()
    }

    pub(super) fn remove(&self, connection: &Connection) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = by_id.remove(connection.id());
        drop(by_id);
        if removed.is_some() {
            self.gauge.decrement(1.0);
            if !connection.is_confirmed() {
                self.confirmed();
            }
        }
    }

    /// A session is not connecting any more.
    pub(super) fn confirmed(&self) {
        self.connecting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn connecting(&self) -> usize {
        self.connecting.load(Ordering::Relaxed)
    }

    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.values().cloned().collect()
    }
}
