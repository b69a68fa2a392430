//! Bytes that tell by their place in the stream what they must be, for `--verify`.

/// An odd constant whose multiples differ in every byte: a shifted or repeated piece shows at once.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Fills `bytes`, which begin at `offset` of the stream.
pub fn fill(offset: u64, bytes: &mut [u8]) {
    let lead = ((8 - offset % 8) % 8).min(bytes.len() as u64) as usize;
    let (head, rest) = bytes.split_at_mut(lead);
    for (index, byte) in head.iter_mut().enumerate() {
        *byte = byte_at(offset + index as u64);
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    let first = (offset + lead as u64) / 8;
    let tail_offset = (first + words.len() as u64) * 8;
    for (word, number) in words.iter_mut().zip(first..) {
        *word = word_at(number);
    }
    for (index, byte) in tail.iter_mut().enumerate() {
        *byte = byte_at(tail_offset + index as u64);
    }
}

/// How many of `bytes`, which begin at `offset` of the stream, are not what they must be.
pub fn wrong(offset: u64, bytes: &[u8]) -> u64 {
    let lead = ((8 - offset % 8) % 8).min(bytes.len() as u64) as usize;
    let (head, rest) = bytes.split_at(lead);
    let (words, tail) = rest.as_chunks::<8>();
    let first = (offset + lead as u64) / 8;
    let single = |offset: u64, bytes: &[u8]| {
        bytes.iter().zip(offset..).filter(|(byte, offset)| **byte != byte_at(*offset)).count() as u64
    };
    let mut count = single(offset, head) + single((first + words.len() as u64) * 8, tail);
    for (word, number) in words.iter().zip(first..) {
        if *word != word_at(number) {
            count += single(number * 8, word);
        }
    }
    count
}

fn word_at(number: u64) -> [u8; 8] {
    (number.wrapping_add(1).wrapping_mul(STEP)).to_le_bytes()
}

fn byte_at(offset: u64) -> u8 {
    word_at(offset / 8)[(offset % 8) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_fits_and_every_change_shows() {
        let mut whole = vec![0; 1000];
        fill(3, &mut whole);
        for (start, end) in [(0, 1), (0, 5), (1, 13), (5, 1000), (7, 8), (992, 1000), (0, 0)] {
            let offset = 3 + start as u64;
            let mut piece = vec![0; end - start];
            fill(offset, &mut piece);
            assert_eq!(piece, whole[start..end]);
            assert_eq!(wrong(offset, &piece), 0);
            for index in 0..piece.len() {
                piece[index] ^= 0x10;
                assert_eq!(wrong(offset, &piece), 1);
                piece[index] ^= 0x10;
            }
        }
        assert!(wrong(4, &whole) > 900, "a shift by one must show");
        assert!(wrong(11, &whole) > 900, "a shift by a word must show");
    }
}
