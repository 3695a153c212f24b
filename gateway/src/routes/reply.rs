//! Carrying out what a reply asks for.

use hallporter_adapters::envelope::{self, EmitRequest, ReplyError, SessionChange};
use hallporter_adapters::{ClientManager, Emit};

use super::error::RouteError;
use serde_json::{Map, Value};

use crate::app::{Error, Refusal, Reply, Request, allowed};

/// What became of a reply.
#[derive(Debug)]
pub(super) enum Done {
    /// It is carried out, but for the ack and what follows it.
    Answered(Reply),
    /// The session has changed since the event was told; nothing is done.
    Changed,
}

/// Carries out a reply: the session, the user, the rooms, the emits, in this order. What the client reads is left to who asked.
///
/// # Errors
/// That of the reply; or why it cannot be carried out, where nothing is done when the reply itself is wrong.
pub(super) async fn carry_out(
    reply: envelope::Reply,
    request: &Request,
    manager: &dyn ClientManager,
) -> Result<Done, RouteError> {
    let is_connect = request.event() == "connect";
    if let Some(error) = reply.error {
        return Err(RouteError::Told(told(error)));
    }
    if let Some(refusal) = reply.refuse {
        return Err(match is_connect {
            true => Error::from(Refusal {
                message: refusal.message,
                data: refusal.data,
            })
            .into(),
            false => bad(&"only a connect can be refused; disconnect instead"),
        });
    }
    if is_connect && reply.disconnect {
        return Err(bad(&"a client that connects cannot be disconnected; refuse instead"));
    }
    let ack = reply.args().map_err(|error| bad(&format_args!("ack: {error}")))?;
    let emits = emits(reply.emits, request.namespace())?;
    for room in reply.join.iter().chain(&reply.leave) {
        allowed(room).map_err(|error| bad(&error))?;
    }
    let session = request.session();
    if let Some(SessionChange { version, set, remove }) = reply.session {
        let change = |values: &mut Map<String, Value>| {
            values.retain(|key, _| !remove.contains(key));
            values.extend(set);
        };
        if !session.update_if(version, change)? {
            return Ok(Done::Changed);
        }
    }
    match reply.user {
        Some(Some(user)) => session.bind_user(&user).await?,
        Some(None) => session.unbind_user()?,
        None => {}
    }
    enter(&reply.join, &reply.leave, request).await?;
    for emit in emits {
        manager.emit(emit).await.map_err(Error::from)?;
    }
    Ok(Done::Answered(Reply {
        ack: Some(ack),
        disconnects: reply.disconnect,
    }))
}

/// Does nothing for a client that has gone meanwhile.
async fn enter(join: &[String], leave: &[String], request: &Request) -> Result<(), Error> {
    let Some(sid) = request.sid().filter(|_| request.is_connected()) else {
        return Ok(());
    };
    let talk = request.talk();
    for room in join {
        talk.join(sid, room).await?;
    }
    for room in leave {
        talk.leave(sid, room).await?;
    }
    Ok(())
}

fn emits(requests: Vec<EmitRequest>, namespace: &str) -> Result<Vec<Emit>, RouteError> {
    let emits = requests.into_iter().map(|emit| {
        let event = emit.event.clone();
        let emit = emit.into_emit(namespace);
        emit.map_err(|error| bad(&format_args!("the emit {event:?}: {error}")))
    });
    emits.collect()
}

fn told(ReplyError { code, message, data }: ReplyError) -> Error {
    let error = Error::new(code, message);
    match data {
        Some(data) => error.data(data),
        None => error,
    }
}

fn bad(problem: &dyn std::fmt::Display) -> RouteError {
    RouteError::BadReply(format!("the reply cannot be carried out: {problem}"))
}
