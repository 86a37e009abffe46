//! The `frames` oracle on any input.
#![no_main]

#[path = "../oracles/codec_amqp091.rs"]
#[allow(dead_code, reason = "each target uses one oracle")]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| oracle::frames(input));
