//! Profiles as text: `rate=1gbit,delay=50ms,loss=0.1%`. What is shown can be read again, and is the same.

use std::fmt;
use std::mem::{discriminant, take};
use std::str::FromStr;

use super::profile::{Burst, Change, Profile, ProfileError, Queue, Reorder, What};
use crate::base::{Nanos, Rate, size, time};

impl Profile {
    /// This profile with what `text` says put in its place: `KEY=VALUE` pairs, separated by commas.
    ///
    /// | key | value |
    /// | --- | --- |
    /// | `rate` | `1gbit`, `unlimited` |
    /// | `delay`, `jitter` | `50ms` |
    /// | `queue` | `12.5MB`, `20ms`, `0.1bdp`, `auto` (1 BDP, at least 256 full frames), `unlimited` |
    /// | `rtt` | `100ms`: by which the BDP is measured; `auto`: twice the delay |
    /// | `loss`, `duplicate`, `corrupt` | share of frames: `0.1%`, `0.001` |
    /// | `burst` | share and mean length in full frames: `1%/20`; `none` |
    /// | `reorder` | share and lateness: `1%/2ms`, `1%/1ms-5ms` (anything between); `none` |
    /// | `outage` | from when, for how long: `20s+3s`; may be given again for another; `none` takes back all |
    /// | `rate@TIME`, `loss@TIME`, `delay@TIME` | a new value from then on: `rate@40s=500mbit` |
    ///
    /// What happens at the same time as something of its kind in this profile takes its place.
    ///
    /// # Errors
    /// Names the key, the value and the next step: not readable, not possible, given twice.
    pub fn with(&self, text: &str) -> Result<Profile, ProfileError> {
        let mut profile = self.clone();
        let (mut inherited, mut seen) = (take(&mut profile.schedule), Vec::new());
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(ProfileError::new(pair, "", "has no value; say for example delay=50ms"));
            };
            let (key, value) = (key.trim(), value.trim());
            if key != "outage" && seen.contains(&key) {
                return Err(ProfileError::new(key, value, "is given twice; leave one out"));
            }
            seen.push(key);
            if (key, value) == ("outage", "none") {
                inherited.retain(|change| !matches!(change.what, What::Outage { .. }));
                continue;
            }
            profile.set(key, value).map_err(|why| ProfileError::new(key, value, why))?;
        }
        inherited.retain(|old| !profile.schedule.iter().any(|new| new.replaces(old)));
        profile.schedule.splice(0..0, inherited);
        profile.check().map_err(|error| error.worded_by(text))?;
        Ok(profile)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if let Some((key, at)) = key.split_once('@') {
            return self.set_change(key, at, value);
        }
        match key {
            "rate" => self.rate = unless("unlimited", value, rate)?,
            "delay" => self.delay_ns = span(value)?,
            "jitter" => self.jitter_ns = span(value)?,
            "queue" => self.queue = value.parse()?,
            "rtt" => self.rtt_ns = unless("auto", value, span)?,
            "loss" => self.loss = share(value)?,
            "burst" => self.burst = unless("none", value, burst)?,
            "reorder" => self.reorder = unless("none", value, reorder)?,
            "duplicate" => self.duplicate = share(value)?,
            "corrupt" => self.corrupt = share(value)?,
            "outage" => self.schedule.push(outage(value)?),
            _ => {
                let keys = "rate, delay, jitter, queue, rtt, loss, burst, reorder, duplicate, corrupt, outage, \
                            rate@TIME, loss@TIME, delay@TIME";
                return Err(format!("there is no such key; there are {keys}"));
            }
        }
        Ok(())
    }

    fn set_change(&mut self, key: &str, at: &str, value: &str) -> Result<(), String> {
        let what = match key {
            "rate" => What::Rate(rate(value)?),
            "loss" => What::Loss(share(value)?),
            "delay" => What::Delay(span(value)?),
            _ => return Err("only rate, loss and delay can change at a time; outages are outage=20s+3s".to_string()),
        };
        self.schedule.push(Change { at_ns: span(at)?, what });
        Ok(())
    }
}

impl Change {
    fn replaces(&self, old: &Change) -> bool {
        self.at_ns == old.at_ns && discriminant(&self.what) == discriminant(&old.what)
    }
}

impl ProfileError {
    /// With key and value as they stand in `text`, if they do: people know again what they typed, not what it came to.
    fn worded_by(self, text: &str) -> ProfileError {
        let pairs = text.split(',').rev().filter_map(|pair| pair.split_once('='));
        let mut pairs = pairs.map(|(key, value)| (key.trim(), value.trim()));
        match pairs.find(|(key, value)| self.is_about(key, value)) {
            Some((key, value)) => ProfileError::new(key, value, self.why),
            None => self,
        }
    }

    fn is_about(&self, key: &str, value: &str) -> bool {
        match key.split_once('@') {
            Some((name, at)) => span(at).is_ok_and(|at_ns| self.key == format!("{name}@{}", show_span(at_ns))),
            None if key != "outage" => self.key == key,
            None => {
                let shown = |outage: Change| outage.what.value(&show_span(outage.at_ns));
                self.key == key && outage(value).is_ok_and(|outage| self.value == shown(outage))
            }
        }
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Profile, ProfileError> {
        Profile::default().with(text)
    }
}

impl FromStr for Queue {
    type Err = String;

    fn from_str(text: &str) -> Result<Queue, String> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "auto" => Ok(Queue::Auto),
            "unlimited" => Ok(Queue::Unlimited),
            _ => match lower.strip_suffix("bdp") {
                Some(times) => match times.trim().parse() {
                    Ok(times) => Ok(Queue::Bdp(times)),
                    Err(_) => Err("is no number of bandwidth-delay products; say for example 0.5bdp".to_string()),
                },
                None if lower.ends_with('s') => span(text).map(Queue::Time),
                None => size::parse(text).map(Queue::Bytes),
            },
        }
    }
}

fn unless<T>(word: &str, value: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if value == word { Ok(None) } else { read(value).map(Some) }
}

fn rate(text: &str) -> Result<Rate, String> {
    text.parse()
}

/// A time with its unit: `delay=50` is refused, since it could be milliseconds or seconds.
fn span(text: &str) -> Result<Nanos, String> {
    if text != "0" && text.ends_with(|last: char| last.is_ascii_digit() || last == '.') {
        return Err(format!("{text:?} has no unit; say for example {text}ms or {text}s"));
    }
    time::parse(text)
}

fn share(text: &str) -> Result<f64, String> {
    // Moved by two digits as text: divided by 100, 0.9% would not be 0.009, but the double beside it.
    let fraction = text.strip_suffix('%').map_or(text.to_string(), |percent| format!("{}e-2", percent.trim_end()));
    fraction.parse().map_err(|_| "is no share; say for example 0.1% or 0.001".to_string())
}

fn burst(text: &str) -> Result<Burst, String> {
    let example = "say share and mean length in frames, for example 1%/20";
    let (part, len) = text.split_once('/').ok_or(example)?;
    Ok(Burst { share: share(part)?, mean_len: len.trim().parse().map_err(|_| example)? })
}

fn reorder(text: &str) -> Result<Reorder, String> {
    let (part, late) = text.split_once('/').ok_or("say share and lateness, for example 1%/2ms or 1%/1ms-5ms")?;
    let (least, most) = late.split_once('-').unwrap_or((late, late));
    Ok(Reorder { share: share(part)?, least_ns: span(least)?, most_ns: span(most)? })
}

fn outage(text: &str) -> Result<Change, String> {
    let (at, for_ns) = text.split_once('+').ok_or("say from when and for how long, for example 20s+3s")?;
    Ok(Change { at_ns: span(at)?, what: What::Outage { for_ns: span(for_ns)? } })
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) => write!(f, "rate={}", show_rate(rate))?,
            None => write!(f, "rate=unlimited")?,
        }
        write!(f, ",delay={}", show_span(self.delay_ns))?;
        if self.jitter_ns > 0 {
            write!(f, ",jitter={}", show_span(self.jitter_ns))?;
        }
        if self.queue != Queue::Auto {
            write!(f, ",queue={}", self.queue)?;
        }
        if let Some(rtt_ns) = self.rtt_ns {
            write!(f, ",rtt={}", show_span(rtt_ns))?;
        }
        if self.loss > 0.0 {
            write!(f, ",loss={}", show_share(self.loss))?;
        }
        if let Some(burst) = self.burst {
            write!(f, ",burst={burst}")?;
        }
        if let Some(reorder) = self.reorder {
            write!(f, ",reorder={reorder}")?;
        }
        for (key, share) in [("duplicate", self.duplicate), ("corrupt", self.corrupt)] {
            if share > 0.0 {
                write!(f, ",{key}={}", show_share(share))?;
            }
        }
        for change in &self.schedule {
            let at = show_span(change.at_ns);
            write!(f, ",{}={}", change.what.key(&at), change.what.value(&at))?;
        }
        Ok(())
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Queue::Auto => write!(f, "auto"),
            Queue::Bytes(bytes) => {
                write!(f, "{}B", scaled(*bytes, &[(1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")]))
            }
            Queue::Time(span) => write!(f, "{}", show_span(*span).replacen("0", "0s", usize::from(*span == 0))),
            Queue::Bdp(times) => write!(f, "{times}bdp"),
            Queue::Unlimited => write!(f, "unlimited"),
        }
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", show_share(self.share), self.mean_len)
    }
}

impl fmt::Display for Reorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", show_share(self.share), show_span(self.least_ns))?;
        if self.most_ns != self.least_ns { write!(f, "-{}", show_span(self.most_ns)) } else { Ok(()) }
    }
}

impl What {
    /// The key in text of what happens at `at`.
    pub(super) fn key(&self, at: &str) -> String {
        match self {
            What::Outage { .. } => "outage".to_string(),
            What::Rate(_) => format!("rate@{at}"),
            What::Loss(_) => format!("loss@{at}"),
            What::Delay(_) => format!("delay@{at}"),
        }
    }

    /// Its value in text.
    pub(super) fn value(&self, at: &str) -> String {
        match self {
            What::Outage { .. } => format!("{at}+{self}"),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Outage { for_ns } => write!(f, "{}", show_span(*for_ns)),
            What::Rate(rate) => write!(f, "{}", show_rate(*rate)),
            What::Loss(share) => write!(f, "{}", show_share(*share)),
            What::Delay(delay_ns) => write!(f, "{}", show_span(*delay_ns)),
        }
    }
}

/// Exactly, in the largest unit that leaves no fraction.
pub(super) fn show_rate(rate: Rate) -> String {
    let units = [(1_000_000_000_000, "t"), (1_000_000_000, "g"), (1_000_000, "m"), (1000, "k")];
    format!("{}bit", scaled(rate.bps(), &units))
}

/// Exactly, in the largest unit that leaves no fraction.
pub(super) fn show_span(span: Nanos) -> String {
    match span {
        0 => "0".to_string(),
        _ => format!(
            "{}s",
            scaled(span, &[(time::SECOND, ""), (time::MILLISECOND, "m"), (time::MICROSECOND, "u"), (1, "n")])
        ),
    }
}

/// In percent, with as few digits as name this value and no other; as a fraction where none do.
fn show_share(value: f64) -> String {
    let percents = (0..12).map(|digits| format!("{:.digits$}%", value * 100.0));
    percents.into_iter().find(|percent| share(percent) == Ok(value)).unwrap_or_else(|| value.to_string())
}

fn scaled(value: u64, units: &[(u64, &str)]) -> String {
    let unit = units.iter().find(|unit| value.is_multiple_of(unit.0));
    unit.map_or(value.to_string(), |(scale, name)| format!("{}{name}", value / scale))
}
