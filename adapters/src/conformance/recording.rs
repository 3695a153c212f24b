//! Sockets without clients, which remember what happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::envelope::{Call, Event};
use crate::{Ack, Args, Asked, Command, Emit, LocalSockets, Membership, RoomIsSid, SocketInfo, Target};

/// How long an event is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What a client answers to an event; `None` when it never does.
type Answer = Arc<dyn Fn(&Emit) -> Option<Args> + Send + Sync>;

/// The [`LocalSockets`] of a host in a test: sockets are made by hand, and everything is remembered.
#[derive(Debug, Default)]
pub struct RecordingSockets {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    sockets: BTreeMap<(String, String), Socket>,
    calls: Vec<Command>,
    user_changes: Vec<(String, String, bool)>,
    server_side: Vec<(String, String, Args)>,
    asked: Vec<Asked>,
}

struct Socket {
    connected: bool,
    rooms: BTreeSet<String>,
    received: Vec<Emit>,
    answer: Answer,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("connected", &self.connected)
            .field("rooms", &self.rooms)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Socket {
    fn is_meant(&self, target: &Target) -> bool {
        let is_in = |room: &String| self.rooms.contains(room);
        self.connected
            && target.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(is_in))
            && !target.except.iter().any(is_in)
    }
}

impl State {
    fn meant<'a>(
        &'a mut self,
        namespace: &'a str,
        target: &'a Target,
    ) -> impl Iterator<Item = (&'a String, &'a mut Socket)> {
        self.sockets
            .iter_mut()
            .filter(move |((its, _), socket)| its == namespace && socket.is_meant(target))
            .map(|((_, sid), socket)| (sid, socket))
    }

    fn socket(&mut self, namespace: &str, sid: &str) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(&(namespace.to_owned(), sid.to_owned()));
        socket.filter(|socket| socket.connected)
    }
}

impl RecordingSockets {
    /// A socket that answers no event, in the room of its sid.
    pub fn connect(&self, namespace: &str, sid: &str) {
        self.connect_answering(namespace, sid, |_| None);
    }

    /// A socket whose client answers events; with `None`, never.
    pub fn connect_answering(
        &self,
        namespace: &str,
        sid: &str,
        answer: impl Fn(&Emit) -> Option<Args> + Send + Sync + 'static,
    ) {
        let socket = Socket {
            connected: true,
            rooms: BTreeSet::from([sid.to_owned()]),
            received: Vec::new(),
            answer: Arc::new(answer),
        };
        let name = (namespace.to_owned(), sid.to_owned());
        self.state.send_modify(|state| drop(state.sockets.insert(name, socket)));
    }

    /// Puts a socket that is here into rooms, past any manager.
    pub fn join(&self, namespace: &str, sid: &str, rooms: &[&str]) {
        self.state.send_modify(|state| {
            if let Some(socket) = state.socket(namespace, sid) {
                socket.rooms.extend(rooms.iter().map(|&room| room.to_owned()));
            }
        });
    }

    /// A socket goes by itself.
    pub fn end(&self, namespace: &str, sid: &str) {
        self.state.send_modify(|state| {
            if let Some(socket) = state.socket(namespace, sid) {
                socket.connected = false;
            }
        });
    }

    /// What a socket has been sent, in order.
    pub fn received(&self, namespace: &str, sid: &str) -> Vec<Emit> {
        self.with(namespace, sid, |socket| socket.received.clone())
            .unwrap_or_default()
    }

    /// How many events a socket has been sent.
    pub fn count(&self, namespace: &str, sid: &str) -> usize {
        self.with(namespace, sid, |socket| socket.received.len())
            .unwrap_or_default()
    }

    /// The rooms of a socket, its sid included; `None` when it is not here (any more).
    pub fn rooms(&self, namespace: &str, sid: &str) -> Option<BTreeSet<String>> {
        self.with(namespace, sid, |socket| socket.connected.then(|| socket.rooms.clone()))?
    }

    /// The commands, but emits, that were carried out here, whether or not the socket was here.
    pub fn calls(&self) -> Vec<Command> {
        self.state.borrow().calls.clone()
    }

    /// The users of a namespace that came online or went, in order.
    pub fn user_changes(&self, namespace: &str) -> Vec<(String, bool)> {
        let state = self.state.borrow();
        let changes = state.user_changes.iter().filter(|(name, ..)| name == namespace);
        changes.map(|(_, user, is_online)| (user.clone(), *is_online)).collect()
    }

    /// The events that the code of other hosts has emitted, in order: namespace, name, arguments.
    pub fn server_side_events(&self) -> Vec<(String, String, Args)> {
        self.state.borrow().server_side.clone()
    }

    /// The events and calls for this instance, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.borrow().asked.clone()
    }

    /// Waits until something has come about.
    ///
    /// # Panics
    /// When it has not after 20 seconds; `what` and everything recorded go into the message.
    pub async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.state.subscribe();
        let wait = async {
            while !condition(self) {
                // The sender is `self`.
                let _ = changes.changed().await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited in vain for {what}; here are {:#?}", self.state.borrow());
        }
    }

    fn with<R>(&self, namespace: &str, sid: &str, action: impl FnOnce(&Socket) -> R) -> Option<R> {
        let state = self.state.borrow();
        state.sockets.get(&(namespace.to_owned(), sid.to_owned())).map(action)
    }

    fn change<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        let mut result = None;
        self.state.send_modify(|state| result = Some(action(state)));
        result.expect("send_modify calls its argument")
    }

    fn call(state: &mut State, command: Command) {
        state.calls.push(command);
    }
}

impl LocalSockets for RecordingSockets {
    fn deliver(&self, emit: &Emit) {
        self.change(|state| {
            for (_, socket) in state.meant(&emit.namespace, &emit.target) {
                socket.received.push(emit.clone());
            }
        });
    }

    fn deliver_with_ack(&self, emit: &Emit, timeout: Duration, acks: mpsc::Sender<Ack>) -> usize {
        let answers: Vec<(String, Answer)> = self.change(|state| {
            let meant = state.meant(&emit.namespace, &emit.target);
            meant
                .map(|(sid, socket)| {
                    socket.received.push(emit.clone());
                    (sid.clone(), socket.answer.clone())
                })
                .collect()
        });
        let asked = answers.len();
        let (emit, mut state) = (emit.clone(), self.state.subscribe());
        tokio::spawn(async move {
            let mut owing = Vec::new();
            for (sid, answer) in answers {
                match answer(&emit) {
                    Some(args) => drop(acks.send(Ack { sid: Some(sid), args }).await),
                    None => owing.push((emit.namespace.to_string(), sid)),
                }
            }
            let is_here = |state: &State, owing: &_| state.sockets.get(owing).is_some_and(|socket| socket.connected);
            let all_gone = state.wait_for(|state| !owing.iter().any(|owing| is_here(state, owing)));
            tokio::select! {
                _ = all_gone => {}
                () = acks.closed() => {}
                () = tokio::time::sleep(timeout) => {}
            }
        });
        asked
    }

    fn has(&self, namespace: &str, sid: &str) -> bool {
        self.with(namespace, sid, |socket| socket.connected).unwrap_or_default()
    }

    fn enter_room(&self, membership: &Membership) -> Result<(), RoomIsSid> {
        let Membership { namespace, sid, room } = membership;
        self.change(|state| {
            Self::call(state, Command::EnterRoom(membership.clone()));
            let room_is_sid = room != sid && state.socket(namespace, room).is_some();
            match state.socket(namespace, sid) {
                Some(_) if room_is_sid => Err(RoomIsSid),
                Some(socket) => {
                    socket.rooms.insert(room.clone());
                    Ok(())
                }
                None => Ok(()),
            }
        })
    }

    fn leave_room(&self, membership: &Membership) {
        let Membership { namespace, sid, room } = membership;
        self.change(|state| {
            Self::call(state, Command::LeaveRoom(membership.clone()));
            if let Some(socket) = state.socket(namespace, sid) {
                socket.rooms.remove(room);
            }
        });
    }

    fn close_room(&self, namespace: &str, room: &str) -> Result<(), RoomIsSid> {
        self.change(|state| {
            let (name, closed) = (namespace.into(), room.to_owned());
            Self::call(
                state,
                Command::CloseRoom {
                    namespace: name,
                    room: closed,
                },
            );
            if state.socket(namespace, room).is_some() {
                return Err(RoomIsSid);
            }
            for (_, socket) in state.meant(namespace, &Target::room(room)) {
                socket.rooms.remove(room);
            }
            Ok(())
        })
    }

    fn disconnect(&self, namespace: &str, sid: &str, connection: bool) {
        self.change(|state| {
            let (name, gone) = (namespace.into(), sid.to_owned());
            Self::call(
                state,
                Command::Disconnect {
                    namespace: name,
                    sid: gone,
                    connection,
                },
            );
            if let Some(socket) = state.socket(namespace, sid) {
                socket.connected = false;
            }
        });
    }

    fn user_changed(&self, namespace: &str, user: &str, is_online: bool) {
        let change = (namespace.to_owned(), user.to_owned(), is_online);
        self.change(|state| state.user_changes.push(change));
    }

    fn server_side_event(&self, namespace: &str, event: &str, args: Args) {
        let event = (namespace.to_owned(), event.to_owned(), args);
        self.change(|state| state.server_side.push(event));
    }

    fn called(&self, call: Call) {
        self.change(|state| state.asked.push(Asked::Call(Box::new(call))));
    }

    fn event(&self, event: Event) {
        self.change(|state| state.asked.push(Asked::Event(Box::new(event))));
    }

    fn sockets(&self, namespace: &str, target: &Target) -> Vec<SocketInfo> {
        let info = |(sid, socket): (&String, &mut Socket)| SocketInfo {
            sid: sid.clone(),
            host_id: String::new(),
            rooms: socket.rooms.iter().cloned().collect(),
        };
        self.change(|state| state.meant(namespace, target).map(info).collect())
    }
}
