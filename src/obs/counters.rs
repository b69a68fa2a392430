//! Counters of one engine: plain integers, one thread, names that stay.

/// Declares the counters once: field, stable name and meaning cannot drift apart.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What one engine has counted since its start.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// What each counter means, in the order of [`Counters::iter`].
            pub const MEANINGS: &'static [&'static str] = &[$(concat!($($doc),+),)+];

            /// Adds what another engine counted.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)+
            }

            /// Every counter as `(name, value)`, in declaration order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Frames received from the link.
    rx_frames,
    /// Bytes received, Ethernet headers included.
    rx_bytes,
    /// Frames handed to the link.
    tx_frames,
    /// Bytes handed to the link, Ethernet headers included.
    tx_bytes,
    /// Data packets received that were new.
    rx_data_packets,
    /// Data packets sent, retransmissions included.
    tx_data_packets,
    /// Data packets sent again.
    retransmitted_packets,
    /// Losses that turned out to be none.
    spurious_losses,
    /// Packets declared lost.
    lost_packets,
    /// ACK items sent.
    tx_acks,
    /// ACK items received.
    rx_acks,
    /// ACK items received that name what was never sent: each has closed its connection.
    false_acks,
    /// Tail probes sent.
    tail_probes,
    /// Dropped: not our EtherType, or not addressed to us.
    drop_not_ours,
    /// Dropped: shorter than its header or than the length it claims.
    drop_truncated,
    /// Dropped: another protocol version.
    drop_version,
    /// Dropped: a type or item that this version does not know.
    drop_malformed,
    /// Dropped: CRC32C wrong.
    drop_checksum,
    /// Dropped: sealed with another key, changed on its way, or forged.
    drop_unauthentic,
    /// Dropped: a plain packet for a sealed connection, or a sealed one where there are no keys.
    drop_unsealed,
    /// Dropped: no such connection (a reset may have been sent).
    drop_unknown_connection,
    /// Dropped: packet number seen before, or too old to tell; or the open of a connection that is open.
    drop_replayed,
    /// Dropped: stream bytes that had arrived already.
    drop_duplicate_data,
    /// Dropped: beyond the credit that we granted.
    drop_beyond_credit,
    /// Dropped: a stream that is finished, reset, or beyond the limit.
    drop_stream_state,
    /// Dropped: an open with a cookie that is not ours or too old.
    drop_bad_cookie,
    /// Refused: no room for another connection.
    refused_connections,
    /// Dropped: an open beyond the rate at which connections may be opened.
    drop_open_rate,
    /// Refused: a stream of a peer of whose former streams too many wait to be accepted.
    refused_streams,
    /// Dropped: the source address is not the connection's peer.
    drop_wrong_peer,
    /// Not sent: no frame was free for a control packet (tried again next turn).
    tx_no_frame,
    /// Stateless resets sent.
    tx_resets,
    /// Questions sent whether a peer still knows a connection.
    tx_asks,
    /// Packet keys replaced, ours.
    rekeys,
    /// Not sent again: a frame that no longer is as it was sealed (its memory was changed).
    tx_spoiled,
    /// Not sent: answers to pings, opens and unknown connections beyond what may wait for the link.
    tx_answers_dropped,
    /// Dropped: answers to a query beyond what may wait to be looked at.
    drop_found,
    /// Dropped: an answer to an open or a query that is not, or no longer, under way.
    drop_unasked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_takes_every_counter() {
        let mut sum = Counters { rx_frames: 1, tx_resets: 2, ..Counters::default() };
        sum.add(&Counters { rx_frames: 10, drop_replayed: 5, ..Counters::default() });
        assert_eq!(sum, Counters { rx_frames: 11, drop_replayed: 5, tx_resets: 2, ..Counters::default() });
        assert_eq!(sum.iter().count(), Counters::MEANINGS.len());
    }
}
