//! What the types of a configuration cannot say.

use std::collections::HashSet;
use std::time::Duration;

use hallporter_adapters::url::Scheme;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Config, route};
use crate::token;

/// Values that make no sense, by key.
pub(super) fn validate(config: &Config) -> Vec<(Vec<String>, String)> {
    let mut wrong = Vec::new();
    let mut check = |key: &str, fine: bool, problem: &str| {
        if !fine {
            wrong.push((key.split('.').map(str::to_owned).collect(), problem.to_owned()));
        }
    };
    check(
        "path",
        config.path.starts_with('/') && config.path.len() > 1,
        "must begin with a slash and name a path",
    );
    let log = config.log.parse::<EnvFilter>();
    check(
        "log",
        log.is_ok(),
        "must be a level (error, warn, info, debug, trace) or tracing directives",
    );
    let engine = &config.engine;
    check(
        "engine.ping_interval",
        engine.ping_interval > Duration::ZERO,
        "must be longer than nothing",
    );
    check(
        "engine.ping_timeout",
        engine.ping_timeout > Duration::ZERO,
        "must be longer than nothing",
    );
    check(
        "engine.connect_timeout",
        engine.connect_timeout > Duration::ZERO,
        "must be longer than nothing",
    );
    check(
        "engine.max_payload",
        engine.max_payload > 0,
        "must be more than nothing",
    );
    check(
        "engine.transports",
        !engine.transports.is_empty(),
        "must name polling, websocket or both",
    );
    check(
        "engine.upgrade_timeout",
        engine.upgrade_timeout > Duration::ZERO,
        "must be longer than nothing",
    );
    let is_token = |name: &String| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    check(
        "engine.cookie",
        engine.cookie.as_ref().is_none_or(is_token),
        "must be letters, digits, dashes, dots and underscores",
    );
    let limits = &config.limits;
    for (key, limit) in [
        ("limits.client_buffer", limits.client_buffer),
        ("limits.waiting_events", limits.waiting_events),
        ("limits.waiting_bytes", limits.waiting_bytes),
        ("limits.assembly_bytes", limits.assembly_bytes),
        ("limits.namespaces", limits.namespaces),
        ("limits.connecting", limits.connecting),
    ] {
        check(key, limit > 0, "must be more than nothing");
    }
    for (key, limit) in [
        ("limits.write_stall", limits.write_stall),
        ("limits.request_head", limits.request_head),
        ("limits.assembly_time", limits.assembly_time),
    ] {
        check(key, limit > Duration::ZERO, "must be longer than nothing");
    }
    let manager = &config.manager;
    check(
        "manager.url",
        manager.url.scheme() != Scheme::Http,
        "names a gateway, not a broker; http:// is for emitters",
    );
    let made = hallporter_adapters::manager(&manager.url, manager.options()).err();
    check(
        "manager.url",
        made.is_none(),
        &made.map(|error| error.to_string()).unwrap_or_default(),
    );
    check("manager.channel", !manager.channel.is_empty(), "must not be empty");
    check(
        "manager.max_message",
        manager.max_message > 0,
        "must be more than nothing",
    );
    check(
        "manager.canary_interval",
        manager.canary_interval > Duration::ZERO,
        "must be longer than nothing",
    );
    let is_name = |name: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
    };
    let instance = &config.instance;
    for (key, name) in [
        ("instance.id", instance.id.as_deref()),
        ("instance.type", Some(&*instance.kind)),
    ] {
        check(
            key,
            name.is_none_or(is_name),
            "must be 1 to 64 letters, digits, dashes, dots and underscores",
        );
    }
    for (index, origin) in config.allowed_origins.iter().enumerate() {
        let is_origin = origin == "*"
            || Url::parse(origin).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == *origin);
        check(
            &format!("allowed_origins.{index}"),
            is_origin,
            "must be \"*\" or an origin: scheme and host, as in \"https://example.org\", and nothing after it",
        );
    }
    if let Some(tokens) = &config.token
        && let Err(error) = token::check(tokens)
    {
        check(error.key(tokens), false, &error.to_string());
    }
    for (key, problem) in config.api.mistakes() {
        check(&key, false, &problem);
    }
    let mut known = HashSet::new();
    let mut patterns = matchit::Router::new();
    for (index, namespace) in config.namespace.iter().enumerate() {
        let name = &namespace.name;
        let problem = if !name.starts_with('/') {
            "must begin with a slash"
        } else if name.contains([',', '?']) {
            "must contain neither a comma nor a question mark, which end a namespace in the protocol"
        } else if !known.insert(name) {
            "is there twice"
        } else if name.contains(['{', '}']) && patterns.insert(name.as_str(), ()).is_err() {
            "is no pattern such as \"/tenant-{id}\", or one that overlaps with another"
        } else {
            continue;
        };
        check(&format!("namespace.{index}.name"), false, problem);
    }
    wrong.extend(route::validate(config));
    wrong
}

/// The namespaces that nobody can connect to, and the routes of those that nobody opens, where there is no code.
pub(super) fn closed(config: &Config) -> Vec<(Vec<String>, String)> {
    let is_closed = |public: bool| !public && config.token.is_none();
    let namespaces = config.namespace.iter().enumerate();
    let decides = |name: &str| {
        config
            .route
            .iter()
            .any(|route| route.is_for(name) && route.event.matches("connect"))
    };
    let closed = namespaces.filter(|(_, namespace)| is_closed(namespace.public) && !decides(&namespace.name));
    let closed = closed.map(|(index, namespace)| {
        let problem = format!(
            "nobody can connect to {:?}: say public = true here, or configure [token]",
            namespace.name
        );
        (vec!["namespace".into(), index.to_string()], problem)
    });
    closed.chain(route::unopened(config)).collect()
}
