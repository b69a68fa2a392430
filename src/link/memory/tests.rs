//! What the pair promises: order, back-pressure, drops that are counted, wake-ups, delayed completions.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

fn small() -> MemoryConfig {
    MemoryConfig { frames: 16, mtu: 100, rx_reserve: 8, queue_frames: 4, ..MemoryConfig::default() }
}

fn filled(link: &mut MemoryLink, byte: u8) -> Frame {
    let mut frame = link.alloc().expect("a free frame");
    frame.set_len(60);
    frame.bytes_mut().fill(byte);
    frame
}

fn send(link: &mut MemoryLink, bytes: std::ops::Range<u8>) -> VecDeque<Frame> {
    let mut frames = bytes.map(|byte| filled(link, byte)).collect();
    link.tx_burst(&mut frames);
    frames
}

fn receive(link: &mut MemoryLink) -> Vec<u8> {
    let mut out = Vec::new();
    link.rx_burst(&mut out, usize::MAX);
    out.into_iter()
        .map(|frame| {
            let first = frame.bytes()[0];
            assert!(frame.len() == 60 && frame.bytes().iter().all(|&byte| byte == first));
            link.free(frame);
            first
        })
        .collect()
}

fn stat(link: &MemoryLink, name: &str) -> u64 {
    link.stats().into_iter().find(|(known, _)| *known == name).expect("a known counter").1
}

fn readable(link: &MemoryLink, timeout: u16) -> bool {
    let mut fds = [PollFd::new(link.poll_fd().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(timeout)).unwrap() > 0
}

#[test]
fn frames_arrive_in_order_both_ways_and_every_token_comes_home() {
    let (mut a, mut b) = pair(small());
    for round in 0..100 {
        assert!(send(&mut a, 0..3).is_empty() && send(&mut b, 7..9).is_empty());
        assert_eq!((receive(&mut b), receive(&mut a)), (vec![0, 1, 2], vec![7, 8]), "round {round}");
        for (link, sent) in [(&mut a, 3), (&mut b, 2)] {
            let mut done = Vec::new();
            assert_eq!(link.reap(&mut done), sent);
            done.into_iter().for_each(|frame| link.free(frame));
            assert_eq!(link.free_frames(), 8);
        }
    }
    assert_eq!((stat(&a, "tx_frames"), stat(&b, "rx_frames"), stat(&b, "rx_bytes")), (300, 300, 300 * 60));
}

#[test]
fn a_full_queue_leaves_the_rest_with_the_sender() {
    let (mut a, mut b) = pair(small());
    let mut rest = send(&mut a, 0..6);
    assert_eq!((rest.len(), stat(&a, "tx_queue_full")), (2, 1));
    assert_eq!(receive(&mut b), [0, 1, 2, 3]);
    assert_eq!(a.tx_burst(&mut rest), 2);
    assert_eq!(receive(&mut b), [4, 5]);
}

#[test]
fn a_receiver_without_frames_drops_and_counts() {
    let (mut a, mut b) = pair(MemoryConfig { queue_frames: 16, ..small() });
    let held: Vec<Frame> = std::iter::from_fn(|| b.alloc()).collect();
    assert_eq!(held.len(), 8, "the reserve is not given out");
    send(&mut a, 0..8);
    let mut kept = Vec::new();
    assert_eq!(b.rx_burst(&mut kept, 64), 8);
    let mut done = Vec::new();
    a.reap(&mut done);
    done.into_iter().for_each(|frame| a.free(frame));
    send(&mut a, 8..11);
    assert_eq!((receive(&mut b), stat(&b, "rx_no_frame")), (vec![], 3));
    kept.into_iter().for_each(|frame| b.free(frame));
    assert_eq!(b.free_frames(), 0, "what came back belongs to the fill ring first");
    receive(&mut b);
    send(&mut a, 11..12);
    assert_eq!(receive(&mut b), [11]);
    drop(held);
}

#[test]
fn completions_can_be_held_back_until_kicked() {
    let (mut a, _b) = pair(MemoryConfig { hold_completions: 3, hold_kicks: 2, ..small() });
    send(&mut a, 0..4);
    let mut done = Vec::new();
    assert_eq!(a.reap(&mut done), 1, "one more than three are outstanding");
    a.kick().unwrap();
    assert_eq!(a.reap(&mut done), 0);
    a.kick().unwrap();
    assert_eq!(a.reap(&mut done), 3);
    assert_eq!(done.iter().map(|frame| frame.bytes()[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_chain_arrives_whole() {
    let (mut a, mut b) = pair(small());
    let mut frame = filled(&mut a, 1);
    let mut second = filled(&mut a, 2);
    second.set_len(20);
    frame.append(second);
    a.tx_burst(&mut VecDeque::from([frame]));
    let mut out = Vec::new();
    b.rx_burst(&mut out, 1);
    assert_eq!(out[0].len(), 80);
    assert_eq!((out[0].bytes()[59], out[0].bytes()[60]), (1, 2));
}

#[test]
fn the_descriptor_tells_of_arrivals_and_of_room() {
    let (mut a, mut b) = pair(small());
    assert!(!readable(&b, 0));
    send(&mut a, 0..1);
    assert!(readable(&b, 0), "sent while the peer was asleep");
    receive(&mut b);
    assert!(!readable(&b, 0), "received: nothing left to wake for");
    receive(&mut b);
    send(&mut a, 0..6);
    assert!(readable(&b, 0), "sent before the peer asked");
    assert!(!readable(&a, 0), "the queue is full");
    receive(&mut b);
    assert!(readable(&a, 0), "there is room again");
}

#[test]
fn a_sleeping_thread_wakes_for_every_frame() {
    let (mut a, mut b) = pair(small());
    let echo = std::thread::spawn(move || {
        let mut left = 2000;
        while left > 0 {
            assert!(readable(&b, 5000), "{left} frames left and nobody woke us");
            let mut out = Vec::new();
            b.rx_burst(&mut out, 64);
            left -= out.len();
            out.into_iter().for_each(|frame| b.free(frame));
            let mut done = Vec::new();
            b.reap(&mut done);
            done.into_iter().for_each(|frame| b.free(frame));
            send(&mut b, 0..1);
        }
    });
    for _ in 0..2000 {
        assert!(send(&mut a, 5..6).is_empty(), "one frame at a time always fits");
        assert!(readable(&a, 5000), "no answer");
        receive(&mut a);
        let mut done = Vec::new();
        a.reap(&mut done);
        done.into_iter().for_each(|frame| a.free(frame));
    }
    echo.join().unwrap();
}

#[test]
fn a_dead_peer_swallows_frames_as_a_cut_cable_does() {
    let (mut a, b) = pair(small());
    let mut waiting = send(&mut a, 0..6);
    assert!(!readable(&a, 0), "the queue is full");
    drop(b);
    assert!(readable(&a, 0), "nothing holds the frames back any more");
    assert_eq!((a.tx_burst(&mut waiting), stat(&a, "tx_peer_gone")), (2, 2));
}
