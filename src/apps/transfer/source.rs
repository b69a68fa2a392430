//! The sender's half of a transfer as a stream of bytes: fills whatever room it is given, never waits for the network.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::uio::{preadv, readv};
use nix::unistd::{Whence, lseek};

use super::cursor::Cursor;
use super::digest::Digest;
use super::name::Name;
use super::record::{DATA_HEAD_LEN, Entry, Kind, Meta, Record, data_head};
use super::tree::{Step, Tree};

/// What the source tells its user on the way.
pub trait Observer {
    /// An entry begins.
    fn on_entry(&mut self, _name: &Name) {}
    /// File bytes were read, holes included.
    fn on_bytes(&mut self, _count: u64) {}
    /// A file has been read to its end.
    fn on_file(&mut self, _name: &Name, _digest: &[u8; 32]) {}
    /// Something could not be read.
    fn on_unread(&mut self, _name: &Name, _reason: &str) {}
    /// Something is not sent, by its nature.
    fn on_skipped(&mut self, _name: &str, _what: &str) {}
    /// Whether the receiver has given up entry `index` already.
    fn given_up(&self, _index: u64) -> bool {
        false
    }
    /// Totals, if they have become known since the last call.
    fn totals(&mut self) -> Option<(u64, u64)> {
        None
    }
}

/// Whether there is more to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// Yes.
    More,
    /// No: the stream ends here.
    End,
}

/// Where the bytes come from.
pub struct Source {
    tree: Tree,
    open: Option<OpenFile>,
    /// Records that are waiting for room.
    pending: Vec<u8>,
    pending_at: usize,
    /// Entries begun so far.
    entries: u64,
    digest: Digest,
    stdin: OwnedFd,
    finished: bool,
}

/// The file that is being read.
struct OpenFile {
    name: Name,
    index: u64,
    /// `None` for standard input.
    file: Option<OwnedFd>,
    size: u64,
    offset: u64,
    /// Where the data ends that `offset` is in; equal to it when the next hole or data is to be looked for.
    data_end: u64,
}

/// How far reading a file came.
enum Progress {
    /// Something was written.
    Some,
    /// There is no room for anything.
    NoRoom,
    /// Nothing is left.
    Done,
}

impl Source {
    /// `greeting`, then the records of everything in `tree`; `stdin` is read where the tree says so.
    pub fn new(greeting: &[u8], tree: Tree, stdin: OwnedFd) -> Source {
        Source {
            tree,
            open: None,
            pending: greeting.to_vec(),
            pending_at: 0,
            entries: 0,
            digest: Digest::default(),
            stdin,
            finished: false,
        }
    }

    /// Writes the next bytes into `cursor` until it is full, all is said, or a stream has nothing more right now.
    pub fn fill(&mut self, cursor: &mut Cursor<'_>, observer: &mut impl Observer) -> Fill {
        loop {
            if self.pending_at < self.pending.len() {
                self.pending_at += cursor.put(&self.pending[self.pending_at..]);
                if self.pending_at < self.pending.len() {
                    return Fill::More;
                }
                self.pending.clear();
                self.pending_at = 0;
            }
            if self.finished {
                return Fill::End;
            }
            if cursor.room() == 0 {
                return Fill::More;
            }
            match self.open.take() {
                Some(open) => {
                    let streaming = open.file.is_none();
                    let full = self.read_on(open, cursor, observer);
                    // What a pipe had is sent at once, even if it did not fill the frames.
                    if full || streaming && self.open.is_some() {
                        return Fill::More;
                    }
                }
                None => self.next_step(observer),
            }
        }
    }

    /// Reads on in `open`; true if the cursor has no room for more.
    fn read_on(&mut self, mut open: OpenFile, cursor: &mut Cursor<'_>, observer: &mut impl Observer) -> bool {
        if observer.given_up(open.index) {
            self.digest.reset();
            self.say(&Record::Abandon { reason: "the receiver could not take it".into() });
            return false;
        }
        let before = open.offset;
        let result = open.read(self.stdin.as_fd(), cursor, &mut self.digest);
        observer.on_bytes(open.offset - before);
        match result {
            Ok(Progress::Some) => self.open = Some(open),
            Ok(Progress::NoRoom) => {
                self.open = Some(open);
                return true;
            }
            Ok(Progress::Done) => {
                let digest = self.digest.take();
                observer.on_file(&open.name, &digest);
                self.say(&Record::End { size: open.offset, digest });
            }
            Err(reason) => {
                self.digest.reset();
                observer.on_unread(&open.name, &reason);
                self.say(&Record::Abandon { reason });
            }
        }
        false
    }

    fn next_step(&mut self, observer: &mut impl Observer) {
        if let Some((files, bytes)) = observer.totals() {
            self.say(&Record::Totals { files, bytes });
        }
        let Some(step) = self.tree.next() else {
            self.finished = true;
            return self.say(&Record::Finish { entries: self.entries });
        };
        match step {
            Step::File { name, meta, size, holes, file } => {
                let data_end = if holes { 0 } else { size };
                self.begin(Entry { name: name.clone(), meta, kind: Kind::File { size } }, observer);
                self.open = Some(OpenFile { name, index: self.entries - 1, file, size, offset: 0, data_end });
            }
            Step::Stream { name } => {
                let meta = Meta { mode: 0o644, ..now() };
                self.begin(Entry { name: name.clone(), meta, kind: Kind::File { size: 0 } }, observer);
                let (size, data_end) = (u64::MAX, u64::MAX);
                self.open = Some(OpenFile { name, index: self.entries - 1, file: None, size, offset: 0, data_end });
            }
            Step::Directory { name, meta } => self.begin(Entry { name, meta, kind: Kind::Directory }, observer),
            Step::Symlink { name, meta, target } => {
                self.begin(Entry { name, meta, kind: Kind::Symlink { target } }, observer);
            }
            Step::Leave { name, meta } => self.say(&Record::Leave { name, meta }),
            Step::Unreadable { name, reason } => {
                observer.on_unread(&name, &reason);
                self.entries += 1;
                self.say(&Record::Unsent { name, reason });
            }
            Step::Skipped { name, what } => observer.on_skipped(&name, what),
        }
    }

    fn begin(&mut self, entry: Entry, observer: &mut impl Observer) {
        observer.on_entry(&entry.name);
        self.entries += 1;
        self.say(&Record::Entry(entry));
    }

    fn say(&mut self, record: &Record) {
        record.emit(&mut self.pending);
    }
}

impl OpenFile {
    /// Reads the next piece straight into the cursor's room, its head before it.
    fn read(
        &mut self,
        stdin: BorrowedFd<'_>,
        cursor: &mut Cursor<'_>,
        digest: &mut Digest,
    ) -> Result<Progress, String> {
        if self.offset >= self.size {
            return Ok(Progress::Done);
        }
        if self.offset >= self.data_end {
            self.find_data(digest)?;
            return Ok(Progress::Some);
        }
        if cursor.room() <= DATA_HEAD_LEN {
            return Ok(Progress::NoRoom);
        }
        let mark = cursor.pass(DATA_HEAD_LEN);
        let most = usize::try_from(self.data_end - self.offset).unwrap_or(usize::MAX);
        let read = match &self.file {
            Some(file) => preadv(file, &mut cursor.vector(most), self.offset as i64),
            None => readv(stdin, &mut cursor.vector(most)),
        };
        match read {
            Ok(0) | Err(_) => cursor.back(mark, DATA_HEAD_LEN),
            Ok(len) => {
                cursor.write_at(mark, &data_head(self.offset, len));
                cursor.accept(len, |bytes| digest.update(bytes));
            }
        }
        match read {
            Ok(0) if self.file.is_none() => {
                self.size = self.offset;
                Ok(Progress::Done)
            }
            Ok(0) => Err(format!("it shrank from {} to {} bytes while it was read", self.size, self.offset)),
            Ok(len) => {
                self.offset += len as u64;
                Ok(Progress::Some)
            }
            Err(Errno::EINTR) => Ok(Progress::Some),
            Err(errno) => Err(format!("reading failed at byte {}: {}", self.offset, errno.desc())),
        }
    }

    /// Passes a hole, if there is one here, and finds where the data behind it ends.
    fn find_data(&mut self, digest: &mut Digest) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let data = match lseek(file, self.offset as i64, Whence::SeekData) {
            Ok(data) => (data as u64).min(self.size),
            // No data up to the end.
            Err(Errno::ENXIO) => self.size,
            // The file system can't tell; then all is data.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => {
                self.data_end = self.size;
                return Ok(());
            }
            Err(errno) => return Err(format!("looking for holes at byte {}: {}", self.offset, errno.desc())),
        };
        digest.zeros(data - self.offset);
        self.offset = data;
        self.data_end = match lseek(file, data as i64, Whence::SeekHole) {
            Ok(hole) if hole as u64 > data => (hole as u64).min(self.size),
            _ => self.size,
        };
        Ok(())
    }
}

fn now() -> Meta {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Meta { mode: 0, mtime_s: since.as_secs() as i64, mtime_ns: since.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use super::super::decode::{Decoder, Event};
    use super::super::tree::Root;
    use super::*;

    #[derive(Default)]
    struct Seen {
        unread: Vec<String>,
        give_up: Option<u64>,
    }

    impl Observer for Seen {
        fn on_unread(&mut self, name: &Name, reason: &str) {
            self.unread.push(format!("{name}: {reason}"));
        }
        fn given_up(&self, index: u64) -> bool {
            self.give_up == Some(index)
        }
    }

    /// Everything that the source says, in rooms of `slices` slices of `size` bytes.
    fn stream(path: &Path, size: usize, slices: usize, seen: &mut Seen) -> Vec<u8> {
        let root = Root::from_argument(path, &Name::parse(b"stdin").unwrap()).unwrap();
        let mut source = Source::new(b"", Tree::new(vec![root], true), File::open("/dev/null").unwrap().into());
        let mut bytes = Vec::new();
        loop {
            let mut memory = vec![0u8; size * slices];
            let mut cursor = Cursor::new(memory.chunks_mut(size).collect());
            let fill = source.fill(&mut cursor, seen);
            let written = cursor.written();
            bytes.extend_from_slice(&memory[..written]);
            if fill == Fill::End {
                return bytes;
            }
            assert!(written > 0, "no progress");
        }
    }

    /// The file's content as a receiver would put it together, the extents that carried it, and its last record.
    fn replay(mut bytes: &[u8]) -> (Vec<u8>, u64, Vec<Record>) {
        let (mut decoder, mut content, mut data, mut records) = (Decoder::default(), Vec::new(), 0, Vec::new());
        while let Some(event) = decoder.next::<Record>(&mut bytes).unwrap() {
            match event {
                Event::Data { offset, bytes } => {
                    content.resize(offset as usize, 0);
                    content.extend_from_slice(bytes);
                    data += bytes.len() as u64;
                }
                Event::Record(record) => records.push(record),
            }
        }
        (content, data, records)
    }

    #[test]
    fn a_file_comes_out_whole_whatever_the_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let content: Vec<u8> = (0..100_000u32).map(|n| (n * 7) as u8).collect();
        fs::write(&path, &content).unwrap();
        for (size, slices) in [(46, 1), (100, 3), (1432, 8), (4000, 256)] {
            let (got, _, records) = replay(&stream(&path, size, slices, &mut Seen::default()));
            assert_eq!(got, content, "{size} {slices}");
            let digest = *blake3::hash(&content).as_bytes();
            assert!(records.contains(&Record::End { size: 100_000, digest }));
            assert_eq!(records.last(), Some(&Record::Finish { entries: 1 }));
        }
    }

    #[test]
    fn holes_are_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        let file = File::create(&path).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 8 << 20).unwrap();
        file.set_len(16 << 20).unwrap();
        let (_, data, records) = replay(&stream(&path, 1432, 64, &mut Seen::default()));
        assert!(data < 1 << 20, "{data} bytes were sent of a file with 11");
        let digest = *blake3::hash(&fs::read(&path).unwrap()).as_bytes();
        assert!(records.contains(&Record::End { size: 16 << 20, digest }));
    }

    #[test]
    fn a_file_that_shrinks_is_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, vec![1; 50_000]).unwrap();
        let root = Root::from_argument(&path, &Name::parse(b"stdin").unwrap()).unwrap();
        let mut source = Source::new(b"", Tree::new(vec![root], true), File::open("/dev/null").unwrap().into());
        let (mut memory, mut seen) = (vec![0; 10_000], Seen::default());
        source.fill(&mut Cursor::new(memory.chunks_mut(1000).collect()), &mut seen);
        File::options().write(true).open(&path).unwrap().set_len(20_000).unwrap();
        while source.fill(&mut Cursor::new(memory.chunks_mut(1000).collect()), &mut seen) == Fill::More {}
        assert_eq!(seen.unread, ["f: it shrank from 50000 to 20000 bytes while it was read"]);
    }

    #[test]
    fn a_file_that_the_receiver_gave_up_is_not_read_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, vec![1; 500_000]).unwrap();
        let mut seen = Seen { give_up: Some(0), ..Seen::default() };
        let (content, _, records) = replay(&stream(&path, 1000, 10, &mut seen));
        assert!(content.is_empty());
        assert!(matches!(records[1], Record::Abandon { .. }), "{records:?}");
    }
}
