//! `bench in-flight`: whether a data packet costs the same however many are in flight.
//!
//! The same flow over longer and longer paths of the simulator, at one rate and one distance between turns: all that
//! differs is what is in flight. Callgrind forgets what it counted when the start is over, and tells functions apart by
//! their callers, so one run shows each end's engine, and what the simulated card does is left out.

use anyhow::ensure;
use farwire::base::size::wire_bytes;
use farwire::base::time::{MICROSECOND, MILLISECOND, SECOND};
use farwire::base::{Nanos, Rate};
use farwire::link::BURST;
use farwire::link::impair::Profile as Path;
use farwire::proto::recovery::Algorithm;
use farwire::sim::flow::{Flow, Plan};
use farwire::wire::ETHERNET_LEN;
use serde::{Deserialize, Serialize};

use super::callgrind::Profile;
use super::report::Side;
use super::rooms::LINK;
use super::{usage, valgrind};

/// Frames in a pool for each packet in flight: a stream gets three quarters of a window, a window at most two thirds of
/// the frames, and it grows by half of what is left each time. Lower, and credit is what limits the flow for many round
/// trips; higher, and a million packets in flight do not fit the memory of a small machine.
const FRAMES_PER_PACKET: usize = 3;
/// The same where packets get lost: what arrives behind a hole is held until the hole is filled, a round trip and more.
const FRAMES_PER_PACKET_LOSS: usize = 8;
/// Frames beside these: the card's ring, what the writer has, what is in flight while an ACK is put off.
const FRAMES_MORE: usize = 8192;
/// Round trips before it is counted: windows have grown by then.
const START_RTTS: u64 = 4;
/// And at least so long, so that on short paths too every table has been used once.
const START_LEAST_NS: Nanos = 20 * MILLISECOND;
/// What is counted is a round trip, and at least this: two looks at the connections' patience.
const SPAN_LEAST_NS: Nanos = 20 * MILLISECOND;
/// Deeper than any call here.
const CALLERS: usize = 40;
/// An open is given up after 5 s without an answer: longer, and there is no flow to count.
const RTT_MOST_NS: Nanos = 4 * SECOND;
/// Share of packets lost: with so much, flows of 1000 packets still had that many in flight. Higher, and opens remain
/// without an answer, at the latest where all is lost.
const LOSS_MOST: f64 = 0.5;
/// Looks at what is in flight while it is counted.
const LOOKS: u64 = 8;

#[derive(clap::Args)]
pub struct Options {
    /// Packets in flight, row by row; the first is what the others are compared with. A million takes 6 GiB.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000",
          value_parser = clap::value_parser!(u64).range(100..=2_000_000))]
    packets: Vec<u64>,
    /// Functions to list for each end of each row.
    #[arg(long, default_value_t = 0)]
    top: usize,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scene: Scene,
}

/// What all rows have in common.
#[derive(clap::Args, Clone, Debug)]
pub struct Scene {
    /// Rate of the sender.
    #[arg(long, default_value = "25gbit")]
    rate: Rate,
    /// From one turn of an engine to the next while it has work, in virtual time: with the rate it says how many
    /// packets a turn handles.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=1000))]
    turn_us: u64,
    /// MTU of the link. Only the checksum depends on it, and the memory that a pool takes.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(576..=9000))]
    mtu: u16,
    /// Share of packets that the path loses, at random: 0.1% or 0.001. Takes nearly three times the memory.
    #[arg(long, default_value = "0", value_parser = loss)]
    loss: f64,
}

fn loss(text: &str) -> Result<f64, String> {
    if text.contains(',') {
        return Err("one share; say for example 0.1%".into());
    }
    let loss = Path::default().with(&format!("loss={text}")).map_err(|error| error.to_string())?.loss;
    if loss > LOSS_MOST {
        return Err(format!("at most {}%: with more, an open may get no answer", LOSS_MOST * 100.0));
    }
    Ok(loss)
}

/// One run under valgrind (hidden).
#[derive(clap::Args)]
pub struct Run {
    #[arg(long)]
    packets: u64,
    #[command(flatten)]
    scene: Scene,
}

/// What was moved while it was counted.
#[derive(Serialize, Deserialize, Clone, Default, Debug)]
struct Counts {
    /// Data packets: sent, and received.
    sent: u64,
    received: u64,
    acks: u64,
    lost: u64,
    /// On average.
    in_flight: u64,
}

#[derive(Serialize)]
struct Row {
    packets: u64,
    rtt_us: f64,
    /// To those without checksum of the first row: sender, receiver, both.
    ratios: [f64; 3],
    #[serde(flatten)]
    counts: Counts,
    sides: [Side; 2],
    /// What was done for the simulated cards and wires, of both ends, for each data packet; part of nothing else here.
    left_out: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    rate_bps: u64,
    turn_us: u64,
    mtu: u16,
    loss: f64,
    rows: &'a [Row],
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    options.packets.iter().try_for_each(|&packets| options.scene.check(packets)).map_err(usage)?;
    valgrind::find()?;
    let mut rows: Vec<Row> = Vec::new();
    for &packets in &options.packets {
        let row = options.row(packets, rows.first())?;
        if !options.json {
            row.print(rows.is_empty(), options);
        }
        rows.push(row);
    }
    if options.json {
        let Scene { rate, turn_us, mtu, loss } = options.scene;
        let report = Report { benchmark: "in-flight", rate_bps: rate.bps(), turn_us, mtu, loss, rows: &rows };
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

/// The work itself, which valgrind watches.
pub fn run_inside(run: &Run) -> anyhow::Result<()> {
    let length = run.scene.length(run.packets);
    let mut flow = Flow::new(run.scene.plan(run.packets));
    flow.run_from_first_byte(length.start_ns);
    let counts = counted_span(&mut flow, length.span_ns);
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

/// Callgrind forgets what it counted before this.
#[inline(never)]
fn counted_span(flow: &mut Flow, span_ns: Nanos) -> Counts {
    let count = |flow: &Flow| {
        let (sender, receiver) = (flow.counters(0), flow.counters(1));
        [sender.tx_data_packets, receiver.rx_data_packets, receiver.tx_acks, sender.lost_packets]
    };
    let before = count(flow);
    let mut in_flight = 0;
    for _ in 0..LOOKS {
        flow.run(span_ns / LOOKS);
        in_flight += flow.packets_in_flight();
    }
    let after = count(flow);
    let [sent, received, acks, lost] = std::array::from_fn(|index| after[index] - before[index]);
    Counts { sent, received, acks, lost, in_flight: in_flight / LOOKS }
}

/// How long a run is, in virtual time.
#[derive(PartialEq, Debug)]
struct Length {
    start_ns: Nanos,
    span_ns: Nanos,
}

impl Scene {
    /// A path that so many full frames fill at the rate, there and back. It has no rate of its own.
    fn plan(&self, packets: u64) -> Plan {
        let forward = Path { delay_ns: self.rtt_ns(packets) / 2, loss: self.loss, ..Path::default() };
        let per_packet = if self.loss > 0.0 { FRAMES_PER_PACKET_LOSS } else { FRAMES_PER_PACKET };
        Plan {
            algorithm: Algorithm::Fixed(self.rate),
            forward,
            frames: packets as usize * per_packet + FRAMES_MORE,
            mtu: usize::from(self.mtu),
            turn_ns: self.turn_us * MICROSECOND,
            seed: 1,
        }
    }

    fn length(&self, packets: u64) -> Length {
        let rtt_ns = self.rtt_ns(packets);
        Length { start_ns: (START_RTTS * rtt_ns).max(START_LEAST_NS), span_ns: rtt_ns.max(SPAN_LEAST_NS) }
    }

    /// Whether so many packets can be in flight at all; in words, if not.
    fn check(&self, packets: u64) -> Result<(), String> {
        let Scene { rate, turn_us, mtu, .. } = self;
        let a_turn = self.turn_us * MICROSECOND / self.rtt_ns(1).max(1);
        if a_turn > BURST as u64 {
            return Err(format!(
                "--rate {rate} --turn-us {turn_us} --mtu {mtu}: {a_turn} packets a turn, of which an engine sends \
                 {BURST}; take a lower rate, shorter turns or longer packets"
            ));
        }
        let bytes = packets * self.wire_bytes();
        if bytes > rate.bytes_in(RTT_MOST_NS) {
            return Err(format!(
                "--packets {packets} --rate {rate} --mtu {mtu}: they need a round trip of {:.1} s, more than {} s; \
                 take a higher rate or fewer packets",
                bytes as f64 * 8.0 / rate.bps() as f64,
                RTT_MOST_NS / SECOND
            ));
        }
        Ok(())
    }

    fn rtt_ns(&self, packets: u64) -> Nanos {
        self.rate.duration_of(packets * self.wire_bytes())
    }

    /// What a full frame takes of the link.
    fn wire_bytes(&self) -> u64 {
        wire_bytes(usize::from(self.mtu) + ETHERNET_LEN)
    }
}

impl Options {
    fn row(&self, packets: u64, first: Option<&Row>) -> anyhow::Result<Row> {
        let (profile, counts) = self.profile(packets)?;
        ensure!(
            self.scene.loss > 0.0 || counts.lost == 0,
            "{packets} in flight: {} packets were lost on a perfect path",
            counts.lost
        );
        let of_card = |chain: &str| chain.contains("::nic::card_");
        let ends = [("sender", "::sender_turn", counts.sent), ("receiver", "::receiver_turn", counts.received)];
        let sides = ends.map(|(name, turn, packets)| {
            let engine = profile.of_callers(|chain| chain.contains(turn) && !of_card(chain));
            Side::new(name, &engine, packets)
        });
        let left_out = profile.of_callers(of_card).total() as f64 / counts.received as f64;
        let rtt_us = self.scene.rtt_ns(packets) as f64 / 1e3;
        let mut row = Row { packets, rtt_us, ratios: [1.0; 3], counts, sides, left_out };
        if let Some(first) = first {
            let (own, base) = (row.costs(), first.costs());
            row.ratios = std::array::from_fn(|index| own[index] / base[index]);
        }
        row.sides.iter_mut().for_each(|side| side.keep(self.top, 0));
        Ok(row)
    }

    fn profile(&self, packets: u64) -> anyhow::Result<(Profile, Counts)> {
        let Scene { rate, turn_us, mtu, loss } = self.scene;
        let scene = [
            format!("--packets={packets}"),
            format!("--rate={}", rate.bps()),
            format!("--turn-us={turn_us}"),
            format!("--mtu={mtu}"),
            format!("--loss={loss}"),
        ];
        let args: Vec<&str> = ["in-flight-run"].into_iter().chain(scene.iter().map(String::as_str)).collect();
        let run = valgrind::Run {
            name: "in-flight",
            toggles: &["*flow::sender_turn", "*flow::receiver_turn"],
            zero_before: Some("*flat::counted_span"),
            callers: CALLERS,
        };
        run.profile(&args)
    }
}

impl Row {
    /// Without the checksum, which is the same everywhere and would hide what differs.
    fn costs(&self) -> [f64; 3] {
        let [sender, receiver] = [0, 1].map(|side: usize| self.sides[side].without_crc);
        [sender, receiver, sender + receiver]
    }

    fn print(&self, first: bool, options: &Options) {
        if first {
            let Scene { rate, turn_us, mtu, loss } = &options.scene;
            let scene = format!("fixed {rate}, MTU {mtu}, a turn each {turn_us} µs, {}% lost", loss * 100.0);
            println!("Instructions per data packet without crc32c ({scene})\n");
            println!("| in flight | round trip | packets counted | per ACK | sender | receiver | both | of the card |");
            println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        }
        let Counts { received, acks, in_flight, .. } = self.counts;
        let costs = self.costs();
        let cell = |index: usize| format!("{:.0} ({:.3})", costs[index], self.ratios[index]);
        let of_card =
            |side: &Side| side.rooms.iter().filter(|(room, _)| *room == LINK).map(|(_, cost)| cost).sum::<f64>();
        println!(
            "| {in_flight} | {:.2} ms | {received} | {:.1} | {} | {} | {} | {:.1} |",
            self.rtt_us / 1e3,
            received as f64 / acks as f64,
            cell(0),
            cell(1),
            cell(2),
            self.sides.iter().map(of_card).sum::<f64>()
        );
        for side in self.sides.iter().filter(|_| options.top > 0) {
            let rooms: Vec<_> = side.rooms.iter().map(|(room, cost)| format!("{room} {cost:.1}")).collect();
            println!("\n{}", rooms.join(", "));
            side.print_functions();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        Scene { rate: "25gbit".parse().unwrap(), turn_us: 12, mtu: 600, loss: 0.0 }
    }

    #[test]
    fn a_path_holds_as_many_packets_as_were_asked_for() {
        // A full frame and what surrounds it: 638 bytes, 204.16 ns at 25 Gbit/s.
        let plan = scene().plan(1_000_000);
        assert_eq!(plan.forward.delay_ns, 102_080_000);
        assert_eq!((plan.frames, plan.mtu, plan.turn_ns), (3_008_192, 600, 12_000));
        assert!(plan.forward.rate.is_none(), "nothing but the sender's pacing limits it");
        for packets in [100, 1000, 77_777] {
            let rtt_ns = scene().plan(packets).rtt_ns();
            let bytes = scene().rate.bytes_in(rtt_ns);
            assert!(bytes.abs_diff(packets * 638) <= 4, "{packets}: {bytes}");
        }
    }

    #[test]
    fn a_loss_is_one_share() {
        assert_eq!((loss("0.1%"), loss("0")), (Ok(0.001), Ok(0.0)));
        assert!(loss("2").is_err() && loss("51%").is_err() && loss("1%,rate=1gbit").is_err());
        let lossy = Scene { loss: 0.001, ..scene() }.plan(1000);
        assert!(lossy.frames > scene().plan(1000).frames && lossy.forward.loss == 0.001);
    }

    #[test]
    fn what_cannot_be_in_flight_is_refused() {
        let at = |rate: &str, turn_us, mtu| Scene { rate: rate.parse().unwrap(), turn_us, mtu, loss: 0.0 };
        assert_eq!(scene().check(2_000_000), Ok(()));
        assert_eq!(at("2mbit", 12, 600).check(1000), Ok(()));
        let refused = at("1bit", 12, 600).check(1000).unwrap_err();
        assert!(refused.contains("--packets 1000") && refused.contains("5104000.0 s"), "{refused}");
        let refused = at("100gbit", 12, 600).check(1000).unwrap_err();
        assert!(refused.contains("235 packets a turn") && refused.contains("sends 64"), "{refused}");
        assert_eq!(at("100gbit", 12, 9000).check(1000), Ok(()));
        assert!(at("99999999999gbit", 1, 9000).check(1000).is_err());
    }

    #[test]
    fn short_paths_are_run_longer() {
        assert_eq!(scene().length(1000), Length { start_ns: 20_000_000, span_ns: 20_000_000 });
        assert_eq!(scene().length(1_000_000), Length { start_ns: 816_640_000, span_ns: 204_160_000 });
    }

    #[test]
    fn a_flow_has_in_flight_what_was_planned() {
        let length = Length { start_ns: 4 * MILLISECOND, span_ns: 2 * MILLISECOND };
        let mut flow = Flow::new(scene().plan(1000));
        flow.run_from_first_byte(length.start_ns);
        let counts = counted_span(&mut flow, length.span_ns);
        // A packet waits for two turns and for the ACK of its burst, 64 packets, beside the round trip.
        assert!((1000..1250).contains(&counts.in_flight), "{counts:?}");
        assert!(
            (9_700..9_900).contains(&counts.sent) && counts.received.abs_diff(counts.sent) < 100 && counts.lost == 0,
            "{counts:?}"
        );
    }
}
