//! A histogram as a picture in the terminal.

use std::fmt::Write as _;

use super::hist::{Histogram, show};

/// Rows for the body of a distribution, smallest value to p99. Fewer hide its shape; more are scrolled past.
const BODY_ROWS: u64 = 14;

/// A body no wider than this many times its smallest value gets rows of equal width, a wider one logarithmic rows.
const LINEAR_UP_TO: u64 = 4;

/// Row starts within one decade, in tenths of its start, from fine to coarse. The finest that fits is taken.
const STEPS: [&[u64]; 4] =
    [&[10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 80], &[10, 15, 20, 30, 50, 70], TAIL_STEPS, &[10]];

/// Row starts beyond the body, where few values lie far apart.
const TAIL_STEPS: &[u64] = &[10, 20, 50];

/// An eighth of a column to a full one.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Which percentiles are marked.
const MARKS: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// One row: values from `from` up to the next row's.
struct Row {
    from: u64,
    count: u64,
    marks: Vec<&'static str>,
}

impl Histogram {
    /// Draws the distribution at most `width` columns wide (at least 40): one row for each step of a value scale that
    /// is nearly logarithmic, a bar for its count, and marks where the percentiles fall. A last line has the figures.
    pub fn draw(&self, width: usize) -> String {
        if self.is_empty() {
            return "nothing was recorded\n".to_owned();
        }
        let rows = self.rows();
        let most = rows.iter().map(|row| row.count).max().unwrap_or(1);
        let count_width = most.to_string().len();
        let mark_width = rows.iter().map(|row| marks_text(row).chars().count()).max().unwrap_or(0);
        let bar_width = width.max(40).saturating_sub(9 + 2 + 1 + count_width + 1 + mark_width).max(8);
        let mut picture = String::new();
        let mut skipped = false;
        for (at, row) in rows.iter().enumerate() {
            // One empty row shows a gap; a longer gap is folded into one line.
            let gap = |at: usize| rows.get(at).is_some_and(|row| row.count == 0);
            if gap(at) && (skipped || gap(at + 1)) {
                if !skipped {
                    picture.push_str("        ⋮\n");
                }
                skipped = true;
                continue;
            }
            skipped = false;
            let line = format!(
                "{:>9} ┤{:<bar_width$} {:>count_width$} {}",
                show(row.from, self.unit()),
                bar(row.count, most, bar_width),
                row.count,
                marks_text(row)
            );
            picture.push_str(line.trim_end());
            picture.push('\n');
        }
        picture.push_str(&self.summary());
        picture.push('\n');
        picture
    }

    /// The figures in one line: `10000 values, min 3.9 µs, p50 4.1 µs, …`.
    pub fn summary(&self) -> String {
        let seen = self.percentiles();
        let mut line = format!("{} values", seen.count);
        for (name, value) in [
            ("min", seen.min),
            ("mean", seen.mean.round() as u64),
            ("p50", seen.p50),
            ("p90", seen.p90),
            ("p99", seen.p99),
            ("p99.9", seen.p999),
            ("max", seen.max),
        ] {
            // Writing to a String can't fail.
            let _ = write!(line, ", {name} {}", show(value, self.unit()));
        }
        line
    }

    /// The rows from the smallest value to the largest.
    fn rows(&self) -> Vec<Row> {
        let (min, body, max) = (self.percentiles().min, self.value_at(0.99), self.max());
        let mut starts = body_starts(min, body);
        starts.retain(|&start| start <= max);
        let last = starts.last().copied().unwrap_or(0);
        starts.extend(log_starts(TAIL_STEPS, last, max).into_iter().filter(|&start| start > last));
        let mut rows: Vec<Row> = starts.into_iter().map(|from| Row { from, count: 0, marks: Vec::new() }).collect();
        let row_of = |rows: &[Row], value: u64| rows.partition_point(|row| row.from <= value).saturating_sub(1);
        for (value, count) in self.recorded() {
            let at = row_of(&rows, value);
            rows[at].count += count;
        }
        for (name, quantile) in MARKS {
            let at = row_of(&rows, self.value_at(quantile));
            rows[at].marks.push(name);
        }
        rows
    }
}

/// Where the rows from `min` to `max` begin.
fn body_starts(min: u64, max: u64) -> Vec<u64> {
    if max > min.saturating_mul(LINEAR_UP_TO) {
        let fits = |starts: &Vec<u64>| starts.len() as u64 <= BODY_ROWS;
        return STEPS.iter().map(|steps| log_starts(steps, min, max)).find(fits).unwrap_or_else(|| vec![min]);
    }
    // Rows narrower than the three digits of their labels would look alike.
    let label = 10u64.pow(max.max(1).ilog10()) / 100;
    let narrowest = ((max - min) / BODY_ROWS + 1).max(label);
    let decade = 10u64.pow(narrowest.ilog10());
    let width = [1, 2, 5, 10].into_iter().map(|step| step * decade).find(|&width| width >= narrowest);
    let width = width.unwrap_or(narrowest);
    // One start more: the last row of the body must not be wider than the others.
    (min / width..=max / width + 1).map(|row| row * width).collect()
}

/// Logarithmic row starts from the last one at or below `min` to the last one at or below `max`.
fn log_starts(steps: &[u64], min: u64, max: u64) -> Vec<u64> {
    // Below ten the decade's start is 1 and steps are whole anyway: 1.2 is no integer.
    let decades = (0..12u32).flat_map(|exponent| steps.iter().map(move |step| step * 10u64.pow(exponent) / 10));
    let mut all: Vec<u64> = std::iter::once(0).chain(decades).collect();
    all.dedup();
    let first = all.partition_point(|&start| start <= min) - 1;
    all.truncate(all.partition_point(|&start| start <= max));
    all.split_off(first)
}

/// A bar in proportion, in eighths of a column; whatever is not nothing shows at least one eighth.
fn bar(count: u64, most: u64, width: usize) -> String {
    let eighths = (u128::from(count) * width as u128 * 8).div_ceil(u128::from(most.max(1))) as usize;
    let mut text = "█".repeat(eighths / 8);
    text.extend((eighths % 8).checked_sub(1).map(|part| EIGHTHS[part]));
    text
}

fn marks_text(row: &Row) -> String {
    if row.marks.is_empty() { String::new() } else { format!("◂ {}", row.marks.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::obs::hist::Unit;

    /// Round trips as they look: most near 4 µs, a shoulder, a few far out.
    fn round_trips() -> Histogram {
        let mut histogram = Histogram::new();
        for i in 0..9_000u64 {
            histogram.record(3_900 + (i * 7919) % 500);
        }
        for i in 0..900u64 {
            histogram.record(4_400 + (i * 104_729) % 3_000);
        }
        for i in 0..95 {
            histogram.record(20_000 + i * 100);
        }
        histogram.record_n(2_000_000, 5);
        histogram
    }

    #[test]
    fn rows_count_every_value_once_and_mark_every_percentile_once() {
        let histogram = round_trips();
        let rows = histogram.rows();
        assert!(rows.len() <= 40, "{} rows", rows.len());
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 10_000);
        let marks: Vec<_> = rows.iter().flat_map(|row| row.marks.clone()).collect();
        assert_eq!(marks, ["p50", "p90", "p99", "p99.9", "max"]);
        assert!(rows.first().unwrap().from <= 3_900 && rows.last().unwrap().from <= 2_000_000);
        assert!(rows.first().unwrap().count > 0 && rows.last().unwrap().count > 0, "no empty margin");
    }

    #[test]
    fn the_picture_keeps_within_its_width() {
        for width in [40, 80, 120] {
            let picture = round_trips().draw(width);
            let body: Vec<_> = picture.lines().filter(|line| line.contains('┤')).collect();
            assert!(body.iter().all(|line| line.chars().count() <= width.max(40)), "{width}:\n{picture}");
            let longest = body.iter().map(|line| line.matches('█').count()).max().unwrap();
            assert!(longest >= 8, "{width}: bars use the room\n{picture}");
            assert!(picture.contains("⋮"), "the gap is folded\n{picture}");
            assert!(picture.lines().last().unwrap().starts_with("10000 values, min 3.90 µs"), "{picture}");
        }
    }

    #[test]
    fn one_value_and_zeroes_and_counts_are_drawn() {
        let mut one = Histogram::new();
        one.record(5);
        assert!(one.draw(80).lines().next().unwrap().contains("1 ◂ p50 p90 p99 p99.9 max"), "{}", one.draw(80));
        let mut bursts = Histogram::of(Unit::Count);
        (0..=64).for_each(|size| bursts.record(size));
        assert!(bursts.draw(80).starts_with("        0 ┤"), "{}", bursts.draw(80));
        assert_eq!(Histogram::new().draw(80), "nothing was recorded\n");
    }

    #[test]
    fn rows_are_few_and_told_apart_whatever_the_range() {
        for (min, max) in [(0, 0), (0, 1), (1, 3), (4_100, 4_110), (3_900, 7_400), (9_990, 10_400), (0, 60_000_000_000)]
        {
            let starts = body_starts(min, max);
            assert!(starts.len() as u64 <= BODY_ROWS + 2, "{min}..{max}: {starts:?}");
            assert!(starts[0] <= min && starts.iter().all(|&start| start <= max * 2 + 1), "{min}..{max}: {starts:?}");
            let mut labels: Vec<_> = starts.iter().map(|&start| show(start, Unit::Nanoseconds)).collect();
            labels.dedup();
            assert_eq!(labels.len(), starts.len(), "{min}..{max}: {labels:?}");
        }
    }

    #[test]
    fn a_bar_never_lies() {
        assert_eq!((bar(0, 10, 8), bar(10, 10, 8)), (String::new(), "████████".to_owned()));
        assert_eq!((bar(1, 1_000_000, 8), bar(5, 10, 1)), ("▏".to_owned(), "▌".to_owned()));
    }
}
