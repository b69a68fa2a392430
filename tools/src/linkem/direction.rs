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
    /// Due, and not yet on the tx ring.
    leaving: VecDeque<Frame>,
    /// When each was due that is on the tx ring, or leaving, and has not been sent; and its length.
    unsent: VecDeque<(Nanos, usize)>,
    /// When arrivals were looked for last.
    looked_ns: Nanos,
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
        let seen = Seen::new(bin_ns);
        let (leaving, unsent) = (VecDeque::with_capacity(BURST), VecDeque::with_capacity(BURST));
        let (arrived, done) = (Vec::with_capacity(ARRIVALS_MOST), Vec::with_capacity(BURST));
        let flight = Flight::with_capacity(frames);
        Direction { from, to, impairment, flight, leaving, unsent, looked_ns: 0, arrived, done, seen }
    }

    /// Takes in what has arrived by `now`, and says how many frames there were.
    ///
    /// If an arrival has `woken` the emulator, frames came just now. Otherwise they came at any time since it looked
    /// last, and are taken to have come evenly spread: all at once would make the queue longer than it was.
    pub fn take_in(&mut self, pair: &mut XdpPair, now: Nanos, woken: bool) -> usize {
        let count = pair.rx_burst(self.from, &mut self.arrived, ARRIVALS_MOST);
        let span = if woken { 0 } else { now - self.looked_ns };
        if count > 0 && !woken {
            self.seen.unnoticed.record_n(span, count as u64);
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        for (frame, left) in arrived.drain(..).zip((0..count as u64).rev()) {
            let came_ns = now - span * left / count as u64;
            match self.impairment.on_frame(came_ns, frame.len()) {
                Fate::Dropped(_) => pair.free(frame),
                Fate::Passed(delivery) => self.carry(pair, frame, delivery),
            }
        }
        self.arrived = arrived;
        self.looked_ns = now;
        count
    }

    /// Sends what is due, in bursts, each with one system call. What the kernel does not take waits for the next turn.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn send(&mut self, pair: &mut XdpPair, clock: &Clock) -> Result<(), LinkError> {
        loop {
            let now = clock.now();
            while self.leaving.len() < BURST {
                let Some((due_ns, frame)) = self.flight.pop_due(now) else { break };
                self.unsent.push_back((due_ns, frame.len()));
                self.leaving.push_back(frame);
            }
            if self.unsent.is_empty() {
                break;
            }
            let all_offered = self.leaving.len() < BURST;
            pair.tx_burst(self.to, &mut self.leaving);
            pair.kick(self.to)?;
            let stuck = pair.unsent(self.to) + self.leaving.len();
            let sent = self.unsent.len().saturating_sub(stuck);
            self.seen.count(clock.now(), self.unsent.drain(..sent));
            if all_offered || !self.leaving.is_empty() {
                break;
            }
        }
        pair.reap(self.to, &mut self.done);
        self.done.drain(..).for_each(|frame| pair.free(frame));
        Ok(())
    }

    /// When there is something to send, `None` if nothing is under way. What the kernel did not take is due already.
    pub fn next_ns(&self) -> Option<Nanos> {
        self.unsent.front().map(|unsent| unsent.0).or_else(|| self.flight.next_ns())
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
        self.flight.len() + self.unsent.len()
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
    /// Nothing yet; with a time series if it has an interval.
    pub fn new(bin_ns: Option<Nanos>) -> Seen {
        Seen {
            sent: Tally::default(),
            copies_missed: 0,
            queued: Histogram::new(),
            late: Histogram::new(),
            unnoticed: Histogram::new(),
            bins: Vec::new(),
            bin_ns,
        }
    }

    fn count(&mut self, now: Nanos, sent: impl Iterator<Item = (Nanos, usize)>) {
        let mut bytes = 0;
        for (due_ns, frame_len) in sent {
            self.sent.frames += 1;
            bytes += frame_len as u64;
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
