//! The goodput table: what each controller makes of links of different lengths, losses and queues.

use std::fmt::Write;

use super::{Flow, Plan};
use crate::base::time::SECOND;
use crate::base::{Nanos, Rate};
use crate::proto::recovery::Algorithm;

/// The bottleneck of every link of the table. Fast enough that a window is many packets at 2 ms, slow enough that the
/// whole table takes seconds.
const RATE: &str = "100mbit";
/// Each flow lasts so long, from its first byte on.
const SPAN_NS: Nanos = 5 * SECOND;

/// The table as text: for each link the share of what it could carry, and the 99th percentile of the queue in
/// milliseconds, of each controller.
///
/// # Errors
/// No link of the table is wrong, so none.
pub fn goodput() -> Result<String, String> {
    let fixed = RATE.parse::<Rate>()?;
    let controllers = [
        ("fixed", Algorithm::Fixed(fixed)),
        ("auto", Algorithm::Auto),
        ("bbr", Algorithm::Bbr),
        ("cubic", Algorithm::Cubic),
        ("reno", Algorithm::Reno),
    ];
    let mut text =
        String::from("share of the link, and queue p99 in ms, over five seconds\n\n  rtt loss         queue   |");
    for (name, _) in controllers {
        let _ = write!(text, " {name:^13} |");
    }
    text.push('\n');
    for rtt_ms in [2, 20, 200] {
        for loss in ["loss=0%", "loss=0.1%", "loss=1%", "burst=1%/20"] {
            for queue in ["0.25bdp", "1bdp"] {
                let _ = write!(text, "{rtt_ms:5} {loss:12} {queue:7} |");
                let link = format!("rate={RATE},delay={}us,queue={queue},{loss}", rtt_ms * 500);
                for (_, algorithm) in controllers {
                    let mut flow = Flow::new(Plan { frames: 1 << 14, ..Plan::new(algorithm, &link)? });
                    flow.run_from_first_byte(SPAN_NS);
                    let seen = flow.seen(SPAN_NS);
                    let _ = write!(text, " {:.3}  {:6.2} |", seen.share, seen.queue_p99_ms);
                }
                text.push('\n');
            }
        }
    }
    Ok(text)
}
