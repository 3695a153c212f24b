//! Where a broker is, and how to say so without giving its password away.

use std::fmt;

use url::Url;

/// The URL of a broker. `Display` and `Debug` mask the password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    url: Url,
    masked: String,
}

/// The schemes that name a broker, and what they mean.
const SCHEMES: [(&str, Scheme); 8] = [
    ("memory", Scheme::Memory),
    ("redis", Scheme::Redis),
    ("valkey", Scheme::Redis),
    ("nats", Scheme::Nats),
    ("tls", Scheme::Nats),
    ("amqp", Scheme::Amqp),
    ("amqps", Scheme::Amqp),
    ("http", Scheme::Http),
];

/// Which kind of broker a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `memory://`: this process alone.
    Memory,
    /// `redis://`, `valkey://`.
    Redis,
    /// `nats://`, and `tls://`: NATS with TLS.
    Nats,
    /// `amqp://`, `amqps://`: RabbitMQ.
    Amqp,
    /// `http://`: a gateway, for emitters only.
    Http,
}

/// Why a URL names no broker.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    /// Not a URL at all. The text may hold a password and is not repeated.
    #[error("not a URL ({0}); expected something like redis://user:password@host:6379")]
    Invalid(String),
    /// A scheme that names no broker.
    #[error("the scheme {0:?} names no broker; known are {known}", known = BrokerUrl::known_schemes())]
    Scheme(String),
    /// What only the process itself could use.
    #[error(
        "memory:// is inside a gateway and cannot be reached from here; name the gateway instead, as http://127.0.0.1:3000"
    )]
    Memory,
    /// A broker on the network has a host.
    #[error("the URL {0} names no host")]
    NoHost(String),
    /// What the broker's own rules forbid: a channel, a parameter, a file.
    #[error("{0}: {1}")]
    Unusable(String, String),
    /// A broker that this build has no code for.
    #[error("{0} needs the Cargo feature {1:?}, which this build does not have")]
    Feature(String, &'static str),
}

impl BrokerUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it is none, or names no broker that exists.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|error| UrlError::Invalid(error.to_string()))?;
        if !SCHEMES.iter().any(|(name, _)| *name == url.scheme()) {
            return Err(UrlError::Scheme(url.scheme().into()));
        }
        let mut masked = url.clone();
        if masked.password().is_some() {
            // Fails only for URLs that cannot have a password.
            let _ = masked.set_password(Some("***"));
        } else if matches!(url.scheme(), "nats" | "tls") && !url.username().is_empty() {
            // A user without a password is a token.
            let _ = masked.set_username("***");
        }
        let masked = masked.to_string();
        if url.scheme() != "memory" && url.host_str().is_none_or(str::is_empty) {
            return Err(UrlError::NoHost(masked));
        }
        Ok(Self { url, masked })
    }

    /// `memory://`: no broker.
    ///
    /// # Panics
    /// Never: the URL is a constant.
    #[expect(clippy::expect_used, reason = "a constant")]
    pub fn memory() -> Self {
        Self::parse("memory://").expect("memory:// is a URL")
    }

    /// The kind of broker.
    pub fn scheme(&self) -> Scheme {
        let known = SCHEMES.iter().find(|(name, _)| *name == self.url.scheme());
        known.map_or(Scheme::Memory, |(_, scheme)| *scheme)
    }

    /// The URL with its password masked.
    pub fn masked(&self) -> &str {
        &self.masked
    }

    fn known_schemes() -> String {
        SCHEMES.map(|(name, _)| format!("{name}://")).join(", ")
    }

    #[cfg(feature = "redis")]
    pub(crate) fn as_redis(&self) -> String {
        let rest = self.url.as_str().trim_start_matches(self.url.scheme());
        format!("redis{rest}")
    }

    #[cfg(feature = "nats")]
    pub(crate) fn user(&self) -> &str {
        self.url.username()
    }

    #[cfg(feature = "nats")]
    pub(crate) fn parameters(&self) -> url::form_urlencoded::Parse<'_> {
        self.url.query_pairs()
    }

    /// Scheme, host and port alone.
    #[cfg(feature = "nats")]
    pub(crate) fn address(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = self.url.host_str().unwrap_or_default();
        format!("{}://{host}{port}", self.url.scheme())
    }

    #[cfg(feature = "amqp")]
    pub(crate) fn as_amqp(&self) -> &str {
        self.url.as_str()
    }

    #[cfg(feature = "amqp")]
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    #[cfg(any(feature = "http", feature = "nats"))]
    pub(crate) fn password(&self) -> Option<&str> {
        self.url.password()
    }

    /// The address of an HTTP endpoint, without credentials.
    #[cfg(feature = "http")]
    pub(crate) fn endpoint(&self, path: &str) -> Result<Url, url::ParseError> {
        let mut url = self.url.clone();
        // Both fail only for URLs that cannot have credentials.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        url.join(path)
    }
}

impl std::str::FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.masked, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_everywhere() {
        let url = BrokerUrl::parse("redis://me:s3cret@example.org:6380/2").unwrap();
        for shown in [url.to_string(), format!("{url:?}"), url.masked().to_owned()] {
            assert!(shown.contains("redis://me:***@example.org:6380/2"), "{shown}");
        }
        let url = BrokerUrl::parse("nats://t0ken@h:4222?nkey=/seed").unwrap();
        assert_eq!(url.to_string(), "nats://***@h:4222?nkey=/seed");
        assert!(
            !BrokerUrl::parse("redis://me:s3cret@[oops")
                .unwrap_err()
                .to_string()
                .contains("s3cret")
        );
    }

    #[test]
    fn what_is_no_broker_is_said_to_be_none() {
        let problem = |text| BrokerUrl::parse(text).unwrap_err().to_string();
        assert!(problem("localhost").contains("not a URL"));
        assert!(problem("kafka://x").contains("known are memory://, redis://"));
        assert!(problem("redis://").contains("names no host"));
        assert_eq!(BrokerUrl::parse("valkey://h").unwrap().scheme(), Scheme::Redis);
        assert_eq!(BrokerUrl::parse("amqps://h").unwrap().scheme(), Scheme::Amqp);
        assert_eq!(BrokerUrl::parse("memory://").unwrap().scheme(), Scheme::Memory);
    }
}
