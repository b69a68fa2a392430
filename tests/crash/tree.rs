//! What lies below a directory, and whether everything that bears its own name there is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::command::content;
use super::plan::Load;

/// Everything below a directory but what is marked as a part, by its path from there.
pub type Things = BTreeMap<PathBuf, Thing>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Thing {
    /// Mode and time are `None` where they do not come along.
    File {
        len: u64,
        digest: blake3::Hash,
        meta: Option<(u32, SystemTime)>,
    },
    Link(PathBuf),
    Directory {
        meta: Option<(u32, SystemTime)>,
    },
}

/// Makes the load below `top`. Another `version` has the same names with other content.
pub fn make(load: Load, top: &Path, version: u64) {
    match load {
        Load::File(len) | Load::Stdout(len) => file(&top.join("file"), &content(version, len), 0o640),
        Load::Stdin(len) => file(&top.join("stdin"), &content(version, len), 0o644),
        Load::Tree(count) => tree(&top.join("tree"), count, version),
        Load::Empty(count) => {
            let empty = |index: usize| (if version == 0 { Vec::new() } else { content(version, index) }, 0o600);
            many(&top.join("tree"), count, empty);
        }
    }
}

fn tree(top: &Path, count: usize, version: u64) {
    // Every seventh is empty.
    let len = |index: usize| if index.is_multiple_of(7) { 0 } else { (index * 7919 + version as usize) % 20_000 };
    many(top, count, |index| (content(index as u64 ^ version << 32, len(index)), 0o600 | (index as u32 & 0o77)));
    symlink(format!("0/{version}"), top.join("link")).unwrap();
    let holes = File::create(top.join("holes")).unwrap();
    holes.write_all_at(&content(version, 5000), 1 << 20).unwrap();
    holes.set_len(3 << 20).unwrap();
    // The deeper ones first: making things in a directory changes its time.
    for (index, name) in ["3/inner/empty", "3/inner", "3", ""].into_iter().enumerate() {
        let directory = File::open(top.join(name)).unwrap();
        directory.set_permissions(PermissionsExt::from_mode(0o750)).unwrap();
        directory.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000 + index as u64, 9)).unwrap();
    }
}

fn many(top: &Path, count: usize, content_and_mode: impl Fn(usize) -> (Vec<u8>, u32)) {
    fs::create_dir_all(top.join("3/inner/empty")).unwrap();
    for index in 0..count {
        let (bytes, mode) = content_and_mode(index);
        let directory = top.join((index % 5).to_string());
        fs::create_dir_all(&directory).unwrap();
        file(&directory.join(index.to_string()), &bytes, mode);
    }
}

fn file(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Looks at everything below `top`, which may be changing. Standard input has no mode and time to compare.
pub fn things(top: &Path, load: Load) -> Things {
    let mut things = Things::new();
    walk(top, &mut |path| {
        if !is_part(path)
            && let Ok(thing) = thing(path, !matches!(load, Load::Stdin(_)))
        {
            things.insert(path.strip_prefix(top).unwrap().to_owned(), thing);
        }
    });
    things
}

/// Bytes of all files below `top`, holes excluded.
pub fn data_bytes(top: &Path) -> u64 {
    let mut bytes = 0;
    walk(top, &mut |path| {
        let stat = fs::symlink_metadata(path).unwrap();
        bytes += if stat.is_file() { stat.len().min(stat.blocks() * 512) } else { 0 };
    });
    bytes
}

/// The parts below `top`.
pub fn parts(top: &Path) -> BTreeSet<PathBuf> {
    let mut parts = BTreeSet::new();
    walk(top, &mut |path| {
        if is_part(path) {
            parts.insert(path.to_owned());
        }
    });
    parts
}

fn is_part(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with(".farwire-") && name.ends_with(".part")
}

fn walk(top: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(top).unwrap() {
        let path = entry.unwrap().path();
        visit(&path);
        if fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_dir()) {
            walk(&path, visit);
        }
    }
}

/// An error if it is gone by now: it has got another name, or another file its own.
fn thing(path: &Path, with_meta: bool) -> io::Result<Thing> {
    let stat = fs::symlink_metadata(path)?;
    let meta = |stat: &fs::Metadata| with_meta.then(|| (stat.mode() & 0o7777, stat.modified().unwrap()));
    if stat.is_symlink() {
        return Ok(Thing::Link(fs::read_link(path)?));
    }
    if stat.is_dir() {
        return Ok(Thing::Directory { meta: meta(&stat) });
    }
    let file = File::open(path)?;
    // Of what was opened: the name may be another file's since.
    let stat = file.metadata()?;
    let digest = blake3::Hasher::new().update_reader(&file)?.finalize();
    Ok(Thing::File { len: stat.len(), digest, meta: meta(&stat) })
}

/// What is held under its own name and is neither whole nor what was there before.
pub fn torn<'a>(held: &'a Things, sent: &Things, before: &Things) -> Vec<(&'a PathBuf, &'a Thing)> {
    let known = |path: &PathBuf, thing: &Thing| {
        [sent, before].iter().filter_map(|things| things.get(path)).any(|other| match (thing, other) {
            // It gets its mode and time when it is complete.
            (Thing::Directory { .. }, Thing::Directory { .. }) => true,
            _ => thing == other,
        })
    };
    held.iter().filter(|(path, thing)| !known(path, thing)).collect()
}

/// What is held or was sent and is not the same in both, as held and as sent.
pub fn differ<'a>(held: &'a Things, sent: &'a Things) -> BTreeMap<&'a PathBuf, [Option<&'a Thing>; 2]> {
    let pairs = held.keys().chain(sent.keys()).map(|path| (path, [held.get(path), sent.get(path)]));
    pairs.filter(|(_, [held, sent])| held != sent).collect()
}

#[test]
fn a_torn_file_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let load = Load::Tree(20);
    for (top, version) in [(&from, 0), (&to, 1)] {
        fs::create_dir(top).unwrap();
        make(load, top, version);
    }
    let (sent, before) = (things(&from, load), things(&to, load));
    assert!(sent.keys().eq(before.keys()) && differ(&sent, &sent).is_empty());
    assert!(differ(&sent, &before).len() >= 20 && differ(&sent, &Things::new()).len() == sent.len());
    assert!(torn(&things(&to, load), &sent, &before).is_empty());
    assert_eq!(torn(&before, &sent, &Things::new()).len(), before.len() - directories(&before));
    // A byte short; a mode too many; a name of nobody's.
    let short = to.join("tree/1/1");
    fs::write(&short, &fs::read(&short).unwrap()[1..]).unwrap();
    fs::set_permissions(to.join("tree/2/2"), PermissionsExt::from_mode(0o777)).unwrap();
    fs::write(to.join("tree/strange"), b"").unwrap();
    fs::write(to.join("tree/.farwire-0123.part"), b"x").unwrap();
    let held = things(&to, load);
    let names: Vec<_> = torn(&held, &sent, &before).into_iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(names, ["tree/1/1", "tree/2/2", "tree/strange"]);
    assert_eq!(parts(&to).len(), 1);
}

#[cfg(test)]
fn directories(things: &Things) -> usize {
    things.values().filter(|thing| matches!(thing, Thing::Directory { .. })).count()
}
