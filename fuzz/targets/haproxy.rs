#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| liveconf::fuzzing::run("haproxy", bytes));
