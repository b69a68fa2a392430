//! What protects a command's connections: a key or a set of them, or nothing, if the user says so.

use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::exit::Failure;
use super::flags::Common;
use super::key_files::{Found, KeyFileError};
use super::stop::Stop;
use super::{config, key_files, show};
use crate::api::{Endpoint, EndpointConfig, Keyring, NamedKey};

/// Names the key where no flag does.
pub const VARIABLE: &str = "FARWIRE_KEY_FILE";
/// What a key's own text begins with: it has no place on a command line, where everybody can read it.
const KEY_TEXT: &str = "farwire-key-";

/// What protects connections. There is one of it in a process: a clone would keep keys that have been taken back.
#[derive(Debug)]
pub enum Protection {
    /// Whoever holds one of these keys can connect, and nobody else can read or change anything.
    Keys {
        /// The keys that are in force; the first is the one that we open connections with.
        ring: Keyring,
        /// Where they are from.
        source: Source,
    },
    /// Nothing.
    Insecure,
}

/// Where keys are from.
#[derive(Debug)]
pub struct Source {
    /// A file, or a directory of them.
    path: PathBuf,
    /// Who named it, if it was not the command line.
    named_by: Option<String>,
    /// Whom the files may belong to beside us and root: who we are going to be.
    user: Option<Uid>,
}

impl Protection {
    /// For a command that takes connections, and may be about to become another `user`: all the keys there are.
    ///
    /// # Errors
    /// If there is none, or one is not as it should be, with the next step.
    pub fn of_server(common: &Common, user: Option<Uid>) -> Result<Protection, Failure> {
        let Some(source) = Source::find(common)? else { return Ok(Protection::Insecure) };
        let source = Source { user, ..source };
        Ok(Protection::Keys { ring: ring(source.read()?), source })
    }

    /// For a command that connects to `peer`: the key in a file, of a directory the one that bears the peer's name.
    ///
    /// # Errors
    /// The same, and if the directory has none of that name: who holds another key is not who is asked for.
    pub fn of_client(common: &Common, peer: &str) -> Result<Protection, Failure> {
        let Some(source) = Source::find(common)? else { return Ok(Protection::Insecure) };
        let is_set = source.path.is_dir();
        let key = choose(source.read()?, is_set, peer).map_err(|names| {
            Failure::usage(format!(
                "{} holds {} ({}), and none that is called {peer:?}; say which: --key {}",
                source.path.display(),
                show::count(names.len() as u64, "key"),
                names.join(", "),
                show::quoted(&source.path.join("NAME.key")),
            ))
        })?;
        Ok(Protection::Keys { ring: Keyring::new(key), source })
    }

    /// An endpoint's settings with it.
    pub fn config(&self) -> EndpointConfig {
        match self {
            Protection::Keys { ring, .. } => EndpointConfig::sealed(ring.clone()),
            Protection::Insecure => EndpointConfig::insecure(),
        }
    }

    /// For the line that says what is in force.
    pub fn describe(&self) -> String {
        match self {
            Protection::Keys { ring, .. } if ring.len() == 1 => format!("encrypted with key {}", names(ring)),
            Protection::Keys { ring, .. } => format!("encrypted, {} keys: {}", ring.len(), names(ring)),
            Protection::Insecure => show::NOT_ENCRYPTED.to_owned(),
        }
    }

    /// The flag that the other side has to say as well, with the blank behind it.
    pub fn flag(&self) -> &'static str {
        if matches!(self, Protection::Insecure) { "--insecure " } else { "" }
    }

    /// To be said once the process has become `user`: warns if that one can't read the keys anew.
    pub fn try_again(&self, user: &str) {
        let Protection::Keys { source, .. } = self else { return };
        let found = key_files::read_each(&source.path, source.user);
        let error = match found {
            Ok(found) => found.into_iter().find_map(|Found { key, .. }| key.err()),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            show::complain(format!(
                "{}. So user {user} can't read the keys anew, and on SIGHUP they stay as they are; say \
                 `chown -R {user} {}` (docs/KEYS.md, \"Taking a key back\")",
                source.failure(&error).message,
                show::quoted(&source.path),
            ));
        }
    }

    /// Reads the keys anew if that was asked for. Connections under keys that are gone end, all of them if none is
    /// left. Each file counts for itself: one that can't be taken keeps the key of its name, and no other, in force.
    pub fn renew_if_asked(&mut self, stop: &Stop, endpoint: &Endpoint) {
        let Protection::Keys { ring: in_force, source } = self else { return };
        if !stop.was_hung_up() {
            return;
        }
        let path = source.path.display();
        let found = match source.read_again() {
            Ok(found) => found,
            Err(failure) => return show::complain(format!("{}; the keys stay as they were", failure.message)),
        };
        let (keys, complaints) = renewed(found, in_force);
        for complaint in complaints {
            show::complain(complaint);
        }
        let keys = ring(keys);
        let line = match keys.is_empty() {
            true => format!("no key is left in {path}: nobody can connect until one is there, and SIGHUP"),
            false => format!("keys read anew from {path}: {}", names(&keys)),
        };
        match endpoint.set_keys(keys.clone()) {
            Ok(()) => {
                *in_force = keys;
                show::status(&line);
            }
            // The accepting loop is about to find out, too.
            Err(stopped) => tracing::info!("{path} is not read anew: {stopped}"),
        }
    }
}

impl Source {
    /// Where the user says that keys are; `None` if he wants none.
    fn find(common: &Common) -> Result<Option<Source>, Failure> {
        if common.insecure {
            return Ok(None);
        }
        if let Some(path) = &common.key {
            return Source::named(path, None).map(Some);
        }
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            return Source::named(Path::new(&path), Some(VARIABLE.to_owned())).map(Some);
        }
        match config::key().map_err(Failure::local)? {
            Some((path, by)) => Source::named(&path, Some(by.display().to_string())).map(Some),
            None => Err(Failure::usage(
                "which key? Both hosts need the same: make one with `farwire keygen FILE`, copy it there, and say \
                 --key FILE on both; or do without encryption, on a link that nobody else can reach: --insecure",
            )),
        }
    }

    fn named(path: &Path, named_by: Option<String>) -> Result<Source, Failure> {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(KEY_TEXT)) {
            let by = named_by.unwrap_or("--key".to_owned());
            return Err(Failure::usage(format!("{by}: that is a key; put it into a file (mode 0600), and name that")));
        }
        Ok(Source { path: path.to_owned(), named_by, user: None })
    }

    fn read(&self) -> Result<Vec<NamedKey>, Failure> {
        key_files::read(&self.path, self.user).map_err(|error| self.failure(&error))
    }

    /// The same file by file, once they have been in force: that all are gone is what somebody wants who takes the
    /// last one back.
    fn read_again(&self) -> Result<Vec<Found>, Failure> {
        match key_files::read_each(&self.path, self.user) {
            Err(error) if error.is_all_gone(&self.path) => Ok(Vec::new()),
            result => result.map_err(|error| self.failure(&error)),
        }
    }

    fn failure(&self, error: &KeyFileError) -> Failure {
        let by = self.named_by.as_ref().map_or(String::new(), |by| format!(" (named by {by})"));
        Failure::local(format!("{error}{by}"))
    }
}

/// Keys of which none is there twice.
fn ring(keys: Vec<NamedKey>) -> Keyring {
    let mut keys = keys.into_iter();
    let mut ring = keys.next().map_or_else(Keyring::none, Keyring::new);
    for key in keys {
        // The files were compared, with both their names in the complaint.
        let _ = ring.add(key);
    }
    ring
}

/// The keys that follow those in force, and what there is to complain about.
fn renewed(found: Vec<Found>, in_force: &Keyring) -> (Vec<NamedKey>, Vec<String>) {
    let mut keys: Vec<(PathBuf, NamedKey)> = Vec::new();
    let mut complaints = Vec::new();
    for Found { path, name, key } in found {
        let before = in_force.iter().find(|before| before.name == name);
        let key = match (key, before) {
            // The bytes that are in memory already, if it is the same.
            (Ok(key), Some(before)) if before.key.id() == key.key.id() => NamedKey::clone(before),
            (Ok(key), _) => key,
            (Err(error), Some(before)) if !error.is_gone() => {
                complaints.push(format!("{error}; the key {name} stays as it was, SIGHUP reads it anew"));
                NamedKey::clone(before)
            }
            (Err(error), _) => {
                complaints.push(format!("{error}; {name} has no key until then, and SIGHUP"));
                continue;
            }
        };
        match key_files::twin(&keys, &key) {
            None => keys.push((path, key)),
            Some(other) => {
                let error = KeyFileError::Twice { path, other: other.to_owned() };
                complaints.push(format!("{error}; until then, and SIGHUP, only the latter counts"));
            }
        }
    }
    (keys.into_iter().map(|(_, key)| key).collect(), complaints)
}

/// A file's key, or the one of a set that bears the peer's name; otherwise the names of all.
fn choose(mut keys: Vec<NamedKey>, is_set: bool, peer: &str) -> Result<NamedKey, Vec<String>> {
    let at = if is_set { keys.iter().position(|key| key.name == peer) } else { Some(0) };
    match at {
        Some(at) if at < keys.len() => Ok(keys.swap_remove(at)),
        _ => Err(keys.into_iter().map(|key| key.name).collect()),
    }
}

/// What the keys are called, and the id of a single one: it is what the other side has as well.
fn names(ring: &Keyring) -> String {
    if let (1, Some(only)) = (ring.len(), ring.own()) {
        return format!("{} ({})", only.name, only.key.id());
    }
    let mut names: Vec<&str> = ring.iter().map(|key| key.name.as_str()).collect();
    names.sort_unstable();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Key, KeyError};

    fn key(n: u8, name: &str) -> NamedKey {
        NamedKey::new(name, Key::from_bytes([n; 32]))
    }

    #[test]
    fn of_a_set_the_peers_key_is_taken_and_a_file_whatever_the_peer_is_called() {
        let name = |is_set, names: &[&str], peer| {
            let keys = names.iter().enumerate().map(|(n, name)| key(n as u8, name)).collect();
            choose(keys, is_set, peer).map(|key| key.name)
        };
        assert_eq!(name(false, &["lab"], "backup"), Ok("lab".to_owned()));
        assert_eq!(name(true, &["lab", "backup"], "backup"), Ok("backup".to_owned()));
        for peer in ["backup", "02:00:00:00:00:01"] {
            assert_eq!(name(true, &["alice"], peer), Err(vec!["alice".to_owned()]), "alice is not {peer}");
        }
        assert_eq!(name(true, &["lab", "backup"], "other"), Err(vec!["lab".to_owned(), "backup".to_owned()]));
        assert_eq!(names(&ring(vec![key(1, "b"), key(2, "c"), key(3, "a")])), "a, b, c");
    }

    fn found(name: &str, key: Result<NamedKey, KeyFileError>) -> Found {
        Found { path: format!("/etc/farwire/keys/{name}.key").into(), name: name.to_owned(), key }
    }

    fn bad(name: &str) -> Found {
        let path = format!("/etc/farwire/keys/{name}.key").into();
        found(name, Err(KeyFileError::Key { path, error: KeyError::NoKey }))
    }

    #[test]
    fn a_file_that_is_bad_keeps_its_own_key_and_no_others() {
        let in_force = ring(vec![key(1, "alice"), key(2, "bob"), key(3, "carol")]);
        // alice's file is gone, bob's is broken, carol has a new one, q's was never good, zoe's is new.
        let files = vec![bad("bob"), found("carol", Ok(key(4, "carol"))), bad("q"), found("zoe", Ok(key(5, "zoe")))];
        let (keys, complaints) = renewed(files, &in_force);
        let now = ring(keys);
        assert_eq!(names(&now), "bob, carol, zoe");
        for (n, there) in [(1, false), (2, true), (3, false), (4, true), (5, true)] {
            assert_eq!(now.get(key(n, "").key.id()).is_some(), there, "key {n}");
        }
        let [bob, q] = &complaints[..] else { panic!("{complaints:?}") };
        assert!(bob.contains("/etc/farwire/keys/bob.key: ") && bob.contains("the key bob stays as it was"), "{bob}");
        assert!(q.contains("/etc/farwire/keys/q.key: ") && q.contains("q has no key"), "{q}");
    }

    #[test]
    fn a_key_under_a_second_name_is_named_and_the_first_stays() {
        let in_force = ring(vec![key(1, "alice"), key(2, "bob")]);
        let files = vec![found("alice", Ok(key(1, "alice"))), found("bob", Ok(key(1, "bob")))];
        let (keys, complaints) = renewed(files, &in_force);
        assert_eq!((keys.len(), keys[0].name.as_str()), (1, "alice"));
        let [said] = &complaints[..] else { panic!("{complaints:?}") };
        let words = "/etc/farwire/keys/bob.key holds the same key as /etc/farwire/keys/alice.key; remove one of them";
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn a_file_that_went_while_it_was_looked_for_is_gone() {
        let in_force = ring(vec![key(1, "alice")]);
        let (path, error) = ("/etc/farwire/keys/alice.key".into(), std::io::ErrorKind::NotFound.into());
        let gone = found("alice", Err(KeyFileError::Unreadable { path, error }));
        assert!(renewed(vec![gone], &in_force).0.is_empty());
        assert!(renewed(Vec::new(), &in_force).0.is_empty());
    }
}
