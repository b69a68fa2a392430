//! `cargo +nightly fuzz run engines`: see `farwire_fuzz::engines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farwire_fuzz::engines::run(bytes));
