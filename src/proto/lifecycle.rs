//! The life of a connection: three-way open, four-way close, as one total function.
//!
//! ```text
//!  initiator: OpenSent ──Accepted──► Open            responder: AcceptSent ──Confirmed──► Open
//!
//!  Open ──Finish──► FinishSent ──FinishAcked──► FinishAcked ──PeerFinish──► Draining ──Drained──► Closed
//!   │                   └──PeerFinish──► Closing ──FinishAcked──► Draining
//!   └──PeerFinish──► PeerFinished ──Finish──► LastAck ──FinishAcked──► Draining
//!
//!  any ──Abort──► Draining          any ──PeerClosed, TimedOut──► Closed
//! ```

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// We asked; no answer so far.
    OpenSent,
    /// We answered an open; the initiator has not confirmed.
    AcceptSent,
    /// Both directions are open.
    Open,
    /// Our direction is finished; the peer has not acknowledged that.
    FinishSent,
    /// Our direction is finished and acknowledged; the peer's is open.
    FinishAcked,
    /// The peer's direction is finished; ours is open.
    PeerFinished,
    /// Both are finished, the peer's first; ours is not acknowledged.
    LastAck,
    /// Both are finished, ours first; ours is not acknowledged.
    Closing,
    /// Over; late packets are still answered.
    Draining,
    /// Gone.
    Closed,
}

/// What happens to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An accept for our open arrived.
    Accepted,
    /// A confirm, or any packet that only a live initiator can send, arrived.
    Confirmed,
    /// The application is done and all of its streams are acknowledged.
    Finish,
    /// The peer acknowledged our finish.
    FinishAcked,
    /// The peer's finish arrived.
    PeerFinish,
    /// We end it now.
    Abort,
    /// The peer ended it, or has forgotten it.
    PeerClosed,
    /// Nothing was heard for too long.
    TimedOut,
    /// The draining time is over.
    Drained,
}

/// The state after `event`; the same state where the event means nothing there.
pub fn next(state: State, event: Event) -> State {
    use Event as E;
    use State as S;
    match (state, event) {
        (S::Closed, _) => S::Closed,
        (_, E::PeerClosed | E::TimedOut) => S::Closed,
        (S::Draining, E::Drained) => S::Closed,
        (_, E::Abort) => S::Draining,
        (S::OpenSent, E::Accepted) => S::Open,
        (S::AcceptSent, E::Confirmed) => S::Open,
        (S::Open, E::Finish) => S::FinishSent,
        (S::Open, E::PeerFinish) => S::PeerFinished,
        (S::FinishSent, E::FinishAcked) => S::FinishAcked,
        (S::FinishSent, E::PeerFinish) => S::Closing,
        (S::FinishAcked, E::PeerFinish) => S::Draining,
        (S::PeerFinished, E::Finish) => S::LastAck,
        (S::LastAck | S::Closing, E::FinishAcked) => S::Draining,
        (state, _) => state,
    }
}

impl State {
    /// Streams may carry data, one way at least.
    pub fn is_established(self) -> bool {
        !matches!(self, State::OpenSent | State::AcceptSent | State::Draining | State::Closed)
    }

    /// Nothing of the application's can happen any more.
    pub fn is_over(self) -> bool {
        matches!(self, State::Draining | State::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 10] = [
        State::OpenSent,
        State::AcceptSent,
        State::Open,
        State::FinishSent,
        State::FinishAcked,
        State::PeerFinished,
        State::LastAck,
        State::Closing,
        State::Draining,
        State::Closed,
    ];
    const EVENTS: [Event; 9] = [
        Event::Accepted,
        Event::Confirmed,
        Event::Finish,
        Event::FinishAcked,
        Event::PeerFinish,
        Event::Abort,
        Event::PeerClosed,
        Event::TimedOut,
        Event::Drained,
    ];

    /// The whole matrix, reviewed by eye: a change shows as a diff of this table.
    const MATRIX: &str = include_str!("lifecycle.txt");

    #[test]
    fn the_matrix_is_as_reviewed() {
        let mut table = String::new();
        for state in STATES {
            for event in EVENTS {
                let after = next(state, event);
                let after = if after == state { "-".into() } else { format!("{after:?}") };
                table += &format!("{:<13}{:<12}{after}\n", format!("{state:?}"), format!("{event:?}"));
            }
        }
        assert_eq!(table, MATRIX, "\n{table}");
    }

    #[test]
    fn every_state_reaches_closed() {
        for state in STATES {
            assert_eq!(next(state, Event::TimedOut), State::Closed, "{state:?}");
            assert_eq!(next(next(state, Event::Abort), Event::Drained), State::Closed, "{state:?}");
        }
    }
}
