//! Where a secret is in a process's memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// What the needle is kept under, so that looking for it does not put it where it is looked for.
const MASK: u8 = 0x5a;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// A secret of 32 bytes that one can look for.
pub struct Needle([u8; 32]);

impl Needle {
    /// Of its hexadecimal digits.
    pub fn of_digits(digits: &str) -> Needle {
        assert_eq!(digits.len(), 64);
        Needle(std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap() ^ MASK))
    }

    /// In how many places of the process's memory it is.
    pub fn places(&self, process: u32) -> usize {
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        let mut bytes = vec![0; CHUNK];
        let (mut found, mut read) = (0, 0);
        for line in maps.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            let (start, end) = range.split_once('-').unwrap();
            let [mut at, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
            while rights.starts_with('r') && at < end {
                let wanted = CHUNK.min((end - at) as usize);
                // The kernel's own pages and a device's can't be read, and a mapping may have gone meanwhile.
                let Ok(len @ 1..) = memory.read_at(&mut bytes[..wanted], at) else { break };
                found += bytes[..len].windows(32).filter(|window| self.is(window)).count();
                read += len;
                // A place across the border is seen from the next chunk; one that ends here was seen.
                at += if len < 32 || at + len as u64 >= end { len } else { len - 31 } as u64;
            }
        }
        assert!(read > CHUNK, "{read} bytes of process {process} were read");
        found
    }

    fn is(&self, window: &[u8]) -> bool {
        window[0] == self.0[0] ^ MASK && window.iter().zip(&self.0).all(|(byte, masked)| byte ^ MASK == *masked)
    }
}
