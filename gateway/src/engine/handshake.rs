//! What a request asks for, and what is kept of the one that opens a session.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, request};
use bytes::Bytes;
use bytestring::ByteString;
use url::form_urlencoded;

use super::Protocol;
use super::error::RequestError;
use super::session_id::SessionId;
use crate::config::Transport;

/// The part of a query that concerns the engine.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) transport: Transport,
    /// The session the request belongs to; none opens a new one.
    pub(super) session: Option<Result<SessionId, RequestError>>,
    /// None for a version that is not known.
    pub(super) protocol: Option<Protocol>,
    /// The client reads text only.
    pub(super) base64: bool,
}

impl Query {
    /// # Errors
    /// When it names no transport.
    pub(super) fn parse(query: &str) -> Result<Self, RequestError> {
        let (mut transport, mut session, mut protocol, mut base64) = (None, None, None, false);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "transport" if value == "polling" => transport = Some(Transport::Polling),
                "transport" if value == "websocket" => transport = Some(Transport::Websocket),
                "sid" => session = Some(SessionId::parse(&value).ok_or(RequestError::SessionUnknown)),
                "EIO" if value == "4" => protocol = Some(Protocol::V4),
                "EIO" if value == "3" => protocol = Some(Protocol::V3),
                "b64" => base64 = true,
                _ => {}
            }
        }
        Ok(Self {
            transport: transport.ok_or(RequestError::TransportUnknown)?,
            session,
            protocol,
            base64,
        })
    }
}

/// The request that opened a session, as far as a handler may ask for it. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) headers: Headers,
    /// The query string as it came.
    pub(crate) query: ByteString,
    /// Where the request came from.
    pub(crate) address: Option<IpAddr>,
}

impl Request {
    /// Copies what is kept, since a header would keep the whole buffer it was read into.
    pub(super) fn copy(parts: &request::Parts) -> Self {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Self {
            headers: Headers::copy(&parts.headers),
            query: parts.uri.query().unwrap_or_default().into(),
            address: address.map(|ConnectInfo(address)| address.ip().to_canonical()),
        }
    }
}

/// The headers of a request, in as little memory as they need. Cloning shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    fn copy(headers: &HeaderMap) -> Self {
        // Neither names nor values have line breaks.
        let size = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 2);
        let mut lines = Vec::with_capacity(size.sum());
        for (name, value) in headers {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.push(b'\n');
            lines.extend_from_slice(value.as_bytes());
            lines.push(b'\n');
        }
        Self(lines.into())
    }

    /// Name and value of each header; names are in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut lines = self.0.split(|&byte| byte == b'\n');
        std::iter::from_fn(move || {
            let name = std::str::from_utf8(lines.next()?).ok()?;
            Some((name, lines.next()?))
        })
    }

    /// The first value of a header, whose name is in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_they_came() {
        let map: HeaderMap = [("cookie", "a=b"), ("x-empty", ""), ("accept", "*/*")]
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let headers = Headers::copy(&map);
        assert_eq!(headers.get("x-empty"), Some(&b""[..]));
        assert_eq!(headers.get("cookie"), Some(&b"a=b"[..]));
        assert_eq!(headers.get("host"), None);
        assert_eq!(headers.iter().count(), 3);
        assert_eq!(Headers::copy(&HeaderMap::new()).iter().count(), 0);
    }

    #[test]
    fn a_query_names_transport_version_and_session() {
        let query = Query::parse("EIO=4&transport=polling&t=abc").unwrap();
        assert_eq!(
            (query.transport, query.protocol),
            (Transport::Polling, Some(Protocol::V4))
        );
        assert!(query.session.is_none() && !query.base64);
        let query = Query::parse("transport=websocket&EIO=5&sid=x&b64=1").unwrap();
        assert_eq!((query.transport, query.protocol), (Transport::Websocket, None));
        assert_eq!(
            query.session.map(|id| id.unwrap_err()),
            Some(RequestError::SessionUnknown)
        );
        assert!(query.base64);
        for wrong in ["", "EIO=4", "EIO=4&transport=abc"] {
            assert_eq!(
                Query::parse(wrong).unwrap_err(),
                RequestError::TransportUnknown,
                "{wrong}"
            );
        }
    }
}
