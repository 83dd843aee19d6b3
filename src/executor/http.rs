//! `http`: a request, and whether what comes back is what must come back.

use super::until::Until;
use super::{Ask, Context, Deed, Worked, admin, process};
use crate::action::http::Http;
use crate::event::Ending;
use crate::failure::{Failure, FailureKind};
use crate::net::{self, NetError, Reply};
use bytes::Bytes;
use hyper::Method;
use std::time::Duration;

/// For one request, when the step has a longer timeout or none.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const LIMIT: usize = 16 << 20;

/// Carries out `http:`, or (as a check) says whether the answer is the wanted one.
pub(super) async fn perform(
    http: &Http<String>,
    deed: &Deed,
    until: &Until,
    context: &Context,
) -> Worked {
    let method: Method = http.method.parse().map_err(|_| {
        Ending::Failed(Failure::last(format!("`{}` is not an HTTP method", http.method)))
    })?;
    context.doing(format!("{method} {}", http.url));
    loop {
        let last = match attempt(&method, http, until).await {
            Ok(reply) if deed.ask == Ask::Check => match wanted(http, &reply) {
                // It stands in for the step's end; what it does not say is missed where it is used.
                Ok(()) => {
                    let body = String::from_utf8_lossy(&reply.body);
                    return Ok(process::catch_from(&deed.outputs, &body).unwrap_or_default());
                }
                Err(_) => Ending::NotDone,
            },
            Ok(reply) => match wanted(http, &reply) {
                Ok(()) => {
                    return process::catch_from(
                        &deed.outputs,
                        &String::from_utf8_lossy(&reply.body),
                    );
                }
                Err(failure) => Ending::Failed(failure),
            },
            Err(ending) => ending,
        };
        // Neither what nobody knows nor what can never be sent gets better by asking again.
        let over = match &last {
            Ending::Unknown(_) | Ending::Stopped => true,
            Ending::Failed(failure) => failure.kind == FailureKind::Final,
            _ => false,
        };
        let Some(every) = http.every.filter(|_| !over) else { return Err(last) };
        let every = Duration::try_from(every).unwrap_or_default().max(Duration::from_millis(10));
        // What was missing last says more than that the time is over.
        if let Err(ending) = until.pause(every).await {
            return Err(match (ending, last) {
                (Ending::Failed(late), Ending::Failed(missing)) => {
                    let chain = [late.chain, missing.chain].concat();
                    Ending::Failed(Failure { kind: FailureKind::TimedOut, chain })
                }
                (Ending::Failed(_), Ending::NotDone) => Ending::NotDone,
                (ending, _) => ending,
            });
        }
    }
}

async fn attempt(method: &Method, http: &Http<String>, until: &Until) -> Result<Reply, Ending> {
    until.go_on()?;
    let ask = net::Ask {
        method: method.clone(),
        url: http.url.clone(),
        headers: http.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        body: http.body.clone().map_or_else(Bytes::new, Bytes::from),
        timeout: until.left(PATIENCE),
        limit: LIMIT,
    };
    net::fetch(&ask).await.map_err(|error| {
        let mut failure = admin::unanswered(method.as_str(), &http.url, &error);
        // To read again harms nobody; anything else may have been done, and once is what was meant.
        if error.maybe_delivered() && !method.is_safe() && !matches!(error, NetError::Request(_)) {
            failure.kind = FailureKind::InDoubt;
            return Ending::Unknown(failure);
        }
        Ending::Failed(failure)
    })
}

fn wanted(http: &Http<String>, reply: &Reply) -> Result<(), Failure> {
    let right = if http.status.is_empty() {
        (200..300).contains(&reply.status)
    } else {
        http.status.contains(&reply.status)
    };
    let (method, url) = (&http.method, &http.url);
    if !right {
        let said = admin::said(&reply.body);
        return Err(Failure::transient(format!("{method} `{url}` answers {}{said}", reply.status)));
    }
    match &http.contains {
        Some(text) if !String::from_utf8_lossy(&reply.body).contains(text.as_str()) => Err(
            Failure::transient(format!("the answer to {method} `{url}` does not hold `{text}`")),
        ),
        _ => Ok(()),
    }
}
