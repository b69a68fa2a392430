//! Scenarios of the whole room.
