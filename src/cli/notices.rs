//! Passes on what the congestion controller has to tell its user, while a transfer or measurement runs.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::show;
use crate::api::Connection;

/// How often it is asked. It speaks up rarely, and nothing depends on hearing it at once.
const EVERY: Duration = Duration::from_millis(500);

/// Asks until it is dropped.
pub struct Notices {
    _end: Sender<()>,
}

impl Notices {
    /// Begins to ask.
    pub fn of(connection: &Connection) -> Notices {
        let (end, ended) = bounded(0);
        let connection = connection.clone();
        let asking = move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let Ok(now) = connection.snapshot() else { return };
                now.notices.iter().for_each(show::complain);
            }
        };
        // Without a thread the notices are lost, and nothing else is.
        let _ = thread::Builder::new().name("notices".to_owned()).spawn(asking);
        Notices { _end: end }
    }
}
