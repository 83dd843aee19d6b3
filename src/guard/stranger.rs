//! A stranger's bytes, judged by themselves: the door for `fuzz/` and `tests/`, which are other crates.
//!
//! Not known here: who sent them, and what a finding weighs.

use super::cert::{CertHash, Issuer, Serial};
use super::crl;
use super::ocsp::{Question, judge};
use crate::health::Finding;
use bytes::Bytes;

/// Reads bytes as the OCSP response about `serial`; `now` in Unix seconds.
pub fn ocsp(body: &[u8], issuer: &Issuer, serial: &Serial, now: i64) -> Vec<Finding> {
    let [hash, nonce] = [CertHash::Sha1, CertHash::Sha256].map(|hash| {
        let nonce = (hash == CertHash::Sha256).then_some([7; 32]);
        judge(body, &Question { issuer, serial, hash, nonce }, now).findings
    });
    hash.into_iter().chain(nonce).collect()
}

/// Reads bytes as a CRL, searches it for `serial` and holds it against `before`, both ways; `now` in
/// Unix seconds.
pub fn crl(body: &[u8], before: &[u8], issuer: &Issuer, serial: &Serial, now: i64) -> Vec<Finding> {
    let read = |bytes: &[u8]| crl::read(Bytes::copy_from_slice(bytes), issuer, now);
    let (list, mut findings) = read(body);
    if let (Some(list), Some(before)) = (list, read(before).0) {
        let _ = (list.find(serial), list.next_update(), list.is_empty());
        findings.extend(crl::against(&before, &list));
        findings.extend(crl::against(&list, &before));
    }
    findings
}
