//! Callgrind's profile format, as far as this needs it: self cost by function, file and line; calls by caller.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

/// A place in the source: the function whose machine code it is in, the file it was written in, the line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub function: String,
    pub file: String,
    pub line: u32,
}

/// One function that called another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Call {
    pub caller: Place,
    pub callee: String,
}

/// Instructions, signed so that one profile can be subtracted from another.
#[derive(Clone, Default, Debug)]
pub struct Profile {
    /// Instructions of the code at a place itself.
    pub own: BTreeMap<Place, i64>,
    /// Instructions within what was called, and how often it was.
    pub calls: BTreeMap<Call, (i64, i64)>,
}

impl Profile {
    pub fn parse(text: &str) -> anyhow::Result<Profile> {
        let mut parser = Parser::default();
        for (number, line) in text.lines().enumerate() {
            parser.line(line).with_context(|| format!("line {}: {line:?}", number + 1))?;
        }
        Ok(parser.profile)
    }

    pub fn total(&self) -> i64 {
        self.own.values().sum()
    }

    /// The part whose callers `keeps` accepts, under the names of the functions alone: for a run with
    /// `--separate-callers`, in which a name is followed by those of all its callers, `'` between them.
    pub fn of_callers(&self, keeps: impl Fn(&str) -> bool) -> Profile {
        let alone = |chain: &str| chain.split('\'').next().unwrap_or_default().to_owned();
        let mut part = Profile::default();
        for (place, cost) in self.own.iter().filter(|(place, _)| keeps(&place.function)) {
            *part.own.entry(Place { function: alone(&place.function), ..place.clone() }).or_default() += cost;
        }
        for (call, (cost, count)) in self.calls.iter().filter(|(call, _)| keeps(&call.caller.function)) {
            let caller = Place { function: alone(&call.caller.function), ..call.caller.clone() };
            let entry = part.calls.entry(Call { caller, callee: alone(&call.callee) }).or_default();
            *entry = (entry.0 + cost, entry.1 + count);
        }
        part
    }

    pub fn minus(mut self, other: &Profile) -> Profile {
        for (place, cost) in &other.own {
            *self.own.entry(place.clone()).or_default() -= cost;
        }
        for (call, (cost, count)) in &other.calls {
            let entry = self.calls.entry(call.clone()).or_default();
            *entry = (entry.0 - cost, entry.1 - count);
        }
        self
    }
}

#[derive(Default)]
struct Parser {
    profile: Profile,
    /// Names are written once and then referred to by number: files and functions have tables of their own.
    files: BTreeMap<u32, String>,
    functions: BTreeMap<u32, String>,
    /// The function that costs belong to, the file of the next costs, and the line that numbers are relative to.
    at: Option<Place>,
    callee: String,
    /// A `calls=` line was read: the next costs are those of the call.
    calling: Option<i64>,
}

impl Parser {
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        if let Some((key, value)) = line.split_once('=') {
            return self.assign(key, value);
        }
        if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            return self.cost(line);
        }
        Ok(())
    }

    fn assign(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        match key {
            "fl" | "fi" | "fe" => {
                let file = name(&mut self.files, value)?;
                let place =
                    self.at.get_or_insert_with(|| Place { function: String::new(), file: String::new(), line: 0 });
                place.file = file;
            }
            "fn" => {
                let function = name(&mut self.functions, value)?;
                self.at.as_mut().context("fn before fl")?.function = function;
            }
            "cfi" | "cfl" => {
                name(&mut self.files, value)?;
            }
            "cfn" => self.callee = name(&mut self.functions, value)?,
            "calls" => {
                let count = value.split(' ').next().unwrap_or_default();
                self.calling = Some(count.parse().context("number of calls")?);
            }
            _ => {}
        }
        Ok(())
    }

    fn cost(&mut self, line: &str) -> anyhow::Result<()> {
        let place = self.at.as_mut().context("cost before fn")?;
        let (position, cost) = line.split_once(' ').unwrap_or((line, "0"));
        place.line = match position.split_at(1) {
            ("*", _) => place.line,
            ("+", more) => place.line + more.parse::<u32>()?,
            ("-", less) => place.line.checked_sub(less.parse()?).context("line below 0")?,
            _ => position.parse()?,
        };
        let cost: i64 = cost.trim().parse().context("cost")?;
        match self.calling.take() {
            None => *self.profile.own.entry(place.clone()).or_default() += cost,
            Some(count) => {
                let call = Call { caller: place.clone(), callee: self.callee.clone() };
                let entry = self.profile.calls.entry(call).or_default();
                *entry = (entry.0 + cost, entry.1 + count);
            }
        }
        Ok(())
    }
}

/// `(7) name` defines, `(7)` refers.
fn name(table: &mut BTreeMap<u32, String>, value: &str) -> anyhow::Result<String> {
    let Some((number, rest)) = value.strip_prefix('(').and_then(|value| value.split_once(')')) else {
        return Ok(value.to_owned());
    };
    let number = number.parse().context("name number")?;
    let rest = rest.trim();
    if !rest.is_empty() {
        table.insert(number, rest.to_owned());
    }
    let known = table.get(&number).cloned();
    ensure!(known.is_some(), "name {number} was never defined");
    Ok(known.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version: 1\nevents: Ir\n\nfl=(1) a.rs\nfn=(1) one\n10 5\n+2 7\nfi=(2) b.rs\n\
                        -3 1\nfe=(1)\ncfi=(3) c.rs\ncfn=(2) two\ncalls=3 40\n* 100\n\nfl=(3)\nfn=(2)\n40 100\n";

    #[test]
    fn reads_relative_lines_inlined_files_and_calls() {
        let profile = Profile::parse(TEXT).unwrap();
        assert_eq!(profile.total(), 113);
        let place = |function: &str, file: &str, line| Place { function: function.into(), file: file.into(), line };
        assert_eq!(profile.own[&place("one", "a.rs", 12)], 7);
        assert_eq!(profile.own[&place("one", "b.rs", 9)], 1);
        let call = Call { caller: place("one", "a.rs", 9), callee: "two".into() };
        assert_eq!(profile.calls[&call], (100, 3));
        assert_eq!(profile.clone().minus(&profile).total(), 0);
    }

    #[test]
    fn tells_callers_apart() {
        let text = "fl=(1) a.rs\nfn=(1) work'left'main\n10 5\ncfn=(2) more'work'left'main\ncalls=1 40\n* 9\n\
                    fn=(3) work'right'main\n10 2\nfn=(4) more'work'left'main\n40 9\n";
        let profile = Profile::parse(text).unwrap();
        let left = profile.of_callers(|chain| chain.contains("left"));
        assert_eq!((profile.total(), left.total()), (16, 14));
        let work = Place { function: "work".into(), file: "a.rs".into(), line: 10 };
        assert_eq!(left.own[&work], 5);
        assert_eq!(left.calls[&Call { caller: work, callee: "more".into() }], (9, 1));
    }

    #[test]
    fn refuses_a_name_that_was_never_defined() {
        assert!(Profile::parse("fl=(1) a\nfn=(9)\n").is_err());
    }
}
