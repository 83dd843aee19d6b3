//! The certificate revocation lists of the lab (RFC 5280 section 5): built from a database's revoked
//! rows, signed by the line's authority.
//!
//! Not known here: who may sign now.

use super::ca::{Authority, ecdsa_with_sha256, extension};
use super::der;
use super::store::Revoked;
use anyhow::Result;

/// A list's life: four days.
pub(super) const LIFE: i64 = 4 * 86_400;

/// How far the counter leaps when another site begins to sign: more than what the old signer could
/// have published unseen.
pub(super) const GAP: u64 = 100;

/// A signed list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    /// DER of the CertificateList.
    pub(super) body: Vec<u8>,
    /// CRLNumber.
    pub(super) number: u64,
    /// Unix seconds.
    pub(super) this_update: i64,
    /// Unix seconds.
    pub(super) next_update: i64,
}

/// Signs a list of these rows.
pub(super) fn sign(
    authority: &Authority,
    rows: &[Revoked],
    number: u64,
    this_update: i64,
    next_update: i64,
) -> Result<List> {
    sign_as(authority, authority, rows, number, this_update, next_update)
}

/// The same in the name of `authority`, by the key of `signer`.
pub(super) fn sign_as(
    authority: &Authority,
    signer: &Authority,
    rows: &[Revoked],
    number: u64,
    this_update: i64,
    next_update: i64,
) -> Result<List> {
    let tbs = body(authority, rows, number, this_update, next_update);
    let body = signer.key.signed(&tbs, &[])?;
    Ok(List { body, number, this_update, next_update })
}

fn body(
    authority: &Authority,
    rows: &[Revoked],
    number: u64,
    this_update: i64,
    next_update: i64,
) -> Vec<u8> {
    let mut entries = Vec::new();
    for row in rows {
        let Some(serial) = der::from_hex(&row.serial) else { continue };
        let reason = match row.reason {
            0 => Vec::new(),
            reason => {
                der::sequence(&[&extension(&[2, 5, 29, 21], false, &der::enumerated(reason))])
            }
        };
        entries.extend(der::sequence(&[&der::unsigned(&serial), &der::time(row.at), &reason]));
    }
    // An empty list of entries must be left out (RFC 5280 section 5.1.2.6).
    let entries = if entries.is_empty() { Vec::new() } else { der::tlv(0x30, &entries) };
    let number = extension(&[2, 5, 29, 20], false, &der::unsigned(&number.to_be_bytes()));
    let extensions = der::sequence(&[&authority.key_identifier(), &number]);
    der::sequence(&[
        &der::unsigned(&[1]),
        &ecdsa_with_sha256(),
        &authority.name,
        &der::time(this_update),
        &der::time(next_update),
        &entries,
        &der::context(0, &extensions),
    ])
}

/// CRLNumber, thisUpdate and nextUpdate of a kept list, so that the counter outlives the lab's
/// process.
pub(super) fn read(body: Vec<u8>, number: u64) -> Option<List> {
    use ::der::Decode as _;
    let list =
        x509_cert::crl::CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&body).ok()?;
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs() as i64;
    let this_update = seconds(list.tbs_cert_list.this_update);
    let next_update = seconds(list.tbs_cert_list.next_update?);
    Some(List { body, number, this_update, next_update })
}
