//! An endpoint: one link, one worker, and the connections over it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::config::{EndpointConfig, Step, check_ethertype};
use super::connection::Connection;
use super::error::{AcceptError, EndpointStopped, OpenError};
use crate::base::{MacAddr, Nanos, Rate};
use crate::crypto::Keyring;
use crate::engine::port::{Command, ConnPort, ConnectOptions, Doorbell, Snapshot};
use crate::link::memory::{self, MemoryConfig};
use crate::link::packet::{PacketConfig, PacketLink};
use crate::link::pcap::PcapTee;
use crate::link::{Caps, Link};
use crate::proto::error::ConnectError;
use crate::proto::recovery::Algorithm;
use crate::wire::eth::MAX_VLAN_ID;
use crate::worker::{Worker, WorkerTimes, clock};
use crate::xdp::{Note, XdpConfig, XdpLink};

/// One link and the worker that serves it. Dropping it shuts it down: every connection ends, and with it every wait.
///
/// ```
/// use std::io::{Read, Write};
/// use farwire::api::{Endpoint, EndpointConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (here, there) = Endpoint::memory_pair(EndpointConfig::insecure())?;
/// there.listen()?;
/// let to = here.connect(there.mac())?;
/// let (mut send, _) = to.open_stream()?;
/// send.write_all(b"hello over there")?;
/// send.finish()?;
///
/// let from = there.accept()?;
/// let (_, mut receive) = from.accept_stream()?;
/// let mut text = String::new();
/// receive.read_to_string(&mut text)?;
/// assert_eq!(text, "hello over there");
/// send.wait_acked()?;
/// # Ok(())
/// # }
/// ```
pub struct Endpoint {
    worker: Worker,
    /// Of the settings nothing else: keys among them would stay here when they have been taken back.
    connect_timeout_ns: Nanos,
    /// Connections that peers have opened, once we listen.
    incoming: Mutex<Option<Receiver<ConnPort>>>,
    /// Held by whoever asks who is on the link.
    asking: Mutex<()>,
    notes: Vec<Note>,
}

/// Sends commands to a worker, from wherever.
#[derive(Clone)]
pub(super) struct Remote {
    pub commands: Sender<Command>,
    pub doorbell: Doorbell,
}

impl Remote {
    /// Puts a command in the engine's queue. A worker that is gone drops it, and with it the answer's channel.
    pub fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.doorbell.ring();
        }
    }
}

impl Endpoint {
    /// An endpoint on one queue of an interface, through AF_XDP. The calling thread's network namespace counts.
    ///
    /// # Errors
    /// Whatever is in the way, with the next step.
    pub fn open_xdp(xdp: XdpConfig, config: EndpointConfig) -> Result<Endpoint, OpenError> {
        check(&config)?;
        let xdp = XdpConfig { ethertype: config.proto.ethertype, ..xdp };
        let link = XdpLink::open(&xdp)?;
        let notes = link.notes().to_vec();
        Ok(Endpoint { notes, ..Endpoint::over(link, config)? })
    }

    /// An endpoint on an interface through AF_PACKET: slower, and works with every interface.
    ///
    /// # Errors
    /// Whatever is in the way, with the next step.
    pub fn open_packet(packet: PacketConfig, config: EndpointConfig) -> Result<Endpoint, OpenError> {
        check(&config)?;
        let packet = PacketConfig { ethertype: config.proto.ethertype, ..packet };
        Endpoint::over(PacketLink::open(&packet)?, config)
    }

    /// Two endpoints joined in memory, for tests and examples.
    ///
    /// # Errors
    /// When a worker can't be started.
    pub fn memory_pair(config: EndpointConfig) -> Result<(Endpoint, Endpoint), OpenError> {
        Endpoint::memory_pair_of(MemoryConfig::default(), config)
    }

    /// The same with links of another size.
    ///
    /// # Errors
    /// When a worker can't be started.
    pub fn memory_pair_of(links: MemoryConfig, config: EndpointConfig) -> Result<(Endpoint, Endpoint), OpenError> {
        let (a, b) = memory::pair(links);
        Ok((Endpoint::over(a, config.clone())?, Endpoint::over(b, config)?))
    }

    /// An endpoint over any link.
    ///
    /// # Errors
    /// When a setting does not fit the link, or the worker can't be started.
    pub fn over(link: impl Link + 'static, config: EndpointConfig) -> Result<Endpoint, OpenError> {
        check(&config)?;
        let caps = link.caps();
        if let (Algorithm::Fixed(rate), Some(speed)) = (config.proto.algorithm, caps.speed_bps.and_then(Rate::from_bps))
            && rate > speed
        {
            return Err(OpenError::RateBeyondLink { link: caps.name.clone(), rate, speed });
        }
        let (incoming, accepted) = config.listening.then(unbounded).unzip();
        let worker = match &config.capture {
            None => start(link, &config, incoming)?,
            Some(path) => {
                let tee = PcapTee::create(link, path, Box::new(clock::wall));
                start(tee.map_err(|error| OpenError::Capture { path: path.clone(), error })?, &config, incoming)?
            }
        };
        let connect_timeout_ns = config.proto.connect_timeout_ns;
        let (incoming, asking) = (Mutex::new(accepted), Mutex::new(()));
        Ok(Endpoint { worker, connect_timeout_ns, incoming, asking, notes: Vec::new() })
    }

    /// Our own address.
    pub fn mac(&self) -> MacAddr {
        self.caps().mac
    }

    /// What the link is and can do.
    pub fn caps(&self) -> &Caps {
        self.worker.caps()
    }

    /// What was tried and given up on the way to the mode in force, in words.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the peer can't be reached or refuses, or the endpoint is gone.
    pub fn connect(&self, peer: MacAddr) -> Result<Connection, ConnectError> {
        let (reply, answer) = bounded(1);
        let options = ConnectOptions { peer, timeout_ns: self.connect_timeout_ns };
        self.remote().send(Command::Connect { options, reply });
        let port = answer.recv().map_err(|_| match self.worker.why_ended() {
            Some(failure) => ConnectError::Link(failure.to_owned()),
            None => ConnectError::Shutdown,
        })??;
        Ok(Connection::new(port, self.remote()))
    }

    /// Takes connections from now on, whether `accept` is being waited in or not.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub fn listen(&self) -> Result<(), EndpointStopped> {
        self.incoming().map(|_| ())
    }

    /// The next connection that a peer has opened. Listens from the first call on.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub fn accept(&self) -> Result<Connection, AcceptError> {
        let port = self.incoming()?.recv().map_err(|_| self.stopped())?;
        Ok(Connection::new(port, self.remote()))
    }

    /// The same, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// When nobody came, or the endpoint is gone.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection, AcceptError> {
        match self.incoming()?.recv_timeout(timeout) {
            Ok(port) => Ok(Connection::new(port, self.remote())),
            Err(RecvTimeoutError::Timeout) => Err(AcceptError::Timeout),
            Err(RecvTimeoutError::Disconnected) => Err(self.stopped().into()),
        }
    }

    /// Takes these keys from now on, and no others: connections that were opened with another one end.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub fn set_keys(&self, keys: Keyring) -> Result<(), EndpointStopped> {
        self.remote().send(Command::SetKeys { keys });
        self.snapshot().map(drop)
    }

    /// How the engine is.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub fn snapshot(&self) -> Result<Snapshot, EndpointStopped> {
        let (reply, answer) = bounded(1);
        self.remote().send(Command::Snapshot { conn: None, reply });
        answer.recv().map_err(|_| self.stopped())
    }

    /// How the worker has spent its time.
    pub fn times(&self) -> WorkerTimes {
        self.worker.times()
    }

    /// Ends every connection, lets the last packets leave and waits for the worker. Dropping does the same.
    pub fn shutdown(self) {
        drop(self);
    }

    pub(super) fn remote(&self) -> Remote {
        Remote { commands: self.worker.commands().clone(), doorbell: self.worker.doorbell().clone() }
    }

    pub(super) fn stopped(&self) -> EndpointStopped {
        let why = self.worker.why_ended().unwrap_or("the endpoint was shut down");
        EndpointStopped { why: why.to_owned() }
    }

    pub(super) fn asking(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> bool {
        self.worker.failure().is_some()
    }

    fn incoming(&self) -> Result<Receiver<ConnPort>, EndpointStopped> {
        let mut listening = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(incoming) = &*listening {
            return Ok(incoming.clone());
        }
        if self.failed() {
            return Err(self.stopped());
        }
        let (incoming, accepted) = unbounded();
        self.remote().send(Command::Listen { incoming });
        // Commands are taken in order: once this is answered, an open that arrives is not refused any more.
        self.snapshot()?;
        Ok(listening.insert(accepted).clone())
    }
}

fn start(
    link: impl Link + 'static,
    config: &EndpointConfig,
    incoming: Option<Sender<ConnPort>>,
) -> Result<Worker, OpenError> {
    if let Some(Step(step)) = &config.once_open {
        step().map_err(OpenError::Step)?;
    }
    Ok(Worker::start(link, config.engine(incoming), config.worker.clone())?)
}

fn check(config: &EndpointConfig) -> Result<(), OpenError> {
    if let Some(vlan) = config.vlan
        && (vlan.id > MAX_VLAN_ID || vlan.pcp > 7)
    {
        return Err(OpenError::Vlan { id: vlan.id, pcp: vlan.pcp });
    }
    check_ethertype(config.proto.ethertype).map_err(OpenError::EtherType)
}
