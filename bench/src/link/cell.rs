//! A cell of the matrix: what the emulated link is like. Read from the command line, written into every result.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::limit;

/// Mean length of a burst of losses where the user names none: 20 frames are a quarter of a millisecond at 1 Gbit/s, as
/// a short overflow or a glitch of a line would take. Longer ones take whole ACKs and tails with them, shorter ones are
/// hardly told from random loss.
const BURST_FRAMES: f64 = 20.0;

/// The link of a run, alike both ways.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Bits per second on the wire: preamble, FCS and gap of every frame counted.
    pub rate_bps: u64,
    pub mtu: u16,
    /// Round trip without queueing; half of it each way.
    pub rtt_ms: f64,
    pub loss: Loss,
    /// The bottleneck's queue, in units of rate × round trip.
    pub queue_bdp: f64,
}

/// Frames that get lost on the way, as a share of those that were sent.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Loss {
    pub share: f64,
    /// Mean length of a burst in frames; `None` where each frame is lost by itself.
    pub burst: Option<f64>,
}

impl Cell {
    /// What fits on the way there and back.
    pub fn bdp_bytes(&self) -> u64 {
        (self.rate_bps as f64 / 8.0 * self.rtt_ms / 1e3) as u64
    }

    /// The bottleneck's queue; two frames at least, since no link can do with less.
    pub fn queue_bytes(&self) -> u64 {
        let frames = 2 * limit::wire_bytes(u64::from(self.mtu));
        ((self.bdp_bytes() as f64 * self.queue_bdp) as u64).max(frames)
    }

    /// Where it stands in a table of many: by round trip, queue and loss.
    pub fn order(&self) -> [f64; 6] {
        let burst = self.loss.burst.unwrap_or(0.0);
        [self.rate_bps as f64, f64::from(self.mtu), self.queue_bdp, self.rtt_ms, self.loss.share, burst]
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms, loss {}, queue {} BDP", self.rtt_ms, self.loss, self.queue_bdp)
    }
}

impl FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> Result<Loss, String> {
        let wrong = || format!("loss {text:?}: say for example 0, 0.1%, or 1%/20 for 1 % in bursts of 20 frames");
        let (share, burst) = match text.trim().split_once('/') {
            None => (text.trim(), None),
            Some((share, "")) => (share, Some(BURST_FRAMES)),
            Some((share, frames)) => (share, Some(frames.parse::<f64>().map_err(|_| wrong())?)),
        };
        let number: f64 = share.trim_end_matches('%').parse().map_err(|_| wrong())?;
        let share = if share.ends_with('%') { number / 100.0 } else { number };
        let possible = (0.0..=0.5).contains(&share) && burst.is_none_or(|frames| (1.0..=10_000.0).contains(&frames));
        if !possible {
            return Err(format!("loss {text:?}: from 0 to 50%, in bursts of 1 to 10000 frames"));
        }
        Ok(Loss { share, burst: burst.filter(|_| share > 0.0) })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two shares that differ are never written alike: rounded to a millionth of a percent.
        let percent = (self.share * 1e8).round() / 1e6;
        match self.burst {
            None => write!(f, "{percent}%"),
            Some(frames) => write!(f, "{percent}%/{frames}"),
        }
    }
}

impl TryFrom<String> for Loss {
    type Error = String;

    fn try_from(text: String) -> Result<Loss, String> {
        text.parse()
    }
}

impl From<Loss> for String {
    fn from(loss: Loss) -> String {
        loss.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(text: &str) -> Loss {
        text.parse().unwrap()
    }

    #[test]
    fn losses_are_written_as_they_are_read() {
        for text in ["0%", "0.01%", "0.1%", "1%", "5%", "1%/20", "0.3%/7.5"] {
            assert_eq!(loss(text).to_string(), text);
        }
        assert_eq!(loss("1%/"), Loss { share: 0.01, burst: Some(20.0) });
        assert_eq!(loss("0.05"), loss("5%"));
        assert_eq!(loss("0%/20"), loss("0"));
        for wrong in ["", "x", "-1%", "60%", "1%/0", "1%/x", "NaN", "inf"] {
            assert!(wrong.parse::<Loss>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_queue_is_a_share_of_the_way_and_never_less_than_two_frames() {
        let cell = Cell { rate_bps: 1_000_000_000, mtu: 1500, rtt_ms: 100.0, loss: loss("1%"), queue_bdp: 0.1 };
        assert_eq!((cell.bdp_bytes(), cell.queue_bytes()), (12_500_000, 1_250_000));
        assert_eq!(Cell { rate_bps: 1_000_000, rtt_ms: 2.0, ..cell }.queue_bytes(), 2 * 1538);
        assert_eq!(cell.to_string(), "100 ms, loss 1%, queue 0.1 BDP");
    }

    #[test]
    fn a_cell_survives_a_line_of_json() {
        let cell = Cell { rate_bps: 1, mtu: 1500, rtt_ms: 2.0, loss: loss("1%/20"), queue_bdp: 0.1 };
        let text = serde_json::to_string(&cell).unwrap();
        assert!(text.contains(r#""loss":"1%/20""#), "{text}");
        assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell);
    }
}
