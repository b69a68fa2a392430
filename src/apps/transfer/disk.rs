//! Received entries into a directory: this thread writes and hashes, the settling one syncs and names.

use std::io::IoSlice;
use std::sync::Arc;

use super::digest::Digest;
use super::name::Name;
use super::place::{Part, Place};
use super::record::{Entry, Kind, Meta, Record, Tally};
use super::rx::{Replies, Sink};
use super::settle::{Arrival, Settler};
use super::{TransferError, Watch};

/// A transfer into a directory.
pub(super) struct Disk {
    place: Place,
    settler: Settler<Replies>,
    watch: Arc<dyn Watch>,
    digest: Digest,
    /// Entries begun.
    entries: u64,
    open: Open,
}

/// The file that data belongs to.
enum Open {
    /// None.
    Nothing,
    /// One that is being written, up to `position`.
    File { index: u64, part: Part, position: u64 },
    /// One that failed: its data is passed over.
    Failed,
}

impl Disk {
    /// Begins.
    pub fn new(place: Place, replies: Replies, watch: Arc<dyn Watch>) -> Result<Disk, TransferError> {
        let settler = Settler::start(replies).map_err(|error| {
            TransferError::Local(format!("no thread to sync files with: {error}; raise `ulimit -u`"))
        })?;
        Ok(Disk { place, settler, watch, digest: Digest::default(), entries: 0, open: Open::Nothing })
    }

    fn on_entry(&mut self, entry: Entry) {
        self.watch.on_entry(&entry.name);
        let index = self.entries;
        self.entries += 1;
        let Entry { name, meta, kind } = entry;
        let is_file = matches!(kind, Kind::File { .. });
        let made = match kind {
            Kind::File { .. } => self.place.file(&name, meta).map(|part| {
                self.digest.reset();
                self.open = Open::File { index, part, position: 0 };
            }),
            Kind::Directory => self.place.directory(&name, meta).map(|()| self.settler.take(Arrival::Directory)),
            Kind::Symlink { target } => self
                .place
                .symlink(&name, meta, &target)
                .map(|part| self.settler.take(Arrival::Part { index, part, size: None })),
        };
        if let Err(reason) = made {
            if is_file {
                self.open = Open::Failed;
            }
            self.fail(Some(index), &name, reason);
        }
    }

    fn on_end(&mut self, size: u64, expected: [u8; 32]) -> Result<(), TransferError> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => Err(TransferError::Protocol("the end of a file that was not begun".to_owned())),
            Open::Failed => Ok(()),
            Open::File { index, part, position } => {
                match self.complete(&part, position, size, expected) {
                    Ok(()) => {
                        self.watch.on_file(part.name(), &expected);
                        self.settler.take(Arrival::Part { index, part, size: Some(size) });
                    }
                    Err(reason) => {
                        let name = part.name().clone();
                        drop(part);
                        self.fail(Some(index), &name, reason);
                    }
                }
                Ok(())
            }
        }
    }

    fn complete(&mut self, part: &Part, position: u64, size: u64, expected: [u8; 32]) -> Result<(), String> {
        if size < position {
            return Err(format!("the sender says that it ends at byte {size}, and sent {position}"));
        }
        self.digest.zeros(size - position);
        self.watch.on_bytes(size - position);
        if self.digest.take() != expected {
            return Err("its BLAKE3 digest is wrong: the data was damaged on the way; send it again".to_owned());
        }
        if size > position { part.set_size(size) } else { Ok(()) }
    }

    fn on_leave(&mut self, name: Name, meta: Meta) {
        // That a directory could not be made was said when it was to be made.
        if let Ok(leaving) = self.place.leave(&name, meta) {
            self.settler.take(Arrival::Leave { name, leaving });
        }
    }

    /// Reports a failure: of entry `index`, or of something that the sender itself has told us.
    fn fail(&mut self, index: Option<u64>, name: &Name, reason: String) {
        self.watch.on_failed(&name.to_string(), &reason);
        let known = index.is_none();
        self.settler.take(Arrival::Failed { index, name: name.as_bytes().to_vec(), reason, known });
    }
}

impl Sink for Disk {
    fn on_record(&mut self, record: Record) -> Result<(), TransferError> {
        let in_file = !matches!(self.open, Open::Nothing);
        if in_file && !matches!(record, Record::End { .. } | Record::Abandon { .. } | Record::Totals { .. }) {
            return Err(TransferError::Protocol("another entry in the middle of a file".to_owned()));
        }
        match record {
            Record::Entry(entry) => self.on_entry(entry),
            Record::End { size, digest } => self.on_end(size, digest)?,
            Record::Abandon { reason } => {
                if let Open::File { part, .. } = std::mem::replace(&mut self.open, Open::Nothing) {
                    let name = part.name().clone();
                    drop(part);
                    self.fail(None, &name, format!("the sender could not read it: {reason}"));
                }
            }
            Record::Leave { name, meta } => self.on_leave(name, meta),
            Record::Unsent { name, reason } => {
                self.entries += 1;
                self.fail(None, &name, format!("the sender could not read it: {reason}"));
            }
            Record::Totals { files, bytes } => self.watch.on_totals(files, bytes),
            Record::Finish { entries } if entries != self.entries => {
                return Err(TransferError::Protocol(format!("{entries} entries announced, {} received", self.entries)));
            }
            Record::Finish { .. } => {}
        }
        Ok(())
    }

    fn on_data(&mut self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), TransferError> {
        let (index, part, position) = match &mut self.open {
            Open::Nothing => return Err(TransferError::Protocol("data of no file".to_owned())),
            Open::Failed => return Ok(()),
            Open::File { index, part, position } => (*index, part, position),
        };
        if offset < *position {
            return Err(TransferError::Protocol(format!("data at byte {offset} after byte {position}")));
        }
        let len: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let before = *position;
        self.digest.zeros(offset - before);
        for slice in slices.iter() {
            self.digest.update(slice);
        }
        *position = offset.saturating_add(len);
        self.watch.on_bytes(*position - before);
        if let Err(reason) = part.write(slices, offset) {
            let name = part.name().clone();
            self.open = Open::Failed;
            self.fail(Some(index), &name, reason);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Tally, Replies), TransferError> {
        // An unfinished part is removed before the last word is said.
        drop(self.open);
        self.settler.finish().map_err(TransferError::Local)
    }
}
