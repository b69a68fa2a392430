//! Reassembly against a list of bytes, and single cases.

use proptest::prelude::*;
use std::collections::BTreeSet;

use super::*;

fn arrive(half: &mut RecvHalf, table: &mut SegmentTable, frame: u32, at: (u64, u16, bool)) -> Vec<u32> {
    let segment = Segment { frame: FrameId(frame), offset: at.0, len: at.1, fin: at.2 };
    let mut delivered = Vec::new();
    if half.on_segment(table, segment) == Arrival::Next {
        delivered.push(frame);
        while let Some((held, _, _)) = half.poll_held(table) {
            delivered.push(held.0);
        }
    }
    delivered
}

proptest! {
    /// Any order, with duplicates, of segments of any length: each is delivered once, and together they are the stream.
    #[test]
    fn any_order_is_delivered_in_order(
        cuts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..60),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        empty_end in any::<bool>(),
    ) {
        let mut segments: Vec<(u64, &[u8], bool)> = Vec::new();
        let mut stream: Vec<u8> = Vec::new();
        for cut in &cuts {
            segments.push((stream.len() as u64, cut, false));
            stream.extend(cut);
        }
        segments.last_mut().unwrap().2 = !empty_end;
        segments.extend(empty_end.then_some((stream.len() as u64, &[][..], true)));
        let mut table = SegmentTable::new(512);
        let mut half = RecvHalf::new(1 << 20);
        let (mut seen, mut out, mut ends) = (BTreeSet::new(), Vec::<u8>::new(), 0);
        let picks: Vec<usize> = order.iter().map(|i| i.index(segments.len())).chain(0..segments.len()).collect();
        for (frame, &pick) in picks.iter().enumerate() {
            let (offset, bytes, fin) = segments[pick];
            let segment = Segment { frame: FrameId(frame as u32), offset, len: bytes.len() as u16, fin };
            let next = out.len() as u64 == offset;
            let expected = match seen.insert(pick) {
                false => Arrival::Unwanted,
                true if next => Arrival::Next,
                true => Arrival::Held,
            };
            prop_assert_eq!(half.on_segment(&mut table, segment), expected);
            if expected != Arrival::Next { continue; }
            let first = (segment.frame, segment.len, fin);
            for (frame, len, fin) in std::iter::once(first).chain(std::iter::from_fn(|| half.poll_held(&mut table))) {
                let (_, bytes, ends_here) = segments[picks[frame.0 as usize]];
                prop_assert_eq!((usize::from(len), fin), (bytes.len(), ends_here));
                out.extend(bytes);
                ends += u32::from(fin);
            }
            prop_assert_eq!(half.next_offset(), out.len() as u64);
        }
        prop_assert_eq!(out, stream);
        prop_assert!(half.is_over() && ends == 1);
    }

    /// Whatever segments arrive, cut in whatever way: a byte has one frame, frames come out in the order of their
    /// bytes, none twice, and those that are left are freed at the end.
    #[test]
    fn no_segments_whatever_confuse_it(
        steps in prop::collection::vec((0u64..150, 0u16..25, prop::bool::weighted(0.1)), 1..150),
        window in 1u64..200,
    ) {
        let (mut table, mut half) = (SegmentTable::new(256), RecvHalf::new(window));
        let mut model = Model { owners: vec![None; 200], kept: BTreeSet::new(), at: 0, ended: false };
        for (frame, (offset, len, fin)) in steps.into_iter().enumerate() {
            let segment = Segment { frame: FrameId(frame as u32), offset, len, fin };
            let arrival = half.on_segment(&mut table, segment);
            model.arrive(segment, arrival, window);
            if arrival == Arrival::Next {
                model.deliver(segment.frame, len, fin);
                while let Some((frame, len, fin)) = half.poll_held(&mut table) {
                    model.deliver(frame, len, fin);
                }
            }
            prop_assert_eq!(half.next_offset(), model.at as u64);
            prop_assert_eq!(half.is_over(), model.ended);
        }
        let mut released = Vec::new();
        half.abandon(&mut table, &mut released);
        let count = released.len();
        let released: BTreeSet<u32> = released.into_iter().map(|frame| frame.0).collect();
        prop_assert_eq!((count, &released), (model.kept.len(), &model.kept));
    }
}

/// A stream as a list of bytes, each with the frame that it is in.
struct Model {
    owners: Vec<Option<u32>>,
    /// Frames that were taken and not delivered.
    kept: BTreeSet<u32>,
    at: usize,
    ended: bool,
}

impl Model {
    fn arrive(&mut self, segment: Segment, arrival: Arrival, window: u64) {
        let Segment { frame, offset, len, .. } = segment;
        let end = offset + u64::from(len);
        let bytes = &mut self.owners[offset as usize..end as usize];
        let taken = bytes.iter().filter(|owner| owner.is_some()).count();
        match arrival {
            Arrival::Next | Arrival::Held => {
                assert!(!self.ended && end <= window && taken == 0, "{segment:?}");
                assert_eq!(arrival == Arrival::Next, offset as usize == self.at, "{segment:?}");
                bytes.fill(Some(frame.0));
                self.kept.insert(frame.0);
            }
            Arrival::Unwanted => assert!(self.ended || taken == bytes.len(), "{segment:?}: {taken} bytes are here"),
            Arrival::BeyondCredit => assert!(end > window, "{segment:?}"),
            Arrival::Violation(_) => {}
        }
    }

    fn deliver(&mut self, frame: FrameId, len: u16, fin: bool) {
        let bytes = &self.owners[self.at..self.at + usize::from(len)];
        assert!(!self.ended && bytes.iter().all(|owner| *owner == Some(frame.0)), "{frame:?} at {}", self.at);
        assert!(self.kept.remove(&frame.0), "{frame:?} twice");
        self.at += usize::from(len);
        self.ended = fin;
    }
}

#[test]
fn overlap_and_bytes_after_the_end_are_violations() {
    let (mut table, mut half) = (SegmentTable::new(8), RecvHalf::new(1000));
    arrive(&mut half, &mut table, 0, (10, 10, false));
    let cut = Segment { frame: FrameId(1), offset: 15, len: 10, fin: false };
    assert!(matches!(half.on_segment(&mut table, cut), Arrival::Violation(_)));
    arrive(&mut half, &mut table, 2, (20, 5, true));
    let beyond = Segment { frame: FrameId(3), offset: 25, len: 1, fin: false };
    assert!(matches!(half.on_segment(&mut table, beyond), Arrival::Violation(_)));
}

/// Found by the property test: an empty segment with the end waited, then one with bytes brought the same end.
#[test]
fn the_end_is_told_once() {
    for (first, second) in [((1, 0, true), (0, 1, true)), ((0, 1, true), (1, 0, true)), ((5, 1, true), (6, 0, true))] {
        let (mut table, mut half) = (SegmentTable::new(8), RecvHalf::new(10));
        let segment = |frame, (offset, len, fin)| Segment { frame: FrameId(frame), offset, len, fin };
        assert!(matches!(half.on_segment(&mut table, segment(0, first)), Arrival::Next | Arrival::Held));
        assert_eq!(half.on_segment(&mut table, segment(1, second)), Arrival::Violation("two ends of one stream"));
    }
}

/// Found by fuzzing: it panicked where overflows are checked.
#[test]
fn an_end_at_the_last_offset_of_all_is_beyond_the_credit() {
    let (mut table, mut half) = (SegmentTable::new(8), RecvHalf::new(1000));
    let last = Segment { frame: FrameId(0), offset: u64::MAX, len: 0, fin: true };
    assert_eq!(half.on_segment(&mut table, last), Arrival::BeyondCredit);
}

#[test]
fn credit_is_enforced() {
    let (mut table, mut half) = (SegmentTable::new(8), RecvHalf::new(10));
    let much = Segment { frame: FrameId(0), offset: 5, len: 6, fin: false };
    assert_eq!(half.on_segment(&mut table, much), Arrival::BeyondCredit);
}

#[test]
fn a_reset_frees_what_was_held_and_tells_what_will_not_come() {
    let (mut table, mut half) = (SegmentTable::new(8), RecvHalf::new(1000));
    arrive(&mut half, &mut table, 0, (10, 10, false));
    arrive(&mut half, &mut table, 1, (20, 10, false));
    let mut released = Vec::new();
    assert_eq!(half.on_reset(&mut table, 5, &mut released), Some(3));
    assert_eq!(released, [FrameId(0), FrameId(1)]);
    assert_eq!(half.on_reset(&mut table, 5, &mut released), None);
}
