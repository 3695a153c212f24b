//! Long lists, a page at a time.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// What is on one page at most, and what is on it unless less is asked for.
const MAX: usize = 1000;

/// How many entries to list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(usize);

impl Default for Limit {
    fn default() -> Self {
        Self(MAX)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match usize::deserialize(deserializer)? {
            limit @ 1..=MAX => Ok(Self(limit)),
            _ => Err(D::Error::custom(format_args!("must be 1 to {MAX}"))),
        }
    }
}

/// The entries behind `cursor` in their order, so many at most; and the cursor of the next page, where there is one.
///
/// The cursor is the last entry's name, so a page stays right while entries before it come and go.
pub(super) fn page<T>(
    mut entries: Vec<T>,
    name: impl Fn(&T) -> &str,
    Limit(limit): Limit,
    cursor: Option<&str>,
) -> (Vec<T>, Option<String>) {
    entries.retain(|entry| cursor.is_none_or(|cursor| name(entry) > cursor));
    entries.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    let is_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| is_more).map(|entry| name(entry).to_owned());
    (entries, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_entries_come_once_and_in_order() {
        let all = ["d", "a", "c", "e", "b"];
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let (entries, next) = page(all.to_vec(), |entry| entry, Limit(2), cursor.as_deref());
            assert!(!entries.is_empty() && entries.len() <= 2);
            seen.extend(entries);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        assert_eq!(page(Vec::<&str>::new(), |entry| entry, Limit(2), None), (vec![], None));
    }
}
