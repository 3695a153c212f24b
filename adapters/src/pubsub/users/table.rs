//! Values by namespace and name.

use std::collections::HashMap;
use std::sync::Arc;

/// The key of a [`Table`]; its parts are shared by all tables that hold it.
pub(super) type Key = (Arc<str>, Arc<str>);

/// Values by namespace and the name of a user or socket; a namespace without values is forgotten.
#[derive(Debug)]
pub(super) struct Table<T> {
    namespaces: HashMap<Arc<str>, HashMap<Arc<str>, T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        let namespaces = HashMap::new();
        Self { namespaces }
    }
}

impl<T> Table<T> {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        self.namespaces.get(namespace)?.get(name)
    }

    pub(super) fn get_mut(&mut self, namespace: &str, name: &str) -> Option<&mut T> {
        self.namespaces.get_mut(namespace)?.get_mut(name)
    }

    pub(super) fn insert(&mut self, (namespace, name): Key, value: T) {
        self.namespaces.entry(namespace).or_default().insert(name, value);
    }

    pub(super) fn get_or_insert(&mut self, (namespace, name): Key, value: impl FnOnce() -> T) -> &mut T {
        let names = self.namespaces.entry(namespace).or_default();
        names.entry(name).or_insert_with(value)
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> Option<T> {
        let names = self.namespaces.get_mut(namespace)?;
        let removed = names.remove(name);
        if names.is_empty() {
            self.namespaces.remove(namespace);
        } else if names.capacity() > 64 && names.len() < names.capacity() / 4 {
            // What a crowd has taken is given back when it has gone.
            names.shrink_to(names.len() * 2);
        }
        removed
    }

    /// The key as the table holds it, so that the strings need not be made again; a new one where it does not.
    pub(super) fn key(&self, namespace: &str, name: &str) -> Key {
        match self.namespaces.get_key_value(namespace) {
            Some((namespace, names)) => {
                let name = names
                    .get_key_value(name)
                    .map(|(name, _)| name.clone())
                    .unwrap_or_else(|| name.into());
                (namespace.clone(), name)
            }
            None => (namespace.into(), name.into()),
        }
    }

    pub(super) fn of(&self, namespace: &str) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.namespaces.get(namespace).into_iter().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &T)> {
        let namespaces = self.namespaces.iter();
        namespaces.flat_map(|(namespace, names)| names.iter().map(move |(name, value)| (namespace, name, value)))
    }
}
