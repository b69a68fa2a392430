//! The proof: a queue is really opened, for a moment.

use super::{Examination, Finding};
use crate::api::{Caps, Endpoint, Nic, OpenError, XdpError};

/// Opens the queue as it would be used and says which mode was granted, and what `judge` says of it.
pub fn open(examination: Examination, nic: &Nic, judge: impl Fn(&Caps) -> Option<Finding>) -> Vec<Finding> {
    let queue = examination.xdp.name();
    match Endpoint::open_xdp(examination.xdp, examination.endpoint) {
        Ok(endpoint) => granted(&endpoint, nic, judge),
        Err(OpenError::Xdp(XdpError::ProgramInUse { interface, program })) => vec![Finding::bad(
            "xdp",
            format!("another XDP program is attached to {interface}: {program}"),
            format!("stop its owner, or if nobody owns it: ip link set {interface} xdp off"),
        )],
        Err(OpenError::Xdp(XdpError::QueueInUse { holder, .. })) => vec![Finding::warn(
            "xdp",
            format!("{queue} is in use by {holder}, so nothing could be tried"),
            "stop it and ask again",
        )],
        Err(error) => {
            vec![Finding::bad("xdp", format!("{queue} can't be opened: {error}"), "see the findings above")]
        }
    }
}

fn granted(endpoint: &Endpoint, nic: &Nic, judge: impl Fn(&Caps) -> Option<Finding>) -> Vec<Finding> {
    let caps = endpoint.caps();
    let found = format!("{}: mode {}, MTU {}, {} frames", caps.name, caps.mode, caps.mtu, caps.frames);
    let mut findings = vec![match caps.mode {
        "zerocopy" | "copy" => Finding::ok("xdp", found),
        _ => Finding::warn(
            "xdp",
            format!("{found}: the kernel builds an skb for every frame before XDP sees it"),
            format!("a NIC whose driver has XDP; {} has none in this set-up", nic.driver),
        ),
    }];
    findings.extend(judge(caps));
    findings.extend(endpoint.notes().iter().map(|note| Finding::ok("xdp", note.to_string())));
    findings
}
