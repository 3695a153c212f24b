//! The socket side. Only this folder knows which library holds the sockets: socketioxide, for now.

mod connect;
mod inbox;

use std::sync::Arc;

use hallporter_adapters::ClientManager;
use hallporter_adapters::socketioxide::{ClusterAdapter, ClusterState};
use socketioxide::layer::SocketIoLayer;
use socketioxide::{NsInsertError, SocketIo, SocketIoBuilder, TransportType};

use crate::Handler;
use crate::config::{Config, Transport};
use connect::Door;

/// The sockets of a gateway.
pub(crate) struct Sockets {
    io: SocketIo<ClusterAdapter>,
}

impl Sockets {
    /// Opens the configured namespaces. `handlers` gives the handlers of each, in the order they are asked.
    ///
    /// # Errors
    /// When a pattern is none, which [`crate::config::load`] finds out before.
    pub(crate) fn open(
        config: &Config,
        manager: Arc<dyn ClientManager>,
        handlers: impl Fn(&crate::config::Namespace) -> Vec<Arc<dyn Handler>>,
    ) -> Result<(SocketIoLayer<ClusterAdapter>, Self), NsInsertError> {
        let state = ClusterState::new(manager);
        let (layer, io) = builder(config)
            .with_adapter::<ClusterAdapter>(state.clone())
            .build_layer();
        for namespace in &config.namespace {
            let door = Door::new(namespace, &config.limits, state.clone(), handlers(namespace));
            if namespace.name.contains('{') {
                io.dyn_ns(&namespace.name, door)?;
            } else {
                io.ns(namespace.name.clone(), door);
            }
        }
        Ok((layer, Self { io }))
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        self.io.close().await;
    }
}

fn builder(config: &Config) -> SocketIoBuilder {
    let engine = &config.engine;
    let builder = SocketIo::builder()
        .req_path(config.path.trim_end_matches('/').to_owned())
        .ping_interval(engine.ping_interval)
        .ping_timeout(engine.ping_timeout)
        .connect_timeout(engine.connect_timeout)
        .max_payload(engine.max_payload as u64)
        .ws_max_message_size(engine.max_payload)
        .ws_max_frame_size(engine.max_payload)
        .max_buffer_size(config.limits.client_buffer_packets);
    let offers = |transport| engine.transports.contains(&transport);
    match (offers(Transport::Polling), offers(Transport::Websocket)) {
        (true, false) => builder.transports([TransportType::Polling]),
        (false, true) => builder.transports([TransportType::Websocket]),
        _ => builder.transports([TransportType::Polling, TransportType::Websocket]),
    }
}
