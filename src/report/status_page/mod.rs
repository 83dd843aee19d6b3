//! The status page: what customers may know of a run, and nothing else.
//!
//! [`StatusPage`] is the whole list of what is published: a field that is not here cannot leak. It is
//! written as JSON for machines and as one self-contained HTML page (`html`) for people.
//!
//! Not known here: the change number, steps, providers, people, reasons of a hold or a rollback.

mod html;
#[cfg(test)]
mod tests;

use crate::action::Action;
use crate::event::{LineId, Outcome, StepId, Verdict, Way};
use crate::graph::Graph;
use crate::plan::template::Template;
use crate::plan::{Kind, Phase, Work};
use crate::run::{Run, Status};
use jiff::{SignedDuration, Timestamp};
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
    /// When the maintenance begins, if it has a window.
    pub opens: Option<Timestamp>,
    /// When it is expected to end: the end of its window, as announced.
    pub expected_end: Option<Timestamp>,
    /// It goes on though its window is over.
    pub overdue: bool,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What is closed while a line's ordering is closed, by the edge's names.
    pub closed_routes: Vec<String>,
    /// What the closed routes' APIs answer, if all of them answer alike.
    pub closed_status: Option<u16>,
    /// Each product line.
    pub lines: Vec<LineStatus>,
    /// Each protected service.
    pub services: Vec<ServiceStatus>,
    /// When this was true.
    pub as_of: Timestamp,
}

/// Where the maintenance, or a line's part in it, stands.
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
    /// Its name in the plan.
    pub line: String,
    /// Its name for people: the line's fact `title`, else its name.
    pub title: String,
    /// Its part in the maintenance.
    pub state: State,
    /// Whether its closed routes take requests.
    pub ordering: Ordering,
    /// Whether orders in its queue are processed; none for a line whose queue is not paused.
    pub processing: Option<Processing>,
}

/// Whether orders are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// As usual.
    Open,
    /// Closed for the maintenance.
    Closed,
}

/// What becomes of orders that were submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Processing {
    /// As on any other day.
    AsUsual,
    /// They are kept, and processed later.
    Paused,
    /// Those from before are being processed, oldest first.
    CatchingUp,
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

/// The steps of a graph that a customer notices, found once: a page is made several times a second.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    lines: Vec<LineMarks>,
    routes: Vec<String>,
    answers: Option<u16>,
    window: Vec<StepId>,
}

/// Of one line.
#[derive(Clone, Debug, Default)]
struct LineMarks {
    all: Vec<StepId>,
    close: Vec<StepId>,
    reopen: Vec<StepId>,
    pause: Vec<StepId>,
    resume: Vec<StepId>,
}

impl Marks {
    /// Finds them.
    pub fn of(graph: &Graph) -> Self {
        let mut marks =
            Self { lines: vec![LineMarks::default(); graph.line_count()], ..Self::default() };
        let mut answers = Vec::new();
        for step in graph.steps() {
            if graph.phase(step) != Phase::Before {
                marks.window.push(step);
            }
            if let Some(line) = graph.line(step) {
                marks.lines[line.index()].all.push(step);
            }
            let Work::Act { act, .. } = &graph.def(step).work else { continue };
            let (line, list): (_, fn(&mut LineMarks) -> &mut Vec<StepId>) = match act {
                Action::EdgeClose(close) => {
                    marks
                        .routes
                        .extend(close.routes.iter().filter_map(|it| filled(graph, step, it)));
                    answers.push(close.status);
                    (Some(&close.line), |it| &mut it.close)
                }
                Action::OrdersPause(pause) => (Some(&pause.line), |it| &mut it.pause),
                Action::OrdersResume(resume) => (Some(&resume.line), |it| &mut it.resume),
                Action::EdgeOpen(open) if graph.kind(step) == Kind::Reopen => {
                    (Some(&open.line), |it| &mut it.reopen)
                }
                _ if graph.kind(step) == Kind::Reopen => (None, |it| &mut it.reopen),
                _ => continue,
            };
            marks.put(graph, step, line, list);
        }
        marks.routes = in_written_order(marks.routes);
        answers.dedup();
        marks.answers = answers.first().copied().filter(|_| answers.len() == 1);
        marks
    }

    /// A step without a line, of its own or in its arguments, concerns every line.
    fn put(
        &mut self,
        graph: &Graph,
        step: StepId,
        named: Option<&Template>,
        list: fn(&mut LineMarks) -> &mut Vec<StepId>,
    ) {
        let named = || graph.find_line(&filled(graph, step, named?)?);
        match graph.line(step).or_else(named) {
            Some(line) => list(&mut self.lines[line.index()]).push(step),
            None => self.lines.iter_mut().for_each(|line| list(line).push(step)),
        }
    }
}

fn filled(graph: &Graph, step: StepId, text: &Template) -> Option<String> {
    graph.fill(step, text, &|_| None).ok()
}

/// Each name once, where it came first.
fn in_written_order(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

impl StatusPage {
    /// The page for a run at a moment.
    pub fn of(
        run: &Run,
        marks: &Marks,
        shift: SignedDuration,
        rehearsal: bool,
        now: Timestamp,
    ) -> Self {
        let plan = run.graph().plan();
        let moved = |at: Timestamp| at.checked_add(shift).unwrap_or(at);
        let window = plan.window.as_ref();
        let expected_end = window.map(|window| moved(window.closes));
        let state = state(run, marks);
        let over = matches!(state, State::Completed | State::Postponed);
        Self {
            name: plan.name.clone(),
            state,
            rehearsal,
            opens: window.map(|window| moved(window.opens)),
            expected_end,
            overdue: state == State::InProgress && expected_end.is_some_and(|end| now > end),
            ended: over.then_some(now),
            closed_routes: marks.routes.clone(),
            closed_status: marks.answers,
            lines: lines(run, marks, state),
            services: services(run),
            as_of: now,
        }
    }
}

fn lines(run: &Run, marks: &Marks, whole: State) -> Vec<LineStatus> {
    let out: Vec<LineId> = run.lines_out().collect();
    let moved: Vec<LineId> = run.lines_moved().collect();
    let written = run.graph().plan().lines.iter().zip(&marks.lines);
    let lines = (0_u32..).zip(written).map(|(index, (written, marks))| {
        let line = LineId(index);
        let begun = |step: &StepId| run.status(*step) != Status::Clean;
        let name = &written.name.value;
        LineStatus {
            line: name.clone(),
            title: written.facts.get("title").unwrap_or(name).clone(),
            state: match whole {
                State::Postponed => State::Postponed,
                _ if out.contains(&line) => State::Postponed,
                State::Completed => State::Completed,
                _ if moved.contains(&line) => State::Completed,
                _ if marks.all.iter().any(begun) => State::InProgress,
                // It is as it was, while others are still on their way back.
                _ if run.is_rolling_back() => State::Postponed,
                _ => State::Scheduled,
            },
            ordering: ordering(run, marks),
            processing: processing(run, marks),
        }
    });
    lines.collect()
}

fn state(run: &Run, marks: &Marks) -> State {
    match run.outcome() {
        Some(Outcome::Completed) => return State::Completed,
        Some(Outcome::RolledBack) => return State::Postponed,
        Some(Outcome::Stuck) => return State::InProgress,
        None => {}
    }
    let begun = marks.window.iter().any(|&step| run.status(step) != Status::Clean);
    if begun { State::InProgress } else { State::Scheduled }
}

/// Closed from the begin of the first step that closes the line's edge until every reopen of it (or
/// the undo of the closing) has ended.
fn ordering(run: &Run, marks: &LineMarks) -> Ordering {
    let closed = marks.close.iter().any(|&step| run.status(step) != Status::Clean);
    if closed && !ended(run, &marks.reopen) { Ordering::Closed } else { Ordering::Open }
}

fn processing(run: &Run, marks: &LineMarks) -> Option<Processing> {
    let runs = |steps: &[StepId], way: Way| {
        let so =
            |step: &StepId| matches!(run.status(*step), Status::Running(job) if job.way == way);
        steps.iter().any(so)
    };
    let paused = marks.pause.iter().any(|&step| run.status(step) != Status::Clean);
    if marks.pause.is_empty() {
        None
    } else if !paused || ended(run, &marks.resume) {
        Some(Processing::AsUsual)
    } else if runs(&marks.resume, Way::Do) || runs(&marks.pause, Way::Undo) {
        Some(Processing::CatchingUp)
    } else {
        Some(Processing::Paused)
    }
}

fn ended(run: &Run, steps: &[StepId]) -> bool {
    !steps.is_empty() && steps.iter().all(|&step| run.status(step) == Status::Done)
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
