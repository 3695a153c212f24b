//! What a case needs: a channel of its own, hosts on it, and a way to know that nothing more will come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::recording::PATIENCE;
use super::{Cluster, RecordingSockets};
use crate::{Args, ClientManager, Emit, EventName, ManagerOptions, Membership, Role, Status, Target};

/// The namespace of the sockets that tell that everything before has come.
const FENCE: &str = "/fence";

/// A channel of its own on the broker under test.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a dyn Cluster,
    pub(super) options: ManagerOptions,
    fences: AtomicUsize,
}

/// A manager with sockets.
pub(super) struct Host {
    pub(super) manager: Arc<dyn ClientManager>,
    pub(super) sockets: Arc<RecordingSockets>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(cluster: &'a dyn Cluster) -> Self {
        let channel = format!("conformance-{}", uuid::Uuid::new_v4().simple());
        Self {
            cluster,
            options: ManagerOptions {
                channel,
                ..ManagerOptions::default()
            },
            fences: AtomicUsize::new(0),
        }
    }

    /// Hosts that listen and know each other.
    pub(super) async fn hosts<const N: usize>(&self) -> [Host; N] {
        let hosts: [Host; N] = std::array::from_fn(|_| self.start(self.options.clone()));
        for host in &hosts {
            host.until_status("to listen", |status| *status == Status::Listening)
                .await;
        }
        for host in &hosts {
            host.until_hosts(N).await;
        }
        hosts
    }

    pub(super) fn start(&self, options: ManagerOptions) -> Host {
        let manager = self.cluster.manager(options);
        let sockets = Arc::new(RecordingSockets::default());
        sockets.connect(FENCE, "fence");
        manager.start(sockets.clone());
        Host { manager, sockets }
    }

    /// A worker that shows itself and listens.
    pub(super) async fn instance(&self, id: &str) -> Host {
        let host = self.start(ManagerOptions {
            role: Role::Worker,
            instance: Some(id.to_owned()),
            instance_type: "chat".into(),
            ..self.options.clone()
        });
        host.until_status("to listen", |status| *status == Status::Listening)
            .await;
        host
    }

    /// A manager that only writes.
    pub(super) fn worker(&self) -> Arc<dyn ClientManager> {
        self.cluster.manager(self.options.clone())
    }

    /// Publishes past all managers on the topic of python-socketio's format.
    pub(super) async fn publish(&self, body: impl Into<Bytes>) {
        self.cluster.publish(&self.options.channel, body.into()).await;
    }

    /// Returns when the hosts have carried out everything that `from` has published so far.
    pub(super) async fn fence(&self, from: &Arc<dyn ClientManager>, hosts: &[&Host]) {
        let number = self.fences.fetch_add(1, Ordering::Relaxed).to_string();
        let fence = Emit {
            namespace: FENCE.into(),
            ..emit(Target::all(), "fence", &number)
        };
        from.emit(fence.clone()).await.expect("a fence is published");
        for host in hosts {
            let came = |sockets: &RecordingSockets| {
                let received = sockets.received(FENCE, "fence");
                received.iter().any(|emit| emit.args == fence.args)
            };
            host.sockets.until("an event that was sent last", came).await;
        }
    }

    /// As [`fence`](Self::fence), for each host's own messages.
    pub(super) async fn settle(&self, hosts: &[&Host]) {
        for from in hosts {
            self.fence(&from.manager, hosts).await;
        }
    }
}

impl Host {
    pub(super) fn connect(&self, sid: &str, rooms: &[&str]) {
        self.sockets.connect("/", sid);
        self.sockets.join("/", sid, rooms);
    }

    /// What a socket of `/` has been sent: each event's name and arguments.
    pub(super) fn heard(&self, sid: &str) -> Vec<String> {
        let received = self.sockets.received("/", sid);
        let told = received
            .iter()
            .map(|emit| format!("{} {}", emit.event.decode(), emit.args.as_json()));
        told.collect()
    }

    pub(super) fn rooms(&self, sid: &str) -> Option<Vec<String>> {
        self.sockets.rooms("/", sid).map(|rooms| rooms.into_iter().collect())
    }

    pub(super) async fn emit(&self, target: Target, data: u32) {
        self.manager
            .emit(emit(target, "e", &data))
            .await
            .expect("an emit is published");
    }

    pub(super) async fn until_status(&self, what: &str, condition: impl FnMut(&Status) -> bool) {
        let mut status = self.manager.status();
        let came = tokio::time::timeout(PATIENCE, status.wait_for(condition)).await;
        let came = came.map(|status| status.is_ok());
        assert_eq!(
            came,
            Ok(true),
            "waited in vain for a manager {what}: {:?}",
            self.manager.status().borrow()
        );
    }

    /// Waits until this host knows of so many instances, itself included.
    pub(super) async fn until_instances(&self, count: usize) {
        let wait = async {
            while self.manager.instances().len() != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(
            came.is_ok(),
            "a host knows {:?} instead of {count} instances",
            self.manager.instances()
        );
    }

    /// Waits until this host knows of so many, itself included. There is nothing to be told by, so it asks again and again.
    pub(super) async fn until_hosts(&self, count: usize) {
        let wait = async {
            while self.manager.hosts().len() != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(
            came.is_ok(),
            "a host knows {:?} instead of {count} hosts",
            self.manager.hosts()
        );
    }
}

pub(super) fn emit<T: serde::Serialize + ?Sized>(target: Target, event: &str, data: &T) -> Emit {
    Emit {
        namespace: "/".into(),
        target,
        event: EventName::new(event),
        args: Args::encode(data).expect("data of a test is JSON"),
        volatile: false,
    }
}

pub(super) fn rooms(rooms: &[&str]) -> Target {
    Target {
        rooms: Some(rooms.iter().map(|&room| room.to_owned()).collect()),
        except: Vec::new(),
    }
}

pub(super) fn except(target: Target, rooms: &[&str]) -> Target {
    Target {
        except: rooms.iter().map(|&room| room.to_owned()).collect(),
        ..target
    }
}

pub(super) fn membership(sid: &str, room: &str) -> Membership {
    Membership {
        namespace: "/".into(),
        sid: sid.into(),
        room: room.into(),
    }
}
