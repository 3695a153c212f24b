//! The app on socketioxide, with its own adapter for Redis.

use anyhow::Result;
use axum::Router;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::net::TcpListener;

use super::{ANY_PORT, listening, news};

pub(super) async fn serve(redis: Option<&str>) -> Result<()> {
    let app = match redis {
        Some(url) => {
            let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
            let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
            let (layer, io) = SocketIo::builder()
                .with_adapter::<RedisAdapter<_>>(adapter)
                .build_layer();
            io.ns("/", connected.with(enter)).await?;
            Router::new().layer(layer)
        }
        None => {
            let (layer, io) = SocketIo::new_layer();
            io.ns("/", connected.with(enter));
            Router::new().layer(layer)
        }
    };
    let listener = TcpListener::bind(ANY_PORT).await?;
    listening(listener.local_addr()?);
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

/// Middleware, since the handler runs after the client has been told that it is connected.
async fn enter<A: Adapter>(
    socket: SocketRef<A>,
    TryData(auth): TryData<Value>,
) -> Result<(), std::convert::Infallible> {
    if let Some(room) = auth.ok().as_ref().and_then(|auth| auth["room"].as_str()) {
        socket.join(room.to_owned());
    }
    Ok(())
}

async fn connected<A: Adapter>(socket: SocketRef<A>) {
    socket.on("broadcast", broadcast::<A>);
    socket.on("echo", async |Data(text): Data<Value>, ack: AckSender<A>| {
        // A client that has gone needs no answer.
        let _ = ack.send(&text);
    });
}

async fn broadcast<A: Adapter>(io: SocketIo<A>, Data((room, first, count)): Data<(String, u64, u64)>) {
    for number in first..first + count {
        // What does not arrive, the load generator misses.
        let _ = io.to(room.clone()).emit("news", &news(number)).await;
    }
}
