//! Bytes as the choices of the generator of random plans: what lies behind the reader.
#![no_main]

#[path = "../../tests/plans/endure.rs"]
#[expect(dead_code, reason = "the estate's part has a target of its own")]
mod endure;
#[path = "../../tests/grown/mod.rs"]
#[expect(dead_code, reason = "each user takes a part of it")]
mod grown;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    endure::plan(&grown::random::plan(grown::Chance::of_bytes(bytes)));
});
