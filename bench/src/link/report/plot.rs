//! Line plots as SVG, with crate plotters.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Size of a picture in pixels: two beside each other on a common screen.
const SIZE: (u32, u32) = (640, 360);
const TITLE_PX: u32 = 16;
const LABEL_PX: u32 = 12;

/// Most marks of an axis of numbers: their labels stand beside each other without touching.
const MARKS_MOST: usize = 10;

/// Colours of contenders, in their order: first farwire's (warm), then TCP's (blue), then the others', each apart from
/// its neighbours.
const COLOURS: [&str; 16] = [
    "#d62728", "#ff7f0e", "#9467bd", "#e377c2", "#1f77b4", "#17becf", "#2ca02c", "#98df8a", "#8c564b", "#c49c94",
    "#7f7f7f", "#bcbd22", "#393b79", "#ad9ed6", "#637939", "#000000",
];

/// A line of a plot.
pub struct Line {
    pub colour: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// What a plot shows.
pub struct Plot<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    /// Names of the places 0, 1, 2 … of the x axis; none for an axis of numbers.
    pub places: &'a [String],
    /// Top of the y axis if it is to be higher than the highest line; for plots that are compared.
    pub y_most: f64,
    pub lines: Vec<Line>,
}

pub fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

impl Plot<'_> {
    /// The picture, or an error's words in its place.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        match self.draw(&mut svg) {
            Ok(()) => svg,
            Err(error) => format!("{}: {error}", self.title),
        }
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most =
            |of: fn(&(f64, f64)) -> f64, least: f64| points().map(of).filter(|v| v.is_finite()).fold(least, f64::max);
        let by_name = !self.places.is_empty();
        let least_x = if by_name { -0.2 } else { points().map(|(x, _)| *x).fold(0.0, f64::min) };
        let most_x = if by_name { self.places.len() as f64 - 0.8 } else { most(|(x, _)| *x, 1e-3) };
        let most_y = most(|(_, y)| *y, self.y_most).max(1e-3) * 1.05;
        let places = || (0..self.places.len()).map(|place| place as f64).collect();
        let marks = if by_name { places() } else { round_marks(least_x, most_x) };
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", TITLE_PX))
            .margin(10)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(Axis { span: (least_x..most_x).into(), marks }, 0.0..most_y)?;
        let place = |x: &f64| self.places.get(x.round() as usize).filter(|_| is_whole(*x)).cloned().unwrap_or_default();
        // Marks are multiples of a round step, but for what binary fractions make of them.
        let number = |x: &f64| ((x * 1e6).round() / 1e6).to_string();
        let x_label: &dyn Fn(&f64) -> String = if by_name { &place } else { &number };
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(self.places.len().max(MARKS_MOST))
            .x_label_formatter(x_label)
            .y_label_formatter(&number)
            .label_style(("sans-serif", LABEL_PX))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .disable_x_mesh()
            .draw()?;
        for line in &self.lines {
            let colour = parse(line.colour);
            let known = || line.points.iter().copied().filter(|(_, y)| y.is_finite());
            chart.draw_series(LineSeries::new(known(), colour.stroke_width(2)))?;
            if by_name {
                chart.draw_series(known().map(|point| Circle::new(point, 3, colour.filled())))?;
            }
        }
        area.present()?;
        Ok(())
    }
}

/// An x axis with marks of our own choice.
struct Axis {
    span: RangedCoordf64,
    marks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.span.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.span.range()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        value.to_string()
    }
}

/// Round numbers in a range, some of them.
fn round_marks(least: f64, most: f64) -> Vec<f64> {
    let step = ((most - least) / MARKS_MOST as f64).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(step.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|round| *round >= step).unwrap_or(step);
    let (first, last) = ((least / step).ceil() as i64, (most / step).floor() as i64);
    (first..=last).map(|mark| mark as f64 * step).collect()
}

fn is_whole(x: f64) -> bool {
    (x - x.round()).abs() < 1e-6
}

/// `#rrggbb`, of which all colours here are.
fn parse(colour: &str) -> RGBColor {
    let part = |at: usize| colour.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0);
    RGBColor(part(1), part(3), part(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(round_marks(0.0, 10.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!(round_marks(-0.35, 0.75).len(), 5);
        assert_eq!(round_marks(0.0, 60.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert!(round_marks(1.0, 1.0).len() <= 1);
    }

    #[test]
    fn a_plot_has_its_lines_and_its_words() {
        let line = |index, points: &[(f64, f64)]| Line { colour: colour(index), points: points.to_vec() };
        let lines = vec![line(0, &[(0.0, 1.0), (1.0, 0.5)]), line(1, &[(0.0, f64::NAN), (1.0, 2.0)]), line(2, &[])];
        let places = ["0%", "1%"].map(str::to_owned);
        let plot = Plot { title: "goodput", x: "loss", y: "of the limit", places: &places, y_most: 1.0, lines };
        let svg = plot.svg();
        for words in ["<svg", "goodput", "loss", "of the limit", "1%", "#D62728", "#FF7F0E"] {
            assert!(svg.contains(words), "{words:?} is not in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let empty = Plot { lines: vec![], places: &[], ..plot };
        assert!(empty.svg().contains("<svg"));
    }
}
