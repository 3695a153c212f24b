//! A client connects to a namespace.

use std::fmt::Display;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use axum::extract::ConnectInfo;
use futures_util::FutureExt;
use hallporter_adapters::socketioxide::{ClusterAdapter, ClusterState};
use metrics::counter;
use serde_json::json;
use socketioxide::TransportType;
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::Socket as IoSocket;
use socketioxide_core::Value;

use super::inbox::{self, Inbox};
use crate::config::{Limits, Namespace, Transport};
use crate::metric::{self, Meters};
use crate::socket::{Handshake, Inner};
use crate::{Handler, Refusal, Socket};

/// Lets clients into the namespaces of one `[[namespace]]`.
#[derive(Clone, Debug)]
pub(super) struct Door(Arc<Shared>);

/// What all sockets of one `[[namespace]]` share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) meters: Meters,
    pub(super) waiting_events: usize,
    pub(super) state: ClusterState,
    pub(super) handlers: Vec<Arc<dyn Handler>>,
}

impl Door {
    pub(super) fn new(
        namespace: &Namespace,
        limits: &Limits,
        state: ClusterState,
        handlers: Vec<Arc<dyn Handler>>,
    ) -> Self {
        Self(Arc::new(Shared {
            meters: Meters::new(&namespace.name),
            waiting_events: limits.waiting_events,
            state,
            handlers,
        }))
    }

    /// Asks every handler, and begins to take events when none refuses.
    async fn admit(&self, io: Arc<IoSocket<ClusterAdapter>>, auth: &Option<Value>) -> Result<(), Refusal> {
        let shared = &self.0;
        let socket = Socket::new(Inner {
            sid: io.id.to_string(),
            namespace: io.ns().into(),
            handshake: handshake(&io, auth)?,
            manager: shared.state.manager().clone(),
            local: shared.state.sockets().clone(),
            transport: transport(Arc::downgrade(&io)),
        });
        let _connecting = shared.state.sockets().connecting(io.ns(), io.id);
        for handler in &shared.handlers {
            let asked = AssertUnwindSafe(handler.connect(&socket)).catch_unwind().await;
            asked.unwrap_or_else(|_| {
                counter!(metric::HANDLER_PANICS).increment(1);
                Err(Refusal::new("internal error"))
            })?;
        }
        let inbox = inbox::open(socket, shared.clone());
        io.on_fallback(inbox.clone());
        io.on_disconnect(inbox.clone());
        io.extensions.insert(inbox);
        Ok(())
    }
}

impl ConnectHandler<ClusterAdapter, ()> for Door {
    /// The client has been told that it is connected.
    fn call(&self, socket: Arc<IoSocket<ClusterAdapter>>, _: Option<Value>) {
        if let Some(inbox) = socket.extensions.get::<Inbox>() {
            inbox.start();
        }
    }

    fn call_middleware<'a>(
        &'a self,
        socket: Arc<IoSocket<ClusterAdapter>>,
        auth: &'a Option<Value>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Box<dyn Display + Send>>> + Send + 'a>> {
        Box::pin(async move {
            self.admit(socket, auth).await.map_err(|refusal| {
                self.0.meters.refused.increment(1);
                Box::new(refusal) as Box<dyn Display + Send>
            })
        })
    }
}

fn handshake(io: &IoSocket<ClusterAdapter>, auth: &Option<Value>) -> Result<Handshake, Refusal> {
    let request = io.req_parts();
    let auth = match auth.as_ref().and_then(Value::as_str) {
        None => json!({}),
        Some(text) => serde_json::from_str(text).map_err(|_| Refusal::new("the auth payload is not JSON"))?,
    };
    Ok(Handshake {
        headers: request.headers.clone(),
        query: request.uri.query().unwrap_or_default().to_owned(),
        address: request
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(address)| IpAddr::to_canonical(&address.ip())),
        auth,
    })
}

fn transport(io: Weak<IoSocket<ClusterAdapter>>) -> Box<dyn Fn() -> Transport + Send + Sync> {
    Box::new(move || match io.upgrade().map(|io| io.transport_type()) {
        Some(TransportType::Polling) => Transport::Polling,
        _ => Transport::Websocket,
    })
}
