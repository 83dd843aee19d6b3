//! Verifies one signature. The only place that knows the library.

use super::walk::{OID, SEQUENCE, Walk, only};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// The algorithm, key size or curve is not one that is allowed (or understood) here.
    Algorithm(String),
    /// The signature is not by this key over these bytes.
    Wrong,
}

/// How the algorithm was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Byte for byte as the Baseline Requirements demand.
    Exact,
    /// Understood, but with other parameters.
    Loose,
}

struct Known {
    oid: &'static [u8],
    parameters: &'static [u8],
    digest: &'static str,
    rsa: bool,
}

const KNOWN: [Known; 6] = [
    Known {
        oid: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        parameters: &[],
        digest: "SHA-256",
        rsa: false,
    },
    Known {
        oid: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
        parameters: &[],
        digest: "SHA-384",
        rsa: false,
    },
    Known {
        oid: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b],
        parameters: &[5, 0],
        digest: "SHA-256",
        rsa: true,
    },
    Known {
        oid: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0c],
        parameters: &[5, 0],
        digest: "SHA-384",
        rsa: true,
    },
    Known {
        oid: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0d],
        parameters: &[5, 0],
        digest: "SHA-512",
        rsa: true,
    },
    Known {
        oid: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x05],
        parameters: &[5, 0],
        digest: "SHA-1",
        rsa: true,
    },
];

const RSA_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];

/// Whether `signature` is by the key of `spki` over `message`. `algorithm` and `spki` are whole
/// DER elements.
pub(crate) fn verify(
    algorithm: &[u8],
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<Form, SignatureFault> {
    let unreadable = |_| SignatureFault::Algorithm("its algorithm cannot be read".into());
    let mut fields = Walk::new(only(algorithm, SEQUENCE).map_err(unreadable)?.body);
    let oid = fields.expect(OID).map_err(unreadable)?.body;
    let parameters = match fields.is_empty() {
        true => &[][..],
        false => fields.next().map_err(unreadable)?.whole,
    };
    fields.end().map_err(unreadable)?;
    let known = KNOWN.iter().find(|known| known.oid == oid).ok_or_else(|| {
        SignatureFault::Algorithm("its algorithm is not one of RSA and ECDSA with SHA-2".into())
    })?;
    let (how, key) = method(known, spki)?;
    UnparsedPublicKey::new(how, key)
        .verify(message, signature)
        .map_err(|_| too_short(known, key).unwrap_or(SignatureFault::Wrong))?;
    Ok(if known.parameters == parameters { Form::Exact } else { Form::Loose })
}

/// The library refuses RSA keys below 2048 bits without saying so.
fn too_short(known: &Known, key: &[u8]) -> Option<SignatureFault> {
    (known.rsa && key.len() < 256)
        .then(|| SignatureFault::Algorithm("its RSA key has less than 2048 bits".into()))
}

fn method<'a>(
    known: &Known,
    spki: &'a [u8],
) -> Result<(&'static dyn VerificationAlgorithm, &'a [u8]), SignatureFault> {
    let refused = |why: &str| SignatureFault::Algorithm(why.to_owned());
    let (oid, curve, key) =
        key_of(spki).ok_or_else(|| refused("the key that should have signed cannot be read"))?;
    let how: &'static dyn VerificationAlgorithm = match (oid, curve, known.rsa, known.digest) {
        (RSA_KEY, _, true, "SHA-256") => &signature::RSA_PKCS1_2048_8192_SHA256,
        (RSA_KEY, _, true, "SHA-384") => &signature::RSA_PKCS1_2048_8192_SHA384,
        (RSA_KEY, _, true, "SHA-512") => &signature::RSA_PKCS1_2048_8192_SHA512,
        (RSA_KEY, _, true, _) => return Err(refused("it is signed with SHA-1")),
        (EC_KEY, P256, false, "SHA-256") => &signature::ECDSA_P256_SHA256_ASN1,
        (EC_KEY, P256, false, _) => &signature::ECDSA_P256_SHA384_ASN1,
        (EC_KEY, P384, false, "SHA-256") => &signature::ECDSA_P384_SHA256_ASN1,
        (EC_KEY, P384, false, _) => &signature::ECDSA_P384_SHA384_ASN1,
        (EC_KEY, _, false, _) => return Err(refused("its curve is neither P-256 nor P-384")),
        // An RSA signature cannot be by an EC key, nor the other way round.
        _ => return Err(SignatureFault::Wrong),
    };
    Ok((how, key))
}

/// Key algorithm, curve (empty for RSA), and the key itself, of a whole SubjectPublicKeyInfo.
fn key_of(spki: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut fields = Walk::new(only(spki, SEQUENCE).ok()?.body);
    let mut algorithm = fields.enter(SEQUENCE).ok()?;
    let oid = algorithm.expect(OID).ok()?.body;
    let curve = algorithm.maybe(OID).ok()?.map_or(&[][..], |tlv| tlv.body);
    let bits = fields.expect(super::walk::BIT_STRING).ok()?;
    fields.end().ok()?;
    Some((oid, curve, super::walk::octets_of_bits(bits.body).ok()?))
}
