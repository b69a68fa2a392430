//! An input as a list of choices, one byte or a few each, so that a change of a byte changes one choice and a script
//! can be written by hand. Behind its end all choices are 0.

use std::collections::VecDeque;

/// What is left of an input.
#[derive(Clone)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// All of these bytes.
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    /// The next step, or `None` at the end.
    pub fn step(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.step().unwrap_or(0)
    }

    /// A choice of so many, 256 at most; 0 where there is none.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// One of these, if there is one.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let index = self.below(choices.len());
        choices.get(index).copied()
    }

    /// A number of any size: below 192 as it is; then 2, 4 or 8 bytes; then a step away from the edges of what fits.
    pub fn number(&mut self) -> u64 {
        let kind = self.byte();
        match kind {
            0..192 => u64::from(kind),
            192..212 => self.big_endian(2),
            212..224 => self.big_endian(4),
            224..236 => self.big_endian(8),
            236..241 => (1 << 22) - u64::from(self.byte()),
            241..246 => u64::from(u32::MAX) - u64::from(self.byte()),
            246..251 => (1 << 58) - u64::from(self.byte()),
            251..=255 => u64::MAX - u64::from(self.byte()),
        }
    }

    fn big_endian(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |value, _| value << 8 | u64::from(self.byte()))
    }
}

/// Takes one out of a queue, counted from its front around its end.
pub fn take<T>(queue: &mut VecDeque<T>, index: usize) -> Option<T> {
    let index = index % queue.len().max(1);
    queue.remove(index)
}
