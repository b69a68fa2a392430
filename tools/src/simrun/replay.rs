//! One world, told.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use farwire::sim::{Outcome, Scenario, Trace};
use serde_json::json;

use crate::caught;

/// Tells all of a world, or only the last lines of what happens in it. Whether it ended well.
///
/// # Errors
/// Nobody takes the words.
pub fn replay(seed: u64, last: Option<usize>, json: bool) -> io::Result<bool> {
    let scenario = Scenario::draw(seed);
    if json {
        let outcome = caught::live(seed, Trace::default());
        println!("{}", to_json(&outcome, &scenario));
        return Ok(outcome.violation.is_none());
    }
    let mut out = BufWriter::new(io::stdout());
    write!(out, "{scenario}\n\n      time in s what happens\n")?;
    let told = Arc::new(Mutex::new(Told { out, last, kept: VecDeque::new(), broken: None }));
    let listener = told.clone();
    let tell = move |line: &str| listener.lock().unwrap_or_else(PoisonError::into_inner).tell(line);
    let outcome = caught::live(seed, Trace::told_to(Box::new(tell)));
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.finish()?;
    writeln!(told.out, "\n{}", verdict(&outcome))?;
    told.out.flush()?;
    Ok(outcome.violation.is_none())
}

/// What has been told, and to whom.
struct Told {
    out: BufWriter<io::Stdout>,
    last: Option<usize>,
    kept: VecDeque<String>,
    broken: Option<io::Error>,
}

impl Told {
    fn tell(&mut self, line: &str) {
        match self.last {
            None if self.broken.is_none() => self.broken = writeln!(self.out, "{line}").err(),
            None => {}
            Some(last) => {
                self.kept.push_back(line.to_owned());
                if self.kept.len() > last {
                    self.kept.pop_front();
                }
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.kept.drain(..).try_for_each(|line| writeln!(self.out, "{line}"))
    }
}

fn verdict(outcome: &Outcome) -> String {
    let lived = format!(
        "seed {}: {:.6} s, {} turns, {} events, fingerprint {:016x}",
        outcome.seed,
        outcome.elapsed_ns as f64 / 1e9,
        outcome.turns,
        outcome.events,
        outcome.fingerprint
    );
    match &outcome.violation {
        None => format!("{lived}\nAll is well."),
        Some(violation) => format!("{lived}\nWRONG: {violation}"),
    }
}

fn to_json(outcome: &Outcome, scenario: &Scenario) -> serde_json::Value {
    json!({
        "seed": outcome.seed,
        "scenario": scenario.to_string(),
        "elapsed_ns": outcome.elapsed_ns,
        "turns": outcome.turns,
        "events": outcome.events,
        "fingerprint": format!("{:016x}", outcome.fingerprint),
        "violation": outcome.violation,
    })
}
