//! The status page: what customers may know of a run, and nothing else.
//!
//! [`StatusPage`] is the whole list of what is published: a field that is not here cannot leak. It is
//! written as JSON for machines and as one self-contained HTML page for people.

use crate::action::Action;
use crate::event::{LineId, Outcome, StepId, Verdict};
use crate::plan::{Kind, Work};
use crate::run::{Run, Status};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use maud::{DOCTYPE, PreEscaped, html};
use serde::Serialize;

/// Everything that the public may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusPage {
    /// The plan's name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// A rehearsal says so.
    pub rehearsal: bool,
    /// When the maintenance begins and ends, if it has a window.
    pub opens: Option<Timestamp>,
    /// When it is expected to end.
    pub expected_end: Option<Timestamp>,
    /// Each product line.
    pub lines: Vec<LineStatus>,
    /// Each protected service.
    pub services: Vec<ServiceStatus>,
    /// When this was true.
    pub as_of: Timestamp,
}

/// Where the maintenance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not begun.
    Scheduled,
    /// Under way.
    InProgress,
    /// All is done.
    Completed,
    /// Ended as it was before.
    Postponed,
}

/// A product line, for customers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineStatus {
    /// Its name.
    pub line: String,
    /// Certificate ordering, order checking and fulfilment.
    pub ordering: Ordering,
}

/// Whether orders are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// As usual.
    Open,
    /// Closed; the APIs answer 404.
    Closed,
}

/// A protected service, for customers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// `ocsp`, `crl`, `seal`.
    pub service: String,
    /// What clients meet.
    pub state: ServiceState,
}

/// What clients of a protected service meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Answers normally.
    Normal,
    /// Not measured at this moment (a runner has only just begun, or is not running).
    NotMeasured,
    /// Some clients get no right answer.
    Disrupted,
}

impl StatusPage {
    /// The page for a run at a moment.
    pub fn of(run: &Run, shift: SignedDuration, rehearsal: bool, now: Timestamp) -> Self {
        let graph = run.graph();
        let plan = graph.plan();
        let moved = |at: Timestamp| at.checked_add(shift).unwrap_or(at);
        let window = plan.window.as_ref();
        let lines = (0..graph.line_count())
            .map(|index| {
                let line = LineId(u32::try_from(index).unwrap_or(u32::MAX));
                LineStatus { line: graph.line_name(line).to_owned(), ordering: ordering(run, line) }
            })
            .collect();
        Self {
            name: plan.name.clone(),
            state: state(run),
            rehearsal,
            opens: window.map(|window| moved(window.opens)),
            expected_end: window.map(|window| moved(window.closes)),
            lines,
            services: services(run),
            as_of: now,
        }
    }

    /// One self-contained HTML page: no script, nothing loaded from elsewhere.
    pub fn html(&self, zones: &[TimeZone]) -> String {
        let shown = |at: Timestamp| times(at, zones);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="refresh" content="30";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    title { (self.name) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.name) @if self.rehearsal { " " small { "rehearsal" } } }
                    p.state { (self.state.sentence()) }
                    @if let (Some(opens), Some(end)) = (self.opens, self.expected_end) {
                        dl {
                            dt { "begins" } dd { (shown(opens)) }
                            dt { "expected end" } dd { (shown(end)) }
                        }
                    }
                    @if !self.services.is_empty() {
                        table {
                            caption { "Revocation and seal services" }
                            @for service in &self.services {
                                tr { th scope="row" { (service.service.to_uppercase()) } td class=(service.state.class()) { (service.state.sentence()) } }
                            }
                        }
                    }
                    @if !self.lines.is_empty() {
                        table {
                            caption { "Ordering, order checking and fulfilment" }
                            @for line in &self.lines {
                                tr { th scope="row" { (line.line) } td class=(line.ordering.class()) { (line.ordering.sentence()) } }
                            }
                        }
                    }
                    footer { "as of " (shown(self.as_of)) }
                }
            }
        }
        .into_string()
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.5rem}small{font-size:.9rem;color:#6a4b00;border:1px solid;border-radius:.3rem;padding:.1rem .4rem}\
.state{font-size:1.15rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#57606a}dd{margin:0}\
table{border-collapse:collapse;width:100%;margin:1.5rem 0}caption{text-align:left;font-weight:600;padding-bottom:.3rem}\
th,td{text-align:left;padding:.35rem .6rem;border-top:1px solid #d0d7de;font-weight:400}\
td.good{color:#116329}td.closed{color:#6a4b00}td.bad{color:#a40e26;font-weight:600}footer{color:#57606a;font-size:.9rem}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}td.good{color:#56d364}td.closed{color:#e3b341}td.bad{color:#ff7b72}th,td{border-color:#30363d}dt,footer{color:#9198a1}small{color:#e3b341}}";

impl State {
    fn sentence(self) -> &'static str {
        match self {
            Self::Scheduled => "The maintenance is scheduled and has not begun.",
            Self::InProgress => "The maintenance is in progress.",
            Self::Completed => "The maintenance is completed.",
            Self::Postponed => {
                "The maintenance has ended and is postponed; services are as before."
            }
        }
    }
}

impl Ordering {
    fn sentence(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed for maintenance",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Open => "good",
            Self::Closed => "closed",
        }
    }
}

impl ServiceState {
    fn sentence(self) -> &'static str {
        match self {
            Self::Normal => "operates normally",
            Self::NotMeasured => "not measured at this moment",
            Self::Disrupted => "disrupted; we are working on it",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Normal => "good",
            Self::NotMeasured => "closed",
            Self::Disrupted => "bad",
        }
    }
}

fn times(at: Timestamp, zones: &[TimeZone]) -> String {
    let utc = [TimeZone::UTC];
    let zones = if zones.is_empty() { &utc[..] } else { zones };
    let shown: Vec<String> = zones
        .iter()
        .map(|zone| at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string())
        .collect();
    shown.join(" · ")
}

fn state(run: &Run) -> State {
    match run.outcome() {
        Some(Outcome::Completed) => return State::Completed,
        Some(Outcome::RolledBack) => return State::Postponed,
        Some(Outcome::Stuck) => return State::InProgress,
        None => {}
    }
    let graph = run.graph();
    let begun = graph.steps().any(|step| {
        graph.phase(step) != crate::plan::Phase::Before && run.status(step) != Status::Clean
    });
    if begun { State::InProgress } else { State::Scheduled }
}

/// Closed from the begin of the first step that closes the line's edge until a reopen of it (or the
/// undo of the closing) has ended.
fn ordering(run: &Run, line: LineId) -> Ordering {
    let graph = run.graph();
    let concerns = |step: StepId| graph.line(step).is_none_or(|own| own == line);
    let closed = graph
        .steps()
        .filter(|&step| concerns(step) && closes_an_edge(run, step))
        .any(|step| run.status(step) != Status::Clean);
    let reopened = graph
        .steps()
        .filter(|&step| concerns(step) && graph.kind(step) == Kind::Reopen)
        .any(|step| run.status(step) == Status::Done);
    if closed && !reopened { Ordering::Closed } else { Ordering::Open }
}

fn closes_an_edge(run: &Run, step: StepId) -> bool {
    matches!(&run.graph().def(step).work, Work::Act { act: Action::EdgeClose(_), .. })
}

fn services(run: &Run) -> Vec<ServiceStatus> {
    let graph = run.graph();
    graph
        .plan()
        .protect
        .iter()
        .enumerate()
        .map(|(index, protect)| {
            let state = graph
                .services()
                .iter()
                .filter(|service| service.protect as usize == index)
                .map(|service| {
                    let serving: Vec<_> = service
                        .providers
                        .iter()
                        .filter(|&&provider| run.is_up_in_plan(provider))
                        .map(|&provider| run.verdict(provider).0)
                        .collect();
                    service_state(&serving, protect.at_least)
                })
                .max()
                .unwrap_or(ServiceState::NotMeasured);
            ServiceStatus { service: protect.service.value.clone(), state }
        })
        .collect()
}

fn service_state(serving: &[&Verdict], at_least: u32) -> ServiceState {
    let at_least = at_least as usize;
    let normal = serving.iter().filter(|verdict| verdict.serves()).count();
    let bad = serving
        .iter()
        .filter(|verdict| matches!(verdict, Verdict::Down(_) | Verdict::Lying(_)))
        .count();
    if serving.iter().any(|verdict| matches!(verdict, Verdict::Lying(_))) {
        ServiceState::Disrupted
    } else if normal >= at_least {
        ServiceState::Normal
    } else if bad > 0 && serving.len() - bad < at_least {
        ServiceState::Disrupted
    } else {
        ServiceState::NotMeasured
    }
}
