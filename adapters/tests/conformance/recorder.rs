//! A metrics recorder that can be asked how many messages were rejected.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

type Counters = Mutex<HashMap<String, Arc<AtomicU64>>>;

/// By the reason of the rejection.
static REJECTED: LazyLock<Counters> = LazyLock::new(Counters::default);

struct Rejections;

/// Counts for the whole process, once.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| metrics::set_global_recorder(Rejections).unwrap());
}

pub(crate) fn rejected(reason: &str) -> u64 {
    let counters = REJECTED.lock().unwrap();
    counters
        .get(reason)
        .map_or(0, |counter| counter.load(Ordering::Relaxed))
}

impl Recorder for Rejections {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let reason = key.labels().find(|label| label.key() == "reason");
        match (key.name(), reason) {
            ("hallporter_broker_rejected_total", Some(reason)) => {
                let mut counters = REJECTED.lock().unwrap();
                Counter::from_arc(counters.entry(reason.value().to_owned()).or_default().clone())
            }
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
