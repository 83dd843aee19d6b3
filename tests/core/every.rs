//! Every story of every small plan: all orders of events, one failure or one crash anywhere, for three
//! steps (both at once with `CORE_EVERY=1`, which takes minutes; four steps with `CORE_EVERY=4`).

use crate::tale::{header, noon, person};
use crate::world::{Truth, World};
use cutover::event::{Answer, Ending, Event, Job, Options, Outputs, Record, Request, Way};
use cutover::failure::Failure;
use cutover::graph::testing::PlanBuilder;
use cutover::plan::OnFailure;
use cutover::run::{Command, Run};
use cutover::runner::sim::Oracle;
use std::sync::Arc;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone)]
struct State {
    run: Run,
    world: World,
    oracle: Oracle,
    failures: u32,
    crashes: u32,
}

impl State {
    fn with(&self, event: Event, change: impl FnOnce(&mut World)) -> Self {
        let mut next = self.clone();
        change(&mut next.world);
        let record = Record { seq: next.run.seq() + 1, at: noon(), event };
        next.run.apply(&record).unwrap_or_else(|why| panic!("{:?}: {}", record.event, why.0));
        let kept = next.oracle.judge(&self.run, &record, &next.run, &next.world);
        kept.unwrap_or_else(|violation| panic!("{violation}"));
        next
    }

    /// Every way in which an attempt can end here, itself included.
    fn ends(&self, job: Job) -> Vec<Self> {
        let done = || Ending::Done(Outputs::new());
        let end = |ending: Ending, truth: Truth| {
            self.with(Event::Ended(job, ending), |world| {
                world.jobs.remove(&job.step);
                world.set(job.step, truth);
            })
        };
        let was = self.world.truth(job.step);
        let well = match job.way {
            Way::Do => end(done(), Truth::Present),
            Way::Undo => end(done(), Truth::Absent),
            Way::Check if was == Truth::Present => end(done(), was),
            Way::Check => end(Ending::NotDone, was),
        };
        let mut all = vec![well];
        if self.failures > 0 && job.way != Way::Check {
            let mut failed = end(Ending::Failed(Failure::last("broken")), Truth::Half);
            failed.failures -= 1;
            all.push(failed);
        }
        all
    }

    /// A crash, with everything that the attempts under way may have left.
    fn crash(&self) -> Vec<Self> {
        let mut left = vec![self.world.clone()];
        for job in self.world.jobs.values() {
            let truths: &[Truth] = match job.way {
                Way::Check => &[],
                _ => &[Truth::Absent, Truth::Half, Truth::Present],
            };
            let was = self.world.truth(job.step);
            left = left
                .into_iter()
                .flat_map(|world| {
                    let possible = truths.iter().copied().filter(|it| {
                        job.way == Way::Do || *it != Truth::Present || was == Truth::Present
                    });
                    let possible: Vec<Truth> =
                        if truths.is_empty() { vec![was] } else { possible.collect() };
                    possible.into_iter().map(move |truth| {
                        let mut world = world.clone();
                        world.set(job.step, truth);
                        world
                    })
                })
                .collect();
        }
        let opened = Event::Opened { epoch: 1, boot: "b".into(), pid: 1, cut: 0 };
        left.into_iter()
            .map(|mut world| {
                world.jobs.clear();
                let mut next = self.with(opened.clone(), |it| *it = world);
                next.crashes -= 1;
                next
            })
            .collect()
    }

    /// What people answer when asked: the truth, and then once more.
    fn answered(&self) -> Option<Self> {
        let question = self.run.questions().into_iter().next()?;
        let truth = question.step.map(|step| self.world.truth(step));
        let answer = question.answers.iter().copied().find(|answer| match answer {
            Answer::Done => truth == Some(Truth::Present),
            Answer::NotDone => truth != Some(Truth::Present),
            _ => true,
        })?;
        let what = Request::Answer { question: question.id, answer, note: String::new() };
        let event = self.run.admit(&person("ada", &[]), what).expect("offered");
        Some(self.with(event, |_| {}))
    }

    fn explore(&self, count: &mut u64) {
        *count += 1;
        let mut commands = Vec::new();
        self.run.next(&mut commands);
        let mut stuck = true;
        for command in commands {
            stuck = false;
            match command {
                Command::Start(job) => {
                    let start = |world: &mut World| {
                        world.jobs.insert(job.step, job);
                    };
                    self.with(Event::Started(job), start).explore(count);
                }
                Command::Close(outcome) => {
                    *count += 1;
                    let end = self.with(Event::Closed(outcome), |_| {});
                    end.oracle.judge_end(&end.run, &end.world).unwrap();
                    return;
                }
                Command::Stop(job) => {
                    let stopped = |world: &mut World| {
                        world.jobs.remove(&job.step);
                        world.set(job.step, Truth::Half);
                    };
                    self.with(Event::Ended(job, Ending::Stopped), stopped).explore(count);
                }
                Command::Wake(timer, _) => {
                    self.with(Event::Due { timer, jumped: false }, |_| {}).explore(count);
                }
            }
        }
        for job in self.world.jobs.values() {
            stuck = false;
            for next in self.ends(*job) {
                next.explore(count);
            }
        }
        if self.crashes > 0 && !self.world.jobs.is_empty() {
            for next in self.crash() {
                next.explore(count);
            }
        }
        if stuck {
            self.answered().expect("nothing is ordered, runs, or is asked").explore(count);
        }
    }
}

#[test]
fn every_story_of_every_plan_of_three_steps_ends_rightly() {
    let mut count = 0;
    let every = std::env::var("CORE_EVERY").ok();
    let both = every.as_deref() == Some("1");
    let troubles: &[(u32, u32)] = if both { &[(1, 1)] } else { &[(1, 0), (0, 1)] };
    let names = if every.as_deref() == Some("4") { &NAMES[..] } else { &NAMES[..3] };
    for edges in 0..1u32 << (names.len() * (names.len() - 1) / 2) {
        for (check, policy) in [(true, OnFailure::Rollback), (false, OnFailure::Hold)] {
            let mut plan = PlanBuilder::new().on_failure(policy).limit("steps", 2);
            for (at, name) in names.iter().enumerate() {
                plan = plan.step(name, |step| {
                    let needs = (0..at)
                        .filter(|need| edges & (1 << (at * at.saturating_sub(1) / 2 + need)) != 0);
                    let step = step.needs(needs.map(|need| names[need]).collect::<Vec<_>>());
                    if check { step.check(&["look"]) } else { step }
                });
            }
            let graph = plan.graph();
            for (failures, crashes) in troubles.iter().copied() {
                let run = Run::new(Arc::clone(&graph));
                let (world, oracle) = (World::new(&graph), Oracle::new(&graph));
                let state = State { run, world, oracle, failures, crashes };
                let begun = Event::Begun(Box::new(header(Options::default())));
                state.with(begun, |_| {}).explore(&mut count);
            }
        }
    }
    assert!(count > 10_000, "{count} states are few");
}
