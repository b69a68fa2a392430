//! Records out of a byte stream that arrives in pieces: file bytes stay where they are, only heads are gathered.

use super::record::{DATA, DATA_HEAD_LEN, HEAD_LEN, MAX_BODY, Record, RecordError, Verdict};

/// What a direction's records are.
pub trait Body: Sized {
    /// Reads one record's body.
    ///
    /// # Errors
    /// If it is none of this direction's.
    fn parse(kind: u8, body: &[u8]) -> Result<Self, RecordError>;
}

impl Body for Record {
    fn parse(kind: u8, body: &[u8]) -> Result<Record, RecordError> {
        Record::parse(kind, body)
    }
}

impl Body for Verdict {
    fn parse(kind: u8, body: &[u8]) -> Result<Verdict, RecordError> {
        Verdict::parse(kind, body)
    }
}

/// What came out.
#[derive(PartialEq, Eq, Debug)]
pub enum Event<'a, R> {
    /// A whole record.
    Record(R),
    /// Some of a data record's file bytes, still where they arrived.
    Data {
        /// Their place in the file.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// The decoder's place in the stream.
#[derive(Default)]
pub struct Decoder {
    /// Head and body of a record that is not complete yet.
    gathered: Vec<u8>,
    /// File bytes still to come, and where they go.
    data_left: usize,
    data_offset: u64,
}

impl Decoder {
    /// Takes the next event off the front of `input`; `None` when `input` is used up.
    ///
    /// # Errors
    /// If the stream is not one of records. Nothing can be made of what follows.
    pub fn next<'a, R: Body>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a, R>>, RecordError> {
        loop {
            if self.data_left > 0 {
                return Ok(self.data(input));
            }
            let need = self.needed()?;
            if !self.gather(input, need) {
                return Ok(None);
            }
            if self.needed()? > self.gathered.len() {
                continue;
            }
            if self.gathered[0] == DATA {
                self.start_data();
                continue;
            }
            let record = R::parse(self.gathered[0], &self.gathered[HEAD_LEN..])?;
            self.gathered.clear();
            return Ok(Some(Event::Record(record)));
        }
    }

    /// Whether the stream could end here.
    pub fn at_boundary(&self) -> bool {
        self.gathered.is_empty() && self.data_left == 0
    }

    fn data<'a, R>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a, R>> {
        let len = self.data_left.min(input.len());
        if len == 0 {
            return None;
        }
        let (bytes, rest) = input.split_at(len);
        *input = rest;
        let offset = self.data_offset;
        self.data_left -= len;
        self.data_offset += len as u64;
        Some(Event::Data { offset, bytes })
    }

    /// How many bytes must be gathered before something can be said.
    fn needed(&self) -> Result<usize, RecordError> {
        let Some(head) = self.gathered.first_chunk::<HEAD_LEN>() else { return Ok(HEAD_LEN) };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length);
        match kind {
            DATA if length < 8 => Err(RecordError::Malformed(kind)),
            DATA => Ok(DATA_HEAD_LEN),
            _ if length as usize > MAX_BODY => Err(RecordError::TooLong { kind, length }),
            _ => Ok(HEAD_LEN + length as usize),
        }
    }

    /// Moves bytes from `input` until `need` are there; false if it ran dry.
    fn gather(&mut self, input: &mut &[u8], need: usize) -> bool {
        let (now, rest) = input.split_at((need - self.gathered.len()).min(input.len()));
        self.gathered.extend_from_slice(now);
        *input = rest;
        self.gathered.len() == need
    }

    fn start_data(&mut self) {
        let mut head = [0; DATA_HEAD_LEN];
        head.copy_from_slice(&self.gathered);
        let [_, length @ .., _, _, _, _, _, _, _, _] = head;
        self.data_left = u32::from_be_bytes(length) as usize - 8;
        let [_, _, _, _, _, offset @ ..] = head;
        self.data_offset = u64::from_be_bytes(offset);
        self.gathered.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::data_head;
    use super::*;

    proptest! {
        /// However the stream is cut, the same comes out.
        #[test]
        fn cuts_do_not_matter(
            lens in prop::collection::vec(0usize..3000, 1..8),
            cuts in prop::collection::vec(1usize..700, 1..60),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (index, len) in lens.iter().enumerate() {
                let content: Vec<u8> = (0..*len).map(|n| (n * 31 + index) as u8).collect();
                stream.extend_from_slice(&data_head(index as u64 * 10_000, *len));
                stream.extend_from_slice(&content);
                let record = Record::Finish { entries: index as u64 };
                record.emit(&mut stream);
                expected.push((content, record));
            }
            let (mut decoder, mut got) = (Decoder::default(), Vec::new());
            let (mut rest, mut content, mut cut) = (&stream[..], Vec::new(), 0);
            while !rest.is_empty() {
                let (mut piece, later) = rest.split_at(cuts[cut % cuts.len()].min(rest.len()));
                (rest, cut) = (later, cut + 1);
                while let Some(event) = decoder.next::<Record>(&mut piece).unwrap() {
                    match event {
                        Event::Data { offset, bytes } => {
                            prop_assert_eq!(offset, got.len() as u64 * 10_000 + content.len() as u64);
                            content.extend_from_slice(bytes);
                        }
                        Event::Record(record) => got.push((std::mem::take(&mut content), record)),
                    }
                }
            }
            prop_assert!(decoder.at_boundary());
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut decoder = Decoder::default();
            let mut input = &bytes[..];
            while let Ok(Some(_)) = decoder.next::<Record>(&mut input) {}
        }
    }

    #[test]
    fn a_long_claim_is_refused_before_anything_is_kept() {
        let mut decoder = Decoder::default();
        let mut input = &[1, 0xff, 0xff, 0xff, 0xff][..];
        let error = decoder.next::<Record>(&mut input).unwrap_err();
        assert_eq!(error, RecordError::TooLong { kind: 1, length: u32::MAX });
    }
}
