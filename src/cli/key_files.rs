//! Key files: one of them, or a directory of them, read and judged. What a key is made of is shown nowhere.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};
use zeroize::Zeroizing;

use super::show::quoted;
use super::small_file::SmallFile;
use crate::api::{Key, KeyError, NamedKey};

/// What the files of a set are called: `NAME.key`.
const EXTENSION: &str = "key";
/// A key is a line of 78 bytes; this leaves room for comments, and none for a disk that was named by mistake.
const LONGEST: usize = 4096;
/// Mode bits that let others than the owner do anything with a key file.
const OTHERS: u32 = 0o077;
/// Mode bits that let others than the owner put files into a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Why keys are not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can't be read.
    #[error("{}: {error}{}", path.display(), next_step(path, error))]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is a device, a pipe or the like.
    #[error("{}: it is no regular file; name a key file, or a directory of them", .0.display())]
    NoFile(PathBuf),
    /// Others can read or change it.
    #[error(
        "{}: its mode is {mode:04o}, so that others than its owner can {what} the key; say `chmod 600 {}`, and if \
         somebody may have done so, make a new key",
        path.display(),
        quoted(path)
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What others can do.
        what: &'static str,
    },
    /// Others can put keys into it.
    #[error(
        "{}: its mode is {mode:04o}, so that others than its owner can put keys there; say `chmod go-w {}`",
        path.display(),
        quoted(path)
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is somebody else's.
    #[error(
        "{}: it belongs to {owner}, not to us ({us}) or root; say `chown {us} {}` if the key is ours",
        path.display(),
        quoted(path)
    )]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: String,
        /// Who we are.
        us: String,
    },
    /// There is no key in it.
    #[error(
        "{}: there is no file NAME.key in this directory; make one with `farwire keygen {}`",
        path.display(),
        quoted(&path.join("NAME.key"))
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// The peer that it stands for can't be told.
    #[error("{}: the name of a key file is UTF-8; give it another", .0.display())]
    Name(PathBuf),
    /// One key under two names: which peer has it?
    #[error("{} holds the same key as {}; remove one of them", path.display(), other.display())]
    Twice {
        /// The one.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// It holds no key.
    #[error("{}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
}

impl KeyFileError {
    /// Whether it says that nothing is left of what was asked for.
    pub fn is_all_gone(&self, asked: &Path) -> bool {
        match self {
            KeyFileError::Empty { .. } => true,
            KeyFileError::Unreadable { path, .. } => path == asked && self.is_gone(),
            _ => false,
        }
    }

    /// Whether it says that the file is not there any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, KeyFileError::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// What to do about a file or directory that can't be read.
fn next_step(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "; copy the key there that the other host has, or, if there is none yet, make one with `farwire keygen {}`",
            quoted(path)
        ),
        io::ErrorKind::PermissionDenied => {
            let us = name(geteuid());
            format!("; {us} must own it, and reach its directory: `chown {us} {}`", quoted(path))
        }
        _ => String::new(),
    }
}

/// A file of a set, and what came of it.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Whom its key stands for.
    pub name: String,
    /// Its key.
    pub key: Result<NamedKey, KeyFileError>,
}

/// The key in a file, or all that are in the files `NAME.key` of a directory, by name; at least one. They may belong to
/// us, to root, or to `user`.
///
/// # Errors
/// If one of them is not as a secret should be kept, or is no key, or is there twice, or there is none.
pub fn read(path: &Path, user: Option<Uid>) -> Result<Vec<NamedKey>, KeyFileError> {
    let mut keys: Vec<(PathBuf, NamedKey)> = Vec::new();
    for Found { path, key, .. } in read_each(path, user)? {
        let key = key?;
        if let Some(other) = twin(&keys, &key) {
            return Err(KeyFileError::Twice { path, other: other.to_owned() });
        }
        keys.push((path, key));
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// The file among these that holds the same key.
pub fn twin<'a>(keys: &'a [(PathBuf, NamedKey)], key: &NamedKey) -> Option<&'a Path> {
    let same = keys.iter().find(|(_, other)| other.key.id() == key.key.id());
    same.map(|(path, _)| path.as_path())
}

/// The same, each file judged for itself.
///
/// # Errors
/// If there is no file, or the directory is not one that keys should be in.
pub fn read_each(path: &Path, user: Option<Uid>) -> Result<Vec<Found>, KeyFileError> {
    let stat = fs::metadata(path).map_err(unreadable(path))?;
    if !stat.is_dir() {
        let name = if is_key_file(path) { path.file_stem() } else { path.file_name() };
        let name = name.ok_or_else(|| KeyFileError::NoFile(path.to_owned()))?.to_string_lossy().into_owned();
        let key = read_key(path, user).map(|key| NamedKey::new(name.clone(), key));
        return Ok(vec![Found { path: path.to_owned(), name, key }]);
    }
    let mode = stat.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    check_owner(path, stat.uid(), user)?;
    let files = key_files(path)?;
    if files.is_empty() {
        return Err(KeyFileError::Empty { path: path.to_owned() });
    }
    Ok(files.into_iter().map(|path| found(path, user)).collect())
}

fn found(path: PathBuf, user: Option<Uid>) -> Found {
    let stem = path.file_stem().unwrap_or_default();
    let name = stem.to_string_lossy().into_owned();
    let key = match stem.to_str() {
        Some(name) => read_key(&path, user).map(|key| NamedKey::new(name, key)),
        None => Err(KeyFileError::Name(path.clone())),
    };
    Found { path, name, key }
}

/// The key files of a directory, by name. Other files are nobody's keys.
fn key_files(dir: &Path) -> Result<Vec<PathBuf>, KeyFileError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        if is_key_file(&path) {
            files.push(path);
        } else {
            tracing::info!("{} is not called NAME.key, and passed over", path.display());
        }
    }
    files.sort();
    Ok(files)
}

fn is_key_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// The file is judged as it was opened: what is put in its place meanwhile is not what is read.
fn read_key(path: &Path, user: Option<Uid>) -> Result<Key, KeyFileError> {
    let file = SmallFile::open(path).map_err(unreadable(path))?;
    let mut file = file.ok_or_else(|| KeyFileError::NoFile(path.to_owned()))?;
    check_owner(path, file.stat.uid(), user)?;
    let mode = file.stat.mode() & 0o7777;
    if mode & OTHERS != 0 {
        let what = match (mode & 0o044 != 0, mode & 0o022 != 0) {
            (true, true) => "read and change",
            (_, true) => "change",
            _ => "read",
        };
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode, what });
    }
    let mut bytes = Zeroizing::new([0; LONGEST]);
    let len = file.read(&mut bytes[..]).map_err(unreadable(path))?;
    let key = match std::str::from_utf8(&bytes[..len]) {
        Ok(text) if len < LONGEST => Key::parse(text),
        _ => Err(KeyError::NoKey),
    };
    key.map_err(|error| KeyFileError::Key { path: path.to_owned(), error })
}

/// Whoever owns a key file can read and replace it.
fn check_owner(path: &Path, owner: u32, user: Option<Uid>) -> Result<(), KeyFileError> {
    let (owner, us) = (Uid::from_raw(owner), geteuid());
    if owner == us || owner.is_root() || Some(owner) == user {
        return Ok(());
    }
    Err(KeyFileError::Foreign { path: path.to_owned(), owner: name(owner), us: name(user.unwrap_or(us)) })
}

fn name(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    |error| KeyFileError::Unreadable { path, error }
}

#[cfg(test)]
mod tests;
