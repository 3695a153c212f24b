//! The members of a room, of which a snapshot costs next to nothing.

use std::sync::Arc;

/// Members of a chunk, at most.
const CHUNK: usize = 256;

/// Something with a number of its own.
pub(super) trait Numbered: Clone {
    fn number(&self) -> u64;
}

/// Members in the order of their numbers, in chunks: a snapshot shares all of them, and a change while one is alive copies one chunk.
/// So nobody who joins waits for a fan-out, however large the room.
#[derive(Clone, Debug)]
pub(super) struct Members<T>(Vec<Arc<Vec<T>>>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Numbered> Members<T> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|chunk| chunk.iter())
    }

    /// Returns whether it was none before.
    pub(super) fn insert(&mut self, member: T) -> bool {
        let number = member.number();
        let Some(place) = self.chunk_of(number) else {
            self.0.push(Arc::new(vec![member]));
            return true;
        };
        let Err(at) = self.0[place].binary_search_by_key(&number, Numbered::number) else {
            return false;
        };
        if self.0[place].len() < CHUNK {
            Arc::make_mut(&mut self.0[place]).insert(at, member);
        } else if place + 1 == self.0.len() && at == CHUNK {
            // Newcomers have the highest numbers: chunks fill up one after the other.
            self.0.push(Arc::new(vec![member]));
        } else {
            let upper = Arc::make_mut(&mut self.0[place]).split_off(CHUNK / 2);
            self.0.insert(place + 1, Arc::new(upper));
            return self.insert(member);
        }
        true
    }

    /// Returns whether it was one.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let Some(place) = self.chunk_of(number) else {
            return false;
        };
        let Ok(at) = self.0[place].binary_search_by_key(&number, Numbered::number) else {
            return false;
        };
        if self.0[place].len() == 1 {
            self.0.remove(place);
            return true;
        }
        Arc::make_mut(&mut self.0[place]).remove(at);
        self.merge(place);
        true
    }

    /// Sparse neighbours become one chunk.
    fn merge(&mut self, place: usize) {
        let place = place.min(self.0.len().saturating_sub(2));
        if let [one, other, ..] = &self.0[place..]
            && one.len() + other.len() <= CHUNK / 2
        {
            let other = self.0.remove(place + 1);
            Arc::make_mut(&mut self.0[place]).extend_from_slice(&other);
        }
    }

    /// The chunk a number is in, or would be.
    fn chunk_of(&self, number: u64) -> Option<usize> {
        let begins_after = |chunk: &Arc<Vec<T>>| chunk.first().is_none_or(|first| first.number() <= number);
        let after = self.0.partition_point(begins_after);
        (!self.0.is_empty()).then(|| after.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl Numbered for u64 {
        fn number(&self) -> u64 {
            *self
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set_and_snapshots_stay(changes in prop::collection::vec((any::<bool>(), 0u64..1500), 0..4000)) {
            let (mut members, mut set) = (Members::default(), BTreeSet::new());
            // Newcomers, then changes in between.
            for number in (0..3000).step_by(2) {
                members.insert(number);
                set.insert(number);
            }
            let before = members.clone();
            for (insert, number) in changes {
                match insert {
                    true => prop_assert_eq!(members.insert(number), set.insert(number)),
                    false => prop_assert_eq!(members.remove(number), set.remove(&number)),
                }
            }
            prop_assert!(members.iter().eq(&set));
            prop_assert_eq!(members.is_empty(), set.is_empty());
            prop_assert!(members.0.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            prop_assert!(before.iter().copied().eq((0..3000).step_by(2)));
        }
    }

    #[test]
    fn a_room_that_empties_keeps_few_chunks() {
        let mut members = Members::default();
        assert!((0..10_000).all(|number| members.insert(number)));
        assert_eq!(members.0.len(), 10_000usize.div_ceil(CHUNK));
        let mut leaving = (0..10_000).filter(|number| number % 100 != 0);
        assert!(leaving.all(|number| members.remove(number)));
        assert_eq!(members.iter().count(), 100);
        assert!(members.0.len() <= 4, "{}", members.0.len());
    }
}
