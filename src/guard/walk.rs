//! A strict walker over DER: borrows, builds nothing, refuses whatever DER does not allow.
//!
//! Lengths are definite and minimal, tags have one byte, integers and booleans have one form only.
//! Depth is bounded by the caller, who opens each level himself. Not known here: what is walked.

use std::fmt;

/// BOOLEAN.
pub(crate) const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// ENUMERATED.
pub(crate) const ENUMERATED: u8 = 0x0a;
/// UTCTime.
pub(crate) const UTC_TIME: u8 = 0x17;
/// GeneralizedTime.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// SEQUENCE, constructed.
pub(crate) const SEQUENCE: u8 = 0x30;

/// A constructed, context-specific tag: `[n] EXPLICIT`, or `IMPLICIT` of a constructed type.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A primitive, context-specific tag: `[n] IMPLICIT` of a primitive type.
pub(crate) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad(pub(crate) &'static str);

impl fmt::Display for Bad {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tlv<'a> {
    /// Its tag byte.
    pub(crate) tag: u8,
    /// Its content.
    pub(crate) body: &'a [u8],
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
}

/// Steps over the elements of one level.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Begins at the first element.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next element, without stepping.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Steps over the next element.
    pub(crate) fn next(&mut self) -> Result<Tlv<'a>, Bad> {
        let all = self.rest;
        let (&tag, after) = all.split_first().ok_or(Bad("an element is missing"))?;
        if tag & 0x1f == 0x1f {
            return Err(Bad("a tag has more than one byte"));
        }
        let (&first, after) = after.split_first().ok_or(Bad("cut off in a length"))?;
        let (length, after) = if first < 0x80 {
            (usize::from(first), after)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 {
                return Err(Bad("a length is indefinite"));
            }
            if count > 4 {
                return Err(Bad("a length is absurd"));
            }
            let bytes = after.get(..count).ok_or(Bad("cut off in a length"))?;
            let length = bytes.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
            if bytes[0] == 0 || length < 0x80 {
                return Err(Bad("a length is not in its shortest form"));
            }
            (length, &after[count..])
        };
        let body = after.get(..length).ok_or(Bad("cut off in an element"))?;
        let header = all.len() - after.len();
        self.rest = &after[length..];
        Ok(Tlv { tag, body, whole: &all[..header + length] })
    }

    /// Steps over the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Tlv<'a>, Bad> {
        match self.peek() {
            Some(found) if found == tag => self.next(),
            Some(_) => Err(Bad("an element is of another type than expected")),
            None => Err(Bad("an element is missing")),
        }
    }

    /// Steps over the next element if it has this tag.
    pub(crate) fn maybe(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, Bad> {
        if self.peek() == Some(tag) { self.next().map(Some) } else { Ok(None) }
    }

    /// Goes into the next element, which must have this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Result<Walk<'a>, Bad> {
        Ok(Walk::new(self.expect(tag)?.body))
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Bad> {
        if self.rest.is_empty() { Ok(()) } else { Err(Bad("bytes are left over")) }
    }
}

/// The one element that `bytes` consist of.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Result<Tlv<'_>, Bad> {
    let mut walk = Walk::new(bytes);
    let found = walk.expect(tag)?;
    walk.end()?;
    Ok(found)
}

/// Checks an INTEGER's (or ENUMERATED's) content for its one form.
pub(crate) fn integer(body: &[u8]) -> Result<&[u8], Bad> {
    match body {
        [] => Err(Bad("an integer is empty")),
        [0, next, ..] if next & 0x80 == 0 => Err(Bad("an integer is not in its shortest form")),
        [0xff, next, ..] if next & 0x80 != 0 => Err(Bad("an integer is not in its shortest form")),
        _ => Ok(body),
    }
}

/// A small, not negative INTEGER or ENUMERATED.
pub(crate) fn small(body: &[u8]) -> Result<u8, Bad> {
    match integer(body)? {
        [value] if *value < 0x80 => Ok(*value),
        [0, value] => Ok(*value),
        _ => Err(Bad("a number is out of range")),
    }
}

/// A BOOLEAN's content.
pub(crate) fn boolean(body: &[u8]) -> Result<bool, Bad> {
    match body {
        [0] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(Bad("a boolean is neither 00 nor FF")),
    }
}

/// A BIT STRING of whole bytes.
pub(crate) fn octets_of_bits(body: &[u8]) -> Result<&[u8], Bad> {
    match body.split_first() {
        Some((0, bytes)) => Ok(bytes),
        Some(_) => Err(Bad("a bit string has unused bits")),
        None => Err(Bad("a bit string is empty")),
    }
}

/// The first 16 bits of a BIT STRING of named bits: bit 0 is the highest.
pub(crate) fn named_bits(body: &[u8]) -> Result<u16, Bad> {
    let (&unused, bytes) = body.split_first().ok_or(Bad("a bit string is empty"))?;
    let last = bytes.last().copied().unwrap_or(0);
    if unused > 7 || (bytes.is_empty() && unused > 0) {
        return Err(Bad("a bit string counts its unused bits wrongly"));
    }
    if last & ((1u16 << unused) - 1) as u8 != 0 {
        return Err(Bad("a bit string has unused bits set"));
    }
    let at = |place: usize| u16::from(bytes.get(place).copied().unwrap_or(0));
    Ok(at(0) << 8 | at(1))
}

/// Seconds since 1970, and whether the time was written in the one form that RFC 5280 allows
/// (seconds, `Z`, no fraction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) seconds: i64,
    /// No fraction of a second was given.
    pub(crate) exact: bool,
}

/// A UTCTime or GeneralizedTime.
pub(crate) fn time(tlv: Tlv<'_>) -> Result<Time, Bad> {
    let bad = Bad("a time is not well formed");
    let text = tlv.body;
    let (year, rest) = match tlv.tag {
        UTC_TIME => {
            let year = digits(text.get(..2).ok_or(bad)?)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        GENERALIZED_TIME => (digits(text.get(..4).ok_or(bad)?)?, &text[4..]),
        _ => return Err(Bad("a time is of another type")),
    };
    let (fields, tail) = rest.split_at_checked(10).ok_or(bad)?;
    let two = |place: usize| digits(&fields[place..place + 2]);
    let (month, day, hour, minute, second) = (two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    let exact = match tail {
        b"Z" => true,
        [b'.', digits @ .., b'Z']
            if tlv.tag == GENERALIZED_TIME
                && !digits.is_empty()
                && digits.iter().all(u8::is_ascii_digit) =>
        {
            false
        }
        _ => return Err(bad),
    };
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return Err(Bad("a time names a day that does not exist"));
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Bad("a time names an hour that does not exist"));
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Ok(Time { seconds, exact })
}

fn digits(text: &[u8]) -> Result<i64, Bad> {
    text.iter().try_fold(0i64, |sum, byte| {
        if byte.is_ascii_digit() {
            Ok(sum * 10 + i64::from(byte - b'0'))
        } else {
            Err(Bad("a time is not well formed"))
        }
    })
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar (H. Hinnant's `days_from_civil`).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// One X.509 extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    /// Content of the OID.
    pub(crate) oid: &'a [u8],
    /// Must be understood.
    pub(crate) critical: bool,
    /// The DER inside the OCTET STRING.
    pub(crate) value: &'a [u8],
}

/// `Extensions`: a sequence of extensions, not empty, none twice.
pub(crate) fn extensions(bytes: &[u8]) -> Result<Vec<Extension<'_>>, Bad> {
    let mut list = Walk::new(only(bytes, SEQUENCE)?.body);
    let mut found: Vec<Extension<'_>> = Vec::new();
    if list.is_empty() {
        return Err(Bad("a list of extensions is empty"));
    }
    while !list.is_empty() {
        let extension = extension(&mut list)?;
        if found.iter().any(|other| other.oid == extension.oid) {
            return Err(Bad("an extension occurs twice"));
        }
        found.push(extension);
    }
    Ok(found)
}

fn extension<'a>(list: &mut Walk<'a>) -> Result<Extension<'a>, Bad> {
    let mut fields = list.enter(SEQUENCE)?;
    let oid = fields.expect(OID)?.body;
    if oid.is_empty() {
        return Err(Bad("an object identifier is empty"));
    }
    let critical = match fields.maybe(BOOLEAN)? {
        // DER leaves a default value out.
        Some(tlv) if !boolean(tlv.body)? => return Err(Bad("a default value is written out")),
        Some(_) => true,
        None => false,
    };
    let value = fields.expect(OCTET_STRING)?.body;
    fields.end()?;
    Ok(Extension { oid, critical, value })
}

/// Writes an element: for requests, which are built here and nowhere else.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = bytes.iter().take_while(|byte| **byte == 0).count();
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(tag: u8, text: &str) -> Result<Time, Bad> {
        time(Tlv { tag, body: text.as_bytes(), whole: text.as_bytes() })
    }

    #[test]
    fn lengths_have_one_form() {
        for (bytes, why) in [
            (&[0x04, 0x80, 0, 0][..], "a length is indefinite"),
            (&[0x04, 0x81, 0x01, 7], "a length is not in its shortest form"),
            (&[0x04, 0x82, 0x00, 0x80], "a length is not in its shortest form"),
            (&[0x04, 0x85, 1, 1, 1, 1, 1], "a length is absurd"),
            (&[0x04, 0x02, 0x01], "cut off in an element"),
            (&[0x1f, 0x02, 0x01], "a tag has more than one byte"),
            (&[0x04], "cut off in a length"),
        ] {
            assert_eq!(Walk::new(bytes).next(), Err(Bad(why)), "{bytes:02x?}");
        }
        let long = element(OCTET_STRING, &[&[7; 300]]);
        assert_eq!(only(&long, OCTET_STRING).map(|tlv| tlv.body.len()), Ok(300));
    }

    #[test]
    fn times_are_strict() {
        assert_eq!(
            seconds(GENERALIZED_TIME, "19700101000000Z"),
            Ok(Time { seconds: 0, exact: true })
        );
        assert_eq!(
            seconds(GENERALIZED_TIME, "20190406153000Z").map(|time| time.seconds),
            Ok(1_554_564_600)
        );
        assert_eq!(
            seconds(UTC_TIME, "490101000000Z"),
            seconds(GENERALIZED_TIME, "20490101000000Z")
        );
        assert_eq!(
            seconds(GENERALIZED_TIME, "20190406153000.5Z").map(|time| time.exact),
            Ok(false)
        );
        for text in
            ["20190229000000Z", "20190406240000Z", "20190406153000", "20190406153000+0100", "2019"]
        {
            assert!(seconds(GENERALIZED_TIME, text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_and_booleans_have_one_form() {
        assert!(integer(&[0, 0x7f]).is_err());
        assert!(integer(&[0xff, 0x80]).is_err());
        assert!(integer(&[0, 0x80]).is_ok());
        assert!(boolean(&[1]).is_err());
        assert!(named_bits(&[7, 0xc0]).is_err());
        assert_eq!(named_bits(&[1, 0x06]), Ok(0x0600));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), tag: u8) {
            let mut walk = Walk::new(&bytes);
            while !walk.is_empty() {
                if walk.next().is_err() { break; }
            }
            let _ = extensions(&bytes);
            let _ = time(Tlv { tag: GENERALIZED_TIME, body: &bytes, whole: &bytes });
            let _ = time(Tlv { tag: UTC_TIME, body: &bytes, whole: &bytes });
            let _ = named_bits(&bytes);
            let _ = only(&bytes, tag);
        }
    }
}
