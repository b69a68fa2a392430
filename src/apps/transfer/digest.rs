//! BLAKE3 over bytes that lie scattered in frames.

use super::record::DIGEST_LEN;

/// Bytes gathered before they are hashed. BLAKE3 hashes 8 or 16 chunks of 1 KiB at once if they lie side by side; fed
/// frame by frame (1.4 kB) it does one at a time. Measured on an AVX-512 EPYC: 0.7 GB/s frame by frame, 6.5 GB/s
/// through a gather buffer of 64 KiB, its copy included. Smaller: less parallelism; larger: leaves the L2 cache.
const GATHER: usize = 64 << 10;

/// A running BLAKE3.
pub struct Digest {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest { hasher: blake3::Hasher::new(), gathered: Vec::with_capacity(GATHER) }
    }
}

impl Digest {
    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.gathered.is_empty() && bytes.len() >= GATHER {
                let whole = bytes.len() - bytes.len() % GATHER;
                self.hasher.update(&bytes[..whole]);
                bytes = &bytes[whole..];
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(GATHER - self.gathered.len()));
            self.gathered.extend_from_slice(now);
            if self.gathered.len() == GATHER {
                self.flush();
            }
            bytes = later;
        }
    }

    /// Adds `count` zeros: a hole.
    pub fn zeros(&mut self, mut count: u64) {
        static ZEROS: [u8; GATHER] = [0; GATHER];
        while count > 0 {
            let now = count.min(GATHER as u64);
            self.update(&ZEROS[..now as usize]);
            count -= now;
        }
    }

    /// The digest; starts anew.
    pub fn take(&mut self) -> [u8; DIGEST_LEN] {
        self.flush();
        let digest = *self.hasher.finalize().as_bytes();
        self.reset();
        digest
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.hasher.reset();
        self.gathered.clear();
    }

    fn flush(&mut self) {
        self.hasher.update(&self.gathered);
        self.gathered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_holes_hash_like_the_whole() {
        let mut content: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        let mut digest = Digest::default();
        for piece in content.chunks(1432) {
            digest.update(piece);
        }
        digest.zeros(200_001);
        content.extend(std::iter::repeat_n(0, 200_001));
        assert_eq!(digest.take(), *blake3::hash(&content).as_bytes());
        digest.update(&content);
        assert_eq!(digest.take(), *blake3::hash(&content).as_bytes());
        assert_eq!(digest.take(), *blake3::hash(b"").as_bytes());
    }
}
