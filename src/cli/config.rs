//! The configuration file: what users say once for all commands.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::show::quoted;
use super::small_file::SmallFile;

/// Below a directory for configurations.
const FILE: &str = "farwire/config.toml";
/// For everybody on this machine.
const SYSTEM: &str = "/etc";
/// It takes one line; this leaves room for comments, and none for a disk that is there by mistake.
const LONGEST: usize = 64 << 10;
/// What goes into it.
const ENTRY: &str = "it takes one entry: key = \"PATH\"";

/// What a configuration file may say.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The key file, or the directory of them; beside the configuration file, unless it begins at the root.
    key: Option<PathBuf>,
}

/// The key that a configuration file names, and that file: the user's own if it names one, else the machine's.
///
/// # Errors
/// If one of them can't be read or understood, in words.
pub fn key() -> Result<Option<(PathBuf, PathBuf)>, String> {
    key_in(&places(|name| std::env::var_os(name)))
}

fn key_in(places: &[PathBuf]) -> Result<Option<(PathBuf, PathBuf)>, String> {
    for place in places {
        if let Some(key) = read(place)?.key {
            if key.as_os_str().is_empty() {
                return Err(format!("{}: key = \"\" names no file; say which, or remove the line", place.display()));
            }
            let beside = place.parent().unwrap_or(Path::new(SYSTEM));
            return Ok(Some((beside.join(key), place.clone())));
        }
    }
    Ok(None)
}

/// Where to look, in this order.
fn places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    own.into_iter().chain([PathBuf::from(SYSTEM)]).map(|dir| dir.join(FILE)).collect()
}

fn read(path: &Path) -> Result<Config, String> {
    let text = match text(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(format!("{}: it is no text file of at most {LONGEST} bytes; {ENTRY}", path.display())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Config::default());
        }
        Err(error) => {
            let file = quoted(path);
            return Err(format!(
                "{}: {error}; make it readable (`chmod a+r {file}`), or name the key with --key FILE",
                path.display()
            ));
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    toml::from_str(text).map_err(|error| {
        // The line itself is not shown: somebody may have put a key there.
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("{}, line {line}: {}; {ENTRY}", path.display(), error.message())
    })
}

/// What is in a file, if that is text, and not too much of it. What has no end, or does not come, is not read.
fn text(path: &Path) -> io::Result<Option<String>> {
    let Some(mut file) = SmallFile::open(path)? else { return Ok(None) };
    let mut bytes = vec![0; LONGEST + 1];
    let len = file.read(&mut bytes)?;
    bytes.truncate(len);
    Ok(String::from_utf8(bytes).ok().filter(|_| len <= LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_comes_before_the_machines() {
        let with = |set: &'static [(&str, &str)]| {
            places(move |name| set.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into()))
        };
        let system = PathBuf::from("/etc/farwire/config.toml");
        assert_eq!(with(&[]), std::slice::from_ref(&system));
        assert_eq!(with(&[("HOME", "/var/a")]), ["/var/a/.config/farwire/config.toml".into(), system.clone()]);
        let both = with(&[("HOME", "/var/a"), ("XDG_CONFIG_HOME", "/var/b")]);
        assert_eq!(both, ["/var/b/farwire/config.toml".into(), system.clone()]);
        assert_eq!(with(&[("XDG_CONFIG_HOME", "relative")]), [system]);
    }

    #[test]
    fn the_first_file_that_names_a_key_counts() {
        let dir = tempfile::tempdir().unwrap();
        let [own, system] = ["own.toml", "system.toml"].map(|name| dir.path().join(name));
        let places = [own.clone(), system.clone()];
        assert_eq!(key_in(&places), Ok(None));
        std::fs::write(&system, "key = \"/etc/farwire/keys\"").unwrap();
        std::fs::write(&own, "# none of my own\n").unwrap();
        assert_eq!(key_in(&places), Ok(Some(("/etc/farwire/keys".into(), system))));
        std::fs::write(&own, "key = \"my.key\"").unwrap();
        assert_eq!(key_in(&places), Ok(Some((dir.path().join("my.key"), own))));
    }

    #[test]
    fn what_is_not_understood_is_named_and_a_key_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        for (text, words) in [
            ("key = \"a\"\nkeys = \"b\"", "line 2: unknown field `keys`"),
            ("key = 5", "line 1: invalid type"),
            ("key = farwire-key-1:0123", "line 1: "),
            ("\n\nkey = \"farwire-key-1:0123", "line 3: "),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = key_in(std::slice::from_ref(&path)).unwrap_err();
            assert!(said.contains(words) && said.contains("config.toml"), "{text}: {said}");
            assert!(!said.contains("0123"), "{said}");
        }
    }

    #[test]
    fn what_is_no_text_file_is_neither_waited_for_nor_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let [pipe, device, place, big, bytes] =
            ["pipe", "device", "dir", "big", "bytes"].map(|name| dir.path().join(name));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        std::fs::create_dir(&place).unwrap();
        std::fs::write(&big, "#".repeat(LONGEST + 1)).unwrap();
        std::fs::write(&bytes, b"key = \"\xff\"").unwrap();
        for path in [pipe, device, place, big.clone(), bytes] {
            let said = key_in(std::slice::from_ref(&path)).unwrap_err();
            assert!(said.contains("no text file") && said.contains("key = \"PATH\""), "{said}");
        }
        std::fs::write(&big, "#".repeat(LONGEST)).unwrap();
        assert_eq!(key_in(&[big]), Ok(None));
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_and_an_empty_path_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "\u{feff}key = \"/a\"").unwrap();
        assert_eq!(key_in(std::slice::from_ref(&path)), Ok(Some(("/a".into(), path.clone()))));
        std::fs::write(&path, "key = \"\"").unwrap();
        let said = key_in(std::slice::from_ref(&path)).unwrap_err();
        assert!(said.contains("config.toml: key = \"\" names no file; say which, or remove the line"), "{said}");
    }
}
