//! Where a broker is, and how to say so without giving its password away.

use std::fmt;

#[cfg(any(feature = "redis", feature = "nats", feature = "http"))]
use percent_encoding::percent_decode_str;
use url::{Position, Url};

#[cfg(any(feature = "redis", feature = "nats", feature = "amqp"))]
use crate::broker::BrokerError;

/// The URL of a broker. `Display` and `Debug` mask the password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// With the first host alone, where several are named.
    url: Url,
    /// The other hosts, each in a URL of its own.
    others: Vec<Url>,
    masked: String,
}

/// The schemes that name a broker, and what they mean.
const SCHEMES: [(&str, Scheme); 15] = [
    ("memory", Scheme::Memory),
    ("redis", Scheme::Redis),
    ("rediss", Scheme::Redis),
    ("redis+sentinel", Scheme::Redis),
    ("redis+unix", Scheme::Redis),
    ("valkey", Scheme::Redis),
    ("valkeys", Scheme::Redis),
    ("valkey+sentinel", Scheme::Redis),
    ("valkey+unix", Scheme::Redis),
    ("unix", Scheme::Redis),
    ("nats", Scheme::Nats),
    ("tls", Scheme::Nats),
    ("amqp", Scheme::Amqp),
    ("amqps", Scheme::Amqp),
    ("http", Scheme::Http),
];

/// Parameters that are as secret as a password.
const SECRETS: [&str; 2] = ["pass", "password"];

/// Which kind of broker a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `memory://`: this process alone.
    Memory,
    /// `redis://`, `valkey://`; with TLS `rediss://`, `valkeys://`; a Unix socket, `unix://`, `redis+unix://`,
    /// `valkey+unix://`; Sentinels, `redis+sentinel://`, `valkey+sentinel://`.
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
        let invalid = |error: url::ParseError| UrlError::Invalid(error.to_string());
        let (first, others) = hosts(text);
        let url = Url::parse(&first).map_err(invalid)?;
        if !SCHEMES.iter().any(|(name, _)| *name == url.scheme()) {
            return Err(UrlError::Scheme(url.scheme().into()));
        }
        let others = others
            .iter()
            .map(|other| Url::parse(other))
            .collect::<Result<Vec<_>, _>>();
        let mut url = Self {
            masked: String::new(),
            url,
            others: others.map_err(invalid)?,
        };
        url.masked = url.mask();
        let local = url.scheme() == Scheme::Memory || url.is_socket();
        if !local
            && [&url.url]
                .into_iter()
                .chain(&url.others)
                .any(|url| bare_host(url).is_empty())
        {
            return Err(UrlError::NoHost(url.masked));
        }
        Ok(url)
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

    fn mask(&self) -> String {
        let mut masked = self.url.clone();
        if masked.password().is_some() {
            // Fails only for URLs that cannot have a password.
            let _ = masked.set_password(Some("***"));
        } else if self.scheme() == Scheme::Nats && !masked.username().is_empty() {
            // A user without a password is a token.
            let _ = masked.set_username("***");
        }
        if self.url.query_pairs().any(|(name, _)| SECRETS.contains(&&*name)) {
            let pairs = self
                .url
                .query_pairs()
                .map(|(name, value)| match SECRETS.contains(&&*name) {
                    true => (name, "***".into()),
                    false => (name, value),
                });
            masked.query_pairs_mut().clear().extend_pairs(pairs);
        }
        let others = self
            .others
            .iter()
            .map(|other| &other[Position::BeforeHost..Position::AfterPort]);
        let others = others.map(|other| format!(",{other}")).collect::<String>();
        format!(
            "{}{others}{}",
            &masked[..Position::AfterPort],
            &masked[Position::AfterPort..]
        )
    }

    /// Whether it names a Unix socket, which has no host.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.url.scheme(), "unix" | "redis+unix" | "valkey+unix")
    }
}

/// Its parts, for those who connect.
#[cfg(any(feature = "redis", feature = "nats", feature = "amqp", feature = "http"))]
impl BrokerUrl {
    /// The value of each of these parameters, which are known by name and meaning.
    ///
    /// # Errors
    /// When the URL has a parameter that is none of them.
    #[cfg(any(feature = "redis", feature = "nats", feature = "amqp"))]
    pub(crate) fn parameters<const N: usize>(
        &self,
        known: [(&str, &str); N],
    ) -> Result<[Option<String>; N], BrokerError> {
        let mut values = [const { None }; N];
        for (name, value) in self.url.query_pairs() {
            let place = known.iter().position(|(known, _)| *known == name);
            let Some(place) = place.and_then(|place| values.get_mut(place)) else {
                let known = known.map(|(name, meaning)| format!("{name} ({meaning})"));
                let known = if N == 0 {
                    "there are none".into()
                } else {
                    format!("known are {}", known.join(", "))
                };
                return Err(BrokerError::Refused(format!("unknown parameter {name:?}; {known}")));
            };
            *place = Some(value.into_owned());
        }
        Ok(values)
    }

    /// The user, empty where there is none.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(crate) fn user(&self) -> String {
        decode(self.url.username())
    }

    #[cfg(any(feature = "http", feature = "nats", feature = "redis"))]
    pub(crate) fn password(&self) -> Option<String> {
        self.url.password().map(decode)
    }

    /// Scheme, host and port alone.
    #[cfg(feature = "nats")]
    pub(crate) fn address(&self) -> String {
        format!(
            "{}://{}",
            self.url.scheme(),
            &self.url[Position::BeforeHost..Position::AfterPort]
        )
    }

    #[cfg(feature = "amqp")]
    pub(crate) fn as_amqp(&self) -> &str {
        self.url.as_str()
    }

    /// Whether the scheme means TLS. On NATS the client library sees to it.
    #[cfg(any(feature = "redis", feature = "amqp"))]
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.url.scheme(), "rediss" | "valkeys" | "amqps")
    }

    /// Whether its hosts are Sentinels.
    #[cfg(feature = "redis")]
    pub(crate) fn is_sentinel(&self) -> bool {
        self.url.scheme().ends_with("+sentinel")
    }

    /// The first host, an IPv6 address without its brackets.
    #[cfg(any(feature = "redis", feature = "amqp"))]
    pub(crate) fn host(&self) -> &str {
        bare_host(&self.url)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn port_or(&self, port: u16) -> u16 {
        self.url.port().unwrap_or(port)
    }

    /// All its hosts, with this port where one has none.
    #[cfg(feature = "redis")]
    pub(crate) fn hosts(&self, port: u16) -> impl Iterator<Item = (String, u16)> {
        let urls = std::iter::once(&self.url).chain(&self.others);
        urls.map(move |url| (bare_host(url).to_owned(), url.port().unwrap_or(port)))
    }

    /// What stands between the slashes behind the host.
    #[cfg(feature = "redis")]
    pub(crate) fn path(&self) -> impl Iterator<Item = String> {
        self.url.path().split('/').skip(1).map(decode)
    }

    /// The path of a socket.
    #[cfg(feature = "redis")]
    pub(crate) fn file(&self) -> Option<std::path::PathBuf> {
        self.url.to_file_path().ok().filter(|path| path.file_name().is_some())
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

/// The host of a URL, an IPv6 address without its brackets.
fn bare_host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

#[cfg(any(feature = "redis", feature = "nats", feature = "http"))]
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Sentinels are several: a URL with the first of the hosts, and one for each of the others.
fn hosts(text: &str) -> (String, Vec<String>) {
    let whole = || (text.to_owned(), Vec::new());
    let Some((scheme, rest)) = text
        .split_once("://")
        .filter(|(scheme, _)| scheme.ends_with("+sentinel"))
    else {
        return whole();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let start = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, hosts) = authority.split_at(start);
    let mut hosts = hosts.split(',');
    let first = hosts.next().unwrap_or_default();
    let others = hosts.map(|host| format!("{scheme}://{host}"));
    (format!("{scheme}://{user}{first}{path}"), others.collect())
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
        for (text, shown) in [
            ("unix:///s.sock?user=me&pass=s3cret", "unix:///s.sock?user=me&pass=***"),
            (
                "redis+sentinel://me:s3cret@a:1,b:2/0/m",
                "redis+sentinel://me:***@a:1,b:2/0/m",
            ),
            ("valkey+sentinel://a:1,b,[::1]:3", "valkey+sentinel://a:1,b,[::1]:3"),
        ] {
            assert_eq!(BrokerUrl::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["redis://me:s3cret@[oops", "redis+sentinel://me:s3cret@a:1,b:x/0/m"] {
            let problem = BrokerUrl::parse(wrong).unwrap_err().to_string();
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn what_is_no_broker_is_said_to_be_none() {
        let problem = |text| BrokerUrl::parse(text).unwrap_err().to_string();
        assert!(problem("localhost").contains("not a URL"));
        assert!(problem("kafka://x").contains("known are memory://, redis://"));
        assert!(problem("redis://").contains("names no host"));
        assert!(problem("redis+sentinel:///0/m").contains("names no host"));
        assert_eq!(BrokerUrl::parse("valkey://h").unwrap().scheme(), Scheme::Redis);
        assert_eq!(BrokerUrl::parse("amqps://h").unwrap().scheme(), Scheme::Amqp);
        assert_eq!(BrokerUrl::parse("memory://").unwrap().scheme(), Scheme::Memory);
    }
}
