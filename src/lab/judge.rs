//! Whether an answer is what a client must see: OCSP read with the `x509-ocsp` crate, CRLs with
//! `x509-cert`, signatures verified with ring.
//!
//! A third path beside the guard's walker and the lab's own writer, so that the three do not share a
//! mistake. Not known here: who was asked, and how often.

use super::der;
use anyhow::{Context as _, Result, ensure};
use der_of_x509_ocsp::{Decode as _, Encode as _};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use std::collections::BTreeSet;
use std::path::Path;
use x509_cert::der::{Decode as _, Encode as _};
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspResponse, OcspResponseStatus, ResponderId, SingleResponse,
};

const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";
const OCSP_SIGNING: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];

/// An issuer, as a client has it from its certificate.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    /// Its subject, DER.
    name: Vec<u8>,
    /// The bits of its public key.
    key: Vec<u8>,
}

impl Issuer {
    /// From a PEM file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading `{}`", path.display()))?;
        let bytes = der::from_pem(&text)
            .with_context(|| format!("`{}` holds no certificate", path.display()))?;
        let certificate = x509_cert::Certificate::from_der(&bytes)
            .with_context(|| format!("`{}` is no certificate", path.display()))?;
        let body = certificate.tbs_certificate();
        let key = body.subject_public_key_info().subject_public_key.raw_bytes().to_vec();
        Ok(Self { name: body.subject().to_der()?, key })
    }

    /// A request for one serial: by SHA-1 or SHA-256, with a nonce or without.
    pub(super) fn request(&self, serial: &[u8], sha256: bool, nonce: Option<&[u8]>) -> Vec<u8> {
        let (algorithm, arcs): (&'static Algorithm, &[u64]) = if sha256 {
            (&SHA256, &[2, 16, 840, 1, 101, 3, 4, 2, 1])
        } else {
            (&SHA1_FOR_LEGACY_USE_ONLY, &[1, 3, 14, 3, 2, 26])
        };
        let id = der::sequence(&[
            &der::sequence(&[&der::oid(arcs), &[0x05, 0x00]]),
            &der::octets(digest(algorithm, &self.name).as_ref()),
            &der::octets(digest(algorithm, &self.key).as_ref()),
            &der::unsigned(serial),
        ]);
        let list = der::sequence(&[&der::sequence(&[&id])]);
        let extensions = nonce.map_or_else(Vec::new, |nonce| {
            let name = der::oid(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 2]);
            let one = der::sequence(&[&name, &der::octets(&der::octets(nonce))]);
            der::context(2, &der::sequence(&[&one]))
        });
        der::sequence(&[&der::sequence(&[&list, &extensions])])
    }
}

/// What an OCSP answer says of the serial that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Issued, not revoked.
    Good,
    /// Revoked.
    Revoked,
    /// Unknown.
    Unknown,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing signed came: no client is misled, it asks elsewhere.
    Silent(String),
    /// Something came that no client may see.
    False(String),
}

fn false_if(wrong: bool, why: &str) -> Result<(), Fault> {
    if wrong { Err(Fault::False(why.to_owned())) } else { Ok(()) }
}

/// Reads and verifies an OCSP answer of `issuer` for `serial`.
pub(super) fn ocsp(
    issuer: &Issuer,
    serial: &[u8],
    sha256: bool,
    nonce: Option<&[u8]>,
    body: &[u8],
    now: i64,
) -> Result<Says, Fault> {
    let broken = |error: der_of_x509_ocsp::Error| Fault::False(format!("not DER: {error}"));
    let response = OcspResponse::from_der(body).map_err(broken)?;
    if response.response_status != OcspResponseStatus::Successful {
        return Err(Fault::Silent(format!("{:?}", response.response_status)));
    }
    let bytes = response
        .response_bytes
        .filter(|bytes| bytes.response_type.to_string() == "1.3.6.1.5.5.7.48.1.1")
        .ok_or_else(|| Fault::False("no basic answer".to_owned()))?;
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(broken)?;
    signed_by(issuer, &basic, now).map_err(|error| Fault::False(format!("{error:#}")))?;
    let data = &basic.tbs_response_data;
    if let (Some(sent), Some(echoed)) = (nonce, data.nonce()) {
        false_if(echoed.0.as_bytes() != sent, "the nonce is another")?;
    }
    let ours = |single: &&SingleResponse| is_for(single, issuer, serial, sha256);
    let single = data.responses.iter().find(ours);
    let single =
        single.ok_or_else(|| Fault::False("it answers for another certificate".to_owned()))?;
    let seconds = |time: &x509_ocsp::OcspGeneralizedTime| {
        i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
    };
    false_if(seconds(&single.this_update) > now + 60, "thisUpdate is to come")?;
    false_if(seconds(&data.produced_at) > now + 60, "producedAt is to come")?;
    let until = single.next_update.as_ref().map(seconds);
    false_if(until.is_none(), "it has no nextUpdate")?;
    false_if(until.is_some_and(|until| until < now - 5), "it has expired")?;
    false_if(seconds(&single.this_update) < now - 4 * 86_400 - 60, "it is older than four days")?;
    Ok(match &single.cert_status {
        CertStatus::Good(_) => Says::Good,
        CertStatus::Revoked(_) => Says::Revoked,
        CertStatus::Unknown(_) => Says::Unknown,
    })
}

fn is_for(single: &SingleResponse, issuer: &Issuer, serial: &[u8], sha256: bool) -> bool {
    let (algorithm, name): (&'static Algorithm, &str) = if sha256 {
        (&SHA256, "2.16.840.1.101.3.4.2.1")
    } else {
        (&SHA1_FOR_LEGACY_USE_ONLY, "1.3.14.3.2.26")
    };
    let id = &single.cert_id;
    id.hash_algorithm.oid.to_string() == name
        && id.issuer_name_hash.as_bytes() == digest(algorithm, &issuer.name).as_ref()
        && id.issuer_key_hash.as_bytes() == digest(algorithm, &issuer.key).as_ref()
        && id.serial_number.as_bytes() == serial
}

/// By the issuer itself, or by a delegate that it issued for this (RFC 6960 section 4.2.2.2).
fn signed_by(issuer: &Issuer, basic: &BasicOcspResponse, now: i64) -> Result<()> {
    let data = basic.tbs_response_data.to_der()?;
    ensure!(
        basic.signature_algorithm.oid.to_string() == ECDSA_WITH_SHA256,
        "the answer is signed by another algorithm than it can be"
    );
    let signature = basic.signature.as_bytes().unwrap_or_default();
    let Some(delegate) = basic.certs.iter().flatten().next() else {
        return verify(&issuer.key, &data, signature).context("the answer's signature");
    };
    let body = &delegate.tbs_certificate;
    ensure!(
        delegate.signature_algorithm.oid.to_string() == ECDSA_WITH_SHA256
            && delegate.signature_algorithm == body.signature,
        "the delegate is signed by another algorithm than it can be"
    );
    ensure!(body.issuer.to_der()? == issuer.name, "the delegate is another issuer's");
    verify(&issuer.key, &body.to_der()?, delegate.signature.as_bytes().unwrap_or_default())
        .context("the delegate's signature")?;
    let extensions = body.extensions.iter().flatten();
    let mut usage = extensions.filter(|extension| extension.extn_id.to_string() == "2.5.29.37");
    let may_sign = usage.any(|extension| {
        let value = extension.extn_value.as_bytes();
        value.windows(OCSP_SIGNING.len()).any(|window| window == OCSP_SIGNING)
    });
    ensure!(may_sign, "the delegate may not sign answers");
    let at = u64::try_from(now).unwrap_or(0);
    let validity = &body.validity;
    ensure!(
        validity.not_before.to_unix_duration().as_secs() <= at
            && at <= validity.not_after.to_unix_duration().as_secs(),
        "the delegate is not valid now"
    );
    let key = body.subject_public_key_info.subject_public_key.raw_bytes();
    match &basic.tbs_response_data.responder_id {
        ResponderId::ByKey(id) => ensure!(
            id.as_bytes() == digest(&SHA1_FOR_LEGACY_USE_ONLY, key).as_ref(),
            "the responder's id is not its key's"
        ),
        ResponderId::ByName(name) => {
            ensure!(*name == body.subject, "the responder's name is another")
        }
    }
    verify(key, &data, signature).context("the answer's signature")
}

fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
    let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature);
    ensure!(verified.is_ok(), "it does not verify");
    Ok(())
}

/// What a client has seen of an issuer's lists before it asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Highest CRLNumber.
    pub(super) number: u64,
    /// Entries in that list: nothing in a lab expires.
    pub(super) entries: usize,
}

/// Reads and verifies a list of `issuer`: what of it is to be known from now on.
pub(super) fn crl(
    issuer: &Issuer,
    body: &[u8],
    listed: &[&[u8]],
    unlisted: &[&[u8]],
    known: Known,
    now: i64,
) -> Result<Known, Fault> {
    use x509_cert::crl::CertificateList;
    let broken = |error: x509_cert::der::Error| Fault::False(format!("not DER: {error}"));
    let list =
        CertificateList::<x509_cert::certificate::Rfc5280>::from_der(body).map_err(broken)?;
    let raw = der::Reader::new(body).inside(0x30).and_then(|mut list| list.element());
    let tbs = raw.map(|(_, _, whole)| whole).unwrap_or_default();
    false_if(
        verify(&issuer.key, tbs, list.signature.as_bytes().unwrap_or_default()).is_err(),
        "its signature does not verify",
    )?;
    let tbs = &list.tbs_cert_list;
    false_if(tbs.issuer.to_der().map_err(broken)? != issuer.name, "it is another issuer's")?;
    let seconds = |time: x509_cert::time::Time| {
        i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
    };
    let begins = seconds(tbs.this_update);
    false_if(begins > now + 60, "thisUpdate is to come")?;
    false_if(begins < now - 7 * 86_400, "it is older than seven days")?;
    let until = tbs.next_update.map(seconds);
    false_if(until.is_none_or(|until| until < now - 5), "it has expired, or never does")?;
    let entries: BTreeSet<&[u8]> = tbs
        .revoked_certificates
        .iter()
        .flatten()
        .map(|entry| entry.serial_number.as_bytes())
        .collect();
    false_if(!listed.iter().all(|serial| entries.contains(serial)), "a revoked one is not listed")?;
    false_if(unlisted.iter().any(|serial| entries.contains(serial)), "one is listed wrongly")?;
    let number = tbs
        .crl_extensions
        .iter()
        .flatten()
        .find(|extension| extension.extn_id.to_string() == "2.5.29.20")
        .and_then(|extension| der::Reader::new(extension.extn_value.as_bytes()).content(0x02))
        .filter(|digits| digits.len() <= 8)
        .map(|digits| digits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        .ok_or_else(|| Fault::False("it has no number".to_owned()))?;
    false_if(number < known.number, "its number went back")?;
    false_if(entries.len() < known.entries, "entries are missing that an earlier list had")?;
    Ok(Known { number, entries: entries.len() })
}

/// Looks at a seal's page.
pub(super) fn seal(page: &[u8], expect: &str, site: &str) -> Result<(), Fault> {
    let page = String::from_utf8_lossy(page);
    if !page.contains(expect) {
        return Err(Fault::Silent(format!("the page does not say `{expect}`")));
    }
    false_if(!page.contains(&format!("<b>{site}</b> is valid")), "the page is of another site")
}

#[cfg(test)]
mod tests {
    use super::super::ca::{self, Authority};
    use super::super::fault::Lie;
    use super::super::ocsp::Responder;
    use super::super::store::{Revoked, Status};
    use super::super::{crl as lists, der, write_whole};
    use super::*;
    use std::sync::Arc;

    const NOW: i64 = 1_800_000_000;

    struct Made {
        _directory: tempfile::TempDir,
        authority: Arc<Authority>,
        other: Arc<Authority>,
        responder: Responder,
        issuer: Issuer,
    }

    fn made() -> Made {
        let directory = tempfile::tempdir().unwrap();
        let open = |line| Arc::new(Authority::open(directory.path(), line, NOW).unwrap());
        let (authority, other) = (open("geotrust"), open("thawte"));
        let both = [Arc::clone(&authority), Arc::clone(&other)];
        let responder = Responder::new(&both, "ocsp-1", NOW).unwrap();
        let path = directory.path().join("ca.pem");
        write_whole(&path, der::pem(&authority.certificate).as_bytes()).unwrap();
        let issuer = Issuer::read(&path).unwrap();
        Made { _directory: directory, authority, other, responder, issuer }
    }

    #[test]
    fn takes_what_the_lab_answers_and_sees_each_lie() {
        let made = made();
        let serial = made.authority.awkward_serial();
        for sha256 in [false, true] {
            let nonce = [7; 32];
            let request = made.issuer.request(&serial, sha256, Some(&nonce));
            let judged = |lie, status| {
                let answer = made.responder.answer(&request, NOW, lie, |_, _| status).unwrap();
                ocsp(&made.issuer, &serial, sha256, Some(&nonce), &answer.body, NOW)
            };
            assert_eq!(judged(None, Status::Good), Ok(Says::Good));
            assert_eq!(judged(None, Status::Revoked(NOW - 9, 1)), Ok(Says::Revoked));
            assert_eq!(judged(None, Status::Unknown), Ok(Says::Unknown));
            assert!(matches!(judged(None, Status::Absent), Err(Fault::Silent(_))));
            for lie in [Lie::WrongKey, Lie::Expired, Lie::Stale] {
                let seen = judged(Some(lie), Status::Good);
                assert!(matches!(seen, Err(Fault::False(_))), "{lie:?}: {seen:?}");
            }
        }
    }

    #[test]
    fn an_answer_of_another_serial_nonce_or_issuer_is_false() {
        let made = made();
        let serial = ca::serial();
        let request = made.issuer.request(&serial, true, Some(&[1; 8]));
        let answer = made.responder.answer(&request, NOW, None, |_, _| Status::Good).unwrap().body;
        let judge = |serial: &[u8], nonce: &[u8]| {
            ocsp(&made.issuer, serial, true, Some(nonce), &answer, NOW)
        };
        assert_eq!(judge(&serial, &[1; 8]), Ok(Says::Good));
        assert!(judge(&ca::serial(), &[1; 8]).is_err());
        assert!(judge(&serial, &[2; 8]).is_err());
        for place in 0..answer.len() {
            let mut flipped = answer.clone();
            flipped[place] ^= 0x01;
            let seen = ocsp(&made.issuer, &serial, true, Some(&[1; 8]), &flipped, NOW);
            assert!(seen.is_err(), "a flipped bit in octet {place} went unseen");
        }
        let request = made.other.request(1, &serial);
        let other = made.responder.answer(&request, NOW, None, |_, _| Status::Good).unwrap().body;
        assert!(ocsp(&made.issuer, &serial, true, None, &other, NOW).is_err());
    }

    #[test]
    fn lists_are_judged_by_signature_entries_number_and_time() {
        let made = made();
        let (gone, kept) = (ca::serial(), ca::serial());
        let rows = [Revoked { serial: der::hex(&gone), at: NOW - 100, reason: 4 }];
        let list = |signer: &Authority, number, at| {
            lists::sign_as(&made.authority, signer, &rows, number, at, at + lists::LIFE)
                .unwrap()
                .body
        };
        let judge = |body: &[u8], number| {
            let known = Known { number, entries: 1 };
            crl(&made.issuer, body, &[&gone], &[&kept], known, NOW)
        };
        let good = list(&made.authority, 7, NOW);
        assert_eq!(judge(&good, 7), Ok(Known { number: 7, entries: 1 }));
        assert!(judge(&good, 8).is_err(), "a number that went back");
        assert!(judge(&list(&made.other, 7, NOW), 7).is_err(), "a stranger's key");
        assert!(judge(&list(&made.authority, 7, NOW - 5 * 86_400), 7).is_err(), "expired");
        let known = Known { number: 1, entries: 2 };
        assert!(crl(&made.issuer, &good, &[&gone], &[], known, NOW).is_err(), "an entry dropped");
        assert!(crl(&made.issuer, &good, &[&kept], &[], Known::default(), NOW).is_err());
        assert!(crl(&made.issuer, &good, &[], &[&gone], Known::default(), NOW).is_err());
    }
}
