//! The two ends of a data stream: one commits frames as fast as they are granted, the other counts what arrives.

use std::io::Read;
use std::time::{Duration, Instant};

use super::meter::Meter;
use super::pattern;
use crate::api::{Message, RecvStream, SendStream, StreamError};

/// Frames reserved at once. The application's core then wakes once per so many packets; the engine never runs dry,
/// since a reservation is granted while the one before it is still being sent.
const RESERVE_FRAMES: usize = 256;
/// Messages taken at once.
const BURST: usize = 256;
/// First byte of a stream on which the client sends.
pub const UP: u8 = b'U';
/// First byte of a stream on which the server sends.
pub const DOWN: u8 = b'D';

/// Sends for `duration`, then waits until all of it is acknowledged.
pub fn pour(mut stream: SendStream, duration: Duration, verify: bool) -> Result<(), StreamError> {
    let until = Instant::now() + duration;
    let most = RESERVE_FRAMES * stream.max_payload();
    let mut offset = 0;
    while Instant::now() < until {
        let mut room = stream.reserve(most)?;
        let len = room.len();
        // Unverified content does not matter: frames leave with whatever an earlier use has left in them.
        if verify {
            for slice in room.slices_mut() {
                pattern::fill(offset, slice);
                offset += slice.len() as u64;
            }
        }
        room.commit(len);
    }
    stream.finish()?;
    stream.wait_acked()
}

/// Counts what arrives until the stream's end.
pub fn drain(stream: &mut RecvStream, meter: &Meter, verify: bool) -> Result<(), StreamError> {
    let mut burst: Vec<Message> = Vec::with_capacity(BURST);
    let mut offset = 0;
    loop {
        burst.clear();
        if stream.recv_burst(&mut burst, BURST)? == 0 {
            return Ok(());
        }
        let (mut bytes, mut corrupt) = (0, 0);
        for message in &burst {
            if verify {
                corrupt += pattern::wrong(offset + bytes, message);
            }
            bytes += message.len() as u64;
        }
        offset += bytes;
        meter.on_bytes(bytes, corrupt);
    }
}

/// The first byte: who sends on this stream.
pub fn who_sends(stream: &mut RecvStream) -> std::io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}
