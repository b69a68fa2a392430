//! A name from the peer: a relative path that cannot leave the directory it is resolved in.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// Longest name in bytes. Linux' own limit of 4096 holds for one call only, so deep trees may be longer.
pub const MAX_NAME: usize = 32 << 10;
/// Longest component: what Linux' file systems take.
const MAX_COMPONENT: usize = 255;
/// Deepest name. The receiver keeps one descriptor per level open while it works there.
pub const MAX_DEPTH: usize = 256;

/// A relative path of plain components, as raw bytes: no `..`, no `.`, nothing absolute, no NUL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Box<[u8]>);

/// Why a name is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the name {name:?} is refused: {why}")]
pub struct NameError {
    /// The name, as far as it can be shown.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Name {
    /// Takes a name if it is harmless.
    ///
    /// # Errors
    /// If it could mean anything outside of the directory that it is resolved in, or nothing at all.
    pub fn parse(bytes: &[u8]) -> Result<Name, NameError> {
        let refuse = |why| NameError { name: show_bytes(&bytes[..bytes.len().min(200)]), why };
        if bytes.len() > MAX_NAME {
            return Err(refuse("it is too long"));
        }
        if bytes.contains(&0) {
            return Err(refuse("it has a NUL in it"));
        }
        if bytes.first() == Some(&b'/') {
            return Err(refuse("it is absolute"));
        }
        let mut depth = 0;
        for component in bytes.split(|byte| *byte == b'/') {
            depth += 1;
            match component {
                b"" => return Err(refuse("a part of it is empty")),
                b"." => return Err(refuse("it has `.` in it")),
                b".." => return Err(refuse("it has `..` in it")),
                long if long.len() > MAX_COMPONENT => return Err(refuse("a part of it is longer than 255 bytes")),
                _ => {}
            }
        }
        if depth > MAX_DEPTH {
            return Err(refuse("it is more than 256 directories deep"));
        }
        Ok(Name(bytes.into()))
    }

    /// The whole of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directories on the way, outermost first.
    pub fn parents(&self) -> impl Iterator<Item = &[u8]> {
        let cut = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.0[..cut].split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The last component.
    pub fn last(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or(&self.0)
    }

    /// The last component, for system calls.
    pub fn last_os(&self) -> &OsStr {
        OsStr::from_bytes(self.last())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_bytes(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", show_bytes(&self.0))
    }
}

/// Raw bytes as a line on a terminal: what is no printable text is escaped.
pub fn show_bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_could_escape_is_refused() {
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b"/etc/passwd", "absolute"),
            (b"../x", "`..`"),
            (b"a/../../x", "`..`"),
            (b"a/..", "`..`"),
            (b"a//b", "empty"),
            (b"a/", "empty"),
            (b"./a", "`.`"),
            (b"a\0b", "NUL"),
        ] {
            let error = Name::parse(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Name::parse(&[b'x'; 256]).is_err());
        assert!(Name::parse(&b"d/".repeat(300)[..599]).is_err());
    }

    #[test]
    fn odd_names_are_names() {
        for bytes in [&b"..."[..], b"..a", b"a\nb", b"\xff\xfe", b" ", b"-", b"a\\b", "ä".as_bytes()] {
            assert_eq!(Name::parse(bytes).unwrap().as_bytes(), bytes);
        }
    }

    #[test]
    fn the_parts_of_a_name() {
        let name = Name::parse(b"a/b/c").unwrap();
        assert_eq!(name.parents().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(name.last(), b"c");
        let single = Name::parse(b"c").unwrap();
        assert_eq!((single.parents().count(), single.last()), (0, &b"c"[..]));
    }

    #[test]
    fn what_is_shown_does_not_steer_the_terminal() {
        assert_eq!(show_bytes(b"a\x1b[2J\xffb\n"), "a\\u{1b}[2J\\xffb\\n");
    }

    proptest! {
        #[test]
        fn what_is_taken_stays_inside(
            bytes in prop::collection::vec(prop_oneof![Just(b'.'), Just(b'/'), any::<u8>()], 0..40),
        ) {
            if let Ok(name) = Name::parse(&bytes) {
                let path = std::path::Path::new(OsStr::from_bytes(name.as_bytes()));
                for part in path.components() {
                    prop_assert!(matches!(part, std::path::Component::Normal(_)), "{:?}", part);
                }
            }
        }
    }
}
