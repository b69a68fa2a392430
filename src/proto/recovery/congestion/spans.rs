//! The flow cut into spans of sending time, by packet number: what became of the packets of each.
//!
//! A rate that was tried for a while is judged by its own packets, whenever their acknowledgements come: no waiting
//! for a change to settle, and no timing of bursts.

use std::collections::VecDeque;

use super::AckSample;
use crate::base::Nanos;

/// Packets of one stretch of time, and what is known of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Span {
    /// Counts changes of the rate: spans of one epoch were sent at one rate.
    pub epoch: u32,
    /// When it began and ended to be sent.
    pub began_ns: Nanos,
    /// When it ended.
    pub ended_ns: Nanos,
    /// Wire bytes sent in it.
    pub sent: u64,
    /// Wire bytes of them that arrived.
    pub acked: u64,
    /// Wire bytes of them that were lost.
    pub lost: u64,
    /// What was heard of it was heard while the application had nothing more to send.
    pub app_limited: bool,
    /// The shortest round trip of its packets; `Nanos::MAX` where there was no sample.
    pub rtt_min_ns: Nanos,
    first: u64,
    end: u64,
}

impl Span {
    /// Share of what is known that was lost.
    pub fn loss(&self) -> f64 {
        self.lost as f64 / (self.acked + self.lost).max(1) as f64
    }

    /// Whether most of it is accounted for: after an outage the losses of many spans are told as one's.
    pub fn is_known(&self) -> bool {
        let told = self.acked + self.lost;
        self.acked > 0 && told * 2 >= self.sent && told <= self.sent * 2
    }
}

/// The spans of one flow.
#[derive(Debug)]
pub struct Spans {
    /// The last one is being sent; those before wait for their acknowledgements.
    spans: VecDeque<Span>,
    /// Wire bytes sent before the last one.
    sent_before: u64,
    highest: u64,
}

impl Spans {
    /// Begins with packet `next`; `sent` wire bytes were sent before.
    pub fn new(now: Nanos, next: u64, sent: u64) -> Spans {
        let mut spans = Spans { spans: VecDeque::new(), sent_before: sent, highest: 0 };
        spans.open(now, next, 0);
        spans
    }

    /// The span that is being sent ends with the packet before `next`; another one begins.
    pub fn cut(&mut self, now: Nanos, next: u64, sent: u64, epoch: u32) {
        if let Some(last) = self.spans.back_mut() {
            last.ended_ns = now;
            last.end = next;
            last.sent = sent - self.sent_before;
        }
        self.sent_before = sent;
        self.open(now, next, epoch);
    }

    /// Forgets what is under way.
    pub fn forget(&mut self, now: Nanos, next: u64, sent: u64, epoch: u32) {
        self.spans.clear();
        self.sent_before = sent;
        self.open(now, next, epoch);
    }

    /// When the span that is being sent began.
    pub fn began_ns(&self) -> Nanos {
        self.spans.back().map_or(0, |span| span.began_ns)
    }

    /// Packets were acknowledged.
    pub fn on_ack(&mut self, ack: &AckSample<'_>) {
        self.highest = self.highest.max(ack.largest_newly_acked + 1);
        if let Some(span) = self.of(ack.largest_newly_acked) {
            span.app_limited = ack.rate.is_app_limited && (span.app_limited || span.acked == 0);
            span.acked += ack.acked_bytes;
            span.rtt_min_ns = span.rtt_min_ns.min(ack.rtt_sample_ns.unwrap_or(Nanos::MAX));
        }
    }

    /// Packets up to `largest` were lost.
    pub fn on_loss(&mut self, largest: u64, bytes: u64) {
        if let Some(span) = self.of(largest) {
            span.lost += bytes;
        }
    }

    /// The oldest span, once a packet behind it was acknowledged: then its losses are known as well, reordering apart.
    pub fn poll(&mut self) -> Option<Span> {
        let told = self.spans.front().is_some_and(|span| span.end < self.highest);
        if told { self.spans.pop_front() } else { None }
    }

    /// The span of a packet; the oldest one where its own is gone.
    fn of(&mut self, number: u64) -> Option<&mut Span> {
        self.spans.iter_mut().find(|span| number < span.end)
    }

    fn open(&mut self, now: Nanos, next: u64, epoch: u32) {
        self.spans.push_back(Span {
            epoch,
            began_ns: now,
            ended_ns: now,
            sent: 0,
            acked: 0,
            lost: 0,
            app_limited: false,
            rtt_min_ns: Nanos::MAX,
            first: next,
            end: u64::MAX,
        });
    }
}
