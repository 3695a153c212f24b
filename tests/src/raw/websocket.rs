//! A WebSocket (RFC 6455) that carries an Engine.IO session.

use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Exchange, Frame, Opcode, Response, tcp};
use crate::PATIENCE;

/// The key of the opening handshake, and what the server has to make of it (RFC 6455, section 1.3).
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// A whole message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Binary data.
    Binary(Vec<u8>),
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stream: BufReader<TcpStream>,
    /// Whether the server pings, as it does from Engine.IO 4 on.
    pinged: bool,
    /// Whether a close frame was sent.
    closing: bool,
}

impl WebSocket {
    /// Opens one with this query string.
    ///
    /// # Errors
    /// It is refused.
    pub async fn connect(address: &str, query: &str) -> Result<Self> {
        Self::on(tcp::connect(address).await?, query).await
    }

    /// Opens one with this query string on a connection.
    ///
    /// # Errors
    /// It is refused.
    pub async fn on(mut stream: TcpStream, query: &str) -> Result<Self> {
        stream.write_all(Self::opening(query).as_bytes()).await?;
        let pinged = !query.contains("EIO=3");
        Ok(Self {
            pinged,
            ..Self::opened(stream).await?
        })
    }

    /// On a connection on which the opening request was written already.
    ///
    /// # Errors
    /// It is refused.
    pub async fn opened(stream: TcpStream) -> Result<Self> {
        let (response, stream) = Exchange::of(stream).head_only().await?;
        ensure!(response.status == 101, "no WebSocket but {}", response.status);
        ensure!(response.header("sec-websocket-accept") == Some(KEY.1), "another key");
        ensure!(
            response.header("sec-websocket-extensions").is_none(),
            "an extension nobody asked for"
        );
        Ok(Self {
            stream,
            pinged: true,
            closing: false,
        })
    }

    /// Asks for one and returns the answer, whatever it is.
    ///
    /// # Errors
    /// There is none.
    pub async fn refused(address: &str, query: &str) -> Result<Response> {
        let mut stream = tcp::connect(address).await?;
        stream.write_all(Self::opening(query).as_bytes()).await?;
        Exchange::of(stream).response().await
    }

    /// The request that opens a WebSocket with this query string.
    #[must_use]
    pub fn opening(query: &str) -> String {
        format!(
            "GET /socket.io/?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {}\r\n\r\n",
            KEY.0
        )
    }

    /// Opens a session that has no other transport; its handshake is read.
    ///
    /// # Errors
    /// It is refused.
    pub async fn open(address: &str) -> Result<Self> {
        Self::open_on(tcp::connect(address).await?).await
    }

    /// Opens a session that has no other transport on a connection; its handshake is read.
    ///
    /// # Errors
    /// It is refused.
    pub async fn open_on(stream: TcpStream) -> Result<Self> {
        let mut socket = Self::on(stream, "EIO=4&transport=websocket").await?;
        socket.handshake().await?;
        Ok(socket)
    }

    /// Reads the Engine.IO handshake.
    ///
    /// # Errors
    /// Something else comes.
    pub async fn handshake(&mut self) -> Result<Value> {
        let packet = self.text().await?;
        let open = packet.strip_prefix('0').context("the first packet is `open`")?;
        Ok(serde_json::from_str(open)?)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send_frame(&mut self, frame: &Frame) -> Result<()> {
        self.closing |= frame.opcode == Opcode::Close;
        self.write(&frame.masked()).await
    }

    /// Sends text.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        self.send_frame(&Frame::new(Opcode::Text, text)).await
    }

    /// Sends binary data.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send_binary(&mut self, data: &[u8]) -> Result<()> {
        self.send_frame(&Frame::new(Opcode::Binary, data)).await
    }

    /// The next frame, whatever it is.
    ///
    /// # Errors
    /// There is none in time, or it is not one a server may send.
    pub async fn frame(&mut self) -> Result<Frame> {
        timeout(PATIENCE, self.read_frame()).await.context("no frame came")?
    }

    async fn read_frame(&mut self) -> Result<Frame> {
        let first = self.stream.read_u8().await.context("the connection has ended")?;
        let opcode = Opcode::from_bits(first & 0x0f).with_context(|| format!("{first:#x} has no known opcode"))?;
        let length = match self.stream.read_u8().await? {
            length @ 0..126 => u64::from(length),
            126 => self.stream.read_u16().await?.into(),
            127 => self.stream.read_u64().await?,
            _ => bail!("a server masks its frames"),
        };
        let mut payload = vec![0; length.try_into()?];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame {
            last: first & 0x80 != 0,
            reserved: first & 0x70,
            opcode,
            payload,
        })
    }

    /// The next message.
    ///
    /// # Errors
    /// There is none in time, or the server closes.
    pub async fn message(&mut self) -> Result<Message> {
        timeout(PATIENCE, self.read_message())
            .await
            .context("no message came")?
    }

    async fn read_message(&mut self) -> Result<Message> {
        loop {
            let frame = self.read_frame().await?;
            ensure!(
                frame.last && frame.reserved == 0,
                "this server has no need of fragments and extensions"
            );
            match frame.opcode {
                Opcode::Text if self.pinged && frame.payload == b"2" => self.send("3").await?,
                Opcode::Text => return Ok(Message::Text(String::from_utf8(frame.payload)?)),
                Opcode::Binary => return Ok(Message::Binary(frame.payload)),
                opcode => bail!("{opcode:?} came: {:?}", frame.payload),
            }
        }
    }

    /// The next message, which has to be text.
    ///
    /// # Errors
    /// It is not, or there is none in time.
    pub async fn text(&mut self) -> Result<String> {
        match self.message().await? {
            Message::Text(text) => Ok(text),
            Message::Binary(data) => bail!("text should come: {data:?}"),
        }
    }

    /// The next message, which has to be binary.
    ///
    /// # Errors
    /// It is not, or there is none in time.
    pub async fn binary(&mut self) -> Result<Vec<u8>> {
        match self.message().await? {
            Message::Binary(data) => Ok(data),
            Message::Text(text) => bail!("binary data should come: {text}"),
        }
    }

    /// Waits until the server closes it, whatever it sends before, and answers its close frame, whose code is returned.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn closed(mut self) -> Result<Option<u16>> {
        timeout(PATIENCE, async {
            let mut code = None;
            while let Ok(frame) = self.read_frame().await {
                if frame.opcode == Opcode::Close {
                    code = frame.close_code();
                    if !self.closing {
                        let _gone = self.send_frame(&frame).await;
                    }
                }
            }
            code
        })
        .await
        .context("the server does not close the connection")
    }

    /// The same connection, for another task to write to.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn writer(&self) -> Result<TcpStream> {
        let stream = self.stream.get_ref().as_fd().try_clone_to_owned()?;
        Ok(TcpStream::from_std(stream.into())?)
    }

    /// The connection below it; what was read and not yet asked for is lost.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}
