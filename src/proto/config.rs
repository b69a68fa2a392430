//! What an endpoint can be told, with the defaults and the reasons for them.

use super::recovery::Algorithm;
use crate::base::Nanos;
use crate::base::time::{MICROSECOND, SECOND};
use crate::crypto::{Cipher, Entropy, Keyring, Rekey};

/// Who may talk to us, and whether others can listen.
#[derive(Clone, Debug)]
pub enum Security {
    /// Anybody; everything can be read and changed on its way. Packets end with a CRC32C.
    Insecure,
    /// Who holds one of these keys.
    Keys(Keyring),
}

/// Settings of an endpoint's transport. Both ends may differ; each grants what its own settings say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Congestion controller of what we send.
    pub algorithm: Algorithm,
    /// The EtherType that our packets travel under. Handshakes bind it: what was recorded under one opens nothing under
    /// another.
    pub ethertype: u16,
    /// Silence after which a connection is given up; 0 for never. 30 s outlasts a link that flaps or a switch that
    /// reboots its port; lower gives up on links that come back, higher leaves the user waiting for a dead peer.
    pub idle_timeout_ns: Nanos,
    /// An idle connection sends a probe after this long, so that it survives and its death is noticed. Must be well
    /// below the idle timeout; a third of it lets two probes be lost.
    pub keep_alive_ns: Nanos,
    /// How long `connect` tries.
    pub connect_timeout_ns: Nanos,
    /// Most connections at a time; more are refused. Bounds the memory that peers can make us use.
    pub max_connections: usize,
    /// Most streams that a peer may have open on one connection; fewer where others have them.
    pub max_streams: u32,
    /// Most streams that all peers together may have open, and at least one for each connection. A stream takes some
    /// 50 KB, queues to the application included, so this many take 200 MB at worst. Lower: programs with many streams
    /// wait for each other. Higher: memory that peers can make us use.
    pub max_streams_total: usize,
    /// Ask every initiator for a cookie before keeping any state. Off, the cookie round is asked only when
    /// half-open connections hold half of the receive windows, or exceed [`Config::max_half_open`]: it costs one more
    /// round trip.
    pub require_cookie: bool,
    /// Half-open connections from which on cookies are asked for.
    pub max_half_open: usize,
    /// From one connection that may be opened to the next, over all peers; 0 for no limit. 100 µs: 10,000 a second,
    /// half of what a core can agree on keys with. Shorter lets a flood of opens take the core, longer refuses who
    /// opens many.
    pub open_every_ns: Nanos,
    /// The same for one address. 1 ms: a thousand a second, a tenth of all.
    pub open_every_from_one_ns: Nanos,
    /// Keys, or none.
    pub security: Security,
    /// What makes each handshake's keys fresh.
    pub entropy: Entropy,
    /// What this machine is faster at.
    pub cipher: Cipher,
    /// When packet keys are replaced.
    pub rekey: Rekey,
    /// Most bytes that one stream may have in the receiver's hands; up to this it is three quarters of the connection's
    /// window.
    pub max_stream_window_bytes: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            algorithm: Algorithm::Bbr,
            ethertype: crate::wire::ETHERTYPE,
            idle_timeout_ns: 30 * SECOND,
            keep_alive_ns: 10 * SECOND,
            connect_timeout_ns: 5 * SECOND,
            max_connections: 256,
            max_streams: 1024,
            max_streams_total: 4096,
            require_cookie: false,
            max_half_open: 32,
            open_every_ns: 100 * MICROSECOND,
            open_every_from_one_ns: 1000 * MICROSECOND,
            security: Security::Insecure,
            entropy: Entropy::NONE,
            cipher: Cipher::preferred(),
            rekey: Rekey::default(),
            max_stream_window_bytes: u64::MAX,
        }
    }
}
