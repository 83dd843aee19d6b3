//! Lines, checkpoints, and what is out: the rollbacks of a part; each story fails when its rule is
//! broken.

use crate::rules::{chain, to};
use crate::tale::{Tale, rollback};
use cutover::event::{Answer, Back, Outcome, Request, Way};
use cutover::graph::testing::PlanBuilder;
use cutover::plan::OnFailure;
use cutover::run::HoldCause;
use jiff::SignedDuration;

fn two_lines() -> PlanBuilder {
    PlanBuilder::new()
        .lines(["x", "y"])
        .step("open", |step| step)
        .step("move", |step| step.each("line", ["x", "y"]).needs(["open"]))
        .step("look", |step| step.each("line", ["x", "y"]).needs(["move"]))
        .step("all", |step| step.needs(["look"]))
        .step("end", |step| step.each("line", ["x", "y"]).needs(["all"]))
}

#[test]
fn rollback_line_undoes_the_line_and_what_hangs_on_it() {
    let plan = two_lines().on_failure(OnFailure::RollbackLine);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do open"]).done("open").starts(&["do move[x]", "do move[y]"]);
    tale.done("move[x]").done("move[y]").starts(&["do look[x]", "do look[y]"]);
    tale.done("look[x]").done("look[y]").starts(&["do all"]).done("all");
    tale.starts(&["do end[x]", "do end[y]"]).fails("end[x]");
    // `all` needs line x, and `end[y]` needs `all`.
    assert_eq!(tale.stops(), ["do end[y]"]);
    tale.starts(&["undo end[x]"]).stopped("end[y]").starts(&["undo end[y]"]);
    tale.done("end[x]").starts(&[]).done("end[y]").starts(&["undo all"]).done("all");
    assert_eq!(tale.go(), ["undo look[x]"], "`all` waits until the line is out");
    tale.done("look[x]").starts(&["undo move[x]"]);
    assert!(!tale.would_take(to(&tale, "all", Way::Do, 2)));
    tale.done("move[x]");
    assert!(tale.run.is_out(tale.step("move[x]")) && tale.is_done("look[y]"));
    tale.starts(&["do all"]).done("all").starts(&["do end[y]"]).done("end[y]");
    let lines = |lines: Vec<_>| lines;
    assert_eq!(lines(tale.run.lines_out().collect()), [tale.run.graph().find_line("x").unwrap()]);
    assert_eq!(lines(tale.run.lines_moved().collect()), [tale.run.graph().find_line("y").unwrap()]);
    tale.closes(Outcome::Completed);
}

#[test]
fn from_its_first_record_no_step_of_the_line_starts_nor_any_that_needs_one() {
    let mut tale = Tale::new(two_lines().graph());
    tale.starts(&["do open"]).done("open").starts(&["do move[x]", "do move[y]"]).done("move[x]");
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line)));
    assert!(!tale.would_take(to(&tale, "look[x]", Way::Do, 1)));
    tale.starts(&["undo move[x]"]).done("move[y]").starts(&["do look[y]"]).done("look[y]");
    assert!(!tale.would_take(to(&tale, "all", Way::Do, 1)));
    assert_eq!(tale.due(), [""; 0]);
    tale.done("move[x]").starts(&["do all"]);
}

#[test]
fn what_is_out_hands_its_needs_on() {
    let plan = PlanBuilder::new()
        .step("a", |step| step)
        .step("b", |step| step.needs(["a"]))
        .step("c", |step| step.needs(["b"]));
    let mut tale = Tale::new(plan.graph());
    let skip = Request::Skip { step: tale.step("b"), reason: "not here".into() };
    tale.asks(skip).starts(&["do a"]);
    assert!(!tale.would_take(to(&tale, "c", Way::Do, 1)), "`c` waits for `a` now");
    tale.done("a").starts(&["do c"]).rolls_back();
    assert!(!tale.would_take(to(&tale, "a", Way::Undo, 1)), "in undo too");
    tale.stopped("c").starts(&["undo c"]).done("c").starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn skip_takes_only_what_never_started() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]);
    let skip =
        |tale: &Tale, name: &str| Request::Skip { step: tale.step(name), reason: "x".into() };
    assert!(tale.refused(skip(&tale, "a")).contains("has begun"));
    tale.fails("a");
    assert!(tale.refused(skip(&tale, "a")).contains("has begun"), "half-done");
    tale.asks(skip(&tale, "c"));
    assert!(tale.refused(skip(&tale, "c")).contains("out already"));
    tale.answers(Answer::Retry).starts(&["do a"]).done("a").starts(&["do b"]).done("b");
    tale.closes(Outcome::Completed);
}

#[test]
fn out_comes_back_only_by_retry_when_nothing_begun_needs_it() {
    let mut tale = Tale::new(chain().graph());
    let b = tale.step("b");
    tale.asks(Request::Skip { step: b, reason: "x".into() });
    tale.starts(&["do a"]).done("a").starts(&["do c"]);
    assert!(tale.refused(Request::Retry { step: b }).contains("needs"), "`c` has begun");
    let c = tale.step("c");
    tale.done("c").asks(Request::Retry { step: c }).starts(&["undo c"]);
    assert!(tale.refused(Request::Retry { step: b }).contains("needs"), "`c` is being undone");
    tale.done("c").asks(Request::Retry { step: b });
    assert_eq!(tale.go(), ["do b"], "`c` waits for it again");
    tale.done("b").starts(&["do c"]).done("c");
    tale.closes(Outcome::Completed);
}

#[test]
fn a_line_that_is_out_comes_back_whole() {
    let mut tale = Tale::new(two_lines().graph());
    tale.starts(&["do open"]).done("open").starts(&["do move[x]", "do move[y]"]);
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line))).stopped("move[x]").starts(&["undo move[x]"]);
    tale.done("move[x]");
    let look = tale.step("look[x]");
    assert!(tale.run.is_out(look));
    tale.asks(Request::Retry { step: look });
    assert!(!tale.run.is_out(tale.step("move[x]")));
    tale.all_well().closes(Outcome::Completed);
}

#[test]
fn a_done_step_runs_again_only_after_all_that_needs_it_is_undone() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).done("a").starts(&["do b"]);
    let a = tale.step("a");
    assert!(tale.refused(Request::Retry { step: a }).contains("`b`"));
    let b = tale.step("b");
    tale.done("b").asks(Request::Retry { step: b }).starts(&["undo b"]).done("b");
    tale.starts(&["do b"]).done("b").starts(&["do c"]).done("c");
    tale.closes(Outcome::Completed);
}

#[test]
fn rollback_to_a_checkpoint_undoes_what_came_since_and_holds() {
    let plan = PlanBuilder::new()
        .step("a", |step| step.checkpoint("here"))
        .step("side", |step| step)
        .step("b", |step| step.needs(["a"]));
    let mut tale = Tale::new(plan.graph());
    let back = || rollback(Back::To("here".into()));
    assert!(tale.refused(back()).contains("not reached"));
    tale.starts(&["do a", "do side"]).done("a").done("side").starts(&["do b"]).done("b");
    tale.asks(back());
    assert_eq!(tale.go(), ["undo b", "undo side"], "`side` was not done when `here` was reached");
    tale.done("b").done("side").starts(&[]);
    let reason = |tale: &Tale| match &tale.run.holds()[0].cause {
        HoldCause::Person { reason, .. } => reason.clone(),
        cause => panic!("{cause:?}"),
    };
    assert!(reason(&tale).contains("`here`") && tale.is_done("a"));
    tale.releases().starts(&["do b", "do side"]);
    tale.done("b").done("side");
    tale.closes(Outcome::Completed);
}

#[test]
fn a_checkpoint_is_reached_when_its_last_instance_has_ended() {
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .step("snap", |step| step.each("line", ["x", "y"]).checkpoint("copied"))
        .step("next", |step| step.each("line", ["x", "y"]).needs(["snap"]));
    let mut tale = Tale::new(plan.graph());
    let back = || rollback(Back::To("copied".into()));
    tale.starts(&["do snap[x]", "do snap[y]"]).done("snap[x]").starts(&["do next[x]"]);
    tale.done("next[x]");
    assert!(tale.refused(back()).contains("not reached"));
    tale.done("snap[y]").starts(&["do next[y]"]);
    tale.asks(back()).stopped("next[y]").starts(&["undo next[y]"]).done("next[y]");
    assert!(tale.is_done("next[x]"), "it was done when the checkpoint was reached");
    tale.releases().starts(&["do next[y]"]);
}

#[test]
fn rollback_to_is_refused_when_the_checkpoint_itself_was_undone() {
    let plan = PlanBuilder::new()
        .step("a", |step| step.checkpoint("here"))
        .step("b", |step| step.needs(["a"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).done("a");
    let a = tale.step("a");
    tale.asks(Request::Retry { step: a }).starts(&["undo a"]).done("a").starts(&["do a"]);
    assert!(tale.refused(rollback(Back::To("here".into()))).contains("undone since"));
}

#[test]
fn nothing_goes_forward_while_going_back_to_a_checkpoint() {
    let plan = PlanBuilder::new()
        .step("a", |step| step.checkpoint("here"))
        .step("b", |step| step.needs(["a"]))
        .step("free", |step| step.needs(["a"]));
    let mut tale = Tale::new(plan.limit("steps", 1).graph());
    tale.starts(&["do a"]).done("a").starts(&["do b"]);
    tale.asks(rollback(Back::To("here".into()))).stopped("b").starts(&["undo b"]);
    assert!(!tale.would_take(to(&tale, "free", Way::Do, 1)));
    tale.done("b").starts(&[]);
    tale.releases().starts(&["do b"]);
}

#[test]
fn what_two_lines_took_along_goes_forward_when_both_are_undone() {
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .step("move", |step| step.each("line", ["x", "y"]))
        .step("look", |step| step.each("line", ["x", "y"]))
        .step("tell", |step| step.needs(["look"]));
    let mut tale = Tale::new(plan.graph());
    // What is out hands its needs on: `tell` hangs on line x, but on nothing that is undone there.
    let step = tale.step("look[x]");
    tale.asks(Request::Skip { step, reason: "not today".into() }).all_well();
    for line in ["y", "x"] {
        let line = tale.run.graph().find_line(line).unwrap();
        tale.asks(rollback(Back::Line(line)));
    }
    tale.starts(&["undo move[x]", "undo move[y]", "undo tell"]).done("tell").done("move[y]");
    tale.starts(&["undo look[y]"]).done("look[y]");
    assert!(tale.run.is_out(tale.step("move[y]")));
    tale.starts(&[]).done("move[x]");
    tale.starts(&["do tell"]).done("tell").closes(Outcome::Completed);
}

/// Without line x nobody serves while `up` disturbs the old provider.
fn leaning_on_a_line() -> Tale {
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new", |step| step.each("line", ["x"]).gains(["ocsp@to/one"]))
        .step("up", |step| step.needs(["new"]).disturbs(["ocsp@from/one"]));
    let graph = plan.graph();
    assert!(cutover::proof::prove(&graph).is_ok());
    let mut tale = Tale::new(graph);
    tale.starts(&["do new[x]"]).done("new[x]");
    for provider in ["ocsp@from/one", "ocsp@to/one"] {
        tale.verdict(provider, cutover::event::Verdict::Normal);
    }
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line))).starts(&["undo new[x]"]).done("new[x]");
    tale
}

#[test]
fn a_line_goes_out_only_if_the_plan_without_it_proves() {
    let mut tale = leaning_on_a_line();
    assert!(!tale.run.is_out(tale.step("new[x]")));
    assert!(tale.question_text().contains("does not prove"), "{}", tale.question_text());
    tale.verdict("ocsp@from/one", cutover::event::Verdict::Normal).starts(&[]);
    assert!(!tale.would_take(to(&tale, "up", Way::Do, 1)));
    tale.answers(Answer::Retry).starts(&["do new[x]"]);
}

#[test]
fn a_line_that_cannot_go_out_is_asked_about_again_after_a_hold() {
    let mut tale = leaning_on_a_line();
    tale.answers(Answer::Hold).starts(&[]);
    assert!(tale.run.questions().is_empty());
    tale.releases().starts(&[]);
    assert!(tale.question_text().contains("does not prove"), "{}", tale.question_text());
    tale.answers(Answer::Retry).starts(&["do new[x]"]);
}

#[test]
fn a_line_that_came_back_under_a_hold_is_not_asked_about_again() {
    let mut tale = leaning_on_a_line();
    tale.answers(Answer::Hold);
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line))).answers(Answer::RollbackLine);
    assert!(tale.question_text().contains("does not prove"), "{}", tale.question_text());
    tale.answers(Answer::Retry).releases();
    assert!(tale.run.questions().is_empty(), "{:?}", tale.run.questions());
    tale.starts(&["do new[x]"]);
}

#[test]
fn an_undone_line_that_cannot_go_out_may_be_retried_by_step() {
    let mut tale = leaning_on_a_line();
    let step = tale.step("new[x]");
    tale.asks(Request::Retry { step });
    assert!(tale.run.questions().is_empty());
    tale.starts(&["do new[x]"]);
}

#[test]
fn done_steps_of_phase_before_are_undone_in_a_rollback_line() {
    let noon = crate::tale::noon();
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .window(noon + SignedDuration::from_hours(1), noon + SignedDuration::from_hours(2))
        .step("early", |step| step.each("line", ["x", "y"]).phase(cutover::plan::Phase::Before))
        .step("move", |step| step.each("line", ["x", "y"]).needs(["early"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do early[x]", "do early[y]"]).done("early[x]").done("early[y]");
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line))).starts(&["undo early[x]"]).done("early[x]");
    assert!(tale.run.is_out(tale.step("move[x]")) && tale.is_done("early[y]"));
}

#[test]
fn two_lines_go_out_each_by_itself() {
    let mut tale = Tale::new(two_lines().on_failure(OnFailure::RollbackLine).graph());
    tale.starts(&["do open"]).done("open").starts(&["do move[x]", "do move[y]"]);
    tale.fails("move[x]").fails("move[y]").starts(&["undo move[x]", "undo move[y]"]);
    tale.done("move[x]");
    assert!(tale.run.is_out(tale.step("look[x]")) && !tale.run.is_out(tale.step("look[y]")));
    tale.done("move[y]");
    assert_eq!(tale.run.lines_out().count(), 2);
    // What belongs to no line hands the needs of both on.
    tale.starts(&["do all"]).done("all");
    tale.closes(Outcome::Completed);
}

#[test]
fn a_rollback_of_the_run_overtakes_one_of_a_line() {
    let mut tale = Tale::new(two_lines().graph());
    tale.starts(&["do open"]).done("open").starts(&["do move[x]", "do move[y]"]);
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line))).rolls_back();
    assert!(tale.refused(rollback(Back::Line(line))).contains("whole run"));
    tale.stopped("move[x]").stopped("move[y]").starts(&["undo move[x]", "undo move[y]"]);
    tale.done("move[x]");
    assert!(!tale.run.is_out(tale.step("look[x]")), "it is undone, not out");
    tale.done("move[y]").starts(&["undo open"]).done("open");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn skip_is_refused_where_the_plan_without_the_step_does_not_prove() {
    let plan = PlanBuilder::new()
        .step("a", |step| step.output("n", "n ([0-9]+)"))
        .step("b", |step| step.needs(["a"]).run(&["echo", "${{ steps.a.outputs.n }}"]));
    let mut tale = Tale::new(plan.graph());
    let skip = Request::Skip { step: tale.step("a"), reason: "x".into() };
    let why = tale.refused(skip);
    assert!(why.contains("does not prove"), "{why}");
}

#[test]
fn a_step_of_the_line_that_hangs_on_nothing_does_not_start_either() {
    let plan = PlanBuilder::new()
        .lines(["x"])
        .limit("steps", 1)
        .step("first", |step| step.each("line", ["x"]))
        .step("free", |step| step.each("line", ["x"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do first[x]"]);
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line))).stopped("first[x]");
    assert!(!tale.would_take(to(&tale, "free[x]", Way::Do, 1)));
    tale.starts(&["undo first[x]"]).done("first[x]");
    assert!(tale.run.is_out(tale.step("free[x]")));
}

#[test]
fn rollback_line_reaches_through_what_is_out() {
    let plan = PlanBuilder::new()
        .lines(["x"])
        .step("move", |step| step.each("line", ["x"]))
        .step("between", |step| step.needs(["move"]))
        .step("on-it", |step| step.needs(["between"]));
    let mut tale = Tale::new(plan.graph());
    tale.asks(Request::Skip { step: tale.step("between"), reason: "x".into() });
    tale.starts(&["do move[x]"]).done("move[x]").starts(&["do on-it"]).done("on-it");
    let line = tale.run.graph().find_line("x").unwrap();
    tale.asks(rollback(Back::Line(line))).starts(&["undo on-it"]).done("on-it");
    tale.starts(&["undo move[x]"]).done("move[x]").starts(&["do on-it"]);
}
