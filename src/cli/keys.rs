//! What protects a command's connections: a key or a set of them, or nothing, if the user says so.

use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::exit::Failure;
use super::flags::Common;
use super::stop::Stop;
use super::{config, key_files, show};
use crate::api::{Endpoint, EndpointConfig, Keyring, NamedKey};

/// Names the key where no flag does.
pub const VARIABLE: &str = "FARWIRE_KEY_FILE";
/// What a key's own text begins with: it has no place on a command line, where everybody can read it.
const KEY_TEXT: &str = "farwire-key-";

/// What protects connections.
#[derive(Clone, Debug)]
pub enum Protection {
    /// Whoever holds one of these keys can connect, and nobody else can read or change anything.
    Keys {
        /// The keys; the first is the one that we open connections with.
        ring: Keyring,
        /// Where they are from.
        source: Source,
    },
    /// Nothing.
    Insecure,
}

/// Where keys are from.
#[derive(Clone, Debug)]
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
        let keys = source.read()?;
        Ok(Protection::Keys { ring: ring(keys).map_err(Failure::local)?, source })
    }

    /// For a command that connects to `peer`: of several keys the one that bears its name.
    ///
    /// # Errors
    /// The same, and if it can't be told which of several keys is meant.
    pub fn of_client(common: &Common, peer: &str) -> Result<Protection, Failure> {
        let Some(source) = Source::find(common)? else { return Ok(Protection::Insecure) };
        let key = choose(source.read()?, peer).map_err(|names| {
            let dir = source.path.display();
            Failure::usage(format!(
                "{dir} holds {} keys ({}), and none that is called {peer:?}; say which: --key {dir}/NAME.key",
                names.len(),
                names.join(", "),
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

    /// From now on SIGHUP means that the keys are to be read anew, instead of the end. Without keys it stays the end.
    pub fn renew_on_hangup(&self, stop: &Stop) {
        if matches!(self, Protection::Keys { .. }) {
            stop.count_hangups();
        }
    }

    /// Reads the keys anew if that was asked for. Connections under keys that are gone end, all of them if none is
    /// left. If there are new ones that can't be taken, the old ones stay.
    pub fn renew_if_asked(&self, stop: &Stop, endpoint: &Endpoint) {
        let Protection::Keys { source, .. } = self else { return };
        if !stop.was_hung_up() {
            return;
        }
        let path = source.path.display();
        match source.read_again().and_then(|keys| ring(keys).map_err(Failure::local)) {
            Ok(ring) => {
                let line = match ring.is_empty() {
                    true => format!("no key is left in {path}: nobody can connect until one is there, and SIGHUP"),
                    false => format!("keys read anew from {path}: {}", names(&ring)),
                };
                match endpoint.set_keys(ring) {
                    Ok(()) => show::status(&line),
                    // The accepting loop is about to find out, too.
                    Err(stopped) => tracing::info!("{path} is not read anew: {stopped}"),
                }
            }
            Err(failure) => show::complain(format!("{}; the keys stay as they were", failure.message)),
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

    /// The same once they have been in force: that all are gone is what somebody wants who takes the last one back.
    fn read_again(&self) -> Result<Vec<NamedKey>, Failure> {
        match key_files::read(&self.path, self.user) {
            Err(error) if error.is_all_gone(&self.path) => Ok(Vec::new()),
            result => result.map_err(|error| self.failure(&error)),
        }
    }

    fn failure(&self, error: &key_files::KeyFileError) -> Failure {
        let by = self.named_by.as_ref().map_or(String::new(), |by| format!(" (named by {by})"));
        Failure::local(format!("{error}{by}"))
    }
}

fn ring(keys: Vec<NamedKey>) -> Result<Keyring, String> {
    let mut keys = keys.into_iter();
    let mut ring = keys.next().map_or_else(Keyring::none, Keyring::new);
    for key in keys {
        ring.add(key).map_err(|name| format!("the key {name} is there twice"))?;
    }
    Ok(ring)
}

/// The only one, or the one that bears the peer's name; otherwise the names of all.
fn choose(mut keys: Vec<NamedKey>, peer: &str) -> Result<NamedKey, Vec<String>> {
    let at = if keys.len() == 1 { Some(0) } else { keys.iter().position(|key| key.name == peer) };
    match at {
        Some(at) => Ok(keys.swap_remove(at)),
        None => Err(keys.into_iter().map(|key| key.name).collect()),
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
    use crate::api::Key;

    #[test]
    fn of_several_keys_the_peers_is_taken() {
        let keys = |names: &[&str]| -> Vec<NamedKey> {
            names.iter().enumerate().map(|(n, name)| NamedKey::new(*name, Key::from_bytes([n as u8; 32]))).collect()
        };
        let name = |names: &[&str], peer| choose(keys(names), peer).map(|key| key.name);
        assert_eq!(name(&["lab"], "backup"), Ok("lab".to_owned()));
        assert_eq!(name(&["lab", "backup"], "backup"), Ok("backup".to_owned()));
        assert_eq!(name(&["lab", "backup"], "02:00:00:00:00:01"), Err(vec!["lab".to_owned(), "backup".to_owned()]));
        assert_eq!(names(&ring(keys(&["b", "c", "a"])).unwrap()), "a, b, c");
    }
}
