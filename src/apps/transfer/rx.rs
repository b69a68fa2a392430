//! The receiver: takes records off the stream and hands file bytes on in the frames that they arrived in.

use std::io::{IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::cursor::MAX_SLICES;
use super::decode::{Decoder, Event};
use super::disk::Disk;
use super::pipe::Pipe;
use super::record::{Record, Tally, Verdict};
use super::settle::Say;
use super::{Report, TransferError, Watch};
use crate::api::{Connection, Message, RecvStream, SendStream};
use crate::apps::service::GAVE_UP;

/// Where received things go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Into this directory.
    Directory(PathBuf),
    /// One file's content to standard output.
    Stdout,
}

/// What takes the records of one transfer.
pub(super) trait Sink {
    /// The next record, data excepted.
    fn on_record(&mut self, record: Record) -> Result<(), TransferError>;
    /// File bytes from `offset` on; `slices` is consumed.
    fn on_data(&mut self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), TransferError>;
    /// Everything has been taken: what came of it, and the way back to the sender.
    fn finish(self: Box<Self>) -> Result<(Tally, Replies), TransferError>;
}

/// The way back to the sender. Once it is broken, nothing more is said: the stream forward tells why.
pub(super) struct Replies {
    stream: SendStream,
    bytes: Vec<u8>,
    broken: bool,
}

impl Say for Replies {
    fn say(&mut self, verdict: &Verdict) {
        self.bytes.clear();
        verdict.emit(&mut self.bytes);
        self.broken = self.broken || self.stream.write_all(&self.bytes).is_err();
    }
}

/// Receives everything that the sender has to send, and confirms it.
///
/// # Errors
/// If the transfer broke off. Entries that failed one by one are in the report instead.
pub fn receive(
    connection: &Connection,
    (send, mut recv): (SendStream, RecvStream),
    target: &Target,
    watch: &Arc<dyn Watch>,
) -> Result<Report, TransferError> {
    let began = Instant::now();
    let mut replies = Replies { stream: send, bytes: Vec::new(), broken: false };
    let opened = match target {
        Target::Directory(path) => super::place::Place::open(path),
        Target::Stdout => Err(String::new()),
    };
    let mut sink: Box<dyn Sink> = match (target, opened) {
        (Target::Stdout, _) => Box::new(Pipe::new(replies, watch.clone())?),
        (_, Ok(place)) => {
            replies.say(&Verdict::Accepted);
            Box::new(Disk::new(place, replies, watch.clone())?)
        }
        (_, Err(reason)) => {
            refuse(replies, recv, &reason);
            return Err(TransferError::Local(reason));
        }
    };
    let taken = take_all(&mut recv, &mut *sink);
    if let Err(error) = &taken
        && connection.closed().is_none()
    {
        connection.close(GAVE_UP, &error.to_string());
    }
    let finished = sink.finish();
    taken?;
    let (tally, mut replies) = finished?;
    replies.say(&Verdict::Summary(tally));
    // The sender must have the last word before the connection may go; if it is gone itself, that is its own report.
    if replies.stream.finish().is_ok() {
        let _ = replies.stream.wait_acked();
    }
    Ok(Report { tally, skipped: 0, elapsed: began.elapsed() })
}

/// Tells the sender that nothing can be received at all.
fn refuse(mut replies: Replies, recv: RecvStream, reason: &str) {
    replies.say(&Verdict::Refused { reason: reason.to_owned() });
    if replies.stream.finish().is_ok() {
        let _ = replies.stream.wait_acked();
    }
    recv.stop(GAVE_UP);
}

fn take_all(recv: &mut RecvStream, sink: &mut dyn Sink) -> Result<(), TransferError> {
    let mut decoder = Decoder::default();
    let mut burst: Vec<Message> = Vec::with_capacity(MAX_SLICES);
    let mut finished = false;
    loop {
        burst.clear();
        if recv.recv_burst(&mut burst, MAX_SLICES)? == 0 {
            return if finished && decoder.at_boundary() { Ok(()) } else { Err(TransferError::Cut) };
        }
        finished |= take_burst(&burst, &mut decoder, sink)?;
    }
}

/// Takes one burst's records, file bytes that follow one another in one call; true if the last record was among them.
fn take_burst(burst: &[Message], decoder: &mut Decoder, sink: &mut dyn Sink) -> Result<bool, TransferError> {
    let (mut run, mut run_start, mut run_end) = (Vec::with_capacity(burst.len()), 0, 0);
    let mut finished = false;
    for message in burst {
        let mut input = &message[..];
        while let Some(event) = decoder.next::<Record>(&mut input)? {
            match event {
                Event::Data { offset, bytes } => {
                    if offset != run_end && !run.is_empty() {
                        sink.on_data(run_start, &mut run)?;
                        run.clear();
                    }
                    if run.is_empty() {
                        run_start = offset;
                    }
                    run_end = offset.saturating_add(bytes.len() as u64);
                    run.push(IoSlice::new(bytes));
                }
                Event::Record(record) => {
                    if !run.is_empty() {
                        sink.on_data(run_start, &mut run)?;
                        run.clear();
                    }
                    finished |= matches!(record, Record::Finish { .. });
                    sink.on_record(record)?;
                }
            }
        }
    }
    if !run.is_empty() {
        sink.on_data(run_start, &mut run)?;
    }
    Ok(finished)
}
