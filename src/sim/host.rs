//! A host: a production engine on a card, and a worker that sleeps when it may.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::net::{Net, mac_of};
use super::nic::{Nic, NicPlan};
use crate::base::time::NEVER;
use crate::base::{MacAddr, Nanos};
use crate::engine::audit::Audit;
use crate::engine::port::{Command, ConnPort, Doorbell};
use crate::engine::{Engine, EngineConfig};
use crate::proto::config::Config;

/// What a host is like.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its card.
    pub nic: NicPlan,
    /// Its transport.
    pub proto: Config,
    /// From one turn to the next while there is work.
    pub turn_ns: Nanos,
}

/// The host.
pub struct Host {
    index: usize,
    /// Its engine.
    pub engine: Engine<Nic>,
    commands: Sender<Command>,
    /// Connections that others have opened.
    pub incoming: Receiver<ConnPort>,
    doorbell: Doorbell,
    rang: Arc<Rang>,
    turn_ns: Nanos,
    asleep: bool,
    /// When the next turn is due by itself, and when the last one was.
    due_ns: Nanos,
    last_ns: Nanos,
    /// Its worker gets no core until then.
    pub stopped_until: Nanos,
    /// Its clock is so far ahead of the world's.
    skew_ns: Nanos,
    /// Turns, and those that found nothing to do.
    pub turns: (u64, u64),
    /// Turns in a row that found nothing to do and asked for the next one at once.
    pub spinning: u64,
    /// Everything at home, as it was before anything happened.
    pub at_rest: Audit,
    /// Booted so often.
    pub life: u64,
}

#[derive(Default)]
struct Rang(AtomicBool);

impl std::task::Wake for Rang {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Host {
    /// A host that has just been started, for the `life`th time.
    pub fn boot(net: &Arc<Mutex<Net>>, index: usize, plan: &HostPlan, seed: u64, life: u64) -> Host {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        key[16..24].copy_from_slice(&life.to_le_bytes());
        let config = EngineConfig { proto: plan.proto.clone(), vlan: None, incoming: None, seed: key };
        let rang = Arc::new(Rang::default());
        let doorbell = Doorbell::new(rang.clone().into());
        let ((commands, orders), (opened, incoming)) = (unbounded(), unbounded());
        let nic = Nic::new(net, index, &plan.nic, seed ^ (index as u64) << 32 ^ life << 48);
        let mut engine = Engine::new(nic, config, orders, doorbell.clone());
        let now = net.lock().unwrap_or_else(PoisonError::into_inner).now;
        // The engine is still here to hear it.
        let _ = commands.send(Command::Listen { incoming: opened });
        engine.turn(now);
        let at_rest = engine.audit();
        Host {
            index,
            engine,
            commands,
            incoming,
            doorbell,
            rang,
            turn_ns: plan.turn_ns,
            asleep: false,
            due_ns: now,
            last_ns: now,
            stopped_until: 0,
            skew_ns: 0,
            turns: (0, 0),
            spinning: 0,
            at_rest,
            life,
        }
    }

    /// Its address.
    pub fn mac(&self) -> MacAddr {
        mac_of(self.index)
    }

    /// What a program does to ask: command, then doorbell.
    pub fn order(&self, command: Command) {
        // An engine that is gone answers nothing, which the asker sees.
        let _ = self.commands.send(command);
        self.doorbell.ring();
    }

    /// Its clock jumps ahead.
    pub fn jump(&mut self, by_ns: Nanos) {
        self.skew_ns += by_ns;
        self.due_ns = 0;
        self.asleep = false;
    }

    /// When its next turn is, if nothing else happens.
    pub fn next_ns(&self, net: &Net) -> Nanos {
        if self.stopped_until == NEVER {
            return NEVER;
        }
        let awake = !self.asleep || self.rang.0.load(Ordering::Acquire) || self.engine.link().has_arrivals();
        let due_ns = if awake { self.due_ns.min(net.now.max(self.last_ns)) } else { self.due_ns };
        due_ns.min(net.next(self.index)).max(self.last_ns + self.turn_ns).max(self.stopped_until)
    }

    /// A turn. True if it did anything.
    pub fn turn(&mut self, now: Nanos) -> bool {
        if std::mem::replace(&mut self.asleep, false) {
            self.engine.awake();
        }
        self.rang.0.store(false, Ordering::Release);
        let turn = self.engine.turn(now + self.skew_ns);
        self.last_ns = now;
        self.turns.0 += 1;
        if turn.worked {
            self.spinning = 0;
            self.due_ns = now;
            return true;
        }
        self.turns.1 += 1;
        let at_once = turn.next_ns.is_some_and(|next_ns| next_ns <= now + self.skew_ns);
        self.spinning = if at_once { self.spinning + 1 } else { 0 };
        self.due_ns = turn.next_ns.map_or(NEVER, |next_ns| next_ns.saturating_sub(self.skew_ns));
        self.asleep = self.engine.may_sleep();
        false
    }
}
