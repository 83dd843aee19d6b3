//! What edges, roles and providers share: a state behind a URL, put and read back.
//!
//! An exchange is never broken off by a stop: it ends by its own short deadline, so that a stopped
//! attempt has no request on its way. Not known here: what the state means.

use super::until::Until;
use crate::event::Ending;
use crate::failure::{Failure, FailureKind};
use crate::net::{self, NetError, Reply};
use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use std::time::Duration;

/// For one exchange with an admin API or an edge; an edge may wait for what is in flight.
const PATIENCE: Duration = Duration::from_secs(10);
/// Left for reading back when the deadline is near: a doubt costs more than a second.
const READ_BACK: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const LIMIT: usize = 1 << 20;

/// Puts a state and reads it back. Right to repeat: only the state counts.
///
/// # Errors
/// `Failed` when it is known that nothing was sent, or that the state is not the wanted one;
/// `Unknown` when the request may have arrived and the state cannot be read.
pub(crate) async fn put(
    url: &str,
    body: &Value,
    wanted: impl Fn(&Value) -> bool,
    until: &Until,
) -> Result<(), Ending> {
    until.go_on()?;
    let ask = net::Ask::with_body(Method::PUT, url, "application/json", body.to_string());
    let doubt = match net::fetch(&ask.within(until.left(PATIENCE)).at_most(LIMIT)).await {
        Ok(reply) if (200..300).contains(&reply.status) => None,
        // Whatever stands between may have given up on a server that did the deed all the same.
        Ok(reply) if reply.status >= 500 => Some(refused("PUT", url, &reply)),
        Ok(reply) => return Err(Ending::Failed(refused("PUT", url, &reply))),
        Err(error) if error.maybe_delivered() => Some(unanswered("PUT", url, &error)),
        Err(error) => return Err(Ending::Failed(unanswered("PUT", url, &error))),
    };
    match (get(url, until).await, doubt) {
        (Ok(state), _) if wanted(&state) => Ok(()),
        (Ok(state), None) => Err(Ending::Failed(Failure::transient(format!(
            "`{url}` took `{body}` and still says `{}`",
            brief(&state.to_string())
        )))),
        // Not applied, or not yet: to ask for the same state again is right in both cases.
        (Ok(_), Some(doubt)) => {
            Err(Ending::Failed(Failure { kind: FailureKind::Transient, ..doubt }))
        }
        (Err(failure), None) => Err(Ending::Failed(failure.while_doing("reading it back"))),
        (Err(failure), Some(mut doubt)) => {
            doubt.kind = FailureKind::InDoubt;
            doubt.chain.extend(failure.while_doing("and it cannot be read back").chain);
            Err(Ending::Unknown(doubt))
        }
    }
}

/// Reads a state.
///
/// # Errors
/// No answer, or not one that can be read.
pub(crate) async fn get(url: &str, until: &Until) -> Result<Value, Failure> {
    let reply = page(url, until).await.map_err(|error| unanswered("GET", url, &error))?;
    if reply.status != 200 {
        return Err(refused("GET", url, &reply));
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        Failure::transient(format!("GET `{url}` does not answer in JSON: {error}"))
    })
}

/// Reads a page as a client sees it: over a connection of its own.
pub(crate) async fn page(url: &str, until: &Until) -> Result<Reply, NetError> {
    let patience = until.left(PATIENCE).max(READ_BACK);
    net::fetch(&net::Ask::get(url).within(patience).at_most(LIMIT)).await
}

/// What an answer other than the wanted one means.
pub(crate) fn refused(method: &str, url: &str, reply: &Reply) -> Failure {
    let said = said(&reply.body);
    let what = format!("{method} `{url}` answers {}{said}", reply.status);
    match reply.status {
        408 | 425 | 429 | 500..=599 => Failure::transient(what),
        _ => Failure::last(what),
    }
}

/// What no answer means: bad requests stay bad, everything else may pass.
pub(crate) fn unanswered(method: &str, url: &str, error: &NetError) -> Failure {
    let kind = match error {
        NetError::Request(_) => FailureKind::Final,
        NetError::TimedOut { .. } => FailureKind::TimedOut,
        NetError::Connect(_) | NetError::Lost(_) | NetError::TooLarge(_) => FailureKind::Transient,
    };
    // A server that does not accept connections has seen nothing and may be back in a moment.
    let kind = match error {
        NetError::TimedOut { sent: false } => FailureKind::Transient,
        _ => kind,
    };
    Failure { kind, chain: vec![format!("{method} `{url}`"), error.to_string()] }
}

/// The beginning of a body, fit for a message.
pub(crate) fn said(body: &Bytes) -> String {
    let text = brief(&String::from_utf8_lossy(&body[..body.len().min(1024)]));
    if text.is_empty() { text } else { format!(": {text}") }
}

fn brief(text: &str) -> String {
    let clean: String = text.trim().chars().filter(|c| !c.is_control()).take(121).collect();
    match clean.char_indices().nth(120) {
        Some((cut, _)) => format!("{}...", &clean[..cut]),
        None => clean,
    }
}
