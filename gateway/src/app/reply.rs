//! What handlers return.

use hallporter_adapters::Args;
use serde::Serialize;

use super::Error;

/// The answer to a request: the arguments of the ack, or none at all.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) ack: Option<Args>,
    /// The client is disconnected from the namespace once it has the ack.
    pub(crate) disconnects: bool,
}

impl Reply {
    /// No ack.
    pub(crate) const fn none() -> Self {
        Self::new(None)
    }

    const fn new(ack: Option<Args>) -> Self {
        Self {
            ack,
            disconnects: false,
        }
    }
}

/// Returned by a handler that wants no ack to be sent, ever.
#[derive(Clone, Copy, Debug)]
pub struct NoAck;

/// What a handler may return: data is the ack, where a tuple (or an array of fixed length, which serde takes for one) is several arguments,
/// `()` is none and anything else is one; [`Args`] are the arguments as they are; [`NoAck`] leaves the client without one; and each of them
/// may be the `Ok` of a `Result` whose error becomes an [`Error`].
pub trait IntoReply<M> {
    /// # Errors
    /// The error it is, or that the data cannot be JSON.
    fn into_reply(self) -> Result<Reply, Error>;
}

/// Tells the compiler how a result becomes a reply.
#[derive(Debug)]
pub struct AsData;
/// As [`AsData`].
#[derive(Debug)]
pub struct AsResult<M>(std::marker::PhantomData<M>);

impl<T: Serialize> IntoReply<AsData> for T {
    fn into_reply(self) -> Result<Reply, Error> {
        Ok(Reply::new(Some(Args::encode(&self)?)))
    }
}

impl IntoReply<()> for Args {
    fn into_reply(self) -> Result<Reply, Error> {
        Ok(Reply::new(Some(self)))
    }
}

impl IntoReply<()> for NoAck {
    fn into_reply(self) -> Result<Reply, Error> {
        Ok(Reply::none())
    }
}

impl IntoReply<()> for Reply {
    fn into_reply(self) -> Result<Reply, Error> {
        Ok(self)
    }
}

impl<T: IntoReply<M>, E: Into<Error>, M> IntoReply<AsResult<M>> for Result<T, E> {
    fn into_reply(self) -> Result<Reply, Error> {
        self.map_err(Into::into)?.into_reply()
    }
}
