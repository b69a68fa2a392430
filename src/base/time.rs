//! Time as nanoseconds since an arbitrary start, read once per turn by whoever owns the clock.

/// A point in time, or a span, in nanoseconds.
pub type Nanos = u64;

/// One microsecond.
pub const MICROSECOND: Nanos = 1_000;
/// One millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1_000_000_000;
/// A deadline that never comes.
pub const NEVER: Nanos = Nanos::MAX;

/// Parses a span: `10ms`, `1.5s`, `250us`, `0`. A number without a unit is in seconds.
///
/// # Errors
/// A sentence that names the text, where it is no span.
pub fn parse(text: &str) -> Result<Nanos, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no time; say for example 10ms"))?;
    let scale = match unit {
        "" | "s" => SECOND,
        "ms" => MILLISECOND,
        "us" | "µs" => MICROSECOND,
        "ns" => 1,
        _ => return Err(format!("{text:?}: unknown unit {unit:?}; say s, ms, us or ns")),
    };
    let nanos = (number * scale as f64).round();
    // Up to here (104 days) a double holds every nanosecond.
    if nanos > (1_u64 << 53) as f64 {
        return Err(format!("{text:?} is too long"));
    }
    Ok(nanos as Nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write() {
        let spans =
            [("250us", 250_000), ("0", 0), ("1.5s", 1_500_000_000), ("0.3ms", 300_000), ("7ns", 7), ("2", 2 * SECOND)];
        for (text, nanos) in spans {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in ["-1s", "1 week", "", "ms", "NaN", "1e3s", "1..2s", "99999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
