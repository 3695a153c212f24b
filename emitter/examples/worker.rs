//! A kitchen: takes orders, cooks them and tells who ordered.
//!
//! `cargo run -p hallporter-emitter --example worker -- redis://127.0.0.1:6379 kitchen-1`, beside a gateway with the routes
//!
//! ```toml
//! [[route]]
//! event = "order.*"
//! to = "worker:orders"
//!
//! [[route]]
//! event = "table.*"
//! to = "worker:kitchen/{session.kitchen}"
//! ```
//!
//! A client that emits `order.new` with a dish and the milliseconds it takes is told `served` once it is cooked, and reads the dish and the kitchen as its ack.
//! Who emits `order.sit` has a kitchen from then on, whose number of orders `table.orders` asks for. The method `orders` tells it to other servers.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallporter_emitter::worker::{Event, HandlerError, Reply, Worker};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let kitchen = args.next().unwrap_or_else(|| "kitchen-1".into());

    let orders = Arc::new(AtomicU64::new(0));
    let (taken, told, asked) = (orders.clone(), orders.clone(), orders);
    let (name, own) = (kitchen.clone(), kitchen.clone());
    let worker = Worker::new(url)
        .group("orders")
        .instance(kitchen, "kitchen")
        .tries(2)
        .on("order.new", move |event| {
            taken.fetch_add(1, Ordering::Relaxed);
            cook(event, name.clone())
        })
        .on("order.sit", move |_| {
            let reply = Reply::new().set("kitchen", &own);
            async move { Ok(reply?) }
        })
        .on("order.burnt", async |_| std::process::exit(1))
        .on("table.orders", move |_| {
            let orders = told.load(Ordering::Relaxed);
            async move { Ok(Reply::ack(&orders)?) }
        })
        .method("orders", move |_| {
            let orders = asked.load(Ordering::Relaxed);
            async move { Ok(Reply::ack(&orders)?) }
        });
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = async {
        terminate.recv().await;
    };
    Ok(worker.run(ended).await?)
}

async fn cook(event: Event, kitchen: String) -> Result<Reply, HandlerError> {
    let (dish, takes): (String, u64) = event.data()?;
    if dish.is_empty() {
        return Err(HandlerError::bad_request("order something"));
    }
    tokio::time::sleep(Duration::from_millis(takes)).await;
    let guest = event.sid.as_deref().unwrap_or_default();
    Ok(Reply::ack(&(&dish, kitchen))?.emit_to(guest, "served", &dish)?)
}
