//! What can be told of a plan's time, as `check` shows it: as text, and as data.

use super::board::grouped;
use crate::event::StepId;
use crate::graph::Graph;
use crate::proof::window::{InWindow, Outlook, Sources, Spread};
use crate::text::time::span;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use std::fmt::Write as _;

/// How many steps the end is said to hang on.
const HANGS_ON: usize = 5;

/// The window's part of the page: lines of a word and what is said of it.
pub fn text(graph: &Graph, outlook: &Outlook) -> String {
    let mut out = String::new();
    for (word, what) in rows(graph, outlook) {
        let _ = writeln!(out, "  {word:<11} {what}");
    }
    out
}

/// The same, as rows of a word and what is said of it.
pub fn rows(graph: &Graph, outlook: &Outlook) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut say = |word: &str, what: &str| out.push((word.to_owned(), what.to_owned()));
    if let Some(fit) = &outlook.window {
        let zone = graph.plan().window.as_ref().map_or(TimeZone::UTC, |window| window.zone.clone());
        ends(outlook, fit, &zone, &mut say);
        hangs_on(graph, fit, &mut say);
        turning(graph, fit, &zone, &mut say);
    } else {
        say("duration", &format!("{} expected, nothing failing", span(outlook.ends)));
    }
    let path = named(graph, &outlook.critical_path);
    say("critical", &path.join(", "));
    say("durations", &from(&outlook.sources));
    out
}

fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%H:%M").to_string()
}

fn percent(share: f64) -> String {
    // Nearly all is not all.
    match share * 100.0 {
        all if all >= 100.0 => "100 %".to_owned(),
        part => format!("{:.1} %", part.min(99.9)),
    }
}

fn ends(outlook: &Outlook, fit: &InWindow, zone: &TimeZone, say: &mut impl FnMut(&str, &str)) {
    let (opens, closes, deadline) =
        (clock(fit.opens, zone), clock(fit.closes, zone), clock(fit.deadline, zone));
    let at = |time: SignedDuration| clock(fit.opens.checked_add(time).unwrap_or(fit.opens), zone);
    let expected = at(outlook.ends);
    say("window", &format!("{opens} to {closes}, to end by {deadline}; expected end {expected}"));
    let fewer = if fit.executions < fit.wanted {
        format!(" (not {}: the plan is large)", grouped(u64::from(fit.wanted)))
    } else {
        String::new()
    };
    let count = grouped(u64::from(fit.executions));
    let of = format!("{count} simulated executions{fewer}, seed {}", fit.seed);
    match fit.end {
        Some(Spread { p50, p90, p99 }) => {
            let (p50, p90, p99) = (at(p50), at(p90), at(p99));
            say("", &format!("half end by {p50}, 90 % by {p90}, 99 % by {p99} ({of})"));
        }
        None => say("", &format!("none of {of} completes")),
    }
    let chance = percent(fit.chance());
    if fit.measured {
        say("odds", &format!("{chance} to complete by {deadline}"));
    } else {
        let why = "durations are guesses, so this share is no odds";
        say("", &format!("{chance} of them complete by {deadline}; {why}"));
    }
    if fit.rolled_back + fit.held + fit.without_lines > 0 {
        let lines = match (fit.without_lines, fit.without_lines_inside) {
            (0, _) => String::new(),
            (all, inside) => format!(
                "{} complete without a line or more, rolled back alone, {} of them by {deadline}; ",
                grouped(u64::from(all)),
                grouped(u64::from(inside))
            ),
        };
        let what = format!(
            "{lines}{} roll back, {} of them by {deadline}; {} wait for people",
            grouped(u64::from(fit.rolled_back)),
            grouped(u64::from(fit.rolled_back_inside)),
            grouped(u64::from(fit.held))
        );
        say("", &what);
    }
}

fn hangs_on(graph: &Graph, fit: &InWindow, say: &mut impl FnMut(&str, &str)) {
    let steps = fit.criticality.iter().take(HANGS_ON);
    let steps = steps.map(|(step, share)| format!("{} {}", graph.name(*step), percent(*share)));
    say("hangs on", &steps.collect::<Vec<_>>().join(", "));
}

fn turning(graph: &Graph, fit: &InWindow, zone: &TimeZone, say: &mut impl FnMut(&str, &str)) {
    if let Some(worst) = fit.turn_back.iter().min_by_key(|at| (at.margin, at.at)) {
        let (by, name) = (clock(worst.by, zone), graph.name(worst.step));
        let takes = span(worst.rollback);
        let margin = if worst.margin.is_negative() {
            format!("TOO LATE by {}", span(worst.margin.abs()))
        } else {
            format!("{} to spare", span(worst.margin))
        };
        say("turn back", &format!("by {by} from `{name}` on, a rollback of {takes}: {margin}"));
    }
    for go in &fit.latest_go {
        let (p50, p99) = (clock(go.p50, zone), clock(go.p99, zone));
        let name = graph.name(go.gate);
        say(
            "latest go",
            &format!("`{name}` by {p99}; after {p50} more executions end late than in time"),
        );
    }
}

fn from(sources: &Sources) -> String {
    let mut out = format!("{} steps estimated", sources.estimated);
    if sources.unknown > 0 {
        let _ = write!(out, ", {} unknown and counted as nothing", sources.unknown);
    }
    if !sources.runs.is_empty() {
        let runs = sources.runs.iter().map(|run| {
            let rehearsal = if run.rehearsal { ", a rehearsal: not the day's" } else { "" };
            let faults = if run.faults { ", faults put in" } else { "" };
            format!("{} from `{}`{rehearsal}{faults}", run.durations, run.run)
        });
        let runs: Vec<String> = runs.collect();
        let _ = write!(out, "; {} measured ({})", sources.measured, runs.join("; "));
    }
    out
}

fn named(graph: &Graph, steps: &[StepId]) -> Vec<String> {
    steps.iter().map(|step| graph.name(*step)).collect()
}

/// The same as data: moments as instants, durations in seconds, shares from 0 to 1.
#[derive(Serialize)]
pub struct Json {
    expected_s: i64,
    critical_path: Vec<String>,
    window: Option<JsonWindow>,
    sources: JsonSources,
}

#[derive(Serialize)]
struct JsonWindow {
    opens: Timestamp,
    closes: Timestamp,
    deadline: Timestamp,
    expected_end: Timestamp,
    seed: u64,
    executions: u32,
    executions_wanted: u32,
    measured: bool,
    end: Option<JsonSpread>,
    chance: f64,
    completed: u32,
    inside: u32,
    rolled_back: u32,
    rolled_back_inside: u32,
    without_lines: u32,
    without_lines_inside: u32,
    held: u32,
    criticality: Vec<JsonShare>,
    turn_back: Vec<JsonTurnBack>,
    no_way_back: Vec<String>,
    latest_go: Vec<JsonGo>,
}

#[derive(Serialize)]
struct JsonSpread {
    p50: Timestamp,
    p90: Timestamp,
    p99: Timestamp,
}

#[derive(Serialize)]
struct JsonShare {
    step: String,
    share: f64,
}

#[derive(Serialize)]
struct JsonTurnBack {
    step: String,
    at: Timestamp,
    by: Timestamp,
    rollback_s: i64,
    margin_s: i64,
}

#[derive(Serialize)]
struct JsonGo {
    gate: String,
    #[serde(flatten)]
    by: JsonSpread,
}

#[derive(Serialize)]
struct JsonSources {
    measured: usize,
    estimated: usize,
    unknown: usize,
    runs: Vec<JsonRun>,
}

#[derive(Serialize)]
struct JsonRun {
    run: String,
    rehearsal: bool,
    faults: bool,
    durations: usize,
}

/// The outlook as data.
pub fn json(graph: &Graph, outlook: &Outlook) -> Json {
    let runs = outlook.sources.runs.iter().map(|run| JsonRun {
        run: run.run.clone(),
        rehearsal: run.rehearsal,
        faults: run.faults,
        durations: run.durations,
    });
    Json {
        expected_s: outlook.ends.as_secs(),
        critical_path: named(graph, &outlook.critical_path),
        window: outlook.window.as_ref().map(|fit| json_window(graph, outlook, fit)),
        sources: JsonSources {
            measured: outlook.sources.measured,
            estimated: outlook.sources.estimated,
            unknown: outlook.sources.unknown,
            runs: runs.collect(),
        },
    }
}

fn json_window(graph: &Graph, outlook: &Outlook, fit: &InWindow) -> JsonWindow {
    let at = |time: SignedDuration| fit.opens.checked_add(time).unwrap_or(fit.opens);
    let share =
        |(step, share): &(StepId, f64)| JsonShare { step: graph.name(*step), share: *share };
    let turns = fit.turn_back.iter().map(|it| JsonTurnBack {
        step: graph.name(it.step),
        at: at(it.at),
        by: it.by,
        rollback_s: it.rollback.as_secs(),
        margin_s: it.margin.as_secs(),
    });
    let gates = fit.latest_go.iter().map(|go| JsonGo {
        gate: graph.name(go.gate),
        by: JsonSpread { p50: go.p50, p90: go.p90, p99: go.p99 },
    });
    JsonWindow {
        opens: fit.opens,
        closes: fit.closes,
        deadline: fit.deadline,
        expected_end: at(outlook.ends),
        seed: fit.seed,
        executions: fit.executions,
        executions_wanted: fit.wanted,
        measured: fit.measured,
        end: fit.end.map(|it| JsonSpread { p50: at(it.p50), p90: at(it.p90), p99: at(it.p99) }),
        chance: fit.chance(),
        completed: fit.completed,
        inside: fit.inside,
        rolled_back: fit.rolled_back,
        rolled_back_inside: fit.rolled_back_inside,
        without_lines: fit.without_lines,
        without_lines_inside: fit.without_lines_inside,
        held: fit.held,
        criticality: fit.criticality.iter().map(share).collect(),
        turn_back: turns.collect(),
        no_way_back: fit.no_way_back().map(|it| graph.name(it.step)).collect(),
        latest_go: gates.collect(),
    }
}
