//! The three brokers, as what can be broken.

use anyhow::Result;
use futures_util::future::join_all;

use crate::{NatsServer, Proxy, RabbitServer, RedisServer};

/// A running broker and the ways to break it.
pub trait Breakable {
    /// What it is called in the table.
    const NAME: &'static str;

    /// Bytes that only a connection that listens sends.
    const LISTENS: &'static [u8];

    /// Its URL, `scheme://host:port`.
    fn url(&self) -> String;

    /// Kills it at once, with SIGKILL.
    fn kill(&self) -> impl Future<Output = Result<()>>;

    /// Starts it again after `kill`; returns when it takes connections.
    fn restart(&self) -> impl Future<Output = Result<()>>;

    /// Makes it stop answering while its connections stay open, with SIGSTOP.
    ///
    /// # Errors
    /// It is gone.
    fn freeze(&self) -> Result<()>;

    /// Lets it go on after `freeze`.
    ///
    /// # Errors
    /// It is gone.
    fn thaw(&self) -> Result<()>;

    /// Has it close the connections that listen, and no others; all of them lead through these proxies.
    fn close_listeners(&self, proxies: &[Proxy]) -> impl Future<Output = Result<()>>;
}

impl Breakable for RedisServer {
    const NAME: &'static str = "Redis";
    const LISTENS: &'static [u8] = b"SUBSCRIBE";

    fn url(&self) -> String {
        Self::url(self)
    }

    async fn kill(&self) -> Result<()> {
        Self::kill(self).await
    }

    async fn restart(&self) -> Result<()> {
        Self::restart(self).await
    }

    fn freeze(&self) -> Result<()> {
        Self::freeze(self)
    }

    fn thaw(&self) -> Result<()> {
        Self::thaw(self)
    }

    async fn close_listeners(&self, _: &[Proxy]) -> Result<()> {
        let mut connection = self.connection().await?;
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub");
        let killed: usize = kill.query_async(&mut connection).await?;
        // More than the gateways': Redis still has those that a black hole swallowed.
        anyhow::ensure!(killed >= 2, "{killed} connections were listening");
        Ok(())
    }
}

impl Breakable for RabbitServer {
    const NAME: &'static str = "RabbitMQ";
    /// The class and the method of `basic.consume`.
    const LISTENS: &'static [u8] = &[0, 60, 0, 20];

    fn url(&self) -> String {
        Self::url(self)
    }

    async fn kill(&self) -> Result<()> {
        Self::kill(self);
        Ok(())
    }

    async fn restart(&self) -> Result<()> {
        Self::restart(self).await;
        Ok(())
    }

    fn freeze(&self) -> Result<()> {
        Self::freeze(self);
        Ok(())
    }

    fn thaw(&self) -> Result<()> {
        Self::thaw(self);
        Ok(())
    }

    async fn close_listeners(&self, _: &[Proxy]) -> Result<()> {
        let channels = self.ctl(&["list_channels", "connection", "consumer_count"]).await;
        let channels = channels.lines().filter_map(|line| line.split_once('\t'));
        let listening: Vec<_> = channels.filter(|(_, consumers)| *consumers == "1").collect();
        // More than the gateways': RabbitMQ still has those that a black hole swallowed.
        anyhow::ensure!(listening.len() >= 2, "{listening:?} were listening");
        let close = async |connection| self.ctl(&["close_connection", connection, "by the test"]).await;
        join_all(listening.iter().map(|(connection, _)| close(*connection))).await;
        Ok(())
    }
}

impl Breakable for NatsServer {
    const NAME: &'static str = "NATS";
    const LISTENS: &'static [u8] = b"SUB socketio ";

    fn url(&self) -> String {
        Self::url(self)
    }

    async fn kill(&self) -> Result<()> {
        Self::kill(self).await
    }

    async fn restart(&self) -> Result<()> {
        Self::restart(self).await
    }

    fn freeze(&self) -> Result<()> {
        Self::freeze(self)
    }

    fn thaw(&self) -> Result<()> {
        Self::thaw(self)
    }

    /// The server can be asked to close a connection only from 2.10 on, so the proxies do it.
    async fn close_listeners(&self, proxies: &[Proxy]) -> Result<()> {
        proxies.iter().for_each(Proxy::cut_listeners);
        Ok(())
    }
}
