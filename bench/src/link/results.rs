//! The file of results: appended run by run, read again to go on where a sitting ended or to make its report.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::record::{Job, Record};

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
enum Line {
    Sitting(Sitting),
    Run(Box<Record>),
}

/// One start of the benchmark: who was there to be measured, and how the lab was set up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sitting {
    /// Seconds since 1970.
    pub at: i64,
    pub command: String,
    pub contenders: Vec<Presence>,
    /// Settings of the two hosts, as `sysctl` names them.
    pub hosts: Vec<String>,
}

/// Whether a contender could be measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Presence {
    pub name: String,
    /// Its version, and in a few words what it is.
    pub what: String,
    /// Why it is not there, and how to get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// All that was measured so far.
#[derive(Default, Debug)]
pub struct Results {
    pub sittings: Vec<Sitting>,
    pub records: Vec<Record>,
}

/// The open file.
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Results {
    /// What is in the file; a last line that was cut off is told of.
    pub fn read(path: &Path) -> anyhow::Result<Results> {
        let named = || path.display().to_string();
        let file = File::open(path).with_context(|| {
            format!("{}: no file of results that can be read; say one that `bench link` has made", path.display())
        })?;
        let found = Found::parse(BufReader::new(file)).with_context(named)?;
        found.warn(path);
        Ok(found.results)
    }

    /// Refuses to make a report of nothing.
    pub fn check_any(&self, path: &Path) -> anyhow::Result<()> {
        let path = path.display();
        ensure!(!self.records.is_empty(), "{path}: there is no run in it to report: --resume {path} makes some");
        Ok(())
    }

    /// The jobs that still have to be done; those that were done, well or badly, are not done again.
    pub fn left(&self, jobs: Vec<Job>) -> Vec<Job> {
        let done: HashSet<String> = self.records.iter().map(|record| record.job.key()).collect();
        jobs.into_iter().filter(|job| !done.contains(&job.key())).collect()
    }

    /// What was measured for another time span can't be added to.
    pub fn check_seconds(&self, jobs: &[Job]) -> anyhow::Result<()> {
        for job in jobs {
            let other = self.records.iter().find(|record| record.job.scene == job.scene);
            let Some(other) = other.filter(|other| other.job.seconds != job.seconds) else { continue };
            let (there, here) = (other.job.seconds, job.seconds);
            bail!(
                "the results to resume have runs of {there} s, and this sitting's are {here} s: say --seconds likewise"
            );
        }
        Ok(())
    }
}

/// What is in a file.
struct Found {
    results: Results,
    /// How many bytes of the file they take.
    whole: u64,
    /// The number of the last line, if the program was killed while it wrote that.
    cut: Option<usize>,
    /// The last line is whole but for its end.
    open: bool,
}

impl Found {
    fn parse(mut from: impl BufRead) -> anyhow::Result<Found> {
        let mut found = Found { results: Results::default(), whole: 0, cut: None, open: false };
        // Bytes, since a cut may go through a character.
        let mut text = Vec::new();
        for number in 1.. {
            text.clear();
            let length = from.read_until(b'\n', &mut text)? as u64;
            if length == 0 {
                break;
            }
            let last = from.fill_buf()?.is_empty();
            match serde_json::from_slice(&text) {
                Err(_) if !text.ends_with(b"\n") => found.cut = Some(number),
                // Somebody's editor has put an end to it.
                Err(error) if last && error.is_eof() => found.cut = Some(number),
                Ok(Line::Sitting(sitting)) => found.results.sittings.push(sitting),
                Ok(Line::Run(record)) => found.results.records.push(*record),
                Err(error) => bail!(
                    "line {number} is no result of `bench link` ({error}): put back what it was, or delete the line, \
                     and its run is run again with --resume"
                ),
            }
            found.whole += if found.cut.is_none() { length } else { 0 };
            found.open = found.cut.is_none() && !text.ends_with(b"\n");
        }
        Ok(found)
    }

    fn warn(&self, path: &Path) {
        if let Some(number) = self.cut {
            let path = path.display();
            eprintln!("{path}: line {number}, the last one, is incomplete and left out; --resume runs its run again");
        }
    }
}

impl Journal {
    /// A new file in a new directory.
    pub fn create(path: &Path) -> anyhow::Result<Journal> {
        if let Some(directory) = path.parent() {
            let refused = || format!("no directory can be made at {}; --out says where else", directory.display());
            std::fs::create_dir_all(directory).with_context(refused)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.with_context(|| {
            format!("{}: --resume goes on with what is there, --out says where else", path.display())
        })?;
        Ok(Journal { path: path.to_owned(), file })
    }

    /// An earlier sitting's file, and what is in it.
    pub fn resume(path: &Path) -> anyhow::Result<(Journal, Results)> {
        let named = || path.display().to_string();
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.with_context(|| {
            let path = path.display();
            format!("--resume {path}: no file of results that can be gone on with; say one, or leave --resume out")
        })?;
        let found = Found::parse(BufReader::new(&file)).with_context(named)?;
        ensure!(
            found.whole > 0 || found.cut.is_some(),
            "--resume {}: there is nothing in it to go on with; leave it out",
            path.display()
        );
        found.warn(path);
        // What comes next must not stand behind a fragment, nor in the same line.
        file.set_len(found.whole)?;
        file.seek(SeekFrom::End(0))?;
        if found.open {
            file.write_all(b"\n")?;
        }
        Ok((Journal { path: path.to_owned(), file }, found.results))
    }

    pub fn sitting(&mut self, sitting: &Sitting) -> anyhow::Result<()> {
        self.append(&Line::Sitting(sitting.clone()))
    }

    pub fn run(&mut self, record: &Record) -> anyhow::Result<()> {
        self.append(&Line::Run(Box::new(record.clone())))
    }

    fn append(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{job, record};
    use super::super::record::{Job, Scene};
    use super::*;

    fn sitting() -> Sitting {
        Sitting { at: 1, command: "bench link".into(), contenders: vec![], hosts: vec![] }
    }

    fn job_of(round: usize) -> Job {
        job(Scene::Matrix, 2.0, "0", "a", round)
    }

    #[test]
    fn a_sitting_goes_on_where_the_last_one_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/results.jsonl");
        let mut journal = Journal::create(&path).unwrap();
        journal.sitting(&sitting()).unwrap();
        journal.run(&record(job_of(1), 1e9)).unwrap();
        journal.file.write_all(br#"{"line":"run","scene":"mat"#).unwrap();
        assert!(Journal::create(&path).is_err(), "it must not be overwritten");

        let (mut journal, results) = Journal::resume(&path).unwrap();
        assert_eq!((results.sittings.len(), results.records.len()), (1, 1));
        assert_eq!(results.left(vec![job_of(1), job_of(2)]), [job_of(2)]);
        journal.sitting(&sitting()).unwrap();
        journal.run(&record(job_of(2), 1e9)).unwrap();
        let results = Results::read(&path).unwrap();
        assert_eq!((results.sittings.len(), results.records.len()), (2, 2));
        assert!(results.left(vec![job_of(1), job_of(2)]).is_empty());
    }

    #[test]
    fn runs_of_another_length_are_not_mixed_in() {
        let results = Results { sittings: vec![], records: vec![record(job_of(1), 1e9)] };
        results.check_seconds(&[job_of(2)]).unwrap();
        let error = results.check_seconds(&[Job { seconds: 2.0, ..job_of(2) }]).unwrap_err().to_string();
        assert!(error.contains("10 s") && error.contains("2 s"), "{error}");
    }

    /// A file of a sitting and a run, and its bytes.
    fn written(path: &Path) -> Vec<u8> {
        let mut journal = Journal::create(path).unwrap();
        journal.sitting(&Sitting { command: "bench link --out ä".into(), ..sitting() }).unwrap();
        journal.run(&record(job_of(1), 1e9)).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_last_line_that_was_cut_anywhere_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        let whole = written(&path);
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let letter = whole.iter().position(|byte| *byte == "ä".as_bytes()[0]).unwrap() + 1;
        // Also through a character, and where an editor has ended the line.
        let inside = [&whole[..], &whole[..letter]].concat();
        let ended = [&whole[..], &whole[first..whole.len() / 2], b"\n"].concat();
        let within = |end: usize| whole[..end].to_vec();
        let cuts =
            [(within(whole.len() - 9), 0, true), (within(first / 2), 0, true), (inside, 1, true), (ended, 1, true)];
        // One that lacks nothing but its end is whole.
        for (cut, records, is_cut) in cuts.into_iter().chain([(within(whole.len() - 1), 1, false)]) {
            std::fs::write(&path, &cut).unwrap();
            let found = Found::parse(&cut[..]).unwrap();
            assert_eq!(found.cut, is_cut.then_some(found.results.sittings.len() + records + 1));
            assert_eq!(Results::read(&path).unwrap().records.len(), records);
            assert_eq!(Results::read(&path).unwrap().check_any(&path).is_ok(), records > 0);
            let (mut journal, _) = Journal::resume(&path).unwrap();
            journal.run(&record(job_of(2), 1e9)).unwrap();
            let text = std::fs::read(&path).unwrap();
            let found = Found::parse(&text[..]).unwrap();
            assert_eq!((found.cut, found.whole, found.results.records.len()), (None, text.len() as u64, records + 1));
        }
    }

    #[test]
    fn what_is_no_result_is_named_by_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let whole = written(&path);
        for (broken, line) in [
            ([&b"{\"line\":\"ru\n"[..], &whole].concat(), 1),
            ([&whole, &b"{\"line\":\"nonsense\"}\n"[..]].concat(), 3),
        ] {
            std::fs::write(&path, broken).unwrap();
            for error in [Results::read(&path).err(), Journal::resume(&path).err()] {
                let error = format!("{:#}", error.unwrap());
                let told = error.contains(&format!("x: line {line} is")) && error.contains("delete the line");
                assert!(told, "{error}");
            }
        }
        std::fs::write(&path, "").unwrap();
        assert!(Journal::resume(&path).is_err());
    }
}
