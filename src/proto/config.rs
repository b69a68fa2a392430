//! What an endpoint can be told, with the defaults and the reasons for them.

use super::recovery::Algorithm;
use crate::base::Nanos;
use crate::base::time::SECOND;

/// Settings of an endpoint's transport. Both ends may differ; each grants what its own settings say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Congestion controller of what we send.
    pub algorithm: Algorithm,
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
    /// Most streams that a peer may have open on one connection.
    pub max_streams: u32,
    /// Ask every initiator for a cookie before keeping any state. Off, the cookie round is asked only when
    /// half-open connections exceed [`Config::max_half_open`]: it costs one more round trip.
    pub require_cookie: bool,
    /// Half-open connections from which on cookies are asked for.
    pub max_half_open: usize,
    /// Most bytes that one stream may have in the receiver's hands; up to this it is three quarters of the connection's
    /// window.
    pub max_stream_window_bytes: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            algorithm: Algorithm::Bbr,
            idle_timeout_ns: 30 * SECOND,
            keep_alive_ns: 10 * SECOND,
            connect_timeout_ns: 5 * SECOND,
            max_connections: 256,
            max_streams: 1024,
            require_cookie: false,
            max_half_open: 32,
            max_stream_window_bytes: u64::MAX,
        }
    }
}
