//! A systemd unit as its text has it, and what of it can be put in force without systemd: the filter of system calls.

use std::collections::BTreeSet;
use std::process::Command;

use seccompiler::{BpfProgram, compile_from_json};
use serde_json::{Value, json};

/// `Setting=value` lines, in their order.
pub struct Unit(Vec<(String, String)>);

impl Unit {
    pub fn parse(text: &str) -> Unit {
        let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
        Unit(lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// All values of a setting.
    pub fn all(&self, setting: &str) -> Vec<&str> {
        let ours = self.0.iter().filter(|(key, _)| key == setting);
        ours.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a setting that is there once.
    pub fn one(&self, setting: &str) -> &str {
        let [value] = self.all(setting)[..] else { panic!("{setting} is not there once") };
        value
    }

    /// Capabilities as setpriv writes them: `-all,+net_raw,...`.
    pub fn capabilities(&self, setting: &str) -> String {
        let names = self.one(setting).split_whitespace().map(|name| name.trim_start_matches("CAP_").to_lowercase());
        std::iter::once("-all".to_owned()).chain(names.map(|name| format!("+{name}"))).collect::<Vec<_>>().join(",")
    }

    /// The system calls that its SystemCallFilter lines let through, in turn, as systemd reads them.
    pub fn system_calls(&self) -> BTreeSet<String> {
        let mut allowed = BTreeSet::new();
        for line in self.all("SystemCallFilter") {
            let (taken, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
            for name in names.split_whitespace().flat_map(members) {
                if taken {
                    allowed.remove(&name)
                } else {
                    allowed.insert(name)
                };
            }
        }
        allowed
    }

    /// SystemCallFilter, RestrictAddressFamilies and MemoryDenyWriteExecute as a filter; what it refuses gets EPERM.
    pub fn filter(&self) -> BpfProgram {
        let mut rules: Vec<Value> = Vec::new();
        for name in self.system_calls().iter().filter(|name| is_known(name)) {
            match name.as_str() {
                "socket" => rules.extend(
                    self.one("RestrictAddressFamilies")
                        .split_whitespace()
                        .map(|family| json!({ "syscall": name, "args": [compare(0, "eq", family_number(family))] })),
                ),
                "mmap" => rules.extend([0, libc::PROT_WRITE, libc::PROT_EXEC].map(|protection| {
                    let mask = json!({ "masked_eq": libc::PROT_WRITE | libc::PROT_EXEC });
                    json!({ "syscall": name, "args": [compare(2, mask, protection)] })
                })),
                "mprotect" | "pkey_mprotect" => {
                    let mask = json!({ "masked_eq": libc::PROT_EXEC });
                    rules.push(json!({ "syscall": name, "args": [compare(2, mask, 0)] }));
                }
                _ => rules.push(json!({ "syscall": name })),
            }
        }
        compiled(&rules).expect("the filter compiles")
    }
}

fn compare(index: u8, operator: impl Into<Value>, value: i32) -> Value {
    json!({ "index": index, "type": "dword", "op": operator.into(), "val": value })
}

fn family_number(name: &str) -> i32 {
    match name {
        "AF_UNIX" => libc::AF_UNIX,
        "AF_NETLINK" => libc::AF_NETLINK,
        "AF_XDP" => libc::AF_XDP,
        other => panic!("{other}: say here which number that is"),
    }
}

/// Some calls are not of this architecture.
fn is_known(name: &str) -> bool {
    compiled(&[json!({ "syscall": name })]).is_some()
}

fn compiled(rules: &[Value]) -> Option<BpfProgram> {
    let filter = json!({ "it": {
        "mismatch_action": { "errno": libc::EPERM }, "match_action": "allow", "filter": rules,
    } });
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
    let mut programs = compile_from_json(filter.to_string().as_bytes(), arch).ok()?;
    programs.remove("it")
}

/// A system call, or those of a group.
fn members(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().expect("it runs");
    assert!(output.status.success(), "{name}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(members).collect()
}
