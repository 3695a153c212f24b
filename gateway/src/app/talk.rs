//! Speaking to clients, from anywhere.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use hallporter_adapters::{
    Ack, Args, ClientManager, Command, Emit, EncodeError, EventName, ManagerError, Membership, Receipt, SocketInfo,
    Target, user_room,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The way to the clients of a namespace, on whatever gateway they are. Cloning is cheap.
///
/// Without more it means everybody in the namespace; [`to`](Self::to), [`except`](Self::except) and the like each give
/// one that means others.
///
/// ```
/// # async fn example(talk: hallporter::Talk, sid: &str) -> Result<(), hallporter::TalkError> {
/// talk.emit("news", "for everybody").await?;
/// talk.to("lobby").to("garden").except(sid).emit("news", &("two", "arguments")).await?;
/// let answer: String = talk.to(sid).call("ask", "how are you?", std::time::Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Talk {
    manager: Arc<dyn ClientManager>,
    namespace: ByteString,
    target: Target,
    is_volatile: bool,
    is_local: bool,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The data cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The cluster was not reached, or refused. What concerns clients of this gateway has been done all the same.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// Rooms that begin with `hallporter:` belong to users.
    #[error("the room {0:?} is reserved; bind the user instead")]
    Reserved(String),
    /// No client answered in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The answer is not what was expected.
    #[error("the answer has another shape: {0}")]
    Answer(serde_json::Error),
}

/// The answers to an emit with ack.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    /// Those that came in time.
    pub answers: Vec<Ack>,
    /// How many clients were asked and did not answer in time.
    pub missing: usize,
    /// Where the emit has gone: its `sockets` are the clients that were asked.
    pub receipt: Receipt,
}

impl Talk {
    pub(crate) fn new(manager: Arc<dyn ClientManager>, namespace: ByteString) -> Self {
        Self {
            manager,
            namespace,
            target: Target::all(),
            is_volatile: false,
            is_local: false,
        }
    }

    /// Everybody in another namespace.
    #[must_use]
    pub fn namespace(&self, namespace: &str) -> Self {
        Self::new(self.manager.clone(), namespace.into())
    }

    /// The members of a room, beside those meant already; a sid is the room of its socket.
    #[must_use]
    pub fn to(&self, room: impl Into<String>) -> Self {
        self.to_rooms([room])
    }

    /// The members of these rooms, each once; nobody when there are none.
    #[must_use]
    pub fn to_rooms<R: Into<String>>(&self, rooms: impl IntoIterator<Item = R>) -> Self {
        let mut talk = self.clone();
        let rooms = rooms.into_iter().map(Into::into);
        talk.target.rooms.get_or_insert_default().extend(rooms);
        talk
    }

    /// All sockets of a user.
    #[must_use]
    pub fn to_user(&self, user: &str) -> Self {
        self.to(user_room(user))
    }

    /// Leaves out the members of a room, or a socket.
    #[must_use]
    pub fn except(&self, room: impl Into<String>) -> Self {
        self.except_rooms([room])
    }

    /// Leaves out the members of these rooms.
    #[must_use]
    pub fn except_rooms<R: Into<String>>(&self, rooms: impl IntoIterator<Item = R>) -> Self {
        let mut talk = self.clone();
        talk.target.except.extend(rooms.into_iter().map(Into::into));
        talk
    }

    /// Leaves out all sockets of a user.
    #[must_use]
    pub fn except_user(&self, user: &str) -> Self {
        self.except(user_room(user))
    }

    /// May be dropped for a client that cannot take it now.
    #[must_use]
    pub fn volatile(&self) -> Self {
        Self {
            is_volatile: true,
            ..self.clone()
        }
    }

    /// Emits reach clients of this gateway only.
    #[must_use]
    pub fn local(&self) -> Self {
        Self {
            is_local: true,
            ..self.clone()
        }
    }

    /// Emits: a tuple is several arguments, `()` is none, anything else is one.
    ///
    /// # Errors
    /// When the data cannot be sent, or the broker did not take it.
    pub async fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), TalkError> {
        self.emit_args(event, Args::encode(data)?).await
    }

    /// Emits arguments as they are.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn emit_args(&self, event: &str, args: Args) -> Result<(), TalkError> {
        let emit = self.emit_of(event, args);
        match self.is_local {
            true => self.manager.local().into_iter().for_each(|local| local.deliver(&emit)),
            false => self.manager.emit(emit).await?,
        }
        Ok(())
    }

    /// Emits the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), TalkError> {
        self.emit("message", data).await
    }

    /// Emits, and collects the answers of the clients until `timeout`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> Result<Acks, TalkError> {
        self.emit_args_with_ack(event, Args::encode(data)?, timeout).await
    }

    /// As [`emit_with_ack`](Self::emit_with_ack), with arguments as they are.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn emit_args_with_ack(&self, event: &str, args: Args, timeout: Duration) -> Result<Acks, TalkError> {
        let emit = self.emit_of(event, args);
        let mut stream = self.manager.emit_with_ack(emit, timeout).await?;
        let mut answers = Vec::new();
        while let Some(answer) = stream.next().await {
            answers.push(answer);
        }
        Ok(Acks {
            answers,
            missing: stream.missing(),
            receipt: stream.receipt(),
        })
    }

    /// Emits, and says to how many sockets on how many gateways it was delivered: as soon as all gateways have said so, or what
    /// is known at `timeout`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn emit_with_receipt<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> Result<Receipt, TalkError> {
        let emit = self.emit_of(event, Args::encode(data)?);
        match self.manager.local().filter(|_| self.is_local) {
            Some(local) => Ok(Receipt {
                sockets: local.deliver_and_count(&emit),
                gateways: 1,
                missing: Vec::new(),
            }),
            None => Ok(self.manager.emit_with_receipt(emit, timeout).await?),
        }
    }

    /// Emits to one client and waits for what it answers.
    ///
    /// # Errors
    /// As [`emit`](Self::emit); when there is no answer in time; and when it cannot be read as `R`.
    pub async fn call<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<R, TalkError> {
        let acks = self.emit_with_ack(event, data, timeout).await?;
        let answer = acks.answers.first().ok_or(TalkError::TimedOut(timeout))?;
        answer.args.read().map_err(TalkError::Answer)
    }

    /// Emits to the code of all other gateways, whose [`Namespace::on_server_side`](super::Namespace::on_server_side) of this namespace handles it; to no client,
    /// and not to this gateway. A gateway that does not hear the broker just now misses it, and is not told later. Whom else this means (a
    /// room, say) makes no difference.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), TalkError> {
        let args = Args::encode(data)?;
        Ok(self.manager.server_side_emit(&self.namespace, event, args).await?)
    }

    /// Puts a socket, wherever it is, into a room.
    ///
    /// # Errors
    /// When the room is reserved or that of another socket; or the broker did not take it.
    pub async fn join(&self, sid: &str, room: &str) -> Result<(), TalkError> {
        let membership = self.membership(sid, room)?;
        Ok(self.manager.enter_room(membership).await?)
    }

    /// Takes a socket, wherever it is, out of a room.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn leave(&self, sid: &str, room: &str) -> Result<(), TalkError> {
        let membership = self.membership(sid, room)?;
        Ok(self.manager.leave_room(membership).await?)
    }

    /// Takes all sockets out of a room.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn close_room(&self, room: &str) -> Result<(), TalkError> {
        allowed(room)?;
        Ok(self.manager.close_room(&self.namespace, room).await?)
    }

    /// The sockets that are meant, wherever they are, with their rooms.
    ///
    /// # Errors
    /// When a gateway did not answer in time.
    pub async fn sockets(&self) -> Result<Vec<SocketInfo>, TalkError> {
        Ok(self.manager.sockets(&self.namespace, &self.target).await?)
    }

    /// The rooms of a socket, its own included; none for one that is not there.
    ///
    /// # Errors
    /// As [`sockets`](Self::sockets).
    pub async fn rooms(&self, sid: &str) -> Result<Vec<String>, TalkError> {
        let sockets = self.namespace(&self.namespace).to(sid).sockets().await?;
        let socket = sockets.into_iter().find(|socket| socket.sid == sid);
        Ok(socket.map(|socket| socket.rooms).unwrap_or_default())
    }

    /// The sids of the members of a room.
    ///
    /// # Errors
    /// As [`sockets`](Self::sockets).
    pub async fn members(&self, room: &str) -> Result<Vec<String>, TalkError> {
        let sockets = self.namespace(&self.namespace).to(room).sockets().await?;
        Ok(sockets.into_iter().map(|socket| socket.sid).collect())
    }

    /// Disconnects a socket, wherever it is, from the namespace; its client does not come back by itself.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn disconnect(&self, sid: &str) -> Result<(), TalkError> {
        self.end(sid.to_owned(), false).await
    }

    /// Closes the connection of a socket, wherever it is, and so all its namespaces; clients usually connect again, to whatever gateway.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn close_connection(&self, sid: &str) -> Result<(), TalkError> {
        self.end(sid.to_owned(), true).await
    }

    /// Disconnects all sockets of a user from the namespace.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn disconnect_user(&self, user: &str) -> Result<(), TalkError> {
        self.end(user_room(user), false).await
    }

    /// The users that are online in the namespace, on whatever gateway.
    pub fn users(&self) -> Vec<String> {
        self.manager.users(&self.namespace)
    }

    /// How many users are online in the namespace.
    pub fn user_count(&self) -> usize {
        self.manager.user_count(&self.namespace)
    }

    /// Whether a user is online in the namespace.
    pub fn is_online(&self, user: &str) -> bool {
        self.manager.is_online(&self.namespace, user)
    }

    fn emit_of(&self, event: &str, args: Args) -> Emit {
        Emit {
            namespace: self.namespace.clone(),
            target: self.target.clone(),
            event: EventName::new(event),
            args,
            volatile: self.is_volatile,
        }
    }

    fn membership(&self, sid: &str, room: &str) -> Result<Membership, TalkError> {
        allowed(room)?;
        Ok(Membership {
            namespace: self.namespace.clone(),
            sid: sid.to_owned(),
            room: room.to_owned(),
        })
    }

    async fn end(&self, sid: String, connection: bool) -> Result<(), TalkError> {
        let namespace = self.namespace.clone();
        let command = Command::Disconnect {
            namespace,
            sid,
            connection,
        };
        Ok(self.manager.send(command).await?)
    }
}

/// # Errors
/// When the room belongs to a user.
pub(crate) fn allowed(room: &str) -> Result<(), TalkError> {
    match hallporter_adapters::is_reserved(room) {
        true => Err(TalkError::Reserved(room.to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use hallporter_adapters::url::BrokerUrl;
    use hallporter_adapters::{ManagerOptions, manager};

    use super::*;

    #[tokio::test]
    async fn whom_one_means_adds_up() {
        let manager = manager(&BrokerUrl::memory(), ManagerOptions::default()).unwrap();
        let talk = Talk::new(manager, "/".into());
        let meant = talk.to("a").to_rooms(["b", "c"]).except("d").except_rooms(["e", "f"]);
        let rooms = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(meant.target.rooms, Some(rooms(&["a", "b", "c"])));
        assert_eq!(meant.target.except, rooms(&["d", "e", "f"]));
        assert_eq!(talk.target, Target::all());
    }
}
