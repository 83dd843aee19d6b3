//! Any bytes as an OCSP response.
#![no_main]

#[path = "../fixture.rs"]
mod fixture;

use cutover::guard::stranger;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fixture::with(|issuer, serial| stranger::ocsp(bytes, issuer, serial, fixture::MADE_AT));
});
