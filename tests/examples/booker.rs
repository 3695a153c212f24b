//! A worker that writes each event into a book before it answers: `booker BROKER BOOK`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use hallporter_emitter::worker::{Event, HandlerError, Reply, Worker};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let broker = args.next().context("BROKER")?;
    let book = args.next().context("BOOK")?;
    let pen = Arc::new(OpenOptions::new().append(true).open(book)?);
    let count = move |event: Event| {
        let pen = pen.clone();
        async move { booked(&pen, &event) }
    };
    Worker::new(broker)
        .group("book")
        .on("count", count)
        .run(std::future::pending())
        .await?;
    Ok(())
}

fn booked(mut pen: &File, event: &Event) -> Result<Reply, HandlerError> {
    let (client, number): (usize, usize) = event.data()?;
    // One write, so that lines of several processes do not mix.
    pen.write_all(format!("{client} {number}\n").as_bytes())?;
    Ok(Reply::ack(&(client, number))?)
}
