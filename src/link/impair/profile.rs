//! What one direction of a link is like, and which of that can't be.

use crate::base::size::{self, wire_bytes};
use crate::base::time::SECOND;
use crate::base::{Nanos, Rate};

use super::text::{show_rate, show_span};

/// Longest delay, jitter, lateness or queue. No packet lives longer (RFC 9293 takes two minutes), so whatever a
/// transport did beyond would say nothing; and hours are nearly always a wrong unit.
const LONGEST_NS: Nanos = 120 * SECOND;
/// Last time in a schedule: 30 days, so that every nanosecond up to it is told apart when written as a decimal.
const LATEST_NS: Nanos = 30 * 86_400 * SECOND;
/// Largest queue in bytes: beyond any machine that runs this.
const LARGEST_QUEUE: u64 = 1_000_000_000_000;
/// A full frame of the usual MTU on the wire: the least that a queue must hold.
const FULL_FRAME: u64 = 1538;
/// The least that [`Queue::Auto`] holds, in full frames: the share of a port in a switch with shallow buffers. Lower,
/// and bursts that hosts send in one go are cut on short paths; higher, and short paths get a delay of their own.
const AUTO_FRAMES: u64 = 256;

/// One direction of a link. The default is a perfect one: no limit, no delay, no trouble.
///
/// As text: `rate=1gbit,delay=50ms,queue=1bdp,loss=0.1%`; see [`Profile::with`] for all keys.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Profile {
    /// The bottleneck's rate, in bits on the wire (preamble, FCS and gap included); `None`: no bottleneck.
    pub rate: Option<Rate>,
    /// From the last bit on the wire to the arrival. One way: a round trip takes it twice.
    pub delay_ns: Nanos,
    /// More delay, wandering between 0 and this. Does not change the order of frames.
    pub jitter_ns: Nanos,
    /// What may wait for the bottleneck.
    pub queue: Queue,
    /// The round trip that [`Queue::Bdp`] is measured by; `None`: twice the delay.
    pub rtt_ns: Option<Nanos>,
    /// Share of frames lost at random, each for itself.
    pub loss: f64,
    /// Losses in bursts, beside the random ones.
    pub burst: Option<Burst>,
    /// Frames held back so that others overtake them.
    pub reorder: Option<Reorder>,
    /// Share of frames that arrive twice.
    pub duplicate: f64,
    /// Share of frames that arrive with one flipped bit.
    pub corrupt: f64,
    /// What happens when, in any order.
    pub schedule: Vec<Change>,
}

/// How much may wait, in bytes on the wire. The rest of the frame in service counts, and so does the frame that comes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Queue {
    /// One bandwidth-delay product, but at least 256 full frames.
    #[default]
    Auto,
    /// This many bytes.
    Bytes(u64),
    /// What the rate at the start carries in this time.
    Time(Nanos),
    /// As many bandwidth-delay products: the rate at the start × the round trip.
    Bdp(f64),
    /// Everything: never a drop.
    Unlimited,
}

/// Losses in bursts, by Gilbert's model: a good state without loss, a bad one that loses everything, and a step of the
/// chain in the time that a full frame takes at the link's rate; without a rate, for every frame.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Burst {
    /// Share of frames lost, in the long run.
    pub share: f64,
    /// Mean length of a burst, in full frames.
    pub mean_len: f64,
}

impl Burst {
    /// Probability that a good frame is followed by a bad one.
    pub fn to_bad(self) -> f64 {
        self.to_good() * self.share / (1.0 - self.share)
    }

    /// Probability that a bad frame is followed by a good one.
    pub fn to_good(self) -> f64 {
        1.0 / self.mean_len
    }
}

/// Frames held back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reorder {
    /// Share of frames held back.
    pub share: f64,
    /// For how long: anything from this, which is not 0,
    pub least_ns: Nanos,
    /// up to this, each for itself. They hold up no others.
    pub most_ns: Nanos,
}

/// Something that happens at a time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    /// When, on the clock of the caller.
    pub at_ns: Nanos,
    /// What.
    pub what: What,
}

/// What happens at a time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum What {
    /// The cable is pulled: what comes meanwhile is lost, and so is what waits and would be put on the wire meanwhile.
    /// What is on its way arrives.
    Outage {
        /// For how long.
        for_ns: Nanos,
    },
    /// The bottleneck has a new rate, also for what waits. The queue keeps its size in bytes.
    Rate(Rate),
    /// Another share of frames is lost at random.
    Loss(f64),
    /// A new way: what leaves from now on takes this long. If that is shorter, it overtakes what is under way.
    Delay(Nanos),
}

/// A value that can't be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{key}={value}: {why}")]
pub struct ProfileError {
    /// The key, as in text.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is wrong with it, and the next step.
    pub why: String,
}

impl ProfileError {
    pub(super) fn new(key: &str, value: impl ToString, why: impl ToString) -> ProfileError {
        ProfileError { key: key.to_string(), value: value.to_string(), why: why.to_string() }
    }
}

impl Profile {
    /// The queue's size in bytes on the wire; `None` where it has no limit or, without a rate, is always empty.
    pub fn queue_bytes(&self) -> Option<u64> {
        let rate = self.rate?;
        let bdp = rate.bytes_in(self.rtt_ns.unwrap_or(2 * self.delay_ns));
        match self.queue {
            Queue::Auto => Some(bdp.max(AUTO_FRAMES * FULL_FRAME)),
            Queue::Bytes(bytes) => Some(bytes),
            Queue::Time(span) => Some(rate.bytes_in(span)),
            Queue::Bdp(times) => Some((bdp as f64 * times).round() as u64),
            Queue::Unlimited => None,
        }
    }

    /// How long a full frame takes at the rate that it begins with; `None` without one.
    pub fn frame_ns(&self) -> Option<Nanos> {
        self.rate.map(|rate| rate.duration_of(FULL_FRAME).max(1))
    }

    /// The most frames of `frame_len` bytes that are in the queue and on their way at once, copies included on the
    /// average; `None` if there is no limit.
    pub fn frames_in_flight(&self, frame_len: usize) -> Option<u64> {
        let rates = self.rate_changes().into_iter().map(|change| change.1);
        let fastest = Rate::from_bps(rates.fold(self.rate?.bps(), u64::max))?;
        let longest_ns = self.delay_changes().into_iter().map(|change| change.1).fold(self.delay_ns, Nanos::max);
        let late_ns = self.reorder.map_or(0, |reorder| reorder.most_ns);
        let bytes = self.queue_bytes()?.saturating_add(fastest.bytes_in(longest_ns + self.jitter_ns + late_ns));
        // One more for the fraction, and one that arrives just now.
        let frames = bytes / wire_bytes(frame_len) + 2;
        Some(frames + (frames as f64 * self.duplicate).ceil() as u64)
    }

    /// Refuses what can't be, as `FromStr` does; for profiles put together by hand.
    ///
    /// # Errors
    /// Names the key, the value and the next step.
    pub fn check(&self) -> Result<(), ProfileError> {
        self.check_rate_and_queue()?;
        for (key, span) in [("delay", self.delay_ns), ("jitter", self.jitter_ns), ("rtt", self.rtt_ns.unwrap_or(0))] {
            check_span(key, span)?;
        }
        for (key, share) in [("loss", self.loss), ("duplicate", self.duplicate), ("corrupt", self.corrupt)] {
            check_share(key, share)?;
        }
        if let Some(burst) = self.burst {
            check_burst(burst)?;
        }
        if let Some(reorder) = self.reorder {
            check_reorder(reorder)?;
        }
        self.check_schedule()
    }

    fn check_rate_and_queue(&self) -> Result<(), ProfileError> {
        let Some(rate) = self.rate else {
            return match self.queue {
                Queue::Auto | Queue::Unlimited => Ok(()),
                queue => Err(ProfileError::new("queue", queue, "without a rate nothing ever waits; give one as well")),
            };
        };
        check_rate("rate", rate)?;
        match self.queue {
            Queue::Time(span) => check_span("queue", span)?,
            Queue::Bdp(times) if !(times > 0.0 && times <= 1000.0) => {
                return Err(ProfileError::new("queue", self.queue, "say a number above 0 and up to 1000, as 0.1bdp"));
            }
            _ => {}
        }
        match self.queue_bytes() {
            Some(bytes) if bytes < FULL_FRAME => {
                let why = format!(
                    "a queue of {bytes} bytes holds no full frame ({FULL_FRAME} bytes on the wire), and nothing would \
                     pass; say for example 100kB"
                );
                Err(ProfileError::new("queue", self.queue, why))
            }
            Some(bytes) if bytes > LARGEST_QUEUE => {
                let why = format!("{} are more than any queue holds; say less, or unlimited", size::show(bytes));
                Err(ProfileError::new("queue", self.queue, why))
            }
            _ => Ok(()),
        }
    }

    fn check_schedule(&self) -> Result<(), ProfileError> {
        for Change { at_ns, what } in &self.schedule {
            let at = show_span(*at_ns);
            let key = what.key(&at);
            if *at_ns > LATEST_NS {
                return Err(ProfileError::new(
                    &key,
                    what.value(&at),
                    format!("{at} is later than 30 days; say when in seconds"),
                ));
            }
            match what {
                What::Outage { for_ns } if *for_ns == 0 || *for_ns > LATEST_NS => {
                    let why = "an outage lasts longer than nothing and shorter than 30 days; say for example 20s+3s";
                    return Err(ProfileError::new("outage", what.value(&at), why));
                }
                What::Outage { .. } => {}
                What::Rate(_) if self.rate.is_none() => {
                    let why = "there is no rate to change; give the one at the start as well";
                    return Err(ProfileError::new(&key, what.value(&at), why));
                }
                What::Rate(rate) => check_rate(&key, *rate)?,
                What::Loss(share) => check_share(&key, *share)?,
                What::Delay(span) => check_span(&key, *span)?,
            }
        }
        if let Some(pair) = self.outages().windows(2).find(|pair| pair[1].0 < pair[0].1) {
            let [first, second] =
                [pair[0], pair[1]].map(|(from, to)| format!("{}+{}", show_span(from), show_span(to - from)));
            return Err(ProfileError::new("outage", second, format!("overlaps {first}; make one of the two")));
        }
        let times = [times(self.rate_changes()), times(self.loss_changes()), times(self.delay_changes())];
        for (key, times) in ["rate", "loss", "delay"].into_iter().zip(times) {
            if let Some(pair) = times.windows(2).find(|pair| pair[0] == pair[1]) {
                let key = format!("{key}@{}", show_span(pair[0]));
                return Err(ProfileError::new(&key, "…", "is given twice; leave one out"));
            }
        }
        Ok(())
    }

    pub(super) fn rate_changes(&self) -> Vec<(Nanos, u64)> {
        self.changes(|what| if let What::Rate(rate) = what { Some(rate.bps()) } else { None })
    }

    pub(super) fn delay_changes(&self) -> Vec<(Nanos, Nanos)> {
        self.changes(|what| if let What::Delay(delay_ns) = what { Some(delay_ns) } else { None })
    }

    pub(super) fn loss_changes(&self) -> Vec<(Nanos, f64)> {
        self.changes(|what| if let What::Loss(share) = what { Some(share) } else { None })
    }

    /// From and up to, in order of time.
    pub(super) fn outages(&self) -> Vec<(Nanos, Nanos)> {
        let spans = self.changes(|what| if let What::Outage { for_ns } = what { Some(for_ns) } else { None });
        spans.into_iter().map(|(at_ns, for_ns)| (at_ns, at_ns.saturating_add(for_ns))).collect()
    }

    /// Changes of one kind in order of time.
    fn changes<T>(&self, pick: impl Fn(What) -> Option<T>) -> Vec<(Nanos, T)> {
        let picked = self.schedule.iter().filter_map(|change| pick(change.what).map(|value| (change.at_ns, value)));
        let mut changes: Vec<_> = picked.collect();
        changes.sort_by_key(|change| change.0);
        changes
    }
}

fn times<T>(changes: Vec<(Nanos, T)>) -> Vec<Nanos> {
    changes.into_iter().map(|change| change.0).collect()
}

fn check_rate(key: &str, rate: Rate) -> Result<(), ProfileError> {
    let why = "is faster than anything; 10tbit is the most, and without a rate there is no limit";
    if rate > Rate::FASTEST { Err(ProfileError::new(key, show_rate(rate), why)) } else { Ok(()) }
}

fn check_span(key: &str, span: Nanos) -> Result<(), ProfileError> {
    let why = "no packet lives longer than two minutes; say for example 50ms";
    if span > LONGEST_NS { Err(ProfileError::new(key, show_span(span), why)) } else { Ok(()) }
}

fn check_share(key: &str, share: f64) -> Result<(), ProfileError> {
    let why = "a share lies between 0 and 1; say for example 0.1% or 0.001";
    if (0.0..=1.0).contains(&share) { Ok(()) } else { Err(ProfileError::new(key, share, why)) }
}

fn check_reorder(reorder: Reorder) -> Result<(), ProfileError> {
    check_share("reorder", reorder.share)?;
    check_span("reorder", reorder.most_ns)?;
    if reorder.least_ns == 0 {
        let why = "frames that are late by nothing are overtaken by nobody; say for example 1%/2ms";
        return Err(ProfileError::new("reorder", reorder, why));
    }
    if reorder.least_ns > reorder.most_ns {
        return Err(ProfileError::new("reorder", reorder, "say the shorter time first, for example 1%/1ms-5ms"));
    }
    Ok(())
}

fn check_burst(burst: Burst) -> Result<(), ProfileError> {
    let refuse = |why: &str| Err(ProfileError::new("burst", burst, why));
    if !(burst.share > 0.0 && burst.share < 1.0) {
        return refuse("the share lies between 0 and 1, and is neither; say for example 1%/20");
    }
    if !(burst.mean_len >= 1.0 && burst.mean_len <= 1e9) {
        return refuse("the mean length is at least one frame, and at most 1e9; say for example 1%/20");
    }
    if burst.to_bad() > 1.0 {
        return refuse("so many frames can't be lost in bursts so short; make them longer or the share smaller");
    }
    Ok(())
}
