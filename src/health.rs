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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECOVERY: u32 = 4;

    fn finding(code: &'static str, severity: Severity) -> Finding {
        Finding { code, severity, what: "seen".into() }
    }

    /// Attempts by letters: `.` good, `n` note, `d` degraded, `x` breach, `y` another, `!` lie.
    fn round(question: u32, asked_as_of: Seq, attempts: &str) -> Round {
        let attempts = attempts
            .chars()
            .map(|letter| match letter {
                'n' => vec![finding("note", Severity::Note)],
                'd' => vec![finding("dull", Severity::Degraded)],
                'x' => vec![finding("dead", Severity::Breach)],
                'y' => vec![finding("cold", Severity::Breach)],
                '!' => vec![finding("false", Severity::Lie), finding("dead", Severity::Breach)],
                _ => Vec::new(),
            })
            .collect();
        let took = Some(Duration::from_millis(3));
        Round { question, asked_as_of, attempts, took, at: Duration::ZERO }
    }

    /// The verdicts told for some rounds of one question, `-` where nothing was told.
    fn told(health: &mut Health, rounds: &[&str]) -> Vec<String> {
        rounds
            .iter()
            .map(|attempts| shown(health.take(&round(0, health.as_of(), attempts))))
            .collect()
    }

    fn shown(change: Option<Change>) -> String {
        match change.map(|change| change.verdict) {
            None => "-".into(),
            Some(Verdict::Unknown) => "unknown".into(),
            Some(Verdict::Normal) => "normal".into(),
            Some(Verdict::Degraded(codes)) => format!("degraded {}", codes.join(" ")),
            Some(Verdict::Down(codes)) => format!("down {}", codes.join(" ")),
            Some(Verdict::Lying(codes)) => format!("lying {}", codes.join(" ")),
        }
    }

    #[test]
    fn rounds_add_up() {
        for (rounds, expected) in [
            // Three good answers make it normal, once.
            (&[".", ".", ".", "."][..], &["-", "-", "normal", "-"][..]),
            // A re-ask that is good cures a failure.
            (&[".", ".", ".", "x.", "xx."], &["-", "-", "normal", "-", "-"]),
            // Nothing known, and all three fail.
            (&["xxx"], &["down dead"]),
            // Recovery takes RECOVERY good answers in a row.
            (&["xxx", ".", ".", ".", "."], &["down dead", "-", "-", "-", "normal"]),
            (
                &["xxx", ".", ".", ".", "xxx", ".", ".", ".", "."],
                &["down dead", "-", "-", "-", "-", "-", "-", "-", "normal"],
            ),
            // A new cause is told, one that goes away is not.
            (&["xxx", "xxy", "xxx"], &["down dead", "down cold dead", "-"]),
            // A lie counts at once, and is not made good by failing in a lesser way.
            (&[".", ".", ".", "!", "xxx"], &["-", "-", "normal", "lying dead false", "-"]),
            (&["xxx", "x!"], &["down dead", "lying dead false"]),
            // Notes are nothing, and what degrades goes when it is gone.
            (&["n", "n", "n", "d", "."], &["-", "-", "normal", "degraded dull", "normal"]),
            (&["d", "d", "d", "d"], &["-", "-", "degraded dull", "-"]),
        ] {
            let mut health = Health::new(RECOVERY);
            assert_eq!(told(&mut health, rounds), expected, "{rounds:?}");
        }
    }

    #[test]
    fn a_lie_is_forgotten_only_after_three_times_the_good_answers() {
        let mut health = Health::new(RECOVERY);
        assert_eq!(told(&mut health, &["!"]), ["lying dead false"]);
        let needed = (RECOVERY * LIE_FACTOR) as usize;
        assert_eq!(told(&mut health, &vec!["."; needed - 1]), vec!["-"; needed - 1]);
        assert_eq!(told(&mut health, &["."]), ["normal"]);
    }

    #[test]
    fn other_questions_do_not_make_a_failing_one_good() {
        let mut health = Health::new(RECOVERY);
        assert_eq!(shown(health.take(&round(7, 0, "xxx"))), "down dead");
        assert_eq!(told(&mut health, &["."; 20]), ["-"; 20]);
        assert_eq!(shown(health.take(&round(7, 0, "."))), "normal");
    }

    #[test]
    fn what_was_asked_before_a_touch_counts_for_nothing() {
        let mut health = Health::new(RECOVERY);
        told(&mut health, &["!", ".", "."]);
        health.touched(5);
        assert_eq!(health.verdict(), &Verdict::Unknown);
        for attempts in [".", "xxx", "!", "."] {
            assert_eq!(health.take(&round(0, 4, attempts)), None);
        }
        assert_eq!(health.verdict(), &Verdict::Unknown);
        assert_eq!(told(&mut health, &[".", "."]), ["-", "-"]);
        let change = health.take(&round(0, 5, ".")).expect("a change");
        assert_eq!((change.verdict, change.as_of), (Verdict::Normal, 5));
        // Normal again after normal is told: the touch had made it unknown.
        health.touched(6);
        assert_eq!(told(&mut health, &[".", ".", "."]), ["-", "-", "normal"]);
        // An older record does not put it back.
        health.touched(3);
        assert_eq!(health.as_of(), 6);
    }

    #[test]
    fn failures_that_re_asks_cure_add_up_over_ten_minutes() {
        let mut health = Health::new(RECOVERY);
        let mut take = |second: u64, attempts: &str| {
            let at = Duration::from_secs(second);
            shown(health.take(&Round { at, ..round(0, 0, attempts) }))
        };
        // One in 200 is 0.5 %: degraded from the sixth on.
        let mut seen = Vec::new();
        for second in 0..1200 {
            let attempts = if second % 100 == 99 { "x." } else { "." };
            let said = take(second / 2, attempts);
            if said != "-" {
                seen.push((second, said));
            }
        }
        assert_eq!(seen, [(2, "normal".to_owned()), (599, "degraded loss".to_owned())]);
        // Ten minutes later they are forgotten.
        assert_eq!(take(1300, "."), "normal");
        // One in ten: down as soon as there are 200.
        let mut down = None;
        for count in 0..400 {
            if take(1300, if count % 10 == 0 { "x." } else { "." }) == "down loss" {
                down = Some(count);
                break;
            }
        }
        assert!(down.is_some_and(|count| (170..200).contains(&count)), "{down:?}");
    }

    #[test]
    fn slow_answers_degrade_from_500_on() {
        let mut health = Health::new(RECOVERY);
        let mut seen = Vec::new();
        for count in 0..600u32 {
            let took = Duration::from_millis(if count % 50 == 0 { 1500 } else { 5 });
            let change = health.take(&Round { took: Some(took), ..round(0, 0, ".") });
            if change.is_some() {
                seen.push((count, shown(change)));
            }
        }
        assert_eq!(seen, [(2, "normal".to_owned()), (499, "degraded slow".to_owned())]);
    }

    proptest! {
        /// Whatever comes: a lie is told at once, Down only when every attempt failed, and nothing
        /// is called serving with fewer than the good answers that it takes.
        #[test]
        fn verdicts_are_earned(rounds in proptest::collection::vec((0u32..3, "[.ndx!]{1,3}"), 1..60)) {
            let mut health = Health::new(RECOVERY);
            let mut streak = 0;
            for (question, attempts) in rounds {
                let before = health.verdict().clone();
                health.take(&round(question, 0, &attempts));
                let lie = attempts.contains('!');
                let good = !lie && attempts.chars().any(|letter| ".nd".contains(letter));
                streak = if good { streak + 1 } else { 0 };
                match health.verdict() {
                    Verdict::Lying(_) => prop_assert!(lie || matches!(before, Verdict::Lying(_))),
                    Verdict::Down(_) => prop_assert!(!lie && (!good || matches!(before, Verdict::Down(_)))),
                    Verdict::Unknown => prop_assert!(streak < GOOD_AFTER_TOUCH && good),
                    Verdict::Normal | Verdict::Degraded(_) => {
                        let needed = match before {
                            Verdict::Unknown => GOOD_AFTER_TOUCH,
                            Verdict::Lying(_) => RECOVERY * LIE_FACTOR,
                            _ => RECOVERY,
                        };
                        let earned = before.serves() || streak >= needed;
                        prop_assert!(good && earned);
                    }
                }
            }
        }
    }
}
