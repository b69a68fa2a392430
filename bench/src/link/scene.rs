//! What scenes need beside flows: two senders on one host, and the idle link's round trips.

use anyhow::Context;

use super::cell::Cell;
use super::record::{Flow, Scene};
use super::stage::{B, Stage};
use crate::latency::Game;

/// Names of the two interfaces on top of host a's own, each with an address of its own: two hosts as far as farwire
/// can tell, since one queue of an interface can have one owner only.
const TWINS: [(&str, &str); 2] = [("twin1", "02:00:0a:4d:00:11"), ("twin2", "02:00:0a:4d:00:12")];
/// Round trips of the idle link that are measured: a tail of 1 % is told by three of them.
const TRIPS: u64 = 300;
/// Seconds that they may take at most; a long link has fewer.
const TRIPS_SECONDS: f64 = 10.0;
/// Bytes of each.
const TRIP_BYTES: usize = 64;

/// The interfaces that senders use, and those of them that go when this does.
pub struct Interfaces<'a> {
    stage: &'a Stage,
    twins: bool,
}

impl<'a> Interfaces<'a> {
    pub fn of(stage: &'a Stage, scene: Scene) -> anyhow::Result<Interfaces<'a>> {
        let interfaces = Interfaces { stage, twins: scene == Scene::Share };
        if interfaces.twins {
            for (name, mac) in TWINS {
                let link = ["ip", "link", "add", name, "link", "eth1", "address", mac, "type", "macvlan"];
                stage.run("a", &[&link[..], &["mode", "private"]].concat()).context("two farwires on one link")?;
                stage.run("a", &["ip", "link", "set", name, "up"])?;
            }
        }
        Ok(interfaces)
    }

    pub fn name(&self, number: usize) -> &'static str {
        if self.twins { TWINS[number % TWINS.len()].0 } else { "eth1" }
    }
}

impl Drop for Interfaces<'_> {
    fn drop(&mut self) {
        if self.twins {
            for (name, _) in TWINS {
                // One that was never made can't be removed, and the lab goes with what is left in it.
                let _ = self.stage.run("a", &["ip", "link", "delete", name]);
            }
        }
    }
}

/// Round trips of the kernel's UDP over the idle link: what the emulator adds to its delay, and this machine.
pub fn ping(stage: &Stage, cell: &Cell) -> anyhow::Result<Flow> {
    let count = TRIPS.min((TRIPS_SECONDS * 1e3 / cell.rtt_ms) as u64).max(3);
    let game = Game { tcp: false, spin: false, warm_up: 1 + count / 20 };
    let trips = game.play(stage.lab(), TRIP_BYTES, count)?;
    let quantiles = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
    let rtt_us = quantiles.map(|quantile| (quantile, trips.value_at(quantile) as f64 / 1e3)).to_vec();
    let config = [("socket".to_owned(), format!("UDP, {TRIP_BYTES} bytes, {count} times, to {}", B.0).into())].into();
    Ok(Flow { contender: "ping".to_owned(), rtt_us, config, ..Flow::default() })
}
