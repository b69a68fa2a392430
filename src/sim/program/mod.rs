//! The programs on the hosts: who writes, who reads, and what each may see.
//!
//! The first bytes of a stream say what is written on it, so that its reader knows what to expect whatever connection
//! it comes from, and that no stream comes twice or to the wrong host is seen as well.

mod plan;
mod reader;
mod writer;

use std::sync::atomic::Ordering;

use crate::engine::port::SendPort;
pub use plan::{KEY_LEN, ReadPlan, StreamKey, WritePlan};
pub use reader::Reader;
pub use writer::Writer;

/// The code that goes with an end that is dropped midway.
const CODE: u32 = 7;

/// What goes with a sending end that is dropped before anything was written.
pub fn give_up(port: &SendPort) {
    port.shared.drop_code.store(CODE, Ordering::Release);
}

/// What came of one look at an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// It is to be looked at again.
    More,
    /// The end may be dropped.
    Over,
}
