//! What was counted, as tables and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Options;
use super::callgrind::Profile;
use super::rooms::{CRC, LINK, by_room, room_of};
use super::world::Counts;

/// One side's cost per data packet.
#[derive(Serialize)]
pub struct Side {
    name: &'static str,
    /// Everything but the link in memory.
    pub total: f64,
    /// The same without the checksum.
    pub without_crc: f64,
    pub rooms: Vec<(&'static str, f64)>,
    functions: Vec<Line>,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    what: String,
    room: &'static str,
    /// Instructions of the code itself.
    own: f64,
}

#[derive(Serialize)]
pub struct Report {
    benchmark: &'static str,
    scene: String,
    data_packets: u64,
    data_packets_per_turn: f64,
    data_packets_per_ack: f64,
    lost: u64,
    retransmitted: u64,
    both_ends: f64,
    both_ends_without_crc: f64,
    sides: Vec<Side>,
    #[serde(skip)]
    top: usize,
    #[serde(skip)]
    show_lines: bool,
}

impl Side {
    /// `packets` data packets cost what `profile` says.
    pub fn new(name: &'static str, profile: &Profile, packets: u64) -> Side {
        let per_packet = |cost: i64| cost as f64 / packets as f64;
        let rooms: Vec<_> = by_room(profile).into_iter().map(|(room, cost)| (room, per_packet(cost))).collect();
        let sum = |out: &[&str]| rooms.iter().filter(|(room, _)| !out.contains(room)).map(|(_, cost)| cost).sum();
        let mut functions: BTreeMap<(&str, &'static str), i64> = BTreeMap::new();
        let mut lines: BTreeMap<(String, &'static str), i64> = BTreeMap::new();
        for (place, cost) in &profile.own {
            let room = room_of(place);
            *functions.entry((place.function.as_str(), room)).or_default() += cost;
            let file = place.file.rsplit_once("src/").map_or(place.file.as_str(), |(_, path)| path);
            *lines.entry((format!("{file}:{} in {}", place.line, place.function), room)).or_default() += cost;
        }
        let line = |(what, room): (String, &'static str), own| Line { what, room, own: per_packet(own) };
        Side {
            name,
            total: sum(&[LINK]),
            without_crc: sum(&[LINK, CRC]),
            functions: sorted(functions.into_iter().map(|((what, room), own)| line((what.to_owned(), room), own))),
            lines: sorted(lines.into_iter().map(|(key, own)| line(key, own))),
            rooms,
        }
    }
}

impl Side {
    /// Keeps the costliest functions and lines, so many of each.
    pub fn keep(&mut self, functions: usize, lines: usize) {
        self.functions.truncate(functions);
        self.lines.truncate(lines);
    }

    pub fn print_functions(&self) {
        self.functions.iter().for_each(|line| println!("{:8.1}  {:9} {}", line.own, line.room, line.what));
    }
}

fn sorted(lines: impl Iterator<Item = Line>) -> Vec<Line> {
    let mut lines: Vec<_> = lines.filter(|line| line.own.abs() >= 0.5).collect();
    lines.sort_by(|a, b| b.own.total_cmp(&a.own));
    lines
}

impl Report {
    pub fn new(mut sides: Vec<Side>, counts: &Counts, options: &Options) -> Report {
        let ends = &sides[..2];
        let (both, both_without) =
            (ends.iter().map(|side| side.total).sum(), ends.iter().map(|side| side.without_crc).sum());
        for side in &mut sides {
            side.keep(options.top, if options.lines { options.top } else { 0 });
        }
        let scene = &options.scene;
        let rate = if scene.cc == "fixed" { format!(" {}", scene.rate) } else { String::new() };
        Report {
            benchmark: "instr",
            scene: format!("{}{rate}, MTU {}, a turn each {} µs", scene.cc, scene.mtu, scene.step_us),
            data_packets: counts.data_packets,
            data_packets_per_turn: counts.data_packets as f64 / counts.turns as f64,
            data_packets_per_ack: counts.data_packets as f64 / counts.acks as f64,
            lost: counts.lost,
            retransmitted: counts.retransmitted,
            both_ends: both,
            both_ends_without_crc: both_without,
            sides,
            top: options.top,
            show_lines: options.lines,
        }
    }

    pub fn print(&self) {
        println!("Instructions per data packet ({})", self.scene);
        println!(
            "{} data packets, {:.1} per turn, {:.1} per ACK; {} lost, {} sent again",
            self.data_packets, self.data_packets_per_turn, self.data_packets_per_ack, self.lost, self.retransmitted
        );
        println!("\n| room | {} |", self.sides.iter().map(|side| side.name).collect::<Vec<_>>().join(" | "));
        println!("| --- |{}", " ---: |".repeat(self.sides.len()));
        for (index, (room, _)) in self.sides[0].rooms.iter().enumerate() {
            let row: Vec<_> = self.sides.iter().map(|side| format!("{:.0}", side.rooms[index].1)).collect();
            println!("| {room} | {} |", row.join(" | "));
        }
        for (what, value) in [
            ("without memory link", (|side: &Side| side.total) as fn(&Side) -> f64),
            ("… and without crc32c", |side| side.without_crc),
        ] {
            let row: Vec<_> = self.sides.iter().map(|side| format!("{:.0}", value(side))).collect();
            println!("| {what} | {} |", row.join(" | "));
        }
        println!("\nBoth ends: {:.0}, without crc32c {:.0}", self.both_ends, self.both_ends_without_crc);
        for side in &self.sides[..2] {
            println!("\n{}: top {} functions (own instructions per data packet)", side.name, self.top);
            side.print_functions();
            if self.show_lines {
                println!("\n{}: top {} lines", side.name, self.top);
                side.lines.iter().for_each(|line| println!("{:8.1}  {:9} {}", line.own, line.room, line.what));
            }
        }
    }
}
