//! A notice to a webhook: a POST that says what it is, once and again under the same name.
//!
//! Signed as Standard Webhooks has it (version 1.0.0, "webhook-signature"): HMAC-SHA-256 over name,
//! time and body. A lost answer is no doubt: the same name tells the receiver that it has it already.
//! Not known here: what the notice says.

use super::mark::Mark;
use super::notice::Notice;
use crate::event::Ending;
use crate::executor::until::Until;
use crate::executor::{Context, admin};
use crate::failure::{Failure, FailureKind};
use crate::net;
use base64::engine::{Engine as _, general_purpose::STANDARD as BASE64};
use hyper::Method;
use ring::hmac;
use serde_json::json;
use std::time::Duration;

/// For one request.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before each further try of one attempt; the step's own `retry` comes after them.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Where it goes, and what signs it.
pub(super) struct Hook<'a> {
    /// Never shown whole: some services put their password into the path.
    pub(super) url: &'a str,
    /// As it was kept: `whsec_` and base64, or any text.
    pub(super) secret: Option<&'a str>,
}

/// Posts one notice, and marks that it was taken.
///
/// # Errors
/// `Failed` when no answer said that it was taken; another attempt posts it again under its name.
pub(super) async fn send(
    hook: &Hook<'_>,
    name: &str,
    notice: &Notice,
    mark: &Mark,
    until: &Until,
    context: &Context,
) -> Result<(), Ending> {
    let mut pauses = PAUSES.iter();
    loop {
        until.go_on()?;
        let ask = request(hook, name, notice, jiff::Timestamp::now(), context);
        let ask = ask.map_err(Ending::Failed)?.within(until.left(PATIENCE));
        let failure = match net::fetch(&ask).await {
            Ok(reply) if (200..300).contains(&reply.status) => {
                return mark.take(&reply.status.to_string()).map_err(|error| {
                    let what = format!("it was taken, and that cannot be noted: {error}");
                    Ending::Failed(Failure::transient(what))
                });
            }
            Ok(reply) => refused(hook, &reply),
            Err(error) => admin::unanswered("POST", origin(hook.url), &error),
        };
        let worth = failure.kind != FailureKind::Final;
        let Some(pause) = pauses.next().filter(|_| worth) else {
            return Err(Ending::Failed(failure));
        };
        until.pause(*pause).await?;
    }
}

/// A receiver that is busy or ill may take it later; one that says what is wrong with it never will.
fn refused(hook: &Hook<'_>, reply: &net::Reply) -> Failure {
    let said = admin::said(&reply.body);
    let what = format!("POST `{}` answers {}{said}", origin(hook.url), reply.status);
    match reply.status {
        408 | 425 | 429 | 500.. => Failure::transient(what),
        _ => Failure::last(what),
    }
}

/// A URL without its path.
fn origin(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    &url[..end]
}

fn request(
    hook: &Hook<'_>,
    name: &str,
    notice: &Notice,
    now: jiff::Timestamp,
    context: &Context,
) -> Result<net::Ask, Failure> {
    let body = json!({
        "type": "cutover.notice",
        "timestamp": now.to_string(),
        "data": {
            "run": context.run,
            "step": context.step,
            "subject": notice.subject,
            "text": notice.text,
            "html": notice.html(),
        },
    })
    .to_string();
    let mut ask = net::Ask::with_body(Method::POST, hook.url, "application/json", body);
    let second = now.as_second().to_string();
    if let Some(secret) = hook.secret {
        let signature = signature(&key(secret)?, name, &second, &ask.body);
        ask.headers.push(("webhook-signature".to_owned(), signature));
    }
    ask.headers.push(("webhook-id".to_owned(), name.to_owned()));
    ask.headers.push(("webhook-timestamp".to_owned(), second));
    Ok(ask)
}

fn key(secret: &str) -> Result<Vec<u8>, Failure> {
    match secret.strip_prefix("whsec_") {
        None => Ok(secret.as_bytes().to_vec()),
        Some(coded) => BASE64.decode(coded).map_err(|_| {
            Failure::last("the webhook's secret begins with `whsec_` and is not base64")
        }),
    }
}

/// `v1,` and the HMAC in base64.
fn signature(key: &[u8], name: &str, second: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for piece in [name.as_bytes(), b".", second.as_bytes(), b".", body] {
        context.update(piece);
    }
    format!("v1,{}", BASE64.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let said = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(said, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_path_may_be_a_password_and_is_not_shown() {
        assert_eq!(origin("https://hooks.example.org/T0/secret?x"), "https://hooks.example.org");
        assert_eq!(origin("http://h"), "http://h");
    }
}
