//! Namespaces: configured by name or by pattern, there while somebody is in them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytestring::ByteString;
use hallporter_adapters::{ClientManager, RoomIsSid, SocketInfo, Target};
use matchit::Router;

use super::Sid;
use super::rooms::{Change, Rooms, Targets};
use super::socket::Socket;
use crate::DisconnectReason;
use crate::app::App;
use crate::config::Config;
use crate::metric::Meters;

/// What all namespaces of one name or pattern share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) meters: Meters,
    pub(super) app: Arc<App>,
    pub(super) waiting_events: usize,
    pub(super) waiting_bytes: usize,
}

/// One namespace and its sockets.
#[derive(Debug)]
pub(super) struct Namespace {
    name: ByteString,
    door: Arc<Door>,
    manager: Arc<dyn ClientManager>,
    rooms: Mutex<Rooms<Socket>>,
    /// The number of the latest ack that was asked for.
    acks: AtomicU64,
}

impl Namespace {
    pub(super) fn name(&self) -> &ByteString {
        &self.name
    }

    pub(super) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Held for a moment only, never while a client is written to.
    fn rooms(&self) -> MutexGuard<'_, Rooms<Socket>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for an ack, which all that are asked by one emit share.
    pub(super) fn next_ack(&self) -> u64 {
        self.acks.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add(&self, socket: &Socket) {
        self.rooms().add(*socket.id(), socket.clone());
    }

    pub(super) fn connect(&self, sid: &Sid) {
        self.rooms().connect(sid);
    }

    pub(super) fn remove(&self, socket: &Socket) {
        if socket.is_connected() {
            self.door.meters.sockets.decrement(1.0);
        }
        let mut rooms = self.rooms();
        for room in rooms.remove(socket.id()) {
            self.manager.room_changed(&self.name, &room, false);
        }
    }

    pub(super) fn has(&self, sid: &str) -> bool {
        self.rooms().get(sid).is_some()
    }

    pub(super) fn get(&self, sid: &str) -> Option<Socket> {
        self.rooms().get(sid).cloned()
    }

    pub(super) fn targets(&self, target: &Target) -> Targets<Socket> {
        self.rooms().targets(target)
    }

    pub(super) fn rooms_of(&self, sid: &Sid) -> Vec<String> {
        self.rooms().rooms_of(sid)
    }

    pub(super) fn enter(&self, sid: &str, room: &str) -> Result<(), RoomIsSid> {
        let mut rooms = self.rooms();
        let change = rooms.enter(sid, room)?;
        self.tell(room, change);
        Ok(())
    }

    pub(super) fn leave(&self, sid: &str, room: &str) {
        let mut rooms = self.rooms();
        let change = rooms.leave(sid, room);
        self.tell(room, change);
    }

    pub(super) fn close_room(&self, room: &str) -> Result<(), RoomIsSid> {
        let mut rooms = self.rooms();
        let change = rooms.close(room, |socket| *socket.id())?;
        self.tell(room, change);
        Ok(())
    }

    /// Called with the rooms locked, so that the manager hears of changes in their order.
    fn tell(&self, room: &str, change: Option<Change>) {
        if let Some(change) = change {
            self.manager.room_changed(&self.name, room, change == Change::First);
        }
    }

    pub(super) fn infos(&self, target: &Target) -> Vec<SocketInfo> {
        let mut infos = Vec::new();
        self.targets(target).for_each(|socket| {
            infos.push(SocketInfo {
                sid: socket.sid().to_owned(),
                host_id: String::new(),
                rooms: self.rooms_of(socket.id()),
            });
        });
        infos
    }
}

/// The namespaces clients may connect to.
#[derive(Debug)]
pub(super) struct Namespaces {
    by_name: HashMap<ByteString, Arc<Door>>,
    by_pattern: Router<Arc<Door>>,
    open: RwLock<HashMap<ByteString, Open>>,
    manager: Arc<dyn ClientManager>,
}

#[derive(Debug)]
struct Open {
    namespace: Arc<Namespace>,
    /// Sockets in it, also those that are connecting.
    sockets: usize,
}

impl Namespaces {
    /// # Errors
    /// When a pattern is none, which [`crate::config::load`] finds out before.
    pub(super) fn new(
        config: &Config,
        manager: Arc<dyn ClientManager>,
        apps: &[Arc<App>],
    ) -> Result<Self, matchit::InsertError> {
        let (mut by_name, mut by_pattern) = (HashMap::new(), Router::new());
        for app in apps {
            let door = Arc::new(Door {
                meters: Meters::new(app.name()),
                app: app.clone(),
                waiting_events: config.limits.waiting_events,
                waiting_bytes: config.limits.waiting_bytes,
            });
            if app.name().contains('{') {
                by_pattern.insert(app.name(), door)?;
            } else {
                by_name.insert(app.name().into(), door);
            }
        }
        Ok(Self {
            by_name,
            by_pattern,
            open: RwLock::default(),
            manager,
        })
    }

    /// The namespace, if somebody is in it.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        Some(open.get(name)?.namespace.clone())
    }

    /// The door to a namespace, whether somebody is in it or not.
    pub(super) fn door(&self, name: &str) -> Option<&Arc<Door>> {
        let by_name = self.by_name.get(name);
        by_name.or_else(|| Some(self.by_pattern.at(name).ok()?.value))
    }

    /// The namespace for one more socket; `None` where none is configured.
    pub(super) fn enter(&self, name: &ByteString) -> Option<Arc<Namespace>> {
        let door = self.door(name)?;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let entry = open.entry(name.clone()).or_insert_with(|| Open {
            namespace: Arc::new(Namespace {
                name: name.clone(),
                door: door.clone(),
                manager: self.manager.clone(),
                rooms: Mutex::default(),
                acks: AtomicU64::new(0),
            }),
            sockets: 0,
        });
        entry.sockets += 1;
        Some(entry.namespace.clone())
    }

    /// A socket has left. The last one takes the namespace with it.
    pub(super) fn leave(&self, name: &str) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = open.get_mut(name) {
            entry.sockets -= 1;
            if entry.sockets == 0 {
                open.remove(name);
            }
        }
    }
}

impl DisconnectReason {
    /// Whether the client may still have sent something to the namespace before it heard of this.
    pub(super) fn may_cross(self) -> bool {
        self == Self::ServerNamespaceDisconnect
    }
}
