//! What a person sees of a run while it goes: a board on a terminal, plain lines on a pipe, JSON on
//! request. Folds the records into a run of its own, so that `run` and `watch` show the same.

use crate::event::Job;
use crate::event::{Event, ProviderId, Record, StepId, Verdict};
use crate::executor::Progress;
use crate::journal::codec::Wire;
use crate::proof::window::{Back, Learned};
use crate::report::board::fit::wrapped;
use crate::report::board::{self, Count, Gauge, View};
use crate::report::lines;
use crate::run::Run;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

/// How it is shown.
enum Look {
    Board(Board),
    Lines,
    Json,
}

/// One bar of many lines: a frame is drawn whole or not at all.
struct Board {
    all: MultiProgress,
    frame: ProgressBar,
}

/// The screen of one process.
pub(crate) struct Screen {
    look: Look,
    run: Run,
    /// Laid out once: the board is drawn four times a second.
    back: Back,
    name: String,
    rehearsal: bool,
    shift: SignedDuration,
    zone: TimeZone,
    gauges: BTreeMap<StepId, Gauge>,
    counts: BTreeMap<String, Count>,
    since: BTreeMap<Job, Timestamp>,
    /// What the guard found, until the record of its verdict comes.
    found: BTreeMap<ProviderId, (Verdict, String)>,
    noted: BTreeSet<String>,
}

#[derive(Serialize)]
struct JsonRecord<'a> {
    seq: u64,
    at: Timestamp,
    event: Wire<'a>,
}

impl Screen {
    /// A screen for a run as it stands. A board only when standard error is a terminal and standard
    /// output is one too.
    pub(crate) fn new(run: Run, name: &str, rehearsal: bool, shift_s: i64, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        let look = match (json, terminal) {
            (true, _) => Look::Json,
            (false, true) => Look::Board(Board::new()),
            (false, false) => Look::Lines,
        };
        let zone = run.graph().plan().zones.last().cloned().unwrap_or(TimeZone::UTC);
        Self {
            look,
            back: Back::new(run.graph(), &Learned::default()),
            run,
            name: name.to_owned(),
            rehearsal,
            shift: SignedDuration::from_secs(shift_s),
            zone,
            gauges: BTreeMap::new(),
            counts: BTreeMap::new(),
            since: BTreeMap::new(),
            found: BTreeMap::new(),
            noted: BTreeSet::new(),
        }
    }

    /// The run as far as it has been shown.
    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// A record that this screen's run does not know yet: folds it in and shows it.
    pub(crate) fn record(&mut self, record: &Record) {
        if record.seq > self.run.seq() {
            // The runner applied it already; a screen that cannot follow must not stop the run.
            if let Err(impossible) = self.run.apply(record) {
                self.note(&format!("the screen cannot follow: {}", impossible.0));
            }
        }
        self.shown(record);
    }

    /// A record that this screen's run knows already: shows it.
    pub(crate) fn shown(&mut self, record: &Record) {
        match &record.event {
            Event::Started(job) => {
                self.since.insert(*job, record.at);
            }
            Event::Ended(job, _) => {
                self.since.remove(job);
                self.gauges.remove(&job.step);
            }
            Event::Verdict { provider, verdict, .. } => {
                // That all is well needs no reason; that one does not answer to whom nobody is sent
                // is no news. What was found since for a later verdict waits for its record.
                let news = !matches!(verdict, Verdict::Normal) && self.run.is_up_in_plan(*provider);
                let its_own = self.found.get(provider).is_some_and(|(found, _)| found == verdict);
                let why = if its_own { self.found.remove(provider) } else { None };
                if let Some((_, why)) = why.filter(|_| news) {
                    let name = self.run.graph().providers()[provider.index()].name.clone();
                    self.note(&format!("guard: {name}: {why}"));
                }
            }
            _ => {}
        }
        let graph = self.run.graph().clone();
        match &self.look {
            Look::Json => {
                let event = Wire::of(&record.event, &*graph);
                let line = JsonRecord { seq: record.seq, at: record.at, event };
                if let Ok(text) = serde_json::to_string(&line) {
                    super::out(&format!("{text}\n"));
                }
            }
            Look::Lines => {
                let line = lines::line(&graph, record, &self.zone);
                super::out(&format!("{line}{}\n", self.aside(&record.event)));
            }
            Look::Board(board) => {
                let telling = !matches!(
                    record.event,
                    Event::Verdict { .. } | Event::Due { .. } | Event::Opened { .. }
                );
                if telling {
                    board.say(&lines::line(&graph, record, &self.zone), lines::TEXT_AT);
                }
            }
        }
    }

    /// A verdict on one that clients are not sent to is not what it would be on another.
    fn aside(&self, event: &Event) -> &'static str {
        match event {
            Event::Verdict { provider, verdict, .. }
                if !verdict.serves() && !self.run.is_up_in_plan(*provider) =>
            {
                " (no client is sent there)"
            }
            _ => "",
        }
    }

    /// What the guard found, for a verdict whose record follows.
    pub(crate) fn found(&mut self, provider: ProviderId, verdict: Verdict, why: String) {
        self.found.insert(provider, (verdict, why));
    }

    /// A sentence that is worth saying only once.
    pub(crate) fn note_once(&mut self, text: String) {
        if !self.noted.contains(&text) {
            self.note(&text);
            self.noted.insert(text);
        }
    }

    /// A sentence for people that is no record.
    pub(crate) fn note(&self, text: &str) {
        let text = lines::printable(text);
        match &self.look {
            Look::Board(board) => board.say(&text, 2),
            Look::Lines | Look::Json => super::err(&format!("{text}\n")),
        }
    }

    /// What the guard counted, by service.
    pub(crate) fn count(&mut self, counts: BTreeMap<String, Count>) {
        self.counts = counts;
    }

    /// Redraws the board; nothing on a pipe.
    pub(crate) fn tick(&mut self, now: Timestamp, progress: Vec<(Job, Progress)>) {
        let Look::Board(board) = &self.look else { return };
        for (job, progress) in progress {
            let gauge = Gauge {
                doing: progress.doing,
                rows: progress.rows,
                bytes: progress.bytes,
                since: self.since.get(&job).copied(),
            };
            self.gauges.insert(job.step, gauge);
        }
        let (height, width) = console::Term::stderr().size();
        let frame = board::frame(&View {
            run: &self.run,
            back: &self.back,
            name: &self.name,
            rehearsal: self.rehearsal,
            shift: self.shift,
            now,
            gauges: &self.gauges,
            counts: &self.counts,
            zone: self.zone.clone(),
            width: usize::from(width).saturating_sub(1).max(20),
            height: usize::from(height).saturating_sub(2).max(8),
        });
        board.show(&frame);
    }

    /// Leaves the terminal as it is: the last frame stays to be read, what is said next begins on a
    /// line of its own.
    pub(crate) fn end(&mut self) {
        if let Look::Board(board) = &mut self.look {
            board.frame.abandon();
            super::err("\n");
        }
    }
}

impl Board {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4));
        let frame = all.add(ProgressBar::no_length());
        // The template has no place-holder but the text, so it cannot be wrong.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            frame.set_style(style);
        }
        Self { all, frame }
    }

    /// Above the frame, broken between words: a terminal would break inside them.
    fn say(&self, text: &str, indent: usize) {
        let width = usize::from(console::Term::stderr().size().1).saturating_sub(1).max(20);
        for line in wrapped(text, width, indent) {
            let _ = self.all.println(line);
        }
    }

    fn show(&self, frame: &[String]) {
        // A line without text would be left out by the drawing.
        let lines: Vec<&str> =
            frame.iter().map(|line| if line.is_empty() { " " } else { line }).collect();
        self.frame.set_message(lines.join("\n"));
    }
}
