//! The records of a transfer: what the sender says about files, and what the receiver answers.
//!
//! Every record is `kind (1) | length (4, big-endian) | body`. Only the body of [`DATA`] is long; it is an offset (8)
//! and file bytes, which stay in the frames that they arrived in. All other bodies are at most [`MAX_BODY`] bytes.

use super::name::Name;

/// Bytes before each record's body.
pub const HEAD_LEN: usize = 5;
/// Bytes before the file bytes of a data record: the head and the offset.
pub const DATA_HEAD_LEN: usize = HEAD_LEN + 8;
/// Kind of the record that carries file bytes.
pub const DATA: u8 = 3;
/// Longest body of a record other than [`DATA`]: two paths and change. Bounds what a peer can make us buffer.
pub const MAX_BODY: usize = 40 << 10;
/// Longest symlink target: Linux' own limit.
pub const MAX_TARGET: usize = 4095;
/// Longest reason text.
pub const MAX_REASON: usize = 1024;
/// Bytes of a BLAKE3 digest.
pub const DIGEST_LEN: usize = 32;

/// Permissions and modification time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// The lower bits of `st_mode`.
    pub mode: u32,
    /// Seconds of the modification time.
    pub mtime_s: i64,
    /// Its nanoseconds.
    pub mtime_ns: u32,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file of this many bytes, as far as the sender knows beforehand (0 for a stream).
    File {
        /// Expected size.
        size: u64,
    },
    /// A directory; what is in it follows, then a [`Record::Leave`].
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points: data, never followed.
        target: Vec<u8>,
    },
}

/// One file, directory or link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it belongs.
    pub name: Name,
    /// Mode and time.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

/// Sender to receiver. Entries ([`Record::Entry`], [`Record::Unsent`]) are numbered from 0 in the
/// order in which they are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The next entry. A file's data follows, then [`Record::End`] or [`Record::Abandon`].
    Entry(Entry),
    /// The file is complete.
    End {
        /// Its size; what no data record covered is a hole.
        size: u64,
        /// BLAKE3 of its content, holes as zeros.
        digest: [u8; DIGEST_LEN],
    },
    /// The file can't be completed.
    Abandon {
        /// Why.
        reason: String,
    },
    /// Something that the sender could not read; counts as an entry.
    Unsent {
        /// Its name.
        name: Name,
        /// Why.
        reason: String,
    },
    /// All of this directory has been sent: its mode and time can be set.
    Leave {
        /// Which directory.
        name: Name,
        /// Mode and time.
        meta: Meta,
    },
    /// How much there is in all, known a while after the start; for progress only.
    Totals {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// That was all.
    Finish {
        /// Entries sent.
        entries: u64,
    },
}

/// Receiver to sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The receiver is ready.
    Accepted,
    /// One entry failed there.
    Failed {
        /// Its number.
        index: u64,
        /// Its name, as the sender gave it.
        name: Vec<u8>,
        /// Why.
        reason: String,
    },
    /// So much is safely on disk so far.
    Progress(Tally),
    /// Everything was dealt with; the last verdict.
    Summary(Tally),
    /// The receiver can't go on at all; the last verdict.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What is in place at the receiver: verified, synced and renamed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// The same without their holes: what really went over the link.
    pub data_bytes: u64,
    /// Entries that failed.
    pub failed: u64,
}

/// Why a record can't be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// A kind that this version does not know.
    #[error("record kind {0} is unknown")]
    Kind(u8),
    /// The body is longer than any of its kind.
    #[error("a record of kind {kind} with {length} bytes is too long")]
    TooLong {
        /// The record's kind.
        kind: u8,
        /// The length it claims.
        length: u32,
    },
    /// The body is shorter or longer than its fields, or a field makes no sense.
    #[error("a record of kind {0} is malformed")]
    Malformed(u8),
    /// A name that could escape the target directory.
    #[error("{0}")]
    Name(#[from] super::name::NameError),
}

impl Record {
    /// Appends the record's bytes.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Record::Entry(entry) => framed(out, 1, |out| emit_entry(out, entry)),
            Record::End { size, digest } => framed(out, 4, |out| {
                out.extend_from_slice(&size.to_be_bytes());
                out.extend_from_slice(digest);
            }),
            Record::Abandon { reason } => framed(out, 5, |out| emit_text(out, reason)),
            Record::Leave { name, meta } => framed(out, 6, |out| {
                emit_meta(out, meta);
                emit_bytes(out, name.as_bytes());
            }),
            Record::Totals { files, bytes } => framed(out, 7, |out| {
                out.extend_from_slice(&files.to_be_bytes());
                out.extend_from_slice(&bytes.to_be_bytes());
            }),
            Record::Finish { entries } => framed(out, 8, |out| out.extend_from_slice(&entries.to_be_bytes())),
            Record::Unsent { name, reason } => framed(out, 9, |out| {
                emit_bytes(out, name.as_bytes());
                emit_text(out, reason);
            }),
        }
    }

    /// Reads a record's body.
    ///
    /// # Errors
    /// If it is none of ours.
    pub fn parse(kind: u8, body: &[u8]) -> Result<Record, RecordError> {
        let mut fields = Fields { rest: body, kind };
        let record = match kind {
            1 => Record::Entry(parse_entry(&mut fields)?),
            4 => Record::End { size: fields.u64()?, digest: fields.array()? },
            5 => Record::Abandon { reason: fields.text()? },
            6 => {
                let meta = fields.meta()?;
                Record::Leave { meta, name: Name::parse(fields.bytes()?)? }
            }
            7 => Record::Totals { files: fields.u64()?, bytes: fields.u64()? },
            8 => Record::Finish { entries: fields.u64()? },
            9 => Record::Unsent { name: Name::parse(fields.bytes()?)?, reason: fields.text()? },
            _ => return Err(RecordError::Kind(kind)),
        };
        fields.end(record)
    }
}

impl Verdict {
    /// Appends the verdict's bytes.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Verdict::Accepted => framed(out, 32, |_| ()),
            Verdict::Failed { index, name, reason } => framed(out, 33, |out| {
                out.extend_from_slice(&index.to_be_bytes());
                emit_bytes(out, name);
                emit_text(out, reason);
            }),
            Verdict::Progress(tally) => framed(out, 34, |out| emit_tally(out, tally)),
            Verdict::Summary(tally) => framed(out, 35, |out| emit_tally(out, tally)),
            Verdict::Refused { reason } => framed(out, 36, |out| emit_text(out, reason)),
        }
    }

    /// Reads a verdict's body.
    ///
    /// # Errors
    /// If it is none of ours.
    pub fn parse(kind: u8, body: &[u8]) -> Result<Verdict, RecordError> {
        let mut fields = Fields { rest: body, kind };
        let verdict = match kind {
            32 => Verdict::Accepted,
            33 => Verdict::Failed { index: fields.u64()?, name: fields.bytes()?.to_vec(), reason: fields.text()? },
            34 => Verdict::Progress(fields.tally()?),
            35 => Verdict::Summary(fields.tally()?),
            36 => Verdict::Refused { reason: fields.text()? },
            _ => return Err(RecordError::Kind(kind)),
        };
        fields.end(verdict)
    }
}

/// The head of a data record with `len` file bytes from `offset` on.
pub fn data_head(offset: u64, len: usize) -> [u8; DATA_HEAD_LEN] {
    let mut head = [0; DATA_HEAD_LEN];
    head[0] = DATA;
    head[1..HEAD_LEN].copy_from_slice(&(len as u32 + 8).to_be_bytes());
    head[HEAD_LEN..].copy_from_slice(&offset.to_be_bytes());
    head
}

fn framed(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
    body(out);
    let len = (out.len() - start - HEAD_LEN) as u32;
    out[start + 1..start + HEAD_LEN].copy_from_slice(&len.to_be_bytes());
}

fn emit_entry(out: &mut Vec<u8>, entry: &Entry) {
    let (code, size, target): (u8, u64, &[u8]) = match &entry.kind {
        Kind::File { size } => (0, *size, &[]),
        Kind::Directory => (1, 0, &[]),
        Kind::Symlink { target } => (2, 0, target),
    };
    out.push(code);
    emit_meta(out, &entry.meta);
    out.extend_from_slice(&size.to_be_bytes());
    emit_bytes(out, entry.name.as_bytes());
    emit_bytes(out, target);
}

fn parse_entry(fields: &mut Fields<'_>) -> Result<Entry, RecordError> {
    let code = fields.array::<1>()?[0];
    let meta = fields.meta()?;
    let size = fields.u64()?;
    let name = fields.bytes()?;
    let target = fields.bytes()?;
    let kind = match code {
        0 => Kind::File { size },
        1 => Kind::Directory,
        2 if (1..=MAX_TARGET).contains(&target.len()) && !target.contains(&0) => {
            Kind::Symlink { target: target.to_vec() }
        }
        _ => return Err(RecordError::Malformed(fields.kind)),
    };
    if code != 2 && !target.is_empty() || code != 0 && size != 0 {
        return Err(RecordError::Malformed(fields.kind));
    }
    Ok(Entry { name: Name::parse(name)?, meta, kind })
}

fn emit_meta(out: &mut Vec<u8>, meta: &Meta) {
    out.extend_from_slice(&meta.mode.to_be_bytes());
    out.extend_from_slice(&meta.mtime_s.to_be_bytes());
    out.extend_from_slice(&meta.mtime_ns.to_be_bytes());
}

fn emit_tally(out: &mut Vec<u8>, tally: &Tally) {
    for number in [tally.files, tally.directories, tally.symlinks, tally.bytes, tally.data_bytes, tally.failed] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn emit_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn emit_text(out: &mut Vec<u8>, text: &str) {
    let end = (0..=text.len().min(MAX_REASON)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    emit_bytes(out, &text.as_bytes()[..end]);
}

/// A body that is being read from the front.
struct Fields<'a> {
    rest: &'a [u8],
    kind: u8,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Malformed(self.kind))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.take(N)?.try_into().map_err(|_| RecordError::Malformed(self.kind))
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(usize::from(len))
    }

    fn text(&mut self) -> Result<String, RecordError> {
        let bytes = self.bytes()?;
        // Reasons are shown on a terminal, so nothing in them may control it.
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        Ok(String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_REASON)]).chars().map(clean).collect())
    }

    fn meta(&mut self) -> Result<Meta, RecordError> {
        let meta = Meta {
            mode: u32::from_be_bytes(self.array()?),
            mtime_s: i64::from_be_bytes(self.array()?),
            mtime_ns: u32::from_be_bytes(self.array()?),
        };
        if meta.mtime_ns < 1_000_000_000 { Ok(meta) } else { Err(RecordError::Malformed(self.kind)) }
    }

    fn tally(&mut self) -> Result<Tally, RecordError> {
        Ok(Tally {
            files: self.u64()?,
            directories: self.u64()?,
            symlinks: self.u64()?,
            bytes: self.u64()?,
            data_bytes: self.u64()?,
            failed: self.u64()?,
        })
    }

    fn end<T>(self, value: T) -> Result<T, RecordError> {
        if self.rest.is_empty() { Ok(value) } else { Err(RecordError::Malformed(self.kind)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_name() -> impl Strategy<Value = Name> {
        prop::collection::vec(prop::collection::vec(1u8..=255, 1..20), 1..6)
            .prop_filter_map("a plain name", |parts| Name::parse(&parts.join(&b'/')).ok())
    }

    fn a_meta() -> impl Strategy<Value = Meta> {
        (any::<u32>(), any::<i64>(), 0u32..1_000_000_000).prop_map(|(mode, mtime_s, mtime_ns)| Meta {
            mode,
            mtime_s,
            mtime_ns,
        })
    }

    fn a_record() -> impl Strategy<Value = Record> {
        let kind = prop_oneof![
            any::<u64>().prop_map(|size| Kind::File { size }),
            Just(Kind::Directory),
            prop::collection::vec(1u8..=255, 1..300).prop_map(|target| Kind::Symlink { target }),
        ];
        prop_oneof![
            (a_name(), a_meta(), kind).prop_map(|(name, meta, kind)| Record::Entry(Entry { name, meta, kind })),
            (any::<u64>(), any::<[u8; 32]>()).prop_map(|(size, digest)| Record::End { size, digest }),
            "[a-zäöü ]{0,200}".prop_map(|reason| Record::Abandon { reason }),
            (a_name(), a_meta()).prop_map(|(name, meta)| Record::Leave { name, meta }),
            (any::<u64>(), any::<u64>()).prop_map(|(files, bytes)| Record::Totals { files, bytes }),
            any::<u64>().prop_map(|entries| Record::Finish { entries }),
            (a_name(), "[a-z ]{0,50}").prop_map(|(name, reason)| Record::Unsent { name, reason }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_as_it_was_written(record in a_record()) {
            let mut bytes = Vec::new();
            record.emit(&mut bytes);
            let len = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            prop_assert_eq!(bytes.len(), HEAD_LEN + len);
            prop_assert!(len <= MAX_BODY);
            prop_assert_eq!(Record::parse(bytes[0], &bytes[HEAD_LEN..]), Ok(record));
        }

        #[test]
        fn no_bytes_make_parsing_panic(kind: u8, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::parse(kind, &body);
            let _ = Verdict::parse(kind, &body);
        }

        #[test]
        fn a_cut_record_is_refused(record in a_record(), cut in 1usize..50) {
            let mut bytes = Vec::new();
            record.emit(&mut bytes);
            let end = bytes.len().saturating_sub(cut).max(HEAD_LEN);
            prop_assume!(end < bytes.len());
            prop_assert!(Record::parse(bytes[0], &bytes[HEAD_LEN..end]).is_err());
        }
    }

    #[test]
    fn a_verdict_reads_as_it_was_written() {
        let tally = Tally { files: 1, directories: 2, symlinks: 3, bytes: 4, data_bytes: 6, failed: 5 };
        for verdict in [
            Verdict::Accepted,
            Verdict::Failed { index: 7, name: b"a\xff".to_vec(), reason: "disk full".into() },
            Verdict::Progress(tally),
            Verdict::Summary(tally),
            Verdict::Refused { reason: "no".into() },
        ] {
            let mut bytes = Vec::new();
            verdict.emit(&mut bytes);
            assert_eq!(Verdict::parse(bytes[0], &bytes[HEAD_LEN..]), Ok(verdict));
        }
    }

    #[test]
    fn a_reason_cannot_steer_the_terminal() {
        let mut bytes = Vec::new();
        Record::Abandon { reason: "a\x1b[2Jb".into() }.emit(&mut bytes);
        let Ok(Record::Abandon { reason }) = Record::parse(5, &bytes[HEAD_LEN..]) else { panic!("no reason") };
        assert_eq!(reason, "a [2Jb");
    }
}
