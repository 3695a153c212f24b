//! A gateway in place of a broker: what a worker publishes goes to its HTTP API.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::Client;

use super::{Broker, BrokerError, Delivery};
use crate::url::BrokerUrl;
use crate::{GatewayClient, ManagerError};

/// The publishing half of a [`Broker`], over `POST /api/v1/message` of a gateway.
#[derive(Debug)]
pub struct HttpBroker(GatewayClient);

impl HttpBroker {
    /// Names the gateway. Its API key is the password of the URL: `http://:KEY@gateway:3000`.
    ///
    /// # Errors
    /// When the URL has no host, or the key cannot be a header.
    pub fn new(url: BrokerUrl) -> Result<Self, ManagerError> {
        Ok(Self(GatewayClient::new(url, None)?))
    }
}

impl Broker for HttpBroker {
    fn url(&self) -> &str {
        self.0.url()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        let healthy = self.0.send("healthz", Client::get, None, Duration::ZERO);
        healthy.await.map(drop)
    }

    async fn publish(&self, _topic: &str, body: Bytes) -> Result<(), BrokerError> {
        let posted = self.0.send("api/v1/message", Client::post, Some(body), Duration::ZERO);
        posted.await.map(drop)
    }

    async fn listeners(&self, _topics: [&str; 2]) -> Option<[usize; 2]> {
        None
    }

    async fn listen(
        &self,
        _topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let nothing: Result<stream::Empty<Delivery>, _> = Err(BrokerError::Refused(
            "a gateway's HTTP API cannot be listened to; name its broker instead".into(),
        ));
        nothing
    }
}
