//! `[[route]]` at work: events of clients go to the user's HTTP endpoints and workers, and the replies are carried out here.
//!
//! To the [`App`](crate::app::App) of a namespace a route is a handler that comes before the user's own.

mod departures;
mod error;
mod event;
mod http;
mod remote;
mod reply;
mod worker;

use std::fmt;
use std::io;
use std::sync::Arc;

use hallporter_adapters::ClientManager;

use crate::config::{self, Config, Destination, EventPattern};

pub(crate) use error::RouteFailed;
pub(crate) use remote::Remote;

/// The routes of a gateway, in their order.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Arc<Route>>);

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    config: config::Route,
    /// Its number and where it leads, for people and metrics.
    label: String,
    to: To,
}

/// Where a route leads.
#[derive(Debug)]
pub(crate) enum To {
    /// To the user's code in the gateway.
    Handler(String),
    /// Out of the gateway.
    Remote(Arc<Remote>),
}

impl Routes {
    /// # Errors
    /// When a route is to an HTTPS endpoint, and the system's certificates cannot be read.
    pub(crate) fn new(config: &Config, manager: &Arc<dyn ClientManager>) -> io::Result<Self> {
        let instance = config.manager_options().instance;
        let gateway = instance.unwrap_or_else(|| manager.host_id().to_owned());
        let routes = config.route.iter().enumerate();
        let routes = routes.map(|(index, route)| {
            let label = format!("{} {}", index + 1, route.to);
            let to = match &route.to {
                Destination::Handler(name) => To::Handler(name.clone()),
                _ => To::Remote(Arc::new(Remote::new(route, &label, manager.clone(), gateway.clone())?)),
            };
            let config = route.clone();
            Ok(Arc::new(Route { config, label, to }))
        });
        Ok(Self(routes.collect::<io::Result<_>>()?))
    }

    /// Those for the namespaces of this name or pattern.
    pub(crate) fn of(&self, namespace: &str) -> Vec<Arc<Route>> {
        let is_for = |route: &&Arc<Route>| route.config.is_for(namespace);
        self.0.iter().filter(is_for).cloned().collect()
    }

    fn remotes(&self) -> impl Iterator<Item = &Remote> {
        self.0.iter().filter_map(|route| match &route.to {
            To::Handler(_) => None,
            To::Remote(remote) => Some(remote.as_ref()),
        })
    }

    /// Waits until all routes have been told who has gone.
    pub(crate) async fn flush(&self) {
        for remote in self.remotes() {
            remote.departures().flush().await;
        }
    }

    /// Tells nobody any more. Whom nobody was told of is counted and logged.
    pub(crate) fn close(&self) {
        for remote in self.remotes() {
            remote.departures().close();
        }
    }
}

impl Route {
    /// The events it is for.
    pub(crate) const fn event(&self) -> &EventPattern {
        &self.config.event
    }

    /// Whether the next event of a socket goes out while an earlier one is not answered yet.
    pub(crate) const fn is_parallel(&self) -> bool {
        self.config.parallel
    }

    /// Where it leads.
    pub(crate) const fn to(&self) -> &To {
        &self.to
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
