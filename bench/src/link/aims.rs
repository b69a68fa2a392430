//! The aims of the project on a long fat link, each held against the results: reached in how many cells, and the worst.

use super::cell::Cell;
use super::limit;
use super::record::Scene;
use super::results::Results;
use super::summary::{Field, Summary};
use super::tree;

/// Those whom aims are about.
const FIXED: &str = "farwire-fixed";
const AUTO: &str = "farwire-auto";
const BBR: &str = "farwire-bbr";
const TCP_BBR: &str = "tcp-bbr";
const TCP_CUBIC: &str = "tcp-cubic";
/// Figures are compared as they are shown: three digits.
const ROUNDED: f64 = 5e-4;

/// An aim and what became of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Aim {
    pub what: String,
    pub aim: String,
    /// Cells in which it was reached, of those in which it was measured.
    pub reached: usize,
    pub measured: usize,
    /// The cell that is farthest from it, and what was measured there.
    pub worst: String,
}

/// A direction and a bound.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// What is held against a bound, cell by cell: a number, and the words for it.
type Measured = Vec<(String, f64, String)>;

pub fn all(results: &Results) -> Vec<Aim> {
    let field = Field::of(results, Scene::Matrix);
    let mut aims = goodput(&field);
    aims.extend(rivals(&field));
    aims.extend(economy(&field));
    aims.extend(small_files(results));
    aims.extend(cpu(&field, "charged to programs", |summary| summary.cpu_per_gb()[2]));
    let field = Field::of(results, Scene::Cost);
    aims.extend(cpu(&field, "taken from the machine", |summary| summary.taken_cpu_per_gb()));
    aims
}

impl Aim {
    fn of(what: &str, aim: &str, bound: Bound, measured: Measured) -> Aim {
        let reached = |value: f64| match bound {
            Bound::AtLeast(least) => value >= least - ROUNDED,
            Bound::AtMost(most) => value <= most + ROUNDED,
        };
        let badness = |value: f64| if matches!(bound, Bound::AtLeast(_)) { -value } else { value };
        let worst = measured.iter().max_by(|(_, one, _), (_, other, _)| badness(*one).total_cmp(&badness(*other)));
        Aim {
            what: what.to_owned(),
            aim: aim.to_owned(),
            reached: measured.iter().filter(|(_, value, _)| reached(*value)).count(),
            measured: measured.len(),
            worst: worst.map_or(String::new(), |(cell, _, words)| format!("{words} ({cell})")),
        }
    }

    pub fn verdict(&self) -> String {
        match (self.reached, self.measured) {
            (_, 0) => "not measured".to_owned(),
            (reached, measured) if reached == measured => format!("reached, in all of {measured}"),
            (reached, measured) => format!("NOT reached: in {reached} of {measured}"),
        }
    }
}

/// In each cell that `of` picks, what `value` makes of a contender's summary there.
fn each(
    field: &Field<'_>,
    name: &str,
    of: impl Fn(&Cell) -> bool,
    value: impl Fn(&Summary<'_>) -> Option<(f64, String)>,
) -> Measured {
    let cells = field.cells.iter().filter(|cell| of(cell));
    let measured = cells.filter_map(|cell| {
        let (value, words) = value(&field.counted(cell, name)?)?;
        (!value.is_nan()).then(|| (cell.to_string(), value, words))
    });
    measured.collect()
}

fn up_to_one_percent(cell: &Cell) -> bool {
    cell.loss.share <= 0.01
}

fn goodput(field: &Field<'_>) -> Vec<Aim> {
    let share = |summary: &Summary<'_>| Some((summary.of_limit(), format!("{:.3}", summary.of_limit())));
    let mut aims = Vec::new();
    for name in [FIXED, AUTO] {
        let measured = each(field, name, up_to_one_percent, share);
        let what = format!("{name}, any round trip, loss up to 1 %");
        aims.push(Aim::of(&what, "≥ 0.97 of the limit", Bound::AtLeast(0.97), measured));
        let measured = each(field, name, |cell| !up_to_one_percent(cell) && cell.loss.share <= 0.05, share);
        let what = format!("{name}, any round trip, loss of 5 %");
        aims.push(Aim::of(&what, "≥ 0.93 of the limit", Bound::AtLeast(0.93), measured));
    }
    let measured = each(field, BBR, |cell| up_to_one_percent(cell) && cell.rtt_ms <= 100.0, share);
    let what = format!("{BBR}, up to 100 ms, loss up to 1 %");
    aims.push(Aim::of(&what, "≥ 0.93 of the limit", Bound::AtLeast(0.93), measured));
    aims
}

fn rivals(field: &Field<'_>) -> Vec<Aim> {
    let over = |name: &str, other: &str, of: &dyn Fn(&Cell) -> bool| {
        each(field, name, of, |summary| {
            let ratio = field.ratio(&summary.cell, name, other)?;
            Some((ratio, times(ratio)))
        })
    };
    let mut aims = Vec::new();
    for name in [FIXED, AUTO, BBR] {
        let measured = over(name, TCP_BBR, &|_| true);
        aims.push(Aim::of(&format!("{name} over {TCP_BBR}"), "never below 1.0×", Bound::AtLeast(1.0), measured));
        let long = |cell: &Cell| cell.rtt_ms >= 100.0;
        let measured = each(field, name, long, |summary| {
            let ratio = field.ratio(&summary.cell, name, TCP_BBR)?;
            let most = limit::goodput_bps(&summary.cell) / field.counted(&summary.cell, TCP_BBR)?.goodput_bps();
            Some((ratio, format!("{}, where the limit is {}", times(ratio), times(most))))
        });
        let what = format!("{name} over {TCP_BBR}, 100 ms and more");
        aims.push(Aim::of(&what, "≥ 1.2×", Bound::AtLeast(1.2), measured));
        let lossy = |cell: &Cell| cell.rtt_ms == 100.0 && cell.loss.share == 0.01 && cell.loss.burst.is_none();
        let measured = over(name, TCP_CUBIC, &lossy);
        let what = format!("{name} over {TCP_CUBIC}, 1 % loss at 100 ms");
        aims.push(Aim::of(&what, "≥ 100×", Bound::AtLeast(100.0), measured));
        let measured = each(
            field,
            name,
            |_| true,
            |summary| {
                let (rival, _) = field.best(&summary.cell, |name| !is_farwire(name))?;
                let ratio = field.ratio(&summary.cell, name, rival)?;
                Some((ratio, format!("{} of {rival}", times(ratio))))
            },
        );
        let what = format!("{name} over the best rival of the cell");
        aims.push(Aim::of(&what, "beaten in every cell", Bound::AtLeast(1.0), measured));
    }
    aims
}

pub fn is_farwire(name: &str) -> bool {
    name.starts_with("farwire-")
}

pub fn times(ratio: f64) -> String {
    match ratio {
        ..0.1 => format!("{ratio:.4}×"),
        ..10.0 => format!("{ratio:.2}×"),
        _ => format!("{ratio:.0}×"),
    }
}

fn economy(field: &Field<'_>) -> Vec<Aim> {
    let mut aims = Vec::new();
    for (name, trips) in [(FIXED, 2.0), (BBR, 8.0)] {
        let measured = each(
            field,
            name,
            |_| true,
            |summary| {
                let (took, resolution) = (summary.trips_to_90(), summary.trips_resolution());
                Some((took, format!("{took:.1} round trips, ± {resolution:.1}")))
            },
        );
        let aim = format!("≤ {trips} round trips");
        aims.push(Aim::of(&format!("{name}, time to 90 % of the limit"), &aim, Bound::AtMost(trips), measured));
    }
    for name in [FIXED, AUTO, BBR] {
        let measured = each(
            field,
            name,
            |_| true,
            |summary| {
                let (again, lost) = summary.sent_again_and_lost();
                Some((again - lost, format!("{} of packets, {} were lost", percent(again), percent(lost))))
            },
        );
        aims.push(Aim::of(&format!("{name}, sent twice"), "≤ losses + 2 %", Bound::AtMost(0.02), measured));
    }
    for name in [FIXED, AUTO] {
        let measured = each(field, name, up_to_one_percent, |summary| {
            let ms = summary.queue_ms(0.99);
            Some((ms, format!("{ms:.2} ms at {:.3} of the limit", summary.of_limit())))
        });
        let what = format!("{name}, queue at the bottleneck, p99");
        aims.push(Aim::of(&what, "≤ 10 ms", Bound::AtMost(10.0), measured));
    }
    aims
}

pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn small_files(results: &Results) -> Vec<Aim> {
    let field = Field::of(results, Scene::Tree);
    let aim = |name: &str| {
        let share = |summary: &Summary<'_>| {
            let (share, most) = (summary.of_limit(), tree::most_of_limit(&summary.cell));
            Some((share, format!("{share:.3}, where a round trip to connect and one for the answer leave {most:.3}")))
        };
        let what = format!("{name}, tree of small files over 100 ms");
        Aim::of(&what, "≥ 0.8 of the limit", Bound::AtLeast(0.8), each(&field, name, |_| true, share))
    };
    [FIXED, AUTO, BBR].map(aim).into()
}

/// Where TCP has the same rate: CPU time per byte beside the cheaper one of its two controllers.
fn cpu(field: &Field<'_>, how: &str, of: impl Fn(&Summary<'_>) -> f64) -> Vec<Aim> {
    let mut aims = Vec::new();
    for name in [FIXED, AUTO, BBR] {
        let measured = each(
            field,
            name,
            |_| true,
            |summary| {
                let tcp =
                    |other: &str| field.counted(&summary.cell, other).filter(|tcp| tcp.is_at_the_rate_of(summary));
                let costs = [TCP_BBR, TCP_CUBIC].into_iter().filter_map(|other| Some(of(&tcp(other)?)));
                let tcp = costs.filter(|cost| !cost.is_nan()).reduce(f64::min)?;
                let own = of(summary);
                Some((own / tcp, format!("{own:.2} s/GB, TCP {tcp:.2}")))
            },
        );
        let what = format!("{name}, CPU time per byte {how}, where TCP has the same rate");
        aims.push(Aim::of(&what, "≤ TCP's", Bound::AtMost(1.0), measured));
    }
    aims
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::super::record::tests::{job, record};
    use super::*;

    fn run(name: &str, rtt_ms: f64, loss: &str, mbit: f64) -> Record {
        record(job(Scene::Matrix, rtt_ms, loss, name, 1), mbit * 1e6)
    }

    fn find(records: Vec<Record>, what: &str) -> Aim {
        let aims = all(&Results { sittings: vec![], records });
        aims.iter().find(|aim| aim.what == what).unwrap_or_else(|| panic!("no {what:?} in {aims:#?}")).clone()
    }

    #[test]
    fn an_aim_names_its_worst_cell() {
        // The limit is 951.9 Mbit/s, and 942.4 at 1 %.
        let records = vec![run(FIXED, 2.0, "0", 930.0), run(FIXED, 100.0, "1%", 900.0), run(FIXED, 100.0, "5%", 1.0)];
        let aim = find(records.clone(), "farwire-fixed, any round trip, loss up to 1 %");
        assert_eq!((aim.reached, aim.measured), (1, 2));
        assert_eq!(aim.worst, "0.955 (100 ms, loss 1%, queue 1 BDP)");
        assert_eq!(aim.verdict(), "NOT reached: in 1 of 2");
        let aim = find(records.clone(), "farwire-fixed, any round trip, loss of 5 %");
        assert_eq!((aim.reached, aim.measured), (0, 1));
        let aim = find(records, "farwire-auto, any round trip, loss of 5 %");
        assert_eq!((aim.verdict().as_str(), aim.worst.as_str()), ("not measured", ""));
    }

    #[test]
    fn ratios_to_rivals() {
        let records = vec![
            run(BBR, 100.0, "1%", 900.0),
            run(TCP_BBR, 100.0, "1%", 800.0),
            run(TCP_CUBIC, 100.0, "1%", 2.0),
            run("srt", 100.0, "1%", 905.0),
            run(BBR, 2.0, "0", 950.0),
            run(TCP_BBR, 2.0, "0", 940.0),
        ];
        let find = |what: &str| find(records.clone(), what);
        assert_eq!(find("farwire-bbr over tcp-bbr").verdict(), "reached, in all of 2");
        assert_eq!(
            find("farwire-bbr over tcp-bbr, 100 ms and more").worst,
            "1.12×, where the limit is 1.18× (100 ms, loss 1%, queue 1 BDP)"
        );
        assert_eq!(find("farwire-bbr over tcp-cubic, 1 % loss at 100 ms").worst, "450× (100 ms, loss 1%, queue 1 BDP)");
        let best = find("farwire-bbr over the best rival of the cell");
        assert_eq!((best.reached, best.measured), (1, 2));
        assert!(best.worst.starts_with("0.99× of srt"), "{}", best.worst);
    }

    #[test]
    fn time_waste_and_cost() {
        let mut slow = run(FIXED, 100.0, "1%", 920.0);
        slow.link.as_mut().unwrap().ms_to_90 = Some(210.0);
        slow.flows[0].sent_again_share = Some(0.05);
        slow.flows[0].sender_cpu_seconds = 9.0;
        let records = vec![run(FIXED, 2.0, "0", 940.0), slow, run(TCP_BBR, 100.0, "1%", 900.0)];
        let find = |what: &str| find(records.clone(), what);
        let aim = find("farwire-fixed, time to 90 % of the limit");
        assert_eq!((aim.reached, aim.measured), (1, 2));
        assert_eq!(aim.worst, "2.1 round trips, ± 0.1 (100 ms, loss 1%, queue 1 BDP)");
        let aim = find("farwire-fixed, sent twice");
        assert!(
            (aim.reached, aim.measured) == (1, 2) && aim.worst.starts_with("5.00 % of packets, 1.00 % were"),
            "{aim:?}"
        );
        assert_eq!(find("farwire-fixed, queue at the bottleneck, p99").verdict(), "reached, in all of 2");
        let aim = find("farwire-fixed, CPU time per byte charged to programs, where TCP has the same rate");
        assert_eq!((aim.reached, aim.measured), (0, 1), "{aim:?}");
    }

    #[test]
    fn the_tree_is_held_against_the_limit() {
        let records = vec![record(job(Scene::Tree, 100.0, "0", BBR, 1), 8e8)];
        assert_eq!(
            find(records, "farwire-bbr, tree of small files over 100 ms").worst,
            "0.840, where a round trip to connect and one for the answer leave 0.808 (100 ms, loss 0%, queue 1 BDP)"
        );
    }
}
