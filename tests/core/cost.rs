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

#[test]
fn an_event_costs_what_it_touches_however_many_are_ready_to_take() {
    let best = |graph| (0..3).map(|_| per_event(graph)).min().expect("three");
    let (small, large) = (best(&takers(200)), best(&takers(4_000)));
    assert!(large < small * 6, "{large:?} an event with 4,000 ready takers, {small:?} with 200");
}

/// `cargo test --release --test core figure -- --ignored --nocapture`
#[test]
#[ignore = "a figure, not a judgement"]
#[expect(clippy::print_stdout, reason = "the figure is for who asks for it")]
fn figure_of_100_000_steps() {
    println!("{:?} an event", per_event(&layers(50_000)));
    for count in [1_000, 4_000] {
        println!("{:?} an event with {count} ready takers", per_event(&takers(count)));
    }
}

/// Steps that are all ready at once, each of which disturbs a provider that does not serve.
fn takers(count: usize) -> Arc<Graph> {
    let hosts: Vec<String> = (0..count).map(|at| format!("h{at}")).collect();
    PlanBuilder::new()
        .protect("ocsp", false, 0, ["ocsp@from/one"])
        .step("up", |step| {
            step.each("host", hosts.iter().map(String::as_str)).disturbs(["ocsp@to/${{ host }}"])
        })
        .graph()
}

/// `cargo test --release --test core figure -- --ignored --nocapture`
#[test]
#[ignore = "a figure, not a judgement"]
#[expect(clippy::print_stdout, reason = "the figure is for who asks for it")]
fn figure_of_the_way_back_of_100_000_steps() {
    use cutover::proof::present::{Present, Stand, prove_back};
    let hosts: Vec<String> = (0..2_000).map(|at| format!("h{at}")).collect();
    let hosts = || hosts.iter().map(String::as_str);
    let providers: Vec<String> = hosts().map(|host| format!("ocsp@from/{host}")).collect();
    let rest: Vec<String> = (0..98_000).map(|at| format!("v{at}")).collect();
    let graph = PlanBuilder::new()
        .protect("ocsp", false, 1_999, providers.iter().map(String::as_str))
        .step("rest", |step| step.each("at", rest.iter().map(String::as_str)))
        .step("up", |step| step.each("host", hosts()).serial().disturbs(["ocsp@from/${{ host }}"]))
        .graph();
    let down = graph.find_provider("ocsp@from/h7").expect("a provider");
    for (what, is_down) in [("kept", false), ("refused, with its sequence", true)] {
        let begin = Instant::now();
        let proved = prove_back(
            &graph,
            &Present {
                stands: &|_| Stand::Done,
                goes_back: &|_| true,
                is_down: &|provider| is_down && provider == down,
            },
        );
        assert_eq!(proved.is_ok(), !is_down);
        println!("the way back of {} steps {what}: {:?}", graph.len(), begin.elapsed());
    }
}
