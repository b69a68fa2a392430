//! What client and server say to each other on the control stream: a length (4 bytes, big-endian) and a JSON value.

use std::io::{Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Interval, PerfError, Side};

/// Longest message; what a peer can make us buffer.
const MAX_LEN: usize = 64 << 10;

/// Server to client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// The server can't do what was asked.
    Refused(String),
    /// What arrived at the server in an interval.
    Interval(Interval),
    /// All is over at the server.
    Final(Box<Side>),
}

/// Says one thing.
///
/// # Errors
/// If the stream is broken.
pub fn say(stream: &mut impl Write, value: &impl Serialize) -> Result<(), PerfError> {
    let text = serde_json::to_vec(value).map_err(|error| PerfError::Talk(error.to_string()))?;
    let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&text);
    stream.write_all(&bytes).map_err(broken)
}

/// Hears one thing.
///
/// # Errors
/// If the stream is broken, or what comes is none of ours.
pub fn hear<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, PerfError> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).map_err(broken)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > MAX_LEN {
        return Err(PerfError::Talk(format!("a message of {len} bytes")));
    }
    let mut text = vec![0; len];
    stream.read_exact(&mut text).map_err(broken)?;
    serde_json::from_slice(&text).map_err(|error| PerfError::Talk(error.to_string()))
}

fn broken(error: std::io::Error) -> PerfError {
    match error.downcast::<crate::api::StreamError>() {
        Ok(error) => PerfError::Stream(error),
        Err(error) => PerfError::Talk(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bins, Direction, MAX_BINS, Plan};
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let plan = Plan {
            direction: Direction::Both,
            streams: 4,
            duration_ms: 10_000,
            interval_ms: 1000,
            verify: true,
            bin_ms: 100,
        };
        let word = Word::Final(Box::new(Side { cpu_seconds: 1.5, ..Side::default() }));
        let mut bytes = Vec::new();
        say(&mut bytes, &plan).unwrap();
        say(&mut bytes, &word).unwrap();
        let mut read = &bytes[..];
        assert_eq!(hear::<Plan>(&mut read).unwrap(), plan);
        assert_eq!(hear::<Word>(&mut read).unwrap(), word);
        assert!(hear::<Word>(&mut read).is_err());
    }

    #[test]
    fn a_plan_without_bins_is_an_older_client_s_and_the_most_bins_fit_a_message() {
        let text = r#"{"direction":"up","streams":1,"duration_ms":10,"interval_ms":10,"verify":false}"#;
        assert_eq!(serde_json::from_str::<Plan>(text).unwrap().bin_ms, 0);
        let bins = Bins { bin_ms: 100, bytes: vec![1_250_000_000; MAX_BINS as usize] };
        let mut bytes = Vec::new();
        say(&mut bytes, &Word::Final(Box::new(Side { bins: Some(bins), ..Side::default() }))).unwrap();
        assert!(hear::<Word>(&mut &bytes[..]).is_ok(), "{} bytes", bytes.len());
    }

    #[test]
    fn a_long_claim_and_nonsense_are_refused() {
        assert!(hear::<Plan>(&mut &b"\xff\xff\xff\xff"[..]).is_err());
        assert!(hear::<Plan>(&mut &b"\0\0\0\x02{}"[..]).is_err());
    }
}
