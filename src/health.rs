//! Findings, and how they add up to a verdict on one provider.
//!
//! Not known here: how an answer was had or what was wrong with it; clocks (instants are durations
//! since the guard began, handed in).

use crate::event::{Seq, Verdict};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How heavily a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For the record.
    Note,
    /// Not as it should be, but clients are served rightly.
    Degraded,
    /// No right answer: a breach when two re-asks fail too.
    Breach,
    /// A false answer that no fault of the network makes: a breach at once.
    Lie,
}

/// Something that an answer showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `ocsp-wrong-key`
    pub code: &'static str,
    /// How heavily it weighs.
    pub severity: Severity,
    /// What was seen, one sentence without its full stop.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.what)
    }
}

/// The heaviest of some findings.
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).max()
}

/// Whether an answer with these findings is a failure.
pub fn is_failure(findings: &[Finding]) -> bool {
    worst(findings).is_some_and(|severity| severity >= Severity::Breach)
}

/// Good answers in a row that make a provider normal after it was touched, and before anything is
/// known of it.
pub const GOOD_AFTER_TOUCH: u32 = 3;
/// Re-asks after a failed question.
pub const RE_ASKS: usize = 2;
/// Between a wrong answer and its re-ask, and between re-asks.
pub const RE_ASK_AFTER: Duration = Duration::from_millis(200);
/// A question without an answer for this long is re-asked beside the first.
pub const HANG_AFTER: Duration = Duration::from_millis(500);
/// A lie is forgotten only after this many times the good answers that end a breach.
const LIE_FACTOR: u32 = 3;
/// Failures that a re-ask cured are counted over ten of these.
const BUCKET: Duration = Duration::from_secs(60);
const BUCKETS: u64 = 10;
/// Answers slower than this count towards `slow`.
const SLOW: Duration = Duration::from_secs(1);
/// A p99 is judged from this many answers.
const P99_FROM: u64 = 500;

/// One question with its re-asks, all of them answered or given up. A later attempt that is good
/// cures the ones before it, unless one of them was a lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Which question: the same number for the same issuer, certificate and way of asking.
    pub question: u32,
    /// The newest record that the guard had been told of when it asked first.
    pub asked_as_of: Seq,
    /// Findings per attempt, in the order in which they were asked. Never empty.
    pub attempts: Vec<Vec<Finding>>,
    /// How long the decisive answer took; none when there was none.
    pub took: Option<Duration>,
    /// When it ended, since the guard began.
    pub at: Duration,
}

impl Round {
    /// What the round comes to: the findings of its last attempt when one was good, else of all.
    fn decide(&self) -> Decision<'_> {
        let lies = |attempt: &&Vec<Finding>| worst(attempt) == Some(Severity::Lie);
        if let Some(findings) = self.attempts.iter().find(lies) {
            return Decision::Lie(findings);
        }
        match self.attempts.iter().find(|attempt| !is_failure(attempt)) {
            Some(findings) => Decision::Good(findings),
            None => Decision::Failed(self.attempts.last().map_or(&[], Vec::as_slice)),
        }
    }
}

enum Decision<'a> {
    Good(&'a [Finding]),
    Failed(&'a [Finding]),
    Lie(&'a [Finding]),
}

/// A verdict that differs from the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The new verdict.
    pub verdict: Verdict,
    /// By answers to questions asked after this record.
    pub as_of: Seq,
    /// What was found, one sentence.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Serving,
    Down,
    Lying,
}

/// What is held of one provider.
#[derive(Clone, Debug)]
pub struct Health {
    recovery: u32,
    as_of: Seq,
    state: State,
    /// Good rounds in a row.
    streak: u32,
    /// Questions whose last round failed, with the codes that it gave: a provider is not well again
    /// while one of them is here.
    open: BTreeMap<u32, Vec<&'static str>>,
    /// Codes of the present outage: kept until it ends, so that a flapping cause stays named.
    outage: Vec<&'static str>,
    /// Per question, what degrades its last good answer.
    degraded: BTreeMap<u32, Vec<&'static str>>,
    window: Window,
    said: Verdict,
}

impl Health {
    /// Nothing is known yet. `recovery`: good answers in a row that end a breach.
    pub fn new(recovery: u32) -> Self {
        Self {
            recovery: recovery.max(1),
            as_of: 0,
            state: State::Unknown,
            streak: 0,
            open: BTreeMap::new(),
            outage: Vec::new(),
            degraded: BTreeMap::new(),
            window: Window::default(),
            said: Verdict::Unknown,
        }
    }

    /// A record touched the provider: what was known is not known any more, and answers to questions
    /// asked before count for nothing.
    pub fn touched(&mut self, seq: Seq) {
        *self = Self { as_of: seq.max(self.as_of), ..Self::new(self.recovery) };
    }

    /// The newest record that it was told of.
    pub fn as_of(&self) -> Seq {
        self.as_of
    }

    /// The present verdict.
    pub fn verdict(&self) -> &Verdict {
        &self.said
    }

    /// Whether answers are wanted sooner than by the usual pace: nothing is known yet, or it is on
    /// its way to recovery.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Unknown || (self.state != State::Serving && self.streak > 0)
    }

    /// Takes a round in; the change of verdict that it makes, if any.
    pub fn take(&mut self, round: &Round) -> Option<Change> {
        if round.asked_as_of < self.as_of {
            return None;
        }
        let cured = round.attempts.iter().filter(|attempt| is_failure(attempt)).count();
        let why = match round.decide() {
            Decision::Lie(findings) => self.fail(State::Lying, round.question, findings),
            Decision::Failed(findings) => self.fail(State::Down, round.question, findings),
            Decision::Good(findings) => {
                self.window.count(
                    round.at,
                    cured as u64,
                    round.took.is_some_and(|took| took > SLOW),
                );
                self.good(round.question, findings)
            }
        };
        self.say(why)
    }

    fn fail(&mut self, state: State, question: u32, findings: &[Finding]) -> String {
        let codes: Vec<&'static str> = findings
            .iter()
            .filter(|finding| finding.severity >= Severity::Breach)
            .map(|finding| finding.code)
            .collect();
        self.streak = 0;
        self.window = Window::default();
        // A lie is not made good by failing in a lesser way.
        if self.state != State::Lying {
            if self.state != state {
                self.outage.clear();
            }
            self.state = state;
        }
        for code in &codes {
            if !self.outage.contains(code) {
                self.outage.push(code);
            }
        }
        self.outage.sort_unstable();
        self.open.insert(question, codes);
        sentence(findings, Severity::Breach)
    }

    fn good(&mut self, question: u32, findings: &[Finding]) -> String {
        self.streak = self.streak.saturating_add(1);
        self.open.remove(&question);
        let mut codes: Vec<&'static str> = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Degraded)
            .map(|finding| finding.code)
            .collect();
        codes.sort_unstable();
        codes.dedup();
        if codes.is_empty() {
            self.degraded.remove(&question);
        } else {
            self.degraded.insert(question, codes);
        }
        let needed = match self.state {
            State::Serving => 0,
            State::Unknown => GOOD_AFTER_TOUCH,
            State::Down => self.recovery,
            State::Lying => self.recovery.saturating_mul(LIE_FACTOR),
        };
        if self.streak >= needed && self.open.is_empty() {
            if self.window.is_lossy() {
                // Re-asks cure single failures, but clients do not re-ask twice.
                self.state = State::Down;
                self.outage = vec!["loss"];
                return "one in fifty questions or more of the last ten minutes failed at first"
                    .to_owned();
            }
            self.state = State::Serving;
            self.outage.clear();
        }
        sentence(findings, Severity::Degraded)
    }

    fn say(&mut self, why: String) -> Option<Change> {
        let now = self.judge();
        let told = match (&self.said, &now) {
            // A cause that goes away while others stay is no news, a new one is.
            (Verdict::Down(old), Verdict::Down(new))
            | (Verdict::Lying(old), Verdict::Lying(new))
            | (Verdict::Degraded(old), Verdict::Degraded(new)) => {
                new.iter().all(|code| old.contains(code))
            }
            (old, new) => old == new,
        };
        if told {
            return None;
        }
        self.said = now.clone();
        let why = if why.is_empty() { "answers as it should".to_owned() } else { why };
        Some(Change { verdict: now, as_of: self.as_of, why })
    }

    fn judge(&self) -> Verdict {
        let owned = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
        match self.state {
            State::Unknown => Verdict::Unknown,
            State::Down => Verdict::Down(owned(&self.outage)),
            State::Lying => Verdict::Lying(owned(&self.outage)),
            State::Serving => {
                let mut codes: Vec<&str> = self.degraded.values().flatten().copied().collect();
                codes.extend(self.window.degrades());
                codes.sort_unstable();
                codes.dedup();
                if codes.is_empty() { Verdict::Normal } else { Verdict::Degraded(owned(&codes)) }
            }
        }
    }
}

fn sentence(findings: &[Finding], from: Severity) -> String {
    let shown: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity >= from)
        .map(ToString::to_string)
        .collect();
    shown.join("; ")
}

/// Counts of the last ten minutes, in buckets of one.
#[derive(Clone, Debug, Default)]
struct Window {
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    number: u64,
    answers: u64,
    failures: u64,
    slow: u64,
}

impl Window {
    /// A round that ended well, with the failures before its good answer.
    fn count(&mut self, at: Duration, failures: u64, slow: bool) {
        let number = at.as_secs() / BUCKET.as_secs();
        if self.buckets.last().is_none_or(|bucket| bucket.number != number) {
            self.buckets.retain(|bucket| bucket.number + BUCKETS > number);
            self.buckets.push(Bucket { number, answers: 0, failures: 0, slow: 0 });
        }
        if let Some(bucket) = self.buckets.last_mut() {
            bucket.answers += 1 + failures;
            bucket.failures += failures;
            bucket.slow += u64::from(slow);
        }
    }

    fn sum(&self, of: impl Fn(&Bucket) -> u64) -> u64 {
        self.buckets.iter().map(of).sum()
    }

    /// At least 2 % of at least 200.
    fn is_lossy(&self) -> bool {
        let answers = self.sum(|bucket| bucket.answers);
        answers >= 200 && self.sum(|bucket| bucket.failures) * 50 >= answers
    }

    /// At least 6 failures and 0.3 %; p99 over a second.
    fn degrades(&self) -> impl Iterator<Item = &'static str> {
        let answers = self.sum(|bucket| bucket.answers);
        let failures = self.sum(|bucket| bucket.failures);
        let slow = self.sum(|bucket| bucket.slow);
        let loss = failures >= 6 && failures * 1000 >= answers * 3;
        let slow = answers >= P99_FROM && slow * 100 > answers;
        loss.then_some("loss").into_iter().chain(slow.then_some("slow"))
    }
}
