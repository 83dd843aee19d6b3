//! The protected services: the guard's first verdicts, and how long their lists live.

use super::super::guards;
use super::estate::shown;
use super::{Row, Span, Subject};
use crate::event::Verdict;
use crate::executor::preflight::Seen;
use crate::guard::{First, Issuer, Protocol, Target, crl, first_verdicts};
use futures_util::future::join_all;
use jiff::Timestamp;
use std::time::Duration;

/// For the guard's first turn around its questions.
const PATIENCE: Duration = Duration::from_secs(15);
/// For one list.
const LIST_PATIENCE: Duration = Duration::from_secs(10);

/// Starts the guard once over everything that is protected, and fetches the lists.
pub(super) async fn first(subject: &Subject) -> Vec<Row> {
    let watched = guards::targets(&subject.graph, &subject.estate);
    if watched.is_empty() {
        return Vec::new();
    }
    let (providers, targets): (Vec<_>, Vec<Target>) = watched.into_iter().unzip();
    let serving: Vec<bool> = providers
        .iter()
        .map(|provider| subject.graph.providers()[provider.index()].serving_at_start)
        .collect();
    let lists = targets.iter().zip(&serving).filter(|(_, serving)| **serving);
    let lists = lists.filter(|(target, _)| target.protocol == Protocol::Crl);
    let lists = join_all(lists.map(|(target, _)| list(subject, target)));
    let (verdicts, lists) = tokio::join!(first_verdicts(targets.clone(), PATIENCE), lists);
    let mut rows = Vec::new();
    match verdicts {
        Ok(verdicts) => {
            rows.extend(verdicts.into_iter().zip(&serving).map(|(first, serving)| {
                let seen = judged(&first, *serving);
                Row::new("services", first.name, seen)
            }));
        }
        Err(error) => {
            // Each bad file has its own row, among the certificates.
            rows.push(Row::new("services", "guard", Seen::fault(error.to_string())));
        }
    }
    rows.extend(lists.into_iter().flatten());
    rows
}

/// What a first verdict means for a provider that clients are sent to, or are not sent to yet.
fn judged(first: &First, serving: bool) -> Seen {
    let codes = |codes: &[String]| codes.join(", ");
    match (&first.verdict, serving) {
        (Verdict::Normal, _) => Seen::ok(format!("normal, {} answers", first.answers)),
        (Verdict::Degraded(found), _) => {
            Seen::warning(format!("degraded ({}): {}", codes(found), first.why))
        }
        (Verdict::Lying(found), _) => {
            Seen::fault(format!("answers falsely ({}): {}", codes(found), first.why)).hint(
                "mend the provider; or the estate, if its certificates or sentinels are wrong",
            )
        }
        (Verdict::Down(found), true) => {
            Seen::fault(format!("down ({}): {}", codes(found), first.why))
                .hint("the plan begins with it serving: bring it up, or change `providers`")
        }
        (Verdict::Down(found), false) if found.iter().any(|code| is_silence(code)) => {
            Seen::warning(format!("nobody answers there ({}): {}", codes(found), first.why))
                .hint("clients are not sent there yet; it has to answer before it is enabled")
        }
        (Verdict::Down(found), false) if found.iter().all(|code| is_refusal(code)) => {
            Seen::ok(format!("not in service yet ({})", codes(found)))
        }
        (Verdict::Down(found), false) => Seen::warning(format!(
            "not in service yet, and answers wrongly ({}): {}",
            codes(found),
            first.why
        )),
        (Verdict::Unknown, true) => Seen::fault(format!("no verdict within {PATIENCE:?}")),
        (Verdict::Unknown, false) => Seen::warning(format!("no verdict within {PATIENCE:?}")),
    }
}

/// Whether a code says that nobody answers.
fn is_silence(code: &str) -> bool {
    code.ends_with("-unreachable") || code.ends_with("-slow")
}

/// Whether a code says that somebody is there who does not serve, and not that an answer is wrong.
fn is_refusal(code: &str) -> bool {
    code.ends_with("-http-status") || code.starts_with("ocsp-status-") || code == "seal-http"
}

/// When each list of a provider is due.
async fn list(subject: &Subject, target: &Target) -> Vec<Row> {
    let looks =
        target.issuers.iter().filter_map(|file| Issuer::read(file).ok()).map(|issuer| async move {
            let name = format!("{} of {}", target.name, issuer.stem);
            let seen = match crl::get(&target.url, &issuer, LIST_PATIENCE).await {
                Ok(list) => due(subject, list.len(), list.next_update()),
                Err(finding) => Seen::fault(finding.to_string()),
            };
            Row::new("lists", name, seen)
        });
    join_all(looks).await
}

/// A list that ends inside the window has to be renewed in the middle of the move. One that ends
/// before the window opens is renewed before it: that is looked at again on the day.
fn due(subject: &Subject, entries: usize, next: Option<i64>) -> Seen {
    let Some(next) = next.and_then(|next| Timestamp::from_second(next).ok()) else {
        return Seen::fault("it does not say when the next one is due");
    };
    let text = format!("{entries} entries, next due {}", shown(subject.graph.plan(), next));
    let Span { opens, closes } = subject.span();
    if next <= opens.max(subject.now) && next > subject.now {
        return Seen::ok(format!("{text}, before the window opens: look again on the day"));
    }
    if next <= closes {
        return Seen::fault(format!("{text}, before the window closes"))
            .hint("publish a new list shortly before the window");
    }
    Seen::ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::preflight::Level;

    #[test]
    fn who_does_not_serve_yet_may_refuse_but_not_be_silent_or_wrong() {
        let level = |codes: &[&str], serving: bool| {
            let codes = codes.iter().map(|&code| code.to_owned()).collect();
            let verdict = Verdict::Down(codes);
            judged(&First { name: "p".into(), verdict, answers: 0, why: "w".into() }, serving).level
        };
        assert_eq!(level(&["ocsp-status-try-later"], false), Level::Ok);
        assert_eq!(level(&["crl-http-status"], false), Level::Ok);
        assert_eq!(level(&["seal-http"], false), Level::Ok);
        for silent in ["ocsp-unreachable", "crl-slow", "seal-unreachable"] {
            assert_eq!(level(&[silent], false), Level::Warning, "{silent}");
        }
        assert_eq!(level(&["ocsp-status-try-later", "ocsp-slow"], false), Level::Warning);
        assert_eq!(level(&["ocsp-bad-signature"], false), Level::Warning);
        assert_eq!(level(&["ocsp-status-try-later"], true), Level::Fault);
    }
}
