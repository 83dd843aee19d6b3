//! `cutover status`: where a run stands, from its journal alone.

use super::args::Status as Args;
use super::exit::Exit;
use super::out;
use super::problem::Problem;
use crate::event::Outcome;
use crate::journal::replay;
use crate::proof::window::{Back, Learned};
use crate::report::board::{View, frame};
use crate::run::{HoldCause, Run, Status};
use crate::runner::clock::Clock;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;

/// `status --json`: stable field names.
#[derive(Serialize)]
struct Json<'a> {
    run: &'a str,
    plan: &'a str,
    change: Option<&'a str>,
    rehearsal: bool,
    outcome: Option<Outcome>,
    held: bool,
    holds: Vec<JsonHold>,
    questions: Vec<JsonQuestion>,
    running: Vec<String>,
    failed: Vec<String>,
    steps: JsonSteps,
    records: u64,
    as_of: Timestamp,
}

#[derive(Serialize)]
struct JsonHold {
    hold: u64,
    by: String,
    reason: String,
}

#[derive(Serialize)]
struct JsonQuestion {
    question: u64,
    step: Option<String>,
    text: String,
    answers: Vec<&'static str>,
}

#[derive(Serialize)]
struct JsonSteps {
    total: usize,
    done: usize,
    out: usize,
}

pub(super) fn main(args: &Args) -> Result<Exit, Problem> {
    let replayed = replay::read(&args.target.dir()?)?;
    let run = &replayed.run;
    let header = &replayed.header;
    let now = Clock::system().now();
    if args.json {
        let plan = &replayed.plan;
        let json = Json {
            run: &header.run,
            plan: &plan.name,
            change: plan.change.as_deref(),
            rehearsal: header.options.rehearsal,
            outcome: run.outcome(),
            held: !run.holds().is_empty(),
            holds: holds(run),
            questions: questions(run),
            running: run.running().map(|job| run.graph().name(job.step)).collect(),
            failed: named(run, |status| matches!(status, Status::Failed(_) | Status::Doubt(_))),
            steps: JsonSteps {
                total: run.graph().len(),
                done: named(run, |status| status == Status::Done).len(),
                out: run.graph().steps().filter(|&step| run.is_out(step)).count(),
            },
            records: run.seq(),
            as_of: now,
        };
        let text = serde_json::to_string_pretty(&json).map_err(anyhow::Error::from)?;
        out(&format!("{text}\n"));
        return Ok(Exit::Done);
    }
    // On a pipe nothing is cut: somebody searches in it.
    let width = if std::io::stdout().is_terminal() {
        usize::from(console::Term::stdout().size().1).max(40)
    } else {
        usize::MAX
    };
    let lines = frame(&View {
        run,
        back: &Back::new(run.graph(), &Learned::default()),
        name: &header.run,
        rehearsal: header.options.rehearsal,
        shift: SignedDuration::from_secs(header.options.shift_s),
        now,
        gauges: &BTreeMap::new(),
        counts: &BTreeMap::new(),
        zone: replayed.plan.zones.last().cloned().unwrap_or(TimeZone::UTC),
        width,
        height: usize::MAX,
    });
    out(&format!("{}\n", lines.join("\n")));
    Ok(Exit::Done)
}

fn named(run: &Run, which: impl Fn(Status) -> bool) -> Vec<String> {
    let graph = run.graph();
    graph.steps().filter(|&step| which(run.status(step))).map(|step| graph.name(step)).collect()
}

fn holds(run: &Run) -> Vec<JsonHold> {
    run.holds()
        .iter()
        .map(|hold| {
            let (by, reason) = match &hold.cause {
                HoldCause::Person { who, reason } => (who.clone(), reason.clone()),
                HoldCause::Breach(provider) => {
                    let name = &run.graph().providers()[provider.index()].name;
                    ("guard".to_owned(), format!("`{name}` is breached"))
                }
                HoldCause::Question(question) => {
                    ("question".to_owned(), format!("question {question} is open"))
                }
            };
            JsonHold { hold: hold.id, by, reason }
        })
        .collect()
}

fn questions(run: &Run) -> Vec<JsonQuestion> {
    run.questions()
        .into_iter()
        .map(|question| JsonQuestion {
            question: question.id,
            step: question.step.map(|step| run.graph().name(step)),
            text: question.text,
            answers: question.answers.into_iter().map(crate::event::Answer::word).collect(),
        })
        .collect()
}
