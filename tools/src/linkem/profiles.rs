//! What the command line says of the link, as two profiles; and what is wrong with it, in the words that were typed.

use farwire::link::impair::{Profile, ProfileError};

use crate::memory;
use crate::options::Options;

/// An option of the link: how it is called, what its key begins with in the text of a profile, and what was typed.
struct Part<'a> {
    option: &'static str,
    key: &'static str,
    typed: &'a str,
}

impl Options {
    /// The profile towards RIGHT and the one towards LEFT.
    ///
    /// # Errors
    /// Wrong usage: names the option, its value and the next step.
    pub fn profiles(&self) -> Result<[Profile; 2], String> {
        if self.left == self.right {
            return Err(format!("{} is named twice; say two interfaces, one on each side", self.left));
        }
        let parts = self.parts();
        parts.iter().try_for_each(Part::check)?;
        let text = parts.iter().map(Part::pair).collect::<Vec<_>>().join(",");
        let both: Profile = text.parse().map_err(|error| in_words_of(&parts, &error))?;
        let side = |option: &str, text: &Option<String>| match text {
            Some(text) => both.with(text).map_err(|error| format!("{option} {text}: {error}")),
            None => Ok(both.clone()),
        };
        let profiles = [side("--right", &self.to_right)?, side("--left", &self.to_left)?];
        if self.umem.is_none() && memory::frames_under_way(&profiles, usize::from(u16::MAX)).is_none() {
            return Err("a queue without limit needs all memory: say --queue, or how much with --umem".into());
        }
        Ok(profiles)
    }

    /// What is said for both directions.
    fn parts(&self) -> Vec<Part<'_>> {
        let single = [
            ("--rate", "rate=", &self.rate),
            ("--delay", "delay=", &self.delay),
            ("--jitter", "jitter=", &self.jitter),
            ("--queue", "queue=", &self.queue),
            ("--rtt", "rtt=", &self.rtt),
            ("--loss", "loss=", &self.loss),
            ("--burst-loss", "burst=", &self.burst_loss),
            ("--reorder", "reorder=", &self.reorder),
            ("--duplicate", "duplicate=", &self.duplicate),
            ("--corrupt", "corrupt=", &self.corrupt),
        ];
        let several = [
            ("--outage", "outage=", &self.outage),
            ("--rate-at", "rate@", &self.rate_at),
            ("--loss-at", "loss@", &self.loss_at),
            ("--delay-at", "delay@", &self.delay_at),
        ];
        let single =
            single.iter().flat_map(|(option, key, value)| value.iter().map(move |typed| (*option, *key, typed)));
        let several =
            several.iter().flat_map(|(option, key, values)| values.iter().map(move |typed| (*option, *key, typed)));
        single.chain(several).map(|(option, key, typed)| Part { option, key, typed }).collect()
    }
}

impl Part<'_> {
    /// Refuses what would not be one pair of the profile's text.
    fn check(&self) -> Result<(), String> {
        let Part { option, key, typed } = self;
        if typed.contains(',') {
            return Err(format!("{option} {typed}: one value, please; a comma parts those of --right and --left"));
        }
        if key.ends_with('@') && !typed.contains('=') {
            return Err(format!(
                "{option} {typed}: say from when on and what, TIME=VALUE, for example {}",
                match *key {
                    "rate@" => "40s=500mbit",
                    "loss@" => "40s=1%",
                    _ => "40s=10ms",
                }
            ));
        }
        Ok(())
    }

    fn pair(&self) -> String {
        [self.key, self.typed].concat()
    }

    fn is_meant_by(&self, error: &ProfileError) -> bool {
        let pair = self.pair();
        pair.split_once('=').is_some_and(|(key, value)| (key.trim(), value.trim()) == (&error.key, &error.value))
    }
}

/// The error with the option that was typed in place of the key.
fn in_words_of(parts: &[Part], error: &ProfileError) -> String {
    match parts.iter().rev().find(|part| part.is_meant_by(error)) {
        Some(Part { option, typed, .. }) => format!("{option} {typed}: {}", error.why),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn profiles(arguments: &str) -> Result<[String; 2], String> {
        let arguments = ["linkem", "eth1", "eth2"].into_iter().chain(arguments.split_whitespace());
        Options::try_parse_from(arguments).unwrap().profiles().map(|both| both.map(|one| one.to_string()))
    }

    #[test]
    fn every_option_reaches_both_directions_and_overrides_reach_one() {
        let arguments = "--rate 1gbit --delay 50ms --jitter 1ms --queue 2bdp --rtt 120ms --loss 0.1% \
                         --burst-loss 1%/20 --reorder 1%/2ms --duplicate 0.5% --corrupt 0.25% --outage 20s+3s \
                         --outage 30s+1s --rate-at 40s=500mbit --loss-at 50s=1% --delay-at 60s=9ms \
                         --left rate=2mbit,rate@41s=3mbit";
        let [right, left] = profiles(arguments).unwrap();
        for part in ["rate=1gbit", "delay=50ms", "jitter=1ms", "queue=2bdp", "rtt=120ms", "loss=0.1%", "burst=1%/20"] {
            assert!(right.split(',').any(|have| have == part), "{part} in {right}");
        }
        for part in ["reorder=1%/2ms", "duplicate=0.5%", "corrupt=0.25%", "outage=20s+3s", "outage=30s+1s"] {
            assert!(right.split(',').any(|have| have == part), "{part} in {right}");
        }
        for part in ["rate@40s=500mbit", "loss@50s=1%", "delay@60s=9ms"] {
            assert!(right.split(',').any(|have| have == part), "{part} in {right}");
            assert!(left.split(',').any(|have| have == part), "{part} in {left}");
        }
        assert!(
            left.contains("rate=2mbit,") && left.contains("rate@41s=3mbit") && left.contains("delay=50ms"),
            "{left}"
        );
    }

    #[test]
    fn what_can_not_be_is_said_as_it_was_typed() {
        for (arguments, words) in [
            ("--rate 0", "--rate 0: "),
            ("--rate -5mbit", "--rate -5mbit: rate \"-5mbit\" does not begin with a plain number"),
            ("--rate=99tbit", "--rate 99tbit: is faster than anything"),
            ("--loss 150%", "--loss 150%: a share lies"),
            ("--loss -1%", "--loss -1%: a share lies"),
            ("--delay 50", "--delay 50: \"50\" has no unit"),
            ("--delay -5ms", "--delay -5ms: "),
            ("--queue 10", "--queue 10: without a rate"),
            ("--rate 1gbit --queue 0", "--queue 0: a queue of 0 bytes"),
            ("--rate 1gbit --queue 2TB", "--queue 2TB: "),
            ("--burst-loss 0/20", "--burst-loss 0/20: the share"),
            ("--outage 3s", "--outage 3s: say from when"),
            ("--outage 1000ms+9s --outage 2s+1000ms", "--outage 2s+1000ms: overlaps 1s+9s"),
            ("--rate-at 40s", "--rate-at 40s: say from when on and what"),
            ("--rate-at 1000ms=1gbit", "--rate-at 1000ms=1gbit: there is no rate to change"),
            ("--loss-at soon=1%", "--loss-at soon=1%: \"soon\" is no time"),
            ("--delay 5ms,loss=1%", "--delay 5ms,loss=1%: one value, please"),
            ("--right speed=3", "--right speed=3: speed=3: there is no such key"),
            ("--left delay=1ms,loss=200%", "--left delay=1ms,loss=200%: loss=200%: a share lies"),
            ("--rate 1gbit --queue unlimited", "a queue without limit needs all memory"),
        ] {
            let error = profiles(arguments).unwrap_err();
            assert!(error.starts_with(words), "{arguments}: {error}");
        }
        profiles("--rate 1gbit --queue unlimited --umem 64MiB").unwrap();
        let twice = Options::try_parse_from(["linkem", "eth1", "eth1"]).unwrap();
        assert!(twice.profiles().unwrap_err().starts_with("eth1 is named twice"));
    }
}
