//! The board on a terminal: one frame of text lines per look at the run.
//!
//! [`frame`] is a pure function of what it is shown, so that it can be read in a snapshot; the shell
//! draws it at most four times a second. No meaning is carried by colour: states are words.

use super::lines::{printable, verdict_word};
use crate::event::{Job, LineId, StepId, Verdict, Way};
use crate::plan::Work;
use crate::run::{Cause, HoldCause, Run, Status};
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
    let mut out = vec![title(view), clock(view)];
    out.extend(holds(view));
    section(&mut out, services(view));
    section(&mut out, lines(view));
    section(&mut out, running(view));
    section(&mut out, waiting(view));
    out.truncate(view.height);
    out.iter().map(|line| fit(line, view.width)).collect()
}

fn section(out: &mut Vec<String>, lines: Vec<String>) {
    if !lines.is_empty() {
        out.push(String::new());
        out.extend(lines);
    }
}

/// Cuts a line to so many columns, and says with `…` that it was cut.
fn fit(line: &str, width: usize) -> String {
    let line = printable(line);
    console::truncate_str(&line, width, "…").into_owned()
}

fn title(view: &View<'_>) -> String {
    let plan = view.run.graph().plan();
    let change = plan.change.as_ref().map_or_else(String::new, |change| format!(" · {change}"));
    let rehearsal = if view.rehearsal { " · rehearsal" } else { "" };
    format!("{}{change} · {}{rehearsal}", plan.name, view.name)
}

fn clock(view: &View<'_>) -> String {
    let (done, all) = counted(view.run, |_| true);
    let now = view.now.to_zoned_datetime(view.zone.clone());
    let at = now.strftime("%H:%M:%S %Z").to_string();
    let Some(window) = view.run.graph().plan().window.as_ref() else {
        return format!("{at} · {done} of {all} steps done");
    };
    let moved = |time: Timestamp| time.checked_add(view.shift).unwrap_or(time);
    let (opens, closes) = (moved(window.opens), moved(window.closes));
    let left = if view.now < opens {
        format!("opens in {}", span(opens.duration_since(view.now)))
    } else if view.now < closes {
        format!("{} left", span(closes.duration_since(view.now)))
    } else {
        format!("closed {} ago", span(view.now.duration_since(closes)))
    };
    let turn = turn_back(view.run, closes, window.reserve);
    format!(
        "{at} · window {} to {} · {left} · turn back by {} · {done} of {all} steps done",
        hour(opens, &view.zone),
        hour(closes, &view.zone),
        hour(turn, &view.zone),
    )
}

/// The latest moment at which a rollback of all done so far still ends inside the window, less the
/// reserve: the longest chain of estimates over begun steps, as if each undo took as long as its do.
pub fn turn_back(run: &Run, closes: Timestamp, reserve: SignedDuration) -> Timestamp {
    let graph = run.graph();
    let mut longest = vec![SignedDuration::ZERO; graph.len()];
    let mut back = SignedDuration::ZERO;
    for &step in graph.topological() {
        let before = graph
            .needs(step)
            .iter()
            .map(|need| longest[need.index()])
            .max()
            .unwrap_or(SignedDuration::ZERO);
        let own = if run.status(step) == Status::Clean || run.is_out(step) {
            SignedDuration::ZERO
        } else {
            graph.def(step).estimate.map_or(SignedDuration::ZERO, |(_, most)| most)
        };
        longest[step.index()] = before.saturating_add(own);
        back = back.max(longest[step.index()]);
    }
    closes.checked_sub(reserve.saturating_add(back)).unwrap_or(closes)
}

fn counted(run: &Run, which: impl Fn(StepId) -> bool) -> (usize, usize) {
    let mut done = 0;
    let mut all = 0;
    for step in run.graph().steps().filter(|&step| which(step) && !run.is_out(step)) {
        all += 1;
        done += usize::from(run.status(step) == Status::Done);
    }
    (done, all)
}

fn holds(view: &View<'_>) -> Vec<String> {
    let mut out: Vec<String> = view
        .run
        .holds()
        .iter()
        .filter_map(|hold| match &hold.cause {
            HoldCause::Person { who, reason } => {
                Some(format!("HELD by {who}: {reason} · `cutover release` goes on"))
            }
            HoldCause::Breach(provider) => {
                let name = &view.run.graph().providers()[provider.index()].name;
                Some(format!(
                    "HELD: {name} is breached · `cutover release` when it is normal again"
                ))
            }
            HoldCause::Question(_) => None,
        })
        .collect();
    for question in view.run.questions() {
        let answers: Vec<_> = question.answers.iter().map(|&answer| answer.word()).collect();
        out.push(format!(
            "QUESTION {}: {} · `cutover answer RUN {} {}`",
            question.id,
            question.text,
            question.id,
            answers.join("|")
        ));
    }
    out
}

fn services(view: &View<'_>) -> Vec<String> {
    let run = view.run;
    let graph = run.graph();
    let protect = &graph.plan().protect;
    protect
        .iter()
        .enumerate()
        .map(|(index, protect)| {
            let mut up = 0;
            let mut normal = 0;
            let mut worst: Option<(&str, &Verdict)> = None;
            for service in graph.services().iter().filter(|s| s.protect as usize == index) {
                for &provider in service.providers.iter().filter(|&&p| run.is_up_in_plan(p)) {
                    let verdict = run.verdict(provider).0;
                    up += 1;
                    normal += usize::from(verdict.serves());
                    if badness(verdict) > worst.map_or(0, |(_, verdict)| badness(verdict)) {
                        worst = Some((&graph.providers()[provider.index()].name, verdict));
                    }
                }
            }
            let state = match worst {
                Some((name, verdict)) if badness(verdict) > 1 => {
                    format!("{} {name}", verdict_word(verdict))
                }
                _ if normal == up => "normal".to_owned(),
                _ => format!("{} to be judged", up - normal),
            };
            // Only a living guard has counts.
            let count = view.counts.get(&protect.service.value).map_or_else(String::new, |count| {
                format!(" · {} answers · p99 {:.0} ms", grouped(count.answers), count.p99_ms)
            });
            let service = protect.service.to_uppercase();
            format!("{service:<6} {normal:>3} of {up:<3} normal{count} · {state}")
        })
        .collect()
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

fn lines(view: &View<'_>) -> Vec<String> {
    let run = view.run;
    let graph = run.graph();
    (0..graph.line_count())
        .map(|index| {
            let line = LineId(u32::try_from(index).unwrap_or(u32::MAX));
            let (done, all) = counted(run, |step| graph.line(step) == Some(line));
            let name = graph.line_name(line);
            if all == 0 {
                return format!("{name:<22} out: rolled back");
            }
            format!("{name:<22} {} {done:>3} of {all}", bar(done as u64, all as u64, 30))
        })
        .collect()
}

fn bar(done: u64, all: u64, width: u64) -> String {
    let full = (width * done.min(all)).checked_div(all).unwrap_or(0);
    let mut out = String::new();
    for at in 0..width {
        out.push(if at < full { '█' } else { '░' });
    }
    out
}

fn running(view: &View<'_>) -> Vec<String> {
    let graph = view.run.graph();
    view.run
        .running()
        .map(|job| {
            let way = match job.way {
                Way::Do => "runs",
                Way::Undo => "undoes",
                Way::Check => "checks",
            };
            let again = if job.attempt > 1 {
                format!(" · attempt {}", job.attempt)
            } else {
                String::new()
            };
            let gauge = view.gauges.get(&job.step).cloned().unwrap_or_default();
            format!("{way:<7} {}{again}{}", graph.name(job.step), gauge_text(view, job, &gauge))
        })
        .collect()
}

fn gauge_text(view: &View<'_>, job: Job, gauge: &Gauge) -> String {
    let mut out = String::new();
    if let Work::Act { act: crate::action::Action::Manual(_), .. } =
        &view.run.graph().def(job.step).work
    {
        out.push_str(" · a person does it: `cutover claim`, then `cutover done`");
    }
    if !gauge.doing.is_empty() {
        out.push_str(&format!(" · {}", gauge.doing));
    }
    let elapsed = gauge.since.map(|since| view.now.duration_since(since));
    if let Some((done, all)) = gauge.rows {
        out.push_str(&format!(" · {} of {} rows", grouped(done), grouped(all)));
    }
    if let Some((done, all)) = gauge.bytes {
        out.push_str(&format!(" · {} of {}", bytes(done), bytes(all)));
    }
    if let Some(elapsed) = elapsed {
        out.push_str(&format!(" · {}", span(elapsed)));
        let (done, all) = gauge.rows.or(gauge.bytes).unwrap_or((0, 0));
        if done > 0 && all > done {
            let left = elapsed.as_secs_f64() * (all - done) as f64 / done as f64;
            if let Ok(left) = SignedDuration::try_from_secs_f64(left) {
                out.push_str(&format!(" · {} to go", span(left)));
            }
        }
    }
    out
}

/// What could be next and why it is not: at most eight lines, what waits for people first.
fn waiting(view: &View<'_>) -> Vec<String> {
    const MOST: usize = 8;
    let run = view.run;
    let graph = run.graph();
    let mut out: Vec<(u8, String)> = Vec::new();
    for step in graph.steps() {
        let ready = matches!(run.status(step), Status::Clean | Status::Waiting(_))
            && !run.is_out(step)
            && graph.needs(step).iter().all(|&need| {
                matches!(run.status(need), Status::Done | Status::Running(_)) || run.is_out(need)
            });
        if !ready {
            continue;
        }
        let causes = run.waits_for(step);
        let Some(first) = causes.first() else { continue };
        let more = if causes.len() > 1 {
            format!(" and {} more", causes.len() - 1)
        } else {
            String::new()
        };
        let (rank, why) = because(view, first);
        out.push((rank, format!("waits   {} for {why}{more}", graph.name(step))));
    }
    out.sort_by_key(|(rank, _)| *rank);
    let more = out.len().saturating_sub(MOST);
    let mut out: Vec<String> = out.into_iter().take(MOST).map(|(_, line)| line).collect();
    if more > 0 {
        out.push(format!("        and {more} more steps wait"));
    }
    out
}

fn because(view: &View<'_>, cause: &Cause) -> (u8, String) {
    let run = view.run;
    let graph = run.graph();
    let provider = |id: crate::event::ProviderId| graph.providers()[id.index()].name.clone();
    match cause {
        Cause::People => (0, "people: `cutover approve`".to_owned()),
        Cause::Floor { service, wanting } => {
            let wanting: Vec<String> = wanting.iter().map(|&id| provider(id)).collect();
            (1, format!("{service}: too few would be left; wanted back: {}", wanting.join(", ")))
        }
        Cause::Revocation(line) => {
            (1, format!("a revocation of {} to be confirmed", graph.line_name(*line)))
        }
        Cause::Held(_) => (2, "the hold".to_owned()),
        Cause::Time(_, at) => {
            (3, format!("{} ({} to go)", hour(*at, &view.zone), span(at.duration_since(view.now))))
        }
        Cause::Verdict(id) => (4, format!("a verdict on {}", provider(*id))),
        Cause::Limit(name) => (5, format!("a place of limit {name}")),
        Cause::Step(step) => (6, graph.name(*step)),
    }
}

/// `14:05:09`
fn hour(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// `2d 3h`, `3h 05m`, `5m 09s`, `9s`; never negative.
pub fn span(duration: SignedDuration) -> String {
    let all = duration.as_secs().max(0);
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3_600 % 24, all / 60 % 60, all % 60);
    if days > 0 {
        format!("{days}d {hours}h")
    } else if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m {seconds:02}s")
    } else {
        format!("{seconds}s")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(3_200_000), "3.2 MB");
        assert_eq!(span(SignedDuration::from_secs(-5)), "0s");
        assert_eq!(span(SignedDuration::from_secs(3 * 3600 + 305)), "3h 05m");
        assert_eq!(span(SignedDuration::from_secs(2 * 86_400 + 3 * 3600)), "2d 3h");
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(9, 10, 5), "████░");
        assert_eq!(bar(10, 10, 5), "█████");
        assert_eq!(bar(0, 0, 3), "░░░");
    }
}
