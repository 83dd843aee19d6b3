//! The board on a terminal: one frame of text lines per look at the run.
//!
//! [`frame`] is a pure function of what it is shown, so that it can be read in a snapshot; the shell
//! draws it at most four times a second. No meaning is carried by colour: states are words. What does
//! not fit is folded and counted, what a person is asked never.

pub(crate) mod fit;
#[cfg(test)]
mod tests;
mod waiting;

use super::lines::{outcome_word, printable};
use crate::event::{Job, LineId, StepId, Verdict, Way};
use crate::plan::Work;
use crate::proof::window::Back;
use crate::run::{Goal, HoldCause, Run, Status};
pub use crate::text::time::span;
use fit::{Part, Segments, columns, wrapped};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::collections::BTreeMap;

/// How far a running job is, as its executor said last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauge {
    /// What it does just now.
    pub doing: String,
    /// Rows done and in all.
    pub rows: Option<(u64, u64)>,
    /// Bytes done and in all.
    pub bytes: Option<(u64, u64)>,
    /// When the attempt began.
    pub since: Option<Timestamp>,
}

/// What the guard counted for a protected service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Count {
    /// Questions answered rightly.
    pub answers: u64,
    /// 99th percentile of the time to an answer, milliseconds.
    pub p99_ms: f64,
}

/// What the board is drawn from.
pub struct View<'a> {
    /// The run.
    pub run: &'a Run,
    /// The way back through its graph.
    pub back: &'a Back,
    /// Its name.
    pub name: &'a str,
    /// A rehearsal says so.
    pub rehearsal: bool,
    /// Added to the plan's window.
    pub shift: SignedDuration,
    /// Now.
    pub now: Timestamp,
    /// Running jobs.
    pub gauges: &'a BTreeMap<StepId, Gauge>,
    /// By service name (`ocsp`).
    pub counts: &'a BTreeMap<String, Count>,
    /// Zone of the clock.
    pub zone: TimeZone,
    /// Columns.
    pub width: usize,
    /// Rows at most.
    pub height: usize,
}

/// The lines of one frame, none wider than `width`, no more than `height`.
pub fn frame(view: &View<'_>) -> Vec<String> {
    let tally = Tally::of(view.run);
    let mut head = title(view);
    head.extend(clock(view, &tally));
    head.extend(asked(view));
    let parts = [
        Part::new(services(view), 1, "service", ""),
        Part::new(lines(view, &tally), 2, "line", ""),
        Part::new(running(view), 3, "step", " under way"),
        waiting::part(view),
    ];
    let mut out = fit::stacked(head, parts, view.height);
    for line in &mut out {
        *line = console::truncate_str(&printable(line), view.width, "…").into_owned();
    }
    out
}

/// How many steps stand where, found in one pass: a frame is drawn four times a second.
struct Tally {
    all: (usize, usize),
    lines: Vec<(usize, usize)>,
    to_undo: usize,
}

impl Tally {
    fn of(run: &Run) -> Self {
        let graph = run.graph();
        let lines = vec![(0, 0); graph.line_count()];
        let mut tally = Self { all: (0, 0), lines, to_undo: 0 };
        for step in graph.steps() {
            let status = run.status(step);
            tally.to_undo += usize::from(status != Status::Clean && run.goal(step) != Goal::Done);
            if run.is_out(step) {
                continue;
            }
            let line = graph.line(step).map(|line| &mut tally.lines[line.index()]);
            for (done, all) in line.into_iter().chain([&mut tally.all]) {
                *all += 1;
                *done += usize::from(status == Status::Done);
            }
        }
        tally
    }
}

fn title(view: &View<'_>) -> Vec<String> {
    let plan = view.run.graph().plan();
    let mut title = Segments::new(plan.name.clone());
    title.extend(plan.change.clone());
    title.push(view.name.to_owned());
    title.extend(view.rehearsal.then(|| "rehearsal".to_owned()));
    title.lines(view.width)
}

fn clock(view: &View<'_>, tally: &Tally) -> Vec<String> {
    let now = view.now.to_zoned_datetime(view.zone.clone());
    let mut clock = Segments::new(now.strftime("%H:%M:%S %Z").to_string());
    if let Some(window) = view.run.graph().plan().window.as_ref() {
        let moved = |time: Timestamp| time.checked_add(view.shift).unwrap_or(time);
        let (opens, closes) = (moved(window.opens), moved(window.closes));
        let (from, to) = (hour(opens, &view.zone), hour(closes, &view.zone));
        clock.push(format!("window {from} to {to}"));
        clock.push(if view.now < opens {
            format!("opens in {}", span(opens.duration_since(view.now)))
        } else if view.now < closes {
            format!("{} left", span(closes.duration_since(view.now)))
        } else {
            format!("closed {} ago", span(view.now.duration_since(closes)))
        });
        clock.push(match view.back.by(view.run, closes, window.reserve) {
            Some(by) => format!("turn back by {}", hour(by, &view.zone)),
            None => "past the point of no return".to_owned(),
        });
    }
    let (done, all) = tally.all;
    clock.push(format!("{done} of {} done", counted(all, "step")));
    if let Some(outcome) = view.run.outcome() {
        clock.push(outcome_word(outcome).to_owned());
    } else if view.run.is_rolling_back() {
        clock.push(format!("ROLLING BACK, {} to undo", counted(tally.to_undo, "step")));
    }
    clock.lines(view.width)
}

/// What a person is asked, or has to know before anything else; never folded.
fn asked(view: &View<'_>) -> Vec<String> {
    let held = view.run.holds().iter().filter_map(|hold| match &hold.cause {
        HoldCause::Person { who, reason } if reason.is_empty() => {
            Some(format!("HELD by {who} · `cutover release` goes on"))
        }
        HoldCause::Person { who, reason } => {
            Some(format!("HELD by {who}: {reason} · `cutover release` goes on"))
        }
        HoldCause::Breach(provider) => {
            let name = &view.run.graph().providers()[provider.index()].name;
            Some(format!("HELD: {name} is breached · `cutover release` when it is normal again"))
        }
        HoldCause::Question(_) => None,
    });
    let questions = view.run.questions().into_iter().map(|question| {
        let answers: Vec<_> = question.answers.iter().map(|&answer| answer.word()).collect();
        let (id, text) = (question.id, question.text);
        format!("QUESTION {id}: {text} · `cutover answer RUN {id} {}`", answers.join("|"))
    });
    held.chain(questions).flat_map(|text| wrapped(&printable(&text), view.width, 2)).collect()
}

fn services(view: &View<'_>) -> Vec<String> {
    let protect = &view.run.graph().plan().protect;
    let name = columns(protect.iter().map(|protect| protect.service.value.as_str()), 4, 16);
    let rows = protect.iter().enumerate().map(|(index, protect)| {
        let service = protect.service.to_uppercase();
        let mut row = Segments::new(format!("{service:<name$}  {}", standing(view.run, index)));
        // Only a living guard has counts.
        if let Some(count) = view.counts.get(&protect.service.value) {
            row.push(format!("{} answers", grouped(count.answers)));
            row.push(format!("p99 {:.0} ms", count.p99_ms));
        }
        row.cut(view.width)
    });
    rows.collect()
}

/// `11 of 12 normal, 1 degraded: ocsp@from/ocsp-1[thawte]`
fn standing(run: &Run, protect: usize) -> String {
    let graph = run.graph();
    let mut up = 0;
    let mut normal = 0;
    let mut others: [(u32, Option<&str>); 5] = Default::default();
    for service in graph.services().iter().filter(|it| it.protect as usize == protect) {
        for &provider in service.providers.iter().filter(|&&it| run.is_up_in_plan(it)) {
            let verdict = run.verdict(provider).0;
            up += 1;
            normal += u32::from(*verdict == Verdict::Normal);
            let (count, first) = &mut others[usize::from(badness(verdict))];
            *count += 1;
            first.get_or_insert(&graph.providers()[provider.index()].name);
        }
    }
    let mut text = format!("{normal:>3} of {up:<3} normal");
    let words = [(4, "LYING"), (3, "DOWN"), (2, "degraded")];
    for (place, word) in words {
        match others[place] {
            (0, _) | (_, None) => {}
            (1, Some(name)) => text.push_str(&format!(", 1 {word}: {name}")),
            (count, Some(name)) => text.push_str(&format!(", {count} {word}: {name}, …")),
        }
    }
    if others[1].0 > 0 {
        text.push_str(&format!(", {} not yet judged", others[1].0));
    }
    text
}

fn badness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Normal => 0,
        Verdict::Unknown => 1,
        Verdict::Degraded(_) => 2,
        Verdict::Down(_) => 3,
        Verdict::Lying(_) => 4,
    }
}

fn lines(view: &View<'_>, tally: &Tally) -> Vec<String> {
    let graph = view.run.graph();
    let name = |index: usize| graph.line_name(LineId(u32::try_from(index).unwrap_or(u32::MAX)));
    let wide = columns((0..graph.line_count()).map(name), 4, 28);
    let counts = tally.lines.iter().enumerate();
    let rows = counts.map(|(index, &(done, all))| {
        let name = console::truncate_str(name(index), wide, "…").into_owned();
        if all == 0 {
            return format!("{name:<wide$}  out: rolled back");
        }
        let bar_width = view.width.saturating_sub(wide + 14).clamp(5, 30);
        format!("{name:<wide$}  {} {done:>4} of {all}", bar(done, all, bar_width))
    });
    rows.collect()
}

fn bar(done: usize, all: usize, width: usize) -> String {
    let full = (width * done.min(all)).checked_div(all).unwrap_or(0);
    let mut out = String::new();
    for at in 0..width {
        out.push(if at < full { '█' } else { '░' });
    }
    out
}

fn running(view: &View<'_>) -> Vec<String> {
    let graph = view.run.graph();
    let rows = view.run.running().map(|job| {
        let way = match job.way {
            Way::Do => "runs",
            Way::Undo => "undoes",
            Way::Check => "checks",
        };
        let mut row = Segments::new(format!("{way:<7} {}", graph.name(job.step)));
        if job.attempt > 1 {
            row.push(format!("attempt {}", job.attempt));
        }
        gauge(view, job, &mut row);
        row.cut(view.width)
    });
    rows.collect()
}

/// Who is to do a manual step, or does it.
fn by_hand(view: &View<'_>, job: Job) -> String {
    let claimed = view.run.claimed_by(job.step);
    if claimed.is_empty() {
        return "a person is to do it: `cutover claim`".to_owned();
    }
    format!("in the hands of {}: then `cutover done`", claimed.join(", "))
}

/// What a job says of itself: what can be spared on a narrow screen is marked so.
fn gauge(view: &View<'_>, job: Job, row: &mut Segments) {
    let work = &view.run.graph().def(job.step).work;
    if let Work::Act { act: crate::action::Action::Manual(_), .. } = work {
        row.push(by_hand(view, job));
    }
    let Some(gauge) = view.gauges.get(&job.step) else { return };
    if !gauge.doing.is_empty() {
        row.spare(gauge.doing.clone());
    }
    if let Some((done, all)) = gauge.rows {
        row.push(format!("{} of {} rows", grouped(done), grouped(all)));
    }
    if let Some((done, all)) = gauge.bytes {
        row.spare(format!("{} of {}", bytes(done), bytes(all)));
    }
    let Some(elapsed) = gauge.since.map(|since| view.now.duration_since(since)) else { return };
    row.spare(span(elapsed));
    let (done, all) = gauge.rows.or(gauge.bytes).unwrap_or((0, 0));
    if done > 0 && all > done {
        let left = elapsed.as_secs_f64() * (all - done) as f64 / done as f64;
        if let Ok(left) = SignedDuration::try_from_secs_f64(left) {
            row.push(format!("{} to go", span(left)));
        }
    }
}

/// `14:05:09`
fn hour(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `3.2 MB`, decimal units.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1 step`, `2 steps`
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count as u64))
}
