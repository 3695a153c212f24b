//! What handlers may take as parameters.

use std::any::type_name;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use hallporter_adapters::Args;
use serde::de::DeserializeOwned;

use super::request::About;
use super::{DisconnectReason, Error, Failure, Request, Servers, Session, Shared, Talk, UserChange};
use crate::config::AppConfig;
use crate::socketio::Handshake;

/// What a handler may take as a parameter.
pub trait FromRequest: Sized + Send {
    /// # Errors
    /// When the request has none; the handler is not called then, and the caller is told.
    fn from_request(request: &Request) -> Result<Self, Error>;

    /// Finds out at the start whether there can be one.
    ///
    /// # Errors
    /// What is missing, and what to do.
    #[doc(hidden)]
    fn check(_shared: &Shared) -> Result<(), String> {
        Ok(())
    }
}

/// The arguments: a tuple (or an array of fixed length, which serde takes for one) takes as many as it has fields, `()` takes none, and anything
/// else takes the first. An `Option` is `None` where the client sent less.
/// What a client sends beyond is an error for a tuple and passed over otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Data<T>(pub T);

/// All arguments, any number, each read as `T`.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

/// The binary data among the arguments, in order.
#[derive(Clone, Debug)]
pub struct Binary(pub Vec<Bytes>);

/// The socket that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sid(pub String);

/// The user who asks; without one the caller is told `unauthenticated`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(pub String);

/// What [`Gateway::state`](crate::Gateway::state) was given of this type.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + Send> FromRequest for Data<T> {
    fn from_request(request: &Request) -> Result<Self, Error> {
        match request.args().read() {
            Ok(data) => Ok(Self(data)),
            Err(error) => Err(Error::bad_request(format!("{:?}: {error}", request.event()))),
        }
    }
}

impl<T: DeserializeOwned + Send> FromRequest for List<T> {
    fn from_request(request: &Request) -> Result<Self, Error> {
        match request.args().decode() {
            Ok(list) => Ok(Self(list)),
            Err(error) => Err(Error::bad_request(format!("{:?}: {error}", request.event()))),
        }
    }
}

impl FromRequest for Binary {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(Self(request.args().attachments().to_vec()))
    }
}

impl FromRequest for Args {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(request.args().clone())
    }
}

impl FromRequest for Request {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(request.clone())
    }
}

impl FromRequest for Sid {
    fn from_request(request: &Request) -> Result<Self, Error> {
        let sid = request.sid().ok_or_else(|| Error::no_connection("a sid"))?;
        Ok(Self(sid.to_owned()))
    }
}

impl FromRequest for Handshake {
    fn from_request(request: &Request) -> Result<Self, Error> {
        let handshake = request.handshake();
        handshake.cloned().ok_or_else(|| Error::no_connection("a handshake"))
    }
}

impl FromRequest for User {
    fn from_request(request: &Request) -> Result<Self, Error> {
        request.user().map(Self).ok_or_else(Error::unauthenticated)
    }
}

impl FromRequest for Session {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(request.session())
    }
}

impl FromRequest for Talk {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(request.talk())
    }
}

impl FromRequest for Servers {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(request.servers())
    }
}

impl FromRequest for AppConfig {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(request.config().clone())
    }
}

impl<T: Send + Sync + 'static> FromRequest for State<T> {
    fn from_request(request: &Request) -> Result<Self, Error> {
        let missing = || Error::internal(missing_state::<T>());
        request.state().map(Self).ok_or_else(missing)
    }

    fn check(shared: &Shared) -> Result<(), String> {
        match shared.has_state::<T>() {
            true => Ok(()),
            false => Err(missing_state::<T>()),
        }
    }
}

fn missing_state<T>() -> String {
    let name = type_name::<T>();
    format!("takes State<{name}>, which the gateway was not given; give it with Gateway::state")
}

impl FromRequest for DisconnectReason {
    fn from_request(request: &Request) -> Result<Self, Error> {
        match request.told() {
            About::Disconnect(reason) => Ok(*reason),
            _ => Err(Error::internal("only on_disconnect takes a DisconnectReason")),
        }
    }
}

impl FromRequest for UserChange {
    fn from_request(request: &Request) -> Result<Self, Error> {
        match request.told() {
            About::User(change) => Ok(change.clone()),
            _ => Err(Error::internal("only on_user takes a UserChange")),
        }
    }
}

impl FromRequest for Failure {
    fn from_request(request: &Request) -> Result<Self, Error> {
        match request.told() {
            About::Failure(failure) => Ok(failure.as_ref().clone()),
            _ => Err(Error::internal("only on_error takes a Failure")),
        }
    }
}

/// `None` where there is none.
impl<T: FromRequest> FromRequest for Option<T> {
    fn from_request(request: &Request) -> Result<Self, Error> {
        Ok(T::from_request(request).ok())
    }
}
