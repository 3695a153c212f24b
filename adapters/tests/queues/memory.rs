//! Memory, which has no server that could die.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use hallporter_adapters::broker::{Broker, MemoryBroker, MemoryHub, QueueLimits, dead_name};

use crate::suite::{self, Place};

#[derive(Default)]
struct Memory(Arc<MemoryHub>);

impl Place for Memory {
    type Broker = MemoryBroker;

    fn broker(&self, _port: u16, limits: QueueLimits) -> MemoryBroker {
        MemoryBroker::new(self.0.clone()).with_queue_limits(limits)
    }

    async fn dead(&self, queue: &str) -> Vec<Bytes> {
        let broker = MemoryBroker::new(self.0.clone());
        let mut letters = broker.take(&dead_name(queue), usize::MAX).await.unwrap();
        let mut bodies = Vec::new();
        // Looking is taking; they are put back.
        while let Some(Some(letter)) = letters.next().now_or_never() {
            bodies.push(letter.body.clone());
            letter.hold.done().await.unwrap();
        }
        for body in &bodies {
            broker.put(&dead_name(queue), body.clone()).await.unwrap();
        }
        bodies
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_in_memory() {
    suite::run(&Memory::default()).await;
}
