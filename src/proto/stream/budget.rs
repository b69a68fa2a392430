//! The streams that peers may open, of all connections together: lent as receive windows are, so that a peer can always
//! open what it was allowed, and no number of peers can make us hold more.

/// Streams that are kept for each connection to come, unless there are too many connections for it. A transfer needs
/// one, a forward of ports a few. Lower: who comes late has to wait for the ends of streams. Higher: less of the sum is
/// left for those who need many.
const KEPT_STREAMS: u64 = 8;

/// What is left to be lent.
#[derive(Debug)]
pub struct StreamBudget {
    kept: u64,
    /// Most of one connection.
    most: u64,
    free: u64,
}

impl StreamBudget {
    /// At most `most` streams on a connection, and `total` on all of the `connections` that there can be; up to half of
    /// them are kept for connections to come.
    pub fn new(most: u32, total: usize, connections: usize) -> StreamBudget {
        let (connections, most) = (connections.max(1) as u64, u64::from(most));
        let total = (total as u64).max(connections);
        let kept = KEPT_STREAMS.min(total / 2 / connections).max(1).min(most);
        StreamBudget { kept, most, free: total - (kept * connections).min(total) }
    }

    /// What the next peer is offered: what is kept for it, and half of what is left.
    pub fn offer(&self) -> u32 {
        (self.kept + (self.most - self.kept).min(self.free / 2)) as u32
    }

    /// It was offered so many.
    pub fn on_offered(&mut self, streams: u32) {
        self.free -= u64::from(streams).saturating_sub(self.kept);
    }

    /// A peer that has opened more than half of its `window` may have as many again, as long as others find some.
    pub fn lend(&mut self, window: u64) -> u64 {
        let more = window.min(self.most.saturating_sub(window)).min(self.free.div_ceil(2));
        self.free -= more;
        more
    }

    /// A connection is over that had a window of so many. What is left of its window: nothing more is lent to it.
    #[must_use]
    pub fn give_back(&mut self, window: u64) -> u64 {
        self.free += window.saturating_sub(self.kept);
        window.min(self.kept)
    }

    /// Streams that are not lent.
    pub fn free(&self) -> u64 {
        self.free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_peers_gets_more_than_there_are() {
        for (most, total, connections) in
            [(1024, 4096, 256), (1024, 100, 4096), (3, 4096, 256), (1, 1, 1), (1024, 64, 1)]
        {
            let mut budget = StreamBudget::new(most, total, connections);
            let (all, before) = ((total.max(connections)) as u64, budget.free());
            let offered = (0..connections).map(|_| {
                let offer = budget.offer();
                budget.on_offered(offer);
                u64::from(offer)
            });
            let mut windows: Vec<u64> = offered.collect();
            assert!(windows.iter().all(|window| *window >= 1));
            for _ in 0..100 {
                windows.iter_mut().for_each(|window| *window += budget.lend(*window));
            }
            let sum: u64 = windows.iter().sum();
            assert!(sum <= all && windows.iter().all(|window| *window <= u64::from(most)), "{sum} {windows:?}");
            assert!(windows.iter().all(|window| budget.give_back(*window) >= 1));
            assert_eq!(budget.free(), before);
        }
    }

    #[test]
    fn one_peer_alone_gets_all_that_a_connection_may_have_and_late_ones_get_more_once_it_is_gone() {
        let mut budget = StreamBudget::new(1024, 4096, 256);
        let offers = [(); 4].map(|()| {
            let offer = budget.offer();
            budget.on_offered(offer);
            u64::from(offer)
        });
        assert_eq!(offers, [1024, 524, 266, 137]);
        assert_eq!((budget.lend(1024), budget.give_back(1024)), (0, 8));
        assert_eq!(budget.lend(137), 137);
    }
}
