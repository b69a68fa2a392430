//! `cargo +nightly fuzz run ack`: see `farwire_fuzz::ack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farwire_fuzz::ack::run(bytes));
