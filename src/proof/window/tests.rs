use super::schedule::{Bench, Course, Ended, Part, Side, Task};
use super::times::{Attempt, Learned, Times};
use super::*;
use crate::graph::testing::{PlanBuilder, StepBuilder};
use crate::plan::OnFailure;
use crate::run::Run;
use proptest::prelude::*;
use std::sync::Arc;

mod alone;
mod optimum;

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

fn at(text: &str) -> Timestamp {
    format!("2019-04-06T{text}Z").parse().expect("a time")
}

/// From 08:00 to 20:00.
fn plan() -> PlanBuilder {
    PlanBuilder::new().window(at("08:00"), at("20:00"))
}

fn takes(count: i64) -> impl FnOnce(StepBuilder) -> StepBuilder {
    move |step| step.estimate(minutes(count))
}

fn behind<'a>(
    count: i64,
    needs: impl IntoIterator<Item = &'a str>,
) -> impl FnOnce(StepBuilder) -> StepBuilder {
    move |step| step.estimate(minutes(count)).needs(needs)
}

fn outlook(graph: &Graph, learned: &Learned, executions: u32) -> Outlook {
    let options = Options { executions, ..Options::default() };
    judge(graph, &Times::new(graph, learned), &options, &in_turn).expect("durations are known")
}

/// Of estimates alone.
fn of(graph: &Graph) -> Outlook {
    outlook(graph, &Learned::default(), 500)
}

fn names(graph: &Graph, steps: impl IntoIterator<Item = StepId>) -> Vec<String> {
    steps.into_iter().map(|step| graph.name(step)).collect()
}

fn span_of(graph: &Graph, outlook: &Outlook, name: &str) -> (i64, i64) {
    let it = outlook.schedule[graph.find(name).expect("there").index()];
    (it.begins.as_mins(), it.ends.as_mins())
}

#[test]
fn a_chain_and_a_side_way() {
    let graph = plan()
        .step("a", takes(10))
        .step("b", behind(20, ["a"]))
        .step("c", behind(5, ["a"]))
        .step("d", behind(1, ["b", "c"]))
        .graph();
    let outlook = of(&graph);
    assert_eq!(outlook.ends, minutes(31));
    assert_eq!(names(&graph, outlook.critical_path.clone()), ["a", "b", "d"]);
    assert_eq!(span_of(&graph, &outlook, "c"), (10, 15));
    let window = outlook.window.expect("a window");
    let all = Spread { p50: minutes(31), p90: minutes(31), p99: minutes(31) };
    assert_eq!((window.end, window.completed, window.inside), (Some(all), 500, 500));
    let critical: Vec<_> = window.criticality.iter().map(|(it, share)| (it.0, *share)).collect();
    assert_eq!(critical, [(0, 1.0), (1, 1.0), (3, 1.0)]);
    assert!(!window.measured && outlook.warnings.is_empty());
}

#[test]
fn a_limit_makes_a_chain_of_steps_that_do_not_need_each_other() {
    let graph = plan()
        .limit("wan", 1)
        .step("short", |step| step.estimate(minutes(10)).uses(["wan"]))
        .step("long", |step| step.estimate(minutes(30)).uses(["wan"]))
        .step("free", takes(25))
        .graph();
    let outlook = of(&graph);
    // The longest way to the end goes first.
    assert_eq!(span_of(&graph, &outlook, "long"), (0, 30));
    assert_eq!(span_of(&graph, &outlook, "short"), (30, 40));
    assert_eq!(span_of(&graph, &outlook, "free"), (0, 25));
    assert_eq!(names(&graph, outlook.critical_path.clone()), ["long", "short"]);
    let short = outlook.schedule[graph.find("short").expect("there").index()];
    assert_eq!(short.limit.map(|limit| graph.limit_name(limit)), Some("wan"));
}

#[test]
fn all_in_all_two_at_once() {
    // Graham's own example of two machines: 3, 2, 2, 2 of which the last needs the first.
    let graph = plan()
        .limit("steps", 2)
        .step("a", takes(3))
        .step("b", takes(2))
        .step("c", takes(2))
        .step("d", behind(2, ["a"]))
        .graph();
    let outlook = of(&graph);
    assert_eq!(outlook.ends, minutes(5));
    assert_eq!(span_of(&graph, &outlook, "c"), (2, 4));
}

#[test]
fn people_take_no_limit() {
    let graph = plan()
        .limit("steps", 1)
        .step("work", takes(10))
        .step("ceremony", |step| step.manual(["custodians"], 1).estimate(minutes(10)))
        .step("go", |step| step.gate(["managers"], 1).estimate(minutes(10)))
        .graph();
    assert_eq!(of(&graph).ends, minutes(10));
}

#[test]
fn phases_and_moments() {
    let graph = plan()
        .step("notice", |step| {
            step.phase(Phase::Before).not_before(at("07:00")).estimate(minutes(5))
        })
        .step("pack", |step| step.phase(Phase::Before).estimate(minutes(90)).needs(["notice"]))
        .step("move", takes(30))
        .step("late", |step| step.not_before(at("12:00")).estimate(minutes(5)).needs(["move"]))
        .step("bye", |step| step.phase(Phase::After).estimate(minutes(60)))
        .graph();
    let outlook = of(&graph);
    assert_eq!(span_of(&graph, &outlook, "notice"), (-60, -55));
    // It is not ready when the window opens: the window's own steps lie behind it.
    assert_eq!(span_of(&graph, &outlook, "pack"), (-55, 35));
    assert_eq!(span_of(&graph, &outlook, "move"), (35, 65));
    assert_eq!(span_of(&graph, &outlook, "late"), (240, 245));
    assert_eq!(span_of(&graph, &outlook, "bye"), (245, 305));
    // What comes after the window does not count against it; the end hangs on the clock.
    assert_eq!(outlook.ends, minutes(245));
    assert_eq!(names(&graph, outlook.critical_path.clone()), ["late"]);
}

#[test]
fn nothing_is_said_without_durations_and_no_odds_without_a_window() {
    let graph = plan().step("a", |step| step).graph();
    let times = Times::new(&graph, &Learned::default());
    assert_eq!(judge(&graph, &times, &Options::default(), &in_turn), None);
    let graph = PlanBuilder::new().step("a", takes(3)).step("b", behind(4, ["a"])).graph();
    let outlook = of(&graph);
    assert_eq!((outlook.ends, outlook.window), (minutes(7), None));
    assert_eq!(outlook.critical_path.len(), 2);
}

#[test]
fn a_step_that_nothing_is_known_of_is_said() {
    let graph = plan().step("a", takes(3)).step("b", |step| step).graph();
    let outlook = of(&graph);
    assert_eq!(outlook.sources.unknown, 1);
    let said: Vec<_> = outlook.warnings.iter().map(|fault| (fault.code, &*fault.what)).collect();
    assert_eq!(said, [("no-estimate", "no duration is known of `b`: counted as nothing")]);
}

#[test]
fn a_range_is_drawn_from_evenly() {
    let make = |closes: &str| {
        PlanBuilder::new()
            .window(at("08:00"), at(closes))
            .step("a", |step| step.estimate_between(minutes(10), minutes(20)))
            .graph()
    };
    let graph = make("08:18");
    let outlook = outlook(&graph, &Learned::default(), 10_000);
    let window = outlook.window.expect("a window");
    assert!((0.78..0.82).contains(&window.chance()), "{}", window.chance());
    let end = window.end.expect("they complete");
    let near = |time: SignedDuration, wanted: i64| (time - minutes(wanted)).abs().as_secs() < 20;
    assert!(near(end.p50, 15) && near(end.p90, 19) && end.p99 > minutes(19), "{end:?}");
    assert_eq!(outlook.warnings[0].code, "window-too-short");
    assert!(
        outlook.warnings[0].what.starts_with("in one execution of ten the plan ends at 08:18"),
        "{}",
        outlook.warnings[0].what
    );
    let graph = make("08:12");
    let what = &of(&graph).warnings[0].what;
    assert_eq!(
        what,
        "the plan is expected to end at 08:15, 3m 00s after the window less its reserve"
    );
}

#[test]
fn the_turn_back_time_counts_what_is_begun_and_half_done() {
    let graph = plan()
        .limit("steps", 1)
        .step("a", takes(60))
        .step("b", behind(120, ["a"]))
        .step("look", |step| step.needs(["b"]).estimate(minutes(30)).no_undo())
        .step("go", |step| {
            step.gate(["managers"], 1).estimate(minutes(15)).needs(["look"]).point_of_no_return()
        })
        .step("c", behind(10, ["go"]))
        .graph();
    let window = of(&graph).window.expect("a window");
    let said: Vec<_> = window
        .turn_back
        .iter()
        .map(|it| (graph.name(it.step), it.at, it.rollback, it.by, it.margin))
        .collect();
    let line = |name: &str, begins, back, by, margin| {
        (name.to_owned(), minutes(begins), minutes(back), at(by), minutes(margin))
    };
    // `a` runs until 09:00, `b` until 11:00, `look` until 11:30; the gate is open until 11:45.
    let wanted = [
        line("a", 0, 60, "19:00", 600),
        line("b", 60, 180, "17:00", 360),
        line("look", 180, 180, "17:00", 315),
    ];
    assert_eq!(said, wanted);
    // Behind the gate lie 10 minutes.
    let go = window.latest_go[0];
    assert_eq!((graph.name(go.gate), go.p50, go.p99), ("go".to_owned(), at("19:50"), at("19:50")));
}

#[test]
fn a_plan_that_cannot_go_back_in_its_window_says_where() {
    let graph = plan().step("a", takes(300)).step("b", behind(200, ["a"])).graph();
    let outlook = of(&graph);
    let window = outlook.window.as_ref().expect("a window");
    // 300 + 200 forwards fit, but at the end of `b` the way back takes 500 of the 220 left.
    assert_eq!(outlook.ends, minutes(500));
    let bad: Vec<_> = window.no_way_back().map(|it| (graph.name(it.step), it.margin)).collect();
    assert_eq!(bad, [("b".to_owned(), minutes(-280))]);
    let fault = &outlook.warnings[0];
    assert_eq!((fault.code, fault.span), ("no-way-back", Some(graph.plan().steps[1].name.span)));
    assert_eq!(
        fault.what,
        "a rollback begun behind `b` may not end inside the window: it takes 8h 20m, so it has to \
         begin by 11:40"
    );
}

#[test]
fn a_rollback_that_waits_for_a_step_counts_its_rest() {
    let graph = plan()
        .step("copy", |step| step.estimate(minutes(60)).finish_on_rollback())
        .step("other", takes(20))
        .step("next", behind(1, ["other"]))
        .graph();
    let window = of(&graph).window.expect("a window");
    let back: Vec<_> =
        window.turn_back.iter().map(|it| (graph.name(it.step), it.rollback.as_mins())).collect();
    // At the begin of `next`, 40 minutes of `copy` are left, and then its undo.
    let wanted = [("copy".to_owned(), 120), ("other".to_owned(), 120), ("next".to_owned(), 100)];
    assert_eq!(back, wanted);
}

/// Each of the named steps fails that often, and was seen to take so many minutes.
fn seen(steps: &[(&str, i64, u32, u32)]) -> Learned {
    let mut learned = Learned::default();
    for (name, took, tried, failed) in steps {
        learned.seen(name, &[took * 60_000], *tried, *failed);
    }
    learned
}

fn failing(change: impl FnOnce(StepBuilder) -> StepBuilder) -> Arc<Graph> {
    plan()
        .on_failure(OnFailure::Rollback)
        .step("a", takes(60))
        .step("b", |step| change(step.estimate(minutes(60)).needs(["a"])))
        .graph()
}

fn share(part: u32, window: &InWindow) -> f64 {
    f64::from(part) / f64::from(window.executions)
}

#[test]
fn measured_failures_are_tried_again_and_then_turned_back() {
    let learned = seen(&[("b", 60, 4, 2)]);
    let graph = failing(|step| step);
    let window = outlook(&graph, &learned, 4000).window.expect("a window");
    assert!(window.measured);
    assert_eq!(window.completed + window.rolled_back, 4000);
    assert!((0.47..0.53).contains(&share(window.rolled_back, &window)), "{window:?}");
    assert_eq!(window.rolled_back_inside, window.rolled_back);

    let graph = failing(|step| step.attempts(2, minutes(7)));
    let window = outlook(&graph, &learned, 4000).window.expect("a window");
    assert!((0.22..0.28).contains(&share(window.rolled_back, &window)), "{window:?}");
    let end = window.end.expect("some complete");
    // A third of those that complete needed a second attempt: 60 + 60 + 7 + 60.
    assert_eq!((end.p50, end.p90), (minutes(120), minutes(187)));
    // 187 minutes forth and 120 back end before 20:00 only if the window is that long.
    let short = PlanBuilder::new()
        .window(at("08:00"), at("12:00"))
        .on_failure(OnFailure::Rollback)
        .step("a", takes(60))
        .step("b", |step| step.estimate(minutes(60)).needs(["a"]).attempts(2, minutes(7)))
        .graph();
    let window = outlook(&short, &learned, 4000).window.expect("a window");
    assert!(window.rolled_back > 0 && window.rolled_back_inside == 0, "{window:?}");
}

#[test]
fn what_people_must_decide_is_held() {
    let learned = seen(&[("b", 60, 4, 2)]);
    for graph in
        [failing(|step| step.on_failure(OnFailure::Hold)), failing(StepBuilder::point_of_no_return)]
    {
        let window = outlook(&graph, &learned, 4000).window.expect("a window");
        assert_eq!(window.rolled_back, 0);
        assert!((0.47..0.53).contains(&share(window.held, &window)), "{window:?}");
        assert!((0.47..0.53).contains(&window.chance()));
    }
}

#[test]
fn estimates_alone_never_fail() {
    let graph = failing(|step| step.estimate_between(minutes(1), minutes(300)));
    let window = of(&graph).window.expect("a window");
    assert_eq!((window.completed, window.held, window.rolled_back), (500, 0, 0));
}

#[test]
fn the_end_hangs_on_the_one_that_is_longer_more_often() {
    let graph = plan()
        .step("wide", |step| step.estimate_between(minutes(0), minutes(100)))
        .step("even", |step| step.estimate_between(minutes(74), minutes(76)))
        .graph();
    let window = outlook(&graph, &Learned::default(), 8000).window.expect("a window");
    let share: Vec<_> = window.criticality.iter().map(|(it, share)| (it.0, *share)).collect();
    assert_eq!((share[0].0, share[1].0), (1, 0));
    assert!((0.73..0.77).contains(&share[0].1) && (0.23..0.27).contains(&share[1].1), "{share:?}");
}

#[test]
fn a_large_plan_is_executed_less_often_and_says_so() {
    assert_eq!(simulate::affordable(10_000, 109), 10_000);
    assert_eq!(simulate::affordable(10_000, 10_000), 10_000);
    assert_eq!(simulate::affordable(10_000, 100_000), 1_000);
    assert_eq!(simulate::affordable(10_000, 1_000_000), 100);
}

#[test]
fn the_same_seed_gives_the_same_outlook() {
    let graph = plan()
        .step("a", |step| step.estimate_between(minutes(1), minutes(50)))
        .step("b", |step| step.estimate_between(minutes(1), minutes(50)))
        .graph();
    let learned = seen(&[("a", 30, 10, 1)]);
    let one = outlook(&graph, &learned, 300);
    assert_eq!(one, outlook(&graph, &learned, 300));
    let times = Times::new(&graph, &learned);
    let other =
        judge(&graph, &times, &Options { seed: 2, executions: 300 }, &in_turn).expect("known");
    assert_ne!(one.window.and_then(|it| it.end), other.window.and_then(|it| it.end));
}

#[test]
fn a_run_turns_back_from_where_it_stands() {
    let graph = plan()
        .step("a", takes(60))
        .step("b", behind(30, ["a"]))
        .step("go", |step| step.gate(["managers"], 1).needs(["b"]).point_of_no_return())
        .graph();
    let back = Back::new(&graph, &Learned::default());
    let run = Run::new(graph.clone());
    let by = |run: &Run| back.by(run, at("20:00"), minutes(45));
    assert_eq!(by(&run), Some(at("19:15")));
    let standing = |step: StepId| match step.0 {
        0 => back::Standing::Begun,
        _ => back::Standing::Clean,
    };
    assert_eq!(back.takes_from(&graph, standing), minutes(60));
    let all = |_| back::Standing::Begun;
    assert_eq!(back.takes_from(&graph, all), minutes(90));
    // What was done before stays; the order goes through what is out.
    let stays = |step: StepId| match step.0 {
        0 => back::Standing::Stays,
        1 => back::Standing::Clean,
        _ => back::Standing::Begun,
    };
    assert_eq!(back.takes_from(&graph, stays), minutes(0));
}

/// A graph of up to `steps` steps with needs to earlier ones, minutes to take, and two limits.
fn any_graph(steps: usize) -> impl Strategy<Value = (Arc<Graph>, Vec<i64>)> {
    let step = (0_i64..9, proptest::collection::vec(any::<prop::sample::Index>(), 0..3), 0..3);
    (proptest::collection::vec(step, 1..=steps), 1_u32..4, 1_u32..3).prop_map(
        |(steps, all, wan)| {
            let mut plan = plan().limit("steps", all).limit("wan", wan);
            for (at, (time, needs, uses)) in steps.iter().enumerate() {
                plan = plan.step(&format!("s{at}"), |mut step| {
                    let needs: std::collections::BTreeSet<usize> =
                        needs.iter().filter(|_| at > 0).map(|it| it.index(at)).collect();
                    for need in needs {
                        step = step.needs([format!("s{need}").as_str()]);
                    }
                    step = if *uses == 0 { step.uses(["wan"]) } else { step };
                    step.estimate(minutes(*time))
                });
            }
            (plan.graph(), steps.iter().map(|(time, ..)| *time).collect())
        },
    )
}

fn at_once(graph: &Graph, bench: &Course, limit: LimitId, now: i64) -> u32 {
    let takes = |step: &StepId| {
        graph.limits(*step).contains(&limit)
            && bench.begins[step.index()] <= now
            && now < bench.ends[step.index()]
    };
    graph.steps().filter(takes).count() as u32
}

proptest! {
    /// Both ways: order and limits are kept, nothing idles, and what let a step begin did so.
    #[test]
    fn a_schedule_keeps_order_and_limits((graph, times) in any_graph(12)) {
        let (doing, undoing) = Side::both(&graph);
        for (side, forth) in [(&doing, true), (&undoing, false)] {
            let mut made = Bench::with_course(&graph, side);
            let task = Task::new(&graph, side, &vec![Part::From(0); graph.len()]);
            let mut draw = |step: StepId| Attempt { takes: times[step.index()], good: true };
            prop_assert_eq!(made.make(&task, 0, &mut draw), Ended::All);
            let bench = made.course().expect("with its course");
            let before = |step| if forth { graph.needs(step) } else { graph.dependents(step) };
            for step in graph.steps() {
                let (begin, end) = (bench.begins[step.index()], bench.ends[step.index()]);
                prop_assert_eq!(end - begin, times[step.index()]);
                let ready = before(step).iter().map(|it| bench.ends[it.index()]).max().unwrap_or(0);
                prop_assert!(begin >= ready);
                for limit in graph.limits(step) {
                    prop_assert!(at_once(&graph, bench, *limit, begin) <= graph.limit(*limit));
                }
                // It waited only while one of its limits was used up.
                for now in ready..begin {
                    let full = |it: &LimitId| at_once(&graph, bench, *it, now) >= graph.limit(*it);
                    prop_assert!(graph.limits(step).iter().any(full));
                }
                match made.after(step) {
                    None => prop_assert_eq!(begin, 0),
                    Some(after) => prop_assert_eq!(bench.ends[after.index()], begin),
                }
                let waited = bench.limit[step.index()] != schedule::NONE;
                prop_assert!(waited || begin == ready);
            }
            let (end, last) = made.end().expect("a step");
            prop_assert_eq!(bench.last(&graph, |_| true), Some((end, last)));
            let chain: Vec<StepId> = made.chain(last).collect();
            let long: i64 = chain.iter().map(|it| times[it.index()]).sum();
            prop_assert_eq!(long, end, "the chain has no gap");
            let work: i64 = times.iter().sum();
            prop_assert!(end * i64::from(graph.limit(LimitId(0))) >= work);
        }
    }

    /// Learning, failing, turning back: no graph makes it stop or contradict itself.
    #[test]
    fn executions_add_up((graph, times) in any_graph(8), failed in 0_u32..4) {
        let learned = seen(&[("s0", times[0], 4, failed), ("s3", 5, 4, failed)]);
        let window = outlook(&graph, &learned, 50).window.expect("a window");
        prop_assert_eq!(window.completed + window.rolled_back + window.held, 50);
        prop_assert!(window.inside <= window.completed);
        prop_assert!(window.criticality.iter().all(|(_, share)| *share > 0.0 && *share <= 1.0));
        // Each state has more to undo than the one before it, and limits or not, the way back is
        // not longer than all of it one after the other.
        for it in &window.turn_back {
            prop_assert!(it.rollback.as_mins() <= times.iter().sum::<i64>() + 10);
            prop_assert_eq!(it.by, at("20:00").checked_sub(it.rollback).expect("in range"));
        }
    }
}
