//! A gateway, put together and run.

use std::any::TypeId;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytestring::ByteString;
use hallporter_adapters::url::UrlError;
use hallporter_adapters::{ClientManager, manager};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use crate::app::{App, BoxHandler, Handler, Job, Namespace, Servers, Shared, States, Talk, When};
use crate::config::{Config, Route};
use crate::engine::Engine;
use crate::http::{GatewayLayer, GatewayService};
use crate::routes::Routes;
use crate::socketio::Server;
use crate::token::TokenConfigError;
use crate::{client_rooms, http, metric};

/// How long connections may take to end when the gateway goes.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long the broker may take for the farewell to the other gateways.
const FAREWELL: Duration = Duration::from_secs(1);

/// A gateway to be: its configuration, and the user's code.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    namespaces: Vec<Namespace>,
    states: States,
    on_error: Option<BoxHandler>,
    jobs: Vec<Job>,
    routes: Router,
}

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}{}", advice(reason))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        reason: io::Error,
    },
    /// The broker's URL is of no use.
    #[error("manager.url: {0}")]
    Manager(#[from] UrlError),
    /// The keys for tokens cannot be had.
    #[error("token {0}")]
    Token(#[from] TokenConfigError),
    /// The certificates that vouch for an HTTPS endpoint cannot be had.
    #[error("route: the system's certificates cannot be read: {0}")]
    Certificates(io::Error),
    /// A namespace's name is no pattern.
    #[error("namespace: {0}")]
    Namespace(String),
    /// The user's code asks for what there is not.
    #[error("{0}")]
    Code(String),
}

impl Gateway {
    /// With this configuration, and no code of the user's.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            namespaces: Vec::new(),
            states: States::default(),
            on_error: None,
            jobs: Vec::new(),
            routes: Router::new(),
        }
    }

    /// Opens a namespace for the user's code.
    #[must_use]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespaces.push(namespace);
        self
    }

    /// Gives handlers a value that they take as [`State`](crate::State): one of each type.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, state: Arc<T>) -> Self {
        self.states.insert(TypeId::of::<T>(), state);
        self
    }

    /// Is told of errors and panics of handlers where the namespace has nobody for it, in place of the log. Takes a [`Failure`](crate::Failure).
    #[must_use]
    pub fn on_error<M>(mut self, handler: impl Handler<M>) -> Self {
        self.on_error = Some(handler.boxed());
        self
    }

    /// Calls a handler again and again, on each gateway. Calls do not overlap.
    #[must_use]
    pub fn every<M>(self, interval: Duration, job: impl Handler<M>) -> Self {
        self.job(When::Every(interval), job.boxed())
    }

    /// Calls a handler again and again, on one gateway of the cluster at a time: the one that has been there longest.
    /// When that goes, another takes over; when it dies, after three `manager.canary_interval`s.
    #[must_use]
    pub fn every_once_per_cluster<M>(self, interval: Duration, job: impl Handler<M>) -> Self {
        self.job(When::EveryOncePerCluster(interval), job.boxed())
    }

    /// Calls a handler once messages of the broker come in, and whenever they do so again: the time to ask the other gateways, by
    /// [`Talk::server_side_emit`], for what was missed. In memory that is once, at the start.
    #[must_use]
    pub fn on_listening<M>(self, handler: impl Handler<M>) -> Self {
        self.job(When::Listening, handler.boxed())
    }

    fn job(mut self, when: When, handler: BoxHandler) -> Self {
        self.jobs.push(Job { when, handler });
        self
    }

    /// Serves these HTTP routes too.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Takes the address; clients may connect once [`Bound::serve`] is called.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the configuration names what does not exist.
    pub async fn bind(self) -> Result<Bound, GatewayError> {
        let address = self.config.listen;
        let listen = |reason| GatewayError::Listen { address, reason };
        let limits = self.config.limits.clone();
        let listener = http::listen(address, limits.write_stall).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (layer, running) = self.open(Some(address))?;
        Ok(Bound {
            listener,
            address,
            request_head: limits.request_head,
            service: layer.layer(Router::new()),
            running,
        })
    }

    /// Opens the gateway to be mounted in the user's own router, instead of listening itself: the layer for [`Router::layer`], and the
    /// gateway that runs behind it. `listen` and `limits.request_head` of the configuration are then the user's affair.
    ///
    /// # Errors
    /// When the configuration names what does not exist.
    pub async fn layer(self) -> Result<(GatewayLayer, Running), GatewayError> {
        let (layer, running) = self.open(None)?;
        running.log("mounted", None);
        Ok((layer, running))
    }

    /// Needs a tokio runtime.
    fn open(self, listen: Option<SocketAddr>) -> Result<(GatewayLayer, Running), GatewayError> {
        // Before anything is counted.
        let _ = metric::recorder();
        let Self {
            config,
            namespaces,
            states,
            on_error,
            jobs,
            routes,
        } = self;
        let manager = manager(&config.manager.url, config.manager_options())?;
        let event_routes = Routes::new(&config, &manager).map_err(GatewayError::Certificates)?;
        let shared = Arc::new(Shared::new(&config, manager.clone(), states, on_error, event_routes)?);
        shared.check().map_err(GatewayError::Code)?;
        let apps = apps(&config, namespaces, &shared)?;
        let gateway = Arc::new(App::new(Namespace::new("/"), &[], shared).map_err(GatewayError::Code)?);
        for job in &jobs {
            job.check(&gateway).map_err(GatewayError::Code)?;
        }
        let (engine, handlers) = Server::open(&config, manager.clone(), &apps)
            .map_err(|error| GatewayError::Namespace(error.to_string()))?;
        let closing = CancellationToken::new();
        for job in jobs {
            handlers.spawn(job.run(gateway.clone(), manager.clone(), closing.clone()));
        }
        let routes = http::router(&config, listen, manager.clone(), &apps).merge(routes);
        let layer = GatewayLayer::new(&config, engine.clone(), routes);
        Ok((
            layer,
            Running {
                config,
                manager,
                engine,
                handlers,
                gateway,
                closing,
            },
        ))
    }
}

/// The code for each namespace: the user's, and what the configuration adds.
fn apps(config: &Config, mut coded: Vec<Namespace>, shared: &Arc<Shared>) -> Result<Vec<Arc<App>>, GatewayError> {
    let mut namespaces = Vec::new();
    for configured in config.namespaces(!coded.is_empty()) {
        let same = coded.iter().position(|namespace| namespace.name() == configured.name);
        let mut namespace = same.map_or_else(|| Namespace::new(&configured.name), |at| coded.remove(at));
        if configured.public {
            namespace = namespace.public();
        }
        if let Some(policy) = configured.users {
            namespace = namespace.users(policy);
        }
        if config.demo == Some(true) {
            namespace = http::demo(namespace);
        }
        namespaces.push(client_rooms::add(namespace, &configured.client_rooms));
    }
    let mut apps: Vec<Arc<App>> = Vec::new();
    for namespace in namespaces.into_iter().chain(coded) {
        let routes = shared.routes().of(namespace.name());
        let app = App::new(namespace, &routes, shared.clone()).map_err(GatewayError::Code)?;
        if apps.iter().any(|other| other.name() == app.name()) {
            return Err(GatewayError::Namespace(format!("{:?} is there twice", app.name())));
        }
        if app.name().contains('{') && !app.methods().is_empty() {
            let message = format!(
                "{}: a method cannot be of a pattern, since a call over HTTP names no namespace",
                app.name()
            );
            return Err(GatewayError::Code(message));
        }
        for method in app.methods() {
            if let Some(other) = apps.iter().find(|other| other.methods().contains(method)) {
                let message = format!("the method {method:?} is in {:?} and in {:?}", other.name(), app.name());
                return Err(GatewayError::Code(message));
            }
        }
        apps.push(Arc::new(app));
    }
    let is_open = |route: &&Route| apps.iter().any(|app| route.is_for(app.name()));
    match config.route.iter().find(|route| !is_open(route)) {
        Some(route) => Err(GatewayError::Namespace(format!(
            "nobody opens {:?}, which has a route",
            route.namespace
        ))),
        None => Ok(apps),
    }
}

/// A gateway that has its address.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    request_head: Duration,
    service: GatewayService<Router>,
    running: Running,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The cluster.
    pub fn manager(&self) -> &Arc<dyn ClientManager> {
        self.running.manager()
    }

    /// The way to clients, from outside of handlers: to those of the namespace `/`, unless told otherwise.
    pub fn talk(&self) -> Talk {
        self.running.talk()
    }

    /// The other servers of the cluster, from outside of handlers.
    pub fn servers(&self) -> Servers {
        self.running.servers()
    }

    /// Serves until `shutdown`, then lets everybody go.
    ///
    /// # Errors
    /// None at present: what can go wrong has gone wrong before.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), GatewayError> {
        self.running.log("listening", Some(self.address));
        let server = tokio::spawn(http::serve(
            self.listener,
            self.service,
            self.request_head,
            self.running.closing.clone(),
        ));
        shutdown.await;
        self.running.end(server).await;
        Ok(())
    }
}

/// A gateway at work behind a [`GatewayLayer`]. Dropping it ends nothing.
pub struct Running {
    config: Config,
    manager: Arc<dyn ClientManager>,
    engine: Engine,
    /// The handlers that are running.
    handlers: TaskTracker,
    /// What jobs are called for.
    gateway: Arc<App>,
    /// Ends the jobs, and the accepting of connections.
    closing: CancellationToken,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Running {
    /// The cluster.
    pub fn manager(&self) -> &Arc<dyn ClientManager> {
        &self.manager
    }

    /// The way to clients, from outside of handlers: to those of the namespace `/`, unless told otherwise.
    pub fn talk(&self) -> Talk {
        self.gateway.talk(ByteString::from_static("/"))
    }

    /// The other servers of the cluster, from outside of handlers.
    pub fn servers(&self) -> Servers {
        self.gateway.servers()
    }

    /// Lets everybody go, and waits for the handlers, up to 5 s. From now on clients that want to connect are answered 503.
    pub async fn close(self) {
        self.end(std::future::ready(())).await;
    }

    /// Lets everybody go, and waits for the handlers and for the server that accepted them.
    async fn end<T>(self, server: impl Future<Output = T>) {
        tracing::info!("closing");
        self.closing.cancel();
        self.engine.close();
        self.handlers.close();
        let routes = self.gateway.routes();
        let handled = async {
            tokio::join!(server, self.handlers.wait());
            routes.flush().await;
        };
        if tokio::time::timeout(GOODBYE, handled).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        routes.close();
        // Last, since what handlers and routes wait for may come from the broker. Whoever is not told notices by itself.
        let _ = tokio::time::timeout(FAREWELL, self.manager.close()).await;
    }

    fn log(&self, what: &str, address: Option<SocketAddr>) {
        tracing::info!(
            address = address.map(tracing::field::display),
            path = self.config.path,
            manager = %self.config.manager.url,
            instance = self.config.instance.id,
            host_id = self.manager.host_id(),
            "{what}"
        );
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; is another gateway running? choose another address with --listen or HALLPORTER_LISTEN"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        _ => "",
    }
}
