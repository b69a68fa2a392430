//! Offloads that merge or change received frames before XDP sees them, as `ethtool -k` tells them.

use std::process::Command;

use super::{Finding, Level};

/// Offloads that matter, and why.
const MERGING: [(&str, &str, &str); 2] = [
    ("large-receive-offload", "lro", "it merges frames before XDP sees them"),
    ("rx-gro-hw", "rx-gro-hw", "the NIC merges frames before XDP sees them"),
];

/// Looks at the offloads of an interface.
pub fn look(name: &str, driver: &str, vlan: bool) -> Vec<Finding> {
    match Command::new("ethtool").args(["-k", name]).output() {
        Ok(output) if output.status.success() => judge(name, driver, vlan, &String::from_utf8_lossy(&output.stdout)),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            vec![Finding::warn("offloads", format!("ethtool can't tell: {said}"), format!("ethtool -k {name}"))]
        }
        Err(_) => vec![Finding::warn(
            "offloads",
            "ethtool is not installed, so the offloads are unknown",
            "apt-get install ethtool",
        )],
    }
}

fn judge(name: &str, driver: &str, vlan: bool, features: &str) -> Vec<Finding> {
    let on = |feature: &str| {
        features.lines().any(|line| line.trim().strip_prefix(feature).is_some_and(|rest| rest.starts_with(": on")))
    };
    let mut findings: Vec<Finding> = MERGING
        .iter()
        .filter(|(feature, ..)| on(feature))
        .map(|(feature, short, why)| {
            Finding::bad("offloads", format!("{feature} is on: {why}"), format!("ethtool -K {name} {short} off"))
        })
        .collect();
    // A veth passes an AF_XDP frame's own tag on as it is.
    if on("rx-vlan-offload") && driver != "veth" {
        let what = "rx-vlan-offload is on: the NIC takes the VLAN tag off before XDP sees it";
        let mend = format!("ethtool -K {name} rxvlan off");
        findings.push(if vlan {
            Finding::bad("offloads", what, mend)
        } else {
            Finding::ok("offloads", format!("{what}; that matters with --vlan only"))
        });
    }
    if findings.iter().all(|finding| finding.level == Level::Ok) {
        findings.push(Finding::ok("offloads", "none that merges frames is on (TSO and GRO do not touch our frames)"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: &str = "Features for eth1:\n\ttx-checksum-ipv4: on\nlarge-receive-offload: on\n\
                            rx-vlan-offload: on\nrx-gro-hw: off [requested on]\n";

    #[test]
    fn merging_offloads_are_found() {
        let findings = judge("eth1", "mlx5_core", false, FEATURES);
        let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.level == Level::Bad).collect();
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].mend.as_deref(), Some("ethtool -K eth1 lro off"));
    }

    #[test]
    fn a_stripped_tag_is_bad_where_there_is_one() {
        let strips = |driver, vlan| {
            let mends = |finding: &Finding| finding.mend.as_deref() == Some("ethtool -K eth1 rxvlan off");
            judge("eth1", driver, vlan, FEATURES).iter().any(mends)
        };
        assert!(strips("igb", true));
        assert!(!strips("igb", false));
        assert!(!strips("veth", true));
    }
}
