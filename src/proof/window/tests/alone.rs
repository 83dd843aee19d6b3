//! Lines that go back alone in an execution, by hand.

use super::*;
use crate::proof::window::simulate::{Proofs, Tally};

/// What comes of three executions.
fn tally(graph: &Graph, learned: &Learned) -> Tally {
    let times = Times::new(graph, learned);
    let (doing, undoing) = Side::both(graph);
    let (parts, from) = course(graph, &times);
    let task = Task::new(graph, &doing, &of_window(graph, parts));
    let proofs = Proofs::new(graph);
    let (doing, undoing) = (&doing, &undoing);
    let stage = Stage { graph, times: &times, doing, undoing, task: &task, from, seed: 1, proofs };
    stage.executions(3, &in_turn)
}

/// Each execution completes without a line, at this minute.
fn assert_partly(plan: PlanBuilder, learned: &Learned, minute: i64) {
    let tally = tally(&plan.graph(), learned);
    assert_eq!((tally.ends.len(), tally.back.len(), tally.held), (0, 0, 0));
    assert_eq!(tally.partly, [minute * 60_000; 3]);
}

fn assert_held(plan: PlanBuilder, learned: &Learned) {
    assert_eq!(tally(&plan.graph(), learned).held, 3);
}

/// The step fails whenever it is tried, after so many minutes.
fn fails(step: &str, took: i64) -> Learned {
    seen(&[(step, took, 1, 1)])
}

fn two_lines() -> PlanBuilder {
    plan().lines(["a", "b"]).on_failure(OnFailure::RollbackLine)
}

fn each(count: i64) -> impl FnOnce(StepBuilder) -> StepBuilder {
    move |step| step.each("line", ["a", "b"]).estimate(minutes(count))
}

/// Both lines, then what needs both, then both again.
fn joined(join: impl FnOnce(StepBuilder) -> StepBuilder) -> PlanBuilder {
    two_lines()
        .step("early", each(10))
        .step("join", |step| join(step.needs_all("early")))
        .step("late", |step| each(30)(step).needs(["join"]))
}

#[test]
fn the_rest_goes_on_while_a_line_is_undone() {
    let plan =
        two_lines().step("copy", each(60)).step("next", |step| each(30)(step).needs(["copy"]));
    // The copy of `b` fails at 60 and is undone at 120, half-done as it is.
    assert_partly(plan, &fails("copy[b]", 60), 120);
    let plan =
        two_lines().step("copy", each(60)).step("next", |step| each(90)(step).needs(["copy"]));
    assert_partly(plan, &fails("copy[b]", 60), 150);
}

#[test]
fn what_needs_the_line_waits_until_it_is_out() {
    let plan = two_lines()
        .step("copy", each(60))
        .step("join", |step| step.needs_all("copy").estimate(minutes(10)));
    assert_partly(plan, &fails("copy[b]", 60), 130);
}

#[test]
fn what_was_undone_because_of_the_line_starts_again() {
    // At 60 `late[b]` fails. Back go both `late` (30), `join` (20), `early[b]` (10), to 120; then
    // again `join` (20) and `late[a]` (30).
    assert_partly(joined(takes(20)), &fails("late[b]", 30), 170);
    // One at once: at 100 it fails, at 190 the line is out.
    let plan = joined(takes(20)).limit("steps", 1);
    assert_partly(plan, &fails("late[b]", 30), 240);
}

#[test]
fn a_step_with_nothing_to_undo_hands_the_order_on() {
    let plan = joined(|step| step.estimate(minutes(20)).no_undo());
    assert_partly(plan, &fails("late[b]", 30), 60 + 30 + 10 + 20 + 30);
}

#[test]
fn a_step_that_finishes_is_waited_for() {
    let make = |change: fn(StepBuilder) -> StepBuilder| {
        two_lines()
            .step("early", each(10))
            .step("slow", |step| change(step.needs_all("early").estimate(minutes(100))))
            .step("late", |step| each(30)(step).needs(["early"]))
    };
    // Ended at 40, undone at 140, `early[b]` at 150, done again at 250.
    assert_partly(make(|step| step), &fails("late[b]", 30), 250);
    // It ends at 110, is undone at 210, `early[b]` at 220.
    assert_partly(make(StepBuilder::finish_on_rollback), &fails("late[b]", 30), 320);
}

#[test]
fn a_gate_that_waits_is_not_begun() {
    let plan = two_lines()
        .step("early", each(10))
        .step("go", |step| {
            step.needs_all("early")
                .gate(["managers"], 1)
                .estimate(minutes(500))
                .point_of_no_return()
        })
        .step("late", |step| each(30)(step).needs(["early"]));
    // It is open when `b` fails at 40, and again from 80 on.
    assert_partly(plan, &fails("late[b]", 30), 580);
}

#[test]
fn attempts_are_made_before_and_after() {
    let plan = two_lines().step("copy", |step| each(60)(step).attempts(2, minutes(7)));
    assert_partly(plan, &fails("copy[b]", 60), 60 + 7 + 60 + 60);
}

#[test]
fn two_lines_go_out_one_beside_the_other() {
    let learned = seen(&[("copy[a]", 60, 1, 1), ("copy[b]", 90, 1, 1)]);
    let plan = two_lines()
        .lines(["c"])
        .step("copy", |step| step.each("line", ["a", "b", "c"]).estimate(minutes(60)))
        .step("join", |step| step.needs_all("copy").estimate(minutes(10)));
    // `a` is out at 120, `b` at 180: only then does `join` begin.
    assert_partly(plan, &learned, 190);
}

#[test]
fn a_second_line_takes_back_what_the_first_one_let_go() {
    // `late[b]` fails at 60 and is out at 120; `join` again until 140, then `late[a]` fails at 170.
    let learned = seen(&[("late[a]", 30, 1, 1), ("late[b]", 30, 1, 1)]);
    let plan = two_lines()
        .lines(["c"])
        .step("early", each(10))
        .step("join", |step| step.needs_all("early").estimate(minutes(20)))
        .step("late", |step| each(30)(step).needs(["join"]).serial());
    // One after the other: `late[a]` fails at 60, out at 60 + 30 + 20 + 10 = 120; `join` until 140,
    // `late[b]` until 170, out at 230; `join` once more until 250.
    assert_partly(plan, &learned, 250);
}

#[test]
fn all_goes_back_when_a_step_without_a_line_fails() {
    let learned = seen(&[("copy[b]", 60, 1, 1), ("alone", 90, 1, 1)]);
    let plan = two_lines().step("copy", each(60)).step("alone", takes(90));
    let tally = tally(&plan.graph(), &learned);
    // At 90, while `copy[b]` is undone until 120: `copy[a]` until 150, `alone` until 180.
    assert_eq!(tally.back, [180 * 60_000; 3]);
}

#[test]
fn what_was_done_before_the_window_goes_back_with_its_line_only() {
    let make = || {
        two_lines()
            .step("pack", |step| each(15)(step).phase(Phase::Before).not_before(at("07:00")))
            .step("copy", each(60))
    };
    // Phases are edges: both copies need `pack[b]`. They are undone at 120, `pack[b]` at 135; then
    // `copy[a]` again.
    assert_partly(make(), &fails("copy[b]", 60), 195);
    let plan = make().step("alone", takes(200));
    let learned = seen(&[("copy[b]", 60, 1, 1), ("alone", 200, 1, 1)]);
    // `alone` is undone at 260, `pack[b]` at 275; it fails at 475 and all goes back, but `pack[a]`.
    assert_eq!(tally(&plan.graph(), &learned).back, [675 * 60_000; 3]);
}

#[test]
fn people_are_asked_where_the_runner_asks_them() {
    // A point of no return needs the line.
    let plan = two_lines()
        .step("early", each(10))
        .step("mark", |step| step.needs_all("early").estimate(minutes(5)).point_of_no_return())
        .step("late", |step| each(30)(step).needs(["early"]));
    assert_held(plan, &fails("late[b]", 30));
    // Without the line the floor would break.
    let plan = two_lines()
        .protect("ocsp", false, 1, ["ocsp@from/1"])
        .step("up", |step| step.each("line", ["b"]).gains(["ocsp@to/1"]).estimate(minutes(10)))
        .step("down", |step| {
            step.each("line", ["a"]).needs_all("up").loses(["ocsp@from/1"]).estimate(minutes(10))
        });
    assert_held(plan, &fails("up[b]", 10));
    // An undo fails for good.
    let mut learned = fails("copy[b]", 60);
    learned.seen_undone("copy[b]", &[60_000], 1, 1);
    assert_held(two_lines().step("copy", each(60)), &learned);
    // Another step is left to people.
    let plan = two_lines()
        .step("copy", each(60))
        .step("alone", |step| step.estimate(minutes(90)).on_failure(OnFailure::Hold));
    let learned = seen(&[("copy[b]", 60, 1, 1), ("alone", 90, 1, 1)]);
    assert_held(plan, &learned);
}

#[test]
fn sets_of_lines_are_proved_as_far_as_that_is_cheap() {
    let most = |lines: usize, steps: usize| {
        let names: Vec<String> = (0..lines).map(|line| format!("l{line}")).collect();
        let plan = plan().lines(names.iter().map(String::as_str));
        let values: Vec<String> = (0..steps).map(|step| format!("h{step}")).collect();
        let graph =
            plan.step("a", |step| step.each("host", values.iter().map(String::as_str))).graph();
        Proofs::new(&graph).most
    };
    assert_eq!(most(6, 109), 6);
    // 40 + 780 sets of at most 1,000; with the 9,880 of three it would be more.
    assert_eq!(most(40, 5_000), 2);
    assert_eq!(most(40, 100_000), 1);
}

#[test]
fn the_page_counts_them_apart() {
    let graph = two_lines().step("copy", each(60)).graph();
    let window = outlook(&graph, &fails("copy[b]", 60), 20).window.expect("a window");
    assert_eq!((window.without_lines, window.without_lines_inside), (20, 20));
    assert_eq!((window.completed, window.inside, window.rolled_back, window.held), (0, 0, 0, 0));
    assert!(window.chance() <= 0.0, "it did not complete");
    let short = PlanBuilder::new()
        .window(at("08:00"), at("09:59"))
        .lines(["a", "b"])
        .on_failure(OnFailure::RollbackLine);
    let graph = short.step("copy", each(60)).graph();
    let window = outlook(&graph, &fails("copy[b]", 60), 20).window.expect("a window");
    assert_eq!((window.without_lines, window.without_lines_inside), (20, 0));
}

proptest! {
    /// Whatever fails: each execution comes to one end, and to the same one for a seed.
    #[test]
    fn executions_with_lines_add_up(
        needs in proptest::collection::vec((any::<prop::sample::Index>(), 0_u32..3, 0_i64..9), 1..7),
        wide in 1_u32..4,
    ) {
        let mut plan = two_lines().limit("steps", wide);
        let mut learned = Learned::default();
        for (at, (need, failed, time)) in needs.iter().enumerate() {
            let (name, need) = (format!("s{at}"), format!("s{}", need.index(at.max(1))));
            plan = plan.step(&name, |step| {
                let step = step.estimate(minutes(*time));
                let step = if at % 3 == 2 { step } else { step.each("line", ["a", "b"]) };
                if at == 0 { step } else { step.needs([need.as_str()]) }
            });
            for name in [name.clone(), format!("{name}[a]"), format!("{name}[b]")] {
                learned.seen(&name, &[time * 60_000], 4, *failed);
            }
        }
        let graph = plan.graph();
        let window = outlook(&graph, &learned, 60).window.expect("a window");
        let all = window.completed + window.rolled_back + window.without_lines + window.held;
        prop_assert_eq!(all, 60);
        let times = Times::new(&graph, &learned);
        let options = Options { executions: 60, ..Options::default() };
        let last_first = |pieces: usize, work: &(dyn Fn(usize) + Sync)| (0..pieces).rev().for_each(work);
        let again = judge(&graph, &times, &options, &last_first).and_then(|it| it.window);
        prop_assert_eq!(again, Some(window));
    }
}
