//! The codes of findings and how heavily each weighs.
//!
//! The table is the specification's (RFC numbers there); a code that weighs differently by degree
//! is listed with its usual weight and given the other one where it is found. Not known here: how
//! anything is found.

use crate::health::Finding;
use crate::health::Severity::{self, Breach, Degraded, Lie, Note};

/// Every code that the guard can give, with its weight.
pub(crate) const CODES: &[(&str, Severity)] = &[
    ("ocsp-unreachable", Breach),
    ("ocsp-slow", Breach),
    ("ocsp-http-status", Breach),
    ("ocsp-content-type", Degraded),
    ("ocsp-get-differs", Breach),
    ("ocsp-truncated", Breach),
    ("ocsp-oversize", Breach),
    ("ocsp-cache-headers", Degraded),
    ("ocsp-der", Breach),
    ("ocsp-type", Breach),
    ("ocsp-unknown-critical", Breach),
    ("ocsp-status-malformed", Breach),
    ("ocsp-status-internal", Breach),
    ("ocsp-status-try-later", Breach),
    ("ocsp-status-sig-required", Breach),
    ("ocsp-status-unauthorized", Breach),
    ("ocsp-bad-signature", Breach),
    ("ocsp-wrong-key", Breach),
    ("ocsp-delegate-missing", Breach),
    ("ocsp-responder-id", Breach),
    ("ocsp-delegate-eku", Lie),
    ("ocsp-delegate-expired", Lie),
    ("ocsp-delegate-expiring", Degraded),
    ("ocsp-delegate-profile", Degraded),
    ("ocsp-outlives-signer", Degraded),
    ("ocsp-sigalg", Breach),
    ("ocsp-wrong-cert-id", Breach),
    ("ocsp-extra-singles", Note),
    ("ocsp-certid-hash", Note),
    ("ocsp-not-yet-valid", Breach),
    ("ocsp-expired", Lie),
    ("ocsp-no-next-update", Breach),
    ("ocsp-time-form", Degraded),
    ("ocsp-interval", Degraded),
    ("ocsp-stale", Degraded),
    ("ocsp-nonce", Breach),
    ("ocsp-good-unissued", Lie),
    ("ocsp-good-revoked", Lie),
    ("ocsp-revoked-good", Lie),
    ("ocsp-unrevoked", Lie),
    ("ocsp-unknown-good", Breach),
    ("ocsp-revocation-mismatch", Degraded),
    ("ocsp-went-back", Degraded),
    ("ocsp-clock-skew", Degraded),
    ("crl-unreachable", Breach),
    ("crl-slow", Breach),
    ("crl-http-status", Breach),
    ("crl-content-type", Note),
    ("crl-truncated", Breach),
    ("crl-size", Breach),
    ("crl-der", Breach),
    ("crl-unknown-critical", Breach),
    ("crl-bad-signature", Breach),
    ("crl-sigalg", Breach),
    ("crl-wrong-issuer", Lie),
    ("crl-aki", Breach),
    ("crl-not-yet-valid", Breach),
    ("crl-expired", Lie),
    ("crl-no-next-update", Breach),
    ("crl-interval", Breach),
    ("crl-stale", Breach),
    ("crl-number", Degraded),
    ("crl-number-back", Lie),
    ("crl-idp", Breach),
    ("crl-delta", Breach),
    ("crl-entry-reason", Degraded),
    ("crl-entry-form", Degraded),
    ("crl-entry-changed", Lie),
    ("crl-entry-dropped", Lie),
    ("crl-sentinel", Lie),
    ("crl-shrunk", Degraded),
    ("seal-unreachable", Breach),
    ("seal-slow", Breach),
    ("seal-truncated", Breach),
    ("seal-oversize", Breach),
    ("seal-http", Breach),
    ("seal-missing", Breach),
    ("seal-content", Degraded),
];

/// A finding with the weight that the table gives its code.
pub(crate) fn found(code: &'static str, what: impl Into<String>) -> Finding {
    let severity = CODES.iter().find(|(known, _)| *known == code).map(|(_, severity)| *severity);
    debug_assert!(severity.is_some(), "BUG: `{code}` is not in the table of codes");
    weighed(code, severity.unwrap_or(Breach), what)
}

/// A finding whose weight depends on its degree.
pub(crate) fn weighed(code: &'static str, severity: Severity, what: impl Into<String>) -> Finding {
    Finding { code, severity, what: what.into() }
}
