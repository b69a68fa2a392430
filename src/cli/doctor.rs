//! `farwire doctor`.

use super::exit::Failure;
use super::flags;

pub fn run(_flags: &flags::Doctor) -> Result<(), Failure> {
    Err(Failure::failed("not here yet"))
}
