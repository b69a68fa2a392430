//! Waiting for the carrier: attaching XDP, or binding without a copy, resets some NICs (Intel's), and what is sent
//! while their link comes up again is lost.

use std::io;

use super::nic::Nic;
use super::note::Notes;
use super::patience::until_free;

/// How often the carrier is looked for, every 20 ms: a gigabit link negotiates for 2 to 4 s. Lower: the first packets
/// are lost, and whoever connects waits for its timers. Higher: a link whose other end went away meanwhile is opened
/// later.
const TRIES: u32 = 250;

/// Waits for the carrier of an interface that had one before it was opened (`had`), and says so if that was in vain. A
/// driver that does not tell, or a cable that was out before, is not waited for.
pub(super) fn wait(interface: &str, had: Option<bool>, notes: &mut Notes) {
    if had == Some(true) && !is_back(TRIES, || Nic::carrier(interface)) {
        notes.warn(format!(
            "{interface}: the carrier has been away since the XDP program was attached; is the peer up?"
        ));
    }
}

fn is_back(tries: u32, carrier: impl Fn() -> Option<bool>) -> bool {
    let away = |error: &io::Error| error.kind() == io::ErrorKind::NotConnected;
    let look = || match carrier() {
        Some(false) => Err(io::ErrorKind::NotConnected.into()),
        _ => Ok(()),
    };
    until_free(tries, away, look).is_ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_waits_until_the_carrier_is_back_and_not_for_ever() {
        let looks = |tries, back_at| {
            let count = Cell::new(0);
            let back = is_back(tries, || {
                count.set(count.get() + 1);
                Some(count.get() >= back_at)
            });
            (count.get(), back)
        };
        assert_eq!(looks(3, 1), (1, true), "it never went away");
        assert_eq!(looks(3, 3), (3, true));
        assert_eq!(looks(3, 9), (4, false));
        assert!(is_back(3, || None), "the driver does not tell");
    }

    #[test]
    fn nobody_waits_for_what_was_not_there() {
        let mut notes = Notes::default();
        for had in [None, Some(false)] {
            wait("fwnosuchnic", had, &mut notes);
        }
        assert!(notes.0.is_empty());
    }
}
