//! The certificates of an estate, looked at as papers: whose they are and how long they are valid.
//!
//! Not known here: what is asked about them.

use super::cert::{CertError, Issuer, Sentinel, read_file};
use std::path::{Path, PathBuf};

/// A certificate's dates, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub not_before: i64,
    /// To.
    pub not_after: i64,
}

/// The dates of a certificate, PEM or DER.
///
/// # Errors
/// When the file cannot be read or is no certificate.
pub fn validity(path: &Path) -> Result<Validity, CertError> {
    read_file(path, |cert| Validity { not_before: cert.not_before, not_after: cert.not_after })
}

/// Which of the issuers a sentinel is of; `signed`: its signature must say so too (one that was
/// never issued may be signed by nobody).
///
/// # Errors
/// When the file cannot be read or is no certificate.
pub fn issuer_of<'i>(
    sentinel: &Path,
    issuers: &'i [(PathBuf, Issuer)],
    signed: bool,
) -> Result<Option<&'i Path>, CertError> {
    let sentinel = Sentinel::read(sentinel)?;
    let of = issuers.iter().find(|(_, issuer)| sentinel.is_of(issuer, signed));
    Ok(of.map(|(path, _)| path.as_path()))
}
