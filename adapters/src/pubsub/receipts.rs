//! Emits that tell where they have gone.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;

use super::host_message::HostMessage;
use super::query::Query;
use super::{Role, Shared, is_here};
use crate::broker::Broker;
use crate::wire::Wire;
use crate::{Command, Emit, LocalSockets, ManagerError, Receipt, metric};

impl<B: Broker, W: Wire> Shared<B, W> {
    /// See [`Cluster::emit_with_receipt`](crate::Cluster::emit_with_receipt).
    pub(super) async fn emit_with_receipt(&self, emit: Emit, timeout: Duration) -> Result<Receipt, ManagerError> {
        let local = self.local.get().ok_or(ManagerError::WriteOnly)?;
        let query = Query::new(self.hosts.others());
        let entry = self.receipts.insert(query.clone())?;
        let here = Receipt {
            sockets: local.deliver_and_count(&emit),
            gateways: usize::from(self.options.role == Role::Gateway),
            missing: Vec::new(),
        };
        if is_here(local.as_ref(), &emit.namespace, &emit.target) {
            return Ok(here);
        }
        let message = self.message(Command::Emit(emit), None, Some(entry.id()));
        self.publish(&message).await?;
        let (others, missing) = query.complete(timeout).await;
        Ok(Receipt {
            sockets: here.sockets.saturating_add(others.sockets),
            gateways: here.gateways + others.gateways,
            missing,
        })
    }

    /// Delivers for another host, and tells it to how many sockets. One too many is delivered without.
    pub(super) fn deliver_with_receipt(
        self: &Arc<Self>,
        local: &dyn LocalSockets,
        emit: &Emit,
        asker: String,
        id: u64,
    ) {
        let sockets = local.deliver_and_count(emit);
        let Ok(permit) = self.answering.clone().try_acquire_owned() else {
            counter!(metric::REPLIES_DROPPED, "reason" => "too_many_pending").increment(1);
            return;
        };
        self.spawn(|shared| async move {
            let _permit = permit;
            let host = shared.host_id.clone();
            shared.tell(&asker, &HostMessage::Receipt { host, id, sockets }).await;
        });
    }
}
