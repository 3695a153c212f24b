//! The metrics of a gateway. None is labelled by sid, room or user; namespaces are named by their configured pattern.

use std::sync::OnceLock;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const SOCKETS: &str = "hallporter_sockets";
const CONNECTS: &str = "hallporter_connects_total";
const CONNECTS_REFUSED: &str = "hallporter_connects_refused_total";
pub(crate) const DISCONNECTS: &str = "hallporter_disconnects_total";
const EVENTS: &str = "hallporter_events_total";
const EVENTS_UNHANDLED: &str = "hallporter_events_unhandled_total";
pub(crate) const EVENTS_DROPPED: &str = "hallporter_events_dropped_total";
pub(crate) const SESSIONS: &str = "hallporter_sessions";
pub(crate) const SESSIONS_CLOSED: &str = "hallporter_sessions_closed_total";
pub(crate) const DELIVERIES_DROPPED: &str = "hallporter_deliveries_dropped_total";
pub(crate) const HANDLER_ERRORS: &str = "hallporter_handler_errors_total";
pub(crate) const USER_CHANGES_DROPPED: &str = "hallporter_user_changes_dropped_total";
pub(crate) const SERVER_SIDE_EVENTS_DROPPED: &str = "hallporter_server_side_events_dropped_total";
pub(crate) const CALLS_REFUSED: &str = "hallporter_calls_refused_total";
pub(crate) const HANDLER_PANICS: &str = "hallporter_handler_panics_total";
pub(crate) const HTTP_REFUSED: &str = "hallporter_http_refused_total";
pub(crate) const TOKENS_REFUSED: &str = "hallporter_tokens_refused_total";
pub(crate) const TOKEN_KEYS_RELOADED: &str = "hallporter_token_keys_reloaded_total";
pub(crate) const ROUTE_SECONDS: &str = "hallporter_route_seconds";
pub(crate) const ROUTE_EVENTS: &str = "hallporter_route_events_total";
pub(crate) const ROUTE_REFUSED: &str = "hallporter_route_refused_total";
pub(crate) const ROUTE_RETRIES: &str = "hallporter_route_retries_total";
pub(crate) const ROUTE_DISCONNECTS: &str = "hallporter_route_disconnects_total";
pub(crate) const ROUTE_DISCONNECTS_DROPPED: &str = "hallporter_route_disconnects_dropped_total";

/// Upper bounds of what histograms of durations tell apart, in seconds.
const BUCKETS: [f64; 11] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// What is counted by namespace: by its configured name or pattern, of which there are few.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) sockets: Gauge,
    pub(crate) connects: Counter,
    pub(crate) refused: Counter,
    pub(crate) events: Counter,
    pub(crate) unhandled: Counter,
}

impl Meters {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            sockets: gauge!(SOCKETS, "namespace" => namespace.to_owned()),
            connects: counter!(CONNECTS, "namespace" => namespace.to_owned()),
            refused: counter!(CONNECTS_REFUSED, "namespace" => namespace.to_owned()),
            events: counter!(EVENTS, "namespace" => namespace.to_owned()),
            unhandled: counter!(EVENTS_UNHANDLED, "namespace" => namespace.to_owned()),
        }
    }
}

/// The recorder of this process, which all its gateways share. `None` when the process has installed another one.
pub(crate) fn recorder() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let durations = Matcher::Suffix("_seconds".into());
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(durations, &BUCKETS)
            .ok()?;
        let handle = builder.install_recorder().ok()?;
        describe();
        Some(handle)
    };
    HANDLE.get_or_init(install).clone()
}

fn describe() {
    hallporter_adapters::describe_metrics();
    describe_gauge!(SOCKETS, "Sockets connected, by namespace");
    describe_counter!(CONNECTS, Unit::Count, "Sockets that connected, by namespace");
    describe_counter!(CONNECTS_REFUSED, Unit::Count, "Sockets that were refused, by namespace");
    describe_counter!(DISCONNECTS, Unit::Count, "Sockets that went, by reason");
    describe_counter!(EVENTS, Unit::Count, "Events clients sent, by namespace");
    describe_counter!(EVENTS_UNHANDLED, Unit::Count, "Events no handler wanted, by namespace");
    describe_counter!(EVENTS_DROPPED, Unit::Count, "Events that were not handled, by reason");
    describe_gauge!(SESSIONS, "Engine.IO sessions that are open");
    describe_counter!(
        SESSIONS_CLOSED,
        Unit::Count,
        "Engine.IO sessions that were closed, by reason"
    );
    describe_counter!(
        DELIVERIES_DROPPED,
        Unit::Count,
        "Packets that a client could not take, by reason"
    );
    describe_counter!(
        HANDLER_ERRORS,
        Unit::Count,
        "Errors and panics of handlers, by namespace; refusals to connect are not among them"
    );
    describe_counter!(
        USER_CHANGES_DROPPED,
        Unit::Count,
        "Users' coming and going that on_user was not told of, since it is slow"
    );
    describe_counter!(
        SERVER_SIDE_EVENTS_DROPPED,
        Unit::Count,
        "Events of other gateways' code that were not handled, since handlers are slow"
    );
    describe_counter!(
        CALLS_REFUSED,
        Unit::Count,
        "Calls of other servers that were not run, by reason"
    );
    describe_counter!(HANDLER_PANICS, Unit::Count, "Handler calls that panicked");
    describe_counter!(HTTP_REFUSED, Unit::Count, "HTTP requests that were refused, by reason");
    describe_counter!(
        TOKENS_REFUSED,
        Unit::Count,
        "Tokens that were refused or missing, by reason"
    );
    describe_counter!(
        TOKEN_KEYS_RELOADED,
        Unit::Count,
        "Times the file with the keys of tokens had changed, by whether it could be read"
    );
    describe_routes();
}

fn describe_routes() {
    describe_histogram!(
        ROUTE_SECONDS,
        Unit::Seconds,
        "Time from an event to the end of its reply, by route"
    );
    describe_counter!(ROUTE_EVENTS, Unit::Count, "Events a route took, by route and outcome");
    describe_counter!(
        ROUTE_REFUSED,
        Unit::Count,
        "Events a route did not take, by route and reason"
    );
    describe_counter!(
        ROUTE_RETRIES,
        Unit::Count,
        "Events that were sent again, by route and reason"
    );
    describe_counter!(
        ROUTE_DISCONNECTS,
        Unit::Count,
        "Clients that went and that a route was told of, by route"
    );
    describe_counter!(
        ROUTE_DISCONNECTS_DROPPED,
        Unit::Count,
        "Clients that went and that a route was not told of, by route and reason"
    );
}
