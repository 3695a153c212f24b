//! The sockets of a socketioxide server, as a manager sees them.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use metrics::counter;
use socketioxide::SocketError;
use socketioxide_core::Sid;
use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions, Room};
use socketioxide_core::packet::Packet;
use tokio::sync::mpsc;

use super::{ClusterAdapter, packet};
use crate::{Ack, Args, ClientManager, Emit, LocalSockets, Membership, RoomIsSid, SocketInfo, Target, metric};

/// What all namespaces of a server share: the manager, and where it finds their sockets.
#[derive(Clone, Debug)]
pub struct ClusterState {
    manager: Arc<dyn ClientManager>,
    sockets: Arc<ClusterSockets>,
}

impl ClusterState {
    /// Starts the manager on behalf of the namespaces to come. Needs a tokio runtime.
    pub fn new(manager: Arc<dyn ClientManager>) -> Self {
        let sockets = Arc::new(ClusterSockets::default());
        manager.start(sockets.clone());
        Self { manager, sockets }
    }

    /// The manager, for calls that are not about one namespace.
    pub fn manager(&self) -> &Arc<dyn ClientManager> {
        &self.manager
    }

    /// The sockets of this server.
    pub fn sockets(&self) -> &Arc<ClusterSockets> {
        &self.sockets
    }
}

/// The namespaces of a server by name.
#[derive(Debug, Default)]
pub struct ClusterSockets {
    namespaces: RwLock<HashMap<String, Weak<ClusterAdapter>>>,
}

impl ClusterSockets {
    pub(super) fn add_namespace(&self, adapter: &Arc<ClusterAdapter>) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(adapter.local.0.path().to_string(), Arc::downgrade(adapter));
    }

    pub(super) fn remove_namespace(&self, adapter: &ClusterAdapter) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let name = adapter.local.0.path().as_str();
        if namespaces
            .get(name)
            .is_some_and(|known| std::ptr::eq(known.as_ptr(), adapter))
        {
            namespaces.remove(name);
        }
    }

    /// Answers an event of a client that asked for an ack.
    pub fn ack(&self, namespace: &str, sid: &str, id: i64, args: &Args) {
        if let Some(namespace) = self.namespace(namespace)
            && let Some(socket) = namespace.socket(sid)
        {
            let ack = Packet::ack(namespace.local.0.path().clone(), packet::value(args), id);
            count(namespace.local.0.broadcast(ack, BroadcastOptions::new(socket)));
        }
    }

    /// For a connect middleware: until the guard is dropped the socket counts as here, so that it may enter rooms.
    #[must_use]
    pub fn connecting(&self, namespace: &str, sid: Sid) -> Option<Connecting> {
        let namespace = self.namespace(namespace)?;
        namespace
            .connecting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(sid);
        Some(Connecting { namespace, sid })
    }

    fn namespace(&self, name: &str) -> Option<Arc<ClusterAdapter>> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.get(name)?.upgrade()
    }

    fn all_namespaces(&self) -> Vec<Arc<ClusterAdapter>> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.values().filter_map(Weak::upgrade).collect()
    }
}

/// A socket whose connect middleware is running.
#[derive(Debug)]
pub struct Connecting {
    namespace: Arc<ClusterAdapter>,
    sid: Sid,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        let mut connecting = self.namespace.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        connecting.remove(&self.sid);
    }
}

impl LocalSockets for ClusterSockets {
    fn deliver(&self, emit: &Emit) {
        if let Some(namespace) = self.namespace(&emit.namespace) {
            namespace.deliver(emit);
        }
    }

    fn deliver_with_ack(&self, emit: &Emit, timeout: Duration, acks: mpsc::Sender<Ack>) -> usize {
        self.namespace(&emit.namespace)
            .map_or(0, |namespace| namespace.deliver_with_ack(emit, timeout, acks))
    }

    fn has(&self, namespace: &str, sid: &str) -> bool {
        self.namespace(namespace)
            .is_some_and(|namespace| namespace.socket(sid).is_some())
    }

    fn enter_room(&self, Membership { namespace, sid, room }: &Membership) -> Result<(), RoomIsSid> {
        let Some((namespace, socket)) = self.namespace(namespace).and_then(|namespace| {
            let socket = namespace.socket(sid)?;
            Some((namespace, socket))
        }) else {
            return Ok(());
        };
        if room != sid && namespace.socket(room).is_some() {
            return Err(RoomIsSid);
        }
        namespace.local.0.add_all(socket, room.clone());
        Ok(())
    }

    fn leave_room(&self, Membership { namespace, sid, room }: &Membership) {
        if let Some(namespace) = self.namespace(namespace)
            && let Some(socket) = namespace.socket(sid)
        {
            namespace.local.0.del(socket, room.clone());
        }
    }

    fn close_room(&self, namespace: &str, room: &str) -> Result<(), RoomIsSid> {
        let Some(namespace) = self.namespace(namespace) else {
            return Ok(());
        };
        if namespace.socket(room).is_some() {
            return Err(RoomIsSid);
        }
        let mut members = BroadcastOptions::default();
        members.rooms.push(Room::from(room.to_owned()));
        namespace.local.0.del_sockets(members, room.to_owned());
        Ok(())
    }

    fn disconnect(&self, namespace: &str, sid: &str, connection: bool) {
        // A client of socketioxide has one sid in all its namespaces.
        let namespaces = match connection && self.has(namespace, sid) {
            true => self.all_namespaces(),
            false => self.namespace(namespace).into_iter().collect(),
        };
        for namespace in namespaces {
            if let Some(socket) = namespace.socket(sid) {
                count(namespace.local.0.disconnect_socket(BroadcastOptions::new(socket)));
            }
        }
    }

    fn sockets(&self, namespace: &str, target: &Target) -> Vec<SocketInfo> {
        self.namespace(namespace)
            .map_or_else(Vec::new, |namespace| namespace.infos_here(target))
    }
}

impl ClusterAdapter {
    fn deliver(&self, emit: &Emit) {
        if let Some(opts) = self.options(&emit.target, emit.volatile) {
            count(self.local.0.broadcast(packet::packet(emit), opts));
        }
    }

    fn deliver_with_ack(&self, emit: &Emit, timeout: Duration, sender: mpsc::Sender<Ack>) -> usize {
        let Some(opts) = self.options(&emit.target, emit.volatile) else {
            return 0;
        };
        let (acks, count) = self
            .local
            .0
            .broadcast_with_ack(packet::packet(emit), opts, Some(timeout));
        if count > 0 {
            tokio::spawn(async move {
                let mut acks = pin!(acks);
                while let Some((sid, answer)) = acks.next().await {
                    let Some(args) = answer.ok().and_then(|value| packet::args(&value).ok()) else {
                        continue;
                    };
                    let sid = Some(sid.to_string());
                    if sender.send(Ack { sid, args }).await.is_err() {
                        break;
                    }
                }
            });
        }
        count as usize
    }

    pub(super) fn infos_here(&self, target: &Target) -> Vec<SocketInfo> {
        let Some(opts) = self.options(target, false) else {
            return Vec::new();
        };
        let sockets = self.local.0.fetch_sockets(opts).into_iter();
        let infos = sockets.map(|socket| {
            let sid = socket.id.to_string();
            let mut rooms: Vec<String> = self
                .local
                .0
                .socket_rooms(socket.id)
                .into_iter()
                .map(Room::into_owned)
                .collect();
            if !rooms.contains(&sid) {
                rooms.push(sid.clone());
            }
            SocketInfo {
                sid,
                host_id: String::new(),
                rooms,
            }
        });
        infos.collect()
    }

    /// The socket with this sid, if it is here.
    fn socket(&self, sid: &str) -> Option<Sid> {
        let sid: Sid = sid.parse().ok()?;
        let here = || !self.local.0.fetch_sockets(BroadcastOptions::new(sid)).is_empty();
        let connecting = || {
            self.connecting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&sid)
        };
        (here() || connecting()).then_some(sid)
    }

    /// The same in socketioxide's words; `None` when nobody is meant.
    fn options(&self, target: &Target, volatile: bool) -> Option<BroadcastOptions> {
        let mut opts = BroadcastOptions::default();
        match target.rooms.as_deref() {
            None => opts.add_flag(BroadcastFlags::Broadcast),
            Some([]) => return None,
            Some(rooms) => opts.rooms.extend(rooms.iter().cloned().map(Room::from)),
        }
        if volatile {
            opts.add_flag(BroadcastFlags::Volatile);
        }
        opts.except.extend(target.except.iter().cloned().map(Room::from));
        Some(self.with_own_rooms(opts))
    }

    /// Sees to it that each sid that is named is a room, as it is everywhere but in socketioxide.
    pub(super) fn with_own_rooms(&self, opts: BroadcastOptions) -> BroadcastOptions {
        for room in opts.rooms.iter().chain(&opts.except) {
            if let Some(sid) = self.socket(room)
                && !self.local.0.socket_rooms(sid).contains(room)
            {
                self.local.0.add_all(sid, room.clone());
                // It may have left in between, after its rooms were cleared.
                if self.socket(room).is_none() {
                    self.local.0.del_all(sid);
                }
            }
        }
        opts
    }
}

/// What did not reach a client is counted; which client it was socketioxide does not say.
fn count(sent: Result<(), Vec<SocketError>>) {
    for error in sent.err().into_iter().flatten() {
        if let SocketError::InternalChannelFull = error {
            counter!(metric::DELIVERIES_DROPPED, "reason" => "client_buffer_full").increment(1);
        }
    }
}
