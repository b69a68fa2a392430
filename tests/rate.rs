//! A rate beyond the link's own is refused before anything is sent, with both named.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use farwire::api::{Endpoint, EndpointConfig, OpenError, Rate};
use farwire::link::memory::{self, MemoryConfig, MemoryLink};
use farwire::link::{Caps, Frame, Link, LinkError};

/// A link that says how fast it is.
struct Rated {
    caps: Caps,
    link: MemoryLink,
}

impl Link for Rated {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn alloc(&mut self) -> Option<Frame> {
        self.link.alloc()
    }
    fn free(&mut self, frame: Frame) {
        self.link.free(frame);
    }
    fn free_frames(&self) -> usize {
        self.link.free_frames()
    }
    fn rx_burst(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        self.link.rx_burst(out, max)
    }
    fn tx_burst(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        self.link.tx_burst(frames)
    }
    fn reap(&mut self, done: &mut Vec<Frame>) -> usize {
        self.link.reap(done)
    }
    fn kick(&mut self) -> Result<(), LinkError> {
        self.link.kick()
    }
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.poll_fd()
    }
    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.link.stats()
    }
}

fn open(rate: &str) -> Result<Endpoint, OpenError> {
    let (link, _) = memory::pair(MemoryConfig::default());
    let caps = Caps { name: "eth9 queue 0".into(), speed_bps: Some(10_000_000_000), ..link.caps().clone() };
    Endpoint::over(Rated { caps, link }, EndpointConfig::insecure().rate(rate.parse::<Rate>().unwrap()))
}

#[test]
fn a_rate_beyond_the_link_is_refused_with_both_named() {
    let Err(error) = open("10.1gbit") else { panic!("10.1 Gbit/s over a 10 Gbit/s link") };
    let text = error.to_string();
    assert!(text.contains("eth9 queue 0 runs at 10.00 Gbit/s") && text.contains("10.10 Gbit/s"), "{text}");
    assert!(text.contains("--rate"), "the next step is missing: {text}");
    assert!(open("10gbit").is_ok());
}
