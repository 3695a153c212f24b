//! What the gateway keeps of one socket for the user's code.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hallporter_adapters::BindError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Error;
use crate::socketio::Socket;
use crate::token::Identity;

/// The session of a socket in its namespace: values by key, and who the user is. It is gone when the socket is.
///
/// A call without a connection has the identity alone; whoever asks for more gets `no_connection`.
/// All values together may take `limits.session` bytes as JSON. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Session(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Socket(Socket),
    Identity(Arc<Identity>),
}

/// Where a socket keeps its session: nothing until there is something.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Option<Box<State>>>);

#[derive(Debug, Default)]
pub(crate) struct State {
    version: u64,
    values: Map<String, Value>,
    user: Option<String>,
    claims: Map<String, Value>,
}

/// Why a session was not changed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SessionError {
    /// The values would take too much.
    #[error("the session would take {size} bytes; limits.session allows {limit}")]
    TooLarge {
        /// What they would take.
        size: usize,
        /// What they may take.
        limit: usize,
    },
    /// Somebody else has changed it since.
    #[error("the session has changed since version {0}")]
    Changed(u64),
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, Option<Box<State>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a token says.
    ///
    /// # Errors
    /// When it is too large.
    pub(crate) fn identify(&self, identity: Identity, limit: usize) -> Result<(), SessionError> {
        fitting(&identity.session, limit)?;
        *self.state() = Some(Box::new(State {
            version: 0,
            values: identity.session,
            user: None,
            claims: identity.claims,
        }));
        Ok(())
    }

    pub(crate) fn user(&self) -> Option<String> {
        self.state().as_ref()?.user.clone()
    }

    fn set_user(&self, user: Option<String>) {
        self.state().get_or_insert_default().user = user;
    }
}

impl Session {
    pub(crate) const fn of(socket: Socket) -> Self {
        Self(Kind::Socket(socket))
    }

    pub(crate) fn identity(identity: Identity) -> Self {
        Self(Kind::Identity(Arc::new(identity)))
    }

    fn socket(&self) -> Result<&Socket, Error> {
        match &self.0 {
            Kind::Socket(socket) => Ok(socket),
            Kind::Identity(_) => Err(Error::no_connection("what a session holds")),
        }
    }

    /// The user: bound by [`bind_user`](Self::bind_user) or named by the token.
    pub fn user(&self) -> Option<String> {
        match &self.0 {
            Kind::Socket(socket) => socket.session().user(),
            Kind::Identity(identity) => identity.user.clone(),
        }
    }

    /// What the token said; empty without one.
    pub fn claims(&self) -> Map<String, Value> {
        match &self.0 {
            Kind::Socket(socket) => {
                let state = socket.session().state();
                state.as_ref().map(|state| state.claims.clone()).unwrap_or_default()
            }
            Kind::Identity(identity) => identity.claims.clone(),
        }
    }

    /// A value; `None` where there is none.
    ///
    /// # Errors
    /// When it is of another type; and without a connection.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let state = self.socket()?.session().state();
        let value = state.as_ref().and_then(|state| state.values.get(key)).cloned();
        drop(state);
        Ok(value.map(serde_json::from_value).transpose()?)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// When it cannot be JSON, or there would be too much; and without a connection.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        let value = serde_json::to_value(value)?;
        self.update(|values| {
            values.insert(key.to_owned(), value);
        })
    }

    /// Takes a value away.
    ///
    /// # Errors
    /// Without a connection.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        self.update(|values| {
            values.remove(key);
        })
    }

    /// Changes the values at once: nobody sees or changes them meanwhile, so `change` may not use the session itself, which would
    /// wait for itself. Where there would be too much, all stays as it was.
    ///
    /// # Errors
    /// When there would be too much; and without a connection.
    pub fn update<R>(&self, change: impl FnOnce(&mut Map<String, Value>) -> R) -> Result<R, Error> {
        let socket = self.socket()?;
        let mut state = socket.session().state();
        let state = state.get_or_insert_default();
        let mut values = state.values.clone();
        let result = change(&mut values);
        state.replace(values, socket.session_limit())?;
        Ok(result)
    }

    /// All values, and the version they have.
    ///
    /// # Errors
    /// Without a connection.
    pub fn load(&self) -> Result<(Map<String, Value>, u64), Error> {
        let state = self.socket()?.session().state();
        let state = state.as_ref();
        Ok(state
            .map(|state| (state.values.clone(), state.version))
            .unwrap_or_default())
    }

    /// Puts these values in place of those that had this version.
    ///
    /// # Errors
    /// When somebody has changed them since, or there would be too much; and without a connection.
    pub fn save(&self, values: Map<String, Value>, version: u64) -> Result<(), Error> {
        match self.update_if(version, |known| *known = values)? {
            true => Ok(()),
            false => Err(SessionError::Changed(version).into()),
        }
    }

    /// As [`update`](Self::update), for values that have this version; returns false when they have another by now.
    ///
    /// # Errors
    /// When there would be too much; and without a connection.
    pub(crate) fn update_if(&self, version: u64, change: impl FnOnce(&mut Map<String, Value>)) -> Result<bool, Error> {
        let socket = self.socket()?;
        let mut state = socket.session().state();
        let state = state.get_or_insert_default();
        if state.version != version {
            return Ok(false);
        }
        let mut values = state.values.clone();
        change(&mut values);
        state.replace(values, socket.session_limit())?;
        Ok(true)
    }

    /// Says who the user is, which the cluster then knows: emits to the user reach this socket, and the user is online.
    /// A socket has one user; another takes the place of the first.
    ///
    /// # Errors
    /// `user_taken` when the namespace lets a user in once and the user is there already; and without a connection.
    pub async fn bind_user(&self, user: &str) -> Result<(), Error> {
        let socket = self.socket()?;
        let policy = socket.user_policy();
        let bound = socket
            .manager()
            .bind_user(socket.namespace(), socket.sid(), user, policy)
            .await;
        bound.map_err(|error| match error {
            BindError::Taken => Error::new("user_taken", format!("{user:?} is here already")),
            BindError::Manager(error) => error.into(),
        })?;
        socket.session().set_user(Some(user.to_owned()));
        Ok(())
    }

    /// Forgets who the user is.
    ///
    /// # Errors
    /// Without a connection.
    pub fn unbind_user(&self) -> Result<(), Error> {
        let socket = self.socket()?;
        socket.manager().unbind_user(socket.namespace(), socket.sid());
        socket.session().set_user(None);
        Ok(())
    }
}

impl State {
    fn replace(&mut self, values: Map<String, Value>, limit: usize) -> Result<(), SessionError> {
        fitting(&values, limit)?;
        self.values = values;
        self.version += 1;
        Ok(())
    }
}

fn fitting(values: &Map<String, Value>, limit: usize) -> Result<(), SessionError> {
    let size = match values.is_empty() {
        true => 0,
        // Values are JSON: nothing in them can fail.
        false => serde_json::to_vec(values).map_or(0, |json| json.len()),
    };
    match size > limit {
        true => Err(SessionError::TooLarge { size, limit }),
        false => Ok(()),
    }
}
