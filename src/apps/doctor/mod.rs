//! Can this machine and this NIC do it, and what should change?
//!
//! Decides: what is looked at, how bad each finding is, and which command mends it. Does not: change anything, or
//! print. Called by: `cli`. Invariant: a finding that is not fine says what to do about it.

mod machine;
mod nic;
mod offloads;
mod trial;
mod zerocopy;

use serde::Serialize;

use crate::api::{EndpointConfig, XdpConfig};

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Fine as it is.
    Ok,
    /// It works, and could work better; or it could not be looked at.
    Warn,
    /// It does not work like this.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// The command, or the step, that mends it.
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, what: what.into(), mend: None }
    }

    fn warn(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check, level: Level::Warn, what: what.into(), mend: Some(mend.into()) }
    }

    fn bad(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check, level: Level::Bad, what: what.into(), mend: Some(mend.into()) }
    }
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The queue as it would be opened.
    pub xdp: XdpConfig,
    /// The endpoint as it would be set up.
    pub endpoint: EndpointConfig,
    /// Frames are tagged.
    pub vlan: bool,
}

/// Looks at the machine alone.
pub fn machine(umem_bytes: u64) -> Vec<Finding> {
    let mut findings = vec![machine::kernel()];
    findings.extend(machine::capabilities());
    findings.extend([machine::memlock(umem_bytes), machine::huge_pages(), machine::cores()]);
    findings
}

/// Looks at an interface, and really opens a queue of it for a moment.
pub fn interface(examination: Examination) -> Vec<Finding> {
    let name = examination.xdp.interface.clone();
    let (mut findings, nic) = nic::look(&name, &examination.xdp);
    let Some(nic) = nic else { return findings };
    findings.extend(offloads::look(&name, &nic.driver, examination.vlan));
    findings.extend(nic::threaded_napi(&name, &nic.driver));
    let (choice, mode) = (zerocopy::choose(&nic, &examination.xdp), examination.xdp.mode);
    findings.push(zerocopy::explain(&choice, mode));
    findings.extend(trial::open(examination, &nic, |caps| zerocopy::missed(&choice, mode, caps)));
    findings
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}
