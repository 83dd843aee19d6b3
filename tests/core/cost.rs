//! An event costs what its edges cost: twenty times the steps, about the same per event.

use crate::tale::{header, noon};
use cutover::event::{Ending, Event, Options, Outcome, Outputs, Record};
use cutover::graph::Graph;
use cutover::graph::testing::PlanBuilder;
use cutover::run::{Command, Run};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Two layers of `width` steps, the second paired with the first, 16 at once.
fn layers(width: usize) -> Arc<Graph> {
    let values: Vec<String> = (0..width).map(|at| format!("v{at}")).collect();
    let values = || values.iter().map(String::as_str);
    PlanBuilder::new()
        .step("one", |step| step.each("at", values()))
        .step("two", |step| step.each("at", values()).needs(["one"]))
        .graph()
}

/// Runs the plan to its end, and says how long an event took.
fn per_event(graph: &Arc<Graph>) -> Duration {
    let mut run = Run::new(Arc::clone(graph));
    let apply = |run: &mut Run, event| {
        let record = Record { seq: run.seq() + 1, at: noon(), event };
        run.apply(&record).expect("legal");
    };
    apply(&mut run, Event::Begun(Box::new(header(Options::default()))));
    let begin = Instant::now();
    let mut commands = Vec::new();
    while run.outcome().is_none() {
        commands.clear();
        run.next(&mut commands);
        let close = commands.contains(&Command::Close(Outcome::Completed));
        for command in commands.drain(..) {
            if let Command::Start(job) = command {
                apply(&mut run, Event::Started(job));
            }
        }
        if close {
            apply(&mut run, Event::Closed(Outcome::Completed));
        } else {
            let job = run.running().next().expect("something runs");
            apply(&mut run, Event::Ended(job, Ending::Done(Outputs::new())));
        }
    }
    begin.elapsed() / run.seq() as u32
}

#[test]
fn an_event_costs_what_its_edges_cost() {
    let small = layers(500);
    let large = layers(10_000);
    // The best of three: what else the machine does is no matter here.
    let best = |graph| (0..3).map(|_| per_event(graph)).min().expect("three");
    let (small, large) = (best(&small), best(&large));
    assert!(large < small * 6, "{large:?} an event with 20,000 steps, {small:?} with 1,000");
}

/// `cargo test --release --test core figure -- --ignored --nocapture`
#[test]
#[ignore = "a figure, not a judgement"]
#[expect(clippy::print_stdout, reason = "the figure is for who asks for it")]
fn figure_of_100_000_steps() {
    println!("{:?} an event", per_event(&layers(50_000)));
}
