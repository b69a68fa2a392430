//! What the kernel says about the rights of a process: of each of its threads, since each has its own.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// `/proc/PID/task/TID/status`.
#[derive(Debug)]
pub struct Status(BTreeMap<String, String>);

/// Every thread of a process.
pub fn threads(pid: u32) -> Vec<Status> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let read = |path| fs::read_to_string(path).ok();
    let texts = tasks.filter_map(|task| read(task.unwrap().path().join("status")));
    texts.map(|text| Status(text.lines().filter_map(|line| line.split_once(':')).map(owned).collect())).collect()
}

fn owned((field, value): (&str, &str)) -> (String, String) {
    (field.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Whether other processes of its user are kept from its memory: what it has in /proc belongs to root then. Says
/// something only about processes that are not root's.
pub fn is_closed_to_its_user(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}/environ")).expect("it runs").uid() == 0
}

/// The longest core dump that the process could leave, as `ulimit -c` has it: soft and hard limit.
pub fn core_limits(pid: u32) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

impl Status {
    pub fn text(&self, field: &str) -> &str {
        &self.0[field]
    }

    /// Permitted, effective, inheritable and ambient capabilities.
    pub fn capabilities(&self) -> [u64; 4] {
        ["CapPrm", "CapEff", "CapInh", "CapAmb"].map(|set| self.set(set))
    }

    pub fn bounding(&self) -> u64 {
        self.set("CapBnd")
    }

    fn set(&self, field: &str) -> u64 {
        u64::from_str_radix(self.text(field), 16).unwrap()
    }

    /// Real, effective, saved and file system ids are all this one.
    pub fn is_wholly(&self, uid: u32, gid: u32) -> bool {
        let four = |id: u32| [id.to_string().as_str(); 4].join(" ");
        self.text("Uid") == four(uid) && self.text("Gid") == four(gid)
    }
}
