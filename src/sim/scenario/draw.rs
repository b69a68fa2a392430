//! A scenario from its seed.

use super::{Fault, PathPlan, Scenario, SessionPlan};
use crate::base::time::{MICROSECOND, MILLISECOND, SECOND};
use crate::base::{Dice, Nanos, Rate};
use crate::crypto::{Cipher, Key, Keyring, NamedKey, Rekey};
use crate::link::impair::{Burst, Change, Profile, Queue, Reorder, What};
use crate::proto::config::{Config, Security};
use crate::proto::recovery::Algorithm;
use crate::sim::host::HostPlan;
use crate::sim::nic::NicPlan;

/// Silence after which a connection is given up: as in production.
const IDLE_TIMEOUT_NS: Nanos = 30 * SECOND;
/// No fault keeps two hosts apart for longer: a connection that is given up would say nothing.
const APART_MOST_NS: Nanos = 8 * SECOND;
/// Where somebody dies or forgets, silence is noticed sooner, so that worlds end.
const SHORT_TIMEOUT_NS: Nanos = 3 * SECOND;
/// Bytes of a bulk stream: this many at least, so many round trips of the link …
const BULK_RTTS: f64 = 40.0;
const BULK_LEAST: u64 = 100_000;
/// … but no more than a world may cost: a second for the large one, seldom.
const BULK_MOST: [u64; 4] = [1_000_000, 1_000_000, 3_000_000, 30_000_000];
/// The deepest queue holds this part of a second: with one of seconds, openings come after their hosts gave them up.
const DEEPEST: u64 = 4;
/// Segments that any connection may have under way, however small the pools are.
const LEAST_WINDOW: u64 = 4;

impl Scenario {
    /// The scenario of a seed.
    pub fn draw(seed: u64) -> Scenario {
        let mut dice = Dice::new(seed);
        let count = if dice.hits(20) { 20 } else { dice.pick(&[2, 2, 2, 2, 2, 3, 4, 7]) };
        let rtt_ns = dice.spread(5e3, 3e8) as Nanos;
        let rate = Rate::nearest(dice.spread(1e6, 1e11));
        let mtu = dice.pick(&[256, 1500, 1500, 1500, 9000]);
        let trouble_ns = dice.pick(&[1, 20, 100, 300, 3000]) * MILLISECOND + 5 * rtt_ns;
        let paths = paths(&mut dice, count, (rate, rtt_ns, mtu), trouble_ns);
        let bulk = bulk(&mut dice, count, rate, rtt_ns);
        let sessions = sessions(&mut dice, count, bulk, trouble_ns);
        let faults = faults(&mut dice, count, trouble_ns);
        let hosts = (0..count).map(|_| host(&mut dice, mtu, rate)).collect();
        let mut scenario = Scenario { seed, hosts, paths, trouble_ns, sessions, faults, sealed: false, patience_ns: 0 };
        let lasting = |fault: &Fault| matches!(fault, Fault::Die { .. } | Fault::Crash { .. });
        let timeout_ns = if scenario.has(lasting) { SHORT_TIMEOUT_NS + 20 * rtt_ns } else { IDLE_TIMEOUT_NS };
        for host in &mut scenario.hosts {
            host.proto.idle_timeout_ns = timeout_ns;
            host.proto.keep_alive_ns = timeout_ns / 3;
        }
        keys(&mut dice, &mut scenario);
        scenario.patience_ns = patience_ns(&scenario);
        scenario
    }
}

/// Keys in two worlds of three: one for all, and packet keys that are replaced often.
fn keys(dice: &mut Dice, scenario: &mut Scenario) {
    scenario.sealed = !dice.hits(333);
    if !scenario.sealed {
        return;
    }
    let mut secret = [0; 32];
    secret.iter_mut().for_each(|byte| *byte = dice.draw() as u8);
    let keyring = Keyring::new(NamedKey::new("all", Key::from_bytes(secret)));
    for host in &mut scenario.hosts {
        host.proto.security = Security::Keys(keyring.clone());
        host.proto.cipher = dice.pick(&[Cipher::Aes256Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305]);
        // A new key asks for a sign of it, and the sign and its answer are packets, too: with a key for every other
        // packet, or every round trip, both sides would ask each other for ever, as fast as a slow link carries.
        let often = Rekey { packets: dice.pick(&[8, 30, 1000]), after_ns: dice.spread(1e7, 1e10) as Nanos };
        host.proto.rekey = if dice.hits(600) { often } else { Rekey::default() };
    }
}

/// What everything may take once the trouble is over: timers that had backed off as far as they may, each byte many
/// times over the slowest path, round trips for windows to grow and for the smallest windows to pass everything, and
/// the pauses of slow readers.
fn patience_ns(scenario: &Scenario) -> Nanos {
    let streams: usize = scenario.sessions.iter().map(|session| session.opens[0].len() + session.opens[1].len()).sum();
    let bulk: u64 = scenario.sessions.iter().filter_map(|session| session.bulk).sum();
    let bytes = bulk + 2 * 300_000 * streams as u64;
    let carried_ns = (bytes as f64 * 8e9 / scenario.slowest_bps() as f64) as Nanos;
    let smallest_window = scenario.hosts.iter().map(|host| LEAST_WINDOW * host.nic.mtu as u64).min().unwrap_or(1);
    let stays_ns = scenario.sessions.iter().map(|session| session.stays_ns).max().unwrap_or(0);
    120 * SECOND + stays_ns + 20 * carried_ns + (500 + bytes / smallest_window) * scenario.longest_rtt_ns()
}

fn bulk(dice: &mut Dice, hosts: usize, rate: Rate, rtt_ns: Nanos) -> u64 {
    let bytes = rate.bps() as f64 / 8e9 * rtt_ns as f64 * BULK_RTTS;
    (bytes as u64).clamp(BULK_LEAST, dice.pick(&BULK_MOST) / hosts as u64 * 2)
}

/// Everybody to host 0 and back, and in small worlds everybody to everybody.
fn paths(dice: &mut Dice, count: usize, (rate, rtt_ns, mtu): (Rate, Nanos, usize), trouble_ns: Nanos) -> Vec<PathPlan> {
    let mut paths = Vec::new();
    let star = count > 4;
    for from in 0..count {
        for to in 0..count {
            if from == to || star && from != 0 && to != 0 {
                continue;
            }
            let queue = match dice.below(4) {
                0 => Queue::Bytes(8 * (mtu as u64 + 38)),
                1 => Queue::Bytes(rate.bps() / 8 / DEEPEST),
                _ => Queue::Auto,
            };
            // Not every way back is as fast as the way there.
            let rate = if dice.hits(100) { Rate::nearest((rate.bps() as f64 / 20.0).max(1e6)) } else { rate };
            let calm = Profile { rate: Some(rate), delay_ns: rtt_ns / 2, queue, ..Profile::default() };
            // The way back may be clean, or worse.
            let trouble = if dice.hits(200) { calm.clone() } else { trouble(dice, &calm, trouble_ns) };
            paths.push(PathPlan { from, to, trouble, calm });
        }
    }
    paths
}

/// Each kind of trouble in half of the paths, for up to a tenth of the frames.
fn trouble(dice: &mut Dice, calm: &Profile, trouble_ns: Nanos) -> Profile {
    let rough = dice.pick(&[0, 10, 50, 100]);
    let mut part = || if dice.hits(500) { dice.below(rough + 1) as f64 / 1000.0 } else { 0.0 };
    let [loss, late, duplicate, corrupt, bad] = [part(), part(), part(), part(), part()];
    let least_ns = 1 + dice.below(MILLISECOND);
    let reorder = Reorder { share: late, least_ns, most_ns: least_ns + dice.below(5 * MILLISECOND) };
    let burst = Burst { share: bad, mean_len: dice.pick(&[1.5, 5.0, 20.0]) };
    let mut schedule = Vec::new();
    if dice.hits(250) {
        let for_ns = 1 + dice.below(trouble_ns.min(APART_MOST_NS / 4));
        schedule.push(Change { at_ns: dice.below(trouble_ns), what: What::Outage { for_ns } });
    }
    if let (true, Some(rate)) = (dice.hits(250), calm.rate) {
        let other = Rate::nearest((rate.bps() as f64 * dice.spread(0.1, 4.0)).max(1e5));
        schedule.push(Change { at_ns: 1 + dice.below(trouble_ns), what: What::Rate(other) });
    }
    Profile {
        loss,
        duplicate,
        corrupt,
        jitter_ns: if dice.hits(300) { dice.below(5 * MILLISECOND) } else { 0 },
        reorder: (late > 0.0).then_some(reorder),
        burst: (bad > 0.0).then_some(burst),
        schedule,
        ..calm.clone()
    }
}

fn sessions(dice: &mut Dice, hosts: usize, bulk: u64, trouble_ns: Nanos) -> Vec<SessionPlan> {
    let streams = dice.pick(&[1, 3, 8, 20]);
    let count = if hosts == 2 { dice.pick(&[1, 1, 2, 3]) } else { hosts as u64 + dice.below(3) };
    (0..count)
        .map(|index| {
            let client = 1 + (index as usize % (hosts - 1));
            let ends = if dice.hits(700) { [client, 0] } else { [0, client] };
            let mut opens = |least: u64| -> Vec<Nanos> {
                (0..least.max(dice.below(streams + 1))).map(|_| dice.below(20 * MILLISECOND)).collect()
            };
            let opens = [opens(1), opens(0)];
            SessionPlan {
                hosts: ends,
                at_ns: if index == 0 { 0 } else { dice.below(trouble_ns) },
                opens,
                rude: dice.hits(200).then(|| (dice.below(2) as usize, dice.below(trouble_ns))),
                early: [dice.hits(500), dice.hits(500)],
                stays_ns: if dice.hits(100) { dice.spread(1e9, 1e12) as Nanos } else { 0 },
                bulk: dice.hits(400).then_some(bulk),
            }
        })
        .collect()
}

fn faults(dice: &mut Dice, hosts: usize, trouble_ns: Nanos) -> Vec<(Nanos, Fault)> {
    let mut faults = Vec::new();
    let mut now_and_then = |in_thousand: u64, make: &mut dyn FnMut(&mut Dice, usize) -> Fault| {
        if dice.hits(in_thousand) {
            let (at_ns, host) = (dice.below(trouble_ns), dice.below(hosts as u64) as usize);
            faults.push((at_ns, make(dice, host)));
        }
    };
    let short_ns = APART_MOST_NS / 4;
    for _ in 0..2 {
        now_and_then(150, &mut |dice, host| Fault::Jam { host, for_ns: 1 + dice.below(trouble_ns.min(short_ns)) });
        now_and_then(150, &mut |dice, host| Fault::Stop { host, for_ns: 1 + dice.below(trouble_ns.min(short_ns)) });
        now_and_then(60, &mut |dice, host| Fault::Jump { host, by_ns: dice.spread(1e3, 1e11) as Nanos });
    }
    now_and_then(40, &mut |_, host| Fault::Die { host });
    now_and_then(60, &mut |_, host| Fault::Crash { host });
    now_and_then(60, &mut |dice, host| Fault::Flood { host, opens: 1 + dice.below(500) });
    for _ in 0..20 {
        now_and_then(100, &mut |dice, _| Fault::Replay { place: dice.draw() });
        now_and_then(50, &mut |dice, _| Fault::Forge { dice: dice.draw() });
    }
    if dice.hits(60) {
        for _ in 0..1 + dice.below(20) {
            faults.push((dice.below(trouble_ns), Fault::Tamper { dice: dice.draw() }));
        }
    }
    faults.sort_by_key(|(at_ns, _)| *at_ns);
    faults
}

fn host(dice: &mut Dice, mtu: usize, rate: Rate) -> HostPlan {
    let rx_ring = dice.pick(&[64, 128, 1024]);
    let frames = rx_ring + 128 + dice.pick(&[100, 128, 300, 2000, 16_000]);
    let completes_ns = dice.pick(&[(0, 0), (0, 0), (0, 100 * MICROSECOND), (MILLISECOND, 5 * MILLISECOND)]);
    let mtu = if dice.hits(50) { dice.pick(&[mtu.min(256), mtu.min(1000)]) } else { mtu };
    let nic = NicPlan { frames, rx_ring, tx_ring: dice.pick(&[4, 64, 2048]), mtu, completes_ns };
    let told = Rate::nearest(rate.bps() as f64 * dice.pick(&[0.5, 0.95, 1.2]));
    let proto = Config {
        algorithm: dice.pick(&[
            Algorithm::Bbr,
            Algorithm::Bbr,
            Algorithm::Auto,
            Algorithm::Cubic,
            Algorithm::Reno,
            Algorithm::Fixed(told),
        ]),
        max_streams: dice.pick(&[1, 3, 8, 1024]),
        require_cookie: dice.hits(300),
        max_connections: dice.pick(&[1, 4, 256, 256]),
        max_half_open: dice.pick(&[1, 8, 32]),
        max_stream_window_bytes: dice.pick(&[1, 20_000, u64::MAX, u64::MAX]),
        ..Config::default()
    };
    HostPlan { nic, proto, turn_ns: dice.pick(&[1, 5, 20, 100]) * MICROSECOND }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::impair::Impairment;

    #[test]
    fn every_scenario_can_be() {
        for seed in 0..500 {
            let scenario = Scenario::draw(seed);
            for path in &scenario.paths {
                for profile in [&path.trouble, &path.calm] {
                    if let Err(error) = Impairment::new(profile, seed) {
                        panic!("seed {seed}: {error}");
                    }
                }
            }
            assert!(scenario.sessions.iter().all(|session| !session.opens[0].is_empty()));
            assert!(scenario.sessions.iter().all(|session| session.hosts[0] != session.hosts[1]));
            assert_eq!(scenario.to_string(), Scenario::draw(seed).to_string(), "seed {seed}");
        }
    }
}
