//! What is fuzzed: functions that take any bytes and panic where farwire does what it must not, through its public
//! interface only. libFuzzer calls them (`targets/`), and so does a mutator on stable Rust (`main.rs` here,
//! `tests/fuzz.rs` of farwire).

pub mod ack;
pub mod connection;
pub mod engines;

pub mod packet;
pub mod script;
pub mod seeds;
pub mod stable;

/// One thing that is fuzzed.
pub struct Target {
    /// What it is called everywhere.
    pub name: &'static str,
    /// Panics upon a finding.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 4] = [
    Target { name: "packet", run: packet::run },
    Target { name: "ack", run: ack::run },
    Target { name: "connection", run: connection::run },
    Target { name: "engines", run: engines::run },
];
