//! The keys that an endpoint takes, each with the name of the peer that has it.

use std::sync::Arc;

use super::Key;
use super::mac::ReplyKey;
use crate::base::KeyId;

/// A key, and whose it is.
#[derive(Clone, Debug)]
pub struct NamedKey {
    /// Whom it stands for, as the user named the file.
    pub name: String,
    /// The key.
    pub key: Key,
}

impl NamedKey {
    /// `key`, known as `name`.
    pub fn new(name: impl Into<String>, key: Key) -> NamedKey {
        NamedKey { name: name.into(), key }
    }

    /// What packets outside of a connection are authenticated with.
    pub fn reply(&self) -> &ReplyKey {
        self.key.reply()
    }
}

/// A set of keys. The first one is the one that we open connections with. Without any, nobody is let in.
#[derive(Clone, Debug)]
pub struct Keyring {
    first: Option<KeyId>,
    /// Sorted by key id.
    keys: Vec<Arc<NamedKey>>,
}

impl Keyring {
    /// One key, for both directions.
    pub fn new(key: NamedKey) -> Keyring {
        Keyring { first: Some(key.key.id()), keys: vec![Arc::new(key)] }
    }

    /// No key, after all were taken back. Those that are added are for who connects to us.
    pub fn none() -> Keyring {
        Keyring { first: None, keys: Vec::new() }
    }

    /// Adds a key. One that is there already is not added again: its name is given back.
    ///
    /// # Errors
    /// The name under which it is there.
    pub fn add(&mut self, key: NamedKey) -> Result<(), String> {
        match self.place(key.key.id()) {
            Ok(at) => Err(self.keys[at].name.clone()),
            Err(at) => {
                self.keys.insert(at, Arc::new(key));
                Ok(())
            }
        }
    }

    /// The key of this id.
    pub fn get(&self, id: KeyId) -> Option<&Arc<NamedKey>> {
        self.place(id).ok().map(|at| &self.keys[at])
    }

    /// The key that we open connections with, if there is one.
    pub fn own(&self) -> Option<&Arc<NamedKey>> {
        self.get(self.first?)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<NamedKey>> {
        self.keys.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn place(&self, id: KeyId) -> Result<usize, usize> {
        self.keys.binary_search_by_key(&id, |key| key.key.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_found_and_none_is_there_twice() {
        let key = |n| NamedKey::new(format!("peer {n}"), Key::from_bytes([n; 32]));
        let mut ring = Keyring::new(key(5));
        for n in [9, 1, 7] {
            ring.add(key(n)).unwrap();
        }
        assert_eq!(ring.add(key(7)), Err("peer 7".to_owned()));
        assert_eq!(ring.len(), 4);
        assert_eq!(ring.own().unwrap().name, "peer 5");
        for n in [1, 5, 7, 9] {
            assert_eq!(ring.get(key(n).key.id()).unwrap().name, format!("peer {n}"));
        }
        assert!(ring.get(key(2).key.id()).is_none());
        let none = Keyring::none();
        assert!(none.is_empty() && none.own().is_none() && none.get(key(5).key.id()).is_none());
    }
}
