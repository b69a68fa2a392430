//! One line of results: a run, all that was measured in it, and on which machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cell::Cell;
use super::figures::Series;

/// What is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scene {
    /// Round trips over the idle link: whether the emulator is what it says.
    Ping,
    /// One flow in each cell of the matrix.
    Matrix,
    /// A farwire flow, and later a second one of the same kind.
    Share,
    /// A TCP flow, and later one of farwire.
    Beside,
    /// One flow over a link that is cut for a while and later halves its rate.
    Outage,
    /// A tree of small files by `farwire send`.
    Tree,
    /// One flow without loss, and the CPU time that it takes from the machine.
    Cost,
}

/// A run, before and after: two with the same job are repetitions of each other.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Job {
    pub scene: Scene,
    #[serde(flatten)]
    pub cell: Cell,
    /// Names of those that run, one for each flow.
    pub contenders: Vec<String>,
    /// How long each flow is measured.
    pub seconds: f64,
    /// From 1 on.
    pub round: usize,
}

/// A line of results.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub job: Job,
    /// When it ended: seconds since 1970.
    pub at: i64,
    pub machine: Machine,
    /// Runs that it took; those before were disturbed, or invalid.
    pub tries: usize,
    /// Why it does not count, if it does not.
    pub invalid: Vec<String>,
    /// Why there is nothing to count, if there is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub flows: Vec<Flow>,
    /// What the emulator saw, towards the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkSide>,
    pub cpu: Cpu,
}

/// Where it was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    /// The commit that the benchmark was built from, with a + where files differed from it.
    pub commit: String,
}

/// A flow as its receiver counted it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Flow {
    pub contender: String,
    /// Payload that the application got in `seconds` from its first byte on, as a rate.
    pub goodput_bps: f64,
    pub seconds: f64,
    /// The same over time.
    pub series: Series,
    /// When that byte came, from the beginning of the link on; to about a fifth of a second, since no clock is shared.
    #[serde(default)]
    pub first_byte_s: f64,
    /// Payload over the whole life of both programs, for CPU time per byte and what was sent twice.
    pub whole_bytes: f64,
    /// From the wish for a connection to the connection, where the contender tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<f64>,
    pub sender_cpu_seconds: f64,
    pub receiver_cpu_seconds: f64,
    /// Packets that were sent again, as a share of those sent, where the contender tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_again_share: Option<f64>,
    /// Packets that were taken for lost and were not, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spurious_share: Option<f64>,
    /// Round trips that the contender itself saw, as (quantile, microseconds).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rtt_us: Vec<(f64, f64)>,
    /// What the contender had to say to its user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// The commands and whatever the contender told about its settings.
    pub config: BTreeMap<String, Value>,
}

/// One direction of the emulated link.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LinkSide {
    /// Ethernet frames and their bytes that entered and left.
    pub in_frames: u64,
    pub in_bytes: u64,
    pub out_frames: u64,
    pub out_bytes: u64,
    /// What left in the measured span, counted from the flow's first frames on.
    pub span_out_bytes: f64,
    /// Frames that were dropped, by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Wait in the bottleneck's queue, as (quantile, microseconds).
    pub queue_us: Vec<(f64, f64)>,
    /// When frames worth 90 % of the link first left for three bins in a row, from the flow's first frames on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms_to_90: Option<f64>,
    /// Width of those bins.
    pub bin_ms: f64,
    /// How late frames left the emulator, as (quantile, microseconds).
    pub late_us: Vec<(f64, f64)>,
}

/// CPU time of a run beside that of the flows' own programs.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// The emulator.
    pub linkem_seconds: f64,
    /// The kernel's threads that do network work, charged to nobody.
    pub ksoftirqd_seconds: f64,
    /// The kernel outside of any program.
    pub outside_seconds: f64,
    /// Taken from the machine by everybody, from before the programs start until they have ended, where measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_seconds: Option<f64>,
    /// Others' work, on average.
    pub foreign_cores: f64,
    /// Load average of the last minute.
    pub load: f64,
}

impl Job {
    /// What tells it apart from all others, but for the length of the run.
    pub fn key(&self) -> String {
        let Cell { rate_bps, mtu, .. } = self.cell;
        let scene = serde_json::to_string(&self.scene).unwrap_or_default();
        format!("{scene} {rate_bps} {mtu} {} {} round {}", self.cell, self.contenders.join(" + "), self.round)
    }

    /// How long after the first flow a second one joins.
    pub fn joins_s(&self) -> f64 {
        self.seconds / 3.0
    }

    /// The same in words.
    pub fn words(&self) -> String {
        let scene = match self.scene {
            Scene::Matrix | Scene::Ping => String::new(),
            other => format!("{other:?}: ").to_lowercase(),
        };
        format!("{scene}{} at {}, round {}", self.contenders.join(" beside "), self.cell, self.round)
    }
}

impl Record {
    /// It counts.
    pub fn is_valid(&self) -> bool {
        self.error.is_none() && self.invalid.is_empty() && !self.flows.is_empty()
    }

    pub fn goodput_bps(&self) -> f64 {
        self.flows.iter().map(|flow| flow.goodput_bps).sum()
    }

    /// Gigabytes of payload that both ends' CPU time was spent on.
    fn gigabytes(&self) -> f64 {
        self.flows.iter().map(|flow| flow.whole_bytes).sum::<f64>() / 1e9
    }

    /// CPU seconds per gigabyte of the flows' own programs, sender and receiver.
    pub fn programs_cpu_per_gb(&self) -> (f64, f64) {
        let sum = |of: fn(&Flow) -> f64| self.flows.iter().map(of).sum::<f64>() / self.gigabytes();
        (sum(|flow| flow.sender_cpu_seconds), sum(|flow| flow.receiver_cpu_seconds))
    }

    /// CPU seconds per gigabyte of the emulator.
    pub fn linkem_cpu_per_gb(&self) -> f64 {
        self.cpu.linkem_seconds / self.gigabytes()
    }

    /// CPU seconds per gigabyte that were taken from the machine by everybody, the emulator included.
    pub fn taken_cpu_per_gb(&self) -> f64 {
        self.cpu.taken_seconds.map_or(f64::NAN, |seconds| seconds / self.gigabytes())
    }

    /// CPU seconds per gigabyte of both programs, and of the kernel where no program is charged for it.
    pub fn machine_cpu_per_gb(&self) -> f64 {
        let (sender, receiver) = self.programs_cpu_per_gb();
        sender + receiver + (self.cpu.ksoftirqd_seconds + self.cpu.outside_seconds) / self.gigabytes()
    }
}

impl LinkSide {
    /// Frames that the link lost or its queue had no room for, as a share of those that entered.
    pub fn dropped_share(&self) -> f64 {
        self.dropped.values().sum::<u64>() as f64 / (self.in_frames as f64).max(1.0)
    }

    /// Frames that found the queue full, likewise.
    pub fn queue_dropped_share(&self) -> f64 {
        let full = self.dropped.get("queue").copied().unwrap_or(0);
        full as f64 / (self.in_frames as f64).max(1.0)
    }

    /// The wait in the queue that this share of frames did not exceed, in milliseconds.
    pub fn queue_ms(&self, quantile: f64) -> f64 {
        at_quantile(&self.queue_us, quantile) / 1e3
    }
}

/// The value at a quantile of a list of (quantile, value): the first that covers it.
pub fn at_quantile(values: &[(f64, f64)], quantile: f64) -> f64 {
    let covers = |(at, _): &&(f64, f64)| *at >= quantile - 1e-9;
    values.iter().find(covers).or(values.last()).map_or(f64::NAN, |(_, value)| *value)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn job(scene: Scene, rtt_ms: f64, loss: &str, contender: &str, round: usize) -> Job {
        let cell = Cell { rate_bps: 1_000_000_000, mtu: 1500, rtt_ms, loss: loss.parse().unwrap(), queue_bdp: 1.0 };
        Job { scene, cell, contenders: vec![contender.to_owned()], seconds: 10.0, round }
    }

    /// A run in which 1.19 GB were moved per Gbit/s of goodput, with round numbers elsewhere.
    pub fn record(job: Job, goodput_bps: f64) -> Record {
        let bytes = goodput_bps * job.seconds / 8.0;
        let flow = Flow {
            contender: job.contenders[0].clone(),
            goodput_bps,
            seconds: job.seconds,
            series: Series { bin_ms: 100.0, bytes: vec![(goodput_bps / 80.0) as u64; job.seconds as usize * 10] },
            whole_bytes: bytes,
            connect_ms: Some(job.cell.rtt_ms),
            sender_cpu_seconds: 1.0,
            receiver_cpu_seconds: 0.5,
            sent_again_share: Some(job.cell.loss.share + 0.005),
            ..Flow::default()
        };
        let frames = (bytes / 1464.0 * 1.02) as u64;
        let lost = (frames as f64 * job.cell.loss.share) as u64;
        let link = LinkSide {
            in_frames: frames,
            in_bytes: frames * 1514,
            out_frames: frames - lost,
            out_bytes: (frames - lost) * 1514,
            span_out_bytes: ((frames - lost) * 1514) as f64,
            dropped: [("loss".to_owned(), lost), ("queue".to_owned(), 0)].into(),
            queue_us: vec![(0.5, 300.0), (0.9, 2000.0), (0.99, 4000.0), (1.0, 9000.0)],
            ms_to_90: Some(2.0 * job.cell.rtt_ms),
            bin_ms: 10.0,
            late_us: vec![(0.5, 10.0), (0.99, 80.0), (1.0, 500.0)],
        };
        let machine = Machine { cpu: "a CPU".into(), cores: 2, kernel: "6.18".into(), commit: "abc1234".into() };
        let cpu = Cpu {
            linkem_seconds: 3.0,
            ksoftirqd_seconds: 0.1,
            outside_seconds: 0.2,
            taken_seconds: (job.scene == Scene::Cost).then_some(7.0),
            foreign_cores: 0.02,
            load: 1.0,
        };
        let (tries, invalid, error) = (1, vec![], None);
        Record { job, at: 1_790_000_000, machine, tries, invalid, error, flows: vec![flow], link: Some(link), cpu }
    }

    #[test]
    fn a_record_survives_its_line() {
        let record = record(job(Scene::Matrix, 100.0, "1%/20", "farwire-bbr", 2), 9e8);
        let line = serde_json::to_string(&record).unwrap();
        assert!(!line.contains('\n') && line.contains(r#""scene":"matrix""#), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn jobs_are_told_apart() {
        let one = job(Scene::Matrix, 100.0, "1%", "a", 1);
        let all = [
            one.clone(),
            job(Scene::Share, 100.0, "1%", "a", 1),
            job(Scene::Matrix, 20.0, "1%", "a", 1),
            job(Scene::Matrix, 100.0, "1%/20", "a", 1),
            job(Scene::Matrix, 100.0, "1%", "b", 1),
            job(Scene::Matrix, 100.0, "1%", "a", 2),
        ];
        let keys: std::collections::HashSet<String> = all.iter().map(Job::key).collect();
        assert_eq!(keys.len(), all.len(), "{keys:?}");
        assert_eq!(Job { seconds: 5.0, ..one.clone() }.key(), one.key());
    }

    #[test]
    fn costs_are_shared_by_the_bytes() {
        let record = record(job(Scene::Matrix, 100.0, "1%", "a", 1), 8e8);
        assert_eq!(record.programs_cpu_per_gb(), (1.0, 0.5));
        assert!((record.machine_cpu_per_gb() - 1.8).abs() < 1e-9);
        let link = record.link.unwrap();
        assert!((link.dropped_share() - 0.01).abs() < 1e-5 && link.queue_dropped_share() == 0.0);
        assert_eq!((link.queue_ms(0.5), link.queue_ms(0.99), link.queue_ms(0.999)), (0.3, 4.0, 9.0));
    }
}
