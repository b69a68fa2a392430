//! Windows for early segments: behind a hole they fill the receiver's window, and nobody reads them.
//!
//! A window that is tuned by what the application reads learns nothing while a hole waits for its repair; on a long
//! path that loses packets there is always a hole, and the sender would wait for credit every few round trips.

use super::connection::{Connection, Cx};

/// A window of which early segments fill this part is to be doubled. A round trip's worth is still on its way then, and
/// the new credit needs half of one. Lower: windows grow for holes that need none. Higher: the sender waits once.
const EARLY_PART: u64 = 3;
/// Only where the application is behind with less than this part of the window: a slow reader earns nothing.
const UNREAD_PART: u64 = 8;

impl Connection {
    /// An early segment of a stream was kept.
    pub(super) fn on_early(&mut self, cx: &mut Cx<'_>, slot: u32) {
        let window = self.rx_credit.window();
        let unread = self.delivered.saturating_sub(self.rx_credit.released());
        if is_for_early(window, self.rx_credit.held().saturating_sub(unread), unread) {
            self.rx_credit.widen(cx.budget.widen(window));
            self.control.pending.conn_credit |= self.rx_credit.is_due(1);
        }
        let payload = self.max_payload() as u64;
        let roof = self.stream_roof(cx);
        let Some(stream) = cx.streams.get_mut(slot as usize) else { return };
        let (next, credit) = (stream.recv.next_offset(), &mut stream.recv.credit);
        let window = credit.window();
        if is_for_early(window, credit.used().saturating_sub(next), next.saturating_sub(credit.released())) {
            credit.widen(window.min(roof.saturating_sub(window)));
            if credit.is_due(payload) {
                self.list_stream(cx, slot, |pending| pending.credit = true);
            }
        }
    }
}

fn is_for_early(window: u64, early: u64, unread: u64) -> bool {
    early > window / EARLY_PART && unread < window / UNREAD_PART
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_for_holes_and_not_for_slow_readers() {
        assert!(is_for_early(900, 301, 0));
        assert!(!is_for_early(900, 300, 0), "a hole that the window bears");
        assert!(!is_for_early(900, 600, 200), "the application is behind");
    }
}
