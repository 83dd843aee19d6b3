//! Any text as a plan: read, compiled, proved, printed in every form.
#![no_main]

#[path = "../../tests/plans/endure.rs"]
#[expect(dead_code, reason = "the estate's part has a target of its own")]
mod endure;

libfuzzer_sys::fuzz_target!(|text: &str| {
    endure::plan(text);
});
