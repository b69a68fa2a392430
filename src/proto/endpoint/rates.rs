//! How often connections may be opened: in all, and from one address.

use super::super::config::Config;
use crate::base::{MacAddr, Nanos};

/// Buckets that addresses share: a fixed table, so that a flood from a million addresses takes no memory. Two addresses
/// in one bucket share its rate; fewer buckets make that likely, more take more cache.
const BUCKETS: usize = 1024;
/// Opens that may come at once, as if they had been saved up: hosts that come back together after an outage.
const BURST: u64 = 64;

/// The rates of one endpoint.
pub(super) struct Rates {
    all: Bucket,
    by_address: Vec<Bucket>,
    /// So that nobody knows who shares whose bucket.
    salt: [u8; 32],
}

/// When the next open would come if they came evenly.
#[derive(Clone, Copy, Default)]
pub(super) struct Bucket {
    next_ns: Nanos,
}

impl Rates {
    pub fn new(salt: [u8; 32]) -> Rates {
        Rates { all: Bucket::default(), by_address: vec![Bucket::default(); BUCKETS], salt }
    }

    /// Whether one more connection may be opened by `from` now; if so, it counts.
    pub fn admit(&mut self, now: Nanos, from: MacAddr, config: &Config) -> bool {
        let hash = blake3::keyed_hash(&self.salt, &from.octets());
        let at = usize::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) % BUCKETS;
        let one = &mut self.by_address[at];
        let free = one.is_free(now, config.open_every_from_one_ns) && self.all.is_free(now, config.open_every_ns);
        if free {
            one.take(now, config.open_every_from_one_ns);
            self.all.take(now, config.open_every_ns);
        }
        free
    }

    /// What it takes.
    pub fn memory_bytes(&self) -> usize {
        self.by_address.capacity() * size_of::<Bucket>()
    }
}

impl Bucket {
    /// Whether one more may come now; if so, it counts.
    pub fn admit(&mut self, now: Nanos, every_ns: Nanos) -> bool {
        let free = self.is_free(now, every_ns);
        if free {
            self.take(now, every_ns);
        }
        free
    }

    fn is_free(&self, now: Nanos, every_ns: Nanos) -> bool {
        every_ns == 0 || self.next_ns.saturating_sub(now) < every_ns.saturating_mul(BURST)
    }

    fn take(&mut self, now: Nanos, every_ns: Nanos) {
        self.next_ns = self.next_ns.max(now).saturating_add(every_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SECOND;

    fn mac(n: u32) -> MacAddr {
        let [a, b, c, d] = n.to_be_bytes();
        MacAddr::new(2, 0, a, b, c, d)
    }

    #[test]
    fn one_address_gets_its_rate_and_leaves_room_for_others() {
        let config = Config::default();
        let mut rates = Rates::new([1; 32]);
        let mut admitted = [0, 0];
        for at in 0..100_000u64 {
            let now = at * 10_000; // a second of 100,000 opens a second
            admitted[0] += u32::from(rates.admit(now, mac(1), &config));
            if at % 1000 == 0 {
                admitted[1] += u32::from(rates.admit(now, mac(2), &config));
            }
        }
        assert!((1000..=1000 + BURST as u32).contains(&admitted[0]), "{admitted:?}");
        assert_eq!(admitted[1], 100, "the other one asks rarely and is never refused");
    }

    #[test]
    fn a_million_addresses_get_no_more_than_all_may() {
        let config = Config::default();
        let mut rates = Rates::new([1; 32]);
        let admitted = (0..1_000_000u32).filter(|at| rates.admit(u64::from(*at) * 1000, mac(*at), &config)).count();
        assert!((10_000..=10_000 + BURST as usize).contains(&admitted), "{admitted}");
        assert!(rates.memory_bytes() <= 8192);
        assert!(rates.admit(2 * SECOND, mac(7), &config));
    }
}
