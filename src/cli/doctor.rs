//! `farwire doctor`.

use serde_json::json;

use super::exit::{self, Failure};
use super::flags::{self, Common, LinkKind};
use super::keys::Protection;
use super::privilege::{Files, Rights};
use super::stop::Stop;
use super::{open, show};
use crate::apps::doctor::{self, Examination, Finding, Level};

/// Looks, and shows each finding with the command that mends it.
pub fn run(flags: &flags::Doctor, stop: &Stop) -> Result<(), Failure> {
    let common = &flags.common;
    if common.link == LinkKind::Packet {
        return Err(Failure::usage("--link packet needs no doctor: it works with every Ethernet interface"));
    }
    let endpoint = Rights::new(Files::None, None, stop)?.at_open(open::config(common, None)?);
    let mut findings = doctor::machine(open::umem(common));
    findings.push(key(common));
    let interface = match open::interface(common) {
        Ok((interface, _)) => {
            let xdp = open::xdp(common, &interface);
            findings.extend(doctor::interface(Examination { xdp, endpoint, vlan: common.vlan.is_some() }));
            Some(interface)
        }
        Err(failure) => {
            let mend = Some("farwire doctor -i IFACE".to_owned());
            findings.push(Finding { check: "interface", level: Level::Bad, what: failure.message, mend });
            None
        }
    };
    tell(common, interface.as_deref(), &findings);
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
    match bad {
        0 => Ok(()),
        1 => Err(Failure::new(exit::LOCAL, "1 thing does not work like this; see above")),
        _ => Err(Failure::new(exit::LOCAL, format!("{bad} things do not work like this; see above"))),
    }
}

/// Whether connections would have a key. Without one the doctor goes on: it opens none.
fn key(common: &Common) -> Finding {
    let (level, what, mend) = match Protection::of_server(common, None) {
        Ok(keys @ Protection::Keys { .. }) => (Level::Ok, keys.describe(), None),
        Ok(Protection::Insecure) => (Level::Warn, show::NOT_ENCRYPTED.to_owned(), Some("farwire keygen FILE")),
        Err(none) if none.code == exit::USAGE => (Level::Warn, none.message, Some("farwire keygen FILE")),
        Err(bad) => (Level::Bad, bad.message, Some("mend that file, or name another one with --key")),
    };
    Finding { check: "key", level, what, mend: mend.map(str::to_owned) }
}

fn tell(common: &Common, interface: Option<&str>, findings: &[Finding]) {
    if common.json {
        let worst = doctor::worst(findings);
        let report = json!({ "command": "doctor", "interface": interface, "worst": worst, "findings": findings });
        return show::json(&report);
    }
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Bad => "BAD ",
        };
        show::out(format!("{mark}  {:<13} {}", finding.check, finding.what));
        if let Some(mend) = &finding.mend {
            show::out(format!("                    -> {mend}"));
        }
    }
}
