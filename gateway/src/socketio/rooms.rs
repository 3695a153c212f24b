//! The sockets of one namespace, and the rooms they are in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hallporter_adapters::{RoomIsSid, Target};
use smallvec::SmallVec;

use super::Sid;
use super::members::{Members, Numbered};

/// Sockets by sid, and by room. Each sid is a room of its own, of which there is no record beside the socket itself.
#[derive(Debug)]
pub(super) struct Rooms<S> {
    sockets: HashMap<Sid, Entry<S>>,
    /// Those that have been told that they are connected.
    connected: Members<S>,
    rooms: HashMap<Arc<str>, Members<S>>,
}

#[derive(Debug)]
struct Entry<S> {
    socket: S,
    /// The rooms it is in, in order, without its own.
    rooms: Vec<Arc<str>>,
}

/// A change that other gateways may have to know: a room has its first member here, or has lost its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    First,
    Last,
}

impl<S> Default for Rooms<S> {
    fn default() -> Self {
        Self {
            sockets: HashMap::new(),
            connected: Members::default(),
            rooms: HashMap::new(),
        }
    }
}

impl<S: Numbered> Rooms<S> {
    /// A socket that is connecting: it may enter rooms.
    pub(super) fn add(&mut self, sid: Sid, socket: S) {
        let rooms = Vec::new();
        self.sockets.insert(sid, Entry { socket, rooms });
    }

    /// A socket is connected. Nothing happens for one that has gone.
    pub(super) fn connect(&mut self, sid: &Sid) {
        if let Some(entry) = self.sockets.get(sid) {
            self.connected.insert(entry.socket.clone());
        }
    }

    /// Takes a socket out of everything. Returns the rooms that have lost their last member.
    pub(super) fn remove(&mut self, sid: &Sid) -> Vec<Arc<str>> {
        let Some(Entry { socket, mut rooms }) = self.sockets.remove(sid) else {
            return Vec::new();
        };
        self.connected.remove(socket.number());
        rooms.retain(|room| self.take_out(room, socket.number()) == Some(Change::Last));
        rooms
    }

    pub(super) fn get(&self, sid: &str) -> Option<&S> {
        Some(&self.sockets.get(&Sid::parse(sid)?)?.socket)
    }

    /// The rooms of a socket, its own included.
    pub(super) fn rooms_of(&self, sid: &Sid) -> Vec<String> {
        let Some(entry) = self.sockets.get(sid) else {
            return Vec::new();
        };
        let own = std::iter::once(sid.as_str());
        own.chain(entry.rooms.iter().map(|room| &**room))
            .map(str::to_owned)
            .collect()
    }

    /// # Errors
    /// When the room is that of another socket.
    pub(super) fn enter(&mut self, sid: &str, room: &str) -> Result<Option<Change>, RoomIsSid> {
        if sid == room {
            return Ok(None);
        }
        if self.get(room).is_some() {
            return Err(RoomIsSid);
        }
        let Some(entry) = Sid::parse(sid).and_then(|sid| self.sockets.get_mut(&sid)) else {
            return Ok(None);
        };
        let Err(at) = entry.rooms.binary_search_by(|known| (**known).cmp(room)) else {
            return Ok(None);
        };
        // The name is in memory once, however many are in the room.
        let known = self.rooms.get_key_value(room).map(|(name, _)| name.clone());
        let change = known.is_none().then_some(Change::First);
        let name = known.unwrap_or_else(|| room.into());
        entry.rooms.insert(at, name.clone());
        self.rooms.entry(name).or_default().insert(entry.socket.clone());
        Ok(change)
    }

    pub(super) fn leave(&mut self, sid: &str, room: &str) -> Option<Change> {
        let entry = self.sockets.get_mut(&Sid::parse(sid)?)?;
        let at = entry.rooms.binary_search_by(|known| (**known).cmp(room)).ok()?;
        entry.rooms.remove(at);
        let number = entry.socket.number();
        self.take_out(room, number)
    }

    /// # Errors
    /// When the room is that of a socket.
    pub(super) fn close(&mut self, room: &str, sid_of: impl Fn(&S) -> Sid) -> Result<Option<Change>, RoomIsSid> {
        if self.get(room).is_some() {
            return Err(RoomIsSid);
        }
        let Some(members) = self.rooms.remove(room) else {
            return Ok(None);
        };
        for socket in members.iter() {
            if let Some(entry) = self.sockets.get_mut(&sid_of(socket)) {
                entry.rooms.retain(|known| &**known != room);
            }
        }
        Ok(Some(Change::Last))
    }

    fn take_out(&mut self, room: &str, number: u64) -> Option<Change> {
        let members = self.rooms.get_mut(room)?;
        members.remove(number);
        members.is_empty().then(|| {
            self.rooms.remove(room);
            Change::Last
        })
    }

    /// A snapshot of those who are meant.
    pub(super) fn targets(&self, target: &Target) -> Targets<S> {
        let mut targets = Targets {
            single: SmallVec::new(),
            rooms: SmallVec::new(),
            except: HashSet::new(),
        };
        match &target.rooms {
            None => targets.rooms.push(self.connected.clone()),
            Some(rooms) => {
                for room in rooms {
                    if let Some(socket) = self.get(room) {
                        targets.single.push(socket.clone());
                    } else if let Some(members) = self.rooms.get(room.as_str()) {
                        targets.rooms.push(members.clone());
                    }
                }
            }
        }
        for room in &target.except {
            if let Some(socket) = self.get(room) {
                targets.except.insert(socket.number());
            } else if let Some(members) = self.rooms.get(room.as_str()) {
                targets.except.extend(members.iter().map(Numbered::number));
            }
        }
        targets
    }
}

/// Those who are meant, at one moment.
#[derive(Debug)]
pub(super) struct Targets<S> {
    single: SmallVec<[S; 1]>,
    rooms: SmallVec<[Members<S>; 1]>,
    except: HashSet<u64>,
}

impl<S: Numbered> Targets<S> {
    pub(super) fn is_empty(&self) -> bool {
        self.single.is_empty() && self.rooms.iter().all(Members::is_empty)
    }

    /// Each once.
    pub(super) fn for_each(&self, mut action: impl FnMut(&S)) {
        let mut seen = HashSet::new();
        let may_repeat = self.single.len() + self.rooms.len() > 1;
        for socket in self.single.iter().chain(self.rooms.iter().flat_map(Members::iter)) {
            let number = socket.number();
            let is_excepted = !self.except.is_empty() && self.except.contains(&number);
            if !is_excepted && (!may_repeat || seen.insert(number)) {
                action(socket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(sids: &[Sid]) -> Rooms<u64> {
        let mut rooms = Rooms::default();
        for (number, sid) in sids.iter().enumerate() {
            rooms.add(*sid, number as u64);
            rooms.connect(sid);
        }
        rooms
    }

    fn targets(rooms: &Rooms<u64>, target: &Target) -> Vec<u64> {
        let mut found = Vec::new();
        rooms.targets(target).for_each(|socket| found.push(*socket));
        found.sort_unstable();
        found
    }

    #[test]
    fn everyone_is_meant_once_and_the_excepted_never() {
        let sids = [Sid::new(), Sid::new(), Sid::new(), Sid::new()];
        let mut all = rooms(&sids);
        for (sid, room) in [(0, "red"), (1, "red"), (1, "blue"), (2, "blue")] {
            all.enter(sids[sid].as_str(), room).unwrap();
        }
        let target = |rooms: Option<&[&str]>, except: &[&str]| Target {
            rooms: rooms.map(|rooms| rooms.iter().map(|&room| room.to_owned()).collect()),
            except: except.iter().map(|&room| room.to_owned()).collect(),
        };
        assert_eq!(targets(&all, &target(None, &[])), [0, 1, 2, 3]);
        assert_eq!(targets(&all, &target(None, &["red", sids[3].as_str()])), [2]);
        assert_eq!(
            targets(&all, &target(Some(&["red", "blue", sids[1].as_str()]), &[])),
            [0, 1, 2]
        );
        assert_eq!(targets(&all, &target(Some(&["blue"]), &["red"])), [2]);
        assert_eq!(targets(&all, &target(Some(&[sids[3].as_str()]), &[])), [3]);
        assert!(all.targets(&target(Some(&["none"]), &[])).is_empty());
        assert!(all.targets(&target(Some(&[]), &[])).is_empty());
    }

    #[test]
    fn the_first_and_the_last_member_are_told_of() {
        let sids = [Sid::new(), Sid::new()];
        let mut all = rooms(&sids);
        let [one, other] = [sids[0].as_str(), sids[1].as_str()];
        assert_eq!(all.enter(one, "room"), Ok(Some(Change::First)));
        assert_eq!(all.enter(one, "room"), Ok(None));
        assert_eq!(all.enter(other, "room"), Ok(None));
        assert_eq!(all.enter(other, one), Err(RoomIsSid));
        assert_eq!(all.enter(one, one), Ok(None));
        assert_eq!(all.leave(one, "room"), None);
        assert_eq!(all.leave(one, "room"), None);
        assert_eq!(all.leave(other, "room"), Some(Change::Last));
        assert_eq!(all.enter("nobody", "room"), Ok(None));
        all.enter(one, "a").unwrap();
        all.enter(one, "b").unwrap();
        all.enter(other, "b").unwrap();
        assert_eq!(all.rooms_of(&sids[0]), [one, "a", "b"]);
        assert_eq!(all.close("b", |number| sids[*number as usize]), Ok(Some(Change::Last)));
        assert_eq!(all.rooms_of(&sids[1]), [other]);
        assert_eq!(all.close(one, |_| sids[0]), Err(RoomIsSid));
        assert_eq!(all.remove(&sids[0]), [Arc::<str>::from("a")]);
        assert_eq!(all.rooms.len(), 0);
    }
}
