//! The sender's ear: what the receiver says about the entries, on a thread of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::decode::{Decoder, Event};
use super::name::show_bytes;
use super::record::{Tally, Verdict};
use super::{TransferError, Watch};
use crate::api::RecvStream;

/// Messages taken at once. Verdicts are few.
const BURST: usize = 16;

/// How things stand, for the sending thread to look at.
#[derive(Debug, Default)]
pub struct Standing {
    /// One more than the number of the last entry that the receiver gave up; 0 for none.
    pub given_up: AtomicU64,
    /// Files and bytes in all, once they are counted.
    pub totals: OnceLock<(u64, u64)>,
}

/// The listening thread.
pub struct Listener {
    result: Receiver<Result<Tally, TransferError>>,
}

impl Listener {
    /// Waits for the last word.
    ///
    /// # Errors
    /// If there was none, or it was a refusal.
    pub fn wait(self) -> Result<Tally, TransferError> {
        self.result.recv().unwrap_or(Err(TransferError::Cut))
    }

    /// The same, but not for ever.
    ///
    /// # Errors
    /// As [`Listener::wait`], or if the time is up.
    pub fn wait_for(self, timeout: Duration) -> Result<Tally, TransferError> {
        self.result.recv_timeout(timeout).unwrap_or(Err(TransferError::Cut))
    }
}

/// Starts to listen.
///
/// # Errors
/// If there is no thread to be had.
pub fn listen(answers: RecvStream, standing: Arc<Standing>, watch: Arc<dyn Watch>) -> Result<Listener, TransferError> {
    let (tell, result) = bounded(1);
    let ear = move || {
        // Nobody may be waiting any more.
        let _ = tell.send(hear(answers, &standing, &*watch));
    };
    let thread = std::thread::Builder::new().name("verdicts".to_owned()).spawn(ear);
    thread.map_err(|error| TransferError::Local(format!("no thread to hear the receiver: {error}")))?;
    Ok(Listener { result })
}

fn hear(mut answers: RecvStream, standing: &Standing, watch: &dyn Watch) -> Result<Tally, TransferError> {
    let mut decoder = Decoder::default();
    let mut burst = Vec::new();
    loop {
        burst.clear();
        if answers.recv_burst(&mut burst, BURST)? == 0 {
            return Err(TransferError::Cut);
        }
        for message in &burst {
            let mut input = &message[..];
            while let Some(event) = decoder.next::<Verdict>(&mut input)? {
                let Event::Record(verdict) = event else {
                    return Err(TransferError::Protocol("data where a verdict should be".to_owned()));
                };
                if let Some(tally) = on_verdict(verdict, standing, watch)? {
                    return Ok(tally);
                }
            }
        }
    }
}

fn on_verdict(verdict: Verdict, standing: &Standing, watch: &dyn Watch) -> Result<Option<Tally>, TransferError> {
    match verdict {
        Verdict::Accepted => {}
        Verdict::Failed { index, name, reason } => {
            if index != u64::MAX {
                standing.given_up.fetch_max(index + 1, Ordering::AcqRel);
            }
            watch.on_failed(&show_bytes(&name), &format!("at the receiver: {reason}"));
        }
        Verdict::Progress(tally) => watch.on_confirmed(&tally),
        Verdict::Summary(tally) => {
            watch.on_confirmed(&tally);
            return Ok(Some(tally));
        }
        Verdict::Refused { reason } => return Err(TransferError::Refused(reason)),
    }
    Ok(None)
}
