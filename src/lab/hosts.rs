//! The hosts that relying parties ask: OCSP, CRL, seal.
//!
//! Not known here: edges, roles, who is sent where.

use super::ca;
use super::crl;
use super::der;
use super::fault::Lie;
use super::http::{Call, Handler, Reply};
use super::now_ms;
use super::ocsp::{self, Answer, Responder};
use super::store::{self, Status};
use super::world::World;
use hyper::Method;
use std::sync::Arc;

/// Kind of answer of OCSP (RFC 6960 appendix A).
const OCSP_TYPE: &str = "application/ocsp-response";

/// A host's handler, around what it answers: faults come first.
pub(super) fn handler(
    world: &Arc<World>,
    site: &'static str,
    host: &'static str,
    answer: impl Fn(&World, &Call, Option<Lie>) -> Reply + Send + Sync + 'static,
) -> Handler {
    let (world, answer) = (Arc::clone(world), Arc::new(answer));
    Arc::new(move |call| {
        let (world, answer) = (Arc::clone(&world), Arc::clone(&answer));
        Box::pin(async move {
            if !call.own {
                world.touch();
            }
            match world.strike(site, host).await {
                Ok(lie) => answer(&world, &call, lie),
                Err(_) => Reply::text(500, "out of order"),
            }
        })
    })
}

/// An OCSP host: POST and GET at its root, for all lines.
pub(super) fn ocsp(
    world: &World,
    site: &str,
    host: &str,
    responder: &Responder,
    call: &Call,
    lie: Option<Lie>,
) -> Reply {
    let request = if call.method == Method::POST {
        if call.content_type != "application/ocsp-request" {
            return Reply::text(415, "wanted is `application/ocsp-request`");
        }
        Some(call.body.to_vec())
    } else if call.method == Method::GET {
        let text = call.path.strip_prefix('/').unwrap_or(&call.path);
        if text.is_empty() {
            let version = world.state.see(|s| s.versions.get(&format!("{site}/{host}")).cloned());
            return Reply::text(200, format!("{host} {}", version.unwrap_or_default()));
        }
        // Some clients encode `+`, `/` and `=`, some do not (RFC 6960 appendix A.1).
        der::percent_decoded(text).and_then(|text| der::from_base64(&text))
    } else {
        return Reply::text(405, "GET and POST").with("allow", "GET, POST");
    };
    let now = now_ms() / 1000;
    let answer = match request {
        Some(request) => responder
            .answer(&request, now, lie, |line, serial| {
                world.read(site, line, |db| db.status(serial)).unwrap_or(Status::Absent)
            })
            .unwrap_or_else(|_| ocsp::internal_error()),
        None => ocsp::malformed(),
    };
    kept(OCSP_TYPE, answer, now)
}

/// With the headers that caches go by (RFC 9919 section 7.2): until nextUpdate, and no longer.
fn kept(content_type: &str, answer: Answer, now: i64) -> Reply {
    let tag = blake3::hash(&answer.body).to_hex();
    let mut reply = Reply::new(200, content_type, answer.body).with("date", http_date(now));
    if let Some((this_update, next_update)) = answer.valid {
        let age = (next_update - now).max(0);
        reply = reply
            .with("last-modified", http_date(this_update))
            .with("expires", http_date(next_update))
            .with("etag", format!("\"{}\"", &tag[..32]))
            .with("cache-control", format!("max-age={age}, public, no-transform, must-revalidate"));
    }
    reply
}

fn http_date(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A CRL host: `/{line}-ca.crl`, the bytes of whoever signed last.
pub(super) fn crl(world: &World, call: &Call, lie: Option<Lie>) -> Reply {
    if call.method != Method::GET {
        return Reply::text(405, "GET").with("allow", "GET");
    }
    let name = call.path.strip_prefix('/').and_then(|path| path.strip_suffix(".crl"));
    let line = name.map(|name| name.strip_suffix("-ca").unwrap_or(name));
    let Some(list) = line.and_then(|line| world.list(line)) else {
        return Reply::text(404, "there is no such list");
    };
    let now = now_ms() / 1000;
    let lied = lie.zip(line).and_then(|(lie, line)| false_list(world, line, lie, now));
    let list = lied.as_ref().unwrap_or(&list);
    let valid = Some((list.this_update, list.next_update));
    kept("application/pkix-crl", Answer { body: list.body.clone(), valid }, now)
}

fn false_list(world: &World, line: &str, lie: Lie, now: i64) -> Option<Arc<crl::List>> {
    let real = world.list(line)?;
    let ours = world.authorities.iter().find(|one| one.line == line)?;
    let rows = SITE_ORDER
        .into_iter()
        .find_map(|site| world.read(site, line, store::Reader::revoked).flatten())?;
    let (this, next) = (real.this_update, real.next_update);
    let list = match lie {
        Lie::WrongKey => {
            // The right names over a signature of another line's key.
            let stranger = world.authorities.iter().find(|one| one.line != line)?;
            crl::sign_as(ours, stranger, &rows, real.number, this, next)
        }
        Lie::Expired => crl::sign(ours, &rows, real.number, now - 2 * crl::LIFE, now - crl::LIFE),
        Lie::Stale => crl::sign(ours, &rows, real.number, now - 9 * 86_400, now + 86_400),
        Lie::NumberBack => crl::sign(ours, &rows, real.number.saturating_sub(500), this, next),
        Lie::GoodForAll | Lie::WrongSite => return None,
    };
    list.ok().map(Arc::new)
}

const SITE_ORDER: [&str; 2] = ["from", "to"];

/// A seal host: `/{line}` is the page that a visitor sees who clicks a shop's seal, `/` one for all.
pub(super) fn seal(world: &World, call: &Call, lie: Option<Lie>) -> Reply {
    let path = call.path.trim_matches('/');
    let known = world.options.lines.iter().any(|line| line == path);
    if !(path.is_empty() || known) || call.method != Method::GET {
        return Reply::text(404, "there is no such seal");
    }
    let shown = |line: &str| {
        let site = match lie {
            Some(Lie::WrongSite) => "elsewhere.example".to_owned(),
            _ => store::host(line, "good"),
        };
        format!("<p>Secured by {}: <b>{site}</b> is valid.</p>\n", ca::title(line))
    };
    let lines = world.options.lines.iter().filter(|line| path.is_empty() || *line == path);
    let shown: String = lines.map(|line| shown(line)).collect();
    let page = format!("<!doctype html>\n<title>Seal</title>\n{shown}");
    Reply::new(200, "text/html; charset=utf-8", page)
}
