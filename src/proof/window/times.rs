//! How long steps take: the plan's estimates, and what earlier runs measured.
//!
//! A range is drawn from evenly: its writer said its ends and nothing between them, and no other
//! shape with these ends makes a late end likelier without claiming to know more. What was measured
//! is drawn from as it was seen, evenly between neighbours. An undo that nobody measured is taken to
//! be as long as its do. Not known here: how a run directory is read.

use super::random::Random;
use crate::action::Action;
use crate::event::{Header, StepId, Way};
use crate::graph::Graph;
use crate::history::{self, End, History};
use crate::run::action;
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// A run that was learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub run: String,
    /// A rehearsal: its durations are those of the lab, not of the day.
    pub rehearsal: bool,
    /// Faults were put into it on purpose: its failures teach nothing, nor do the steps named.
    pub faults: bool,
    /// Durations that were taken from it.
    pub durations: usize,
}

/// What was seen of one way of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Milliseconds of attempts that reached their end, ascending once laid out.
    good: Vec<i64>,
    /// Milliseconds of attempts that failed.
    bad: Vec<i64>,
    /// Attempts that count for the odds of failure, and how many of them failed.
    tried: u32,
    failed: u32,
}

/// What earlier runs took, by step name.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    runs: Vec<Source>,
    /// Of each step its do and its undo.
    steps: BTreeMap<String, (Seen, Seen)>,
}

impl Learned {
    /// Takes in what a run took, of this plan or another: it serves steps of the same name.
    ///
    /// Attempts that were stopped, that the runner did not outlive, or that are still under way say
    /// nothing of how long the step takes. A rehearsal does manual steps by itself, so theirs are
    /// left out there. What a run waited for lies between attempts, and is never in them.
    pub fn add(&mut self, header: &Header, graph: &Graph, history: &History) {
        let options = &header.options;
        let spoilt: Vec<&str> =
            options.faults.iter().filter_map(|fault| Some(fault.split_once('=')?.0)).collect();
        let openings: Vec<_> = history.openings().iter().map(|opening| opening.at).collect();
        let mut durations = 0;
        for step in graph.steps() {
            let name = graph.name(step);
            let def = graph.def(step);
            if spoilt.contains(&name.as_str()) || spoilt.contains(&def.name.value.as_str()) {
                continue;
            }
            for attempt in &history.step(step).attempts {
                let manual = action(def, attempt.way).is_some_and(Action::is_manual);
                let Some(took) = took(attempt) else { continue };
                // A runner that died ended it: the crash says nothing of the step.
                let cut = attempt.ended.is_some_and(|ended| openings.contains(&ended));
                if (manual && options.rehearsal) || (cut && attempt.end == Some(End::InDoubt)) {
                    continue;
                }
                if matches!(attempt.end, None | Some(End::Stopped | End::Withdrawn)) {
                    continue;
                }
                let (does, undoes) = self.steps.entry(name.clone()).or_default();
                let seen = match attempt.way {
                    Way::Do => does,
                    Way::Undo => undoes,
                    Way::Check => continue,
                };
                let counts = options.faults.is_empty();
                seen.tried += u32::from(counts);
                if attempt.end == Some(End::Done) {
                    seen.good.push(took);
                    durations += 1;
                } else if counts {
                    seen.failed += 1;
                    seen.bad.push(took);
                }
            }
        }
        self.runs.push(Source {
            run: header.run.clone(),
            rehearsal: options.rehearsal,
            faults: !options.faults.is_empty(),
            durations,
        });
    }
}

#[cfg(test)]
impl Learned {
    /// As if a do was seen to take these milliseconds, and so many of its attempts to fail.
    pub(super) fn seen(&mut self, step: &str, good: &[i64], tried: u32, failed: u32) {
        let seen = Seen { good: good.to_vec(), bad: Vec::new(), tried, failed };
        self.steps.entry(step.to_owned()).or_default().0 = seen;
    }

    /// The same of an undo.
    pub(super) fn seen_undone(&mut self, step: &str, good: &[i64], tried: u32, failed: u32) {
        let seen = Seen { good: good.to_vec(), bad: Vec::new(), tried, failed };
        self.steps.entry(step.to_owned()).or_default().1 = seen;
    }
}

fn took(attempt: &history::Attempt) -> Option<i64> {
    Some(millis(attempt.ended?.duration_since(attempt.started)).max(0))
}

pub(super) fn millis(time: SignedDuration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// How long something takes, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Law {
    /// Anything between these, each as likely.
    Range(i64, i64),
    /// As it was seen, ascending, at least two; evenly between neighbours.
    Seen(Vec<i64>),
}

impl Law {
    fn seen(mut values: Vec<i64>) -> Option<Self> {
        values.sort_unstable();
        match values.as_slice() {
            [] => None,
            [only] => Some(Self::Range(*only, *only)),
            _ => Some(Self::Seen(values)),
        }
    }

    fn draw(&self, random: &mut Random) -> i64 {
        let within = |low: i64, high: i64, random: &mut Random| {
            low + random.up_to(high.abs_diff(low)).cast_signed()
        };
        match self {
            Self::Range(low, high) if low == high => *low,
            Self::Range(low, high) => within(*low, *high, random),
            Self::Seen(values) => {
                let at = random.up_to(values.len() as u64 - 2) as usize;
                within(values[at], values[at + 1], random)
            }
        }
    }

    fn middle(&self) -> i64 {
        match self {
            Self::Range(low, high) => low.midpoint(*high),
            Self::Seen(values) => {
                let half = values.len() / 2;
                if values.len() % 2 == 1 {
                    values[half]
                } else {
                    values[half - 1].midpoint(values[half])
                }
            }
        }
    }

    fn most(&self) -> i64 {
        match self {
            Self::Range(_, high) => *high,
            Self::Seen(values) => values.last().copied().unwrap_or(0),
        }
    }
}

/// How an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Milliseconds.
    pub(super) takes: i64,
    /// Whether it reaches its end.
    pub(super) good: bool,
}

/// One way of one step: how long an attempt takes, and how often one fails.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pace {
    good: Law,
    /// Of an attempt that fails; as long as a good one where none was seen.
    bad: Option<Law>,
    /// Share of attempts that fail: only measured ones do.
    fails: f64,
}

impl Pace {
    const NOTHING: Self = Self { good: Law::Range(0, 0), bad: None, fails: 0.0 };

    fn of(seen: Option<&Seen>, guess: Law) -> Self {
        let Some(seen) = seen else { return Self { good: guess, ..Self::NOTHING } };
        Self {
            good: Law::seen(seen.good.clone()).unwrap_or(guess),
            bad: Law::seen(seen.bad.clone()),
            fails: f64::from(seen.failed) / f64::from(seen.tried.max(1)),
        }
    }

    /// How long an attempt takes, and whether it reaches its end.
    pub(super) fn draw(&self, random: &mut Random) -> Attempt {
        let good = self.fails <= 0.0 || !random.happens(self.fails);
        let law = if good { &self.good } else { self.bad.as_ref().unwrap_or(&self.good) };
        Attempt { takes: law.draw(random), good }
    }

    /// Its least and what may come on top, where every attempt is good and any length as likely.
    fn quick(&self) -> Option<(u32, u32)> {
        let Law::Range(low, high) = self.good else { return None };
        let more = u32::try_from(high.checked_sub(low)?).ok()?;
        (self.fails <= 0.0 && more != LONG).then_some((u32::try_from(low).ok()?, more))
    }

    /// A duration with as many below it as above.
    pub(super) fn middle(&self) -> i64 {
        self.good.middle()
    }

    /// The longest that was written or seen.
    pub(super) fn most(&self) -> i64 {
        self.good.most()
    }
}

/// Where the duration of a step's do comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Measured,
    Estimated,
    Unknown,
}

/// How long each step of a graph takes.
#[derive(Clone, Debug)]
pub struct Times {
    runs: Vec<Source>,
    /// Do and undo.
    paces: Vec<(Pace, Pace)>,
    /// Of each do, what most draws need: its least, and what may come on top; [`LONG`] on top where
    /// that is not all.
    quick: Vec<(u32, u32)>,
    may_fail: bool,
    origins: Vec<Origin>,
}

/// Not to be drawn in short.
const LONG: u32 = u32::MAX;

impl Times {
    /// What was measured, else the plan's estimates. Nothing was measured with `Learned::default`.
    pub fn new(graph: &Graph, learned: &Learned) -> Self {
        let mut paces = Vec::with_capacity(graph.len());
        let mut origins = Vec::with_capacity(graph.len());
        for step in graph.steps() {
            let def = graph.def(step);
            let seen = (!learned.steps.is_empty()).then(|| learned.steps.get(&graph.name(step)));
            let seen = seen.flatten();
            let estimate = def.estimate.map(|(low, high)| Law::Range(millis(low), millis(high)));
            let origin = match (seen, &estimate) {
                (Some((seen, _)), _) if !seen.good.is_empty() => Origin::Measured,
                (_, Some(_)) => Origin::Estimated,
                _ => Origin::Unknown,
            };
            let guess = estimate.unwrap_or(Law::Range(0, 0));
            let does = Pace::of(seen.map(|(seen, _)| seen), guess);
            let undoes = match action(def, Way::Undo) {
                Some(_) => Pace::of(seen.map(|(_, seen)| seen), does.good.clone()),
                None => Pace::NOTHING,
            };
            paces.push((does, undoes));
            origins.push(origin);
        }
        let quick = paces.iter().map(|(does, _)| does.quick().unwrap_or((0, LONG))).collect();
        let may_fail = paces.iter().any(|(does, _)| does.fails > 0.0);
        Self { runs: learned.runs.clone(), paces, quick, may_fail, origins }
    }

    /// The runs that were learned from.
    pub fn runs(&self) -> &[Source] {
        &self.runs
    }

    /// An attempt of the do of a step: what [`Pace::draw`] gives, without its detours.
    pub(super) fn draw(&self, step: StepId, random: &mut Random) -> Attempt {
        match self.quick[step.index()] {
            (_, LONG) => self.does(step).draw(random),
            (least, 0) => Attempt { takes: i64::from(least), good: true },
            (least, more) => {
                let more = random.up_to(u64::from(more)).cast_signed();
                Attempt { takes: i64::from(least) + more, good: true }
            }
        }
    }

    /// Whether any attempt of a do may fail.
    pub(super) fn may_fail(&self) -> bool {
        self.may_fail
    }

    /// How the do of a step goes.
    pub(super) fn does(&self, step: StepId) -> &Pace {
        &self.paces[step.index()].0
    }

    /// How the undo of a step goes.
    pub(super) fn undoes(&self, step: StepId) -> &Pace {
        &self.paces[step.index()].1
    }

    pub(super) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Whether any duration of a step was measured: only then may shares be called odds.
    pub(super) fn measured(&self) -> bool {
        self.origins.contains(&Origin::Measured)
    }

    /// Whether anything is known at all.
    pub(super) fn known(&self) -> bool {
        self.origins.iter().any(|origin| *origin != Origin::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Ending, Event, Job, Options, Outputs, Person, Record};
    use crate::failure::Failure;
    use crate::graph::testing::PlanBuilder;
    use crate::run::Run;
    use jiff::Timestamp;
    use std::sync::Arc;

    fn header(options: Options) -> Header {
        let by = Person { login: "mara".into(), uid: 1, groups: Vec::new() };
        let text = String::new;
        Header {
            format: 1,
            program: text(),
            run: "r-1".into(),
            plan_path: text(),
            plan: text(),
            estate_path: None,
            estate: None,
            graph: text(),
            by,
            options,
        }
    }

    fn graph() -> Arc<Graph> {
        PlanBuilder::new()
            .step("a", |step| {
                step.estimate(SignedDuration::from_mins(9))
                    .attempts(3, SignedDuration::from_secs(600))
            })
            .step("b", |step| step.estimate(SignedDuration::from_mins(9)))
            .step("hand", |step| step.manual(["ops"], 1).estimate(SignedDuration::from_mins(9)))
            .graph()
    }

    /// Records at seconds since the begin.
    fn history(graph: &Arc<Graph>, options: &Options, events: &[(i64, Event)]) -> History {
        let (mut run, mut history) = (Run::new(graph.clone()), History::new(graph));
        let begun = (0, Event::Begun(Box::new(header(options.clone()))));
        let opened = |epoch| Event::Opened { epoch, boot: String::new(), pid: 1, cut: 0 };
        let all = [begun, (0, opened(1))].into_iter().chain(events.iter().cloned());
        for (seq, (at, event)) in (1..).zip(all) {
            let at = Timestamp::from_second(1_500_000_000 + at).expect("in range");
            let record = Record { seq, at, event };
            history.apply(&record, &mut run).unwrap_or_else(|why| panic!("{record:?}: {why:?}"));
        }
        history
    }

    fn job(graph: &Graph, step: &str, attempt: u32) -> Job {
        Job { step: graph.find(step).expect("there"), way: Way::Do, attempt }
    }

    fn good() -> Ending {
        Ending::Done(Outputs::default())
    }

    fn learned(graph: &Arc<Graph>, options: &Options, events: &[(i64, Event)]) -> Learned {
        let mut learned = Learned::default();
        learned.add(&header(options.clone()), graph, &history(graph, options, events));
        learned
    }

    fn retried(graph: &Graph) -> Vec<(i64, Event)> {
        let step = graph.find("a").expect("there");
        let timer = crate::event::Timer::Retry(step, Way::Do);
        vec![
            (10, Event::Started(job(graph, "a", 1))),
            (14, Event::Ended(job(graph, "a", 1), Ending::Failed(Failure::transient("no")))),
            (614, Event::Due { timer, jumped: false }),
            (615, Event::Started(job(graph, "a", 2))),
            (645, Event::Ended(job(graph, "a", 2), good())),
        ]
    }

    #[test]
    fn attempts_teach_and_what_lies_between_them_does_not() {
        let graph = graph();
        let learned = learned(&graph, &Options::default(), &retried(&graph));
        let (does, undoes) = &learned.steps["a"];
        let wanted = Seen { good: vec![30_000], bad: vec![4_000], tried: 2, failed: 1 };
        assert_eq!((does, undoes), (&wanted, &Seen::default()));
        let times = Times::new(&graph, &learned);
        let a = times.does(graph.find("a").expect("there"));
        assert_eq!((a.middle(), a.most(), a.fails), (30_000, 30_000, 0.5));
        // An undo that nobody measured takes as long as the do was seen to take.
        assert_eq!(times.undoes(graph.find("a").expect("there")).most(), 30_000);
        let b = times.does(graph.find("b").expect("there"));
        assert_eq!((b.middle(), b.fails), (540_000, 0.0));
        assert_eq!(times.origins(), [Origin::Measured, Origin::Estimated, Origin::Estimated]);
        assert_eq!(times.runs()[0].durations, 1);
    }

    #[test]
    fn what_was_cut_off_or_put_in_on_purpose_teaches_nothing() {
        let graph = graph();
        let cut = [
            (10, Event::Started(job(&graph, "b", 1))),
            (70, Event::Opened { epoch: 2, boot: String::new(), pid: 2, cut: 0 }),
        ];
        assert!(!learned(&graph, &Options::default(), &cut).steps.contains_key("b"));

        let with = |fault: &str| Options { faults: vec![fault.into()], ..Options::default() };
        let spoilt = learned(&graph, &with("a=fail"), &retried(&graph));
        assert!(spoilt.steps.is_empty());
        let other = learned(&graph, &with("guard=hang"), &retried(&graph));
        let wanted = Seen { good: vec![30_000], ..Seen::default() };
        assert_eq!(other.steps["a"].0, wanted);
        assert!(other.runs[0].faults);
    }

    #[test]
    fn a_rehearsal_does_not_know_how_long_people_take() {
        let graph = graph();
        let by_hand = |rehearsal| {
            let options = Options { rehearsal, ..Options::default() };
            let step = graph.find("hand").expect("there");
            let person = header(Options::default()).by;
            let person = Person { groups: vec!["ops".into()], ..person };
            let evidence = String::new();
            let ask = |request| Event::Requested(person.clone(), request);
            let events = [
                (10, Event::Started(job(&graph, "hand", 1))),
                (20, ask(crate::event::Request::Claim { step })),
                (70, ask(crate::event::Request::Finish { step, evidence })),
            ];
            learned(&graph, &options, &events)
        };
        assert_eq!(by_hand(false).steps["hand"].0.good, [60_000]);
        assert!(by_hand(true).steps.is_empty());
    }

    #[test]
    fn what_was_seen_is_drawn_from_between_neighbours() {
        let law = Law::seen(vec![30, 10, 100]).expect("some");
        assert_eq!((law.middle(), law.most()), (30, 100));
        let mut random = Random::stream(1, 0);
        let drawn: Vec<i64> = (0..1000).map(|_| law.draw(&mut random)).collect();
        let low = drawn.iter().filter(|value| **value <= 30).count();
        assert!((440..560).contains(&low) && drawn.iter().all(|value| (10..=100).contains(value)));
        assert_eq!(Law::seen(Vec::new()), None);
        assert_eq!(Law::seen(vec![7]), Some(Law::Range(7, 7)));
    }
}
