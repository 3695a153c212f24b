//! Brokers that cannot be tested here, which is said aloud and never mistaken for success.

use std::io::Write;

use crate::servers::{RabbitServer, is_installed, valkey};

/// When this is set to `all`, a broker that is left out is a failure.
const BROKERS: &str = "HALLPORTER_TEST_BROKERS";

/// Whether tests of this broker can run.
///
/// # Panics
/// When they cannot but all are wanted.
pub(crate) fn can_test(server: &str) -> bool {
    let installed = match server {
        "rabbitmq-server" => RabbitServer::is_installed(),
        "valkey-server" => valkey().exists(),
        program => is_installed(program),
    };
    assert!(
        installed || !all_wanted(),
        "{server} is not installed; `make setup` installs what the tests need"
    );
    installed
}

/// Past what the test runner keeps to itself.
#[test]
fn brokers_that_are_left_out_are_named() {
    let brokers = [
        ("Redis", "redis", cfg!(feature = "redis"), "redis-server"),
        ("Valkey", "redis", cfg!(feature = "redis"), "valkey-server"),
        ("RabbitMQ", "amqp", cfg!(feature = "amqp"), "rabbitmq-server"),
        ("NATS", "nats", cfg!(feature = "nats"), "nats-server"),
    ];
    for (broker, feature, on, server) in brokers {
        let why = match on {
            true if can_test(server) => continue,
            true => format!("{server} is not installed, see `make setup`"),
            false => format!("the Cargo feature {feature:?} is off"),
        };
        let line = format!("{broker} is left out: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        assert!(!all_wanted(), "{BROKERS}=all, but {line}");
    }
}

fn all_wanted() -> bool {
    std::env::var_os(BROKERS).is_some_and(|brokers| brokers == "all")
}
