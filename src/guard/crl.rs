//! CRLs: walked, not built. 100,000 entries cost one pass and an index of places.
//!
//! Pure but for [`get`]. Not known here: earlier lists of the same provider, unless handed in
//! (`against`), and the sentinels' meaning beyond listed or not.

use super::cert::{Issuer, Serial};
use super::fetch;
use super::finding::{found, weighed};
use super::sign::{self, Form, SignatureFault};
use super::walk::{
    self, BIT_STRING, Bad, ENUMERATED, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, Walk,
    context, primitive,
};
use crate::health::{Finding, Severity, is_failure};
use bytes::Bytes;
use std::time::Duration;

const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const DELTA: &[u8] = &[0x55, 0x1d, 0x1b];
const ISSUING_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];

const DAY: i64 = 86_400;
const AHEAD: i64 = 60;
const PAST: i64 = 5;
const KEY_COMPROMISE: u8 = 1;

/// One revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unix seconds.
    pub at: i64,
    /// CRLReason; none is `unspecified`.
    pub reason: Option<u8>,
}

/// A list that was read; verified when `read` found no failure.
#[derive(Clone, Debug)]
pub struct Crl {
    raw: Bytes,
    /// Places of the entries, sorted by serial.
    index: Vec<Place>,
    this_update: i64,
    next_update: Option<i64>,
    /// Content of the number's INTEGER, without leading zeros.
    number: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    serial: u32,
    serial_len: u32,
    at: i64,
    reason: Option<u8>,
}

impl Place {
    fn serial<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        // Made from a subslice of `raw` when it was walked.
        raw.get(self.serial as usize..(self.serial + self.serial_len) as usize).unwrap_or(&[])
    }
}

impl Crl {
    /// The entry of a serial.
    pub fn find(&self, serial: &Serial) -> Option<Entry> {
        let place = self
            .index
            .binary_search_by(|place| place.serial(&self.raw).cmp(serial.bytes()))
            .ok()?;
        let place = self.index[place];
        Some(Entry { at: place.at, reason: place.reason })
    }

    /// How many are listed.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// When a newer one is due at the latest; Unix seconds.
    pub fn next_update(&self) -> Option<i64> {
        self.next_update
    }

    /// Its bytes.
    pub(crate) fn raw(&self) -> &Bytes {
        &self.raw
    }
}

/// Fetches a CRL over a fresh connection and verifies it. For the emergency lane; no re-ask.
///
/// # Errors
/// The heaviest finding, when the list is none to be believed.
pub async fn get(url: &str, issuer: &Issuer, timeout: Duration) -> Result<Crl, Finding> {
    let fetched = fetch::crl(&url_of(url, issuer), timeout).await?;
    let (crl, mut findings) = read(fetched.body, issuer, fetch::now());
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    match crl {
        Some(crl) if !is_failure(&findings) => Ok(crl),
        _ => Err(findings.into_iter().next().unwrap_or_else(|| found("crl-der", "it is no list"))),
    }
}

/// Fills `{issuer}`.
pub(crate) fn url_of(url: &str, issuer: &Issuer) -> String {
    url.replace("{issuer}", &issuer.stem)
}

/// Reads and verifies a list. `now` in Unix seconds. The list is there unless it cannot be read; it
/// is to be believed when no finding is a failure.
pub(crate) fn read(raw: Bytes, issuer: &Issuer, now: i64) -> (Option<Crl>, Vec<Finding>) {
    let (crl, mut findings) = open(raw, issuer);
    findings.extend(crl.iter().flat_map(|crl| times(crl, now)));
    (crl, findings)
}

/// What of [`read`] does not hang on the time: as long as the bytes are the same, so is this.
pub(crate) fn open(raw: Bytes, issuer: &Issuer) -> (Option<Crl>, Vec<Finding>) {
    let mut findings = Vec::new();
    let crl = match walk_list(&raw, issuer, &mut findings) {
        Ok(mut crl) => {
            crl.raw = raw.clone();
            sort(&mut crl, &mut findings);
            Some(crl)
        }
        Err(why) => {
            findings.push(found("crl-der", why.to_string()));
            None
        }
    };
    (crl, findings)
}

fn walk_list(raw: &[u8], issuer: &Issuer, findings: &mut Vec<Finding>) -> Result<Crl, Bad> {
    let mut outer = Walk::new(walk::only(raw, SEQUENCE)?.body);
    let tbs = outer.expect(SEQUENCE)?;
    let algorithm = outer.expect(SEQUENCE)?.whole;
    let signature = walk::octets_of_bits(outer.expect(BIT_STRING)?.body)?;
    outer.end()?;
    let mut fields = Walk::new(tbs.body);
    if walk::small(fields.expect(INTEGER)?.body)? != 1 {
        return Err(Bad("it is not of version 2"));
    }
    if fields.expect(SEQUENCE)?.whole != algorithm {
        return Err(Bad("it names two signature algorithms"));
    }
    if fields.expect(SEQUENCE)?.whole != issuer.subject {
        findings.push(found("crl-wrong-issuer", "it is the list of another issuer"));
    }
    verify(algorithm, issuer, tbs.whole, signature, findings);
    let this_update = walk::time(fields.next()?)?;
    let next_update = match fields.peek() {
        Some(UTC_TIME | GENERALIZED_TIME) => Some(walk::time(fields.next()?)?.seconds),
        _ => None,
    };
    let mut crl = Crl {
        raw: Bytes::new(),
        index: Vec::new(),
        this_update: this_update.seconds,
        next_update,
        number: None,
    };
    if let Some(list) = fields.maybe(SEQUENCE)? {
        let mut list = Walk::new(list.body);
        if list.is_empty() {
            findings.push(weighed("crl-der", Severity::Degraded, "its list of entries is empty"));
        }
        let mut seen = Seen::default();
        while !list.is_empty() {
            let place = entry(raw, list.enter(SEQUENCE)?, &mut seen)?;
            seen.late |= place.at > this_update.seconds;
            crl.index.push(place);
        }
        seen.report(findings);
    }
    let mut names_key = false;
    match fields.maybe(context(0))? {
        Some(wrapped) => {
            for extension in walk::extensions(wrapped.body)? {
                names_key |= extension.oid == AUTHORITY_KEY_ID;
                list_extension(&extension, issuer, &mut crl, findings)?;
            }
        }
        None => findings.push(found("crl-number", "it has no extensions")),
    }
    if !names_key {
        let what = "it does not name the key that signed it";
        findings.push(weighed("crl-aki", Severity::Degraded, what));
    }
    if crl.number.is_none() {
        findings.push(found("crl-number", "it has no number"));
    }
    fields.end()?;
    Ok(crl)
}

fn verify(
    algorithm: &[u8],
    issuer: &Issuer,
    tbs: &[u8],
    signature: &[u8],
    findings: &mut Vec<Finding>,
) {
    if !issuer.signs_crls {
        findings.push(found("crl-bad-signature", "its issuer may not sign lists (no cRLSign)"));
    }
    match sign::verify(algorithm, &issuer.spki, tbs, signature) {
        Ok(Form::Exact) => {}
        Ok(Form::Loose) => findings.push(weighed(
            "crl-sigalg",
            Severity::Degraded,
            "its algorithm identifier is not in the one form allowed",
        )),
        Err(SignatureFault::Wrong) => {
            findings.push(found("crl-bad-signature", "its signature does not hold"));
        }
        Err(SignatureFault::Algorithm(why)) => findings.push(found("crl-sigalg", why)),
    }
}

/// What the entries showed, told once for all of them.
#[derive(Default)]
struct Seen {
    late: bool,
    reason: bool,
    unknown_critical: bool,
}

impl Seen {
    fn report(&self, findings: &mut Vec<Finding>) {
        if self.late {
            findings.push(found("crl-entry-form", "an entry is dated after thisUpdate"));
        }
        if self.reason {
            findings.push(found("crl-entry-reason", "an entry's reason is none that is allowed"));
        }
        if self.unknown_critical {
            findings.push(found("crl-unknown-critical", "a critical entry extension is not known"));
        }
    }
}

fn entry(raw: &[u8], mut fields: Walk<'_>, seen: &mut Seen) -> Result<Place, Bad> {
    let serial = walk::integer(fields.expect(INTEGER)?.body)?;
    let at = walk::time(fields.next()?)?.seconds;
    let mut reason = None;
    if let Some(list) = fields.maybe(SEQUENCE)? {
        for extension in walk::extensions(list.whole)? {
            match extension.oid {
                REASON_CODE => {
                    let code = walk::small(walk::only(extension.value, ENUMERATED)?.body)?;
                    if code > 10 || code == 7 {
                        return Err(Bad("a revocation reason is none that exists"));
                    }
                    seen.reason |= extension.critical || !matches!(code, 1 | 3 | 4 | 5 | 9);
                    reason = Some(code);
                }
                INVALIDITY_DATE => seen.unknown_critical |= extension.critical,
                // certificateIssuer (indirect lists) is critical, and refused with the rest.
                _ => seen.unknown_critical |= extension.critical,
            }
        }
    }
    fields.end()?;
    // `serial` is a subslice of `raw`; offsets instead of pointers keep the index small.
    let start = serial.as_ptr() as usize - raw.as_ptr() as usize;
    let (Ok(start), Ok(length)) = (u32::try_from(start), u32::try_from(serial.len())) else {
        return Err(Bad("it is absurdly large"));
    };
    Ok(Place { serial: start, serial_len: length, at, reason })
}

fn list_extension(
    extension: &walk::Extension<'_>,
    issuer: &Issuer,
    crl: &mut Crl,
    findings: &mut Vec<Finding>,
) -> Result<(), Bad> {
    match extension.oid {
        AUTHORITY_KEY_ID => {
            let mut fields = Walk::new(walk::only(extension.value, SEQUENCE)?.body);
            let id = fields.maybe(primitive(0))?.map(|tlv| tlv.body);
            if id.is_some() && issuer.key_id.is_some() && id != issuer.key_id.as_deref() {
                findings.push(found("crl-aki", "its authority key id is that of another key"));
            }
        }
        CRL_NUMBER => {
            let number = walk::integer(walk::only(extension.value, INTEGER)?.body)?;
            if extension.critical || number[0] & 0x80 != 0 || number.len() > 20 {
                findings.push(found("crl-number", "its number is critical, negative or too long"));
            }
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            crl.number = Some(number[zeros..].to_vec());
        }
        DELTA => {
            findings.push(found("crl-delta", "a delta is served where the whole list belongs"))
        }
        ISSUING_POINT => issuing_point(extension, findings)?,
        _ if extension.critical => {
            findings.push(found("crl-unknown-critical", "a critical extension is not known"));
        }
        _ => {}
    }
    Ok(())
}

/// IssuingDistributionPoint: a partition is fine, an indirect list or one of some reasons is not
/// what clients of this URL expect.
fn issuing_point(extension: &walk::Extension<'_>, findings: &mut Vec<Finding>) -> Result<(), Bad> {
    let mut fields = Walk::new(walk::only(extension.value, SEQUENCE)?.body);
    let mut only = 0;
    let mut odd = !extension.critical;
    while !fields.is_empty() {
        let field = fields.next()?;
        match field.tag & 0x1f {
            0 => {}
            1 | 2 | 5 => only += u8::from(walk::boolean(field.body)?),
            3 => odd = true,
            4 => odd |= walk::boolean(field.body)?,
            _ => return Err(Bad("its issuing distribution point is not well formed")),
        }
    }
    if odd || only > 1 {
        findings.push(found("crl-idp", "its scope is not that of a whole list of this URL"));
    }
    Ok(())
}

fn sort(crl: &mut Crl, findings: &mut Vec<Finding>) {
    let raw = crl.raw.clone();
    crl.index.sort_unstable_by(|one, other| one.serial(&raw).cmp(other.serial(&raw)));
    let twice = crl.index.windows(2).any(|pair| pair[0].serial(&raw) == pair[1].serial(&raw));
    if twice {
        findings.push(found("crl-entry-form", "a serial is listed twice"));
    }
}

/// What the list's times come to now.
pub(crate) fn times(crl: &Crl, now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |code, what: String| findings.push(found(code, what));
    if crl.this_update > now + AHEAD {
        add("crl-not-yet-valid", "it is from the future".into());
    }
    match crl.next_update {
        None => add("crl-no-next-update", "it has no nextUpdate".into()),
        Some(next) if next < now - PAST => {
            add("crl-expired", format!("it ended {} s ago", now - next));
        }
        Some(next) if next - crl.this_update > 10 * DAY => {
            add("crl-interval", "it is valid for more than 10 days".into());
        }
        Some(_) => {}
    }
    if now - crl.this_update > 7 * DAY {
        add("crl-stale", "it is older than 7 days".into());
    }
    findings
}

/// What a newer list of a provider shows beside the one before: numbers and dates never go back,
/// and a list does not shrink much.
pub(crate) fn against(old: &Crl, new: &Crl) -> Vec<Finding> {
    let mut findings = Vec::new();
    if old.raw == new.raw {
        return findings;
    }
    if let (Some(before), Some(after)) = (&old.number, &new.number) {
        let order = after.len().cmp(&before.len()).then_with(|| after.cmp(before));
        match order {
            std::cmp::Ordering::Greater => {}
            std::cmp::Ordering::Equal => {
                findings.push(found("crl-number-back", "two lists have the same number"));
            }
            std::cmp::Ordering::Less => {
                findings.push(found("crl-number-back", "its number is lower than one seen before"));
            }
        }
    }
    if new.len() * 100 < old.len() * 99 {
        let what = format!("it has {} entries, the one before had {}", new.len(), old.len());
        findings.push(found("crl-shrunk", what));
    }
    if let Some(serial) = weakened(old, new) {
        let what = format!("the revocation of `{serial}` was put later or made weaker");
        findings.push(found("crl-entry-changed", what));
    }
    findings
}

/// A serial in both lists, whose date moved later or whose keyCompromise was taken back. Both
/// indices are sorted: one merge.
fn weakened(old: &Crl, new: &Crl) -> Option<Serial> {
    let mut ahead = new.index.iter().peekable();
    for before in &old.index {
        let serial = before.serial(&old.raw);
        while ahead.next_if(|place| place.serial(&new.raw) < serial).is_some() {}
        let Some(after) = ahead.peek().filter(|place| place.serial(&new.raw) == serial) else {
            continue;
        };
        let weaker = before.reason == Some(KEY_COMPROMISE) && after.reason != before.reason;
        if after.at > before.at || weaker {
            return Some(Serial(serial.to_vec()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::fixture::{MADE_AT, changed, data, issuer, overwritten, serial};
    use proptest::prelude::*;

    fn list(bytes: &'static [u8]) -> Crl {
        read(Bytes::from_static(bytes), &issuer(), MADE_AT + 2).0.expect("fixture")
    }

    fn codes(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn what_openssl_signs_is_accepted_and_searched() {
        let (crl, findings) = read(Bytes::from_static(data!("crl-5.der")), &issuer(), MADE_AT + 2);
        assert_eq!(findings, []);
        let crl = crl.expect("it was accepted");
        assert_eq!(crl.len(), 1);
        assert_eq!(
            crl.find(&serial(data!("revoked.der"))),
            Some(Entry { at: MADE_AT - DAY, reason: Some(1) })
        );
        assert_eq!(crl.find(&serial(data!("good.der"))), None);
    }

    #[test]
    fn each_fault_has_its_code() {
        let whole = &data!("crl-5.der")[..];
        let at = MADE_AT + 2;
        let last = whole.len() - 1;
        for (name, bytes, now, expected) in [
            ("trailing byte", changed(whole, |bytes| bytes.push(0)), at, &["crl-der"][..]),
            ("truncated", changed(whole, |bytes| bytes.truncate(100)), at, &["crl-der"]),
            ("PEM", b"-----BEGIN X509 CRL-----".to_vec(), at, &["crl-der"]),
            ("bad signature", changed(whole, |bytes| bytes[last] ^= 1), at, &["crl-bad-signature"]),
            ("expired", whole.to_vec(), MADE_AT + 5 * DAY, &["crl-expired"]),
            ("old", whole.to_vec(), MADE_AT + 8 * DAY, &["crl-expired", "crl-stale"]),
            ("future", whole.to_vec(), MADE_AT - 90, &["crl-not-yet-valid"]),
            ("30 days", data!("crl-30-days.der").to_vec(), at, &["crl-interval"]),
            (
                "other issuer",
                data!("crl-other.der").to_vec(),
                at,
                &["crl-wrong-issuer", "crl-bad-signature", "crl-aki"],
            ),
        ] {
            let (_, findings) = read(bytes.into(), &issuer(), now);
            assert_eq!(codes(&findings), expected, "{name}: {findings:?}");
        }
    }

    #[test]
    fn lists_are_held_against_the_one_before() {
        let (five, six) = (list(data!("crl-5.der")), list(data!("crl-6.der")));
        assert_eq!(against(&five, &six), []);
        assert_eq!(against(&five, &five), []);
        assert_eq!(codes(&against(&six, &five)), ["crl-number-back"]);
        let mut same = six.clone();
        same.number = five.number.clone();
        assert_eq!(codes(&against(&five, &same)), ["crl-number-back"]);
        let mut empty = six.clone();
        empty.index.clear();
        assert_eq!(codes(&against(&five, &empty)), ["crl-shrunk"]);
        let mut later = six.clone();
        later.index[0].at += 1;
        assert_eq!(codes(&against(&five, &later)), ["crl-entry-changed"]);
        later.index[0].at -= 2;
        assert_eq!(against(&five, &later), [], "earlier is legal");
        later.index[0].reason = Some(4);
        assert_eq!(codes(&against(&five, &later)), ["crl-entry-changed"]);
    }

    #[test]
    fn a_list_of_100_000_entries_is_searched() {
        let mut entries = Vec::new();
        for number in 0..100_000u32 {
            // Backwards, so that it has to be sorted.
            let serial = (200_000 - number).to_be_bytes();
            let serial = walk::element(INTEGER, &[&serial[1..]]);
            let time = walk::element(UTC_TIME, &[b"260101000000Z"]);
            entries.extend(walk::element(SEQUENCE, &[&serial, &time]));
        }
        let issuer = issuer();
        let algorithm = [0x30, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let tbs = walk::element(
            SEQUENCE,
            &[
                &[INTEGER, 1, 1],
                &algorithm,
                &issuer.subject,
                &walk::element(UTC_TIME, &[b"261124000000Z"]),
                &walk::element(UTC_TIME, &[b"261128000000Z"]),
                &walk::element(SEQUENCE, &[&entries]),
            ],
        );
        let raw = walk::element(SEQUENCE, &[&tbs, &algorithm, &[BIT_STRING, 2, 0, 1]]);
        let (crl, findings) = open(raw.into(), &issuer);
        let crl = crl.expect("it is well formed");
        let expected = ["crl-bad-signature", "crl-number", "crl-aki", "crl-number"];
        assert_eq!(codes(&findings), expected, "it has no extensions");
        assert_eq!(crl.len(), 100_000);
        for (hex, listed) in
            [("030d40", true), ("0186a1", true), ("0186a0", false), ("030d41", false)]
        {
            let serial = Serial::from_hex(hex).expect("hex");
            assert_eq!(crl.find(&serial).is_some(), listed, "{hex}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(bytes.into(), &issuer(), MADE_AT);
        }

        #[test]
        fn no_mutation_panics(places in proptest::collection::vec((0usize..300, any::<u8>()), 1..6)) {
            let bytes = overwritten(data!("crl-5.der"), &places);
            let (crl, _) = read(bytes.into(), &issuer(), MADE_AT);
            if let Some(crl) = crl {
                let _ = crl.find(&serial(data!("revoked.der")));
            }
        }
    }
}
