//! The applications behind the commands, on the public API.

pub mod transfer;
