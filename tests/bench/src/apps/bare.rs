//! The bare limit: the app as a loop around `epoll_wait`, `read` and `write`, one thread, no library above.
//!
//! It understands what the load generator sends and no more, takes each read for whole frames, and ends when a client
//! does not take what it is sent: nothing a server owes its clients is paid for here.

use std::io::{self, ErrorKind, Read, Write};

use anyhow::{Context, Result, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::{ANY_PORT, listening, news};
use crate::frame;

/// The Engine.IO handshake.
const OPEN: &[u8] = br#"0{"sid":"bare","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
/// What tells a client that it is connected.
pub(crate) const CONNECTED: &[u8] = br#"40{"sid":"#;

const LISTENER: Token = Token(usize::MAX);

/// All there is: the connections, and which of them are in the room.
struct Bare {
    poll: Poll,
    connections: Vec<Option<TcpStream>>,
    room: Vec<usize>,
}

pub(super) fn serve() -> Result<()> {
    let mut listener = TcpListener::bind(ANY_PORT)?;
    let mut bare = Bare {
        poll: Poll::new()?,
        connections: Vec::new(),
        room: Vec::new(),
    };
    bare.poll
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    listening(listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match bare.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => bare.accept(&listener)?,
                Token(index) => bare.read(index, &mut buffer)?,
            }
        }
    }
}

impl Bare {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        while let Some((mut stream, _)) = unless_blocked(listener.accept())? {
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.connections.push(Some(stream));
        }
        Ok(())
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) -> Result<()> {
        loop {
            let Some(stream) = &mut self.connections[index] else {
                return Ok(());
            };
            let read = match unless_blocked(stream.read(buffer)) {
                Ok(None) => return Ok(()),
                Ok(Some(0)) | Err(_) => {
                    self.connections[index] = None;
                    self.room.retain(|member| *member != index);
                    return Ok(());
                }
                Ok(Some(read)) => read,
            };
            if buffer.starts_with(b"GET ") {
                let open = frame::from_server(OPEN);
                let upgrade = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
                self.write(index, &[upgrade.as_bytes(), &open].concat())?;
                continue;
            }
            let mut rest = &mut buffer[..read];
            while let Some(frame) = frame::first(rest) {
                let length = frame.length;
                self.packet(index, std::str::from_utf8(frame.payload)?)?;
                rest = &mut rest[length..];
            }
            if read < buffer.len() {
                // Nothing more is there: the next call would say so.
                return Ok(());
            }
        }
    }

    fn packet(&mut self, index: usize, packet: &str) -> Result<()> {
        if let Some(auth) = packet.strip_prefix("40") {
            if auth.contains("room") {
                self.room.push(index);
            }
            return self.write(index, &frame::from_server(&[CONNECTED, br#""bare"}"#].concat()));
        }
        let event = packet.strip_prefix("42").context("an event")?;
        if let Some((id, text)) = event.split_once(r#"["echo","#) {
            return self.write(index, &frame::from_server(format!("43{id}[{text}").as_bytes()));
        }
        let args = event.strip_prefix(r#"["broadcast","hall","#).context("a broadcast")?;
        let (first, count) = args.trim_end_matches(']').split_once(',').context("two numbers")?;
        self.broadcast(first.parse()?, count.parse()?)
    }

    /// One `write` for each client, however many events.
    fn broadcast(&mut self, first: u64, count: u64) -> Result<()> {
        let events = (first..first + count).map(|number| format!(r#"42["news","{}"]"#, news(number)));
        let frames: Vec<u8> = events.flat_map(|event| frame::from_server(event.as_bytes())).collect();
        for member in 0..self.room.len() {
            self.write(self.room[member], &frames)?;
        }
        Ok(())
    }

    fn write(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let Some(stream) = &mut self.connections[index] else {
            return Ok(());
        };
        match stream.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            written => bail!("a client took {written} of {} bytes", bytes.len()),
        }
    }
}

fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
