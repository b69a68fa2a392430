//! One engine with its programs: connections, streams, and what was asked for and has not come.

use std::sync::{Arc, Mutex};
use std::task::Waker;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use farwire::base::time::SECOND;
use farwire::base::{ConnId, MacAddr, Nanos};
use farwire::engine::audit::Audit;
use farwire::engine::port::{Command, ConnPort, ConnectOptions, Doorbell, StreamPort};
use farwire::engine::{Engine, EngineConfig};
use farwire::link::Link;
use farwire::link::memory::MemoryLink;
use farwire::proto::config::Config;
use farwire::proto::error::ConnectError;

use super::ends::{Flows, Reader, Writer};
use super::middle::{Hands, Middle};

/// A host with its programs.
pub struct Host {
    pub engine: Engine<Middle>,
    pub hands: Arc<Mutex<Hands>>,
    commands: Sender<Command>,
    doorbell: Doorbell,
    incoming: Receiver<ConnPort>,
    pub mac: MacAddr,
    pub connecting: Vec<Receiver<Result<ConnPort, ConnectError>>>,
    pub conns: Vec<ConnPort>,
    pub finished: Vec<ConnId>,
    /// Connections that were ended because the script had come to its end.
    pub ended: Vec<ConnId>,
    pub opening: Vec<Receiver<StreamPort>>,
    pub writers: Vec<Writer>,
    pub readers: Vec<Reader>,
    pub wakes_ns: Option<Nanos>,
    pub worked: bool,
}

impl Host {
    pub fn new(link: MemoryLink, seed: u8, proto: Config) -> Host {
        let mac = link.caps().mac;
        let (link, hands) = Middle::new(link);
        let (commands, orders) = unbounded();
        let (incoming, accepted) = unbounded();
        commands.send(Command::Listen { incoming }).expect("the engine is there");
        let doorbell = Doorbell::new(Waker::noop().clone());
        let config = EngineConfig { proto, vlan: None, incoming: None, seed: [seed; 32] };
        Host {
            engine: Engine::new(link, config, orders, doorbell.clone()),
            hands,
            commands,
            doorbell,
            incoming: accepted,
            mac,
            connecting: Vec::new(),
            conns: Vec::new(),
            finished: Vec::new(),
            ended: Vec::new(),
            opening: Vec::new(),
            writers: Vec::new(),
            readers: Vec::new(),
            wakes_ns: None,
            worked: false,
        }
    }

    pub fn order(&self, command: Command) {
        self.commands.send(command).expect("the engine is there");
        self.doorbell.ring();
    }

    pub fn connect(&mut self, peer: MacAddr) {
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer, timeout_ns: 5 * SECOND };
        self.order(Command::Connect { options, reply });
        self.connecting.push(answer);
    }

    /// What the engine holds, and frames that nobody has.
    pub fn inventory(&self) -> (usize, Audit) {
        let audit = self.engine.audit();
        (self.engine.link().free_frames() + audit.frames, Audit { frames: 0, ..audit })
    }

    /// Takes the answers to what was ordered, and what the peer has opened.
    pub fn accept(&mut self, at: usize, flows: &mut Flows) {
        let conns = &mut self.conns;
        self.connecting.retain(|answer| match answer.try_recv() {
            Ok(result) => {
                conns.extend(result);
                false
            }
            Err(error) => error.is_empty(),
        });
        conns.extend(self.incoming.try_iter());
        let mut ports = Vec::new();
        self.opening.retain(|answer| match answer.try_recv() {
            Ok(port) => {
                ports.push((port, false));
                false
            }
            Err(error) => error.is_empty(),
        });
        for conn in &self.conns {
            let late = self.finished.contains(&conn.key);
            ports.extend(conn.streams.try_iter().map(|port| (port, late)));
        }
        for (StreamPort { id, send, recv }, late) in ports {
            let writer = Writer::new(at, id, send, flows);
            // Who has finished promises nothing on streams that the peer opens later.
            flows.all[writer.flow].unwanted = late;
            self.writers.push(writer);
            self.readers.push(Reader::new(at, id, recv));
        }
    }
}
