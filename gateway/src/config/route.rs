//! `[[route]]`: where the events of clients go.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hallporter_adapters::url::Scheme;
use serde::{Deserialize, Deserializer, de};
use url::Url;
use wildmatch::WildMatch;

use super::{Config, Secret, units};

/// The shortest secret that signs requests, in bytes.
const MIN_SECRET: usize = 32;

/// `[[route]]`: where events of clients go. The first that fits is the one; what fits none goes to the user's code in the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The namespace, by the name or pattern that it was opened with; `*` is all of them. Default `/`.
    #[serde(default = "main_namespace", deserialize_with = "units::text")]
    pub namespace: String,
    /// The events.
    pub event: EventPattern,
    /// Where they go.
    pub to: Destination,
    /// How long a reply may take; then the client is told `timeout`. Default 3 s. Handlers take as long as they like.
    #[serde(default = "timeout", deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// Events that may be on their way at once; further ones are answered `busy`. Default 1,000. Handlers have no such bound.
    #[serde(default = "in_flight")]
    pub in_flight: usize,
    /// Whether the next event of a socket goes out while an earlier one is not answered yet. Default false.
    #[serde(default)]
    pub parallel: bool,
    /// Signs what is sent over HTTP. Default none.
    #[serde(default)]
    pub secret: Option<Secret>,
}

fn main_namespace() -> String {
    "/".into()
}

const fn timeout() -> Duration {
    Duration::from_secs(3)
}

const fn in_flight() -> usize {
    1000
}

impl Route {
    /// Events of `/` to there.
    pub fn new(event: &str, to: Destination) -> Self {
        Self {
            namespace: main_namespace(),
            event: EventPattern::new(event),
            to,
            timeout: timeout(),
            in_flight: in_flight(),
            parallel: false,
            secret: None,
        }
    }

    /// Whether it is for the namespace that was opened with this name or pattern.
    pub fn is_for(&self, namespace: &str) -> bool {
        self.namespace == "*" || self.namespace == namespace
    }

    /// Whether nothing is left for a later route.
    fn covers(&self, later: &Self) -> bool {
        let (own, other) = (self.event.as_str(), later.event.as_str());
        let is_name = !other.contains(['*', '?']);
        let all_events =
            own == other || (own == "*" && !is_about_clients(other)) || (is_name && self.event.matches(other));
        all_events && (self.namespace == "*" || self.namespace == later.namespace)
    }
}

/// Names of events, `*` standing for any characters and `?` for one. `connect` and `disconnect`, for clients that come and go, are meant by these
/// very names alone.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPattern {
    text: String,
    pattern: WildMatch,
}

impl EventPattern {
    /// This pattern.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            pattern: WildMatch::new(text),
        }
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it means this event.
    pub fn matches(&self, event: &str) -> bool {
        match is_about_clients(event) {
            true => self.text == event,
            false => self.pattern.matches(event),
        }
    }
}

/// Whether an event is no event of a client, but that it comes or goes.
fn is_about_clients(event: &str) -> bool {
    matches!(event, "connect" | "disconnect")
}

impl<'de> Deserialize<'de> for EventPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&units::text(deserializer)?))
    }
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `http://…`, `https://…`: the user's HTTP endpoint.
    Http(Url),
    /// `worker:GROUP`: one of the workers that take from the queue of this group.
    Group(String),
    /// `worker:TYPE/{session.KEY}`: the instance of this type whose id is in the session.
    Instance {
        /// The type.
        kind: String,
        /// The key of the session.
        key: String,
    },
    /// `handler:NAME`: what the user's code in the gateway does with the event of this name.
    Handler(String),
}

/// Why a text is no [`Destination`]. It may hold a password, so it is not repeated.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DestinationError {
    /// It begins like none.
    #[error(
        "is no place for events; write \"http://…\", \"worker:GROUP\", \"worker:TYPE/{{session.KEY}}\" or \"handler:NAME\""
    )]
    Unknown,
    /// It begins like a URL and is none.
    #[error("is no URL: {0}")]
    Url(url::ParseError),
    /// It has a user or password.
    #[error("must not name a user or password; sign requests with secret = \"…\" instead")]
    Password,
    /// A group or type has another character, or too many.
    #[error("a group, and a type, is named by 1 to 64 letters, digits, dashes and underscores")]
    Name,
    /// What follows the type is no key of the session.
    #[error(
        "after the type must come the key of the session that names the instance: \"worker:chat/{{session.chat_server}}\""
    )]
    Key,
    /// No handler is named.
    #[error("must name the handler: \"handler:NAME\"")]
    Handler,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        if let Some(name) = text.strip_prefix("handler:") {
            return match name {
                "" => Err(DestinationError::Handler),
                name => Ok(Self::Handler(name.into())),
            };
        }
        if let Some(worker) = text.strip_prefix("worker:") {
            return worker_of(worker);
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Err(DestinationError::Unknown);
        }
        let url = Url::parse(text).map_err(DestinationError::Url)?;
        match url.username().is_empty() && url.password().is_none() {
            true => Ok(Self::Http(url)),
            false => Err(DestinationError::Password),
        }
    }
}

fn worker_of(text: &str) -> Result<Destination, DestinationError> {
    let (name, key) = text
        .split_once('/')
        .map_or((text, None), |(name, key)| (name, Some(key)));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
        return Err(DestinationError::Name);
    }
    let Some(key) = key else {
        return Ok(Destination::Group(name.into()));
    };
    let key = key.strip_prefix("{session.").and_then(|key| key.strip_suffix('}'));
    match key.filter(|key| !key.is_empty() && !key.contains(['{', '}'])) {
        Some(key) => Ok(Destination::Instance {
            kind: name.into(),
            key: key.into(),
        }),
        None => Err(DestinationError::Key),
    }
}

/// As it is written, but for the query of a URL, which may hold a secret.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(&url[..url::Position::AfterPath]),
            Self::Group(group) => write!(f, "worker:{group}"),
            Self::Instance { kind, key } => write!(f, "worker:{kind}/{{session.{key}}}"),
            Self::Handler(name) => write!(f, "handler:{name}"),
        }
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        units::text(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Routes that make no sense, by key.
pub(super) fn validate(config: &Config) -> Vec<(Vec<String>, String)> {
    let mut wrong = Vec::new();
    for (index, route) in config.route.iter().enumerate() {
        let found = mistakes(route, config.manager.url.scheme());
        let at = |key: &str| vec!["route".into(), index.to_string(), key.to_owned()];
        wrong.extend(found.into_iter().map(|(key, problem)| (at(key), problem.to_owned())));
        if let Some(earlier) = config.route[..index].iter().position(|earlier| earlier.covers(route)) {
            let problem = format!(
                "never reached, since route.{earlier} takes all of these events; put this one before it, or remove one"
            );
            wrong.push((at("event"), problem));
        }
    }
    wrong
}

fn mistakes(route: &Route, broker: Scheme) -> Vec<(&'static str, &'static str)> {
    let (is_http, is_worker) = match route.to {
        Destination::Http(_) => (true, false),
        Destination::Group(_) | Destination::Instance { .. } => (false, true),
        Destination::Handler(_) => (false, false),
    };
    let is_ordered = is_about_clients(route.event.as_str()) || !is_http && !is_worker;
    let is_short = |secret: &Secret| secret.reveal().len() < MIN_SECRET;
    let is_namespace = route.namespace == "*" || route.namespace.starts_with('/');
    let checks = [
        (
            is_namespace,
            "namespace",
            "must begin with a slash, or be \"*\" for all namespaces",
        ),
        (
            !route.event.as_str().is_empty(),
            "event",
            "must name an event; \"*\" stands for all",
        ),
        (
            !is_worker || broker != Scheme::Memory,
            "to",
            "workers are reached over a broker, and manager.url is memory://; name a broker there, or an HTTP endpoint here",
        ),
        (route.timeout > Duration::ZERO, "timeout", "must be longer than nothing"),
        (route.in_flight > 0, "in_flight", "must be more than nothing"),
        (
            !route.parallel || !is_ordered,
            "parallel",
            "is for events that go to an HTTP endpoint or to workers; connect, disconnect and handlers have their order",
        ),
        (
            is_http || route.secret.is_none(),
            "secret",
            "signs HTTP requests, and this route makes none",
        ),
        (
            !route.secret.as_ref().is_some_and(is_short),
            "secret",
            "must have 32 bytes at least, such as those of: openssl rand -base64 32",
        ),
    ];
    let wrong = checks.into_iter().filter(|(is_fine, ..)| !is_fine);
    wrong.map(|(_, key, problem)| (key, problem)).collect()
}

/// The routes of namespaces that nobody opens where no code does.
pub(super) fn unopened(config: &Config) -> Vec<(Vec<String>, String)> {
    let opened = config.namespaces(false);
    let is_opened = |route: &Route| {
        !route.namespace.starts_with('/') || opened.iter().any(|namespace| route.is_for(&namespace.name))
    };
    let routes = config.route.iter().enumerate();
    let unopened = routes.filter(|(_, route)| !is_opened(route));
    unopened
        .map(|(index, route)| {
            let names: Vec<_> = opened.iter().map(|namespace| namespace.name.as_str()).collect();
            let problem = format!(
                "nobody opens {:?}; there is {}. Add a [[namespace]] of this name",
                route.namespace,
                names.join(", ")
            );
            (vec!["route".into(), index.to_string(), "namespace".into()], problem)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_alike() {
        for text in [
            "http://127.0.0.1:5000/events",
            "https://example.org/",
            "worker:orders",
            "worker:a-B_9",
            "worker:chat/{session.chat_server}",
            "handler:order.new",
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        let with_query: Destination = "http://h/p?key=hush".parse().unwrap();
        assert_eq!(with_query.to_string(), "http://h/p");
    }

    #[test]
    fn what_is_no_place_is_refused_and_not_repeated() {
        let long = format!("worker:{}", "x".repeat(65));
        for (text, error) in [
            ("", DestinationError::Unknown),
            ("ftp://host", DestinationError::Unknown),
            ("orders", DestinationError::Unknown),
            ("http://", DestinationError::Url(url::ParseError::EmptyHost)),
            ("http://user:hush@host/", DestinationError::Password),
            ("worker:", DestinationError::Name),
            ("worker:a.b", DestinationError::Name),
            (&long, DestinationError::Name),
            ("worker:chat/", DestinationError::Key),
            ("worker:chat/one", DestinationError::Key),
            ("worker:chat/{session.}", DestinationError::Key),
            ("worker:chat/{user}", DestinationError::Key),
            ("handler:", DestinationError::Handler),
        ] {
            let refused = text.parse::<Destination>().unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains("hush"));
        }
    }

    #[test]
    fn clients_that_come_and_go_are_meant_by_name_alone() {
        for (pattern, event, fits) in [
            ("*", "order.new", true),
            ("order.*", "order.new", true),
            ("order.?", "order.new", false),
            ("order.*", "orders", false),
            ("*", "connect", false),
            ("conn*", "connect", false),
            ("connect", "connect", true),
            ("*connect", "disconnect", false),
            ("disconnect", "disconnect", true),
        ] {
            assert_eq!(EventPattern::new(pattern).matches(event), fits, "{pattern} {event}");
        }
    }

    #[test]
    fn a_route_that_leaves_nothing_is_known() {
        let route = |namespace: &str, event: &str| Route {
            namespace: namespace.into(),
            ..Route::new(event, Destination::Handler("h".into()))
        };
        for (earlier, later, covers) in [
            (("/", "a.*"), ("/", "a.*"), true),
            (("/", "*"), ("/", "a.*"), true),
            (("*", "a.?"), ("/", "a.b"), true),
            (("/", "a.?"), ("/", "a.*"), false),
            (("/", "*"), ("/", "connect"), false),
            (("/", "a"), ("/chat", "a"), false),
            (("/", "a"), ("*", "a"), false),
        ] {
            assert_eq!(
                route(earlier.0, earlier.1).covers(&route(later.0, later.1)),
                covers,
                "{earlier:?} {later:?}"
            );
        }
    }
}
