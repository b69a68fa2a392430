//! Files as users have them, good and bad.

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
    assert!(said.contains("a.key: it belongs to nobody, not to us (root)") && said.contains("chown root"), "{said}");
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
    let said = refusal(&dir.path().join("c d.key"));
    assert!(said.contains("c d.key: No such file"), "{said}");
    assert!(said.contains(&format!("`farwire keygen '{}/c d.key'`", dir.path().display())), "{said}");
    assert!(refusal(Path::new("/dev/null")).contains("no regular file"));
}

#[test]
fn each_file_of_a_set_is_judged_for_itself() {
    let dir = set(&["a.key", "c.key", "e.key"]);
    put(&dir.path().join("b.key"), "no key", 0o600);
    fs::set_permissions(dir.path().join("c.key"), PermissionsExt::from_mode(0o644)).unwrap();
    nix::unistd::mkfifo(&dir.path().join("d.key"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("nowhere", dir.path().join("f.key")).unwrap();
    let found = read_each(dir.path(), None).unwrap();
    let told: Vec<String> = found
        .iter()
        .map(|Found { name, key, .. }| match key {
            Ok(key) => format!("{name} {}", key.name),
            Err(error) => format!("{name}: {}", if error.is_gone() { "gone".to_owned() } else { error.to_string() }),
        })
        .collect();
    for (told, words) in told.iter().zip(["a a", "b: ", "c: ", "d: ", "e e", "f: gone"]) {
        assert!(told.starts_with(words), "{told}");
    }
    assert!(told[1].contains("no farwire key") && told[2].contains("0644") && told[3].contains("no regular file"));
    // A set that was taken by its first command is whole.
    assert!(refusal(dir.path()).contains("b.key: it holds no farwire key"));
}

#[test]
fn what_may_not_be_read_is_told_with_whose_it_must_be() {
    let (path, error) = ("/etc/farwire/a b.key".into(), io::ErrorKind::PermissionDenied.into());
    let said = KeyFileError::Unreadable { path, error }.to_string();
    let us = name(geteuid());
    assert!(said.contains(&format!("{us} must own it, and reach its directory")), "{said}");
    assert!(said.ends_with(&format!("`chown {us} '/etc/farwire/a b.key'`")), "{said}");
}
