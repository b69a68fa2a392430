//! The attacker: a raw socket on the segment, an ear that keeps what it hears, and a mouth that sends what it is given.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use farwire::base::Dice;
use farwire::wire::{ETHERTYPE, Header};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};

use super::segment::{EVE, Segment};

/// Behind every frame of the attacker's, where no receiver looks: it hears itself as well.
const MARK: [u8; 4] = [0xA7, 0x7A, 0xC4, 0xED];
/// Shortest frame on a wire, without its check sequence.
const MIN_FRAME_LEN: usize = 60;
/// Frames that are kept for who wants the latest.
const LATEST: usize = 64;
/// Frames of the tape: the first ones of each recording, handshake included.
const TAPE: usize = 4000;

/// Frames that are made at a time, while the ear waits.
const BURST: u64 = 32;

/// One direction of the connection that was heard last.
#[derive(Clone, Copy, Default)]
pub struct Way {
    pub dst: [u8; 6],
    pub src: [u8; 6],
    pub header: Option<Header>,
}

/// What the attacker knows.
#[derive(Default)]
pub struct Heard {
    /// Towards a, and towards b.
    pub ways: [Way; 2],
    /// The last frames, each of them given out once.
    pub latest: VecDeque<Vec<u8>>,
    /// A frame before that.
    pub last: Vec<u8>,
    tape: Vec<Vec<u8>>,
}

/// Makes the next frame to send; `None` if there is nothing to make it of at the moment.
pub type Forgery = Box<dyn FnMut(&mut Heard, &mut Dice) -> Option<Vec<u8>> + Send>;

/// The attacker.
pub struct Eve {
    heard: Arc<Mutex<Heard>>,
    over: Arc<AtomicBool>,
    ear: Option<JoinHandle<()>>,
}

/// What an attack was.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub frames: u64,
    pub bytes: u64,
    pub seconds: f64,
    /// Of one core.
    pub cpu_share: f64,
}

impl Eve {
    pub fn listen(segment: &Segment) -> Eve {
        let (heard, over) = (Arc::new(Mutex::new(Heard::default())), Arc::new(AtomicBool::new(false)));
        let (namespace, knows, end) = (segment.lab.namespace("m"), heard.clone(), over.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let ear = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let (_tx, mut rx) = channel();
            ready.send(()).unwrap();
            while !end.load(Ordering::Relaxed) {
                let Ok(frame) = rx.next() else { continue };
                if !frame.ends_with(&MARK) && frame.get(12..14) == Some(&ETHERTYPE.to_be_bytes()[..]) {
                    knows.lock().unwrap().hear(frame);
                }
            }
        });
        is_ready.recv().expect("the ear is up");
        Eve { heard, over, ear: Some(ear) }
    }

    /// The same once something was heard in both directions.
    pub fn heard_both_ways(&self) -> MutexGuard<'_, Heard> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let heard = self.heard();
            if heard.ways.iter().all(|way| way.header.is_some()) {
                return heard;
            }
            assert!(Instant::now() < deadline, "nothing was heard in one direction");
            drop(heard);
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }

    /// Everything heard so far, from the first frame since the last time.
    pub fn take_tape(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.heard().tape)
    }

    /// Sends `forgery`'s frames, so many a second (`None`: as fast as it goes), while `work` lasts.
    pub fn during<T>(
        &self,
        segment: &Segment,
        mut forgery: Forgery,
        rate: Option<u64>,
        work: impl FnOnce() -> T,
    ) -> (T, Sent) {
        let (over, namespace) = (AtomicBool::new(false), segment.lab.namespace("m"));
        thread::scope(|scope| {
            let mouth = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                self.speak(&mut forgery, rate, &over)
            });
            let silence = Silence(&over);
            let result = work();
            drop(silence);
            (result, mouth.join().unwrap())
        })
    }

    fn speak(&self, forgery: &mut Forgery, rate: Option<u64>, over: &AtomicBool) -> Sent {
        let ((mut tx, _rx), mut dice) = (channel(), Dice::new(1));
        let (began, before) = (Instant::now(), cpu_seconds(UsageWho::RUSAGE_THREAD));
        let (mut frames, mut bytes) = (0, 0);
        while !over.load(Ordering::Relaxed) {
            let due = rate.map_or(u64::MAX, |rate| (began.elapsed().as_secs_f64() * rate as f64) as u64);
            let burst = due.saturating_sub(frames).min(BURST);
            let made: Vec<_> = {
                let mut heard = self.heard();
                (0..burst).filter_map(|_| forgery(&mut heard, &mut dice)).collect()
            };
            for mut frame in made {
                frame.resize(frame.len().max(MIN_FRAME_LEN - MARK.len()), 0);
                frame.extend(MARK);
                // A full queue is no reason to stop.
                if matches!(tx.send_to(&frame, None), Some(Ok(()))) {
                    frames += 1;
                    bytes += frame.len() as u64;
                }
            }
            if rate.is_some() {
                thread::sleep(Duration::from_micros(200));
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        Sent { frames, bytes, seconds, cpu_share: (cpu_seconds(UsageWho::RUSAGE_THREAD) - before) / seconds }
    }
}

/// Ends an attack, also where the work that it lasted for has failed.
struct Silence<'a>(&'a AtomicBool);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Heard {
    fn hear(&mut self, frame: &[u8]) {
        if let Ok(header) = Header::parse(&frame[14..])
            && header.kind.is_of_connection()
        {
            let [dst, src] = [0, 6].map(|at| frame[at..at + 6].try_into().unwrap());
            self.ways[usize::from(frame[5] == 2)] = Way { dst, src, header: Some(header) };
        }
        if self.tape.len() < TAPE {
            self.tape.push(frame.to_vec());
        }
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(frame.to_vec());
    }
}

impl Drop for Eve {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(ear) = self.ear.take() {
            // A panic there shows as an attack without frames.
            let _ = ear.join();
        }
    }
}

/// What a thread or the process has used of the CPUs, in seconds.
pub fn cpu_seconds(who: UsageWho) -> f64 {
    let usage: Usage = getrusage(who).unwrap();
    [usage.user_time(), usage.system_time()].iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
}

fn channel() -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>) {
    let interface = datalink::interfaces().into_iter().find(|nic| nic.name == EVE).unwrap();
    let config = datalink::Config { read_timeout: Some(Duration::from_millis(50)), ..Default::default() };
    match datalink::channel(&interface, config).unwrap() {
        Channel::Ethernet(tx, rx) => (tx, rx),
        _ => panic!("{EVE} is no Ethernet"),
    }
}
