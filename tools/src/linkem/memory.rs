//! How much memory a run needs, and whether this machine has it.

use anyhow::{Context, ensure};
use farwire::base::size::show;
use farwire::base::{Rate, size};
use farwire::link::impair::{Profile, Queue};
use nix::sys::resource::{Resource, getrlimit};

/// Size of a chunk, which holds one frame.
const CHUNK: u64 = 4096;
/// Frames beside those under way: on two fill rings and two rx rings of 4096, on tx rings, and in our hands.
const RINGS: u64 = 5 * 4096;
/// More than the profile asks for, in percent: frames are not all of the length that was reckoned with, and come in
/// bursts. Lower: runs with some short frames run out. Higher: memory is locked for nothing.
const MARGIN: u64 = 25;
/// What a direction without a rate is taken to carry: as much as AF_XDP does between veth interfaces.
const UNLIMITED_BPS: u64 = 10_000_000_000;
/// Share of the free memory that may be locked, in percent: the hosts on this machine need some as well.
const MOST_OF_FREE: u64 = 75;
/// Its bit in the capability sets.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Frames that both directions can have under way, for frames of `frame_len` bytes; `None` if there is no limit.
pub fn frames_under_way(profiles: &[Profile; 2], frame_len: usize) -> Option<[u64; 2]> {
    let mut frames = [0; 2];
    for (at, profile) in profiles.iter().enumerate() {
        let profile = match profile.rate {
            Some(_) => profile.clone(),
            // There is no queue without a rate.
            None => Profile { rate: Rate::from_bps(UNLIMITED_BPS), queue: Queue::Bytes(100_000), ..profile.clone() },
        };
        frames[at] = profile.frames_in_flight(frame_len)?;
    }
    Some(frames)
}

/// Bytes of frame memory for so many frames under way.
pub fn bytes_for(frames: [u64; 2]) -> u64 {
    let under_way = frames.iter().fold(0u64, |sum, frames| sum.saturating_add(*frames));
    (under_way.saturating_add(under_way / 100 * MARGIN).saturating_add(RINGS)).saturating_mul(CHUNK)
}

/// Refuses more than this machine can lock, before anything is taken from it; `asked` is what --umem said.
///
/// # Errors
/// Tells how much there is, and the next step.
pub fn check(bytes: u64, asked: Option<u64>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let free = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free = free.and_then(|rest| size::parse(&rest.trim().replace(" kB", "K")).ok());
    let free = free.context("/proc/meminfo does not tell MemAvailable")?;
    let most = free / 100 * MOST_OF_FREE;
    let advice = match asked {
        Some(_) => format!("say --umem with {} at most", show(most)),
        None => "make delay, rate or queue smaller, or say --umem with what may be used".into(),
    };
    ensure!(
        bytes <= most,
        "{} of memory are wanted for frames, and {} are free on this machine: {advice}",
        show(bytes),
        show(free)
    );
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).context("asking for RLIMIT_MEMLOCK")?;
    ensure!(
        bytes <= soft || may_lock_any(),
        "{} of memory are wanted for frames, and {} may be locked: grant CAP_IPC_LOCK (root has it), or raise \
         `ulimit -l`",
        show(bytes),
        show(soft)
    );
    Ok(())
}

fn may_lock_any() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let held = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    held.is_some_and(|held| held & CAP_IPC_LOCK != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &str) -> Option<[u64; 2]> {
        frames_under_way(&[text.parse().unwrap(), text.parse().unwrap()], 1514)
    }

    #[test]
    fn memory_follows_the_profile() {
        // 1 Gbit/s for 150 ms and a queue of 300 ms: 56.25 MB, in frames of 1538 bytes on the wire.
        let [right, left] = frames("rate=1gbit,delay=150ms").unwrap();
        assert!((36_574..36_580).contains(&right) && right == left, "{right}");
        assert_eq!(bytes_for([right, left]), (2 * right + 2 * right / 100 * 25 + 5 * 4096) * 4096);
        // Without a rate it is reckoned as if it were 10 Gbit/s.
        assert!(frames("delay=10ms").unwrap()[0] > 12_500_000 / 1538);
        assert_eq!(frames("rate=1gbit,delay=1ms,queue=unlimited"), None);
        assert_eq!(bytes_for([u64::MAX, 5]), u64::MAX);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let error = check(1 << 50, None).unwrap_err().to_string();
        assert!(error.contains("or say --umem"), "{error}");
        let error = check(1 << 50, Some(1 << 50)).unwrap_err().to_string();
        assert!(error.contains("say --umem with") && error.ends_with("at most"), "{error}");
        check(1 << 20, None).unwrap();
    }
}
