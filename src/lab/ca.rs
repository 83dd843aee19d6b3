//! The certificate authorities of the lab: one P-256 key and one self-signed certificate a line, and
//! what they issue (RFC 5280, and the profile of the TLS Baseline Requirements).
//!
//! Not known here: databases, and who asks. The keys are the lab's own and worth nothing outside it.

use super::der;
use anyhow::{Context as _, Result, anyhow};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use std::fs;
use std::path::Path;

const DAY: i64 = 86_400;

/// A key that signs.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl Key {
    /// A new one.
    pub(super) fn generate() -> Result<Self> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .map_err(|_| anyhow!("no randomness for a P-256 key"))?;
        Self::read(document.as_ref())
    }

    /// From PKCS #8.
    pub(super) fn read(pkcs8: &[u8]) -> Result<Self> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new())
                .map_err(|error| anyhow!("the key cannot be read: {error}"))?;
        Ok(Self { pair, pkcs8: pkcs8.to_vec() })
    }

    /// `SubjectPublicKeyInfo`.
    fn spki(&self) -> Vec<u8> {
        let curve = der::oid(&[1, 2, 840, 10045, 3, 1, 7]);
        let algorithm = der::sequence(&[&der::oid(&[1, 2, 840, 10045, 2, 1]), &curve]);
        der::sequence(&[&algorithm, &der::bits(self.point())])
    }

    /// The public point, uncompressed: the bits that key identifiers are taken over.
    pub(super) fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// SHA-1 of the key bits (RFC 5280 section 4.2.1.2, RFC 6960 section 4.2.1).
    pub(super) fn id(&self) -> Vec<u8> {
        digest(&SHA1_FOR_LEGACY_USE_ONLY, self.point()).as_ref().to_vec()
    }

    /// `{ tbs, ecdsa-with-SHA256, signature, extra }`: the form of certificates, CRLs and OCSP
    /// answers alike.
    pub(super) fn signed(&self, tbs: &[u8], extra: &[u8]) -> Result<Vec<u8>> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), tbs)
            .map_err(|_| anyhow!("signing failed for want of randomness"))?;
        Ok(der::sequence(&[tbs, &ecdsa_with_sha256(), &der::bits(signature.as_ref()), extra]))
    }
}

/// The algorithm identifier, without parameters (RFC 5758 section 3.2).
pub(super) fn ecdsa_with_sha256() -> Vec<u8> {
    der::sequence(&[&der::oid(&[1, 2, 840, 10045, 4, 3, 2])])
}

/// One extension.
pub(super) fn extension(arcs: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &der::TRUE } else { &[] };
    der::sequence(&[&der::oid(arcs), critical, &der::octets(value)])
}

/// How a CertID names an issuer: by one hash algorithm.
pub(super) struct IssuerHash {
    /// Object identifier of the algorithm, whole element.
    pub(super) algorithm: Vec<u8>,
    /// Hash of the issuer's name.
    pub(super) name: Vec<u8>,
    /// Hash of the issuer's key bits.
    pub(super) key: Vec<u8>,
}

/// A line's certificate authority.
pub(super) struct Authority {
    /// Product line.
    pub(super) line: String,
    /// Its key.
    pub(super) key: Key,
    /// Its certificate.
    pub(super) certificate: Vec<u8>,
    /// Its subject, DER.
    pub(super) name: Vec<u8>,
    /// SHA-1, SHA-256, SHA-384, SHA-512.
    pub(super) hashes: Vec<IssuerHash>,
}

impl Authority {
    /// The one kept under `directory`, or a new one that is kept there.
    pub(super) fn open(directory: &Path, line: &str, now: i64) -> Result<Self> {
        let key_file = directory.join(format!("{line}.p8"));
        let certificate_file = directory.join(format!("{line}.der"));
        let name = name(line, &format!("{} Lab CA", title(line)));
        if key_file.exists() && certificate_file.exists() {
            let key = Key::read(&fs::read(&key_file)?)
                .with_context(|| format!("reading `{}`", key_file.display()))?;
            return Ok(Self::of(line, key, fs::read(&certificate_file)?, name));
        }
        let key = Key::generate()?;
        let certificate = ca_certificate(&key, &name, now)?;
        // A key without its certificate is what a process left that died in between.
        super::remove(&key_file)?;
        super::write_private(&key_file, &key.pkcs8)?;
        fs::write(&certificate_file, &certificate)?;
        Ok(Self::of(line, key, certificate, name))
    }

    fn of(line: &str, key: Key, certificate: Vec<u8>, name: Vec<u8>) -> Self {
        let algorithms: [(&'static ring::digest::Algorithm, &[u64]); 4] = [
            (&SHA1_FOR_LEGACY_USE_ONLY, &[1, 3, 14, 3, 2, 26]),
            (&SHA256, &[2, 16, 840, 1, 101, 3, 4, 2, 1]),
            (&SHA384, &[2, 16, 840, 1, 101, 3, 4, 2, 2]),
            (&SHA512, &[2, 16, 840, 1, 101, 3, 4, 2, 3]),
        ];
        let hashes = algorithms
            .into_iter()
            .map(|(algorithm, arcs)| IssuerHash {
                algorithm: der::oid(arcs),
                name: digest(algorithm, &name).as_ref().to_vec(),
                key: digest(algorithm, key.point()).as_ref().to_vec(),
            })
            .collect();
        Self { line: line.to_owned(), key, certificate, name, hashes }
    }

    /// The authority key identifier extension of what it signs.
    pub(super) fn key_identifier(&self) -> Vec<u8> {
        extension(&[2, 5, 29, 35], false, &der::sequence(&[&der::tlv(0x80, &self.key.id())]))
    }

    /// A delegated responder's certificate (RFC 6960 section 4.2.2.2, BR 7.1.2.8): valid for 90 days,
    /// `id-kp-OCSPSigning` and nothing beside it, `id-pkix-ocsp-nocheck`.
    pub(super) fn delegate(&self, key: &Key, host: &str, now: i64) -> Result<Vec<u8>> {
        let subject = name(&self.line, &format!("{} OCSP {host}", title(&self.line)));
        let extensions = [
            extension(&[2, 5, 29, 15], true, &der::bits_unused(7, &[0x80])),
            extension(
                &[2, 5, 29, 37],
                false,
                &der::sequence(&[&der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 9])]),
            ),
            extension(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 5], false, &[0x05, 0x00]),
            self.key_identifier(),
            extension(&[2, 5, 29, 14], false, &der::octets(&key.id())),
        ]
        .concat();
        self.issue(&serial(), &subject, &key.spki(), (now - DAY, now + 90 * DAY), &extensions)
    }

    /// A server's certificate, as the sentinels are.
    pub(super) fn server(&self, wanted: &Wanted<'_>, now: i64) -> Result<Vec<u8>> {
        let key = Key::generate()?;
        let subject = name(&self.line, wanted.host);
        let location = |method: &[u64], url: &str| {
            der::sequence(&[&der::oid(method), &der::tlv(0x86, url.as_bytes())])
        };
        let ocsp = location(&[1, 3, 6, 1, 5, 5, 7, 48, 1], wanted.ocsp);
        let crl = der::context(0, &der::context(0, &der::tlv(0x86, wanted.crl.as_bytes())));
        let policy = der::sequence(&[&der::oid(&[2, 23, 140, 1, 2, 1])]);
        let extensions = [
            extension(&[2, 5, 29, 15], true, &der::bits_unused(7, &[0x80])),
            extension(
                &[2, 5, 29, 37],
                false,
                &der::sequence(&[&der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 1])]),
            ),
            self.key_identifier(),
            extension(
                &[2, 5, 29, 17],
                false,
                &der::sequence(&[&der::tlv(0x82, wanted.host.as_bytes())]),
            ),
            extension(&[2, 5, 29, 32], false, &der::sequence(&[&policy])),
            extension(&[1, 3, 6, 1, 5, 5, 7, 1, 1], false, &der::sequence(&[&ocsp])),
            extension(&[2, 5, 29, 31], false, &der::sequence(&[&der::sequence(&[&crl])])),
        ]
        .concat();
        self.issue(wanted.serial, &subject, &key.spki(), wanted.validity(now), &extensions)
    }

    fn issue(
        &self,
        serial: &[u8],
        subject: &[u8],
        spki: &[u8],
        validity: (i64, i64),
        extensions: &[u8],
    ) -> Result<Vec<u8>> {
        let tbs = certificate_body(serial, &self.name, validity, subject, spki, extensions);
        self.key.signed(&tbs, &[])
    }

    /// An OCSP request for one serial, by hash `which` (0 is SHA-1, 1 SHA-256), without extensions.
    pub(super) fn request(&self, which: usize, serial: &[u8]) -> Vec<u8> {
        let id = self.cert_id(which, serial);
        der::sequence(&[&der::sequence(&[&der::sequence(&[&der::sequence(&[&id])])])])
    }

    /// A CertID (RFC 6960 section 4.1.1).
    pub(super) fn cert_id(&self, which: usize, serial: &[u8]) -> Vec<u8> {
        let hash = &self.hashes[which.min(self.hashes.len() - 1)];
        let algorithm = der::sequence(&[&hash.algorithm, &[0x05, 0x00]]);
        der::sequence(&[
            &algorithm,
            &der::octets(&hash.name),
            &der::octets(&hash.key),
            &der::unsigned(serial),
        ])
    }

    /// A serial whose base64 requests, SHA-1 and SHA-256 alike, hold `//` and `+`: what a proxy that
    /// folds slashes breaks.
    pub(super) fn awkward_serial(&self) -> Vec<u8> {
        loop {
            let mut serial = serial();
            // 24 bits of ones hold two whole groups of six, wherever they begin.
            serial[9..12].fill(0xff);
            let held = |which| {
                let text = der::base64(&self.request(which, &serial));
                text.contains("//") && text.contains('+')
            };
            if held(0) && held(1) {
                return serial;
            }
        }
    }
}

/// What a server's certificate is to say.
pub(super) struct Wanted<'a> {
    /// Serial number.
    pub(super) serial: &'a [u8],
    /// DNS name.
    pub(super) host: &'a str,
    /// URL of OCSP.
    pub(super) ocsp: &'a str,
    /// URL of the CRL.
    pub(super) crl: &'a str,
}

impl Wanted<'_> {
    fn validity(&self, now: i64) -> (i64, i64) {
        (now - 30 * DAY, now + 60 * DAY)
    }
}

fn ca_certificate(key: &Key, name: &[u8], now: i64) -> Result<Vec<u8>> {
    let extensions = [
        extension(&[2, 5, 29, 19], true, &der::sequence(&[&der::TRUE])),
        // digitalSignature, keyCertSign, cRLSign
        extension(&[2, 5, 29, 15], true, &der::bits_unused(1, &[0x86])),
        extension(&[2, 5, 29, 14], false, &der::octets(&key.id())),
    ]
    .concat();
    let validity = (now - 365 * DAY, now + 3650 * DAY);
    key.signed(&certificate_body(&serial(), name, validity, name, &key.spki(), &extensions), &[])
}

fn certificate_body(
    serial: &[u8],
    issuer: &[u8],
    validity: (i64, i64),
    subject: &[u8],
    spki: &[u8],
    extensions: &[u8],
) -> Vec<u8> {
    let validity = der::sequence(&[&der::time(validity.0), &der::time(validity.1)]);
    der::sequence(&[
        &der::context(0, &der::unsigned(&[2])),
        &der::unsigned(serial),
        &ecdsa_with_sha256(),
        issuer,
        &validity,
        subject,
        spki,
        &der::context(3, &der::tlv(0x30, extensions)),
    ])
}

/// 16 octets of which 124 bits are random, positive and of full length.
pub(super) fn serial() -> Vec<u8> {
    let number = fastrand::u128(..) >> 1 | 1 << 126;
    number.to_be_bytes().to_vec()
}

fn name(line: &str, common: &str) -> Vec<u8> {
    let part = |arc: u64, text: &str| {
        let pair = der::sequence(&[&der::oid(&[2, 5, 4, arc]), &der::tlv(0x0c, text.as_bytes())]);
        der::set(&[&pair])
    };
    let country = der::sequence(&[&der::oid(&[2, 5, 4, 6]), &der::tlv(0x13, b"US")]);
    der::sequence(&[
        &der::set(&[&country]),
        &part(10, &format!("{} (lab)", title(line))),
        &part(3, common),
    ])
}

/// `managed-pki` as `Managed Pki`.
pub(super) fn title(line: &str) -> String {
    let words = line.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_uppercase().chain(letters).collect::<String>()
        })
    });
    words.collect::<Vec<_>>().join(" ")
}
