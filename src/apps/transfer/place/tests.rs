//! Attacks on the target directory, and what is there after them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;

struct Scene {
    _outer: tempfile::TempDir,
    outside: PathBuf,
    inside: PathBuf,
    place: Place,
}

/// A target directory, and another one beside it that nothing may get into.
fn scene() -> Scene {
    let outer = tempfile::tempdir().unwrap();
    let (outside, inside) = (outer.path().join("outside"), outer.path().join("inside"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&inside).unwrap();
    let place = Place::open(&inside).unwrap();
    Scene { _outer: outer, outside, inside, place }
}

fn named(name: &str) -> Name {
    Name::parse(name.as_bytes()).unwrap()
}

fn meta(mode: u32) -> Meta {
    Meta { mode, mtime_s: 1_000_000_000, mtime_ns: 123_456_789 }
}

fn entries(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

fn put(place: &mut Place, name: &str, content: &[u8]) -> Result<(), String> {
    let mut part = place.file(&named(name), meta(0o640))?;
    part.write(&mut [IoSlice::new(content)], 0)?;
    part.set_meta()?;
    part.place()
}

#[test]
fn a_file_has_its_name_only_when_placed() {
    let mut scene = scene();
    assert_eq!(entries(&scene.inside), 0, "the probe is gone");
    let mut part = scene.place.file(&named("f"), meta(0o4751)).unwrap();
    part.write(&mut [IoSlice::new(b"ab"), IoSlice::new(b"cd")], 3).unwrap();
    part.set_size(10).unwrap();
    part.set_meta().unwrap();
    assert!(!scene.inside.join("f").exists());
    part.place().unwrap();
    assert_eq!(fs::read(scene.inside.join("f")).unwrap(), b"\0\0\0abcd\0\0\0");
    let stat = fs::metadata(scene.inside.join("f")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o7777, 0o751, "set-user-id must not come along");
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_000_000_000, 123_456_789));
    assert_eq!(entries(&scene.inside), 1);
}

#[test]
fn a_part_that_is_dropped_leaves_nothing() {
    let mut scene = scene();
    let part = scene.place.file(&named("f"), meta(0o600)).unwrap();
    assert_eq!(entries(&scene.inside), 1);
    drop(part);
    assert_eq!(entries(&scene.inside), 0);
}

#[test]
fn a_link_that_the_peer_made_is_not_walked_through() {
    let mut scene = scene();
    let link = scene.place.symlink(&named("way"), meta(0), scene.outside.as_os_str().as_bytes()).unwrap();
    link.place().unwrap();
    let error = put(&mut scene.place, "way/escaped", b"x").unwrap_err();
    assert!(error.contains("symbolic link"), "{error}");
    assert!(scene.place.directory(&named("way/dir"), meta(0o700)).is_err());
    assert!(scene.place.symlink(&named("way/link"), meta(0), b"x").is_err());
    assert!(scene.place.directory(&named("way"), meta(0o700)).unwrap_err().contains("in its way"));
    assert_eq!(entries(&scene.outside), 0);
}

#[test]
fn a_link_that_was_there_is_replaced_and_not_written_through() {
    let mut scene = scene();
    let target = scene.outside.join("target");
    fs::write(&target, b"mine").unwrap();
    symlink(&target, scene.inside.join("f")).unwrap();
    put(&mut scene.place, "f", b"theirs").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"mine");
    assert!(fs::symlink_metadata(scene.inside.join("f")).unwrap().is_file());
}

/// A directory that was already walked is swapped for a link: the walk stays in the directory that it had opened.
#[test]
fn a_swap_behind_our_back_leads_nowhere() {
    let mut scene = scene();
    scene.place.directory(&named("d"), meta(0o755)).unwrap();
    put(&mut scene.place, "d/first", b"1").unwrap();
    fs::rename(scene.inside.join("d"), scene.inside.join("moved")).unwrap();
    symlink(&scene.outside, scene.inside.join("d")).unwrap();
    put(&mut scene.place, "d/second", b"2").unwrap();
    assert_eq!(entries(&scene.outside), 0);
    assert_eq!(entries(&scene.inside.join("moved")), 2);
    // Once the walk is forgotten, it begins anew and ends at the link.
    put(&mut scene.place, "top", b"3").unwrap();
    assert!(put(&mut scene.place, "d/third", b"3").is_err());
    assert_eq!(entries(&scene.outside), 0);
}

#[test]
fn what_is_in_the_way_is_said() {
    let mut scene = scene();
    scene.place.directory(&named("d"), meta(0o755)).unwrap();
    put(&mut scene.place, "f", b"x").unwrap();
    assert!(put(&mut scene.place, "d", b"x").unwrap_err().contains("a directory is in its way"));
    assert!(scene.place.symlink(&named("d"), meta(0), b"x").err().unwrap().contains("a directory is in its way"));
    assert!(scene.place.directory(&named("f"), meta(0o755)).unwrap_err().contains("in its way"));
    assert!(put(&mut scene.place, "f/below", b"x").unwrap_err().contains("no directory"));
    assert!(put(&mut scene.place, "missing/below", b"x").unwrap_err().contains("does not exist"));
}

#[test]
fn a_directory_gets_its_mode_and_time_at_the_end() {
    let mut scene = scene();
    scene.place.directory(&named("d"), meta(0o555)).unwrap();
    put(&mut scene.place, "d/f", b"x").unwrap();
    scene.place.leave(&named("d"), meta(0o555)).unwrap().set_meta().unwrap();
    let stat = fs::metadata(scene.inside.join("d")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o7777, 0o555);
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_000_000_000, 123_456_789));
}

#[test]
fn a_part_that_goes_later_leaves_its_directory_the_time_that_it_got() {
    let mut scene = scene();
    scene.place.directory(&named("d"), meta(0o755)).unwrap();
    let part = scene.place.file(&named("d/f"), meta(0o644)).unwrap();
    // Another transfer, whose sender lives, sends the same directory.
    let mut other = Place::open(&scene.inside).unwrap();
    other.directory(&named("d"), meta(0o755)).unwrap();
    put(&mut other, "d/f", b"x").unwrap();
    other.leave(&named("d"), meta(0o755)).unwrap().set_meta().unwrap();
    drop(part);
    assert_eq!(entries(&scene.inside.join("d")), 1);
    let stat = fs::metadata(scene.inside.join("d")).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_000_000_000, 123_456_789));
}

#[test]
fn a_link_has_its_target_and_time() {
    let mut scene = scene();
    scene.place.symlink(&named("l"), meta(0), b"../any/where").unwrap().place().unwrap();
    let path = scene.inside.join("l");
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("../any/where"));
    assert_eq!(fs::symlink_metadata(&path).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn a_target_that_is_none_is_named() {
    let scene = scene();
    let missing = scene.inside.join("missing");
    let error = Place::open(&missing).err().unwrap();
    assert!(error.contains("missing") && error.contains("mkdir"), "{error}");
    fs::write(&missing, b"").unwrap();
    assert!(Place::open(&missing).err().unwrap().contains("no directory"));
}

#[test]
fn a_part_that_was_closed_is_found_again() {
    let mut scene = scene();
    let mut part = scene.place.file(&named("f"), meta(0o600)).unwrap();
    part.write(&mut [IoSlice::new(b"x")], 0).unwrap();
    part.close();
    part.sync().unwrap();
    part.place().unwrap();
    assert_eq!(fs::read(scene.inside.join("f")).unwrap(), b"x");
}

/// More folders than may be open at a time: they are closed when whoever used them is done.
#[test]
fn folders_are_given_back() {
    let mut scene = scene();
    for index in 0..2 * FOLDERS {
        let name = format!("d{index}");
        scene.place.directory(&named(&name), meta(0o755)).unwrap();
        put(&mut scene.place, &format!("{name}/f"), b"x").unwrap();
        scene.place.leave(&named(&name), meta(0o755)).unwrap().set_meta().unwrap();
    }
    assert_eq!(entries(&scene.inside), 2 * FOLDERS);
}
