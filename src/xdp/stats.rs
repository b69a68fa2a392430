//! Everything that a queue counts, under one list of names.

use super::program::Program;
use super::rx::Rx;
use super::tx::Tx;
use super::umem::{Pool, leaked_pools};

/// The counters of a queue, ours first, then the kernel's, then the XDP program's (which counts for all queues of the
/// interface that this process opened).
pub(super) fn collect(rx: &Rx, tx: &Tx, pool: &Pool, skb_budget: bool, program: &Program) -> Vec<(&'static str, u64)> {
    let (socket, tx, rx) = (tx, &tx.counts, &rx.counts);
    let mut stats = vec![
        ("xdp_received", rx.received),
        ("xdp_sent", tx.sent),
        ("xdp_completed", tx.completed),
        ("xdp_kicks", tx.kicks),
        ("xdp_kick_again", tx.again),
        ("xdp_kick_down", tx.down),
        ("xdp_kick_no_memory", tx.no_memory),
        ("xdp_kick_refused", tx.refused),
        ("xdp_tx_dropped_by_driver", tx.dropped),
        ("xdp_tx_ring_full", tx.ring_full),
        ("xdp_invalid_completions", tx.invalid),
        ("xdp_invalid_received", rx.invalid),
        ("xdp_fill_short", rx.fill_short),
        ("xdp_fill_wakeups", rx.fill_wakeups),
        ("xdp_tx_skb_budget", u64::from(skb_budget)),
        ("xdp_tx_moved", pool.moved()),
        ("xdp_leaked_pools", leaked_pools()),
    ];
    // Once the interface is gone the kernel has nothing to tell; what we counted ourselves still stands.
    if let Ok(kernel) = socket.kernel_counts() {
        stats.extend([
            ("kernel_rx_dropped", kernel.rx_dropped()),
            ("kernel_rx_ring_full", kernel.rx_ring_full()),
            ("kernel_rx_fill_ring_empty", kernel.rx_fill_ring_empty_descs()),
            ("kernel_rx_invalid_descs", kernel.rx_invalid_descs()),
            ("kernel_tx_invalid_descs", kernel.tx_invalid_descs()),
            ("kernel_tx_ring_empty", kernel.tx_ring_empty_descs()),
        ]);
    }
    stats.extend(program.counters());
    stats
}
