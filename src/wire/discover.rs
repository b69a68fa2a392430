//! Names on the link: a broadcast query and its unicast answers. A query is a name, empty for "everybody".

/// Longest name, in bytes.
pub const MAX_NAME_LEN: usize = 32;

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announce<'a> {
    /// The query's packet number field, echoed.
    pub nonce: u64,
    /// Our name.
    pub name: &'a str,
    /// What runs there, for people: `recv`, `perf`.
    pub service: &'a str,
    /// Longest Ethernet payload in bytes.
    pub mtu: u16,
}
