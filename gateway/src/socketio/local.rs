//! The sockets of this gateway, as the manager sees them.

use std::time::Duration;

use hallporter_adapters::envelope::{Call, Event};
use hallporter_adapters::{Ack, Args, Emit, LocalSockets, Membership, RoomIsSid, SocketInfo, Target};
use metrics::counter;
use tokio::sync::mpsc;

use super::Server;
use super::acks::{self, Asked};
use crate::app::UserChange;
use crate::engine::Batch;
use crate::metric;

impl LocalSockets for Server {
    fn deliver(&self, emit: &Emit) {
        self.deliver_and_count(emit);
    }

    fn deliver_and_count(&self, emit: &Emit) -> usize {
        let Some(namespace) = self.namespaces().get(&emit.namespace) else {
            return 0;
        };
        let targets = namespace.targets(&emit.target);
        if targets.is_empty() {
            return 0;
        }
        let outgoing = self.codec().event(&emit.namespace, None, &emit.event, &emit.args);
        let mut batch = Batch::default();
        let mut count = 0;
        targets.for_each(|socket| {
            socket.deliver(&outgoing, emit.volatile, &mut batch);
            count += 1;
        });
        count
    }

    fn deliver_with_ack(&self, emit: &Emit, timeout: Duration, acks: mpsc::Sender<Ack>) -> usize {
        let Some(namespace) = self.namespaces().get(&emit.namespace) else {
            return 0;
        };
        let id = namespace.next_ack();
        let outgoing = self.codec().event(&emit.namespace, Some(id), &emit.event, &emit.args);
        let (asked, over) = Asked::new(acks);
        let mut sockets = Vec::new();
        let mut batch = Batch::default();
        namespace.targets(&emit.target).for_each(|socket| {
            if socket.is_connected() {
                socket.acks().expect(id, asked.clone());
                socket.deliver(&outgoing, emit.volatile, &mut batch);
                // It may have gone in between, after its acks were cleared.
                if !socket.is_connected() {
                    drop(socket.acks().forget(id));
                }
                sockets.push(socket.clone());
            }
        });
        let count = sockets.len();
        if count > 0 {
            self.runtime().spawn(acks::end(over, timeout, id, sockets));
        }
        count
    }

    fn has(&self, namespace: &str, sid: &str) -> bool {
        self.namespaces()
            .get(namespace)
            .is_some_and(|namespace| namespace.has(sid))
    }

    fn enter_room(&self, Membership { namespace, sid, room }: &Membership) -> Result<(), RoomIsSid> {
        match self.namespaces().get(namespace) {
            Some(namespace) => namespace.enter(sid, room),
            None => Ok(()),
        }
    }

    fn leave_room(&self, Membership { namespace, sid, room }: &Membership) {
        if let Some(namespace) = self.namespaces().get(namespace) {
            namespace.leave(sid, room);
        }
    }

    fn close_room(&self, namespace: &str, room: &str) -> Result<(), RoomIsSid> {
        match self.namespaces().get(namespace) {
            Some(namespace) => namespace.close_room(room),
            None => Ok(()),
        }
    }

    fn disconnect(&self, namespace: &str, sid: &str, connection: bool) {
        let namespace = self.namespaces().get(namespace);
        match namespace.and_then(|namespace| namespace.get(sid)) {
            Some(socket) if connection => socket.close_connection(),
            Some(socket) => socket.disconnect(),
            None => {}
        }
    }

    fn sockets(&self, namespace: &str, target: &Target) -> Vec<SocketInfo> {
        let namespace = self.namespaces().get(namespace);
        namespace.map_or_else(Vec::new, |namespace| namespace.infos(target))
    }

    fn user_changed(&self, namespace: &str, user: &str, is_online: bool) {
        let Some(door) = self.namespaces().door(namespace) else {
            return;
        };
        if door.app.watches_users() {
            let user = user.to_owned();
            let change = (door.app.clone(), namespace.to_owned(), UserChange { user, is_online });
            if self.user_changes.try_send(change).is_err() {
                counter!(metric::USER_CHANGES_DROPPED).increment(1);
            }
        }
    }

    fn server_side_event(&self, namespace: &str, event: &str, args: Args) {
        let door = self.namespaces().door(namespace);
        if let Some(door) = door.filter(|door| door.app.hears_server_side(event)) {
            self.server_side.push(&door.app, namespace, event, args);
        }
    }

    fn called(&self, call: Call) {
        self.run(call);
    }

    fn event(&self, event: Event) {
        self.refuse_event(event);
    }
}
