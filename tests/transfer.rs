//! Whole transfers between two endpoints joined in memory: what arrives is what was sent, and nothing else.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use farwire::api::{Connection, Endpoint, EndpointConfig};
use farwire::apps::service::{self, Service};
use farwire::apps::transfer::record::{Entry, Kind, Meta, Record};
use farwire::apps::transfer::tx::SendRun;
use farwire::apps::transfer::{Name, Report, Root, Target, TransferError, Unwatched, Watch, receive, send};

/// Two connected endpoints and the directories of both sides.
struct Scene {
    here: Endpoint,
    there: Endpoint,
    dirs: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let (here, there) = Endpoint::memory_pair(EndpointConfig::insecure()).unwrap();
        there.listen().unwrap();
        let dirs = tempfile::tempdir().unwrap();
        fs::create_dir(dirs.path().join("from")).unwrap();
        fs::create_dir(dirs.path().join("to")).unwrap();
        Scene { here, there, dirs }
    }

    fn from(&self) -> PathBuf {
        self.dirs.path().join("from")
    }

    fn to(&self) -> PathBuf {
        self.dirs.path().join("to")
    }

    fn connect(&self) -> (Connection, Connection) {
        let ours = self.here.connect(self.there.mac()).unwrap();
        (ours, self.there.accept_timeout(Duration::from_secs(5)).unwrap())
    }

    /// Sends `paths` and gives both sides' reports.
    fn run(&self, paths: &[PathBuf]) -> Outcome {
        self.run_watched(paths, Arc::new(Unwatched), Arc::new(Unwatched))
    }

    fn run_watched(&self, paths: &[PathBuf], here: Arc<dyn Watch>, there: Arc<dyn Watch>) -> Outcome {
        let (ours, theirs) = self.connect();
        let target = Target::Directory(self.to());
        let receiver = thread::spawn(move || {
            let streams = service::accept(&theirs, Service::Transfer).unwrap();
            receive(&theirs, streams, &target, &there)
        });
        let run = SendRun { roots: roots(paths), count: true };
        let sent = send(&ours, run, &here);
        Outcome { sent, received: receiver.join().unwrap() }
    }
}

struct Outcome {
    sent: Result<Report, TransferError>,
    received: Result<Report, TransferError>,
}

impl Outcome {
    fn complete(self) -> Report {
        let (sent, received) = (self.sent.unwrap(), self.received.unwrap());
        assert_eq!(sent.tally, received.tally);
        assert!(sent.is_complete(), "{sent:?}");
        sent
    }
}

fn roots(paths: &[PathBuf]) -> Vec<Root> {
    let stdin = Name::parse(b"stdin").unwrap();
    paths.iter().map(|path| Root::from_argument(path, &stdin).unwrap()).collect()
}

/// Content that no two files share and that does not compress to a pattern of frames.
fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Everything below `path` that a transfer keeps: kind, mode, time, content.
fn picture(path: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap().path();
            let stat = fs::symlink_metadata(&entry).unwrap();
            let what = if stat.is_symlink() {
                format!("link to {:?}", fs::read_link(&entry).unwrap())
            } else if stat.is_dir() {
                open.push(entry.clone());
                format!("directory {:o}", stat.permissions().mode() & 0o1777)
            } else {
                let digest = blake3::hash(&fs::read(&entry).unwrap());
                format!("file {:o} {} {digest}", stat.permissions().mode() & 0o777, stat.len())
            };
            let name = entry.strip_prefix(path).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
            lines.push(format!("{name}: {what}, {}.{:09}", stat.mtime(), stat.mtime_nsec()));
        }
    }
    lines.sort();
    lines
}

fn no_parts(path: &Path) {
    for line in picture(path) {
        assert!(!line.contains(".part:"), "left behind: {line}");
    }
}

#[test]
fn a_tree_arrives_as_it_was() {
    let scene = Scene::new();
    let top = scene.from().join("top");
    fs::create_dir_all(top.join("a/b/c")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("zero"), b"").unwrap();
    fs::write(top.join("a/small"), b"small").unwrap();
    fs::write(top.join("a/b/large"), content(1, 5_000_000)).unwrap();
    fs::write(top.join(std::ffi::OsStr::from_bytes(b"a/b/c/odd \xff\xfe\n name")), content(2, 1432)).unwrap();
    symlink("../nowhere", top.join("a/link")).unwrap();
    symlink("/etc", top.join("absolute")).unwrap();
    fs::set_permissions(top.join("a/small"), PermissionsExt::from_mode(0o741)).unwrap();
    fs::set_permissions(top.join("empty"), PermissionsExt::from_mode(0o511)).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 987_654_321);
    for path in ["a/small", "a/b", "a"] {
        File::open(top.join(path)).unwrap().set_modified(past).unwrap();
    }
    let report = scene.run(&[top]).complete();
    assert_eq!((report.tally.files, report.tally.directories, report.tally.symlinks), (4, 5, 2));
    assert_eq!(report.tally.bytes, 5 + 5_000_000 + 1432);
    assert_eq!(picture(&scene.to()), picture(&scene.from()));
}

#[test]
fn many_small_files_and_several_paths() {
    let scene = Scene::new();
    let (many, single) = (scene.from().join("many"), scene.from().join("single"));
    fs::create_dir(&many).unwrap();
    for index in 0..2000 {
        fs::write(many.join(format!("file-{index}")), content(index, (index % 40) as usize * 257)).unwrap();
    }
    fs::write(&single, content(77, 100_000)).unwrap();
    let report = scene.run(&[many, single]).complete();
    assert_eq!(report.tally.files, 2001);
    assert_eq!(picture(&scene.to()), picture(&scene.from()));
}

#[test]
fn holes_stay_holes() {
    let scene = Scene::new();
    let sparse = scene.from().join("sparse");
    let file = File::create(&sparse).unwrap();
    file.write_all_at(&content(3, 10_000), 0).unwrap();
    file.write_all_at(&content(4, 5_000), 40 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    let report = scene.run(&[sparse]).complete();
    assert_eq!(report.tally.bytes, 64 << 20);
    assert!(report.tally.data_bytes < 1 << 20, "{} bytes went over the link for 15,000", report.tally.data_bytes);
    assert_eq!(picture(&scene.to()), picture(&scene.from()));
    let stat = fs::metadata(scene.to().join("sparse")).unwrap();
    assert!(stat.blocks() * 512 < 1 << 20, "{} blocks are allocated for 15,000 bytes", stat.blocks());
}

#[test]
fn several_senders_at_once() {
    let scene = Scene::new();
    for number in 0..4 {
        let dir = scene.from().join(number.to_string());
        fs::create_dir(&dir).unwrap();
        for index in 0..50 {
            fs::write(dir.join(index.to_string()), content(number * 1000 + index, 30_000)).unwrap();
        }
    }
    thread::scope(|scope| {
        for number in 0..4 {
            let (scene, path) = (&scene, scene.from().join(number.to_string()));
            scope.spawn(move || scene.run(&[path]).complete());
        }
    });
    assert_eq!(picture(&scene.to()), picture(&scene.from()));
}

#[test]
fn what_was_there_is_replaced_whole() {
    let scene = Scene::new();
    fs::write(scene.from().join("f"), content(5, 50_000)).unwrap();
    fs::write(scene.to().join("f"), b"old").unwrap();
    let old = File::open(scene.to().join("f")).unwrap();
    scene.run(&[scene.from().join("f")]).complete();
    assert_eq!(picture(&scene.to()), picture(&scene.from()));
    assert_eq!(old.metadata().unwrap().len(), 3, "whoever has the old file open keeps the old content");
}

/// What happened to single entries, as told to one side.
#[derive(Default)]
struct Failures(Mutex<Vec<String>>);

impl Watch for Failures {
    fn on_failed(&self, name: &str, reason: &str) {
        self.0.lock().unwrap().push(format!("{name}: {reason}"));
    }
}

impl Failures {
    fn all(&self) -> Vec<String> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort();
        all
    }
}

#[test]
fn one_failure_does_not_harm_the_others() {
    let scene = Scene::new();
    let top = scene.from().join("top");
    fs::create_dir(&top).unwrap();
    for name in ["blocked", "fine", "also-fine"] {
        fs::write(top.join(name), content(9, 300_000)).unwrap();
    }
    fs::create_dir_all(scene.to().join("top/blocked/by")).unwrap();
    let (here, there) = (Arc::new(Failures::default()), Arc::new(Failures::default()));
    let outcome = scene.run_watched(&[top], here.clone(), there.clone());
    let (sent, received) = (outcome.sent.unwrap(), outcome.received.unwrap());
    assert_eq!((sent.tally, sent.is_complete()), (received.tally, false));
    assert_eq!((sent.tally.files, sent.tally.failed), (2, 1));
    assert_eq!(there.all(), ["top/blocked: a directory is in its way"]);
    assert_eq!(here.all(), ["top/blocked: at the receiver: a directory is in its way"]);
    assert_eq!(fs::read(scene.to().join("top/fine")).unwrap(), content(9, 300_000));
    no_parts(&scene.to());
}

#[test]
fn a_target_that_cannot_be_written_is_refused_with_its_reason() {
    let scene = Scene::new();
    fs::write(scene.from().join("f"), content(5, 5_000_000)).unwrap();
    fs::remove_dir(scene.to()).unwrap();
    let outcome = scene.run(&[scene.from().join("f")]);
    let (sent, received) = (outcome.sent.unwrap_err(), outcome.received.unwrap_err());
    assert!(matches!(&sent, TransferError::Refused(reason) if reason.contains("does not exist")), "{sent:?}");
    assert!(received.to_string().contains("mkdir"), "{received}");
}

#[test]
fn a_transfer_that_breaks_off_leaves_nothing() {
    let scene = Scene::new();
    let large = scene.from().join("large");
    fs::write(&large, content(6, 30_000_000)).unwrap();
    let (ours, theirs) = scene.connect();
    let target = Target::Directory(scene.to());
    let receiver = thread::spawn(move || {
        let streams = service::accept(&theirs, Service::Transfer).unwrap();
        receive(&theirs, streams, &target, &(Arc::new(Unwatched) as Arc<dyn Watch>))
    });
    /// Pulls the plug in the middle.
    struct Plug(Connection, Mutex<u64>);
    impl Watch for Plug {
        fn on_bytes(&self, count: u64) {
            let mut seen = self.1.lock().unwrap();
            *seen += count;
            if *seen > 10_000_000 {
                self.0.close(service::INTERRUPTED, "pulled the plug");
            }
        }
    }
    let plug: Arc<dyn Watch> = Arc::new(Plug(ours.clone(), Mutex::new(0)));
    let sent = send(&ours, SendRun { roots: roots(&[large]), count: false }, &plug);
    assert!(sent.is_err(), "{sent:?}");
    let received = receiver.join().unwrap().unwrap_err().to_string();
    assert!(received.contains("pulled the plug"), "{received}");
    assert_eq!(fs::read_dir(scene.to()).unwrap().count(), 0);
    // The same endpoints go on.
    fs::write(scene.from().join("next"), b"next").unwrap();
    scene.run(&[scene.from().join("next")]).complete();
}

/// A sender that says what it likes: the receiver must not believe it.
fn hostile(scene: &Scene, records: &[Record], data: &[u8]) -> Result<Report, TransferError> {
    use std::io::Write;
    let (ours, theirs) = scene.connect();
    let target = Target::Directory(scene.to());
    let receiver = thread::spawn(move || {
        let streams = service::accept(&theirs, Service::Transfer).unwrap();
        receive(&theirs, streams, &target, &(Arc::new(Unwatched) as Arc<dyn Watch>))
    });
    let (mut stream, _answers) = ours.open_stream().unwrap();
    let mut bytes = Service::Transfer.greeting().to_vec();
    for record in records {
        record.emit(&mut bytes);
        if matches!(record, Record::Entry(Entry { kind: Kind::File { .. }, .. })) {
            bytes.extend_from_slice(&farwire::apps::transfer::record::data_head(0, data.len()));
            bytes.extend_from_slice(data);
        }
    }
    stream.write_all(&bytes).unwrap();
    stream.finish().unwrap();
    receiver.join().unwrap()
}

fn entry(name: &str, kind: Kind) -> Record {
    let meta = Meta { mode: 0o755, mtime_s: 0, mtime_ns: 0 };
    Record::Entry(Entry { name: Name::parse(name.as_bytes()).unwrap(), meta, kind })
}

#[test]
fn a_wrong_digest_is_no_file() {
    let scene = Scene::new();
    let records =
        [entry("f", Kind::File { size: 5 }), Record::End { size: 5, digest: [7; 32] }, Record::Finish { entries: 1 }];
    let report = hostile(&scene, &records, b"12345").unwrap();
    assert_eq!((report.tally.files, report.tally.failed), (0, 1));
    assert_eq!(fs::read_dir(scene.to()).unwrap().count(), 0);
}

#[test]
fn a_link_sent_first_is_not_written_through() {
    let scene = Scene::new();
    let outside = scene.dirs.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let digest = *blake3::hash(b"evil").as_bytes();
    let target = outside.as_os_str().as_bytes().to_vec();
    let records = [
        entry("way", Kind::Symlink { target }),
        entry("way/evil", Kind::File { size: 4 }),
        Record::End { size: 4, digest },
        entry("way/dir", Kind::Directory),
        Record::Finish { entries: 3 },
    ];
    let report = hostile(&scene, &records, b"evil").unwrap();
    assert_eq!((report.tally.symlinks, report.tally.failed), (1, 2));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_name_that_escapes_ends_the_transfer() {
    let scene = Scene::new();
    for name in [&b"../evil"[..], b"/tmp/farwire-evil", b"a/../../evil", b"nul\0"] {
        // Such a name can't be made; it can only be forged.
        let mut forged = Vec::new();
        entry("x".repeat(name.len()).as_str(), Kind::File { size: 0 }).emit(&mut forged);
        let at = forged.windows(name.len()).position(|part| part.iter().all(|byte| *byte == b'x')).unwrap();
        forged[at..at + name.len()].copy_from_slice(name);
        let error = forge(&scene, &forged).unwrap_err().to_string();
        assert!(error.contains("refused"), "{error}");
    }
    assert_eq!(fs::read_dir(scene.to()).unwrap().count(), 0);
    assert!(!scene.dirs.path().join("evil").exists());
}

fn forge(scene: &Scene, record: &[u8]) -> Result<Report, TransferError> {
    use std::io::Write;
    let (ours, theirs) = scene.connect();
    let target = Target::Directory(scene.to());
    let receiver = thread::spawn(move || {
        let streams = service::accept(&theirs, Service::Transfer).unwrap();
        receive(&theirs, streams, &target, &(Arc::new(Unwatched) as Arc<dyn Watch>))
    });
    let (mut stream, _answers) = ours.open_stream().unwrap();
    stream.write_all(&Service::Transfer.greeting()).unwrap();
    stream.write_all(record).unwrap();
    let result = receiver.join().unwrap();
    // The receiver may have closed the connection under us already.
    let _ = stream.finish();
    result
}

#[test]
fn perf_and_recv_do_not_talk_to_each_other() {
    let scene = Scene::new();
    let (ours, theirs) = scene.connect();
    let server = thread::spawn(move || service::accept(&theirs, Service::Perf).err().unwrap().to_string());
    fs::write(scene.from().join("f"), b"x").unwrap();
    let run = SendRun { roots: roots(&[scene.from().join("f")]), count: false };
    let error = send(&ours, run, &(Arc::new(Unwatched) as Arc<dyn Watch>)).unwrap_err().to_string();
    assert!(error.contains("perf server` runs here"), "{error}");
    assert!(server.join().unwrap().contains("farwire recv"));
}
