//! The way back, proved before an automatic rollback, beside what the core can really reach: every
//! order of undos of small plans, from every sort of present state.

use crate::tale::{Tale, noon};
use crate::world::Dice;
use cutover::event::{
    Answer, Ending, Event, Job, Outputs, ProviderId, Record, Request, StepId, Verdict, Way,
};
use cutover::failure::Failure;
use cutover::graph::testing::PlanBuilder;
use cutover::graph::{Effect, Graph};
use cutover::plan::OnFailure;
use cutover::proof;
use cutover::run::{Command, Run, Status};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::sync::Arc;

const PROVIDERS: [&str; 4] = ["ocsp@from/one", "ocsp@from/two", "ocsp@to/one", "ocsp@to/two"];

/// A random plan with effects, whose floor is `at_least`. Who takes a provider away mostly needs
/// whoever touched one before, so that many of them are proved.
fn plan(choices: &[u16], at_least: u32) -> PlanBuilder {
    let dice = &mut Dice::new(choices);
    let mut plan = PlanBuilder::new().on_failure(OnFailure::Rollback).protect(
        "ocsp",
        false,
        at_least,
        PROVIDERS[..2].iter().copied(),
    );
    // Who serves after the steps so far, were they in a row.
    let mut up = [true, true, false, false];
    let mut touched: Vec<(usize, usize)> = Vec::new();
    let count = 3 + dice.roll(5);
    for index in 0..count {
        let provider = dice.roll(5);
        let sort = dice.roll(4);
        let takes = sort == 0 || up.get(provider) == Some(&true);
        let strict = dice.roll(8) > 0;
        let mut needs: BTreeSet<usize> = (0..index).filter(|_| dice.roll(4) == 0).collect();
        let before = touched.iter().filter(|(_, it)| *it == provider || (takes && strict));
        needs.extend(before.map(|(step, _)| *step));
        let needs: Vec<String> = needs.into_iter().map(|it| format!("s{it}")).collect();
        let finishes = dice.one_in(5);
        plan = plan.step(&format!("s{index}"), |step| {
            let step = step.needs(needs.iter().map(String::as_str));
            let step = if finishes { step.finish_on_rollback() } else { step };
            let Some(name) = PROVIDERS.get(provider) else { return step };
            touched.push((index, provider));
            if sort == 0 {
                return step.disturbs([*name]);
            }
            up[provider] = !up[provider];
            if up[provider] { step.gains([*name]) } else { step.loses([*name]) }
        });
    }
    plan
}

fn touches(graph: &Graph, step: StepId, provider: ProviderId) -> bool {
    graph.effects(step).iter().any(|(it, _)| *it == provider)
}

fn is_half(run: &Run, step: StepId) -> bool {
    !matches!(run.status(step), Status::Clean | Status::Done)
}

/// Providers up in the plan as it stands, `down` aside: counted from the words of the design.
fn up(run: &Run, down: &BTreeSet<ProviderId>) -> usize {
    let graph = run.graph();
    let all = (0..graph.providers().len()).map(|at| ProviderId(at as u32));
    let serves = |provider: &ProviderId| {
        let mut net = i32::from(graph.providers()[provider.index()].serving_at_start);
        let mut disturbed = false;
        for step in graph.steps() {
            for (it, effect) in graph.effects(step) {
                match effect {
                    _ if it != provider => {}
                    Effect::Loses if run.status(step) != Status::Clean => net -= 1,
                    Effect::Gains if run.status(step) == Status::Done => net += 1,
                    Effect::Disturbs if is_half(run, step) => disturbed = true,
                    _ => {}
                }
            }
        }
        net > 0 && !disturbed
    };
    all.filter(|it| !down.contains(it) && serves(it)).count()
}

fn with(run: &Run, event: Event) -> Run {
    let mut next = run.clone();
    let record = Record { seq: next.seq() + 1, at: noon(), event };
    next.apply(&record).unwrap_or_else(|why| panic!("{:?}: {}", record.event, why.0));
    next
}

fn done() -> Ending {
    Ending::Done(Outputs::new())
}

/// The fewest that are up in any state that the core can reach from here.
fn fewest(run: &Run, down: &BTreeSet<ProviderId>, seen: &mut BTreeSet<String>) -> usize {
    let statuses: Vec<Status> = run.graph().steps().map(|step| run.status(step)).collect();
    let mut least = up(run, down);
    if !seen.insert(format!("{statuses:?}")) {
        return least;
    }
    let mut events: Vec<Event> = run.running().map(|job| Event::Ended(job, done())).collect();
    let mut commands = Vec::new();
    run.next(&mut commands);
    for command in commands {
        match command {
            Command::Start(job) => {
                assert_eq!(job.way, Way::Undo, "nothing goes forward");
                events.push(Event::Started(job));
            }
            Command::Stop(job) => events.push(Event::Ended(job, Ending::Stopped)),
            Command::Wake(..) | Command::Close(_) => {}
        }
    }
    for event in events {
        least = least.min(fewest(&with(run, event), down, seen));
    }
    least
}

/// Runs a plan forward for a while, as the choices say, with every provider well.
fn forward(tale: &mut Tale, dice: &mut Dice<'_>) {
    let turns = 2 + dice.roll(16);
    for _ in 0..turns {
        for name in PROVIDERS {
            let known = tale.run.graph().find_provider(name);
            if known.is_some_and(|it| *tale.run.verdict(it).0 == Verdict::Unknown) {
                tale.verdict(name, Verdict::Normal);
            }
        }
        let due: Vec<Job> = tale.commands().into_iter().filter_map(start).collect();
        let running: Vec<Job> = tale.run.running().collect();
        match (dice.pick(&due), dice.pick(&running)) {
            (Some(job), None) => tale.event(Event::Started(job)),
            (Some(job), Some(_)) if dice.roll(2) == 0 => tale.event(Event::Started(job)),
            (_, Some(job)) if dice.one_in(8) => tale.event(Event::Ended(job, Ending::Stopped)),
            (_, Some(job)) => tale.event(Event::Ended(job, done())),
            (None, None) => return,
        }
    }
}

fn start(command: Command) -> Option<Job> {
    match command {
        Command::Start(job) => Some(job),
        _ => None,
    }
}

/// What came of one case: whether the rollback was ordered, and whether the proof had a choice.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    None,
    Ordered,
    OrderedWithSomeDown,
    Refused,
}

/// A step fails in some present state, some providers being down: the rollback that follows is
/// ordered exactly if no state that the core can then reach has too few up.
fn judge(plan_choices: &[u16], choices: &[u16], at_least: u32) -> Case {
    let Ok(graph) = plan(plan_choices, at_least).compile() else { return Case::None };
    let Ok(proved) = proof::prove(&graph) else { return Case::None };
    let exact = proved.bounds.iter().all(|bound| bound.exact);
    let dice = &mut Dice::new(choices);
    let mut tale = Tale::new(Arc::new(graph));
    forward(&mut tale, dice);
    if tale.run.running().next().is_none() {
        tale.go();
    }
    let running: Vec<Job> = tale.run.running().collect();
    let Some(job) = dice.pick(&running) else { return Case::None };
    for name in PROVIDERS {
        if tale.run.graph().find_provider(name).is_some() && dice.roll(3) == 0 {
            tale.verdict(name, Verdict::Down(vec!["ocsp-unreachable".into()]));
        }
    }
    let graph = Arc::clone(tale.run.graph());
    let half_touches = |provider: ProviderId| {
        graph.steps().any(|step| is_half(&tale.run, step) && touches(&graph, step, provider))
    };
    let all = (0..graph.providers().len()).map(|at| ProviderId(at as u32));
    let down: BTreeSet<ProviderId> =
        all.filter(|it| tale.run.verdict(*it).0.calls_down() && !half_touches(*it)).collect();
    let failed = Event::Ended(job, Ending::Failed(Failure::last("broken")));

    // The same run of the same plan without a floor goes wherever undos can lead.
    let free = plan(plan_choices, 0).graph();
    let mut unbound = Run::new(free);
    for record in &tale.journal {
        unbound.apply(record).expect("a lower floor forbids nothing");
    }
    let unbound = with(&unbound, failed.clone());
    assert!(unbound.is_rolling_back());
    let limit = (at_least as usize).min(up(&unbound, &down));
    let kept = fewest(&unbound, &down, &mut BTreeSet::new()) >= limit;

    tale.event(failed);
    let ordered = tale.run.is_rolling_back();
    assert!(kept || !ordered, "ordered, and a state of the way back has too few up");
    assert!(!kept || ordered || !exact, "refused without a reason: {}", tale.question_text());
    if !ordered {
        let text = tale.question_text();
        assert!(text.contains("would come down to"), "{text}");
        let question = tale.run.questions().remove(0);
        assert!(question.answers.contains(&Answer::Rollback), "people may");
        let what = Request::Answer {
            question: question.id,
            answer: Answer::Rollback,
            note: String::new(),
        };
        tale.asks(what);
        assert!(tale.run.is_rolling_back());
    }
    match (ordered, down.is_empty()) {
        (true, true) => Case::Ordered,
        (true, false) => Case::OrderedWithSomeDown,
        (false, _) => Case::Refused,
    }
}

#[test]
fn the_cases_are_of_every_sort() {
    let mut runner = TestRunner::deterministic();
    let choices = |most| prop::collection::vec(any::<u16>(), 0..most);
    let mut met = std::collections::BTreeMap::<Case, u32>::new();
    for _ in 0..500 {
        let plan = choices(60).new_tree(&mut runner).expect("choices").current();
        let rest = choices(60).new_tree(&mut runner).expect("choices").current();
        for at_least in [1, 2] {
            *met.entry(judge(&plan, &rest, at_least)).or_default() += 1;
        }
    }
    let often = |case| met.get(&case).is_some_and(|count| *count > 10);
    assert!(
        often(Case::Ordered) && often(Case::OrderedWithSomeDown) && often(Case::Refused),
        "{met:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 800,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_rollback_is_ordered_exactly_if_no_state_of_the_way_back_has_too_few_up(
        plan in prop::collection::vec(any::<u16>(), 0..60),
        choices in prop::collection::vec(any::<u16>(), 0..60),
        at_least in 1u32..3,
    ) {
        judge(&plan, &choices, at_least);
    }
}

fn upgrades() -> PlanBuilder {
    PlanBuilder::new()
        .on_failure(OnFailure::Rollback)
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new-one", |step| step.gains(["ocsp@to/one"]))
        .step("new-two", |step| step.gains(["ocsp@to/two"]))
        .step("old", |step| step.needs(["new-one", "new-two"]).loses(["ocsp@from/one"]))
        .step("up-one", |step| step.needs(["old"]).disturbs(["ocsp@to/one"]))
        .step("up-two", |step| step.needs(["up-one"]).disturbs(["ocsp@to/two"]))
        .step("last", |step| step.needs(["up-two"]))
}

fn well(tale: &mut Tale) {
    for at in 0..tale.run.graph().providers().len() {
        let name = tale.run.graph().providers()[at].name.clone();
        if *tale.run.verdict(ProviderId(at as u32)).0 == Verdict::Unknown {
            tale.verdict(&name, Verdict::Normal);
        }
    }
}

fn down() -> Verdict {
    Verdict::Down(vec!["ocsp-unreachable".into()])
}

/// All but the last step is done, and that one runs.
fn at_the_last(plan: PlanBuilder) -> Tale {
    let mut tale = Tale::new(plan.graph());
    while !tale.is_done("up-two") {
        well(&mut tale);
        tale.go();
        let running: Vec<Job> = tale.run.running().collect();
        running.into_iter().for_each(|job| tale.event(Event::Ended(job, done())));
    }
    well(&mut tale);
    tale.starts(&["do last"]);
    tale
}

fn all_the_way_back(tale: &mut Tale) {
    while tale.run.outcome().is_none() {
        well(tale);
        if tale.go().is_empty() && tale.run.running().next().is_none() {
            tale.closes(cutover::event::Outcome::RolledBack);
            return;
        }
        let running: Vec<Job> = tale.run.running().collect();
        running.into_iter().for_each(|job| tale.event(Event::Ended(job, done())));
    }
}

#[test]
fn an_automatic_rollback_that_would_take_the_last_provider_is_asked_about() {
    let mut tale = at_the_last(upgrades());
    tale.verdict("ocsp@to/one", down());
    assert!(tale.run.holds().is_empty(), "one serves: no breach");
    tale.fails("last").starts(&[]);
    assert!(!tale.run.is_rolling_back());
    let text = tale.question_text();
    assert!(text.contains("`last` failed"), "{text}");
    assert!(text.contains("`ocsp` would come down to 0, fewer than 1 (`ocsp@to/one` is down)"));
    assert!(text.contains("while `up-two` is being undone"), "{text}");
    assert!(tale.run.needs_person(), "exit 4");
    // It is back, and the person answers.
    tale.verdict("ocsp@to/one", Verdict::Normal).starts(&[]);
    tale.answers(Answer::Rollback);
    all_the_way_back(&mut tale);
}

#[test]
fn a_rollback_that_was_asked_about_may_be_answered_with_a_retry() {
    let mut tale = at_the_last(upgrades());
    tale.verdict("ocsp@to/one", down()).fails("last");
    tale.answers(Answer::Retry).starts(&["do last"]).done("last");
    tale.closes(cutover::event::Outcome::Completed);
}

#[test]
fn the_old_site_that_died_meanwhile_is_not_gone_back_to_unasked() {
    let mut tale = at_the_last(upgrades());
    tale.verdict("ocsp@from/one", down()).fails("last");
    let text = tale.question_text();
    assert!(text.contains("(`ocsp@from/one` is down)"), "{text}");
    assert!(text.contains("after `up-two`, `up-one`, `old`"), "what is undone first: {text}");
    // A person may order it all the same: the floor is still kept, attempt by attempt.
    tale.rolls_back();
    well(&mut tale);
    tale.starts(&["undo last"]).done("last").starts(&["undo up-two"]);
}

#[test]
fn a_breach_never_rolls_back_below_those_still_up() {
    let plan = upgrades().on_breach(cutover::plan::OnBreach::Rollback);
    let mut tale = at_the_last(plan);
    tale.verdict("ocsp@to/one", Verdict::Lying(vec!["ocsp-wrong-key".into()]));
    assert_eq!(tale.run.breached().len(), 1);
    assert!(!tale.run.is_rolling_back(), "`ocsp@to/two` alone serves");
    let question = tale.run.questions().remove(0);
    assert!(question.text.contains("`ocsp` is breached"), "{}", question.text);
    assert!(question.text.contains("would come down to 0"), "{}", question.text);
    assert!(question.answers.contains(&Answer::Rollback), "{:?}", question.answers);
    // With both down nothing is left to be kept.
    tale.verdict("ocsp@to/two", down());
    tale.answers(Answer::Rollback);
    assert!(tale.run.is_rolling_back());
}

#[test]
fn a_breach_of_all_rolls_back_at_once() {
    let plan = upgrades().on_breach(cutover::plan::OnBreach::Rollback);
    let mut tale = at_the_last(plan);
    tale.verdict("ocsp@to/one", down());
    tale.verdict("ocsp@to/two", down());
    assert!(tale.run.is_rolling_back() && tale.run.questions().is_empty());
}

#[test]
fn a_rollback_of_a_line_is_proved_from_the_present_state_too() {
    let plan = || {
        PlanBuilder::new()
            .lines(["x", "y"])
            .protect("ocsp", false, 1, ["ocsp@from/one"])
            .step("new", |step| step.each("line", ["x"]).gains(["ocsp@to/one"]))
            .step("old", |step| step.needs(["new"]).loses(["ocsp@from/one"]))
            .step("work", |step| {
                step.each("line", ["x", "y"]).needs(["old"]).on_failure(OnFailure::RollbackLine)
            })
    };
    let at_work = || {
        let mut tale = Tale::new(plan().graph());
        tale.starts(&["do new[x]"]).done("new[x]");
        well(&mut tale);
        tale.starts(&["do old"]).done("old");
        well(&mut tale);
        tale.starts(&["do work[x]", "do work[y]"]);
        tale
    };
    let mut tale = at_work();
    tale.verdict("ocsp@from/one", down()).fails("work[x]");
    let text = tale.question_text();
    assert!(text.contains("after `old`") && text.contains("`new[x]`"), "{text}");
    let mut tale = at_work();
    tale.fails("work[x]").stopped("work[y]");
    tale.starts(&["undo work[x]", "undo work[y]"]);
}

#[test]
fn what_stays_done_stays_up() {
    let hour = jiff::SignedDuration::from_hours(1);
    let plan = PlanBuilder::new()
        .on_failure(OnFailure::Rollback)
        .window(noon() + hour, noon() + hour + hour)
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new", |step| step.phase(cutover::plan::Phase::Before).gains(["ocsp@to/one"]))
        .step("up", |step| step.disturbs(["ocsp@from/one"]))
        .step("last", |step| step.needs(["up"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do new"]).done("new").due_timer(cutover::event::Timer::Opens);
    well(&mut tale);
    tale.starts(&["do up"]).done("up").starts(&["do last"]);
    // The undo of `new` would need it, but `new` stays, and it alone serves.
    tale.verdict("ocsp@from/one", down()).verdict("ocsp@to/one", Verdict::Normal);
    tale.fails("last");
    assert!(tale.run.is_rolling_back(), "{}", tale.question_text());
}

#[test]
fn a_silent_guard_frees_nothing() {
    let plan = upgrades().on_breach(cutover::plan::OnBreach::Rollback);
    let mut tale = at_the_last(plan);
    for name in ["ocsp@from/one", "ocsp@to/one", "ocsp@to/two"] {
        tale.verdict(name, Verdict::Down(vec![cutover::event::GUARD_SILENT.into()]));
    }
    assert!(tale.run.is_rolling_back(), "a silent guard is a breach");
    tale.stopped("last").starts(&["undo last"]).done("last").starts(&[]);
    let text = tale.question_text();
    assert!(text.contains("`up-two` waits in vain"), "nobody says that another serves: {text}");
}
