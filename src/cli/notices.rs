//! Passes on what the congestion controller has to tell its user, while a transfer or measurement runs.

use std::sync::{Arc, Mutex, PoisonError};
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
    /// What has been passed on, for `--json`.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Notices {
    /// Begins to ask.
    pub fn of(connection: &Connection) -> Notices {
        let (end, ended) = bounded(0);
        let connection = connection.clone();
        let heard = Arc::default();
        let notices = Notices { _end: end, heard: Arc::clone(&heard) };
        let asking = move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let Ok(now) = connection.snapshot() else { return };
                pass_on(&heard, &now.notices);
            }
        };
        // Without a thread the notices are lost, and nothing else is.
        let _ = thread::Builder::new().name("notices".to_owned()).spawn(asking);
        notices
    }

    /// All of them, with those that somebody else's last snapshot has taken.
    pub fn all(self, last: &[String]) -> Vec<String> {
        pass_on(&self.heard, last);
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn pass_on(heard: &Mutex<Vec<String>>, notices: &[String]) {
    notices.iter().for_each(show::complain);
    heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(notices);
}
