//! OCSP: builds a request, reads a response strictly, verifies it, and says what it found.
//!
//! Pure but for [`status_of`]: what was fetched and the time are handed in. Not known here: the
//! pace, and what earlier answers said (`probe` holds those against each other).

use super::cert::{self, CertHash, Issuer, Serial};
use super::fetch;
use super::finding::{found, weighed};
use super::sign::{self, Form, SignatureFault};
use super::walk::{
    self, BIT_STRING, Bad, ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE,
    Time, Walk, context, primitive,
};
use crate::health::{Finding, Severity, is_failure};
use std::time::Duration;

const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const NONCE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// How far a responder's clock may be ahead.
const AHEAD: i64 = 60;
/// How far past its nextUpdate an answer may be: rounding and a little skew.
const PAST: i64 = 5;

/// What an answer says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStatus {
    /// Not revoked, as far as the responder knows.
    Good,
    /// Revoked.
    Revoked {
        /// Unix seconds.
        at: i64,
        /// CRLReason; none is `unspecified`.
        reason: Option<u8>,
    },
    /// The responder does not know it.
    Unknown,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) issuer: &'a Issuer,
    pub(crate) serial: &'a Serial,
    pub(crate) hash: CertHash,
    /// 32 octets, or none.
    pub(crate) nonce: Option<[u8; 32]>,
}

impl Question<'_> {
    /// The DER of the OCSPRequest.
    pub(crate) fn request(&self) -> Vec<u8> {
        let id = self.cert_id();
        let single = walk::element(SEQUENCE, &[&id]);
        let list = walk::element(SEQUENCE, &[&single]);
        let extensions = self.nonce.map_or_else(Vec::new, |nonce| {
            let value = walk::element(OCTET_STRING, &[&nonce]);
            let extension = walk::element(
                SEQUENCE,
                &[&walk::element(OID, &[NONCE]), &walk::element(OCTET_STRING, &[&value])],
            );
            walk::element(context(2), &[&walk::element(SEQUENCE, &[&extension])])
        });
        let tbs = walk::element(SEQUENCE, &[&list, &extensions]);
        walk::element(SEQUENCE, &[&tbs])
    }

    fn cert_id(&self) -> Vec<u8> {
        let oid = match self.hash {
            CertHash::Sha1 => SHA1,
            CertHash::Sha256 => SHA256,
        };
        walk::element(
            SEQUENCE,
            &[
                &walk::element(SEQUENCE, &[&walk::element(OID, &[oid]), &[5, 0]]),
                &walk::element(OCTET_STRING, &[self.issuer.name_hash(self.hash)]),
                &walk::element(OCTET_STRING, &[self.issuer.key_hash(self.hash)]),
                &walk::element(INTEGER, &[self.serial.bytes()]),
            ],
        )
    }

    fn is_answered_by(&self, single: &Single<'_>) -> bool {
        let oid = match self.hash {
            CertHash::Sha1 => SHA1,
            CertHash::Sha256 => SHA256,
        };
        single.hash == oid
            && single.name_hash == self.issuer.name_hash(self.hash)
            && single.key_hash == self.issuer.key_hash(self.hash)
            && single.serial == self.serial.bytes()
    }
}

/// What a response came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// What it says, when its signature holds and it is about what was asked.
    pub(crate) status: Option<CertStatus>,
    /// responseStatus, when it could be read.
    pub(crate) response_status: Option<u8>,
    /// Unix seconds.
    pub(crate) this_update: i64,
    /// Unix seconds; 0: none.
    pub(crate) next_update: i64,
    /// Unix seconds.
    pub(crate) produced_at: i64,
    /// Our nonce came back.
    pub(crate) nonce_echoed: bool,
    /// Everything found.
    pub(crate) findings: Vec<Finding>,
}

impl Judged {
    fn add(&mut self, code: &'static str, what: impl Into<String>) {
        self.findings.push(found(code, what));
    }
}

enum ResponderId<'a> {
    Name(&'a [u8]),
    Key(&'a [u8]),
}

struct Single<'a> {
    hash: &'a [u8],
    name_hash: &'a [u8],
    key_hash: &'a [u8],
    serial: &'a [u8],
    status: CertStatus,
    this_update: Time,
    next_update: Option<Time>,
    reason_extension: bool,
}

struct Basic<'a> {
    tbs: &'a [u8],
    responder: ResponderId<'a>,
    produced_at: Time,
    singles: Vec<Single<'a>>,
    nonce: Option<&'a [u8]>,
    algorithm: &'a [u8],
    signature: &'a [u8],
    certs: Vec<&'a [u8]>,
    unknown_critical: bool,
    exact_times: bool,
}

/// Reads and verifies a response; `now` in Unix seconds.
pub(crate) fn judge(body: &[u8], question: &Question<'_>, now: i64) -> Judged {
    let mut judged = Judged::default();
    let basic = match open(body, &mut judged) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return judged,
        Err(why) => {
            judged.add("ocsp-der", why.to_string());
            return judged;
        }
    };
    let response = match basic_response(basic) {
        Ok(response) => response,
        Err(why) => {
            judged.add("ocsp-der", why.to_string());
            return judged;
        }
    };
    if response.unknown_critical {
        judged.add("ocsp-unknown-critical", "a critical extension is not known");
    }
    signature(&response, question.issuer, now, &mut judged);
    nonce(&response, question, &mut judged);
    let Some(single) = pick(&response, question, &mut judged) else { return judged };
    times(&response, single, now, &mut judged);
    if single.reason_extension {
        judged.add("ocsp-revocation-mismatch", "a reasonCode stands in singleExtensions");
    }
    if let CertStatus::Revoked { at, .. } = single.status
        && at > single.this_update.seconds
    {
        judged.add("ocsp-revocation-mismatch", "the revocation time lies after thisUpdate");
    }
    // Whoever signed wrongly has said nothing.
    if !judged.findings.iter().any(|finding| UNSIGNED.contains(&finding.code)) {
        judged.status = Some(single.status);
    }
    judged
}

/// Findings that leave an answer without a signature to be believed.
const UNSIGNED: [&str; 8] = [
    "ocsp-bad-signature",
    "ocsp-wrong-key",
    "ocsp-delegate-missing",
    "ocsp-responder-id",
    "ocsp-delegate-eku",
    "ocsp-delegate-expired",
    "ocsp-sigalg",
    "ocsp-unknown-critical",
];

/// The OCSPResponse around it: the BasicOCSPResponse's bytes, if there is one.
fn open<'a>(body: &'a [u8], judged: &mut Judged) -> Result<Option<&'a [u8]>, Bad> {
    let mut fields = Walk::new(walk::only(body, SEQUENCE)?.body);
    let status = walk::small(fields.expect(ENUMERATED)?.body)?;
    judged.response_status = Some(status);
    let wrapped = fields.maybe(context(0))?;
    fields.end()?;
    match status {
        0 => {}
        1 => judged.add("ocsp-status-malformed", "it calls the request malformed"),
        2 => judged.add("ocsp-status-internal", "it answers `internalError`"),
        3 => judged.add("ocsp-status-try-later", "it answers `tryLater`"),
        5 => judged.add("ocsp-status-sig-required", "it asks for a signed request"),
        6 => judged.add("ocsp-status-unauthorized", "it answers `unauthorized`"),
        _ => return Err(Bad("the response status is none that exists")),
    }
    let wrapped = match (status, wrapped) {
        (0, Some(wrapped)) => wrapped,
        (0, None) => return Err(Bad("a successful response holds nothing")),
        (_, None) => return Ok(None),
        (_, Some(_)) => return Err(Bad("an error response holds an answer")),
    };
    let mut bytes = Walk::new(walk::only(wrapped.body, SEQUENCE)?.body);
    let kind = bytes.expect(OID)?.body;
    let content = bytes.expect(OCTET_STRING)?.body;
    bytes.end()?;
    if kind != BASIC {
        judged.add("ocsp-type", "the response is not of type id-pkix-ocsp-basic");
        return Ok(None);
    }
    Ok(Some(content))
}

fn basic_response(bytes: &[u8]) -> Result<Basic<'_>, Bad> {
    let mut outer = Walk::new(walk::only(bytes, SEQUENCE)?.body);
    let tbs = outer.expect(SEQUENCE)?;
    let algorithm = outer.expect(SEQUENCE)?.whole;
    let signature = walk::octets_of_bits(outer.expect(BIT_STRING)?.body)?;
    let mut certs = Vec::new();
    if let Some(wrapped) = outer.maybe(context(0))? {
        let mut list = Walk::new(walk::only(wrapped.body, SEQUENCE)?.body);
        while !list.is_empty() {
            certs.push(list.expect(SEQUENCE)?.whole);
        }
    }
    outer.end()?;
    let mut fields = Walk::new(tbs.body);
    if fields.peek() == Some(context(0)) {
        return Err(Bad("the version is written out or not 1"));
    }
    let responder = fields.next()?;
    let responder = match responder.tag {
        tag if tag == context(1) => ResponderId::Name(walk::only(responder.body, SEQUENCE)?.whole),
        tag if tag == context(2) => {
            ResponderId::Key(walk::only(responder.body, OCTET_STRING)?.body)
        }
        _ => return Err(Bad("the responder id is neither a name nor a key hash")),
    };
    let produced_at = walk::time(fields.expect(GENERALIZED_TIME)?)?;
    let mut list = fields.enter(SEQUENCE)?;
    let mut response = Basic {
        tbs: tbs.whole,
        responder,
        produced_at,
        singles: Vec::new(),
        nonce: None,
        algorithm,
        signature,
        certs,
        unknown_critical: false,
        exact_times: produced_at.exact,
    };
    while !list.is_empty() {
        let single = single(list.enter(SEQUENCE)?, &mut response)?;
        response.singles.push(single);
    }
    if let Some(wrapped) = fields.maybe(context(1))? {
        for extension in walk::extensions(wrapped.body)? {
            if extension.oid == NONCE {
                response.nonce = Some(walk::only(extension.value, OCTET_STRING)?.body);
            } else {
                response.unknown_critical |= extension.critical;
            }
        }
    }
    fields.end()?;
    Ok(response)
}

const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];

fn single<'a>(mut fields: Walk<'a>, response: &mut Basic<'a>) -> Result<Single<'a>, Bad> {
    let mut id = fields.enter(SEQUENCE)?;
    let mut algorithm = id.enter(SEQUENCE)?;
    let hash = algorithm.expect(OID)?.body;
    // Absent or NULL: both are in use.
    algorithm.maybe(5)?;
    algorithm.end()?;
    let name_hash = id.expect(OCTET_STRING)?.body;
    let key_hash = id.expect(OCTET_STRING)?.body;
    let serial = walk::integer(id.expect(INTEGER)?.body)?;
    id.end()?;
    let status = fields.next()?;
    let status = match status.tag {
        tag if tag == primitive(0) && status.body.is_empty() => CertStatus::Good,
        tag if tag == primitive(2) && status.body.is_empty() => CertStatus::Unknown,
        tag if tag == context(1) => revoked(Walk::new(status.body), response)?,
        _ => return Err(Bad("a certificate status is none that exists")),
    };
    let this_update = walk::time(fields.expect(GENERALIZED_TIME)?)?;
    let next_update = match fields.maybe(context(0))? {
        Some(wrapped) => Some(walk::time(walk::only(wrapped.body, GENERALIZED_TIME)?)?),
        None => None,
    };
    response.exact_times &= this_update.exact && next_update.is_none_or(|time| time.exact);
    let mut reason_extension = false;
    if let Some(wrapped) = fields.maybe(context(1))? {
        for extension in walk::extensions(wrapped.body)? {
            reason_extension |= extension.oid == REASON_CODE;
            response.unknown_critical |= extension.critical && extension.oid != REASON_CODE;
        }
    }
    fields.end()?;
    let single = Single {
        hash,
        name_hash,
        key_hash,
        serial,
        status,
        this_update,
        next_update,
        reason_extension,
    };
    Ok(single)
}

fn revoked(mut fields: Walk<'_>, response: &mut Basic<'_>) -> Result<CertStatus, Bad> {
    let at = walk::time(fields.expect(GENERALIZED_TIME)?)?;
    response.exact_times &= at.exact;
    let reason = match fields.maybe(context(0))? {
        Some(wrapped) => Some(walk::small(walk::only(wrapped.body, ENUMERATED)?.body)?),
        None => None,
    };
    if reason.is_some_and(|reason| reason > 10 || reason == 7) {
        return Err(Bad("a revocation reason is none that exists"));
    }
    fields.end()?;
    Ok(CertStatus::Revoked { at: at.seconds, reason })
}

/// Who signed, and whether he may.
fn signature(response: &Basic<'_>, issuer: &Issuer, now: i64, judged: &mut Judged) {
    let by_issuer = match response.responder {
        ResponderId::Name(name) => name == issuer.subject,
        ResponderId::Key(hash) => hash == issuer.key_hash(CertHash::Sha1),
    };
    if by_issuer {
        over(response, &issuer.spki, judged);
        outlives(response, issuer.not_after, judged);
        return;
    }
    let mut certs = Vec::new();
    for bytes in &response.certs {
        match cert::read(bytes) {
            Ok(cert) => certs.push(cert),
            Err(why) => return judged.add("ocsp-der", format!("in `certs`: {why}")),
        }
    }
    let named = certs.iter().find(|cert| match response.responder {
        ResponderId::Name(name) => name == cert.subject,
        ResponderId::Key(hash) => hash == cert::hash(CertHash::Sha1, cert.key_bits).as_ref(),
    });
    let Some(delegate) = named else {
        let what = match certs.is_empty() {
            true => ("ocsp-delegate-missing", "it is not by the issuer and brings no certificate"),
            false => ("ocsp-responder-id", "its responder id names none of its certificates"),
        };
        return judged.add(what.0, what.1);
    };
    match delegate.is_signed_by(issuer) {
        Ok(()) => {}
        Err(SignatureFault::Wrong) => {
            return judged
                .add("ocsp-wrong-key", "it is signed by a key that this issuer never named");
        }
        Err(SignatureFault::Algorithm(why)) => {
            return judged.add("ocsp-sigalg", format!("the delegate's certificate: {why}"));
        }
    }
    may_sign(delegate, now, judged);
    over(response, delegate.spki, judged);
    let ends = certs.iter().map(|cert| cert.not_after).min().unwrap_or(delegate.not_after);
    outlives(response, ends, judged);
}

/// The signature itself, over the raw bytes of what it covers.
fn over(response: &Basic<'_>, spki: &[u8], judged: &mut Judged) {
    match sign::verify(response.algorithm, spki, response.tbs, response.signature) {
        Ok(Form::Exact) => {}
        Ok(Form::Loose) => judged.findings.push(weighed(
            "ocsp-sigalg",
            Severity::Degraded,
            "its algorithm identifier is not in the one form allowed",
        )),
        Err(SignatureFault::Wrong) => {
            judged.add("ocsp-bad-signature", "its signature does not hold");
        }
        Err(SignatureFault::Algorithm(why)) => judged.add("ocsp-sigalg", why),
    }
}

fn may_sign(delegate: &cert::Cert<'_>, now: i64, judged: &mut Judged) {
    if !delegate.ocsp_signing {
        judged.add("ocsp-delegate-eku", "its signer may not sign OCSP answers");
    } else if delegate.other_usages {
        judged.findings.push(weighed(
            "ocsp-delegate-profile",
            Severity::Degraded,
            "its signer has other usages beside OCSPSigning",
        ));
    }
    if now < delegate.not_before - AHEAD || now > delegate.not_after {
        judged.add("ocsp-delegate-expired", "its signer's certificate is not valid now");
    } else if delegate.not_after - now < 7 * DAY {
        judged.add("ocsp-delegate-expiring", "its signer's certificate ends within 7 days");
    }
    let profile = [
        (!delegate.no_check, "has no id-pkix-ocsp-nocheck"),
        (delegate.is_ca, "is a CA"),
        (delegate.crl_points, "has CRL distribution points"),
        (
            delegate.key_usage.is_none_or(|usage| usage != cert::DIGITAL_SIGNATURE),
            "has another keyUsage than digitalSignature alone",
        ),
    ];
    let wrong: Vec<&str> = profile.iter().filter(|(bad, _)| *bad).map(|(_, what)| *what).collect();
    if !wrong.is_empty() {
        judged.add("ocsp-delegate-profile", format!("its signer {}", wrong.join(", ")));
    }
}

fn outlives(response: &Basic<'_>, signer_ends: i64, judged: &mut Judged) {
    let last = response
        .singles
        .iter()
        .filter_map(|single| single.next_update)
        .max_by_key(|time| time.seconds);
    if last.is_some_and(|time| time.seconds > signer_ends) {
        judged.add("ocsp-outlives-signer", "nextUpdate lies after its signer's certificate ends");
    }
}

fn nonce(response: &Basic<'_>, question: &Question<'_>, judged: &mut Judged) {
    match (response.nonce, &question.nonce) {
        (Some(got), Some(sent)) if got == sent => judged.nonce_echoed = true,
        (Some(_), Some(_)) => {
            judged.add("ocsp-nonce", "it answers with another nonce than was sent")
        }
        (Some(_), None) => judged.findings.push(weighed(
            "ocsp-nonce",
            Severity::Note,
            "it answers with a nonce though none was sent",
        )),
        (None, _) => {}
    }
}

/// The one answer that is about what was asked.
fn pick<'r, 'a>(
    response: &'r Basic<'a>,
    question: &Question<'_>,
    judged: &mut Judged,
) -> Option<&'r Single<'a>> {
    let mut ours = response.singles.iter().filter(|single| question.is_answered_by(single));
    let Some(first) = ours.next() else {
        judged.add("ocsp-wrong-cert-id", "it is not about the certificate that was asked for");
        return None;
    };
    if ours.any(|other| other.status != first.status) {
        judged.findings.push(weighed(
            "ocsp-extra-singles",
            Severity::Lie,
            "it holds two answers that contradict each other",
        ));
    } else if response.singles.len() > 1 {
        judged.add("ocsp-extra-singles", "it answers what was not asked");
    }
    Some(first)
}

fn times(response: &Basic<'_>, single: &Single<'_>, now: i64, judged: &mut Judged) {
    let this = single.this_update.seconds;
    let produced = response.produced_at.seconds;
    judged.this_update = this;
    judged.produced_at = produced;
    if this > now + AHEAD || produced > now + AHEAD {
        judged.add("ocsp-not-yet-valid", "it is from the future");
    }
    if judged.nonce_echoed && (produced - now).abs() > AHEAD {
        judged.add("ocsp-clock-skew", "producedAt is not within 60 s of now");
    }
    if this > produced {
        judged.add("ocsp-time-form", "thisUpdate lies after producedAt");
    }
    if !response.exact_times {
        judged.add("ocsp-time-form", "a time has a fraction");
    }
    let Some(next) = single.next_update.map(|time| time.seconds) else {
        return judged.add("ocsp-no-next-update", "it has no nextUpdate");
    };
    judged.next_update = next;
    if next < now - PAST {
        return judged.add("ocsp-expired", format!("it ended {} s ago", now - next));
    }
    if this >= next {
        return judged.add("ocsp-time-form", "thisUpdate is not before nextUpdate");
    }
    let interval = next - this;
    if interval > 10 * DAY {
        judged.findings.push(weighed(
            "ocsp-interval",
            Severity::Breach,
            "it is valid for more than 10 days",
        ));
    } else if interval < 8 * HOUR {
        judged.add("ocsp-interval", "it is valid for less than 8 hours");
    } else if interval > 7 * DAY {
        judged.findings.push(weighed(
            "ocsp-interval",
            Severity::Note,
            "it is valid for more than 7 days",
        ));
    }
    stale(this, next, now, judged);
}

/// Whether a newer answer should have been made by now.
fn stale(this: i64, next: i64, now: i64, judged: &mut Judged) {
    let (interval, left, age) = (next - this, next - now, now - this);
    if left < HOUR && interval >= 2 * HOUR {
        judged.findings.push(weighed(
            "ocsp-stale",
            Severity::Breach,
            "it ends within an hour and was not renewed",
        ));
    } else if interval < 16 * HOUR && age > interval / 2 {
        judged.add("ocsp-stale", "it was not renewed by half of its time");
    } else if interval >= 16 * HOUR && (left < 8 * HOUR || age > 4 * DAY) {
        judged.add("ocsp-stale", "it was not renewed in time");
    }
}

/// Asks one responder about one certificate by POST over a fresh connection, and verifies the
/// answer. For the emergency lane; one question, no re-ask.
///
/// # Errors
/// The heaviest finding, when the answer is none to be believed.
pub async fn status_of(
    url: &str,
    issuer: &Issuer,
    serial: &Serial,
    timeout: Duration,
) -> Result<CertStatus, Finding> {
    let question = Question { issuer, serial, hash: CertHash::Sha1, nonce: None };
    let fetched = fetch::ocsp(url, &question.request(), fetch::How::Post, timeout).await?;
    let mut judged = judge(&fetched.body, &question, fetch::now());
    judged.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    match judged.status {
        Some(status) if !is_failure(&judged.findings) => Ok(status),
        _ => Err(judged
            .findings
            .into_iter()
            .next()
            .unwrap_or_else(|| found("ocsp-wrong-cert-id", "it holds no answer"))),
    }
}

#[cfg(test)]
mod tests;
