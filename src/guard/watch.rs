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
    /// So many different things are asked about, one after the other.
    pub questions: usize,
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
    pub(super) fn new(name: &str, questions: usize) -> Self {
        Self {
            name: name.to_owned(),
            questions,
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
    pulse: Arc<Pulse>,
}

/// The sign of life. Not the heartbeat's alone to give: on a busy machine a thread that works
/// through its answers comes to its own beat late, and is no less alive for it. So whichever task
/// has the thread gives it, as long as the heartbeat has found every task well.
struct Pulse {
    began: Instant,
    /// Between two signs, milliseconds.
    apart: u64,
    /// The last sign, milliseconds since the guard began.
    last: AtomicU64,
    /// Until when what the heartbeat found last may be relied on; 0: a task hangs.
    well_until: AtomicU64,
    say: UnboundedSender<Said>,
}

impl Pulse {
    fn new(began: Instant, apart: Duration, say: UnboundedSender<Said>) -> Self {
        let well_until = AtomicU64::new(millis(STALLED));
        Self { began, apart: millis(apart), last: AtomicU64::new(0), well_until, say }
    }

    /// The heartbeat has looked at every task.
    fn looked(&self, well: bool) {
        let until = if well { millis(self.began.elapsed() + STALLED) } else { 0 };
        self.well_until.store(until, Ordering::Relaxed);
        if well {
            self.last.store(millis(self.began.elapsed()), Ordering::Relaxed);
            let _ = self.say.send(Said::Alive);
        }
    }

    /// A task has the thread.
    fn comes_round(&self) {
        let now = millis(self.began.elapsed());
        if now < self.well_until.load(Ordering::Relaxed)
            && now >= self.last.load(Ordering::Relaxed) + self.apart
        {
            self.last.store(now, Ordering::Relaxed);
            let _ = self.say.send(Said::Alive);
        }
    }
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
    let apart = (pace.every / 2).clamp(Duration::from_millis(20), STALLED);
    let pulse = Arc::new(Pulse::new(began, apart, say.clone()));
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
            pulse: Arc::clone(&pulse),
        };
        seen.push((Arc::clone(&watcher.seen), every));
        tells.push(tell);
        // Spread, so that they do not ask in step.
        let first = began + every.min(EAGER) * u32::try_from(target).unwrap_or(0) / count;
        tasks.spawn(watcher.run(first));
    }
    let mut beat = interval(apart);
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
                let all = tasks.try_join_next().is_none() && tasks.len() == seen.len();
                pulse.looked(all && seen.iter().all(comes_round));
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
            self.pulse.comes_round();
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
        self.pulse.comes_round();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn any_task_gives_the_sign_of_life_while_all_are_well() {
        let (say, mut said) = unbounded_channel();
        let pulse = Pulse::new(Instant::now(), Duration::from_millis(100), say);
        let mut signs = || std::iter::from_fn(|| said.try_recv().ok()).count();
        let pass = |ms| tokio::time::advance(Duration::from_millis(ms));
        // The heartbeat does not come to its turn, its tasks do: often, and told seldom.
        for _ in 0..30 {
            pass(10).await;
            pulse.comes_round();
        }
        assert_eq!(signs(), 3);
        // One of them hangs: the others' being busy is no sign of life.
        pulse.looked(false);
        pass(200).await;
        pulse.comes_round();
        assert_eq!(signs(), 0);
        pulse.looked(true);
        pass(200).await;
        pulse.comes_round();
        assert_eq!(signs(), 2);
        // Nobody looked at all for too long.
        pass(millis(STALLED)).await;
        pulse.comes_round();
        assert_eq!(signs(), 0);
    }
}
