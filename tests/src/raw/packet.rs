//! Socket.IO packets with their attachments in place.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How many attachments follow a packet, as its text says.
pub(super) fn attachments(packet: &str) -> Result<usize> {
    if !packet.starts_with("45") && !packet.starts_with("46") {
        return Ok(0);
    }
    let count = packet[2..].split('-').next().context("a binary packet has a count")?;
    Ok(count.parse()?)
}

/// The payload of a packet, each placeholder replaced by `{"$bytes": base64}`.
pub(super) fn resolve(packet: &str, attachments: &[Vec<u8>]) -> Result<Value> {
    let start = packet.find('[').context("a packet has a payload")?;
    let mut payload = serde_json::from_str(&packet[start..])?;
    let mut used = 0;
    fill(&mut payload, attachments, &mut used)?;
    ensure!(
        used == attachments.len(),
        "{used} of {} attachments are used",
        attachments.len()
    );
    Ok(payload)
}

fn fill(value: &mut Value, attachments: &[Vec<u8>], used: &mut usize) -> Result<()> {
    match value {
        Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = object["num"].as_u64().context("a placeholder has a number")?;
            let Some(data) = attachments.get(usize::try_from(number)?) else {
                bail!("there is no attachment {number}");
            };
            *value = json!({"$bytes": STANDARD.encode(data)});
            *used += 1;
        }
        Value::Object(object) => object
            .values_mut()
            .try_for_each(|value| fill(value, attachments, used))?,
        Value::Array(array) => array.iter_mut().try_for_each(|value| fill(value, attachments, used))?,
        _ => {}
    }
    Ok(())
}
