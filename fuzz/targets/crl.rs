//! Any bytes as a CRL, held against one that holds.
#![no_main]

#[path = "../fixture.rs"]
mod fixture;

use cutover::guard::stranger;

const BEFORE: &[u8] = include_bytes!("../../tests/data/revocation/crl-5.der");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fixture::with(|issuer, serial| stranger::crl(bytes, BEFORE, issuer, serial, fixture::MADE_AT));
});
