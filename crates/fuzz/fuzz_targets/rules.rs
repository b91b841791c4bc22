//! Runs `fuzz::rules` on generated inputs: `make fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::rules(data));
