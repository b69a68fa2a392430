//! `cargo +nightly fuzz run connection`: see `farwire_fuzz::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farwire_fuzz::connection::run(bytes));
