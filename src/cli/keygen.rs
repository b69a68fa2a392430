//! `farwire keygen`: a new key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use super::exit::Failure;
use super::flags;
use super::show;
use crate::api::Key;

/// Only its owner reads a key file.
const MODE: u32 = 0o600;

/// Makes a key and says what to do with it.
pub fn run(flags: &flags::Keygen) -> Result<(), Failure> {
    let key = random()?;
    let id = key.id().to_string();
    let text = Zeroizing::new(format!(
        "# farwire key {id}. Whoever has this file can be either host, and read what they say.\n{}",
        *key.to_text()
    ));
    if flags.file == Path::new("-") {
        if flags.json {
            return Err(Failure::usage("--json and - both want standard output; name a file, or leave out --json"));
        }
        to_stdout(text.as_bytes())?;
        show::status(&format!("key {id}; it belongs into a file of mode 0600 on each of the two hosts"));
        return Ok(());
    }
    to_file(&flags.file, text.as_bytes())?;
    if flags.json {
        show::json(&json!({ "command": "keygen", "file": flags.file.display().to_string(), "key": id }));
        return Ok(());
    }
    show::out(format!("{}: key {id}", flags.file.display()));
    show::status(&hint(&flags.file));
    Ok(())
}

/// The next steps, as a shell takes them.
fn hint(file: &Path) -> String {
    let file = show::quoted(file);
    format!(
        "Copy it to the other host by a way that nobody else can read, for example\n    \
             scp -p {file} HOST:{file}\n\
         then say `farwire recv --key {file}` there, and `farwire send --key {file} PATH HOST` here.",
    )
}

fn random() -> Result<Key, Failure> {
    let key = Key::fill(|bytes| getrandom::fill(bytes));
    key.map_err(|error| Failure::local(format!("the system has no randomness: {error}")))
}

/// A new file that nobody else can read, from the moment on that it is there.
fn to_file(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::local(format!("{0} is there already, and stays; name another file, or remove it", path.display()))
        }
        io::ErrorKind::NotFound => {
            let dir = show::quoted(path.parent().unwrap_or(Path::new(".")));
            Failure::local(format!("{}: {error}; make its directory first: `mkdir -p {dir}`", path.display()))
        }
        io::ErrorKind::PermissionDenied => {
            Failure::local(format!("{}: {error}; name a file where you may write, or become who may", path.display()))
        }
        _ => Failure::local(format!("{}: {error}", path.display())),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).map_err(failed)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a key is of no use. If it can't be removed either, loading it says that it is not whole.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

/// Past the buffer of standard output, which nobody would wipe.
fn to_stdout(text: &[u8]) -> Result<(), Failure> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Err(Failure::usage(
            "standard output is a terminal, which would keep the key; name a file, or say | CMD",
        ));
    }
    let written = stdout.as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).write_all(text));
    written.map_err(|error| Failure::local(format!("standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::cli::key_files;

    fn made(path: &Path) -> Result<(), Failure> {
        run(&flags::Keygen { file: path.to_owned(), json: false })
    }

    #[test]
    fn a_key_file_is_for_its_owner_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        made(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let key = &key_files::read(&path, None).unwrap()[0];
        assert!(text.contains(&key.key.id().to_string()), "the id is not in the file");
        let error = made(&path).unwrap_err().message;
        assert!(error.contains("is there already") && fs::read_to_string(&path).unwrap() == text, "{error}");
        let other = dir.path().join("b.key");
        made(&other).unwrap();
        assert_ne!(key_files::read(&other, None).unwrap()[0].key.id(), key.key.id());
        assert!(made(&dir.path().join("none/c.key")).unwrap_err().message.contains("none/c.key: No such file"));
        let said = made(&dir.path().join("no ne/c.key")).unwrap_err().message;
        assert!(said.contains(&format!("`mkdir -p '{}/no ne'`", dir.path().display())), "{said}");
    }

    #[test]
    fn the_next_steps_can_be_put_into_a_shell() {
        assert!(hint(Path::new("a.key")).contains("scp -p a.key HOST:a.key\n"));
        let said = hint(Path::new("my keys/$(a).key"));
        assert!(said.contains("scp -p 'my keys/$(a).key' HOST:'my keys/$(a).key'\n"), "{said}");
        assert!(said.contains("--key 'my keys/$(a).key'` there"), "{said}");
        assert!(hint(Path::new("-a.key")).contains("--key ./-a.key`"));
    }
}
