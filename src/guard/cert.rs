//! Certificates as the guard needs them: walked, raw bytes kept for hashes and signatures.
//!
//! Not known here: what is asked about them, and trust beyond one issuer.

use super::sign::{self, SignatureFault};
use super::walk::{
    self, BIT_STRING, BOOLEAN, Bad, INTEGER, OCTET_STRING, OID, SEQUENCE, Walk, context,
};
use ring::digest;
use std::fmt;
use std::path::{Path, PathBuf};

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const CRL_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const OCSP_NO_CHECK: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 5];
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];

/// keyUsage digitalSignature, as [`walk::named_bits`] has it.
pub(crate) const DIGITAL_SIGNATURE: u16 = 0x8000;
/// keyUsage cRLSign.
const CRL_SIGN: u16 = 0x0200;

/// A certificate, borrowed.
#[derive(Clone, Debug)]
pub(crate) struct Cert<'a> {
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// Content of the serial's INTEGER.
    pub(crate) serial: &'a [u8],
    /// Whole DER of the issuer's name.
    pub(crate) issuer: &'a [u8],
    /// Whole DER of the subject's name.
    pub(crate) subject: &'a [u8],
    /// Whole SubjectPublicKeyInfo.
    pub(crate) spki: &'a [u8],
    /// The key bits without the count of unused bits.
    pub(crate) key_bits: &'a [u8],
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
    /// Subject key identifier.
    pub(crate) key_id: Option<&'a [u8]>,
    /// keyUsage; none: any.
    pub(crate) key_usage: Option<u16>,
    /// Holds id-kp-OCSPSigning.
    pub(crate) ocsp_signing: bool,
    /// Holds other extended usages too.
    pub(crate) other_usages: bool,
    /// basicConstraints says cA.
    pub(crate) is_ca: bool,
    /// id-pkix-ocsp-nocheck.
    pub(crate) no_check: bool,
    /// Has CRL distribution points.
    pub(crate) crl_points: bool,
}

/// Reads a whole certificate.
pub(crate) fn read(bytes: &[u8]) -> Result<Cert<'_>, Bad> {
    let mut outer = Walk::new(walk::only(bytes, SEQUENCE)?.body);
    let tbs = outer.expect(SEQUENCE)?;
    let algorithm = outer.expect(SEQUENCE)?.whole;
    let signature = walk::octets_of_bits(outer.expect(BIT_STRING)?.body)?;
    outer.end()?;
    let mut fields = Walk::new(tbs.body);
    let mut version = fields.enter(context(0))?;
    if walk::small(version.expect(INTEGER)?.body)? != 2 {
        return Err(Bad("a certificate is not of version 3"));
    }
    version.end()?;
    let serial = walk::integer(fields.expect(INTEGER)?.body)?;
    if fields.expect(SEQUENCE)?.whole != algorithm {
        return Err(Bad("a certificate names two signature algorithms"));
    }
    let issuer = fields.expect(SEQUENCE)?.whole;
    let mut validity = fields.enter(SEQUENCE)?;
    let not_before = walk::time(validity.next()?)?.seconds;
    let not_after = walk::time(validity.next()?)?.seconds;
    validity.end()?;
    let subject = fields.expect(SEQUENCE)?.whole;
    let spki = fields.expect(SEQUENCE)?;
    let mut key = Walk::new(spki.body);
    key.expect(SEQUENCE)?;
    let key_bits = walk::octets_of_bits(key.expect(BIT_STRING)?.body)?;
    key.end()?;
    let mut cert = Cert {
        tbs: tbs.whole,
        algorithm,
        signature,
        serial,
        issuer,
        subject,
        spki: spki.whole,
        key_bits,
        not_before,
        not_after,
        key_id: None,
        key_usage: None,
        ocsp_signing: false,
        other_usages: false,
        is_ca: false,
        no_check: false,
        crl_points: false,
    };
    fields.maybe(walk::primitive(1))?;
    fields.maybe(walk::primitive(2))?;
    if let Some(wrapped) = fields.maybe(context(3))? {
        for extension in walk::extensions(wrapped.body)? {
            cert.take(&extension)?;
        }
    }
    fields.end()?;
    Ok(cert)
}

impl<'a> Cert<'a> {
    fn take(&mut self, extension: &walk::Extension<'a>) -> Result<(), Bad> {
        match extension.oid {
            SUBJECT_KEY_ID => {
                self.key_id = Some(walk::only(extension.value, OCTET_STRING)?.body);
            }
            KEY_USAGE => {
                let bits = walk::only(extension.value, BIT_STRING)?;
                self.key_usage = Some(walk::named_bits(bits.body)?);
            }
            BASIC_CONSTRAINTS => {
                let mut fields = Walk::new(walk::only(extension.value, SEQUENCE)?.body);
                if let Some(ca) = fields.maybe(BOOLEAN)? {
                    self.is_ca = walk::boolean(ca.body)?;
                }
            }
            EXTENDED_KEY_USAGE => {
                let mut list = Walk::new(walk::only(extension.value, SEQUENCE)?.body);
                while !list.is_empty() {
                    match list.expect(OID)?.body {
                        OCSP_SIGNING => self.ocsp_signing = true,
                        _ => self.other_usages = true,
                    }
                }
            }
            OCSP_NO_CHECK => self.no_check = true,
            CRL_POINTS => self.crl_points = true,
            _ => {}
        }
        Ok(())
    }

    /// Whether this very issuer signed it.
    pub(crate) fn is_signed_by(&self, issuer: &Issuer) -> Result<(), SignatureFault> {
        if self.issuer != issuer.subject {
            return Err(SignatureFault::Wrong);
        }
        sign::verify(self.algorithm, &issuer.spki, self.tbs, self.signature).map(|_| ())
    }
}

/// Which hash a CertID is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertHash {
    /// What every responder must know (RFC 9919 asks for SHA-256, most clients still send this).
    Sha1,
    /// The other one.
    Sha256,
}

/// Hashes in the one way that this program does.
pub(crate) fn hash(how: CertHash, bytes: &[u8]) -> digest::Digest {
    match how {
        CertHash::Sha1 => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes),
        CertHash::Sha256 => digest::digest(&digest::SHA256, bytes),
    }
}

/// A certificate authority whose answers are to be verified.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Stem of its file's name; fills `{issuer}` in URLs.
    pub stem: String,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) key_id: Option<Vec<u8>>,
    pub(crate) not_after: i64,
    pub(crate) signs_crls: bool,
    name_hash: [digest::Digest; 2],
    key_hash: [digest::Digest; 2],
}

impl Issuer {
    /// Reads a CA certificate, PEM or DER.
    ///
    /// # Errors
    /// When the file cannot be read, is no certificate, or no CA's.
    pub fn read(path: &Path) -> Result<Self, CertError> {
        let der = load(path)?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Self::from_der(&der, stem.unwrap_or_default()).map_err(|why| CertError::new(path, why))
    }

    /// From DER; `stem` fills `{issuer}` in URLs.
    ///
    /// # Errors
    /// Why it is no CA certificate.
    pub fn from_der(der: &[u8], stem: String) -> Result<Self, String> {
        let cert = read(der).map_err(|why| format!("is not a certificate: {why}"))?;
        if !cert.is_ca {
            return Err("is not the certificate of a CA".into());
        }
        let both = |bytes: &[u8]| [hash(CertHash::Sha1, bytes), hash(CertHash::Sha256, bytes)];
        Ok(Self {
            stem,
            subject: cert.subject.to_vec(),
            spki: cert.spki.to_vec(),
            key_id: cert.key_id.map(<[u8]>::to_vec),
            not_after: cert.not_after,
            signs_crls: cert.key_usage.is_none_or(|usage| usage & CRL_SIGN != 0),
            name_hash: both(cert.subject),
            key_hash: both(cert.key_bits),
        })
    }

    /// Hash of its name, for a CertID.
    pub(crate) fn name_hash(&self, how: CertHash) -> &[u8] {
        self.name_hash[how as usize].as_ref()
    }

    /// Hash of its key bits, for a CertID and a byKey responder id (SHA-1).
    pub(crate) fn key_hash(&self, how: CertHash) -> &[u8] {
        self.key_hash[how as usize].as_ref()
    }
}

/// A certificate that the guard asks about.
#[derive(Clone, Debug)]
pub(crate) struct Sentinel {
    /// Its serial.
    pub(crate) serial: Serial,
    /// The file's name, for messages.
    pub(crate) name: String,
    issuer: Vec<u8>,
    der: Vec<u8>,
}

impl Sentinel {
    /// Reads a certificate, PEM or DER.
    pub(crate) fn read(path: &Path) -> Result<Self, CertError> {
        let der = load(path)?;
        let cert = read(&der)
            .map_err(|why| CertError::new(path, format!("is not a certificate: {why}")))?;
        let serial = Serial(cert.serial.to_vec());
        let issuer = cert.issuer.to_vec();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { serial, issuer, name: name.unwrap_or_default(), der })
    }

    /// A certificate of this issuer that nobody ever made: its serial is drawn from the issuer's
    /// name, so it is the same every time and hits no real one.
    pub(crate) fn invented(issuer: &Issuer) -> Self {
        let mut serial = hash(CertHash::Sha256, &issuer.subject).as_ref()[..16].to_vec();
        serial[0] = serial[0] & 0x7f | 0x40;
        let name = format!("a serial that {} never issued", issuer.stem);
        Self { serial: Serial(serial), name, issuer: issuer.subject.clone(), der: Vec::new() }
    }

    /// A certificate of which only the serial is known.
    pub(crate) fn by_serial(serial: &Serial, issuer: &Issuer) -> Self {
        let (serial, issuer) = (serial.clone(), issuer.subject.clone());
        Self { name: serial.to_string(), serial, issuer, der: Vec::new() }
    }

    /// Whether it says that it is of this issuer; with `signed` the signature must say so too (one
    /// that was never issued may be signed by nobody).
    pub(crate) fn is_of(&self, issuer: &Issuer, signed: bool) -> bool {
        self.issuer == issuer.subject
            && (!signed || read(&self.der).is_ok_and(|cert| cert.is_signed_by(issuer).is_ok()))
    }
}

/// A serial number: the content of its DER INTEGER.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub(crate) Vec<u8>);

impl Serial {
    /// From hex, as databases and people write it: either case, colons and leading zeros allowed.
    /// Never negative.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|char| *char != ':')
            .map(|char| char.to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()?;
        if digits.is_empty() || digits.len() > 64 {
            return None;
        }
        let odd = digits.len() % 2;
        let mut bytes = Vec::with_capacity(digits.len() / 2 + 2);
        bytes.push(0);
        bytes.extend(digits[..odd].iter());
        bytes.extend(digits[odd..].chunks(2).map(|pair| pair[0] << 4 | pair[1]));
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let mut from = zeros.min(bytes.len() - 1);
        if bytes[from] & 0x80 != 0 {
            from -= 1;
        }
        Some(Self(bytes.split_off(from)))
    }

    /// The content of the INTEGER.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    /// Lower-case hex of the magnitude, two digits a byte: as the databases of the lines hold it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = match &self.0[..] {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        magnitude.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A certificate file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl CertError {
    fn new(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), why: why.into() }
    }
}

impl fmt::Display for CertError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` {}", self.path.display(), self.why)
    }
}

impl std::error::Error for CertError {}

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// The DER of the first certificate of a PEM file, or of a DER file. A second parser must agree
/// that it is one.
fn load(path: &Path) -> Result<Vec<u8>, CertError> {
    use x509_cert::der::{Decode, DecodePem, Encode};
    let bytes = std::fs::read(path)
        .map_err(|error| CertError::new(path, format!("cannot be read: {error}")))?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let from = text.find(PEM_BEGIN)?;
        let to = from + text[from..].find(PEM_END)? + PEM_END.len();
        Some(&text[from..to])
    });
    let cert = match text {
        Some(pem) => x509_cert::Certificate::from_pem(pem),
        None => x509_cert::Certificate::from_der(&bytes),
    };
    cert.and_then(|cert| cert.to_der())
        .map_err(|error| CertError::new(path, format!("is not a certificate: {error}")))
}

/// Looks at the certificate of a file.
pub(crate) fn read_file<T>(path: &Path, look: impl FnOnce(&Cert<'_>) -> T) -> Result<T, CertError> {
    let der = load(path)?;
    let cert =
        read(&der).map_err(|why| CertError::new(path, format!("is not a certificate: {why}")))?;
    Ok(look(&cert))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_read_and_print() {
        for (text, bytes, shown) in [
            ("01", &[1][..], "01"),
            ("1", &[1], "01"),
            ("0", &[0], "00"),
            ("AB:cd", &[0, 0xab, 0xcd], "abcd"),
            ("0000ab", &[0, 0xab], "ab"),
            ("7fff", &[0x7f, 0xff], "7fff"),
        ] {
            let serial = Serial::from_hex(text).expect(text);
            assert_eq!(serial.bytes(), bytes, "{text}");
            assert_eq!(serial.to_string(), shown, "{text}");
        }
        for text in ["", "xy", "-1", ":", &"1".repeat(65)] {
            assert_eq!(Serial::from_hex(text), None, "{text}");
        }
    }
}
