//! A Socket.IO client on a WebSocket: it knows the packets of the app, and counts the events of its room.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::tally::{Ledger, Tally};
use crate::apps::CONNECTED;
use crate::frame;

/// What an event of the room begins with; 8 digits follow.
const NEWS: &[u8] = br#"42["news",""#;
/// Bytes of a packet with such an event.
const NEWS_LENGTH: usize = NEWS.len() + 128 + 2;

const BUFFER: usize = 4096;

/// A connected client, whose packets are read by a task of their own.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Arc<TcpStream>,
    acks: mpsc::Receiver<Vec<u8>>,
    echoes: u64,
    reading: AbortHandle,
}

impl Client {
    /// Connects by WebSocket alone, and asks to be put into the room, if any.
    pub(crate) async fn connect(
        address: SocketAddr,
        room: Option<&str>,
        ledger: Ledger,
        tally: Arc<Tally>,
    ) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut buffer = BytesMut::new();
        upgrade(&mut stream, address, &mut buffer).await?;
        answer(&mut stream, &mut buffer, b"0{").await?;
        let auth = room.map_or_else(|| "40{}".to_owned(), |room| format!(r#"40{{"room":"{room}"}}"#));
        stream
            .write_all(&frame::from_client(frame::TEXT, auth.as_bytes()))
            .await?;
        answer(&mut stream, &mut buffer, CONNECTED).await?;

        let stream = Arc::new(stream);
        let (sender, acks) = mpsc::channel(1);
        let reader = Reader {
            stream: stream.clone(),
            buffer,
            ledger,
            tally,
            acks: sender,
        };
        Ok(Self {
            stream,
            acks,
            echoes: 0,
            reading: tokio::spawn(reader.run()).abort_handle(),
        })
    }

    /// Sends an event: `event` is a JSON array.
    pub(crate) async fn emit(&self, event: &str) -> Result<()> {
        write(&self.stream, frame::TEXT, format!("42{event}").as_bytes()).await
    }

    /// Sends 128 bytes, and waits until they are back.
    pub(crate) async fn echo(&mut self) -> Result<()> {
        self.echoes += 1;
        let (id, text) = (self.echoes, crate::apps::news(self.echoes));
        let packet = format!(r#"42{id}["echo","{text}"]"#);
        write(&self.stream, frame::TEXT, packet.as_bytes()).await?;
        let ack = tokio::time::timeout(e2e::PATIENCE, self.acks.recv()).await;
        let ack = ack.context("an ack did not come")?.context("the connection ended")?;
        ensure!(
            ack == format!(r#"43{id}["{text}"]"#).as_bytes(),
            "the ack {:?} answers nothing",
            String::from_utf8_lossy(&ack)
        );
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

struct Reader {
    stream: Arc<TcpStream>,
    buffer: BytesMut,
    ledger: Ledger,
    tally: Arc<Tally>,
    acks: mpsc::Sender<Vec<u8>>,
}

impl Reader {
    async fn run(mut self) {
        // The client lives until the crowd goes; whatever ends the connection before is a fault.
        if self.read().await.is_err() {
            self.tally.garbled();
        }
    }

    async fn read(&mut self) -> Result<()> {
        loop {
            while let Some(frame) = frame::first(&mut self.buffer) {
                let length = frame.length;
                match frame.opcode {
                    frame::TEXT if frame.payload.starts_with(NEWS) => {
                        ensure!(frame.payload.len() == NEWS_LENGTH, "an event was changed");
                        let digits = std::str::from_utf8(&frame.payload[NEWS.len()..NEWS.len() + 8])?;
                        self.ledger.enter(digits.parse()?, &self.tally);
                    }
                    frame::TEXT if frame.payload.starts_with(b"43") => self.acks.try_send(frame.payload.to_vec())?,
                    frame::TEXT if *frame.payload == *b"2" => write(&self.stream, frame::TEXT, b"3").await?,
                    frame::PING => write(&self.stream, frame::PONG, frame.payload).await?,
                    opcode => bail!("opcode {opcode}: {:?}", String::from_utf8_lossy(frame.payload)),
                }
                self.buffer.advance(length);
            }
            self.ledger.close(&self.tally);
            self.buffer.reserve(BUFFER);
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => bail!("the server ended the connection"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// So little is sent, and so rarely, that the system takes it at once.
async fn write(stream: &TcpStream, opcode: u8, payload: &[u8]) -> Result<()> {
    let frame = frame::from_client(opcode, payload);
    stream.writable().await?;
    ensure!(stream.try_write(&frame)? == frame.len(), "the server does not read");
    Ok(())
}

async fn upgrade(stream: &mut TcpStream, address: SocketAddr, buffer: &mut BytesMut) -> Result<()> {
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the server ended the handshake");
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = buffer.split_to(end + 4);
            let head = String::from_utf8_lossy(&head);
            ensure!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
            return Ok(());
        }
    }
}

/// Takes the next packet, which begins with `start`, but for a ping that may come before.
async fn answer(stream: &mut TcpStream, buffer: &mut BytesMut, start: &[u8]) -> Result<()> {
    loop {
        while let Some(frame) = frame::first(buffer) {
            let length = frame.length;
            let (ping, expected) = (*frame.payload == *b"2", frame.payload.starts_with(start));
            ensure!(
                ping || expected,
                "unexpected: {:?}",
                String::from_utf8_lossy(frame.payload)
            );
            buffer.advance(length);
            if expected {
                return Ok(());
            }
            write(stream, frame::TEXT, b"3").await?;
        }
        ensure!(stream.read_buf(buffer).await? > 0, "the server ended the connection");
    }
}
