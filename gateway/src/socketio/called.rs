//! Methods that other servers call.

use std::collections::HashMap;
use std::sync::Arc;

use hallporter_adapters::Args;
use hallporter_adapters::envelope::{Call, Event, Reply, ReplyError, decode_args, encode_args};
use metrics::counter;
use tokio::sync::Semaphore;

use super::Server;
use crate::app::{App, Caller, Error};
use crate::metric;

/// Calls that may run at once; one more is answered `busy`.
const MAX_CALLS: usize = 1024;

/// The methods of the user's code, by name. A name is one method in all namespaces.
#[derive(Debug)]
pub(super) struct Methods {
    by_name: HashMap<String, Arc<App>>,
    running: Arc<Semaphore>,
}

impl Methods {
    pub(super) fn new(apps: &[Arc<App>]) -> Self {
        let methods = apps
            .iter()
            .flat_map(|app| app.methods().iter().map(|method| (method.clone(), app.clone())));
        Self {
            by_name: methods.collect(),
            running: Arc::new(Semaphore::new(MAX_CALLS)),
        }
    }
}

impl Server {
    /// Runs a method, and answers if somebody waits.
    pub(super) fn run(&self, call: Call) {
        let Some(app) = self.methods.by_name.get(&call.method).cloned() else {
            let error = Error::new("unhandled", format!("there is no method {:?}", call.method));
            return self.refuse(call.id, call.reply_to, &error);
        };
        let Ok(permit) = self.methods.running.clone().try_acquire_owned() else {
            let error = Error::new("busy", "too many calls are running");
            return self.refuse(call.id, call.reply_to, &error);
        };
        let manager = self.manager().clone();
        self.spawn(async move {
            let _permit = permit;
            let answer = handle(&app, &call).await;
            if let Some(reply_to) = &call.reply_to {
                let reply = Reply { id: call.id, ..answer };
                if let Err(error) = manager.answer(reply_to, &reply).await {
                    tracing::debug!(%error, method = call.method, "an answer did not reach its caller, which will time out");
                }
            }
        });
    }

    /// Events of other gateways' clients are for workers.
    pub(super) fn refuse_event(&self, event: Event) {
        let error = Error::new("unhandled", "a gateway handles no events of other gateways' clients");
        self.refuse(event.id, event.reply_to, &error);
    }

    fn refuse(&self, id: String, reply_to: Option<String>, error: &Error) {
        counter!(metric::CALLS_REFUSED, "reason" => error.code().to_owned()).increment(1);
        let Some(reply_to) = reply_to else { return };
        let reply = Reply {
            id,
            error: Some(error.to_reply()),
            ..Reply::default()
        };
        let manager = self.manager().clone();
        self.spawn(async move {
            if let Err(error) = manager.answer(&reply_to, &reply).await {
                tracing::debug!(%error, "a refusal did not reach its caller, which will time out");
            }
        });
    }
}

/// Everything of the reply but its id.
async fn handle(app: &Arc<App>, call: &Call) -> Reply {
    let failed = |error: ReplyError| Reply {
        error: Some(error),
        ..Reply::default()
    };
    let args = match decode_args(&call.args, &call.attachments) {
        Ok(args) => args,
        Err(error) => return failed(Error::bad_request(error.to_string()).to_reply()),
    };
    match app.handle(Caller::nobody(app.name()), call.method.clone(), args).await {
        Ok(reply) => match encode_args(&reply.ack.unwrap_or_else(Args::none)) {
            Ok((ack, attachments)) => Reply {
                ack: Some(ack),
                attachments,
                ..Reply::default()
            },
            Err(error) => failed(Error::internal(error).to_reply()),
        },
        Err(error) => failed(error.to_reply()),
    }
}
