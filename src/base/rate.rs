//! Bit rates: parsed from `940mbit`, `10G`, `1.5gbit`; shown as people say them.

use std::fmt;
use std::str::FromStr;

use super::time::{Nanos, SECOND};

/// A rate in bits per second; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(u64);

impl Rate {
    /// The fastest that anybody is taken to mean: six times the fastest Ethernet there is (1.6 Tbit/s). Above, a frame
    /// takes less than a nanosecond.
    pub const FASTEST: Rate = Rate(10_000_000_000_000);

    /// A rate of `bps` bits per second, or `None` for 0.
    pub fn from_bps(bps: u64) -> Option<Rate> {
        (bps > 0).then_some(Rate(bps))
    }

    /// The rate nearest to `bps`, at least 1 bit/s.
    pub fn nearest(bps: f64) -> Rate {
        // A cast of what is no number, or too large for one, is 0 or the largest.
        Rate((bps.round() as u64).max(1))
    }

    /// Bits per second.
    pub fn bps(self) -> u64 {
        self.0
    }

    /// How long `bytes` take at this rate.
    pub fn duration_of(self, bytes: u64) -> Nanos {
        (u128::from(bytes) * 8 * u128::from(SECOND) / u128::from(self.0)) as Nanos
    }

    /// How many bytes pass in `span`.
    pub fn bytes_in(self, span: Nanos) -> u64 {
        (u128::from(self.0) * u128::from(span) / 8 / u128::from(SECOND)) as u64
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(digits);
        let number: f64 = number
            .parse()
            .map_err(|_| format!("rate {text:?} does not begin with a plain number; say for example 940mbit"))?;
        let unit = unit.trim().trim_end_matches("/s").trim_end_matches("bps").trim_end_matches("bit");
        let scale = match unit {
            "" => 1.0,
            "k" => 1e3,
            "m" => 1e6,
            "g" => 1e9,
            "t" => 1e12,
            _ => return Err(format!("rate {text:?}: unknown unit {unit:?}; say for example 940mbit or 10gbit")),
        };
        Rate::from_bps((number * scale).round() as u64)
            .ok_or_else(|| format!("rate {text:?} is 0: nothing could ever be sent; say for example 940mbit"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bps = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} bit/s", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kbit/s", bps / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} Mbit/s", bps / 1e6),
            _ => write!(f, "{:.2} Gbit/s", bps / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write() {
        for (text, bps) in [
            ("940mbit", 940_000_000),
            ("10G", 10_000_000_000),
            ("1.5gbit/s", 1_500_000_000),
            ("64kbps", 64_000),
            ("2.3gbit", 2_300_000_000),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().bps(), bps, "{text}");
        }
    }

    #[test]
    fn refuses_zero_and_nonsense() {
        for text in ["0", "0mbit", "fast", "", "10 parsecs"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let error = "-5mbit".parse::<Rate>().unwrap_err();
        assert!(error.contains("does not begin with a plain number"), "{error}");
    }

    #[test]
    fn time_and_bytes_agree() {
        let rate = Rate::from_bps(1_000_000_000).unwrap();
        assert_eq!(rate.duration_of(125), 1_000);
        assert_eq!(rate.bytes_in(1_000), 125);
    }
}
