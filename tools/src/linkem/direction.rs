//! One direction of the link: frames come in on the one interface, meet their fate, and leave by the other in time.

use std::collections::VecDeque;

use farwire::base::Nanos;
use farwire::link::impair::{Counters, Delivery, Fate, Impairment, Tally};
use farwire::link::{BURST, Frame, LinkError};
use farwire::obs::hist::Histogram;
use farwire::xdp::XdpPair;
use farwire::xdp::pair::Side;

use crate::clock::Clock;
use crate::flight::Flight;

/// Most frames taken in at once before departures are looked at: what arrives in 1 ms at 6 Gbit/s. Lower: a backlog
/// after a pause stays in the ring, which may overflow. Higher: departures wait for arrivals.
const ARRIVALS_MOST: usize = 8 * BURST;

/// One direction.
pub struct Direction {
    pub from: Side,
    pub to: Side,
    impairment: Impairment,
    flight: Flight,
    /// Due, and not yet on the tx ring; when each was due.
    leaving: VecDeque<Frame>,
    due_ns: VecDeque<Nanos>,
    arrived: Vec<Frame>,
    done: Vec<Frame>,
    seen: Seen,
}

/// What a direction measured about itself.
#[derive(Clone)]
pub struct Seen {
    /// What was given to the kernel for transmission.
    pub sent: Tally,
    /// Copies of duplicated frames that were not made for want of a free frame.
    pub copies_missed: u64,
    /// How long frames waited in the bottleneck's queue.
    pub queued: Histogram,
    /// How much later than due frames left: until the system call that sent them was over.
    pub late: Histogram,
    /// How long frames had been there at most when they were noticed, for those that came while the emulator slept.
    pub unnoticed: Histogram,
    /// Bytes sent in each interval of the time series.
    pub bins: Vec<u64>,
    bin_ns: Option<Nanos>,
}

impl Direction {
    /// From one side to the other, with room for so many frames under way.
    pub fn new(from: Side, to: Side, impairment: Impairment, frames: usize, bin_ns: Option<Nanos>) -> Direction {
        let seen = Seen {
            sent: Tally::default(),
            copies_missed: 0,
            queued: Histogram::new(),
            late: Histogram::new(),
            unnoticed: Histogram::new(),
            bins: Vec::new(),
            bin_ns,
        };
        let (leaving, due_ns) = (VecDeque::with_capacity(BURST), VecDeque::with_capacity(BURST));
        let (arrived, done) = (Vec::with_capacity(BURST), Vec::with_capacity(BURST));
        let flight = Flight::with_capacity(frames);
        Direction { from, to, impairment, flight, leaving, due_ns, arrived, done, seen }
    }

    /// Takes in what has arrived. `unnoticed_ns` is how long it may have been there, if that is known. Says how many
    /// frames there were.
    pub fn take_in(&mut self, pair: &mut XdpPair, now: Nanos, unnoticed_ns: Option<Nanos>) -> usize {
        let mut total = 0;
        while total < ARRIVALS_MOST {
            let count = pair.rx_burst(self.from, &mut self.arrived, BURST);
            let mut arrived = std::mem::take(&mut self.arrived);
            for frame in arrived.drain(..) {
                match self.impairment.on_frame(now, frame.len()) {
                    Fate::Dropped(_) => pair.free(frame),
                    Fate::Passed(delivery) => self.carry(pair, frame, delivery),
                }
            }
            self.arrived = arrived;
            total += count;
            if count < BURST {
                break;
            }
        }
        if let (Some(span), true) = (unnoticed_ns, total > 0) {
            self.seen.unnoticed.record_n(span, total as u64);
        }
        total
    }

    /// Sends what is due, in bursts, each with one system call. What the tx ring can't take waits for the next turn.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn send(&mut self, pair: &mut XdpPair, clock: &Clock) -> Result<(), LinkError> {
        loop {
            let now = clock.now();
            while self.leaving.len() < BURST {
                let Some((due_ns, frame)) = self.flight.pop_due(now) else { break };
                self.leaving.push_back(frame);
                self.due_ns.push_back(due_ns);
            }
            if self.leaving.is_empty() {
                break;
            }
            let offered = self.leaving.len();
            let bytes: u64 = self.leaving.iter().map(|frame| frame.len() as u64).sum();
            let sent = pair.tx_burst(self.to, &mut self.leaving);
            let left: u64 = self.leaving.iter().map(|frame| frame.len() as u64).sum();
            pair.kick(self.to)?;
            self.seen.count(clock.now(), self.due_ns.drain(..sent), bytes - left);
            if sent < offered {
                break;
            }
        }
        pair.reap(self.to, &mut self.done);
        self.done.drain(..).for_each(|frame| pair.free(frame));
        Ok(())
    }

    /// When there is something to send, `None` if nothing is under way. What the tx ring did not take is due already.
    pub fn next_ns(&self) -> Option<Nanos> {
        self.due_ns.front().copied().or_else(|| self.flight.next_ns())
    }

    /// Gives every frame back that has not been sent, and says how many.
    pub fn abandon(&mut self, pair: &mut XdpPair) -> usize {
        let mut count = 0;
        for frame in self.flight.drain().chain(self.leaving.drain(..)) {
            pair.free(frame);
            count += 1;
        }
        count
    }

    /// Frames under way.
    pub fn in_flight(&self) -> usize {
        self.flight.len() + self.leaving.len()
    }

    /// Bytes in the bottleneck's queue.
    pub fn queue_bytes(&mut self, now: Nanos) -> u64 {
        self.impairment.queue_bytes(now)
    }

    /// What became of the frames.
    pub fn counters(&self) -> &Counters {
        self.impairment.counters()
    }

    /// What was measured.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    fn carry(&mut self, pair: &mut XdpPair, mut frame: Frame, delivery: Delivery) {
        self.seen.queued.record(delivery.queued_ns);
        let copy = delivery.copy_at_ns.and_then(|at_ns| Some((at_ns, copy_of(pair, &frame)?)));
        self.seen.copies_missed += u64::from(delivery.copy_at_ns.is_some() && copy.is_none());
        if let Some(bit) = delivery.corrupt_bit {
            frame.bytes_mut()[bit as usize / 8] ^= 1 << (bit % 8);
        }
        self.flight.push(delivery.at_ns, frame);
        if let Some((at_ns, copy)) = copy {
            self.flight.push(at_ns, copy);
        }
    }
}

impl Seen {
    fn count(&mut self, now: Nanos, due_ns: impl Iterator<Item = Nanos>, bytes: u64) {
        for due_ns in due_ns {
            self.sent.frames += 1;
            self.late.record(now.saturating_sub(due_ns));
        }
        self.sent.bytes += bytes;
        if let Some(bin_ns) = self.bin_ns {
            let bin = (now / bin_ns) as usize;
            self.bins.resize(self.bins.len().max(bin + 1), 0);
            self.bins[bin] += bytes;
        }
    }
}

fn copy_of(pair: &mut XdpPair, frame: &Frame) -> Option<Frame> {
    let mut copy = pair.alloc()?;
    copy.set_len(frame.len());
    copy.bytes_mut().copy_from_slice(frame.bytes());
    Some(copy)
}
