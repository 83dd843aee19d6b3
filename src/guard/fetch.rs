//! Fetches answers of OCSP, CRL and seal services, each over a connection of its own, and judges
//! what HTTP itself shows.
//!
//! Not known here: what the bodies mean.

use super::finding::found;
use crate::health::Finding;
use crate::net::{self, Ask, NetError, Reply};
use bytes::Bytes;
use hyper::Method;
use std::time::Duration;

/// An OCSP answer is small.
const OCSP_LIMIT: usize = 64 << 10;
/// A CRL may be large, but not without end.
const CRL_LIMIT: usize = 64 << 20;
/// A page.
const SEAL_LIMIT: usize = 1 << 20;
/// Clients of a URL this long send POST instead (RFC 9919).
const GET_LIMIT: usize = 255;

/// How an OCSP question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// In a POST.
    Post,
    /// In the path of a GET, base64 as it is.
    Get,
    /// In the path of a GET, `+`, `/` and `=` percent-encoded.
    GetEncoded,
}

/// What came back, with what HTTP showed. Failures of HTTP are errors.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
    /// Nothing that makes the answer wrong.
    pub(crate) findings: Vec<Finding>,
    /// Content type, lower case, without parameters.
    pub(crate) content_type: String,
    /// Until when a cache may hand it on: unix seconds, by RFC 9111 section 4.2.
    pub(crate) fresh_until: Option<i64>,
}

/// Unix seconds, now.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Codes of one protocol for what HTTP shows.
struct Names {
    unreachable: &'static str,
    slow: &'static str,
    truncated: &'static str,
    oversize: &'static str,
    http: &'static str,
}

const OCSP: Names = Names {
    unreachable: "ocsp-unreachable",
    slow: "ocsp-slow",
    truncated: "ocsp-truncated",
    oversize: "ocsp-oversize",
    http: "ocsp-http-status",
};
const CRL: Names = Names {
    unreachable: "crl-unreachable",
    slow: "crl-slow",
    truncated: "crl-truncated",
    oversize: "crl-size",
    http: "crl-http-status",
};
const SEAL: Names = Names {
    unreachable: "seal-unreachable",
    slow: "seal-slow",
    truncated: "seal-truncated",
    oversize: "seal-oversize",
    http: "seal-http",
};

/// Asks an OCSP responder.
pub(crate) async fn ocsp(
    url: &str,
    request: &[u8],
    how: How,
    timeout: Duration,
) -> Result<Fetched, Finding> {
    let ask = match how {
        How::Post => {
            Ask::with_body(Method::POST, url, "application/ocsp-request", request.to_vec())
        }
        How::Get | How::GetEncoded => Ask::get(get_url(url, request, how == How::GetEncoded)),
    };
    let mut fetched = fetch(ask.within(timeout).at_most(OCSP_LIMIT), &OCSP).await?;
    if fetched.content_type != "application/ocsp-response" {
        fetched.findings.push(found(
            "ocsp-content-type",
            format!("its content type is `{}`", printable(&fetched.content_type)),
        ));
    }
    Ok(fetched)
}

/// Whether a GET for this request is short enough for clients to use it.
pub(crate) fn fits_get(request: &[u8]) -> bool {
    request.len().div_ceil(3) * 4 <= GET_LIMIT
}

/// Fetches a CRL.
pub(crate) async fn crl(url: &str, timeout: Duration) -> Result<Fetched, Finding> {
    let mut fetched = fetch(Ask::get(url).within(timeout).at_most(CRL_LIMIT), &CRL).await?;
    if fetched.content_type != "application/pkix-crl" {
        fetched.findings.push(found(
            "crl-content-type",
            format!("its content type is `{}`", printable(&fetched.content_type)),
        ));
    }
    Ok(fetched)
}

/// Fetches a page.
pub(crate) async fn seal(url: &str, timeout: Duration) -> Result<Fetched, Finding> {
    fetch(Ask::get(url).within(timeout).at_most(SEAL_LIMIT), &SEAL).await
}

async fn fetch(ask: Ask, names: &Names) -> Result<Fetched, Finding> {
    let reply = net::fetch(&ask).await.map_err(|error| failure(&error, names))?;
    if reply.status != 200 {
        return Err(found(names.http, format!("it answers with HTTP status {}", reply.status)));
    }
    let mut findings = Vec::new();
    if names.http == OCSP.http
        && let Some(skew) = skew(&reply)
        && skew.abs() > 60
    {
        findings.push(found("ocsp-clock-skew", format!("its clock is {skew} s off")));
    }
    let content_type = reply.header("content-type").unwrap_or("");
    let content_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let fresh_until = fresh_until(|name| reply.header(name), now());
    Ok(Fetched { body: reply.body, took: reply.took, findings, content_type, fresh_until })
}

fn failure(error: &NetError, names: &Names) -> Finding {
    let code = match error {
        NetError::Request(_) | NetError::Connect(_) => names.unreachable,
        NetError::TimedOut { sent: false } => names.unreachable,
        NetError::TimedOut { sent: true } => names.slow,
        NetError::Lost(_) => names.truncated,
        NetError::TooLarge(_) => names.oversize,
    };
    found(code, error.to_string())
}

/// Seconds that the server's clock is ahead of ours.
fn skew(reply: &Reply) -> Option<i64> {
    Some(date(reply.header("date")?)? - now())
}

/// Until when a cache may hand an answer on (RFC 9111 sections 4.2.1 and 4.2.3). Its age counts from the
/// moment that its own `Date` names, so that a second spent on the way is no second of freshness.
fn fresh_until<'a>(header: impl Fn(&str) -> Option<&'a str>, now: i64) -> Option<i64> {
    let Some(max_age) = header("cache-control").and_then(max_age) else {
        return header("expires").and_then(date);
    };
    let age = header("age").and_then(|age| age.trim().parse::<i64>().ok()).unwrap_or(0);
    let made = header("date").and_then(date).unwrap_or(now).min(now - age.max(0));
    Some(made.saturating_add(max_age))
}

fn date(value: &str) -> Option<i64> {
    Some(jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_second())
}

fn max_age(value: &str) -> Option<i64> {
    value
        .split(',')
        .filter_map(|part| part.trim().strip_prefix("max-age="))
        .find_map(|seconds| seconds.parse().ok())
}

/// A foreign text, safe to show and short.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(60).collect()
}

fn get_url(base: &str, request: &[u8], encoded: bool) -> String {
    let mut url = base.trim_end_matches('/').to_owned();
    url.push('/');
    for char in base64(request).chars() {
        match char {
            '+' if encoded => url.push_str("%2B"),
            '/' if encoded => url.push_str("%2F"),
            '=' if encoded => url.push_str("%3D"),
            char => url.push(char),
        }
    }
    url
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            match place <= chunk.len() {
                true => text.push(char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_get_url_has_one_slash_before_the_request() {
        let request = [0xfb, 0xff, 0xfe];
        assert_eq!(get_url("http://h/ocsp/", &request, false), "http://h/ocsp/+//+");
        assert_eq!(get_url("http://h/ocsp", &request, true), "http://h/ocsp/%2B%2F%2F%2B");
    }

    #[test]
    fn freshness_counts_from_the_moment_the_answer_was_made() {
        let second = |at: i64| format!("Sat, 06 Apr 2019 15:30:{at:02} GMT");
        let base = date(&second(0)).expect("a date");
        let until = |headers: &[(&str, &str)], now: i64| {
            fresh_until(|name| headers.iter().find(|(key, _)| *key == name).map(|it| it.1), now)
                .map(|at| at - base)
        };
        let made = second(10);
        // A second on the way, or a clock a second ahead: it is not fresh for longer.
        assert_eq!(until(&[("cache-control", "max-age=30"), ("date", &made)], base + 11), Some(40));
        assert_eq!(until(&[("cache-control", "max-age=30"), ("date", &made)], base + 9), Some(39));
        // Some cache has held it already.
        let aged = [("cache-control", "max-age=30"), ("date", made.as_str()), ("age", "20")];
        assert_eq!(until(&aged, base + 11), Some(21));
        // `max-age` beats Expires; alone, Expires says it.
        let expires = second(50);
        let both = [("cache-control", "max-age=30"), ("date", &made), ("expires", &expires)];
        assert_eq!(until(&both, base + 10), Some(40));
        assert_eq!(until(&[("expires", &expires)], base + 10), Some(50));
        assert_eq!(until(&[("date", &made)], base + 10), None);
        assert_eq!(
            until(&[("cache-control", "max-age=9223372036854775807")], base),
            Some(i64::MAX - base)
        );
    }

    #[test]
    fn max_age_is_found_among_others() {
        assert_eq!(max_age("public, max-age=30, no-transform"), Some(30));
        assert_eq!(max_age("no-store"), None);
    }
}
