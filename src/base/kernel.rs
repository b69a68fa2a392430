//! The kernel's version, as `uname -r` tells it.

/// Major and minor version of a release such as `6.18.15+deb13-cloud-amd64`; `None` if it does not begin with them.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    Some((major.parse().ok()?, rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        for (release, expected) in [
            ("6.18.15+deb13-cloud-amd64", Some((6, 18))),
            ("7.2.12", Some((7, 2))),
            ("5.4", Some((5, 4))),
            ("6.9-rc3", Some((6, 9))),
            ("5.14.0-503.15.1.el9_5.x86_64", Some((5, 14))),
            ("rolling", None),
            ("6", None),
            ("6.", None),
            ("v6.1", None),
            ("99999999999.1", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release:?}");
        }
        assert!(version("6.9") < version("6.13"), "compared as numbers, not as text");
    }
}
