//! Why bytes were refused.

/// Why a packet could not be parsed; each kind has a drop counter of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// Shorter than its header, than the length it claims, or than its type demands.
    #[error("packet ends before its content does")]
    Truncated,
    /// Another version of the protocol (the nibble that it said).
    #[error("protocol version {0} is not ours ({ours})", ours = super::VERSION)]
    Version(u8),
    /// A value that this version does not know or allow; the text says which.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}
