//! Bytes to types and back.
//!
//! Decides: where every byte of a packet stands (`docs/WIRE.md` says the same in words and hex).
//! Does not: keep state, read clocks, allocate. Called by: `proto` (types, items), `engine` (parse, emit).
//! Invariant: parsing never panics, whatever the bytes; `parse(emit(x)) == x`.

pub mod ack;
pub mod crc;
mod cursor;
pub mod discover;
pub mod error;
pub mod eth;
pub mod header;
pub mod item;
pub mod open;
pub mod ping;
pub mod pretty;
pub mod reset;
pub mod sealed;
pub mod version;

pub use ack::{Ack, AckWords};
pub use discover::{Announce, Query};
pub use error::ParseError;
pub use eth::{Ethernet, Vlan};
pub use header::{Header, PacketType, StreamHeader};
pub use item::{Item, Items};
pub use open::{Accept, Confirm, CookieReply, Open, Params};
pub use ping::Ping;
pub use reset::{Reset, SealedReset};
pub use sealed::{Answer, Ask, Offer, SealedAccept, SealedCookie, SealedOpen};

/// The protocol version that we speak: the upper four bits of a packet's first byte.
pub const VERSION: u8 = 1;
/// IEEE 802 local experimental EtherType 1, our default.
pub const ETHERTYPE: u16 = 0x88B5;
/// Bytes of the header that every packet has.
pub const HEADER_LEN: usize = 16;
/// Bytes of the stream header behind it in a data packet.
pub const STREAM_HEADER_LEN: usize = 16;
/// Bytes of the CRC32C that ends a packet in plain mode.
pub const CRC_LEN: usize = 4;
/// Bytes of the AEAD tag that ends a sealed packet.
pub const TAG_LEN: usize = 16;
/// Bytes of an untagged Ethernet header; 4 more with an 802.1Q tag.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of an 802.1Q tag.
pub const VLAN_TAG_LEN: usize = 4;
