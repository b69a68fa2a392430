//! The command line.

use clap::Parser;
use farwire::base::time::MILLISECOND;
use farwire::base::{Nanos, size, time};
use farwire::xdp::Mode;

/// Emulate a link between two interfaces: rate, delay, queue, loss and worse, in real time, for every frame.
///
/// Run it on a machine with two interfaces, as root: what arrives on LEFT leaves by RIGHT and the other way round, as
/// if a long cable were between them: at a rate, after a delay, through a queue, with losses. The interfaces are taken
/// through AF_XDP: while it runs their frames pass by the kernel (an address on them is not reachable), and when it
/// ends nothing is left behind. Both directions are alike unless --right or --left say otherwise.
#[derive(Parser, Clone, Debug)]
#[command(name = "linkem", version, after_long_help = AFTERWARDS)]
pub struct Options {
    /// The one interface.
    #[arg(value_name = "LEFT")]
    pub left: String,
    /// The other interface.
    #[arg(value_name = "RIGHT")]
    pub right: String,

    /// Bits per second on the wire, with preamble, FCS and gap as on Ethernet: 1gbit, 940mbit. Without: no bottleneck.
    #[arg(long, value_name = "RATE", allow_hyphen_values = true, help_heading = LINK)]
    pub rate: Option<String>,
    /// One-way delay: 50ms. The round trip is twice this, if both directions are alike.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = LINK)]
    pub delay: Option<String>,
    /// More delay, wandering between nothing and this; frames keep their order.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = LINK)]
    pub jitter: Option<String>,
    /// What may wait for the bottleneck (drop-tail), in bytes, time or bandwidth-delay products: 12.5MB, 20ms, 0.1bdp.
    /// Without: 1 BDP of rate and twice the delay, at least 256 full frames.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = LINK)]
    pub queue: Option<String>,
    /// The round trip that a BDP is counted by, if it is not twice the delay.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = LINK)]
    pub rtt: Option<String>,
    /// Share of frames lost at random: 0.1%, 0.001. They have taken their time on the wire.
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true, help_heading = LINK)]
    pub loss: Option<String>,
    /// Losses in bursts (Gilbert's model), beside the random ones: share and mean length in full frames, 1%/20. With
    /// --rate a burst lasts as long as these take, else as many frames.
    #[arg(long, value_name = "SHARE/LEN", allow_hyphen_values = true, help_heading = LINK)]
    pub burst_loss: Option<String>,
    /// Frames held back so that others overtake them: share and by how much, 1%/2ms.
    #[arg(long, value_name = "SHARE/TIME", allow_hyphen_values = true, help_heading = LINK)]
    pub reorder: Option<String>,
    /// Share of frames that arrive twice.
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true, help_heading = LINK)]
    pub duplicate: Option<String>,
    /// Share of frames that arrive with one flipped bit.
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true, help_heading = LINK)]
    pub corrupt: Option<String>,
    /// The cable is pulled, from when and for how long: 20s+3s. May be given again.
    #[arg(long, value_name = "AT+FOR", allow_hyphen_values = true, help_heading = LINK)]
    pub outage: Vec<String>,
    /// Another rate from then on: 40s=500mbit. May be given again, as the next two.
    #[arg(long, value_name = "AT=RATE", allow_hyphen_values = true, help_heading = LINK)]
    pub rate_at: Vec<String>,
    /// Another random loss from then on.
    #[arg(long, value_name = "AT=SHARE", allow_hyphen_values = true, help_heading = LINK)]
    pub loss_at: Vec<String>,
    /// Another delay from then on.
    #[arg(long, value_name = "AT=TIME", allow_hyphen_values = true, help_heading = LINK)]
    pub delay_at: Vec<String>,
    /// What is different towards RIGHT: rate=20mbit,delay=5ms,burst=1%/20,rate@40s=1mbit. Keys as the options above.
    #[arg(long = "right", value_name = "KEY=VALUE,…", allow_hyphen_values = true, help_heading = LINK)]
    pub to_right: Option<String>,
    /// What is different towards LEFT.
    #[arg(long = "left", value_name = "KEY=VALUE,…", allow_hyphen_values = true, help_heading = LINK)]
    pub to_left: Option<String>,
    /// Which dice are thrown: the same seed and the same frames give the same losses.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LINK)]
    pub seed: u64,

    /// End after this time; otherwise with Ctrl-C or SIGTERM. Times count from the line `linkem: ready` on.
    #[arg(long, value_name = "TIME", value_parser = span, allow_hyphen_values = true, help_heading = RUN)]
    pub duration: Option<Nanos>,
    /// Print what each direction carries, every so often.
    #[arg(long, value_name = "TIME", value_parser = at_least_a_millisecond,
        allow_hyphen_values = true, help_heading = RUN)]
    pub interval: Option<Nanos>,
    /// Print the report as one JSON object.
    #[arg(long, help_heading = RUN)]
    pub json: bool,
    /// Put the bytes sent per this time into the JSON, for plots.
    #[arg(long, value_name = "TIME", value_parser = at_least_a_millisecond,
        allow_hyphen_values = true, requires = "json", help_heading = RUN)]
    pub bins: Option<Nanos>,

    /// How far apart turns are while frames come or go. Lower: frames leave more punctually, at more CPU time (50us
    /// takes half as much again as 100us). Higher, up to 10ms: the other way round. Frames leave up to this late, half
    /// of it on the average; a link that is nearly idle is served at once.
    #[arg(long, value_name = "TIME", value_parser = granularity,
        allow_hyphen_values = true, default_value = "100us", help_heading = MACHINE)]
    pub granularity: Nanos,
    /// Never sleep: for a machine with a core to spare. Ordinary priority, since the core would never be free.
    #[arg(long, help_heading = MACHINE)]
    pub spin: bool,
    /// Real-time priority, 1 to 99, so that busy hosts on the same machine can't hold the link up; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=99),
        help_heading = MACHINE)]
    pub priority: u8,
    /// Stay on this CPU, counted from 0; `last` takes the last one, `any` none. Leave it to the emulator, if you can:
    /// a program that stays in the kernel holds up even real-time priority.
    #[arg(long, value_name = "N", default_value = "last", value_parser = cpu, help_heading = MACHINE)]
    pub cpu: Cpu,
    /// Memory for frames, which is locked. Without: what the profile can have under way, in frames of --frame.
    #[arg(long, value_name = "SIZE", value_parser = umem, allow_hyphen_values = true, help_heading = MACHINE)]
    pub umem: Option<u64>,
    /// Length of frame that the memory is sized for: each takes 4096 bytes of it, however short. Without: the MTU's.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(60..=4096), help_heading = MACHINE)]
    pub frame: Option<u16>,
    /// A run is invalid if more than one frame in 100 leaves, or is noticed, later than this after it should have been,
    /// or more than one in 1000 later than ten times this.
    #[arg(long, value_name = "TIME", value_parser = span,
        allow_hyphen_values = true, default_value = "1ms", help_heading = MACHINE)]
    pub late: Nanos,
    /// How frames pass between driver and program: auto, zerocopy, copy, skb.
    #[arg(long, value_name = "MODE", default_value_t = Mode::Auto, help_heading = MACHINE)]
    pub mode: Mode,
}

const LINK: &str = "The link";
const RUN: &str = "The run";
const MACHINE: &str = "The machine";

const AFTERWARDS: &str = "\
The report at the end tells for each direction what came, what was dropped and why, what left, and how long frames \
waited in the queue. It also tells whether the emulator itself kept up. If it did not (frames left late, or were \
dropped for its own sake: no free memory, full rings, frames longer than the MTU) the run says nothing about the link, \
and is marked as invalid.

Exit status: 0 done, 1 could not start or lost an interface, 2 wrong usage, 3 done, but the run is invalid.

The interfaces have the same MTU, 3400 at most. Neighbours must send real frames, with checksums filled in: on veth \
and virtual NICs switch segmentation and checksum offload off (`ethtool -K eth1 tso off gso off tx off`; \
`tools/netlab up --hosts 3 --offloads off` does).

Example, a transatlantic gigabit with a little loss, on a machine of three hosts:
  tools/netlab up --hosts 3 --offloads off
  tools/netlab exec m -- tools/linkem --rate 1gbit --delay 50ms --queue 1bdp --loss 0.01% eth1 eth2
  tools/netlab exec b -- iperf3 -s
  tools/netlab exec a -- iperf3 -c 10.77.0.2
A satellite, asymmetric, that is gone for three seconds:
  tools/linkem --delay 270ms --rate 50mbit --left rate=5mbit,loss=0.5% --outage 20s+3s eth1 eth2";

/// The directions, in the order of everything that there is for each.
pub const DIRECTIONS: [&str; 2] = ["right", "left"];

/// Where to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cpu {
    /// On any.
    Any,
    /// On the last that the process may use.
    Last,
    /// On this one.
    This(usize),
}

fn cpu(text: &str) -> Result<Cpu, String> {
    match text {
        "any" => Ok(Cpu::Any),
        "last" => Ok(Cpu::Last),
        _ => text.parse().map(Cpu::This).map_err(|_| "say last, any or a number that `nproc` counts".into()),
    }
}

/// A span that is not 0.
fn span(text: &str) -> Result<Nanos, String> {
    match time::parse(text)? {
        0 => Err("must be more than 0".into()),
        span if span < MILLISECOND / 1000 => Err(format!("{text:?} is below a microsecond, which no machine keeps")),
        span => Ok(span),
    }
}

/// Frames leave up to so late: with more there is no delay left that the link could be said to have.
fn granularity(text: &str) -> Result<Nanos, String> {
    match span(text)? {
        span if span > 10 * MILLISECOND => Err("every frame would leave so late; say 10ms at most".into()),
        span => Ok(span),
    }
}

/// Memory that a pair can be opened with.
fn umem(text: &str) -> Result<u64, String> {
    match size::parse(text)? {
        bytes if bytes < 1 << 20 => Err("too little for the rings; say 1MiB at least".into()),
        bytes => Ok(bytes),
    }
}

/// What a line is printed or a number kept for: more of them would be a load of their own.
fn at_least_a_millisecond(text: &str) -> Result<Nanos, String> {
    match span(text)? {
        span if span < MILLISECOND => Err(format!("{text:?} is too short; say at least 1ms")),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn paragraphs_of_the_help_are_wrapped_where_the_terminal_ends() {
        let said = AFTERWARDS.split("\n\n").filter(|paragraph| !paragraph.starts_with("Example"));
        for paragraph in said {
            assert!(!paragraph.contains('\n') && !paragraph.contains("  "), "{paragraph}");
        }
        assert!(AFTERWARDS.contains("MTU, 3400 at most"));
    }

    #[test]
    fn what_can_not_be_is_refused() {
        for wrong in [
            ["--granularity", "0"],
            ["--granularity", "10s"],
            ["--umem", "4KiB"],
            ["--umem", "-5MB"],
            ["--duration", "-1s"],
            ["--bins", "10ms"],
            ["--interval", "10us"],
            ["--priority", "100"],
            ["--cpu", "first"],
        ] {
            assert!(Options::try_parse_from(["linkem", "eth1", "eth2"].iter().chain(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
