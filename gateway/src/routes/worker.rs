//! Workers on the cluster's broker.

use std::time::Duration;

use hallporter_adapters::ClientManager;
use hallporter_adapters::envelope::{Event, Reply};
use serde_json::{Map, Value};

use super::error::RouteError;

/// Who takes the events.
#[derive(Debug)]
pub(super) enum Worker {
    /// Whoever takes from the queue of this group.
    Group(String),
    /// The instance of this type whose id is the value of this key of the session.
    Instance { kind: String, key: String },
}

impl Worker {
    /// Waits for the reply.
    pub(super) async fn ask(
        &self,
        manager: &dyn ClientManager,
        event: Event,
        timeout: Duration,
    ) -> Result<Reply, RouteError> {
        let asked = match self {
            Self::Group(group) => manager.ask_group(group, event, timeout).await,
            Self::Instance { kind, key } => {
                let id = alive(manager, kind, named(&event.session, key)?)?;
                manager.ask_instance(&id, event, timeout).await
            }
        };
        Ok(asked?)
    }

    /// Tells of who has gone, whose sessions name this instance. `Ok` means that the broker keeps the event, or that the instance has it.
    pub(super) async fn tell(
        &self,
        manager: &dyn ClientManager,
        event: &Event,
        instance: Option<&str>,
        timeout: Duration,
    ) -> Result<(), RouteError> {
        match self {
            Self::Group(group) => manager.put(group, event).await?,
            Self::Instance { kind, .. } => {
                let id = alive(manager, kind, instance.unwrap_or_default())?;
                manager.ask_instance(&id, event.clone(), timeout).await?;
            }
        }
        Ok(())
    }

    /// The instance that a session names; `None` where any of a group will do.
    ///
    /// # Errors
    /// When it names none.
    pub(super) fn instance<'a>(&self, session: &'a Map<String, Value>) -> Result<Option<&'a str>, RouteError> {
        match self {
            Self::Group(_) => Ok(None),
            Self::Instance { key, .. } => named(session, key).map(Some),
        }
    }
}

/// # Errors
/// When there is no such value, or it is no text.
fn named<'a>(session: &'a Map<String, Value>, key: &str) -> Result<&'a str, RouteError> {
    let missing = || RouteError::NoInstance(format!("the session has no text {key:?}, which names the instance"));
    session.get(key).and_then(Value::as_str).ok_or_else(missing)
}

/// # Errors
/// When no instance of this type and id is alive. What a session names is not taken for granted: no event goes to an instance of another type.
fn alive(manager: &dyn ClientManager, kind: &str, id: &str) -> Result<String, RouteError> {
    let instances = manager.instances();
    let found = instances
        .into_iter()
        .find(|instance| instance.kind == kind && instance.id == id);
    let dead = || RouteError::NoInstance(format!("no instance {id:?} of the type {kind:?} is alive"));
    found.map(|instance| instance.id).ok_or_else(dead)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_names_its_instance_by_a_text() {
        let worker = Worker::Instance {
            kind: "chat".into(),
            key: "server".into(),
        };
        let session = |value: Value| Map::from_iter([("server".to_owned(), value)]);
        assert!(matches!(worker.instance(&session(json!("chat-1"))), Ok(Some("chat-1"))));
        for session in [Map::new(), session(json!(1)), session(Value::Null)] {
            let error = worker.instance(&session).unwrap_err();
            assert_eq!(error.outcome(), "no_instance");
            assert!(error.to_string().contains("\"server\""), "{error}");
        }
        assert!(matches!(Worker::Group("chat".into()).instance(&Map::new()), Ok(None)));
    }
}
