//! Names that stay, a bound that holds, lines that parse.

use serde_json::Value;

use super::*;

const CONN: ConnId = ConnId(7);

/// One of each.
fn all() -> [Event; 9] {
    [
        Event::State { conn: CONN, from: "opening", to: "open" },
        Event::PacketLost { conn: CONN, number: 41, reason: LossReason::TimeThreshold },
        Event::SpuriousLoss { conn: CONN, number: 41 },
        Event::TailProbe { conn: CONN, in_a_row: 2 },
        Event::CongestionState { conn: CONN, from: "slow_start", to: "avoidance" },
        Event::RateBreaker { conn: CONN, from_bps: 10_000_000_000, to_bps: 9_000_000_000 },
        Event::ResetReceived { conn: CONN },
        Event::StreamReset { conn: CONN, stream: StreamId(4), code: 9 },
        Event::Closed { conn: CONN, by: CloseCause::IdleTimeout, code: 0 },
    ]
}

#[test]
fn lines_carry_the_names_and_the_data() {
    let mut sink = JsonLines::new(Vec::new());
    for (now, event) in (5..).zip(all()) {
        sink.on_event(now, &event);
    }
    assert_eq!(sink.failed(), 0);
    let text = String::from_utf8(sink.into_inner()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for ((line, event), time_ns) in lines.iter().zip(all()).zip(5u64..) {
        assert_eq!(line["name"], event.name(), "the name in the line and the name in code");
        assert_eq!((&line["time_ns"], &line["data"]["conn"]), (&Value::from(time_ns), &Value::from(7)));
    }
    let lost = r#"{"time_ns":6,"name":"recovery:packet_lost","data":{"conn":7,"number":41,"reason":"time_threshold"}}"#;
    assert_eq!((text.lines().nth(1), lines.len()), (Some(lost), 9));
}

#[test]
fn a_ring_keeps_its_bound_and_counts_the_rest() {
    let mut ring = EventRing::new(2);
    for (now, event) in (0..).zip(all()) {
        ring.on_event(now, &event);
    }
    assert_eq!((ring.pop(), ring.dropped()), (Some((0, all()[0])), 7));
    ring.on_event(9, &all()[8]);
    assert_eq!(ring.drain().collect::<Vec<_>>(), [(1, all()[1]), (9, all()[8])]);
}

#[test]
fn a_writer_that_fails_is_counted_and_harms_nobody() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = JsonLines::new(Full);
    all().iter().for_each(|event| sink.on_event(0, event));
    assert_eq!(sink.failed(), 9);
}

#[test]
fn sinks_are_taken_boxed_and_borrowed() {
    fn tell(mut sink: impl EventSink) {
        sink.on_event(3, &Event::ResetReceived { conn: CONN });
    }
    let mut ring = EventRing::new(4);
    tell(&mut ring);
    tell(NoEvents);
    tell(Box::new(&mut ring) as Box<dyn EventSink + '_>);
    assert_eq!(ring.drain().count(), 2);
}
