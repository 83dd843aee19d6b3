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
