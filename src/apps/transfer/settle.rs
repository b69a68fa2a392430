//! The receiver's last step, on a thread of its own: what arrived whole is synced, named and confirmed, in batches.
//!
//! The promise is that a name never appears before its content is on disk, and that the sender hears of nothing that
//! could still get lost. One `fsync` per file keeps it and costs a disk's commit time each; 10,000 small files would
//! wait for that alone. So whatever has piled up while the last batch was synced makes the next one: a few files are
//! synced one by one; from `SYNCFS_FROM` on, one `syncfs` does for all of them. Then they are renamed in the order in
//! which they came, then their directories are synced, then they are confirmed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::unistd::{fsync, syncfs};

use super::name::Name;
use super::place::{Folder, Leaving, Part};
use super::record::{Tally, Verdict};

/// Most things in a batch, and as many may wait for the next one. Lower, and small files wait for more syncs, each of
/// which may take as long as what others have left dirty; higher only takes memory, about 200 bytes each.
const BATCH: usize = 4096;
/// Files that wait with an open descriptor; beyond it they are closed and found again by name, should it be needed.
const OPEN_FILES: usize = 100;
/// Files in a batch from which on one `syncfs` is cheaper than an `fsync` each. `syncfs` also writes what others have
/// left dirty on that file system, so it is not worth it for a handful.
const SYNCFS_FROM: usize = 8;

/// What came in.
pub enum Arrival {
    /// A file with the right digest, or a link.
    Part {
        /// Its entry's number.
        index: u64,
        /// The thing itself.
        part: Part,
        /// Its size; `None` for a link.
        size: Option<u64>,
    },
    /// A directory was made.
    Directory,
    /// A directory is complete.
    Leave {
        /// Its name.
        name: Name,
        /// The directory.
        leaving: Leaving,
    },
    /// An entry failed.
    Failed {
        /// Its number, if it is an entry.
        index: Option<u64>,
        /// Its name.
        name: Vec<u8>,
        /// Why.
        reason: String,
        /// The sender was the one to say so.
        known: bool,
    },
}

/// Where verdicts go.
pub trait Say: Send + 'static {
    /// Says one.
    fn say(&mut self, verdict: &Verdict);
}

/// The end that takes arrivals in.
pub struct Settler<S> {
    arrivals: Sender<Arrival>,
    thread: std::thread::JoinHandle<(Tally, S)>,
}

impl<S: Say> Settler<S> {
    /// Starts the thread. What it has to say goes to `say`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(say: S) -> std::io::Result<Settler<S>> {
        let (arrivals, inbox) = bounded(BATCH);
        let settling = Settling { inbox, say, tally: Tally::default() };
        let thread = std::thread::Builder::new().name("settle".to_owned()).spawn(move || settling.run())?;
        Ok(Settler { arrivals, thread })
    }

    /// Takes one thing in; waits while the disk is behind.
    pub fn take(&self, mut arrival: Arrival) {
        if let Some(failed) = failure(&arrival, Part::set_meta) {
            arrival = failed;
        }
        if let Arrival::Part { part, .. } = &mut arrival
            && self.arrivals.len() > OPEN_FILES
        {
            part.close();
        }
        // The thread ends only when this sender is gone, or by a panic, which `finish` reports.
        let _ = self.arrivals.send(arrival);
    }

    /// Waits for everything taken in and says what came of it.
    ///
    /// # Errors
    /// If the thread broke.
    pub fn finish(self) -> Result<(Tally, S), String> {
        drop(self.arrivals);
        self.thread.join().map_err(|_| "the thread that syncs files broke".to_owned())
    }
}

struct Settling<S> {
    inbox: Receiver<Arrival>,
    say: S,
    tally: Tally,
}

impl<S: Say> Settling<S> {
    fn run(mut self) -> (Tally, S) {
        while let Ok(first) = self.inbox.recv() {
            let mut batch = vec![first];
            batch.extend(self.inbox.try_iter().take(BATCH - 1));
            self.settle(batch);
            self.say.say(&Verdict::Progress(self.tally));
        }
        (self.tally, self.say)
    }

    fn settle(&mut self, mut batch: Vec<Arrival>) {
        sync_parts(&mut batch);
        // By address: folders that are the same are shared.
        let mut folders: BTreeMap<usize, Arc<Folder>> = BTreeMap::new();
        let mut placed = Tally::default();
        for arrival in batch {
            let touched = self.place(arrival, &mut placed);
            folders.extend(touched.into_iter().map(|folder| (Arc::as_ptr(&folder) as usize, folder)));
        }
        if let Err(reason) = sync_folders(&folders) {
            // The names may be lost with the power, so none of them is confirmed.
            let name = b"(directory)".to_vec();
            self.failed(None, &name, format!("the directory could not be synced: {reason}"));
            self.tally.failed += placed.files + placed.symlinks;
            return;
        }
        self.tally.files += placed.files;
        self.tally.symlinks += placed.symlinks;
        self.tally.bytes += placed.bytes;
        self.tally.data_bytes += placed.data_bytes;
    }

    /// Names one thing, and says which folders that touched.
    fn place(&mut self, arrival: Arrival, placed: &mut Tally) -> Vec<Arc<Folder>> {
        match arrival {
            Arrival::Part { index, part, size } => {
                let (folder, name, data_bytes) = (part.folder().clone(), part.name().clone(), part.data_bytes());
                if let Err(reason) = part.place() {
                    self.failed(Some(index), name.as_bytes(), reason);
                    return Vec::new();
                }
                match size {
                    Some(bytes) => {
                        placed.files += 1;
                        placed.bytes += bytes;
                        placed.data_bytes += data_bytes;
                    }
                    None => placed.symlinks += 1,
                }
                vec![folder]
            }
            Arrival::Directory => {
                self.tally.directories += 1;
                Vec::new()
            }
            Arrival::Leave { name, leaving } => {
                if let Err(reason) = leaving.set_meta() {
                    self.failed(None, name.as_bytes(), reason);
                    return Vec::new();
                }
                leaving.folders().into()
            }
            Arrival::Failed { known: true, .. } => {
                self.tally.failed += 1;
                Vec::new()
            }
            Arrival::Failed { index, name, reason, known: false } => {
                self.failed(index, &name, reason);
                Vec::new()
            }
        }
    }

    fn failed(&mut self, index: Option<u64>, name: &[u8], reason: String) {
        self.tally.failed += 1;
        self.say.say(&Verdict::Failed { index: index.unwrap_or(u64::MAX), name: name.to_vec(), reason });
    }
}

/// Gets the content of every file in the batch on disk; those that fail become failures.
fn sync_parts(batch: &mut [Arrival]) {
    let files = batch.iter().filter(|arrival| matches!(arrival, Arrival::Part { size: Some(_), .. })).count();
    if files >= SYNCFS_FROM {
        let mut devices: BTreeMap<u64, Arc<Folder>> = BTreeMap::new();
        for arrival in batch.iter() {
            if let Arrival::Part { part, .. } = arrival {
                devices.entry(part.folder().device).or_insert_with(|| part.folder().clone());
            }
        }
        if devices.values().all(|folder| syncfs(&folder.fd).is_ok()) {
            return;
        }
        // Something failed somewhere on the file system: each file says for itself whether it was one of ours.
    }
    for arrival in batch {
        if let Some(failed) = failure(arrival, Part::sync) {
            *arrival = failed;
        }
    }
}

fn sync_folders(folders: &BTreeMap<usize, Arc<Folder>>) -> Result<(), &'static str> {
    if folders.len() >= SYNCFS_FROM {
        let devices: BTreeMap<u64, &Arc<Folder>> = folders.values().map(|folder| (folder.device, folder)).collect();
        return devices.values().try_for_each(|folder| syncfs(&folder.fd)).map_err(|errno| errno.desc());
    }
    folders.values().try_for_each(|folder| fsync(&folder.fd)).map_err(|errno| errno.desc())
}

/// What the arrival turns into if `act` fails for it.
fn failure(arrival: &Arrival, act: impl FnOnce(&Part) -> Result<(), String>) -> Option<Arrival> {
    let Arrival::Part { index, part, .. } = arrival else { return None };
    let reason = act(part).err()?;
    Some(Arrival::Failed { index: Some(*index), name: part.name().as_bytes().to_vec(), reason, known: false })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::IoSlice;

    use super::super::place::Place;
    use super::super::record::Meta;
    use super::*;

    impl Say for Sender<Verdict> {
        fn say(&mut self, verdict: &Verdict) {
            self.send(verdict.clone()).unwrap();
        }
    }

    fn named(name: &str) -> Name {
        Name::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn whatever_arrives_is_named_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Place::open(dir.path()).unwrap();
        let (said, verdicts) = crossbeam_channel::unbounded();
        let settler = Settler::start(said).unwrap();
        let meta = Meta { mode: 0o644, ..Meta::default() };
        place.directory(&named("d"), meta).unwrap();
        settler.take(Arrival::Directory);
        for index in 0..300 {
            let mut part = place.file(&named(&format!("d/{index}")), meta).unwrap();
            part.write(&mut [IoSlice::new(b"12345")], 0).unwrap();
            settler.take(Arrival::Part { index, part, size: Some(5) });
        }
        let part = place.symlink(&named("l"), meta, b"x").unwrap();
        settler.take(Arrival::Part { index: 300, part, size: None });
        let part = place.file(&named("late"), meta).unwrap();
        fs::create_dir_all(dir.path().join("late/inner")).unwrap();
        settler.take(Arrival::Part { index: 301, part, size: Some(0) });
        let leaving = place.leave(&named("d"), meta).unwrap();
        settler.take(Arrival::Leave { name: named("d"), leaving });
        let (tally, said) = settler.finish().unwrap();
        drop(said);
        assert_eq!(tally, Tally { files: 300, directories: 1, symlinks: 1, bytes: 1500, data_bytes: 1500, failed: 1 });
        assert_eq!(fs::read_dir(dir.path().join("d")).unwrap().count(), 300);
        let failed: Vec<Verdict> =
            verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Failed { .. })).collect();
        let reason = "a directory is in its way".to_owned();
        assert_eq!(failed, [Verdict::Failed { index: 301, name: b"late".to_vec(), reason }]);
    }
}
