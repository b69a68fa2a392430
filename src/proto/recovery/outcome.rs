//! What recovery tells its caller: what became of packets, whether more may leave, what is wrong with an ACK, numbers.

use super::sent::Sent;
use crate::base::Nanos;

/// What an ACK or a timer led to. The caller keeps one and clears it before each use.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Arrived.
    pub acked: Vec<Sent>,
    /// Taken for lost; their content is to be sent again under new numbers.
    pub lost: Vec<Sent>,
    /// Taken for lost earlier, but arrived. Their frame may meanwhile belong to something else: compare the offset.
    pub spurious: Vec<Sent>,
    /// Round trip that went into the estimate.
    pub rtt_sample_ns: Option<Nanos>,
    /// Send a packet that asks for an acknowledgement now, whatever
    /// [`Recovery::poll_send`](super::Recovery::poll_send) says.
    pub probe: bool,
    /// Nothing got through for several probe timeouts; the window is at its minimum (not with `fixed`).
    pub persistent_congestion: bool,
}

impl Outcome {
    /// Empties it, keeping its room.
    pub fn clear(&mut self) {
        self.acked.clear();
        self.lost.clear();
        self.spurious.clear();
        self.rtt_sample_ns = None;
        self.probe = false;
        self.persistent_congestion = false;
    }
}

/// An ACK that no honest receiver sends: the connection is to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AckError {
    /// It names packets that were never sent.
    #[error("ACK of packet {number}, but the next to be sent is {next}")]
    NeverSent {
        /// The highest number that it names.
        number: u64,
        /// The next packet's number.
        next: u64,
    },
    /// It names a packet number that was left out to see whether anybody would.
    #[error("ACK of packet {number}, which was never sent")]
    LeftOut {
        /// The number.
        number: u64,
    },
    /// It names packets above its own highest one.
    #[error("ACK with largest {largest} has bits beyond it")]
    BeyondLargest {
        /// Its highest number.
        largest: u64,
    },
}

/// Whether packets may leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendPermit {
    /// Packets may leave until their wire bytes reach this many; the last one may exceed it.
    Now {
        /// Wire bytes, at most one burst.
        bytes: u64,
    },
    /// Not before this time (pacing).
    At(Nanos),
    /// Not before something was acknowledged or lost.
    Blocked,
}

/// Numbers for people and histograms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryStats {
    /// Window in wire bytes.
    pub cwnd_bytes: u64,
    /// End of slow start in wire bytes, if found.
    pub ssthresh_bytes: Option<u64>,
    /// The path's bandwidth in wire bits per second, where the controller models it.
    pub bandwidth_bps: Option<u64>,
    /// What the controller is doing; empty where it does only one thing.
    pub state: &'static str,
    /// Pacing rate in wire bits per second, where paced.
    pub pacing_bps: Option<u64>,
    /// Wire bits per second that the link was measured to carry at the start, where it was.
    pub measured_bps: Option<u64>,
    /// Smoothed round trip.
    pub srtt_ns: Nanos,
    /// Its mean deviation.
    pub rttvar_ns: Nanos,
    /// Smallest round trip of the last seconds.
    pub min_rtt_ns: Nanos,
    /// Wire bytes in flight.
    pub bytes_in_flight: u64,
    /// Packets in flight.
    pub packets_in_flight: u64,
    /// Wire bytes sent in packets that ask for an acknowledgement.
    pub sent_bytes: u64,
    /// Wire bytes that arrived.
    pub delivered_bytes: u64,
    /// Packets taken for lost.
    pub lost_packets: u64,
    /// Of these, packets that arrived after all.
    pub spurious_losses: u64,
    /// Tail probes asked for.
    pub tail_probes: u64,
    /// Times that the window fell to its minimum.
    pub persistent_congestions: u64,
    /// Packets that must overtake one before it is lost.
    pub packet_threshold: u64,
    /// Bit words that ACKs made us look at: the cost of it all.
    pub words_examined: u64,
}
