//! Time as nanoseconds since an arbitrary start, read once per turn by whoever owns the clock.

/// A point in time, or a span, in nanoseconds.
pub type Nanos = u64;

/// One microsecond.
pub const MICROSECOND: Nanos = 1_000;
/// One millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1_000_000_000;
/// A deadline that never comes.
pub const NEVER: Nanos = Nanos::MAX;
