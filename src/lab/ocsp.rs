//! What an OCSP responder of the lab answers (RFC 6960, RFC 9654, RFC 9919): from the bytes of a
//! request to the bytes of a response.
//!
//! Not known here: HTTP, databases (a closure tells the status of a serial).

use super::ca::{self, Authority, Key};
use super::der::{self, Reader};
use super::fault::Lie;
use super::store::Status;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An answer's life: three days.
pub(super) const LIFE: i64 = 3 * 86_400;

const NONCE: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 48, 1, 2];

/// A responder's delegated key and certificate for one line.
pub(super) struct Delegate {
    key: Key,
    certificate: Vec<u8>,
}

/// One OCSP host: all lines, each with a delegate of its own.
pub(super) struct Responder {
    authorities: Vec<Arc<Authority>>,
    delegates: BTreeMap<String, Delegate>,
    /// What a `wrong-key` fault signs with.
    stranger: Key,
}

/// The body to send, and how long it may be kept.
pub(super) struct Answer {
    /// DER of the OCSPResponse.
    pub(super) body: Vec<u8>,
    /// thisUpdate and nextUpdate of a signed answer.
    pub(super) valid: Option<(i64, i64)>,
}

/// An unsigned answer: nothing but a responseStatus.
fn unsigned(status: u8) -> Answer {
    Answer { body: der::sequence(&[&der::enumerated(status)]), valid: None }
}

/// `malformedRequest`
pub(super) fn malformed() -> Answer {
    unsigned(1)
}

/// `internalError`
pub(super) fn internal_error() -> Answer {
    unsigned(2)
}

struct Question {
    /// The whole CertID, echoed as it came.
    id: Vec<u8>,
    line: String,
    /// Lower-case hex.
    serial: String,
}

struct Parsed {
    questions: Vec<Question>,
    nonce: Option<Vec<u8>>,
}

impl Responder {
    /// Makes the host's delegates.
    pub(super) fn new(authorities: &[Arc<Authority>], host: &str, now: i64) -> Result<Self> {
        let mut delegates = BTreeMap::new();
        for authority in authorities {
            let key = Key::generate()?;
            let certificate = authority.delegate(&key, host, now)?;
            delegates.insert(authority.line.clone(), Delegate { key, certificate });
        }
        Ok(Self { authorities: authorities.to_vec(), delegates, stranger: Key::generate()? })
    }

    /// Answers a request; `status` is asked for each line and serial.
    pub(super) fn answer(
        &self,
        request: &[u8],
        now: i64,
        lie: Option<Lie>,
        mut status: impl FnMut(&str, &str) -> Status,
    ) -> Result<Answer> {
        let parsed = match self.parse(request) {
            Ok(parsed) => parsed,
            Err(code) => return Ok(unsigned(code)),
        };
        let line = parsed.questions[0].line.clone();
        let Some(delegate) = self.delegates.get(&line) else { return Ok(unsigned(6)) };
        let (this_update, next_update) = match lie {
            Some(Lie::Expired) => (now - 2 * LIFE, now - LIFE),
            Some(Lie::Stale) => (now - 5 * 86_400, now + 2 * 86_400),
            _ => (now, now + LIFE),
        };
        let mut singles = Vec::new();
        for question in &parsed.questions {
            let said = match (lie, status(&question.line, &question.serial)) {
                (_, Status::Absent) => return Ok(unsigned(3)),
                (Some(Lie::GoodForAll), _) => Status::Good,
                (_, said) => said,
            };
            singles.extend(single(&question.id, said, this_update, next_update));
        }
        let extensions = parsed.nonce.map_or_else(Vec::new, |nonce| {
            der::context(1, &der::sequence(&[&ca::extension(&NONCE, false, &der::octets(&nonce))]))
        });
        let data = der::sequence(&[
            &der::context(2, &der::octets(&delegate.key.id())),
            &der::generalized(this_update.max(now - LIFE)),
            &der::tlv(0x30, &singles),
            &extensions,
        ]);
        let certificates = der::context(0, &der::sequence(&[&delegate.certificate]));
        let signer = if lie == Some(Lie::WrongKey) { &self.stranger } else { &delegate.key };
        let basic = signer.signed(&data, &certificates)?;
        let bytes =
            der::sequence(&[&der::oid(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 1]), &der::octets(&basic)]);
        let body = der::sequence(&[&der::enumerated(0), &der::context(0, &bytes)]);
        Ok(Answer { body, valid: Some((this_update, next_update)) })
    }

    /// The questions of a request, or the responseStatus that refuses it.
    fn parse(&self, request: &[u8]) -> Result<Parsed, u8> {
        let mut outer = Reader::new(request);
        let mut whole = outer.inside(0x30).ok_or(1)?;
        let mut body = whole.inside(0x30).ok_or(1)?;
        if !outer.is_empty() {
            return Err(1);
        }
        // A signature (RFC 6960 section 4.1.2) is allowed and not looked at: all may ask.
        if !whole.is_empty() && (whole.content(0xa0).is_none() || !whole.is_empty()) {
            return Err(1);
        }
        if body.peek() == Some(0xa0) {
            let mut version = body.inside(0xa0).ok_or(1)?;
            if version.content(0x02) != Some(&[0]) {
                return Err(1);
            }
        }
        if body.peek() == Some(0xa1) {
            body.element().ok_or(1)?;
        }
        let mut list = body.inside(0x30).ok_or(1)?;
        let mut questions = Vec::new();
        while !list.is_empty() {
            questions.push(self.question(list.inside(0x30).ok_or(1)?)?);
        }
        let nonce = if body.is_empty() { None } else { nonce(&mut body)? };
        let first = questions.first().ok_or(1)?;
        // One signature speaks for one issuer.
        if !body.is_empty() || questions.iter().any(|question| question.line != first.line) {
            return Err(1);
        }
        Ok(Parsed { questions, nonce })
    }

    fn question(&self, mut request: Reader<'_>) -> Result<Question, u8> {
        let (tag, content, id) = request.element().ok_or(1)?;
        if tag != 0x30 {
            return Err(1);
        }
        let mut fields = Reader::new(content);
        let mut algorithm = fields.inside(0x30).ok_or(1)?;
        let (_, _, hash) = algorithm.element().ok_or(1)?;
        let name = fields.content(0x04).ok_or(1)?;
        let key = fields.content(0x04).ok_or(1)?;
        let serial = fields.content(0x02).ok_or(1)?;
        if !fields.is_empty() || serial.is_empty() || serial.len() > 21 {
            return Err(1);
        }
        let issuer = self.authorities.iter().find(|authority| {
            authority
                .hashes
                .iter()
                .any(|known| known.algorithm == hash && known.name == name && known.key == key)
        });
        // Not ours to speak of: unauthorized (RFC 9919 section 3.2.3).
        let line = issuer.ok_or(6)?.line.clone();
        let digits = if serial.len() > 1 && serial[0] == 0 { &serial[1..] } else { serial };
        Ok(Question { id: id.to_vec(), line, serial: der::hex(digits) })
    }
}

/// The nonce of the request's extensions; 1 to 128 octets are echoed, others are malformed
/// (RFC 9654 section 2.1).
fn nonce(body: &mut Reader<'_>) -> Result<Option<Vec<u8>>, u8> {
    let mut extensions = body.inside(0xa2).and_then(|mut inner| inner.inside(0x30)).ok_or(1)?;
    let wanted = der::oid(&NONCE);
    let mut found = None;
    while !extensions.is_empty() {
        let mut extension = extensions.inside(0x30).ok_or(1)?;
        let (_, _, name) = extension.element().ok_or(1)?;
        let critical = extension.peek() == Some(0x01) && extension.content(0x01) == Some(&[0xff]);
        let value = extension.content(0x04).ok_or(1)?;
        if name == wanted {
            let inner = Reader::new(value).content(0x04).ok_or(1)?;
            if inner.is_empty() || inner.len() > 128 {
                return Err(1);
            }
            found = Some(inner.to_vec());
        } else if critical {
            return Err(1);
        }
    }
    Ok(found)
}

fn single(id: &[u8], status: Status, this_update: i64, next_update: i64) -> Vec<u8> {
    let status = match status {
        Status::Good => vec![0x80, 0x00],
        Status::Unknown | Status::Absent => vec![0x82, 0x00],
        Status::Revoked(at, reason) => {
            let reason = match reason {
                // `unspecified` is said by saying nothing (BR 7.3, RFC 5280 section 5.3.1).
                0 => Vec::new(),
                reason => der::context(0, &der::enumerated(reason)),
            };
            der::context(1, &[der::generalized(at), reason].concat())
        }
    };
    let next = der::context(0, &der::generalized(next_update));
    der::sequence(&[id, &status, &der::generalized(this_update), &next])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responder() -> (tempfile::TempDir, Arc<Authority>, Responder) {
        let directory = tempfile::tempdir().unwrap();
        let open = |line| Arc::new(Authority::open(directory.path(), line, 1_800_000_000).unwrap());
        let (one, other) = (open("geotrust"), open("thawte"));
        let responder =
            Responder::new(&[Arc::clone(&one), other], "ocsp-1", 1_800_000_000).unwrap();
        (directory, one, responder)
    }

    fn code(answer: &Answer) -> u8 {
        let mut outer = Reader::new(&answer.body);
        outer.inside(0x30).and_then(|mut inner| inner.content(0x0a)).map_or(255, |c| c[0])
    }

    #[test]
    fn answers_sha1_and_sha256_and_refuses_what_is_not_a_request() {
        let (_directory, authority, responder) = responder();
        let serial = authority.awkward_serial();
        let ask = |bytes: &[u8]| {
            responder
                .answer(bytes, 1_800_000_000, None, |line, asked| {
                    assert_eq!((line, asked), ("geotrust", der::hex(&serial).as_str()));
                    Status::Good
                })
                .unwrap()
        };
        for which in 0..4 {
            let request = authority.request(which, &serial);
            assert_eq!(code(&ask(&request)), 0);
            for cut in 0..request.len() {
                assert_eq!(code(&ask(&request[..cut])), 1, "cut at {cut}");
            }
            let mut longer = request.clone();
            longer.push(0);
            assert_eq!(code(&ask(&longer)), 1);
        }
        let text = der::base64(&authority.request(0, &serial));
        assert!(text.contains("//") && text.contains('+'), "{text}");
    }

    #[test]
    fn a_strangers_issuer_is_unauthorized_and_absent_data_are_try_later() {
        let (_directory, authority, responder) = responder();
        let mut request = authority.request(1, &[5]);
        let place = request.len() - 10;
        request[place] ^= 1;
        let answer = responder.answer(&request, 0, None, |_, _| Status::Good).unwrap();
        assert_eq!(code(&answer), 6);
        let request = authority.request(1, &[5]);
        let answer = responder.answer(&request, 0, None, |_, _| Status::Absent).unwrap();
        assert_eq!((code(&answer), answer.valid), (3, None));
    }

    #[test]
    fn a_nonce_is_echoed_within_its_bounds() {
        let (_directory, authority, responder) = responder();
        for (length, expected) in [(0, 1), (1, 0), (32, 0), (128, 0), (129, 1)] {
            let nonce = vec![0x5a; length];
            let list = der::sequence(&[&der::sequence(&[&authority.cert_id(0, &[9])])]);
            let extension = ca::extension(&NONCE, false, &der::octets(&nonce));
            let extensions = der::context(2, &der::sequence(&[&extension]));
            let request = der::sequence(&[&der::sequence(&[&list, &extensions])]);
            let answer = responder.answer(&request, 0, None, |_, _| Status::Good).unwrap();
            assert_eq!(code(&answer), expected, "{length} octets");
            if expected == 0 {
                let element = der::octets(&nonce);
                assert!(answer.body.windows(element.len()).any(|window| window == element));
            }
        }
    }
}
