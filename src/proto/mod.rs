//! proto

pub mod received;
pub mod recovery;
