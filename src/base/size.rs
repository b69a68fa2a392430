//! Byte sizes: parsed from `64MiB`, `1G`, `4096`; shown as people say them; and what a frame takes on the wire.

/// Bytes that every Ethernet frame costs on the wire beside what the link is given: preamble and start (8), FCS (4),
/// inter-frame gap (12).
pub const WIRE_OVERHEAD: u64 = 24;
/// Shortest frame without its FCS; anything shorter is padded up to it.
pub const MIN_FRAME_LEN: usize = 60;

/// What a frame of `frame_len` bytes (Ethernet header included, FCS not) occupies on the wire: padding, preamble, FCS
/// and gap included.
pub fn wire_bytes(frame_len: usize) -> u64 {
    frame_len.max(MIN_FRAME_LEN) as u64 + WIRE_OVERHEAD
}

/// Parses a size in bytes. `K`, `M`, `G`, `T` (also with `iB`) are powers of 1024; `KB`, `MB`, … powers of 1000.
///
/// # Errors
/// A sentence that names the text, where it is no size.
pub fn parse(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("size {text:?} does not begin with a plain number; say for example 64MiB"))?;
    let scale: f64 = match unit.trim() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1_048_576.0,
        "g" | "gib" => 1_073_741_824.0,
        "t" | "tib" => 1_099_511_627_776.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        other => return Err(format!("size {text:?}: unknown unit {other:?}; say for example 64MiB")),
    };
    Ok((number * scale).round() as u64)
}

/// A size as people read it, in powers of 1000.
pub fn show(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        1_000_000_000..1_000_000_000_000 => format!("{:.2} GB", value / 1e9),
        _ => format!("{:.2} TB", value / 1e12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_both_families_of_units() {
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse("64M"), Ok(64 << 20));
        assert_eq!(parse("1.5KB"), Ok(1500));
        assert_eq!(parse("4096"), Ok(4096));
        assert!(parse("x").is_err());
        assert!(parse("-5MB").unwrap_err().contains("does not begin with a plain number"));
        assert!(parse("4 fathoms").is_err());
    }

    #[test]
    fn the_wire_takes_more_than_the_frame() {
        assert_eq!([0, 42, 60, 61, 1514].map(wire_bytes), [84, 84, 84, 85, 1538]);
    }

    #[test]
    fn shows_three_figures_or_so() {
        assert_eq!(show(999), "999 B");
        assert_eq!(show(1_234_567), "1.2 MB");
        assert_eq!(show(10_000_000_000), "10.00 GB");
    }
}
