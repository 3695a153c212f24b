//! A metrics recorder that can be asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

type Counters = Mutex<HashMap<(String, String), Arc<AtomicU64>>>;

/// By name, and by the reason that labels it.
static COUNTERS: LazyLock<Counters> = LazyLock::new(Counters::default);

struct Counting;

/// Counts for the whole process, once.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| metrics::set_global_recorder(Counting).unwrap());
}

/// How many messages were rejected for this reason.
pub(crate) fn rejected(reason: &str) -> u64 {
    count("hallporter_broker_rejected_total", reason)
}

/// The value of a counter; its reason is empty where it has none.
pub(crate) fn count(name: &str, reason: &str) -> u64 {
    let counters = COUNTERS.lock().unwrap();
    let counter = counters.get(&(name.to_owned(), reason.to_owned()));
    counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
}

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let reason = key.labels().find(|label| label.key() == "reason");
        let reason = reason.map_or("", |label| label.value());
        let mut counters = COUNTERS.lock().unwrap();
        let counter = counters.entry((key.name().to_owned(), reason.to_owned()));
        Counter::from_arc(counter.or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
