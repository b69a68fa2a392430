//! What must hold at any time, and what must hold when all is over.

use super::host::Host;
use super::scenario::Scenario;
use super::session::Side;
use crate::base::Nanos;
use crate::base::time::{NEVER, SECOND};
use crate::link::BURST;
use crate::proto::error::CloseReason;

/// Turns for nothing beside each turn that did something, at most …
const IDLE_PER_WORK: u64 = 4;
/// … and beside each second: timers, link retries, keep-alives.
const IDLE_PER_SECOND: u64 = 40;
/// … and at any rate: a link that takes nothing is asked again each millisecond, and is down for up to four seconds.
const IDLE_ANYWAY: u64 = 6_000;

/// A turn that found nothing to do asks for the next one when there will be something, not at once.
const SPINS: u64 = 3;

/// After each turn of a host: it does not spin.
///
/// # Errors
/// It does.
pub fn check_turn(index: usize, host: &Host) -> Result<(), String> {
    if host.spinning > SPINS {
        let spins = host.spinning;
        return Err(format!("host {index}: {spins} turns in a row did nothing and asked for the next one at once"));
    }
    Ok(())
}

/// During the trouble and after it: what a host holds stays within its bounds.
///
/// # Errors
/// What does not.
pub fn check_bounds(index: usize, host: &Host, scenario: &Scenario) -> Result<(), String> {
    host.engine.check().map_err(|error| format!("host {index}: {error}"))?;
    let audit = host.engine.audit();
    let plan = &scenario.hosts[index];
    let bounds = [
        ("frames that wait for the link", audit.waiting, 4 * BURST),
        ("connections", audit.connections, plan.proto.max_connections + plan.proto.max_half_open),
        ("frames being sent", audit.sending, plan.nic.frames),
    ];
    for (what, is, most) in bounds {
        if is > most {
            return Err(format!("host {index}: {is} {what}, {most} at most"));
        }
    }
    Ok(())
}

/// A connection has ended: for a reason that is one.
///
/// # Errors
/// Where it is none.
pub fn check_reason(side: &Side, torn: bool) -> Result<(), String> {
    let Some(reason) = side.closed() else { return Ok(()) };
    let broken = matches!(reason, CloseReason::Violation(_)) || matches!(reason, CloseReason::Peer { code: 1 | 4, .. });
    if broken || !torn && *reason != CloseReason::Finished {
        return Err(format!("{}closed: {reason}", side.picture()));
    }
    Ok(())
}

/// All is over: every frame is at home, and nothing is left of anything.
///
/// # Errors
/// What is not.
pub fn check_rest(index: usize, host: &Host, scenario: &Scenario, elapsed_ns: Nanos) -> Result<(), String> {
    if host.stopped_until == NEVER {
        return Ok(());
    }
    let (audit, rest) = (host.engine.audit(), &host.at_rest);
    let frames = audit.frames + host.engine.link().frames();
    if frames != scenario.hosts[index].nic.frames {
        let all = scenario.hosts[index].nic.frames;
        return Err(format!("host {index}: {frames} of {all} frames are at home; {audit:?}"));
    }
    let left = |audit: &crate::engine::audit::Audit| {
        (audit.sending, audit.streams, audit.conns, audit.connecting, audit.pending_ends, audit.endpoint.clone())
    };
    if left(&audit) != left(rest) {
        return Err(format!("host {index}: {audit:?} is left, {rest:?} was at the beginning"));
    }
    let (turns, idle) = host.turns;
    let most = IDLE_PER_WORK * (turns - idle) + IDLE_ANYWAY + IDLE_PER_SECOND * (elapsed_ns / SECOND);
    if idle > most {
        return Err(format!("host {index}: {idle} turns for nothing beside {} that were not", turns - idle));
    }
    Ok(())
}

/// All is over: no honest host sent beyond its credit.
///
/// # Errors
/// They did.
pub fn check_counters(index: usize, host: &Host, tampered: bool) -> Result<(), String> {
    let counters = host.engine.counters();
    if counters.drop_beyond_credit > 0 && !tampered {
        return Err(format!("host {index}: {} packets came beyond credit", counters.drop_beyond_credit));
    }
    Ok(())
}
