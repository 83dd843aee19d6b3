//! Any text as an estate: read, a plan sketched for it, a plan bound to it.
#![no_main]

#[path = "../../tests/plans/endure.rs"]
#[expect(dead_code, reason = "the plan's part has a target of its own")]
mod endure;

libfuzzer_sys::fuzz_target!(|text: &str| {
    endure::estate(text);
});
