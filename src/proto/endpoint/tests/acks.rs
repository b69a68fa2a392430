//! What a peer acknowledges, and what it did not get.

use super::*;
use crate::wire::{Ack, AckWords};

/// A sender and its peer, as the peer's packets show it.
struct Sender {
    endpoint: Endpoint,
    stream: u32,
    /// Our id of the connection, which the peer writes to, and the last number that it used.
    id: ConnId,
    told: u64,
    now: Nanos,
    /// The numbers that have come.
    arrived: Vec<u64>,
    free: Vec<FrameId>,
}

impl Sender {
    fn new(seed: u8) -> Sender {
        let (mut a, mut b) = (endpoint(seed, Config::default()), endpoint(0, Config::default()));
        let conn = a.connect(0, mac(0)).unwrap();
        talk(&mut a, &mut b, 0);
        let id = a.peer(conn).unwrap().0;
        let stream = a.open_stream(0, conn).unwrap();
        events(&mut a);
        let free = (0..100).map(FrameId).collect();
        Sender { endpoint: a, stream, id, told: 1000, now: 0, arrived: Vec::new(), free }
    }

    /// Sends all that it may of what it could; the peer gets it.
    fn send(&mut self) {
        self.now += MILLISECOND;
        self.endpoint.on_timeout(self.now);
        self.free.append(&mut self.endpoint.output().released);
        for frame in self.free.drain(..) {
            assert_eq!(self.endpoint.on_write(self.stream, (frame, 1000, false)), Written::Queued);
        }
        let mut body = [0; 1500];
        while let Some(sent) = self.endpoint.poll_transmit(self.now, &|_| false, &mut body) {
            self.arrived.push(sent.header.number);
        }
    }

    fn hear(&mut self, items: &[Item<'_>]) {
        let (mut body, mut len) = ([0; 1500], 0);
        items.iter().for_each(|item| len += item.emit(&mut body[len..]).unwrap());
        self.told += 1;
        let sent = Sent::new(mac(0), PacketType::Control, (self.id, self.told), &body[..len]);
        hear(&mut self.endpoint, self.now, &sent);
    }

    /// The peer acknowledges the last 10,000 packets, and with `blindly` all others with them.
    fn acknowledge(&mut self, blindly: bool) {
        let largest = *self.arrived.last().unwrap();
        let first_word = (largest / 64).saturating_sub(160);
        let mut words = vec![if blindly { !0 } else { 0 }; (largest / 64 - first_word + 1) as usize];
        *words.last_mut().unwrap() &= !0 >> (63 - largest % 64);
        for number in self.arrived.iter().filter(|number| **number / 64 >= first_word) {
            words[(number / 64 - first_word) as usize] |= 1 << (number % 64);
        }
        let words = AckWords::Native(&words);
        let ack = Ack { largest, delay_ns: 0, floor: 0, first_word, words };
        self.hear(&[Item::Ack(ack), Item::ConnCredit { segments: 1 << 40 }]);
        self.hear(&[Item::StreamCredit { stream: StreamId(0), limit: 1 << 60 }]);
    }

    /// The numbers between the first and the last that never came.
    fn left_out(&self) -> Vec<u64> {
        let came: std::collections::BTreeSet<u64> = self.arrived.iter().copied().collect();
        (self.arrived[0]..*came.last().unwrap()).filter(|number| !came.contains(number)).collect()
    }

    /// Why its connection is over, if it is.
    fn end(&mut self) -> Option<CloseReason> {
        events(&mut self.endpoint).into_iter().find_map(|event| match event {
            Event::Closed { reason, .. } => Some(reason),
            _ => None,
        })
    }
}

#[test]
fn who_acknowledges_blindly_is_caught_at_the_first_number_that_was_never_sent() {
    let mut caught = Vec::new();
    for seed in 1..20 {
        let mut sender = Sender::new(seed);
        let end = loop {
            sender.send();
            sender.acknowledge(true);
            if let Some(end) = sender.end() {
                break end;
            }
            assert!(sender.left_out().is_empty() && sender.arrived.len() < 40_000, "not caught");
        };
        assert!(matches!(end, CloseReason::Violation(what) if what.contains("never sent")), "{end}");
        assert_eq!(sender.endpoint.counters().false_acks, 1);
        let said = poll(&mut sender.endpoint, sender.now).expect("the peer is told");
        let close = Items::new(&said.body).find(|item| matches!(item, Ok(Item::Close { .. })));
        assert!(
            matches!(close, Some(Ok(Item::Close { code: code::FALSE_ACK, reason })) if reason.contains("never sent"))
        );
        caught.push(sender.arrived.len());
    }
    caught.sort_unstable();
    assert!(caught[0] < 1000 && caught[18] > 2000 && caught[9] < 6000, "at any time: {caught:?}");
}

#[test]
fn who_acknowledges_what_it_got_is_never_suspected_and_nothing_is_lost() {
    for seed in 1..5 {
        let mut sender = Sender::new(seed);
        while sender.arrived.len() < 20_000 {
            sender.send();
            sender.acknowledge(false);
            assert_eq!(sender.end(), None);
        }
        assert!(sender.left_out().len() > 3, "{:?}", sender.left_out());
        let counters = sender.endpoint.counters();
        assert_eq!((counters.lost_packets, counters.retransmitted_packets, counters.tail_probes), (0, 0, 0));
    }
}

#[test]
fn numbers_beyond_the_next_are_caught_at_once() {
    let mut sender = Sender::new(1);
    sender.send();
    let largest = sender.arrived.last().unwrap() + 1;
    let ack = Ack { largest, delay_ns: 0, floor: 0, first_word: largest / 64, words: AckWords::Native(&[]) };
    sender.hear(&[Item::Ack(ack)]);
    assert!(matches!(sender.end(), Some(CloseReason::Violation(_))));
    assert_eq!(sender.endpoint.counters().false_acks, 1);
}

/// Pings ask for no ACK, so nothing would ever tell the peer which numbers it need not wait for.
#[test]
fn a_connection_that_only_pings_does_not_run_out_of_numbers() {
    let (mut a, mut b) = (endpoint(1, Config::default()), endpoint(2, Config::default()));
    let conn = a.connect(0, mac(2)).unwrap();
    talk(&mut a, &mut b, 0);
    let run = PingRun { count: 140_000, size: 64, interval_ns: 5 * MICROSECOND, timeout_ns: SECOND };
    assert!(a.ping(0, conn, run));
    let (mut now, mut body) = (0, vec![0; 1500]);
    while !events(&mut a).iter().any(|event| matches!(event, Event::PingDone { .. })) {
        now += 5 * MICROSECOND;
        assert!(now < 5 * SECOND, "{a:?}");
        exchange(&mut a, &mut b, now, &mut body);
        exchange(&mut b, &mut a, now, &mut body);
    }
    for endpoint in [&a, &b] {
        let floor = endpoint.conns.iter().next().unwrap().1.received.floor();
        assert!(floor >= 1 << 17, "still waits for {floor}");
    }
}

/// What one has to say, and what the other echoes at once.
fn exchange(from: &mut Endpoint, to: &mut Endpoint, now: Nanos, body: &mut [u8]) {
    let ping_of = |transmit: &Transmit| match transmit.content {
        Content::Ping(ping) => Some(ping),
        _ => None,
    };
    from.on_timeout(now);
    while let Some(sent) = from.poll_transmit(now, &|_| false, body) {
        let length = usize::from(sent.header.length);
        ping_of(&sent).into_iter().for_each(|ping| _ = ping.emit(body, length));
        let packet = Packet { src: from.identity.mac, header: sent.header, body: &body[..length], frame: FrameId(0) };
        let Verdict::Echo(echo) = to.on_packet(now, &packet) else { continue };
        ping_of(&echo).into_iter().for_each(|ping| _ = ping.emit(body, length));
        let packet = Packet { src: to.identity.mac, header: echo.header, body: &body[..length], frame: FrameId(0) };
        assert_eq!(from.on_packet(now, &packet), Verdict::Free);
    }
}
