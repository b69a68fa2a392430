//! Credit. Per connection it is counted in segments, because a frame is what a segment occupies at its receiver,
//! however short it is; per stream in bytes, so that one slow reader can't take the whole connection.
//!
//! Receiver: `limit = released + window`, so what is granted and not yet used plus what is held never exceeds the
//! window, and the windows of all connections never exceed the frames set aside for receiving.

/// The frames that an endpoint may lend to the receive windows of its connections.
#[derive(Debug)]
pub struct RxBudget {
    frames: u64,
    free: u64,
    /// Lent in pieces of [`MIN_WINDOW`] only, so that greedy connections leave room for others.
    floor: u64,
    /// Of the free ones, those that are in use for sending.
    busy: u64,
    /// Of the lent ones, the windows of half-open connections.
    half_open: u64,
}

impl RxBudget {
    /// A budget of `frames`, an eighth of which is kept for connections to come. Less refuses the next connection as
    /// soon as a few have grown, more is missing in the window of a single one.
    pub fn new(frames: u64) -> RxBudget {
        RxBudget { frames, free: frames, floor: frames / 8, busy: 0, half_open: 0 }
    }

    /// So many frames are in use for sending beyond those that are never lent.
    pub fn set_busy(&mut self, frames: u64) {
        self.busy = frames;
    }

    /// Frames that nobody else may use: those that are lent, and the floor.
    pub fn kept(&self) -> u64 {
        (self.frames - self.free + self.floor).min(self.frames)
    }

    /// A window for a new connection: half of what is left above the floor, and the least that makes sense below it.
    /// `None` when that is gone as well.
    pub fn open_window(&mut self) -> Option<u64> {
        let window = self.above_floor().max(MIN_WINDOW);
        if window > self.free {
            return None;
        }
        self.free -= window;
        Some(window)
    }

    /// What is left is for who is there for certain: half-open connections hold more than half of all windows, or half
    /// of what is kept for connections to come is taken. Whoever repeats recorded openings gets no further.
    pub fn is_scarce(&self) -> bool {
        self.half_open > (self.frames - self.floor).div_ceil(2) || self.free < (self.floor / 2).max(MIN_WINDOW)
    }

    /// A window went to a connection that may be nobody's.
    pub fn on_half_open(&mut self, window: u64) {
        self.half_open += window;
    }

    /// It has proved to be somebody's, or is over.
    pub fn on_half_open_over(&mut self, window: u64) {
        self.half_open -= window;
    }

    /// Takes up to `more` for a connection that has shown that it needs it; leaves at least half.
    pub fn widen(&mut self, more: u64) -> u64 {
        let given = more.min(self.above_floor());
        self.free -= given;
        given
    }

    /// All frames of the budget.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that are not lent.
    pub fn free(&self) -> u64 {
        self.free
    }

    fn above_floor(&self) -> u64 {
        self.free.saturating_sub(self.floor + self.busy) / 2
    }

    /// A connection is gone.
    pub fn close_window(&mut self, window: u64) {
        self.free += window;
    }
}

/// Segments that a connection must be able to have in the receiver's hands to be worth opening: two bursts, so that
/// one can be read while the next arrives. Lower stalls on every burst, higher refuses connections needlessly.
pub const MIN_WINDOW: u64 = 16;

/// The receiver's side of one credit: of a connection in segments, or of a stream in bytes.
#[derive(Clone, Debug)]
pub struct Granted {
    /// How much may be granted and unreleased at a time.
    window: u64,
    /// Cumulative: consumed by the application.
    released: u64,
    /// The limit that the peer was last told.
    told: u64,
    /// Cumulative: what has arrived (highest, for a stream's offset).
    used: u64,
    /// `released` when the window was last looked at for tuning.
    tuned_at: u64,
    /// And when that was.
    tuned_ns: u64,
}

impl Granted {
    /// A credit whose peer starts with `window`.
    pub fn new(window: u64) -> Granted {
        Granted { window, released: 0, told: window, used: 0, tuned_at: 0, tuned_ns: 0 }
    }

    /// The peer used credit up to the cumulative `used`. False if it never had that much.
    #[must_use]
    pub fn on_used(&mut self, used: u64) -> bool {
        if used > self.told {
            return false;
        }
        self.used = self.used.max(used);
        true
    }

    /// The peer used one more than it had; it is counted all the same, as it is held until the connection is gone.
    pub fn overdraw(&mut self) {
        self.used += 1;
    }

    /// Cumulative use so far.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The application consumed `amount`.
    pub fn on_released(&mut self, amount: u64) {
        self.released += amount;
    }

    /// Whether the peer should be told a new limit: an eighth of the window has been released since. More often costs
    /// packets, more rarely makes the sender wait near the end of its credit. Sooner when the peer has too little left
    /// to send anything (`least`): the rest of the window may be held by whom it does not concern.
    pub fn is_due(&self, least: u64) -> bool {
        let fresh = self.limit() - self.told;
        fresh >= (self.window / 8).max(1) || (fresh >= least && self.told - self.used < least)
    }

    /// The peer has used all that it was told of.
    pub fn is_spent(&self) -> bool {
        self.used == self.told
    }

    /// The limit to tell now.
    pub fn poll_limit(&mut self) -> u64 {
        self.told = self.told.max(self.limit());
        self.told
    }

    /// Used and not released: what the receiver holds.
    pub fn held(&self) -> u64 {
        self.used - self.released.min(self.used)
    }

    /// Cumulative: what the application has consumed.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// The window.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// How much more window the credit deserves: the application consumed half of it within a round trip or two, so
    /// the window may be what limits the sender. `fresh` of it was consumed just now. The caller says how much it could
    /// give through [`Granted::widen`].
    pub fn poll_wish(&mut self, now: u64, rtt_ns: u64, fresh: u64) -> u64 {
        if now.saturating_sub(self.tuned_ns) > 2 * rtt_ns {
            self.tuned_ns = now;
            self.tuned_at = self.released - fresh;
        }
        if self.released - self.tuned_at < self.window / 2 {
            return 0;
        }
        self.tuned_ns = now;
        self.tuned_at = self.released;
        self.window
    }

    /// Widens the window.
    pub fn widen(&mut self, more: u64) {
        self.window += more;
    }

    fn limit(&self) -> u64 {
        (self.released + self.window).max(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granted_and_held_never_exceed_the_window() {
        let mut credit = Granted::new(64);
        let mut used = 0;
        for _ in 0..1000 {
            let told = credit.poll_limit();
            used = told;
            assert!(credit.on_used(used));
            assert!(!credit.on_used(told + 1));
            assert!(used - credit.released <= 64);
            credit.on_released(7);
        }
        assert!(used > 6000);
    }

    #[test]
    fn updates_come_by_eighths() {
        let mut credit = Granted::new(64);
        credit.on_released(7);
        assert!(!credit.is_due(1));
        credit.on_released(1);
        assert!(credit.is_due(1));
        assert_eq!(credit.poll_limit(), 72);
        assert!(!credit.is_due(1));
    }

    #[test]
    fn who_can_send_nothing_is_told_at_once() {
        let mut credit = Granted::new(64);
        assert!(credit.on_used(63));
        credit.on_released(4);
        assert!(!credit.is_due(1), "one is left");
        assert!(credit.is_due(2) && !credit.is_due(5));
        assert!(credit.on_used(64) && credit.is_due(1));
    }

    #[test]
    fn windows_never_exceed_the_budget() {
        let mut budget = RxBudget::new(1000);
        let mut windows = Vec::new();
        while let Some(window) = budget.open_window() {
            windows.push(window);
        }
        let sum: u64 = windows.iter().sum();
        assert!(sum <= 1000 && sum > 1000 - MIN_WINDOW && windows[0] > 400, "{windows:?}");
        budget.close_window(500);
        assert_eq!(budget.open_window(), Some((1000 - sum + 500 - 125) / 2));
    }

    #[test]
    fn what_sending_uses_is_not_lent() {
        let mut budget = RxBudget::new(1000);
        assert_eq!(budget.kept(), 125);
        budget.set_busy(675);
        assert_eq!(budget.open_window(), Some(100));
        assert_eq!(budget.kept(), 225);
        budget.set_busy(775);
        assert_eq!((budget.widen(100), budget.open_window()), (0, Some(MIN_WINDOW)));
    }

    #[test]
    fn half_open_connections_hold_half_and_one_window_more() {
        let mut budget = RxBudget::new(1000);
        let mut windows = Vec::new();
        while !budget.is_scarce() {
            windows.push(budget.open_window().unwrap());
            budget.on_half_open(*windows.last().unwrap());
        }
        assert_eq!(windows, [437, 219]);
        budget.on_half_open_over(437);
        assert!(!budget.is_scarce(), "who was half-open is there for certain now");
    }

    #[test]
    fn a_greedy_connection_leaves_room_for_others() {
        let mut budget = RxBudget::new(1000);
        assert!((0..100).map(|_| budget.widen(1000)).sum::<u64>() > 800);
        assert_eq!([budget.open_window(), budget.open_window()], [Some(MIN_WINDOW); 2]);
    }

    #[test]
    fn a_window_that_limits_grows() {
        let mut credit = Granted::new(64);
        assert_eq!(credit.poll_wish(1_000, 100, 0), 0);
        credit.on_released(40);
        assert_eq!(credit.poll_wish(1_100, 100, 40), 64);
        credit.widen(64);
        assert_eq!(credit.window(), 128);
        credit.on_released(10);
        assert_eq!(credit.poll_wish(10_000, 100, 10), 0, "slow reading earns nothing");
        credit.on_released(64);
        assert_eq!(credit.poll_wish(20_000, 100, 64), 128, "half a window at once does");
    }
}
