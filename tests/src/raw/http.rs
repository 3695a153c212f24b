//! HTTP/1.1, one request on a connection of its own.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tcp;
use crate::PATIENCE;

/// A request that is not sent yet.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    target: String,
    headers: String,
    body: Vec<u8>,
}

impl Request {
    /// With any method.
    #[must_use]
    pub fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: String::new(),
            body: Vec::new(),
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// A POST of this body, as plain text unless a header says otherwise.
    #[must_use]
    pub fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let request = Self::new("POST", target).header("content-length", &body.len().to_string());
        Self { body, ..request }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Sends it; the answer may be awaited, or not.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn start(&self, address: &str) -> Result<Exchange> {
        let (method, target, headers) = (self.method, &self.target, &self.headers);
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        let mut stream = tcp::connect(address).await?;
        stream.write_all(&bytes).await?;
        Ok(Exchange::of(stream))
    }

    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn send(&self, address: &str) -> Result<Response> {
        self.start(address).await?.response().await
    }
}

/// A request that was sent and waits for its answer; dropping it cancels it.
#[derive(Debug)]
pub struct Exchange(BufReader<TcpStream>);

impl Exchange {
    /// On a stream on which the request was written already.
    #[must_use]
    pub fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The answer.
    ///
    /// # Errors
    /// There is none in time, or it is no HTTP.
    pub async fn response(mut self) -> Result<Response> {
        timeout(PATIENCE, async {
            let mut response = self.head().await?;
            response.body = self.body(&response).await?;
            Ok(response)
        })
        .await
        .context("an HTTP request is not answered")?
    }

    /// The answer's head, and the stream with what follows it.
    ///
    /// # Errors
    /// There is none in time, or it is no HTTP.
    pub async fn head_only(mut self) -> Result<(Response, BufReader<TcpStream>)> {
        let head = timeout(PATIENCE, self.head()).await;
        Ok((head.context("an HTTP request is not answered")??, self.0))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let line = line.strip_suffix("\r\n").context("the answer ends in its head")?;
        Ok(line.to_owned())
    }

    async fn head(&mut self) -> Result<Response> {
        let status = self.line().await?;
        let status = status.split(' ').nth(1).context("a status line has a status")?;
        let mut response = Response {
            status: status.parse()?,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(response);
            }
            let (name, value) = line.split_once(':').context("a header has a colon")?;
            response
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    async fn body(&mut self, response: &Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = response.header("content-length") {
            body.resize(length.parse()?, 0);
            self.0.read_exact(&mut body).await?;
        } else if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&self.line().await?, 16)?;
                let start = body.len();
                body.resize(start + length, 0);
                self.0.read_exact(&mut body[start..]).await?;
                self.line().await?;
                if length == 0 {
                    break;
                }
            }
        } else {
            self.0.read_to_end(&mut body).await?;
        }
        Ok(body)
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Response {
    /// The value of a header, whose name is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| header == name);
        header.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Errors
    /// It is no UTF-8.
    pub fn text(&self) -> Result<&str> {
        Ok(std::str::from_utf8(&self.body)?)
    }

    /// The numeric code of an Engine.IO error, which comes with a message and the status 400 or 403.
    ///
    /// # Errors
    /// It is none.
    pub fn error_code(&self) -> Result<u64> {
        let body = self.text()?;
        if self.status != 400 && self.status != 403 {
            bail!("{} is no error: {body}", self.status);
        }
        let error: Value = serde_json::from_str(body).with_context(|| format!("{body:?} is no error"))?;
        error["message"].as_str().context("an error has a message")?;
        error["code"].as_u64().context("an error has a code")
    }
}
