//! A route that leads out of the gateway.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hallporter_adapters::{ClientManager, envelope};
use metrics::{Counter, Histogram, counter, histogram};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::departures::Departures;
use super::error::RouteError;
use super::http::Endpoint;
use super::reply::{Done, carry_out};
use super::worker::Worker;
use crate::app::{BoxHandler, Error, Reply, Request};
use crate::config::{Destination, Route};
use crate::metric;

/// How often an event is told in all while the session changes under each reply.
const TRIES: usize = 3;

/// A route to an HTTP endpoint or to workers.
#[derive(Debug)]
pub(crate) struct Remote {
    label: String,
    timeout: Duration,
    in_flight: Arc<Semaphore>,
    way: Arc<Way>,
    departures: Departures,
    meters: Meters,
}

/// Who is told, and of what they are told the same always.
#[derive(Debug)]
pub(super) struct Way {
    to: Place,
    manager: Arc<dyn ClientManager>,
    /// What the gateway is called among the instances.
    pub(super) gateway: String,
    /// Events that were sent again, not having been taken.
    retries: Counter,
}

#[derive(Debug)]
enum Place {
    Endpoint(Box<Endpoint>),
    Worker(Worker),
}

impl Remote {
    /// # Errors
    /// When it is to an HTTPS endpoint, and the system's certificates cannot be read.
    pub(super) fn new(
        route: &Route,
        label: &str,
        manager: Arc<dyn ClientManager>,
        gateway: String,
    ) -> io::Result<Self> {
        let to = match &route.to {
            Destination::Http(url) => Place::Endpoint(Box::new(Endpoint::new(url, route.secret.clone())?)),
            Destination::Instance { kind, key } => Place::Worker(Worker::Instance {
                kind: kind.clone(),
                key: key.clone(),
            }),
            Destination::Group(name) | Destination::Handler(name) => Place::Worker(Worker::Group(name.clone())),
        };
        let way = Arc::new(Way {
            to,
            manager,
            gateway,
            retries: counter!(metric::ROUTE_RETRIES, "route" => label.to_owned(), "reason" => "not_taken"),
        });
        Ok(Self {
            label: label.to_owned(),
            timeout: route.timeout,
            in_flight: Arc::new(Semaphore::new(route.in_flight.min(Semaphore::MAX_PERMITS))),
            departures: Departures::new(way.clone(), route.timeout, label),
            meters: Meters::new(label),
            way,
        })
    }

    pub(super) const fn departures(&self) -> &Departures {
        &self.departures
    }

    /// The handler that asks, and carries out the reply.
    pub(crate) fn asks(self: &Arc<Self>) -> BoxHandler {
        let remote = self.clone();
        BoxHandler::of(move |request| {
            let remote = remote.clone();
            Box::pin(async move { remote.handle(request).await })
        })
    }

    /// The handler that notes who has gone.
    pub(crate) fn notes(self: &Arc<Self>) -> BoxHandler {
        let remote = self.clone();
        BoxHandler::of(move |request| {
            let noted = remote.departures.push(&request);
            Box::pin(std::future::ready(
                noted.map(|()| Reply::none()).map_err(|error| error.of(&remote.label)),
            ))
        })
    }

    /// Calls a handler for as many events at once as the route takes.
    pub(crate) fn bounded(self: &Arc<Self>, handler: BoxHandler) -> BoxHandler {
        let remote = self.clone();
        BoxHandler::of(move |request| match remote.in_flight.clone().try_acquire_owned() {
            Ok(place) => {
                let handling = handler.call(request);
                Box::pin(async move {
                    let _place = place;
                    handling.await
                })
            }
            Err(_) => {
                remote.meters.busy.increment(1);
                Box::pin(std::future::ready(Err(RouteError::Busy.of(&remote.label))))
            }
        })
    }

    async fn handle(&self, request: Request) -> Result<Reply, Error> {
        let begun = Instant::now();
        let answered = self.answer(&request, begun + self.timeout).await;
        self.meters.seconds.record(begun.elapsed());
        let outcome = answered.as_ref().map_or_else(RouteError::outcome, |_| "ok");
        counter!(metric::ROUTE_EVENTS, "route" => self.label.clone(), "outcome" => outcome).increment(1);
        answered.map_err(|error| error.of(&self.label))
    }

    /// Asks until the reply is about the session as it is.
    async fn answer(&self, request: &Request, deadline: Instant) -> Result<Reply, RouteError> {
        let mut retry_of = None;
        for _ in 0..TRIES {
            let event = super::event::of_request(request, &self.way.gateway, retry_of)?;
            let reply = self.way.ask(event, deadline).await?;
            retry_of = Some(reply.id.clone());
            match carry_out(reply, request, self.way.manager.as_ref()).await? {
                Done::Answered(reply) => return Ok(reply),
                Done::Changed => self.meters.changed.increment(1),
            }
        }
        Err(RouteError::Changed)
    }
}

impl Way {
    /// Tells of an event, and waits for the reply.
    async fn ask(&self, event: envelope::Event, deadline: Instant) -> Result<envelope::Reply, RouteError> {
        let asked = async {
            match &self.to {
                Place::Endpoint(endpoint) => endpoint.ask(&event, deadline, &self.retries).await,
                Place::Worker(worker) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    worker.ask(self.manager.as_ref(), event, left).await
                }
            }
        };
        let asked = tokio::time::timeout_at(deadline, asked).await;
        asked.unwrap_or(Err(RouteError::TimedOut))
    }

    /// The instance that a client with this session concerns, where the route is to single ones.
    ///
    /// # Errors
    /// When the session names none.
    pub(super) fn instance<'a>(&self, session: &'a Map<String, Value>) -> Result<Option<&'a str>, RouteError> {
        match &self.to {
            Place::Worker(worker) => worker.instance(session),
            Place::Endpoint(_) => Ok(None),
        }
    }

    /// Tells of who has gone, the instance they concern where the route is to single ones. `Ok` means that it is in safe hands.
    pub(super) async fn tell(
        &self,
        event: &envelope::Event,
        instance: Option<&str>,
        timeout: Duration,
    ) -> Result<(), RouteError> {
        let told = async {
            match &self.to {
                Place::Endpoint(endpoint) => endpoint.tell(event).await,
                Place::Worker(worker) => worker.tell(self.manager.as_ref(), event, instance, timeout).await,
            }
        };
        let told = tokio::time::timeout(timeout, told).await;
        told.unwrap_or(Err(RouteError::TimedOut))
    }
}

#[derive(Debug)]
struct Meters {
    seconds: Histogram,
    busy: Counter,
    changed: Counter,
}

impl Meters {
    fn new(route: &str) -> Self {
        let route = || route.to_owned();
        Self {
            seconds: histogram!(metric::ROUTE_SECONDS, "route" => route()),
            busy: counter!(metric::ROUTE_REFUSED, "route" => route(), "reason" => "busy"),
            changed: counter!(metric::ROUTE_RETRIES, "route" => route(), "reason" => "changed"),
        }
    }
}
