//! Memory, with a line between each host and the hub that can be cut.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hallporter_adapters::broker::{Broker, BrokerError, Delivery, MemoryBroker, MemoryHub};
use hallporter_adapters::conformance::{self, Cluster, Outage};
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{ClientManager, ManagerError, ManagerOptions, PubSubManager};
use tokio::sync::watch;

use crate::recorder;

struct Memory {
    hub: Arc<MemoryHub>,
    up: watch::Sender<bool>,
}

impl Memory {
    fn new() -> Self {
        recorder::install();
        Self {
            hub: Arc::default(),
            up: watch::Sender::new(true),
        }
    }
}

#[async_trait::async_trait]
impl Cluster for Memory {
    fn manager(&self, options: ManagerOptions) -> Arc<dyn ClientManager> {
        let broker = Line {
            hub: MemoryBroker::new(self.hub.clone()),
            up: self.up.subscribe(),
        };
        Arc::new(PubSubManager::new(broker, PythonWire::new(&options.channel), options))
    }

    async fn publish(&self, topic: &str, body: Bytes) {
        MemoryBroker::new(self.hub.clone()).publish(topic, body).await.unwrap();
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }

    fn rejected(&self, reason: &str) -> Option<u64> {
        Some(recorder::rejected(reason))
    }

    fn replies_dropped(&self, reason: &str) -> Option<u64> {
        Some(recorder::count("hallporter_replies_dropped_total", reason))
    }
}

#[async_trait::async_trait]
impl Outage for Memory {
    async fn cut(&self) {
        self.up.send_replace(false);
    }

    async fn restore(&self) {
        self.up.send_replace(true);
    }
}

#[derive(Debug)]
struct Line {
    hub: MemoryBroker,
    up: watch::Receiver<bool>,
}

impl Line {
    fn check(&self) -> Result<(), BrokerError> {
        match *self.up.borrow() {
            true => Ok(()),
            false => Err(BrokerError::Unavailable("the line is cut".into())),
        }
    }
}

impl Broker for Line {
    fn url(&self) -> &str {
        self.hub.url()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.check()
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        self.check()?;
        self.hub.publish(topic, body).await
    }

    async fn listeners(&self, topics: [&str; 2]) -> Option<[usize; 2]> {
        self.hub.listeners(topics).await
    }

    async fn listen(
        &self,
        topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        self.check()?;
        let messages = self.hub.listen(topics).await?;
        let mut up = self.up.clone();
        let cut = Box::pin(async move { drop(up.wait_for(|up| !up).await) });
        Ok(messages.take_until(cut))
    }
}

#[tokio::test]
async fn memory_behaves() {
    assert!(conformance::run(&Memory::new()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_behaves_on_several_threads() {
    assert!(conformance::run(&Memory::new()).await.is_empty());
}

/// A message waits for a broker that is away, as long as it was told to.
#[tokio::test]
async fn a_message_waits_for_the_broker() {
    let memory = Memory::new();
    let waiting = |publish_wait| {
        memory.manager(ManagerOptions {
            publish_wait,
            ..ManagerOptions::default()
        })
    };
    let close_room = async |manager: &dyn ClientManager| manager.close_room("/", "r").await;
    memory.up.send_replace(false);
    let impatient = close_room(waiting(Duration::ZERO).as_ref()).await;
    assert!(
        matches!(impatient, Err(ManagerError::Unavailable { .. })),
        "{impatient:?}"
    );
    let in_vain = close_room(waiting(Duration::from_millis(300)).as_ref()).await;
    assert!(matches!(in_vain, Err(ManagerError::Unavailable { .. })), "{in_vain:?}");
    let patient = waiting(Duration::from_secs(60));
    let (sent, ()) = tokio::join!(close_room(patient.as_ref()), async {
        tokio::task::yield_now().await;
        memory.up.send_replace(true);
    });
    assert!(sent.is_ok(), "{sent:?}");
}
