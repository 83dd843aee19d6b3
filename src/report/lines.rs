//! One plain line per record, for pipes and logs.
//!
//! A line begins with the time and the record's number, so that it can be found in the journal.

use crate::event::{Back, Ending, Event, Job, Outcome, Record, Request, Timer, Verdict, Way};
use crate::graph::Graph;
use crate::revocation::{Entry, Said};
use jiff::tz::TimeZone;
use std::fmt::Write as _;

/// Column of the word that says what happened.
pub const TEXT_AT: usize = 16;

/// The line for a record, without a line end; times in `zone`.
///
/// Text that came from outside (failures, reasons, evidence) is shown with control characters
/// replaced: a terminal must not be steered by a plan or a server.
pub fn line(graph: &Graph, record: &Record, zone: &TimeZone) -> String {
    let at = record.at.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string();
    format!("{at} {:>5}  {}", record.seq, printable(&what(graph, record)))
}

/// Replaces control and direction-changing characters, which could steer or mislead a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn what(graph: &Graph, record: &Record) -> String {
    match &record.event {
        Event::Begun(header) => format!("run {} begun by {}", header.run, header.by.login),
        Event::Opened { epoch, pid, cut, .. } => {
            let mut text = format!("runner {epoch} opened it (pid {pid})");
            if *cut > 0 {
                let _ = write!(text, "; {cut} bytes of a torn tail were cut off");
            }
            text
        }
        Event::Started(job) => format!("{:<9} {}", begins(*job), named(graph, *job)),
        Event::Ended(job, ending) => ended(graph, *job, ending),
        Event::Due { timer, jumped } => due(graph, *timer, *jumped),
        Event::Verdict { provider, verdict, .. } => {
            let name = &graph.providers()[provider.index()].name;
            format!("{:<9} {name}{}", verdict_word(verdict), codes(verdict))
        }
        Event::Revocations { line, clear, .. } => {
            let name = graph.line_name(*line);
            match clear {
                true => format!("confirmed every revocation of {name}"),
                false => format!("revoking  a certificate of {name} is to be confirmed"),
            }
        }
        Event::Requested(person, request) => {
            format!("{:<9} {}", person.login, requested(graph, request))
        }
        Event::Closed(outcome) => format!("closed    {}", outcome_word(*outcome)),
    }
}

/// A line for an entry of the emergency lane; none for those that only repeat what is known.
pub fn lane(entry: &Entry) -> Option<String> {
    let text = match &entry.said {
        Said::Begun { .. } | Said::Published { .. } => return None,
        Said::Accepted(order) => format!(
            "revoke    {} of {} accepted ({}), asked by {}",
            order.certificate.serial, order.certificate.line, order.reason, order.by.login
        ),
        Said::Refused { order, why } => format!(
            "revoke    {} of {} refused: {why}",
            order.certificate.serial, order.certificate.line
        ),
        Said::Applied { certificate, site, absent, .. } => {
            let how = if *absent { "has no such row at" } else { "is revoked at" };
            format!("revoke    {} of {} {how} {site}", certificate.serial, certificate.line)
        }
        Said::Lapsed { certificate, provider, what } => format!(
            "revoke    {} of {}: {provider} does not publish it any more: {what}",
            certificate.serial, certificate.line
        ),
        Said::Confirmed { certificate, .. } => format!(
            "revoke    {} of {} confirmed by every serving provider",
            certificate.serial, certificate.line
        ),
    };
    Some(printable(&text))
}

fn begins(job: Job) -> &'static str {
    match job.way {
        Way::Do => "starts",
        Way::Undo => "undoes",
        Way::Check => "checks",
    }
}

fn named(graph: &Graph, job: Job) -> String {
    let name = graph.name(job.step);
    if job.attempt > 1 { format!("{name} (attempt {})", job.attempt) } else { name }
}

fn ended(graph: &Graph, job: Job, ending: &Ending) -> String {
    let name = named(graph, job);
    match (ending, job.way) {
        (Ending::Done(outputs), way) => {
            let word = match way {
                Way::Do => "done",
                Way::Undo => "undone",
                Way::Check => "is done",
            };
            let mut text = format!("{word:<9} {name}");
            for (key, value) in outputs {
                let _ = write!(text, " {key}={value}");
            }
            text
        }
        (Ending::NotDone, _) => format!("not done  {name}"),
        (Ending::Failed(failure), Way::Undo) => format!("UNDO FAILED {name}: {failure}"),
        (Ending::Failed(failure), _) => format!("FAILED    {name}: {failure}"),
        (Ending::Unknown(failure), _) => format!("IN DOUBT  {name}: {failure}"),
        (Ending::Stopped, _) => format!("stopped   {name}"),
        (Ending::Withdrawn, _) => format!("withdrawn {name}"),
    }
}

fn due(graph: &Graph, timer: Timer, jumped: bool) -> String {
    let what = match timer {
        Timer::Opens => "the window opens".to_owned(),
        Timer::Closes => "the window closes".to_owned(),
        Timer::NotBefore(step) => format!("the time of {} has come", graph.name(step)),
        Timer::Retry(step, _) => format!("{} may be tried again", graph.name(step)),
        Timer::Floor(step) => format!("{} has waited long for the live floor", graph.name(step)),
    };
    if jumped { format!("time      {what} (not waited for)") } else { format!("time      {what}") }
}

/// The verdict in one word, the same in lines, board and status page.
pub fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Unknown => "unknown",
        Verdict::Normal => "normal",
        Verdict::Degraded(_) => "degraded",
        Verdict::Down(_) => "DOWN",
        Verdict::Lying(_) => "LYING",
    }
}

fn codes(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Unknown | Verdict::Normal => String::new(),
        Verdict::Degraded(codes) | Verdict::Down(codes) | Verdict::Lying(codes) => {
            format!(": {}", codes.join(", "))
        }
    }
}

fn requested(graph: &Graph, request: &Request) -> String {
    match request {
        Request::Hold { reason } => format!("holds the run: {reason}"),
        Request::Release { hold: Some(hold) } => format!("releases hold {hold}"),
        Request::Release { hold: None } => "releases the run".to_owned(),
        Request::Approve { step, note } if note.is_empty() => {
            format!("approves {}", graph.name(*step))
        }
        Request::Approve { step, note } => format!("approves {}: {note}", graph.name(*step)),
        Request::Disapprove { step, reason } => {
            format!("says no to {}: {reason}", graph.name(*step))
        }
        Request::Answer { question, answer, note } => {
            let answer = answer.word();
            let colon = if note.is_empty() { "" } else { ": " };
            format!("answers question {question} with `{answer}`{colon}{note}")
        }
        Request::Claim { step } => format!("claims {}", graph.name(*step)),
        Request::Finish { step, evidence } if evidence.is_empty() => {
            format!("has done {}", graph.name(*step))
        }
        Request::Finish { step, evidence } => format!("has done {}: {evidence}", graph.name(*step)),
        Request::Fail { step, reason } => format!("could not do {}: {reason}", graph.name(*step)),
        Request::Retry { step } => format!("asks to retry {}", graph.name(*step)),
        Request::Skip { step, reason } => format!("skips {}: {reason}", graph.name(*step)),
        Request::Abort { reason } => format!("aborts the run: {reason}"),
        Request::Rollback { back, reason } => {
            let what = match back {
                Back::Run { before_too: false } => "the run".to_owned(),
                Back::Run { before_too: true } => "the run, phase before too".to_owned(),
                Back::Line(line) => format!("line {}", graph.line_name(*line)),
                Back::To(name) => format!("to checkpoint {name}"),
            };
            let colon = if reason.is_empty() { "" } else { ": " };
            format!("rolls back {what}{colon}{reason}")
        }
        Request::Interrupt => "interrupts the run".to_owned(),
    }
}

/// An outcome in words.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::RolledBack => "rolled back",
        Outcome::Stuck => "stuck: a person has to look",
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_terminal_is_not_steered_by_what_it_shows() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\td\u{7}"), "a\u{fffd}[2Jb\u{fffd}c d\u{fffd}");
    }
}
