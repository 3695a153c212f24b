//! The names of what is counted.

/// Events taken from queues, by `group` and `outcome`: `answered`, `repeated` (it had been answered before, and was answered the same again),
/// `buried` (put into the dead-letter queue), `unanswered` (the reply could not be published; the event comes again).
pub(crate) const WORKER_EVENTS: &str = "hallporter_worker_events_total";
