//! Key files: one of them, or a directory of them, read and judged. What a key is made of is shown nowhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};
use zeroize::Zeroizing;

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
    #[error("{}: {error}", path.display())]
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
        "{0}: its mode is {mode:04o}, so that others than its owner can {what} the key; say `chmod 600 {0}`, and if \
         somebody may have done so, make a new key",
        path.display()
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
        "{0}: its mode is {mode:04o}, so that others than its owner can put keys there; say `chmod go-w {0}`",
        path.display()
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is somebody else's.
    #[error(
        "{0}: it belongs to {owner}, not to us ({us}) or root; say `chown {us} {0}` if the key is ours",
        path.display()
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
        "{0}: there is no file NAME.key in this directory; make one with `farwire keygen {0}/NAME.key`",
        path.display()
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// The peer that it stands for can't be told.
    #[error("{}: the name of a key file is UTF-8", .0.display())]
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
    /// Whether it says that nothing is left of what `read` was asked for.
    pub fn is_all_gone(&self, asked: &Path) -> bool {
        match self {
            KeyFileError::Empty { .. } => true,
            KeyFileError::Unreadable { path, error } => path == asked && error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// The key in a file, or all that are in the files `NAME.key` of a directory, by name; at least one. They may belong to
/// us, to root, or to `user`.
///
/// # Errors
/// If one of them is not as a secret should be kept, or is no key, or there is none.
pub fn read(path: &Path, user: Option<Uid>) -> Result<Vec<NamedKey>, KeyFileError> {
    let stat = fs::metadata(path).map_err(unreadable(path))?;
    if !stat.is_dir() {
        let name = if is_key_file(path) { path.file_stem() } else { path.file_name() };
        let name = name.ok_or_else(|| KeyFileError::NoFile(path.to_owned()))?;
        return Ok(vec![NamedKey::new(name.to_string_lossy(), read_key(path, user)?)]);
    }
    let mode = stat.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    check_owner(path, stat.uid(), user)?;
    let mut keys: Vec<(PathBuf, NamedKey)> = Vec::new();
    for file in key_files(path)? {
        let name = file.file_stem().and_then(|name| name.to_str()).ok_or_else(|| KeyFileError::Name(file.clone()))?;
        let key = NamedKey::new(name, read_key(&file, user)?);
        if let Some((other, _)) = keys.iter().find(|(_, other)| other.key.id() == key.key.id()) {
            return Err(KeyFileError::Twice { path: file, other: other.clone() });
        }
        keys.push((file, key));
    }
    if keys.is_empty() {
        return Err(KeyFileError::Empty { path: path.to_owned() });
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
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
    // A pipe would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable(path))?;
    let stat = file.metadata().map_err(unreadable(path))?;
    if !stat.is_file() {
        return Err(KeyFileError::NoFile(path.to_owned()));
    }
    check_owner(path, stat.uid(), user)?;
    let mode = stat.mode() & 0o7777;
    if mode & OTHERS != 0 {
        let what = match (mode & 0o044 != 0, mode & 0o022 != 0) {
            (true, true) => "read and change",
            (_, true) => "change",
            _ => "read",
        };
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode, what });
    }
    parse(file).map_err(unreadable(path))?.map_err(|error| KeyFileError::Key { path: path.to_owned(), error })
}

fn parse(mut file: File) -> io::Result<Result<Key, KeyError>> {
    let mut bytes = Zeroizing::new([0; LONGEST]);
    let mut len = 0;
    loop {
        match file.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    match std::str::from_utf8(&bytes[..len]) {
        Ok(text) if len < LONGEST => Ok(Key::parse(text)),
        _ => Ok(Err(KeyError::NoKey)),
    }
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
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn text(n: u8) -> String {
        Key::from_bytes(std::array::from_fn(|at| n + at as u8)).to_text().to_string()
    }

    fn put(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn refusal(path: &Path) -> String {
        read(path, None).map(|keys| keys.len()).unwrap_err().to_string()
    }

    /// A directory for `names`, each with a key of its own.
    fn set(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (n, name) in names.iter().enumerate() {
            put(&dir.path().join(name), &text(n as u8), 0o600);
        }
        dir
    }

    #[test]
    fn a_set_is_its_key_files_by_name() {
        let dir = set(&["b.key", "a.key", "README", ".hidden", "c.key.bak"]);
        let names: Vec<String> = read(dir.path(), None).unwrap().into_iter().map(|key| key.name).collect();
        assert_eq!(names, ["a", "b"]);
        let one = read(&dir.path().join("a.key"), None).unwrap();
        assert_eq!((one.len(), one[0].name.as_str()), (1, "a"));
        // Called as one likes, where it is named itself.
        assert_eq!(read(&dir.path().join("README"), None).unwrap()[0].name, "README");
        symlink("a.key", dir.path().join("link")).unwrap();
        assert_eq!(read(&dir.path().join("link"), None).unwrap()[0].key.id(), one[0].key.id());
    }

    #[test]
    fn what_others_can_get_at_is_refused_with_the_command_that_mends_it() {
        let dir = set(&["a.key", "b.key"]);
        let path = dir.path().join("a.key");
        for (mode, words) in [
            (0o640, "0640, so that others than its owner can read the key"),
            (0o604, "0604"),
            (0o620, "can change the key"),
            (0o602, "0602"),
            (0o666, "can read and change the key"),
        ] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            for named in [&path, dir.path()] {
                let said = refusal(named);
                assert!(said.contains(words) && said.contains(&format!("chmod 600 {}", path.display())), "{said}");
            }
        }
        fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        assert_eq!(read(dir.path(), None).unwrap().len(), 2);
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o720)).unwrap();
        let said = refusal(dir.path());
        assert!(said.contains("0720") && said.contains("chmod go-w"), "{said}");
    }

    #[test]
    fn a_key_of_somebody_else_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let dir = set(&["a.key"]);
        let path = dir.path().join("a.key");
        chown(&path, Some(65_534), None).unwrap();
        let said = refusal(dir.path());
        assert!(
            said.contains("a.key: it belongs to nobody, not to us (root)") && said.contains("chown root"),
            "{said}"
        );
        // Unless that is who we are going to be.
        assert_eq!(read(dir.path(), Some(Uid::from_raw(65_534))).unwrap().len(), 1);
        chown(&path, Some(0), None).unwrap();
        chown(dir.path(), Some(65_534), None).unwrap();
        assert!(refusal(dir.path()).contains("it belongs to nobody"));
    }

    #[test]
    fn what_is_no_key_and_what_is_there_twice_is_named() {
        let dir = set(&[]);
        assert!(refusal(dir.path()).contains("there is no file NAME.key"), "{}", refusal(dir.path()));
        let (a, b) = (dir.path().join("a.key"), dir.path().join("b.key"));
        put(&a, &text(7), 0o600);
        put(&b, &format!("# the same\n{}", text(7)), 0o600);
        let said = refusal(dir.path());
        assert!(said.contains("b.key holds the same key as") && said.contains("a.key; remove one"), "{said}");
        for content in ["", "farwire-key-1:0102", &"#\n".repeat(LONGEST), "\u{e9}"] {
            put(&b, content, 0o600);
            let said = refusal(dir.path());
            assert!(said.contains("b.key: ") && !said.contains("0102"), "{said}");
        }
        fs::remove_file(&b).unwrap();
        fs::create_dir(&b).unwrap();
        assert!(refusal(dir.path()).contains("b.key: it is no regular file"));
        assert!(refusal(&dir.path().join("c.key")).contains("No such file"));
        assert!(refusal(Path::new("/dev/null")).contains("no regular file"));
    }
}
