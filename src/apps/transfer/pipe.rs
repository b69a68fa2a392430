//! One received file to standard output, byte by byte in order; what can't go there is refused entry by entry.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::cursor::MAX_SLICES;
use super::digest::Digest;
use super::name::Name;
use super::record::{Entry, Kind, Record, Tally, Verdict};
use super::rx::{Replies, Sink};
use super::settle::Say;
use super::{TransferError, Watch};

/// A transfer into a pipe.
pub(super) struct Pipe {
    out: File,
    replies: Replies,
    watch: Arc<dyn Watch>,
    digest: Digest,
    entries: u64,
    /// The file that goes out, while it does.
    open: Option<Name>,
    position: u64,
    /// Bytes of it that were no hole.
    data_bytes: u64,
    /// One file has begun to go out; there is no room for another.
    used: bool,
    tally: Tally,
}

impl Pipe {
    /// Begins.
    pub fn new(mut replies: Replies, watch: Arc<dyn Watch>) -> Result<Pipe, TransferError> {
        let out = io::stdout().as_fd().try_clone_to_owned().map_err(|error| broken(&error))?.into();
        replies.say(&Verdict::Accepted);
        Ok(Pipe {
            out,
            replies,
            watch,
            digest: Digest::default(),
            entries: 0,
            open: None,
            position: 0,
            data_bytes: 0,
            used: false,
            tally: Tally::default(),
        })
    }

    fn on_entry(&mut self, entry: &Entry) {
        self.watch.on_entry(&entry.name);
        self.entries += 1;
        let what = match &entry.kind {
            Kind::File { .. } if !self.used => {
                self.used = true;
                self.open = Some(entry.name.clone());
                return;
            }
            Kind::File { .. } => "standard output takes one file, and this is another",
            Kind::Directory => "standard output takes no directory; pack it first, or receive into a directory",
            Kind::Symlink { .. } => "standard output takes no symbolic link",
        };
        self.fail(&entry.name.clone(), what);
    }

    fn on_end(&mut self, size: u64, expected: [u8; 32]) -> Result<(), TransferError> {
        let Some(name) = self.open.take() else { return Ok(()) };
        if size > self.position {
            self.write_zeros(size - self.position)?;
        }
        self.out.flush().map_err(|error| broken(&error))?;
        if self.digest.take() == expected && size == self.position {
            self.tally.files += 1;
            self.tally.bytes += size;
            self.tally.data_bytes += self.data_bytes;
            self.watch.on_file(&name, &expected);
        } else {
            self.fail(&name, "its BLAKE3 digest is wrong: what standard output got is damaged");
        }
        Ok(())
    }

    fn write_zeros(&mut self, mut count: u64) -> Result<(), TransferError> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        self.watch.on_bytes(count);
        self.digest.zeros(count);
        self.position += count;
        while count > 0 {
            let now = count.min(ZEROS.len() as u64);
            self.out.write_all(&ZEROS[..now as usize]).map_err(|error| broken(&error))?;
            count -= now;
        }
        Ok(())
    }

    fn fail(&mut self, name: &Name, reason: &str) {
        self.tally.failed += 1;
        self.watch.on_failed(&name.to_string(), reason);
        let (index, reason) = (self.entries - 1, reason.to_owned());
        self.replies.say(&Verdict::Failed { index, name: name.as_bytes().to_vec(), reason });
    }
}

impl Sink for Pipe {
    fn on_record(&mut self, record: Record) -> Result<(), TransferError> {
        match record {
            Record::Entry(entry) => self.on_entry(&entry),
            Record::End { size, digest } => self.on_end(size, digest)?,
            Record::Abandon { reason } => {
                if let Some(name) = self.open.take() {
                    self.tally.failed += 1;
                    self.watch.on_failed(&name.to_string(), &format!("the sender could not read it: {reason}"));
                }
            }
            Record::Unsent { name, reason } => {
                self.entries += 1;
                self.tally.failed += 1;
                self.watch.on_failed(&name.to_string(), &format!("the sender could not read it: {reason}"));
            }
            Record::Totals { files, bytes } => self.watch.on_totals(files, bytes),
            Record::Leave { .. } | Record::Finish { .. } => {}
        }
        Ok(())
    }

    fn on_data(&mut self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), TransferError> {
        if self.open.is_none() {
            return Ok(());
        }
        if offset < self.position {
            return Err(TransferError::Protocol(format!("data at byte {offset} after byte {}", self.position)));
        }
        self.write_zeros(offset - self.position)?;
        let mut len = 0;
        for slice in slices.iter() {
            self.digest.update(slice);
            len += slice.len() as u64;
        }
        write_all(&mut self.out, slices).map_err(|error| broken(&error))?;
        self.position += len;
        self.data_bytes += len;
        self.watch.on_bytes(len);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Tally, Replies), TransferError> {
        Ok((self.tally, self.replies))
    }
}

fn write_all(out: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match out.write_vectored(&slices[..slices.len().min(MAX_SLICES)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn broken(error: &io::Error) -> TransferError {
    TransferError::Local(match error.kind() {
        io::ErrorKind::BrokenPipe => "standard output was closed by its reader".to_owned(),
        _ => format!("writing to standard output: {error}"),
    })
}
