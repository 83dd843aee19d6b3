//! Leaving steps out of a plan that protects something: only what never started, and only if the plan
//! without it still keeps the floor in every state.

use crate::tale::{Tale, noon, person};
use cutover::event::{Answer, Event, Outcome, Request, Verdict};
use cutover::graph::Graph;
use cutover::graph::testing::PlanBuilder;
use cutover::plan::OnFailure;
use cutover::run::Run;
use jiff::SignedDuration;
use std::sync::Arc;

/// The new provider comes up before the old one goes down; a notice hangs on nothing.
fn switch() -> PlanBuilder {
    PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("notice", |step| step)
        .step("new", |step| step.gains(["ocsp@to/one"]))
        .step("look", |step| step.needs(["new"]))
        .step("old", |step| step.needs(["look"]).loses(["ocsp@from/one"]))
}

fn skip(tale: &Tale, name: &str) -> Request {
    Request::Skip { step: tale.step(name), reason: "not today".into() }
}

fn well(tale: &mut Tale) {
    for at in 0..tale.run.graph().providers().len() {
        let name = tale.run.graph().providers()[at].name.clone();
        let provider = tale.run.graph().find_provider(&name).expect("a provider");
        if *tale.run.verdict(provider).0 == Verdict::Unknown {
            tale.verdict(&name, Verdict::Normal);
        }
    }
}

#[test]
fn a_skip_that_would_break_the_floor_is_refused_with_the_sequence() {
    let mut tale = Tale::new(switch().graph());
    let why = tale.refused(skip(&tale, "new"));
    assert!(why.contains("the plan without `new` does not prove"), "{why}");
    assert!(why.contains("`ocsp` can be down to 0") && why.contains("`old`"), "{why}");
    // Without what takes the old one down, the new one is not needed.
    tale.asks(skip(&tale, "old"));
    tale.asks(skip(&tale, "new"));
    tale.starts(&["do look", "do notice"]).done("notice").done("look");
    tale.closes(Outcome::Completed);
}

#[test]
fn a_skip_that_keeps_the_floor_is_had_in_a_plan_that_protects() {
    let mut tale = Tale::new(switch().graph());
    tale.starts(&["do new", "do notice"]).done("notice").done("new");
    tale.asks(skip(&tale, "look"));
    assert!(tale.run.is_out(tale.step("look")));
    well(&mut tale);
    // `look` hands on that `old` waits for `new`, also on the way back.
    tale.starts(&["do old"]).done("old");
    well(&mut tale);
    tale.rolls_back().starts(&["undo notice", "undo old"]).done("notice").done("old");
    well(&mut tale);
    tale.starts(&["undo new"]).done("new");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn what_is_out_counts_for_the_next_skip() {
    // Two come up, one is enough; both may be left out one by one, but not together.
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new-one", |step| step.gains(["ocsp@to/one"]))
        .step("new-two", |step| step.gains(["ocsp@to/two"]))
        .step("old", |step| step.needs(["new-one", "new-two"]).loses(["ocsp@from/one"]));
    let mut tale = Tale::new(plan.graph());
    assert!(tale.run.admit(&person("ada", &[]), skip(&tale, "new-two")).is_ok());
    tale.asks(skip(&tale, "new-one"));
    let why = tale.refused(skip(&tale, "new-two"));
    assert!(why.contains("down to 0"), "{why}");
    let back = Request::Retry { step: tale.step("new-one") };
    tale.asks(back);
    tale.asks(skip(&tale, "new-two"));
}

#[test]
fn out_comes_back_only_if_the_plan_without_what_stays_out_proves() {
    let mut tale = Tale::new(switch().graph());
    tale.asks(skip(&tale, "old"));
    tale.asks(skip(&tale, "new"));
    let why = tale.refused(Request::Retry { step: tale.step("old") });
    assert!(why.contains("does not prove") && why.contains("down to 0"), "{why}");
    let new = tale.step("new");
    tale.asks(Request::Retry { step: new });
    let old = tale.step("old");
    tale.asks(Request::Retry { step: old });
}

#[test]
fn a_half_done_step_is_undone_before_it_is_skipped() {
    let plan = PlanBuilder::new().step("a", |step| step).on_failure(OnFailure::Hold);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).fails("a");
    assert!(tale.refused(skip(&tale, "a")).contains("has begun"));
}

#[test]
fn now_or_skip_is_answered_with_skip_only_if_the_plan_without_it_proves() {
    let hour = SignedDuration::from_hours(1);
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("notice", |step| step.not_before(noon() - hour))
        .step("new", |step| step.gains(["ocsp@to/one"]).not_before(noon() - hour))
        .step("old", |step| step.needs(["new"]).loses(["ocsp@from/one"]));
    let mut tale = Tale::new(plan.graph());
    let asked = tale.run.questions();
    let about = |name: &str| {
        let step = tale.step(name);
        asked.iter().find(|it| it.step == Some(step)).expect("asked about").clone()
    };
    let (notice, new) = (about("notice"), about("new"));
    assert!(new.answers.contains(&Answer::Go) && new.answers.contains(&Answer::Skip));
    let answer = |question: u64, answer| Request::Answer { question, answer, note: String::new() };
    let why = tale.refused(answer(new.id, Answer::Skip));
    assert!(why.contains("down to 0") && why.contains("`old`"), "{why}");
    tale.asks(answer(notice.id, Answer::Skip)).asks(answer(new.id, Answer::Go));
    assert!(tale.run.is_out(tale.step("notice")));
    tale.starts(&["do new"]);
}

#[test]
fn a_run_with_a_skip_goes_on_after_a_crash_as_if_there_had_been_none() {
    let mut tale = Tale::new(switch().graph());
    tale.asks(skip(&tale, "look")).starts(&["do new", "do notice"]).crash();
    tale.replays();
    assert!(tale.run.is_out(tale.step("look")));
    let again = tale.refused(skip(&tale, "look"));
    assert!(again.contains("out already"), "{again}");
    for question in tale.run.questions() {
        let question = question.id;
        tale.asks(Request::Answer { question, answer: Answer::Done, note: String::new() });
    }
    well(&mut tale);
    tale.starts(&["do old"]).done("old");
    tale.closes(Outcome::Completed);
    // The other way round: the journal folded anew orders the same from every record on.
    let mut run = Run::new(Arc::clone(tale.run.graph()));
    for record in &tale.journal {
        run.apply(record).expect("it replays");
    }
    assert!(run == tale.run);
}

#[test]
fn a_step_that_was_skipped_does_not_come_back_into_a_line_that_is_out() {
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .step("move", |step| step.each("line", ["x", "y"]))
        .step("tell", |step| step.each("line", ["x", "y"]).needs(["move"]))
        .step("look", |step| step.each("line", ["x", "y"]).needs(["move"]));
    let mut tale = Tale::new(plan.graph());
    tale.asks(skip(&tale, "tell[x]")).starts(&["do move[x]", "do move[y]"]);
    let line = tale.run.graph().find_line("x").expect("a line");
    tale.asks(crate::tale::rollback(cutover::event::Back::Line(line))).stopped("move[x]");
    tale.starts(&["undo move[x]"]).done("move[x]");
    let tell = tale.step("tell[x]");
    let why = tale.refused(Request::Retry { step: tell });
    assert!(why.contains("line `x` is out"), "{why}");
    let look = tale.step("look[x]");
    tale.asks(Request::Retry { step: look });
    assert!(tale.run.is_out(tell), "skipped it stays, until it is asked for itself");
    tale.asks(Request::Retry { step: tell });
    assert!(!tale.run.is_out(tell));
}

#[test]
fn a_step_that_was_skipped_does_not_come_back_while_its_line_is_rolled_back() {
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .step("move", |step| step.each("line", ["x", "y"]))
        .step("look", |step| step.each("line", ["x", "y"]));
    let mut tale = Tale::new(plan.graph());
    tale.asks(skip(&tale, "look[x]")).starts(&["do look[y]", "do move[x]", "do move[y]"]);
    tale.done("look[y]").done("move[y]");
    let line = tale.run.graph().find_line("x").expect("a line");
    tale.asks(crate::tale::rollback(cutover::event::Back::Line(line)));
    let look = tale.step("look[x]");
    let why = tale.refused(Request::Retry { step: look });
    assert!(why.contains("line `x` is being rolled back"), "{why}");
    tale.stopped("move[x]").starts(&["undo move[x]"]);
    assert!(tale.refused(Request::Retry { step: look }).contains("is being rolled back"));
    // It would have kept the rollback of its line from its end, and the run with it.
    tale.done("move[x]").closes(Outcome::Completed);
}

/// The plan of 6 April 2019, as it is run.
fn plan_of_the_day() -> Tale {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/2019-04-06.yaml");
    let text = std::fs::read_to_string(&path).expect("the plan");
    let (plan, _) = cutover::plan::read(&path, &text).expect("a plan");
    Tale::new(Arc::new(Graph::compile(Arc::new(plan), None).expect("a graph")))
}

#[test]
fn on_the_day_no_skip_takes_ocsp_away_or_makes_a_second_writer() {
    let mut tale = plan_of_the_day();
    let why = tale.refused(skip(&tale, "enable-ocsp[geotrust,ocsp-1]"));
    assert!(why.contains("`ocsp[geotrust]` can be down to 0"), "{why}");
    assert!(why.contains("while `upgrade-ocsp[ocsp-2]` is under way"), "{why}");
    let why = tale.refused(skip(&tale, "fence-old-writer[thawte]"));
    assert!(why.contains("`writer[thawte]` can have 2 holders"), "{why}");
    let why = tale.refused(skip(&tale, "snapshot[thawte]"));
    assert!(why.contains("before a snapshot of its line"), "{why}");
    let why = tale.refused(skip(&tale, "go-live"));
    assert!(why.contains("is a gate"), "{why}");
    tale.asks(skip(&tale, "final-notice"));
    assert!(tale.run.is_out(tale.step("final-notice")));
}

#[test]
fn nothing_is_skipped_in_a_run_that_goes_back() {
    let mut tale = Tale::new(switch().graph());
    tale.starts(&["do new", "do notice"]).rolls_back();
    assert!(tale.refused(skip(&tale, "look")).contains("is being rolled back"));
    assert!(!tale.would_take(Event::Requested(person("ada", &[]), skip(&tale, "look"))));
}
