//! `cargo +nightly fuzz run packet`: see `farwire_fuzz::packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farwire_fuzz::packet::run(bytes));
