//! The metrics of this crate, recorded through the `metrics` facade. None is labelled by sid, room or user.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const BROKER_PUBLISHED: &str = "hallporter_broker_published_total";
pub(crate) const BROKER_PUBLISH_FAILED: &str = "hallporter_broker_publish_failed_total";
pub(crate) const BROKER_RECEIVED: &str = "hallporter_broker_received_total";
pub(crate) const BROKER_REJECTED: &str = "hallporter_broker_rejected_total";
pub(crate) const BROKER_DROPPED: &str = "hallporter_broker_dropped_total";
pub(crate) const BROKER_RECONNECTS: &str = "hallporter_broker_reconnects_total";
pub(crate) const BROKER_CANARY_AGE: &str = "hallporter_broker_canary_age_seconds";
pub(crate) const BROKER_PUBLISH_SECONDS: &str = "hallporter_broker_publish_seconds";
pub(crate) const BROKER_UP: &str = "hallporter_broker_up";
pub(crate) const ACKS_DROPPED: &str = "hallporter_acks_dropped_total";
pub(crate) const REPLIES_DROPPED: &str = "hallporter_replies_dropped_total";
pub(crate) const REDELIVERED: &str = "hallporter_redelivered_total";
pub(crate) const HOSTS: &str = "hallporter_hosts";
pub(crate) const USERS_ONLINE: &str = "hallporter_users_online";
pub(crate) const USERS_PASSED_OVER: &str = "hallporter_users_passed_over_total";
#[cfg(feature = "socketioxide")]
pub(crate) const DELIVERIES_DROPPED: &str = "hallporter_deliveries_dropped_total";

/// Tells the recorder what each metric means. To be called once it is installed.
pub fn describe() {
    describe_counter!(
        BROKER_PUBLISHED,
        Unit::Count,
        "Messages the broker has taken, by method"
    );
    describe_counter!(
        BROKER_PUBLISH_FAILED,
        Unit::Count,
        "Messages the broker did not take, by reason"
    );
    describe_counter!(
        BROKER_RECEIVED,
        Unit::Count,
        "Messages from the broker that were carried out, by method"
    );
    describe_counter!(
        BROKER_REJECTED,
        Unit::Count,
        "Messages from the broker that were not understood or refused, by reason"
    );
    describe_counter!(
        BROKER_DROPPED,
        Unit::Count,
        "Messages from the broker that found no room, by reason"
    );
    describe_counter!(
        BROKER_RECONNECTS,
        Unit::Count,
        "Times the broker was found again after it had been away"
    );
    describe_gauge!(BROKER_UP, "1 while messages of the broker come in, 0 while it is away");
    describe_gauge!(
        BROKER_CANARY_AGE,
        Unit::Seconds,
        "Time since this host last heard its own message through the broker"
    );
    describe_histogram!(
        BROKER_PUBLISH_SECONDS,
        Unit::Seconds,
        "Time the broker took to take a message, or the attempt to fail"
    );
    describe_counter!(ACKS_DROPPED, Unit::Count, "Acks that could not be passed on, by reason");
    describe_counter!(
        REPLIES_DROPPED,
        Unit::Count,
        "Replies to events and calls that nobody waited for (any more), by reason"
    );
    describe_counter!(
        REDELIVERED,
        Unit::Count,
        "Events that had been handed to a worker more than once when their reply came"
    );
    describe_gauge!(HOSTS, "Hallporter hosts alive in the cluster, this one included");
    describe_gauge!(
        USERS_ONLINE,
        "Users online over the cluster as this host knows them, counted once for each namespace"
    );
    describe_counter!(
        USERS_PASSED_OVER,
        Unit::Count,
        "Users of other hosts that found no room, by reason"
    );
    #[cfg(feature = "socketioxide")]
    describe_counter!(
        DELIVERIES_DROPPED,
        Unit::Count,
        "Packets that a client could not take, by reason"
    );
}
