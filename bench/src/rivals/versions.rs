//! Which versions of the rivals' crates are built in: those that Cargo.lock holds, since a build follows it.

const LOCK: &str = include_str!("../../../Cargo.lock");

/// Name and version of a crate, as `quinn 0.11.12`.
pub fn of(name: &str) -> String {
    format!("{name} {}", version(LOCK, name).unwrap_or("of unknown version"))
}

fn version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let after = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?.1;
    after.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_knows_the_versions() {
        let lock =
            "[[package]]\nname = \"ab\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        assert_eq!(version(lock, "a"), Some("2.0.0"));
        assert_eq!(version(lock, "b"), None);
        assert!(of("quinn").starts_with("quinn 0.11."), "{}", of("quinn"));
    }
}
