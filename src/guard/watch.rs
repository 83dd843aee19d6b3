//! The guard's thread: one task for each provider, all the time, and the heartbeat.
//!
//! Not known here: what an answer means (`probe`) and what answers add up to (`health`).

use super::probe::{Attempt, Prober, Question};
use super::{Pace, Said, Serial, Shared, Told};
use crate::event::{Seq, Verdict};
use crate::health::{Change, Health, Round, is_failure};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Between questions to a provider that was just given back or of which nothing is known yet.
const EAGER: Duration = Duration::from_millis(200);
/// Thirty questions a second to one provider at most.
const SHORTEST: Duration = Duration::from_millis(33);
/// A task that has not come round for this long, beyond its pace, hangs: longer than the longest
/// question with its re-asks.
const STALLED: Duration = Duration::from_secs(15);

/// Answers, failures and times of one target since the guard began.
#[derive(Clone, Debug)]
pub struct Stats {
    /// `ocsp@to/ocsp-1[geotrust]`
    pub name: String,
    /// Right answers.
    pub answers: u64,
    /// Questions (re-asks counted for themselves) without a right answer.
    pub failures: u64,
    /// The present verdict.
    pub verdict: Verdict,
    /// How often each code was found.
    pub findings: BTreeMap<&'static str, u64>,
    times: Histogram<u32>,
}

impl Stats {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            answers: 0,
            failures: 0,
            verdict: Verdict::Unknown,
            findings: BTreeMap::new(),
            times: Histogram::new_with_bounds(1, 60_000_000, 2)
                .expect("BUG: the bounds of a histogram are constants"),
        }
    }

    /// The time below which this share (0 to 100) of the right answers came; none without answers.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        (!self.times.is_empty())
            .then(|| Duration::from_micros(self.times.value_at_percentile(share)))
    }

    fn count(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            if is_failure(&attempt.findings) {
                self.failures += 1;
            } else {
                self.answers += 1;
                let micros = attempt.took.map_or(1, |took| took.as_micros());
                self.times.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
            }
            for finding in &attempt.findings {
                *self.findings.entry(finding.code).or_default() += 1;
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Touch {
    seq: Seq,
    given_back: bool,
}

/// What a target's task is told.
#[derive(Clone, Debug)]
enum Word {
    Touch(Touch),
    Revoked(Serial),
}

/// Everything that one target's task has.
struct Watcher {
    target: usize,
    prober: Prober,
    every: Duration,
    health: Health,
    /// Asked every 200 ms until it serves.
    eager: bool,
    turn: u64,
    began: Instant,
    touches: UnboundedReceiver<Word>,
    say: UnboundedSender<Said>,
    shared: Arc<Shared>,
    /// Milliseconds since the guard began, when this task last came round.
    seen: Arc<AtomicU64>,
}

/// Runs until the handle is dropped.
pub(super) async fn watch(
    probers: Vec<Prober>,
    pace: Pace,
    mut told: UnboundedReceiver<Told>,
    say: UnboundedSender<Said>,
    shared: Arc<Shared>,
) {
    let began = Instant::now();
    let count = u32::try_from(probers.len()).unwrap_or(u32::MAX).max(1);
    let mut tasks = JoinSet::new();
    let mut tells = Vec::new();
    let mut seen = Vec::new();
    for (target, prober) in probers.into_iter().enumerate() {
        let (tell, touches) = unbounded_channel();
        let every = cadence(pace.every, prober.subjects());
        let watcher = Watcher {
            target,
            prober,
            every,
            health: Health::new(pace.recovery),
            eager: true,
            turn: 0,
            began,
            touches,
            say: say.clone(),
            shared: Arc::clone(&shared),
            seen: Arc::new(AtomicU64::new(0)),
        };
        seen.push((Arc::clone(&watcher.seen), every));
        tells.push(tell);
        // Spread, so that they do not ask in step.
        let first = began + every.min(EAGER) * u32::try_from(target).unwrap_or(0) / count;
        tasks.spawn(watcher.run(first));
    }
    let mut beat = interval((pace.every / 2).clamp(Duration::from_millis(20), STALLED));
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            what = told.recv() => match what {
                None => return,
                Some(Told::Hang) => return hang(&shared),
                Some(Told::Touched { targets, seq, given_back }) => {
                    for tell in targets.iter().filter_map(|target| tells.get(*target)) {
                        // Gone only when its task is, and then the heartbeat stops.
                        let _ = tell.send(Word::Touch(Touch { seq, given_back }));
                    }
                }
                Some(Told::Revoked { targets, serial }) => {
                    for tell in targets.iter().filter_map(|target| tells.get(*target)) {
                        let _ = tell.send(Word::Revoked(serial.clone()));
                    }
                }
            },
            _ = beat.tick() => {
                let now = began.elapsed();
                let comes_round = |(seen, every): &(Arc<AtomicU64>, Duration)| {
                    let last = Duration::from_millis(seen.load(Ordering::Relaxed));
                    now < last + *every + STALLED
                };
                if tasks.try_join_next().is_none() && tasks.len() == seen.len()
                    && seen.iter().all(comes_round)
                {
                    let _ = say.send(Said::Alive);
                }
            }
        }
    }
}

/// Between two questions to a provider with so many.
fn cadence(every: Duration, questions: usize) -> Duration {
    let questions = u32::try_from(questions).unwrap_or(u32::MAX).max(1);
    if every < Duration::from_secs(1) {
        every.max(SHORTEST)
    } else {
        (every / questions).max(SHORTEST)
    }
}

/// Blocks the whole thread, as a real hang would.
fn hang(shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Watcher {
    async fn run(mut self, first: Instant) {
        let mut due = first;
        loop {
            tokio::select! {
                biased;
                word = self.touches.recv() => {
                    let Some(word) = word else { return };
                    due = self.told(word, due);
                    continue;
                }
                () = sleep_until(due) => {}
            }
            let begun = Instant::now();
            self.seen.store(millis(begun - self.began), Ordering::Relaxed);
            let Some(question) = self.prober.question(self.turn) else {
                due = begun + self.every;
                continue;
            };
            let asked_as_of = self.health.as_of();
            let attempts = tokio::select! {
                biased;
                // Asked before the touch: whatever comes back would count for nothing.
                word = self.touches.recv() => {
                    let Some(word) = word else { return };
                    due = self.told(word, begun + self.every);
                    continue;
                }
                attempts = self.prober.round(question) => attempts,
            };
            self.turn += 1;
            self.take(question, asked_as_of, attempts);
            let pause = if self.eager { self.every.min(EAGER) } else { self.every };
            due = (begun + pause).max(Instant::now());
        }
    }

    /// When the next question is due after a word.
    fn told(&mut self, word: Word, due: Instant) -> Instant {
        match word {
            Word::Touch(touch) => self.touched(touch, due),
            Word::Revoked(serial) => {
                self.prober.look_after(&serial);
                due
            }
        }
    }

    fn touched(&mut self, touch: Touch, due: Instant) -> Instant {
        self.health.touched(touch.seq);
        self.eager = touch.given_back;
        self.update(|stats, _| stats.verdict = Verdict::Unknown);
        if touch.given_back { Instant::now() } else { due }
    }

    fn take(&mut self, question: Question, asked_as_of: Seq, attempts: Vec<Attempt>) {
        self.update(|stats, _| stats.count(&attempts));
        if question.is_on_the_side() {
            return;
        }
        let took = attempts.last().and_then(|attempt| attempt.took);
        let round = Round {
            question: question.number(),
            asked_as_of,
            took,
            at: self.began.elapsed(),
            attempts: attempts.into_iter().map(|attempt| attempt.findings).collect(),
        };
        let change = self.health.take(&round);
        if self.health.verdict().serves() {
            self.eager = false;
        }
        let Some(Change { verdict, as_of, why }) = change else { return };
        self.update(|stats, _| stats.verdict = verdict.clone());
        // Nobody listens only when the runner is on its way out.
        let _ = self.say.send(Said::Verdict { target: self.target, verdict, as_of, why });
    }

    fn update(&self, change: impl FnOnce(&mut Stats, &Self)) {
        let mut stats = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stats) = stats.get_mut(self.target) {
            change(stats, self);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
