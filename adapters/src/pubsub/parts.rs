//! Long lists in several messages.

use serde::Serialize;

/// Bytes of a message around the items in it.
const ENVELOPE: usize = 256;

/// Items in parts that fit into messages of `limit` bytes; at least one part.
pub(super) fn parts<T: Serialize>(items: Vec<T>, limit: usize) -> Vec<Vec<T>> {
    let limit = limit.saturating_sub(ENVELOPE);
    let mut parts = vec![Vec::new()];
    let mut free = limit;
    for item in items {
        let size = serde_json::to_vec(&item).map_or(0, |json| json.len() + 1);
        if size > free && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(Vec::new());
            free = limit;
        }
        free = free.saturating_sub(size);
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    parts
}
