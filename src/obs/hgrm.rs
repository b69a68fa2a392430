//! Histograms in HdrHistogram's percentile text format, which its public plotter and many scripts read.

use std::io::{self, Write};

use super::hist::Histogram;

/// Lines for each halving of the distance to 100 %: what every HdrHistogram implementation writes by default.
const TICKS_PER_HALF: u32 = 5;

impl Histogram {
    /// Writes the distribution as `.hgrm`. Values are divided by `scale`: 1000.0 makes microseconds of nanoseconds.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_hgrm(&self, out: &mut impl Write, scale: f64) -> io::Result<()> {
        let inner = &self.inner;
        writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
        let mut total = 0;
        for step in inner.iter_quantiles(TICKS_PER_HALF) {
            total += step.count_since_last_iteration();
            let value = step.value_iterated_to().min(self.max()) as f64 / scale;
            let quantile = step.quantile_iterated_to();
            write!(out, "{value:12.3} {quantile:14.12} {total:10}")?;
            // The last line has no fourth column: it would be infinite.
            match quantile < 1.0 {
                true => writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile))?,
                false => writeln!(out)?,
            }
        }
        let (mean, deviation, max) = (inner.mean() / scale, inner.stdev() / scale, self.max() as f64 / scale);
        writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
        writeln!(out, "#[Max     = {max:12.3}, Total count    = {:12}]", self.count())?;
        // Three digits take 2048 steps for each power of two.
        writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", inner.buckets(), 2048)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(histogram: &Histogram, scale: f64) -> String {
        let mut out = Vec::new();
        histogram.write_hgrm(&mut out, scale).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Reads the format back as the plotters do: four columns, three in the last line.
    fn rows(text: &str) -> Vec<Vec<f64>> {
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains("Value"))
            .map(|line| line.split_whitespace().map(|column| column.parse().unwrap()).collect())
            .collect()
    }

    #[test]
    fn every_row_agrees_with_the_histogram() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|value| histogram.record(value * 1000));
        let text = written(&histogram, 1000.0);
        let rows = rows(&text);
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 10_000.0));
        for row in &rows[..rows.len() - 1] {
            let [value, quantile, total, inverse] = row[..] else { panic!("four columns: {row:?}") };
            let expected = histogram.value_at(quantile) as f64 / 1000.0;
            assert!((value - expected).abs() <= expected / 500.0 + 0.001, "{value} at {quantile}, not {expected}");
            assert!(total / 10_000.0 >= quantile - 1e-9, "{total} values up to {quantile}");
            assert!((inverse - 1.0 / (1.0 - quantile)).abs() <= 0.01 * inverse);
        }
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]));
        assert!(text.contains("Total count    =        10000]"), "{text}");
    }

    #[test]
    fn an_empty_histogram_is_a_file_too() {
        let text = written(&Histogram::new(), 1.0);
        assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"), "{text}");
        assert!(text.contains("Total count    =            0]"));
    }
}
