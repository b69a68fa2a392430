//! Ids as newtypes, so that a frame can't be taken for a stream.

/// One frame of a link's pool: an index below the pool's size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FrameId(pub u32);

/// A connection as its receiver names it (worker, slab index, generation packed by `proto::endpoint`).
/// 0 is nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ConnId(pub u32);

/// One bidirectional stream of a connection. The opener of the connection opens even ids, its peer odd ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId(pub u32);
