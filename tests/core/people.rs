//! Gates, manual steps, revocations, the live floor and breaches.

use crate::tale::{Tale, person};
use cutover::event::{Answer, Event, Outcome, Request, Timer, Verdict, Way};
use cutover::graph::testing::PlanBuilder;
use cutover::plan::{Kind, OnBreach, OnFailure};
use cutover::run::{Cause, Status};

fn gated() -> PlanBuilder {
    PlanBuilder::new()
        .step("a", |step| step)
        .step("go", |step| step.needs(["a"]).gate(["release", "security"], 2))
        .step("b", |step| step.needs(["go"]))
}

fn approve(tale: &Tale) -> Request {
    Request::Approve { step: tale.step("go"), note: String::new() }
}

fn down() -> Verdict {
    Verdict::Down(vec!["ocsp-unreachable".into()])
}

#[test]
fn what_people_do_waits_for_no_slot_behind_steps_that_do() {
    // By the longest way to the end `a` and `b` come first, and there is one slot.
    let plan = PlanBuilder::new()
        .limit("steps", 1)
        .step("a", |step| step)
        .step("b", |step| step)
        .step("hsm", |step| step.manual(["custodians"], 1));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a", "do hsm"]).done("a").starts(&["do b"]);
}

#[test]
fn a_gate_opens_with_different_people_of_each_group() {
    let mut tale = Tale::new(gated().graph());
    let mara = person("mara", &["release"]);
    let jo = person("jo", &["release"]);
    let kim = person("kim", &["security"]);
    let eve = person("eve", &["others"]);
    let refused = tale.request(&mara, approve(&tale)).unwrap_err();
    assert!(refused.why.contains("not reached"), "{}", refused.why);
    tale.starts(&["do a"]).done("a").starts(&[]);
    assert_eq!(tale.run.waits_for(tale.step("go")), [Cause::People]);
    assert!(tale.request(&eve, approve(&tale)).unwrap_err().why.contains("none of"));
    tale.request(&mara, approve(&tale)).unwrap();
    let twice = tale.request(&mara, approve(&tale)).unwrap_err();
    assert!(twice.why.contains("already"), "{}", twice.why);
    tale.request(&jo, approve(&tale)).unwrap();
    assert!(tale.is_clean("go"), "two of one group are not one of each");
    tale.request(&kim, approve(&tale)).unwrap();
    assert!(tale.is_done("go"));
    tale.starts(&["do b"]).done("b");
    tale.closes(Outcome::Completed);
}

#[test]
fn one_person_of_both_groups_is_no_quorum_of_two() {
    let mut tale = Tale::new(gated().graph());
    let both = person("mara", &["release", "security"]);
    tale.starts(&["do a"]).done("a");
    tale.request(&both, approve(&tale)).unwrap();
    assert!(tale.is_clean("go"));
}

#[test]
fn an_undone_gate_loses_its_approvals() {
    let mut tale = Tale::new(gated().graph());
    let mara = person("mara", &["release"]);
    let kim = person("kim", &["security"]);
    tale.starts(&["do a"]).done("a");
    tale.request(&mara, approve(&tale)).unwrap();
    tale.request(&kim, approve(&tale)).unwrap();
    assert!(tale.is_done("go"));
    let gate = tale.step("go");
    tale.asks(Request::Retry { step: gate });
    assert!(tale.is_clean("go"));
    tale.request(&mara, approve(&tale)).unwrap();
    assert!(tale.is_clean("go"), "kim's approval is gone");
    tale.request(&kim, approve(&tale)).unwrap();
    tale.starts(&["do b"]);
}

#[test]
fn a_gate_does_not_open_while_the_run_is_held() {
    let mut tale = Tale::new(gated().graph());
    tale.starts(&["do a"]).done("a").holds();
    tale.request(&person("mara", &["release"]), approve(&tale)).unwrap();
    tale.request(&person("kim", &["security"]), approve(&tale)).unwrap();
    assert!(tale.is_clean("go"));
    tale.releases();
    assert!(tale.is_done("go"));
}

#[test]
fn no_to_a_gate_holds_and_offers_the_rollback() {
    let mut tale = Tale::new(gated().graph());
    let kim = person("kim", &["security"]);
    tale.starts(&["do a"]).done("a");
    tale.request(&kim, approve(&tale)).unwrap();
    let no = Request::Disapprove { step: tale.step("go"), reason: "numbers differ".into() };
    tale.request(&kim, no).unwrap();
    assert!(tale.question_text().contains("numbers differ"));
    assert!(tale.run.questions()[0].answers.contains(&Answer::Rollback));
    assert!(tale.run.approved_by(tale.step("go")).is_empty(), "no takes an earlier yes back");
    tale.answers(Answer::Rollback).starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_gate_is_never_skipped() {
    let mut tale = Tale::new(gated().graph());
    let skip = Request::Skip { step: tale.step("go"), reason: "hurry".into() };
    assert!(tale.refused(skip).contains("gate"));
}

#[test]
fn a_manual_step_is_ended_by_enough_different_people() {
    let plan = PlanBuilder::new()
        .limit("steps", 1)
        .step("hsm", |step| step.manual(["custodians"], 2))
        .step("a", |step| step);
    let mut tale = Tale::new(plan.graph());
    assert_eq!(tale.go().len(), 2, "a manual step takes no limit");
    let job = tale.job("hsm");
    tale.done("a").crash();
    assert_eq!(tale.status("hsm"), Status::Running(job), "a crash leaves no doubt about it");
    assert!(!tale.would_take(Event::Ended(job, cutover::event::Ending::Stopped)));
    let step = tale.step("hsm");
    let finish = || Request::Finish { step, evidence: String::new() };
    let lee = person("lee", &["custodians"]);
    assert!(tale.request(&person("eve", &[]), finish()).is_err());
    tale.request(&lee, Request::Claim { step }).unwrap();
    assert_eq!(tale.run.claimed_by(step), ["lee"]);
    tale.request(&lee, finish()).unwrap();
    assert!(tale.request(&lee, finish()).unwrap_err().why.contains("already"));
    assert!(!tale.is_done("hsm"));
    assert!(!tale.run.needs_person(), "it waits");
    tale.request(&person("ana", &["custodians"]), finish()).unwrap();
    assert!(tale.is_done("hsm"));
    tale.closes(Outcome::Completed);
}

#[test]
fn a_manual_step_that_cannot_be_done_follows_its_policy() {
    let plan = PlanBuilder::new()
        .on_failure(OnFailure::Rollback)
        .step("a", |step| step)
        .step("hsm", |step| step.needs(["a"]).manual([], 1));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).done("a").starts(&["do hsm"]);
    let step = tale.step("hsm");
    tale.asks(Request::Fail { step, reason: "no key".into() }).starts(&["undo hsm"]);
    tale.asks(Request::Finish { step, evidence: String::new() }).starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_rollback_does_not_wait_for_a_manual_step() {
    let plan = PlanBuilder::new().step("hsm", |step| step.manual([], 1));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do hsm"]).rolls_back();
    assert!(tale.stops().is_empty(), "no executor has it");
    tale.starts(&["undo hsm"]);
}

#[test]
fn verify_and_reopen_wait_for_unconfirmed_revocations() {
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .step("look", |step| step.each("line", ["x", "y"]).kind(Kind::Verify));
    let mut tale = Tale::new(plan.graph());
    let x = tale.run.graph().find_line("x").unwrap();
    let clear = |tale: &mut Tale, clear| {
        let as_of = tale.run.seq();
        tale.event(Event::Revocations { line: x, clear, as_of });
    };
    clear(&mut tale, false);
    assert_eq!(tale.due(), ["do look[y]"]);
    assert_eq!(tale.run.waits_for(tale.step("look[x]")), [Cause::Revocation(x)]);
    clear(&mut tale, true);
    tale.starts(&["do look[x]", "do look[y]"]);
    let job = tale.job("look[x]");
    clear(&mut tale, false);
    assert!(!tale.run.may_begin(job));
}

#[test]
fn go_live_waits_for_unconfirmed_revocations_of_every_line() {
    let plan = PlanBuilder::new()
        .lines(["x"])
        .step("go", |step| step.gate(["release"], 1).point_of_no_return());
    let mut tale = Tale::new(plan.graph());
    let x = tale.run.graph().find_line("x").unwrap();
    tale.event(Event::Revocations { line: x, clear: false, as_of: 1 });
    tale.request(&person("mara", &["release"]), approve(&tale)).unwrap();
    assert!(tale.is_clean("go"));
    tale.event(Event::Revocations { line: x, clear: true, as_of: 3 });
    assert!(tale.is_done("go"));
}

/// Two providers serve, one is wanted; each is upgraded, in no order.
fn upgrades() -> PlanBuilder {
    PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one", "ocsp@from/two"])
        .step("up-one", |step| step.disturbs(["ocsp@from/one"]))
        .step("up-two", |step| step.disturbs(["ocsp@from/two"]))
}

#[test]
fn no_start_takes_the_last_normal_provider() {
    let mut tale = Tale::new(upgrades().graph());
    assert_eq!(tale.due(), [""; 0], "no verdict yet is neither up nor down");
    tale.verdict("ocsp@from/one", Verdict::Normal);
    assert_eq!(tale.due(), ["do up-two"], "`one` stands");
    tale.verdict("ocsp@from/two", Verdict::Degraded(vec!["ocsp-slow".into()]));
    assert_eq!(tale.due().len(), 1, "together they would take both");
    assert_eq!(tale.go(), ["do up-one"]);
    let two = tale.step("up-two");
    assert!(matches!(tale.run.waits_for(two)[0], Cause::Floor { .. }));
    tale.done("up-one").starts(&[]);
    assert_eq!(
        tale.run.verdict(tale.run.graph().find_provider("ocsp@from/one").unwrap()).0,
        &Verdict::Unknown
    );
    tale.verdict("ocsp@from/one", Verdict::Normal).starts(&["do up-two"]).done("up-two");
    tale.closes(Outcome::Completed);
}

#[test]
fn a_start_that_would_take_the_last_provider_when_it_is_durable_is_withdrawn() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", Verdict::Normal).verdict("ocsp@from/two", Verdict::Normal);
    tale.starts(&["do up-one"]);
    assert!(tale.run.may_begin(tale.job("up-one")));
    tale.verdict("ocsp@from/two", Verdict::Unknown);
    assert!(!tale.run.may_begin(tale.job("up-one")));
    tale.ends("up-one", cutover::event::Ending::Withdrawn).starts(&[]);
    tale.verdict("ocsp@from/two", Verdict::Normal).starts(&["do up-one"]);
}

#[test]
fn a_verdict_older_than_the_providers_last_event_counts_for_nothing() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", Verdict::Normal).verdict("ocsp@from/two", Verdict::Normal);
    tale.starts(&["do up-one"]).done("up-one");
    let provider = tale.run.graph().find_provider("ocsp@from/one").unwrap();
    let stale = tale.run.last_event_of(provider) - 1;
    tale.event(Event::Verdict { provider, verdict: Verdict::Normal, as_of: stale });
    tale.starts(&[]);
}

#[test]
fn who_is_called_down_is_free_to_be_taken() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", down()).verdict("ocsp@from/two", Verdict::Normal);
    assert!(tale.run.holds().is_empty(), "one stands: no breach");
    assert_eq!(tale.due(), ["do up-one"], "it is down anyway; `two` is the last");
    tale.go();
    assert!(tale.run.may_begin(tale.job("up-one")), "still so when it is durable");
}

#[test]
fn a_retry_takes_every_provider_that_the_step_touches() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new", |step| step.gains(["ocsp@to/one"]));
    let mut tale = Tale::new(plan.graph());
    assert_eq!(tale.due(), ["do new"], "a first do that only gains takes nothing");
    tale.go();
    tale.stopped("new").starts(&[]);
    tale.verdict("ocsp@from/one", Verdict::Normal).starts(&["do new"]);
}

#[test]
fn past_its_timeout_a_wait_for_the_floor_asks() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", down()).verdict("ocsp@from/two", Verdict::Normal);
    tale.starts(&["do up-one"]).done("up-one").verdict("ocsp@from/one", down()).starts(&[]);
    assert!(!tale.run.needs_person(), "it waits");
    let timer = Timer::Floor(tale.step("up-two"));
    assert!(!tale.would_take(Event::Due { timer, jumped: true }), "the world is not jumped over");
    tale.due_timer(timer);
    let text = tale.question_text();
    assert!(text.contains("wanted back: `ocsp@from/one`"), "{text}");
    assert!(tale.run.needs_person());
    tale.answers(Answer::Retry).verdict("ocsp@from/one", Verdict::Normal).starts(&["do up-two"]);
}

#[test]
fn an_undo_that_would_take_the_last_provider_holds_and_asks() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new", |step| step.gains(["ocsp@to/one"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do new"]).done("new").rolls_back().starts(&[]);
    assert!(tale.run.questions().is_empty(), "a verdict may come");
    tale.verdict("ocsp@to/one", Verdict::Normal).verdict("ocsp@from/one", down()).starts(&[]);
    assert!(tale.question_text().contains("`ocsp@from/one`"));
    tale.answers(Answer::Retry).starts(&[]);
    tale.verdict("ocsp@from/one", Verdict::Normal).starts(&["undo new"]).done("new");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_breach_holds_until_it_is_over_and_a_person_releases() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", down()).verdict("ocsp@from/two", down()).starts(&[]);
    assert_eq!(tale.run.breached().len(), 1);
    let release = || Request::Release { hold: None };
    assert!(tale.refused(release()).contains("still breached"));
    assert!(tale.run.needs_person());
    tale.verdict("ocsp@from/two", Verdict::Normal).starts(&[]);
    tale.asks(release()).starts(&["do up-one"]);
    assert_eq!(tale.run.breached().len(), 1, "history stays");
}

#[test]
fn one_lie_is_a_breach_though_others_stand() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", Verdict::Normal);
    tale.verdict("ocsp@from/two", Verdict::Lying(vec!["ocsp-wrong-key".into()])).starts(&[]);
    assert_eq!(tale.run.breached().len(), 1);
}

#[test]
fn a_provider_that_is_not_serving_breaches_nothing() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new", |step| step.gains(["ocsp@to/one"]));
    let mut tale = Tale::new(plan.graph());
    tale.verdict("ocsp@to/one", Verdict::Lying(vec!["x".into()]));
    assert!(tale.run.holds().is_empty());
}

#[test]
fn on_breach_rolls_back_under_its_own_hold() {
    let plan = upgrades().on_breach(OnBreach::Rollback).step("a", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).done("a");
    tale.verdict("ocsp@from/one", down()).verdict("ocsp@from/two", down());
    assert!(tale.run.is_rolling_back() && !tale.run.holds().is_empty());
    tale.starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_persons_later_hold_stops_what_on_breach_began() {
    let plan = upgrades().on_breach(OnBreach::Rollback).step("a", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).done("a");
    tale.verdict("ocsp@from/one", down()).verdict("ocsp@from/two", down()).holds().starts(&[]);
    tale.rolls_back().starts(&["undo a"]);
}

#[test]
fn on_breach_makes_a_policys_rollback_act_under_the_hold() {
    let plan = upgrades().on_breach(OnBreach::Rollback).on_failure(OnFailure::Rollback);
    let mut tale = Tale::new(plan.step("a", |step| step).graph());
    tale.starts(&["do a"]).fails("a");
    tale.verdict("ocsp@from/one", down()).verdict("ocsp@from/two", down());
    tale.starts(&["undo a"]);
}

#[test]
fn a_role_in_doubt_counts_as_held() {
    let plan = PlanBuilder::new()
        .exclusive("writer", false, Some("from"))
        .step("fence", |step| step.loses(["writer@from"]))
        .step("promote", |step| step.gains(["writer@to"]));
    // No edge orders them: the live check does.
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do fence"]);
    assert!(!tale.would_take(Event::Started(cutover::event::Job {
        step: tale.step("promote"),
        way: Way::Do,
        attempt: 1
    })));
    tale.doubtful("fence").starts(&[]).answers(Answer::Done).starts(&["do promote"]);
    tale.done("promote").rolls_back();
    assert_eq!(tale.go(), ["undo promote"], "fence's undo would make a second writer");
    tale.done("promote").starts(&["undo fence"]).done("fence");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_lie_of_a_provider_that_is_disturbed_is_a_breach_too() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", Verdict::Normal).verdict("ocsp@from/two", Verdict::Normal);
    tale.starts(&["do up-one"]);
    tale.verdict("ocsp@from/one", down());
    assert!(tale.run.holds().is_empty(), "what is being upgraded counts as absent");
    tale.verdict("ocsp@from/one", Verdict::Lying(vec!["ocsp-wrong-key".into()]));
    assert_eq!(tale.run.breached().len(), 1, "clients are still sent there");
}

#[test]
fn a_breach_during_an_abort_is_remembered() {
    let mut tale = Tale::new(upgrades().graph());
    tale.verdict("ocsp@from/one", Verdict::Normal).verdict("ocsp@from/two", Verdict::Normal);
    tale.starts(&["do up-one"]).asks(Request::Abort { reason: "enough".into() });
    tale.verdict("ocsp@from/two", down());
    assert_eq!(tale.run.breached().len(), 1);
    tale.stopped("up-one").closes(Outcome::Stuck);
}

#[test]
fn approvals_are_for_what_was_there_when_they_were_given() {
    let mut tale = Tale::new(gated().graph());
    let mara = person("mara", &["release"]);
    let kim = person("kim", &["security"]);
    tale.starts(&["do a"]).done("a");
    tale.request(&mara, approve(&tale)).unwrap();
    let a = tale.step("a");
    tale.asks(Request::Retry { step: a }).starts(&["undo a"]).done("a").starts(&["do a"]);
    tale.done("a");
    tale.request(&kim, approve(&tale)).unwrap();
    assert!(tale.is_clean("go"), "mara approved what was undone since");
    tale.request(&mara, approve(&tale)).unwrap();
    assert!(tale.is_done("go"));
}

#[test]
fn a_manual_step_that_gives_a_provider_back_ends_when_the_guard_calls_it_normal() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("new", |step| step.manual([], 1).gains(["ocsp@to/one"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do new"]);
    let step = tale.step("new");
    let finish = || Request::Finish { step, evidence: String::new() };
    let why = tale.refused(finish());
    assert!(why.contains("`ocsp@to/one`") && why.contains("normal"), "{why}");
    tale.verdict("ocsp@to/one", Verdict::Normal).asks(finish());
    assert!(tale.is_done("new"));
    tale.verdict("ocsp@from/one", Verdict::Normal).verdict("ocsp@to/one", Verdict::Normal);
    // Its undo gives nothing back.
    tale.rolls_back().starts(&["undo new"]).asks(finish());
    assert!(tale.is_clean("new"));
}
