//! Windows, moments and phases.

use crate::tale::{Tale, noon, rollback};
use cutover::event::{Answer, Back, Event, Options, Outcome, Timer};
use cutover::graph::testing::PlanBuilder;
use cutover::plan::{Kind, Phase};
use cutover::run::{Cause, Command};
use jiff::SignedDuration;

fn hours(hours: i64) -> jiff::Timestamp {
    noon() + SignedDuration::from_hours(hours)
}

/// A window from one hour to two hours after the run begins.
fn phased() -> PlanBuilder {
    PlanBuilder::new()
        .window(hours(1), hours(2))
        .step("notice", |step| step.phase(Phase::Before))
        .step("move", |step| step)
        .step("tidy", |step| step.phase(Phase::After))
}

#[test]
fn phases_are_edges_and_the_window_is_waited_for() {
    let mut tale = Tale::new(phased().graph());
    tale.starts(&["do notice"]);
    assert_eq!(tale.commands(), [Command::Wake(Timer::Closes, hours(2))]);
    tale.done("notice").starts(&[]);
    assert_eq!(tale.commands()[0], Command::Wake(Timer::Opens, hours(1)));
    assert_eq!(tale.run.waits_for(tale.step("move")), [Cause::Time(Timer::Opens, hours(1))]);
    tale.due_timer(Timer::Opens).starts(&["do move"]).done("move").starts(&["do tidy"]);
    tale.done("tidy").closes(Outcome::Completed);
}

#[test]
fn a_step_waits_for_its_moment() {
    let plan = PlanBuilder::new().step("a", |step| step.not_before(hours(3)));
    let mut tale = Tale::new(plan.graph());
    let timer = Timer::NotBefore(tale.step("a"));
    assert_eq!(tale.commands(), [Command::Wake(timer, hours(3))]);
    tale.due_timer(timer).starts(&["do a"]);
    assert!(!tale.would_take(Event::Due { timer, jumped: false }), "once");
}

#[test]
fn a_shifted_window_shifts_every_moment() {
    let plan = phased().step("late", |step| step.phase(Phase::Before).not_before(hours(-5)));
    let options = Options { shift_s: 36000, ..Options::default() };
    let mut tale = Tale::with(plan.graph(), options);
    let timer = Timer::NotBefore(tale.step("late"));
    let wakes: Vec<_> =
        tale.commands().into_iter().filter(|it| !matches!(it, Command::Start(_))).collect();
    assert_eq!(wakes, [Command::Wake(timer, hours(5)), Command::Wake(Timer::Closes, hours(12))]);
    tale.due_timer(timer);
}

#[test]
fn only_a_rehearsal_jumps() {
    let plan = || PlanBuilder::new().step("a", |step| step.not_before(hours(3))).graph();
    let tale = Tale::new(plan());
    let timer = Timer::NotBefore(tale.step("a"));
    assert!(!tale.would_take(Event::Due { timer, jumped: true }));
    let rehearsal = Options { rehearsal: true, ..Options::default() };
    let tale = Tale::with(plan(), rehearsal);
    assert!(tale.would_take(Event::Due { timer, jumped: true }));
}

#[test]
fn a_moment_over_when_the_run_began_asks_now_or_skip() {
    let plan = PlanBuilder::new()
        .step("a", |step| step.not_before(hours(-1)))
        .step("b", |step| step.needs(["a"]));
    let mut tale = Tale::new(plan.clone().graph());
    tale.starts(&[]);
    assert!(tale.question_text().contains("`a`"));
    tale.answers(Answer::Go).starts(&["do a"]);
    let mut tale = Tale::new(plan.clone().graph());
    tale.answers(Answer::Skip).starts(&["do b"]).done("b");
    assert!(tale.run.is_out(tale.step("a")));
    tale.closes(Outcome::Completed);
    let rehearsal = Options { rehearsal: true, ..Options::default() };
    let tale = Tale::with(plan.graph(), rehearsal);
    assert!(tale.run.questions().is_empty(), "in a rehearsal nothing is late");
}

#[test]
fn a_phase_over_when_the_run_began_asks_too() {
    let plan = PlanBuilder::new()
        .window(hours(-1), hours(2))
        .step("notice", |step| step.phase(Phase::Before))
        .step("move", |step| step);
    let mut tale = Tale::new(plan.graph());
    assert!(tale.question_text().contains("`notice`"));
    tale.answers(Answer::Hold).starts(&[]);
    tale.releases();
    assert!(tale.question_text().contains("`notice`"), "asked again at release");
    tale.answers(Answer::Go).starts(&["do notice"]);
}

#[test]
fn after_closes_steps_of_the_window_ask_but_undo_and_reopen_do_not() {
    let plan = PlanBuilder::new()
        .window(hours(0), hours(2))
        .step("a", |step| step)
        .step("b", |step| step.needs(["a"]))
        .step("open", |step| step.kind(Kind::Reopen));
    let mut tale = Tale::new(plan.graph());
    tale.due_timer(Timer::Opens).starts(&["do a", "do open"]).stopped("open");
    tale.due_timer(Timer::Closes).starts(&["do open"]);
    tale.done("open").done("a").starts(&[]);
    assert!(tale.question_text().contains("closed"));
    let mut back = Tale { run: tale.run.clone(), journal: tale.journal.clone(), now: tale.now };
    tale.answers(Answer::Go).starts(&["do b"]).done("b");
    tale.closes(Outcome::Completed);
    back.answers(Answer::Rollback).starts(&["undo a", "undo open"]);
}

#[test]
fn a_run_resumed_after_closes_starts_nothing_unasked() {
    let plan = PlanBuilder::new().window(hours(0), hours(2)).step("a", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.due_timer(Timer::Opens);
    tale.now = hours(3);
    tale.crash().starts(&[]);
    assert!(tale.question_text().contains("closed"));
}

#[test]
fn done_steps_of_phase_before_stay_in_a_rollback_unless_all() {
    let plan = || {
        PlanBuilder::new()
            .window(hours(1), hours(2))
            .step("notice", |step| step.phase(Phase::Before))
            .step("other", |step| step.phase(Phase::Before))
            .step("move", |step| step)
    };
    let mut tale = Tale::new(plan().graph());
    tale.starts(&["do notice", "do other"]).done("notice").rolls_back();
    assert_eq!(tale.stops(), ["do other"]);
    tale.stopped("other").starts(&["undo other"]).done("other");
    assert!(tale.is_done("notice"));
    tale.closes(Outcome::RolledBack);
    let mut tale = Tale::new(plan().graph());
    tale.starts(&["do notice", "do other"]).done("notice").rolls_back();
    tale.asks(rollback(Back::Run { before_too: true })).starts(&["undo notice"]);
}
