//! Whose instructions they are: the rooms of the project, the checksum, the link in memory, the rest.

use std::collections::BTreeMap;

use super::callgrind::{Place, Profile};

/// In the order of the table. What does not count as protocol path comes last.
pub const ROOMS: &[&str] = &["engine", "ports", "proto", "recovery", "wire", "obs", "base", OTHER, CRC, CRYPTO, LINK];
/// The checksum of every packet, told apart since its cost depends on what the CPU is good at.
pub const CRC: &str = "crc32c";
/// The sealing of every packet, likewise. Valgrind's CPU has AES and carry-less multiplication, but no AVX-512.
pub const CRYPTO: &str = "crypto";
/// The link in memory and its copy, or the simulator's card: not there when a NIC moves the frames.
pub const LINK: &str = "memory link";

/// What no room can be named for.
const OTHER: &str = "other";

/// The room of a place, by the file that its line was written in; code of the standard library and other crates that
/// was inlined belongs to the function that it was inlined into.
pub fn room_of(place: &Place) -> &'static str {
    by_file(&place.file).or_else(|| by_function(&place.function)).unwrap_or(OTHER)
}

fn by_file(file: &str) -> Option<&'static str> {
    if file.contains("/crc-fast-") {
        return Some(CRC);
    }
    if file.contains("/aws-lc-") || file.contains("aws_lc_") {
        return Some(CRYPTO);
    }
    if file.contains("/hdrhistogram-") {
        return Some("obs");
    }
    if ["/rtrb-", "/crossbeam-channel-", "/atomic-waker-"].iter().any(|name| file.contains(name)) {
        return Some("ports");
    }
    let path = file.rsplit_once("src/").map_or("", |(_, path)| path);
    if path == "instr/opaque.rs" {
        return Some(LINK);
    }
    let prefixes = [
        ("link/memory.rs", LINK),
        ("link/pool.rs", LINK),
        ("sim/", LINK),
        ("engine/port/", "ports"),
        ("engine/", "engine"),
        ("proto/recovery/", "recovery"),
        ("proto/received", "recovery"),
        ("proto/", "proto"),
        ("crypto/", CRYPTO),
        ("wire/", "wire"),
        ("obs/", "obs"),
        ("base/", "base"),
        ("link/", "engine"),
    ];
    let ours = !file.contains("/registry/") && !file.contains("/rustc/");
    prefixes.iter().find(|(prefix, _)| ours && path.starts_with(prefix)).map(|(_, room)| *room)
}

fn by_function(function: &str) -> Option<&'static str> {
    let names = [
        ("crc_fast::", CRC),
        ("aws_lc_", CRYPTO),
        ("farwire::crypto::", CRYPTO),
        ("hdrhistogram::", "obs"),
        ("farwire::link::memory::", LINK),
        ("farwire::link::pool::", LINK),
        ("farwire::sim::", LINK),
        ("bench::instr::opaque::", LINK),
        ("farwire::engine::port::", "ports"),
        ("farwire::engine::", "engine"),
        ("farwire::proto::recovery::", "recovery"),
        ("farwire::proto::received::", "recovery"),
        ("farwire::proto::", "proto"),
        ("farwire::wire::", "wire"),
        ("farwire::obs::", "obs"),
        ("farwire::base::", "base"),
    ];
    names.iter().find(|(name, _)| function.contains(name)).map(|(_, room)| *room)
}

/// Instructions by room. What a function of the C or the standard library spends belongs to those who called it, in
/// the shares of what their calls cost.
pub fn by_room(profile: &Profile) -> Vec<(&'static str, i64)> {
    let mut costs: BTreeMap<&'static str, f64> = BTreeMap::new();
    let mut nobodys: BTreeMap<&str, i64> = BTreeMap::new();
    for (place, cost) in &profile.own {
        match room_of(place) {
            OTHER => *nobodys.entry(&place.function).or_default() += cost,
            room => *costs.entry(room).or_default() += *cost as f64,
        }
    }
    let mut callers: BTreeMap<&str, Vec<(&'static str, i64)>> = BTreeMap::new();
    for (call, (cost, _)) in &profile.calls {
        callers.entry(&call.callee).or_default().push((room_of(&call.caller), *cost));
    }
    for (function, own) in nobodys {
        let callers = callers.get(function).map_or(&[][..], Vec::as_slice);
        let all: i64 = callers.iter().map(|(_, cost)| cost).sum();
        if all <= 0 {
            *costs.entry(OTHER).or_default() += own as f64;
            continue;
        }
        for (room, cost) in callers {
            *costs.entry(room).or_default() += own as f64 * *cost as f64 / all as f64;
        }
    }
    ROOMS.iter().map(|room| (*room, costs.get(room).map_or(0, |cost| cost.round() as i64))).collect()
}
