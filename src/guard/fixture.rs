//! Answers that the `openssl` command made once (`tests/data/revocation/make.sh`), for the tables of
//! tests: a third party's bytes, judged at the time at which they were made.

use super::cert::{self, CertHash, Issuer, Serial};
use super::ocsp::Question;

/// Unix seconds at which the fixtures were made.
pub(crate) const MADE_AT: i64 = 1_795_507_707;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/revocation/", $name))
    };
}
pub(crate) use data;

/// The issuer of all fixtures.
pub(crate) fn issuer() -> Issuer {
    Issuer::from_der(data!("ca.der"), "ca".into()).expect("fixture")
}

/// The serial of a certificate.
pub(crate) fn serial(der: &[u8]) -> Serial {
    Serial(cert::read(der).expect("fixture").serial.to_vec())
}

/// The question that `openssl` answered.
pub(crate) fn question<'a>(issuer: &'a Issuer, serial: &'a Serial) -> Question<'a> {
    Question { issuer, serial, hash: CertHash::Sha1, nonce: None }
}

/// An answer that is not quite what it was.
pub(crate) fn changed(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    bytes
}

/// The same with a few bytes written over, each at its place modulo the length.
pub(crate) fn overwritten(bytes: &[u8], places: &[(usize, u8)]) -> Vec<u8> {
    changed(bytes, |bytes| {
        let length = bytes.len();
        places.iter().for_each(|(place, byte)| bytes[place % length] = *byte);
    })
}
