//! [`ClusterAdapter`]: makes every call of a socketioxide server cluster-wide.
//!
//! ```no_run
//! use hallporter_adapters::socketioxide::{ClusterAdapter, ClusterState};
//! use hallporter_adapters::{ManagerOptions, manager, url::BrokerUrl};
//! use socketioxide::SocketIo;
//! use socketioxide::extract::SocketRef;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let url = BrokerUrl::parse("redis://127.0.0.1:6379")?;
//! let state = ClusterState::new(manager(&url, ManagerOptions::default())?);
//! let (layer, io) = SocketIo::builder().with_adapter::<ClusterAdapter>(state).build_layer();
//! io.ns("/", async |socket: SocketRef<ClusterAdapter>| {
//!     socket.join("lobby");
//! });
//! # let _ = layer;
//! # Ok(()) }
//! ```
//!
//! The server has to use socketioxide's common parser, since the messages of the cluster are JSON.

mod packet;
mod sockets;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream, Fuse};
use socketioxide::AckError;
use socketioxide::adapter::{AdapterError, Emitter};
use socketioxide_core::Sid;
use socketioxide_core::adapter::errors::BroadcastError;
use socketioxide_core::adapter::{
    AckStreamItem, BroadcastFlags, BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, RemoteSocketData,
    Room, RoomParam,
};
use socketioxide_core::packet::Packet;

use crate::{ClientManager, Emit, ManagerError, Membership, SocketInfo, Target};

pub use packet::{args, value};
pub use sockets::{ClusterSockets, ClusterState, Connecting};

/// The adapter of one namespace: does everything through the [`ClientManager`], which calls back for the sockets that are here.
#[derive(Debug)]
pub struct ClusterAdapter {
    manager: Arc<dyn ClientManager>,
    sockets: Arc<ClusterSockets>,
    local: Local,
    /// Sockets whose connect middleware is running.
    connecting: Mutex<HashSet<Sid>>,
}

/// The sockets of one namespace on this host.
struct Local(CoreLocalAdapter<Emitter>);

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Local").field(&self.0.path().as_str()).finish()
    }
}

impl From<ManagerError> for AdapterError {
    fn from(error: ManagerError) -> Self {
        Self(Box::new(error))
    }
}

impl DefinedAdapter for ClusterAdapter {}

impl CoreAdapter<Emitter> for ClusterAdapter {
    type Error = ManagerError;
    type State = ClusterState;
    type AckStream = Fuse<BoxStream<'static, AckStreamItem<AckError>>>;
    type InitRes = ();

    fn new(state: &ClusterState, local: CoreLocalAdapter<Emitter>) -> Self {
        Self {
            manager: state.manager().clone(),
            sockets: state.sockets().clone(),
            local: Local(local),
            connecting: Mutex::default(),
        }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) {
        self.sockets.add_namespace(&self);
        on_success();
    }

    async fn close(&self) -> Result<(), ManagerError> {
        self.sockets.remove_namespace(self);
        Ok(())
    }

    async fn server_count(&self) -> Result<u16, ManagerError> {
        Ok(u16::try_from(self.manager.hosts().len()).unwrap_or(u16::MAX))
    }

    async fn broadcast(&self, packet: Packet, opts: BroadcastOptions) -> Result<(), BroadcastError> {
        if opts.has_flag(BroadcastFlags::Local) {
            return Ok(self.local.0.broadcast(packet, self.with_own_rooms(opts))?);
        }
        let sent = self
            .manager
            .emit(self.emit_of(packet, &opts).map_err(AdapterError::from)?)
            .await;
        Ok(sent.map_err(AdapterError::from)?)
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        opts: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<Self::AckStream, ManagerError> {
        if opts.has_flag(BroadcastFlags::Local) {
            let (acks, _) = self
                .local
                .0
                .broadcast_with_ack(packet, self.with_own_rooms(opts), timeout);
            return Ok(acks.boxed().fuse());
        }
        let timeout = timeout.unwrap_or_else(|| self.local.0.ack_timeout());
        let acks = self
            .manager
            .emit_with_ack(self.emit_of(packet, &opts)?, timeout)
            .await?;
        let answered = stream::unfold((acks, 0), |(mut acks, missing)| async move {
            // An ack that a foreign host passed on does not say whose it is.
            if let Some(ack) = acks.next().await {
                let sid = ack.sid.and_then(|sid| sid.parse().ok()).unwrap_or(Sid::ZERO);
                return Some(((sid, Ok(packet::value(&ack.args))), (acks, 0)));
            }
            (missing < acks.missing()).then(|| ((Sid::ZERO, Err(AckError::Timeout)), (acks, missing + 1)))
        });
        Ok(answered.boxed().fuse())
    }

    async fn add_sockets(&self, opts: BroadcastOptions, rooms: impl RoomParam) -> Result<(), ManagerError> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        if opts.has_flag(BroadcastFlags::Local) {
            self.local.0.add_sockets(self.with_own_rooms(opts), rooms);
            return Ok(());
        }
        for sid in self.sids(&opts).await? {
            for room in &rooms {
                self.manager.enter_room(self.membership(&sid, room)).await?;
            }
        }
        Ok(())
    }

    async fn del_sockets(&self, opts: BroadcastOptions, rooms: impl RoomParam) -> Result<(), ManagerError> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        if opts.has_flag(BroadcastFlags::Local) {
            self.local.0.del_sockets(self.with_own_rooms(opts), rooms);
            return Ok(());
        }
        for sid in self.sids(&opts).await? {
            for room in &rooms {
                self.manager.leave_room(self.membership(&sid, room)).await?;
            }
        }
        Ok(())
    }

    async fn disconnect_socket(&self, opts: BroadcastOptions) -> Result<(), BroadcastError> {
        if opts.has_flag(BroadcastFlags::Local) {
            return self
                .local
                .0
                .disconnect_socket(self.with_own_rooms(opts))
                .map_err(BroadcastError::from);
        }
        for sid in self.sids(&opts).await.map_err(AdapterError::from)? {
            let disconnected = self.manager.disconnect(self.local.0.path(), &sid).await;
            disconnected.map_err(AdapterError::from)?;
        }
        Ok(())
    }

    async fn rooms(&self, opts: BroadcastOptions) -> Result<Vec<Room>, ManagerError> {
        let mut rooms: Vec<Room> = Vec::new();
        for socket in self.infos(&opts).await? {
            rooms.extend(
                socket
                    .rooms
                    .into_iter()
                    .filter(|room| *room != socket.sid)
                    .map(Room::from),
            );
        }
        rooms.sort_unstable();
        rooms.dedup();
        Ok(rooms)
    }

    async fn fetch_sockets(&self, opts: BroadcastOptions) -> Result<Vec<RemoteSocketData>, ManagerError> {
        let sockets = self.infos(&opts).await?.into_iter();
        // Hosts that are no socketioxide servers may have sids of another form, which a `Sid` cannot hold.
        let sids = sockets.filter_map(|socket| socket.sid.parse().ok());
        Ok(sids
            .map(|id| RemoteSocketData {
                id,
                server_id: self.local.0.server_id(),
                ns: self.local.0.path().clone(),
            })
            .collect())
    }

    fn get_local(&self) -> &CoreLocalAdapter<Emitter> {
        &self.local.0
    }
}

impl ClusterAdapter {
    fn emit_of(&self, packet: Packet, opts: &BroadcastOptions) -> Result<Emit, ManagerError> {
        let (event, args) = packet::event(&packet).ok_or(ManagerError::Parser)?;
        Ok(Emit {
            namespace: self.local.0.path().as_str().into(),
            target: target(opts),
            event,
            args,
            volatile: opts.has_flag(BroadcastFlags::Volatile),
        })
    }

    fn membership(&self, sid: &str, room: &str) -> Membership {
        Membership {
            namespace: self.local.0.path().as_str().into(),
            sid: sid.into(),
            room: room.into(),
        }
    }

    async fn infos(&self, opts: &BroadcastOptions) -> Result<Vec<SocketInfo>, ManagerError> {
        if opts.has_flag(BroadcastFlags::Local) {
            return Ok(self.infos_here(&target(opts)));
        }
        self.manager.sockets(self.local.0.path(), &target(opts)).await
    }

    /// The sids that are meant, wherever they are. One that is named need not be asked for.
    async fn sids(&self, opts: &BroadcastOptions) -> Result<Vec<String>, ManagerError> {
        match opts.sid {
            Some(sid) if opts.rooms.is_empty() && !opts.has_flag(BroadcastFlags::Broadcast) => {
                Ok(vec![sid.to_string()])
            }
            _ => Ok(self.infos(opts).await?.into_iter().map(|socket| socket.sid).collect()),
        }
    }
}

/// Whom socketioxide's options mean (see `CoreLocalAdapter`): rooms, or with `Broadcast` everyone but the sender, or the sender alone.
fn target(opts: &BroadcastOptions) -> Target {
    let broadcast = opts.has_flag(BroadcastFlags::Broadcast);
    let sender = opts.sid.map(|sid| sid.to_string());
    let mut except: Vec<String> = opts.except.iter().map(|room| room.clone().into_owned()).collect();
    let rooms = if !opts.rooms.is_empty() {
        Some(opts.rooms.iter().map(|room| room.clone().into_owned()).collect())
    } else if broadcast {
        None
    } else {
        Some(sender.iter().cloned().collect())
    };
    if broadcast {
        except.extend(sender);
    }
    Target { rooms, except }
}
