//! Who is measured, and whether they are there.

use std::process::Command;

use anyhow::{Context, ensure};

use super::results::Presence;
use super::stage::Tools;
use crate::rivals;

/// Someone who moves bytes from a to b.
#[derive(Clone, Debug)]
pub struct Contender {
    pub name: String,
    pub what: String,
    /// Why it can't be measured here.
    pub missing: Option<String>,
    pub kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `farwire perf` with these flags for the sender; a receiver takes what comes.
    Farwire(Vec<String>),
    /// iperf3 over the kernel's TCP with this congestion control.
    Tcp(&'static str),
    /// A library behind `bench rival`.
    Rival,
}

/// Everybody, here or not, in the order of the report's tables.
pub fn all(tools: &Tools, rate_bps: u64) -> Vec<Contender> {
    let mut all: Vec<Contender> = farwires(rate_bps).into_iter().map(|contender| contender.sought(tools)).collect();
    all.extend(["bbr", "cubic"].map(tcp));
    all.extend(rivals::list().into_iter().map(rival));
    all
}

fn farwires(rate_bps: u64) -> [Contender; 4] {
    let rate = rate_bps.to_string();
    [
        ("fixed", "the sender is told the link's rate", vec!["--rate", &rate]),
        ("auto", "the sender measures the link's rate first", vec!["--rate", "auto"]),
        ("bbr", "BBR", vec!["--cc", "bbr"]),
        ("cubic", "CUBIC", vec!["--cc", "cubic"]),
    ]
    .map(|(name, what, flags)| Contender {
        name: format!("farwire-{name}"),
        what: what.to_owned(),
        missing: None,
        kind: Kind::Farwire(flags.into_iter().map(str::to_owned).collect()),
    })
}

fn tcp(control: &'static str) -> Contender {
    let version = first_line(Command::new("iperf3").arg("--version"));
    let offered = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default();
    let missing = match &version {
        Err(error) => Some(format!("{error:#}; tools/setup --bench installs iperf3")),
        Ok(_) if offered.split_whitespace().any(|name| name == control) => None,
        Ok(_) => Some(format!("this kernel offers TCP only with {}: modprobe tcp_{control}", offered.trim())),
    };
    let version = version.unwrap_or_else(|_| "iperf3".to_owned());
    let version = version.split(" (").next().unwrap_or_default();
    let what = format!("the kernel's TCP {}, {version}", control.to_uppercase());
    Contender { name: format!("tcp-{control}"), what, missing, kind: Kind::Tcp(control) }
}

fn rival(entry: rivals::Entry) -> Contender {
    let rivals::Entry { rival, library, missing } = entry;
    Contender { name: rival.to_owned(), what: library, missing, kind: Kind::Rival }
}

impl Contender {
    pub fn is_farwire(&self) -> bool {
        matches!(self.kind, Kind::Farwire(_))
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self.kind, Kind::Tcp(_))
    }

    pub fn presence(&self) -> Presence {
        Presence { name: self.name.clone(), what: self.what.clone(), missing: self.missing.clone() }
    }

    /// A rival in C++ is compiled before its first run, so that none waits for it; one that can't be is missing.
    pub fn built(mut self, tools: &Tools) -> Contender {
        if self.kind == Kind::Rival && self.missing.is_none() {
            let built = first_line(Command::new(&tools.bench).args(["rival", &self.name, "build"]));
            self.missing = built.err().map(|error| format!("{error:#}"));
        }
        self
    }

    /// With what the program at hand says to its flags: its help if it knows them.
    fn sought(mut self, tools: &Tools) -> Contender {
        let Kind::Farwire(flags) = &self.kind else { return self };
        let version = first_line(Command::new(&tools.farwire).arg("--version"));
        let mut asked = Command::new(&tools.farwire);
        asked.arg("perf").args(flags).args(&tools.flags).arg("--help");
        let known = version.and_then(|version| first_line(&mut asked).map(|_| version));
        match known {
            Ok(version) => self.what = format!("{version}: {}", self.what),
            Err(error) => self.missing = Some(format!("{error:#}")),
        }
        self
    }
}

/// The first line of what a command prints; an error is the first that it complains in.
fn first_line(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    let first = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
    ensure!(output.status.success(), "{}", first(&output.stderr));
    Ok(first(&output.stdout))
}

/// Those that the user chose: by name, or by what names begin with, or all.
pub fn choose(all: Vec<Contender>, chosen: &[String]) -> anyhow::Result<Vec<Contender>> {
    if chosen.is_empty() || chosen.iter().any(|choice| choice == "all") {
        return Ok(all);
    }
    for choice in chosen {
        let names = || all.iter().map(|contender| contender.name.as_str()).collect::<Vec<_>>().join(", ");
        let known = all.iter().any(|contender| contender.name.starts_with(choice.as_str()));
        ensure!(known, "--contenders {choice}: nobody is called so; there are {}", names());
    }
    let is_chosen = |name: &str| {
        let exact = chosen.iter().any(|choice| choice == name);
        // "farwire-bbr" is one, not the beginning of many.
        let begins =
            |choice: &&String| name.starts_with(choice.as_str()) && !all.iter().any(|one| one.name == **choice);
        exact || chosen.iter().any(|choice| begins(&choice))
    };
    Ok(all.iter().filter(|contender| is_chosen(&contender.name)).cloned().collect())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn contenders() -> Vec<Contender> {
        let rival = |name: &str| Contender {
            name: name.to_owned(),
            what: "a library".to_owned(),
            missing: None,
            kind: Kind::Rival,
        };
        let mut all = farwires(1_000_000_000).to_vec();
        all.extend(
            ["bbr", "cubic"].map(|control| Contender { kind: Kind::Tcp(control), ..rival(&format!("tcp-{control}")) }),
        );
        all.extend(["quinn-cubic", "quinn-bbr", "srt", "srt-maxbw"].map(rival));
        all
    }

    fn chosen(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose(contenders(), &names).unwrap().into_iter().map(|contender| contender.name).collect()
    }

    #[test]
    fn contenders_are_chosen_by_name_or_family() {
        assert_eq!(chosen(&[]).len(), 10);
        assert_eq!(chosen(&["tcp", "farwire-bbr"]), ["farwire-bbr", "tcp-bbr", "tcp-cubic"]);
        assert_eq!(chosen(&["srt"]), ["srt"]);
        assert_eq!(chosen(&["quinn-"]), ["quinn-cubic", "quinn-bbr"]);
        let error = choose(contenders(), &["udt".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("udt") && error.contains("quinn-bbr"), "{error}");
    }

    #[test]
    fn what_is_missing_says_so() {
        let tools = Tools { farwire: "./gone".into(), bench: "./gone".into(), ..Tools::default() };
        let first = all(&tools, 1_000_000_000).remove(0);
        let unbuilt = Contender { kind: Kind::Rival, missing: None, ..first.clone() }.built(&tools);
        for contender in [first, unbuilt] {
            assert!(contender.missing.as_ref().is_some_and(|why| why.contains("./gone")), "{contender:?}");
        }
    }
}
