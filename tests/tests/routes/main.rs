//! Routes to HTTP endpoints, from outside: what an endpoint is told, what becomes of its replies, and of those it does not give.

mod configuration;
mod connecting;
mod departures;
mod documents;
mod endpoint;
mod failures;
mod load;
mod replies;
mod scene;
mod sessions;
mod tls;
mod workers;
