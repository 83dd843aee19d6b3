//! One story for each rule of failure, hold and rollback; each fails when its rule is broken.
//!
//! The rules marked ◆ in sections 5 and 6 of the design, and the stories that go red when the rule is
//! taken out of the core (each was taken out once, one at a time, and these told of it; the random
//! stories and those of all small plans are beside them):
//!
//! | rule | taken out as | stories |
//! |---|---|---|
//! | rollback undoes every begun step | only the done ones | `rules::rollback_ends_running_steps_and_undoes_them_as_half_done` |
//! | an undo waits for all begun steps that need its step | it does not | `rules::rollback_undoes_every_begun_step_in_reverse` |
//! | after a failed undo what it needs stays done, others go on | it lets go of what it needs | `rules::a_failed_undo_blocks_only_what_it_needs` |
//! | rollback-line undoes what needs the line, through others | only the line; not through what is out | `back::rollback_line_undoes_the_line_and_what_hangs_on_it`, `back::rollback_line_reaches_through_what_is_out` |
//! | from its first record no step of the line starts | those not begun keep their goal | `back::a_step_of_the_line_that_hangs_on_nothing_does_not_start_either` |
//! | the line goes out only if the plan without it proves | unproved | `back::a_line_goes_out_only_if_the_plan_without_it_proves` |
//! | then what else was undone starts again | it stays undone | `back::rollback_line_undoes_the_line_and_what_hangs_on_it` |
//! | out comes back when nothing begun needs it | at any time | `back::out_comes_back_only_by_retry_when_nothing_begun_needs_it` |
//! | ... and the plan without what stays out proves | unproved | `skip::out_comes_back_only_if_the_plan_without_what_stays_out_proves` |
//! | skip takes only what never started | half-done too | `back::skip_takes_only_what_never_started` |
//! | ... and only if the plan without it proves | unproved | `skip::a_skip_that_would_break_the_floor_is_refused_with_the_sequence` |
//! | what is out hands its needs on, forwards and in undo | not forwards; not in undo | `back::what_is_out_hands_its_needs_on` |
//! | a done step runs again only after what needs it is undone | at once | `back::a_done_step_runs_again_only_after_all_that_needs_it_is_undone` |
//! | no rollback over a begun point of no return | ordered all the same; counted from its end | `rules::no_rollback_over_a_point_of_no_return_that_has_begun` |
//! | rollback --to undoes what was begun or done since | keeps all that is done | `back::rollback_to_a_checkpoint_undoes_what_came_since_and_holds` |
//! | ... and is refused when the checkpoint itself was undone | a mark once reached stays | `back::rollback_to_is_refused_when_the_checkpoint_itself_was_undone` |
//! | hold is a set of reasons | one release ends all | `rules::a_release_ends_only_what_a_release_ends` |
//! | hold stops retries and a policy's undos | it does not | `rules::a_hold_stops_retries_and_the_undos_of_a_policy` |
//! | a person's rollback acts under it | held too | `rules::a_hold_stops_retries_and_the_undos_of_a_policy` |
//! | ... and a guard's `on_breach` | held too | `people::on_breach_rolls_back_under_its_own_hold` |
//! | a person's hold beats a policy, which is asked about | it acts; it is forgotten | `rules::a_persons_hold_beats_a_policy_which_is_asked_about` |
//! | a rollback with nothing to undo holds and asks | silence | `rules::a_rollback_with_nothing_to_undo_holds_and_asks` |
//! | the live floor | not asked; `Unknown` counts as normal; as down | `people::no_start_takes_the_last_normal_provider` |
//! | ... of a verdict newer than the last event | an old one counts | `people::a_verdict_older_than_the_providers_last_event_counts_for_nothing` |
//! | ... a retry takes all that the step touches | only its effects | `people::a_retry_takes_every_provider_that_the_step_touches` |
//! | ... asked again when the start is durable | it is not | `people::a_start_that_would_take_the_last_provider_when_it_is_durable_is_withdrawn` |
//! | ... free is only who is called down | a silent guard frees | `present::a_silent_guard_frees_nothing` |
//! | ... in a rollback it holds and asks | not asked in undo; waits for ever | `people::an_undo_that_would_take_the_last_provider_holds_and_asks` |
//! | before an automatic rollback the way back is proved | it is not | `present::an_automatic_rollback_that_would_take_the_last_provider_is_asked_about` |
//! | ... without the providers that are down | with them | `present::the_old_site_that_died_meanwhile_is_not_gone_back_to_unasked` |
//! | ... the smaller of `at_least` and those up now | always `at_least` | `present::a_breach_of_all_rolls_back_at_once` |

use crate::tale::{Tale, rollback};
use cutover::event::{Answer, Back, Ending, Event, Job, Outcome, Request, Timer, Verdict, Way};
use cutover::failure::Failure;
use cutover::graph::testing::PlanBuilder;
use cutover::plan::OnFailure;
use cutover::run::{Command, Goal, Status};
use jiff::SignedDuration;

pub(crate) fn chain() -> PlanBuilder {
    PlanBuilder::new()
        .step("a", |step| step)
        .step("b", |step| step.needs(["a"]))
        .step("c", |step| step.needs(["b"]))
}

pub(crate) fn to(tale: &Tale, name: &str, way: Way, attempt: u32) -> Event {
    Event::Started(Job { step: tale.step(name), way, attempt })
}

#[test]
fn a_plan_runs_forward_and_completes() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).starts(&[]).done("a").starts(&["do b"]).done("b");
    tale.starts(&["do c"]).done("c");
    tale.closes(Outcome::Completed);
}

#[test]
fn only_what_the_state_could_order_is_taken_in() {
    let mut tale = Tale::new(chain().graph());
    assert!(!tale.would_take(to(&tale, "b", Way::Do, 1)), "its need is not there");
    assert!(!tale.would_take(to(&tale, "a", Way::Do, 2)), "out of turn");
    assert!(!tale.would_take(to(&tale, "a", Way::Undo, 1)), "never begun");
    assert!(!tale.would_take(Event::Closed(Outcome::Completed)));
    tale.starts(&["do a"]);
    assert!(!tale.would_take(to(&tale, "a", Way::Do, 2)), "running");
    let job = tale.job("a");
    let late = Job { attempt: 2, ..job };
    assert!(!tale.would_take(Event::Ended(late, Ending::Stopped)), "not running");
    assert!(!tale.would_take(Event::Ended(job, Ending::NotDone)), "no check");
    tale.stumbles("a");
    assert!(!tale.would_take(Event::Ended(job, Ending::Stopped)), "ended already");
    let mut record = tale.record(to(&tale, "a", Way::Do, 2));
    record.seq += 1;
    assert!(tale.run.clone().apply(&record).is_err(), "a hole");
}

#[test]
fn what_fails_in_apply_changes_nothing() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]);
    let before = tale.run.clone();
    let record = tale.record(to(&tale, "b", Way::Do, 1));
    assert!(tale.run.apply(&record).is_err());
    assert!(tale.run == before);
}

#[test]
fn a_transient_failure_is_tried_again_after_its_backoff() {
    let pause = SignedDuration::from_secs(10);
    let plan = PlanBuilder::new().step("a", |step| step.attempts(3, pause));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]);
    let failed_at = tale.now;
    tale.stumbles("a").starts(&[]);
    assert_eq!(tale.status("a"), Status::Waiting(Way::Do));
    let timer = Timer::Retry(tale.step("a"), Way::Do);
    assert_eq!(tale.commands(), [Command::Wake(timer, failed_at + pause)]);
    tale.due_timer(timer).starts(&["do a"]).stumbles("a").due_timer(timer).starts(&["do a"]);
    assert_eq!(tale.job("a").attempt, 3);
    tale.stumbles("a").starts(&[]);
    assert_eq!(tale.status("a"), Status::Failed(Way::Do), "three attempts are all");
    assert!(tale.run.needs_person());
}

#[test]
fn a_final_failure_is_not_tried_again() {
    let plan = PlanBuilder::new().step("a", |step| step.attempts(3, SignedDuration::ZERO));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).fails("a");
    assert_eq!(tale.status("a"), Status::Failed(Way::Do));
    tale.answers(Answer::Retry).starts(&["do a"]).done("a");
    tale.closes(Outcome::Completed);
}

#[test]
fn a_failure_holds_and_asks_and_frees_its_slot() {
    let plan = PlanBuilder::new().limit("steps", 1).step("a", |step| step).step("b", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).fails("a");
    assert_eq!(tale.due(), [""; 0], "held");
    assert!(tale.run.needs_person());
    tale.answers(Answer::Hold);
    assert!(!tale.run.needs_person(), "a person's hold waits");
    tale.releases();
    assert!(tale.question_text().contains("`a` failed"), "asked again at release");
    tale.answers(Answer::Retry);
    assert_eq!(tale.go().len(), 1, "one at a time");
}

#[test]
fn rollback_undoes_every_begun_step_in_reverse() {
    let mut tale = Tale::new(chain().on_failure(OnFailure::Rollback).graph());
    tale.starts(&["do a"]).done("a").starts(&["do b"]).done("b").starts(&["do c"]);
    tale.fails("c").starts(&["undo c"]);
    assert!(!tale.would_take(to(&tale, "b", Way::Undo, 1)), "c is not undone yet");
    tale.done("c").starts(&["undo b"]).done("b").starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn rollback_ends_running_steps_and_undoes_them_as_half_done() {
    let plan = PlanBuilder::new()
        .on_failure(OnFailure::Rollback)
        .step("a", |step| step)
        .step("slow", |step| step)
        .step("whole", |step| step.finish_on_rollback());
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a", "do slow", "do whole"]).fails("a");
    assert_eq!(tale.stops(), ["do slow"], "`whole` is waited for");
    assert_eq!(tale.stops(), ["do slow"], "asked twice, answered twice the same");
    tale.starts(&["undo a"]).stopped("slow").starts(&["undo slow"]);
    tale.done("whole").starts(&["undo whole"]).done("whole").done("a").done("slow");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_job_that_finished_before_it_heard_of_its_end_is_undone_too() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).rolls_back().done("a").starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn undos_count_against_limits() {
    let plan = PlanBuilder::new().limit("steps", 1).step("a", |step| step).step("b", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.all_well();
    // Both are done, so the run could close; a person rolls it back instead.
    tale.rolls_back();
    assert_eq!(tale.go().len(), 1);
    assert_eq!(tale.due().len(), 0);
}

#[test]
fn a_failed_undo_blocks_only_what_it_needs() {
    let plan = PlanBuilder::new()
        .step("a", |step| step)
        .step("b", |step| step.needs(["a"]))
        .step("c", |step| step)
        .step("d", |step| step.needs(["c"]));
    let mut tale = Tale::new(plan.graph());
    tale.all_well().rolls_back();
    tale.starts(&["undo b", "undo d"]).fails("b").done("d").starts(&["undo c"]).done("c");
    assert!(tale.run.holds().is_empty(), "other branches go on");
    assert_eq!(tale.due(), [""; 0], "`a` stays");
    assert!(tale.is_done("a") && tale.run.needs_person());
    assert!(!tale.would_take(to(&tale, "a", Way::Undo, 1)));
    let why = tale.refused(Request::Answer {
        question: tale.question(),
        answer: Answer::Done,
        note: String::new(),
    });
    assert!(why.contains("check"), "{why}");
    tale.answers(Answer::Retry).starts(&["undo b"]).done("b").starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn it_is_undone_needs_a_check_that_agrees() {
    let plan = PlanBuilder::new().step("a", |step| step.check(&["look"]));
    let mut tale = Tale::new(plan.graph());
    tale.all_well().rolls_back();
    tale.starts(&["undo a"]).fails("a").answers(Answer::Done);
    tale.starts(&["check a"]).done("a");
    assert_eq!(tale.status("a"), Status::Failed(Way::Undo), "the check disagrees");
    tale.answers(Answer::Done).starts(&["check a"]).ends("a", Ending::NotDone);
    assert!(tale.is_clean("a"));
    tale.closes(Outcome::RolledBack);
}

#[test]
fn it_is_undone_is_taken_when_the_guard_agrees() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/one", "ocsp@from/two"])
        .step("a", |step| step.loses(["ocsp@from/one"]));
    let mut tale = Tale::new(plan.graph());
    let well = |tale: &mut Tale, name: &str| {
        tale.verdict(name, Verdict::Normal);
    };
    well(&mut tale, "ocsp@from/one");
    well(&mut tale, "ocsp@from/two");
    tale.starts(&["do a"]).done("a");
    tale.rolls_back().starts(&["undo a"]).fails("a");
    let claim = |tale: &Tale| Request::Answer {
        question: tale.question(),
        answer: Answer::Done,
        note: String::new(),
    };
    let why = tale.refused(claim(&tale));
    assert!(why.contains("neither a check nor the guard"), "{why}");
    tale.verdict("ocsp@from/one", Verdict::Down(vec!["ocsp-unreachable".into()]));
    tale.refused(claim(&tale));
    well(&mut tale, "ocsp@from/one");
    tale.asks(claim(&tale));
    assert!(tale.is_clean("a"));
    tale.closes(Outcome::RolledBack);
}

#[test]
fn an_undo_in_doubt_is_repeated() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).done("a").rolls_back().starts(&["undo a"]).crash();
    assert_eq!(tale.status("a"), Status::Doubt(Way::Undo));
    tale.starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_crash_leaves_doubt_which_only_a_person_settles() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).crash().starts(&[]);
    assert_eq!(tale.status("a"), Status::Doubt(Way::Do));
    assert!(tale.run.needs_person());
    assert!(!tale.would_take(to(&tale, "a", Way::Do, 2)), "never by a guess");
    assert!(!tale.would_take(to(&tale, "b", Way::Do, 1)), "doubt is not done");
    let mut other = Tale { run: tale.run.clone(), journal: tale.journal.clone(), now: tale.now };
    tale.answers(Answer::Done).starts(&["do b"]);
    other.answers(Answer::NotDone).starts(&["do a"]);
    assert_eq!(other.job("a").attempt, 2, "attempts are never reused");
}

#[test]
fn a_check_settles_doubt_before_any_retry() {
    let plan =
        PlanBuilder::new().step("a", |step| step.check(&["look"])).step("b", |s| s.needs(["a"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).crash().starts(&["check a"]).ends("a", Ending::NotDone);
    assert_eq!(tale.status("a"), Status::Partial);
    tale.starts(&["do a"]).crash().starts(&["check a"]).done("a").starts(&["do b"]);
}

#[test]
fn a_check_that_does_not_know_leaves_the_doubt() {
    let plan = PlanBuilder::new().step("a", |step| step.check(&["look"]));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).crash().starts(&["check a"]).doubtful("a").starts(&[]);
    assert_eq!(tale.status("a"), Status::Doubt(Way::Do));
    tale.answers(Answer::Retry).starts(&["check a"]).crash().starts(&["check a"]).done("a");
    tale.closes(Outcome::Completed);
}

#[test]
fn an_idempotent_step_is_repeated_instead_of_asked_about() {
    let plan = PlanBuilder::new().step("a", |step| step.idempotent());
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).crash().starts(&["do a"]).done("a");
    tale.closes(Outcome::Completed);
}

#[test]
fn a_timeout_is_a_doubt_and_counts_as_an_attempt() {
    let plan = PlanBuilder::new()
        .step("a", |step| step.check(&["look"]).attempts(2, SignedDuration::ZERO));
    let mut tale = Tale::new(plan.graph());
    let late = || Ending::Failed(Failure::timed_out("after 1 h"));
    tale.starts(&["do a"]).ends("a", late()).starts(&["check a"]).ends("a", Ending::NotDone);
    let timer = Timer::Retry(tale.step("a"), Way::Do);
    tale.due_timer(timer).starts(&["do a"]).ends("a", late()).starts(&["check a"]);
    tale.ends("a", Ending::NotDone);
    assert_eq!(tale.status("a"), Status::Failed(Way::Do));
}

#[test]
fn doubt_in_a_rollback_is_undone_not_asked_about() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).done("a").starts(&["do b"]).crash();
    tale.answers(Answer::Rollback).starts(&["undo b"]).done("b").starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_withdrawn_start_is_as_if_it_had_not_been() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]);
    let job = tale.job("a");
    assert!(tale.run.may_begin(job));
    tale.holds();
    assert!(!tale.run.may_begin(job), "held before it was durable");
    tale.ends("a", Ending::Withdrawn);
    assert!(tale.is_clean("a"));
    tale.releases().starts(&["do a"]);
    assert_eq!(tale.job("a").attempt, 2);
    tale.stopped("a").starts(&["do a"]).ends("a", Ending::Withdrawn);
    assert_eq!(tale.status("a"), Status::Partial, "half-done work is not forgotten");
    tale.rolls_back().starts(&["undo a"]).ends("a", Ending::Withdrawn);
    assert_eq!(tale.status("a"), Status::Partial);
}

#[test]
fn policies_collide_and_the_wider_wins() {
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .step("hold", |step| step)
        .step("line", |step| step.each("line", ["x"]).on_failure(OnFailure::RollbackLine))
        .step("run", |step| step.on_failure(OnFailure::Rollback));
    let mut tale = Tale::new(plan.graph());
    tale.go();
    tale.fails("hold");
    assert_eq!(tale.run.questions().len(), 1);
    tale.fails("run");
    assert!(tale.run.questions().is_empty(), "the question is overtaken");
    tale.fails("line[x]");
    assert_eq!(tale.run.goal(tale.step("hold")), Goal::Undone);
    assert!(tale.run.is_rolling_back());
    tale.all_well().closes(Outcome::RolledBack);
}

#[test]
fn a_hold_is_a_set_of_reasons() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).fails("a").holds();
    assert_eq!(tale.run.holds().len(), 2);
    tale.answers(Answer::Retry).starts(&[]);
    tale.releases().starts(&["do a"]);
    let why = tale.refused(Request::Release { hold: None });
    assert!(why.contains("not held"), "{why}");
}

#[test]
fn a_release_ends_only_what_a_release_ends() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).fails("a").holds().holds();
    let mine = tale.run.holds().last().unwrap().id;
    tale.asks(Request::Release { hold: Some(mine) });
    assert_eq!(tale.run.holds().len(), 2, "the other hold, and the question");
    tale.releases();
    assert_eq!(tale.run.holds().len(), 1, "the question is ended by its answer");
    let why = tale.refused(Request::Release { hold: None });
    assert!(why.contains("question"), "{why}");
    tale.starts(&[]).answers(Answer::Retry).starts(&["do a"]);
}

#[test]
fn a_hold_stops_retries_and_the_undos_of_a_policy() {
    let plan = chain().on_failure(OnFailure::Rollback);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).done("a").starts(&["do b"]).fails("b");
    assert_eq!(tale.due(), ["undo b"]);
    tale.holds().starts(&[]);
    tale.rolls_back().starts(&["undo b"]);
    tale.holds().done("b").starts(&[]);
    assert_eq!(tale.run.holds().len(), 2, "a person's later hold stops a person's rollback");
    tale.releases().starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_persons_hold_beats_a_policy_which_is_asked_about() {
    let mut tale = Tale::new(chain().on_failure(OnFailure::Rollback).graph());
    tale.starts(&["do a"]).holds().fails("a");
    assert!(!tale.run.is_rolling_back());
    tale.releases().starts(&[]);
    assert!(tale.question_text().contains("`a` failed"));
    tale.answers(Answer::Rollback).starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn a_rollback_with_nothing_to_undo_holds_and_asks() {
    let mut tale = Tale::new(chain().graph());
    tale.rolls_back().starts(&[]);
    assert!(tale.question_text().contains("nothing has begun"));
    tale.answers(Answer::Go).starts(&["do a"]);
    let mut tale = Tale::new(chain().graph());
    tale.rolls_back().answers(Answer::Rollback);
    tale.closes(Outcome::RolledBack);
}

#[test]
fn what_cannot_be_undone_does_not_keep_a_rollback_from_its_end() {
    let plan = PlanBuilder::new()
        .on_failure(OnFailure::Rollback)
        .step("a", |step| step.no_undo())
        .step("b", |step| step.needs(["a"]).no_undo());
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).done("a").starts(&["do b"]).fails("b");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn no_rollback_over_a_point_of_no_return_that_has_begun() {
    let plan = PlanBuilder::new()
        .step("a", |step| step)
        .step("over", |step| step.needs(["a"]).point_of_no_return())
        .step("z", |step| step.needs(["over"]).on_failure(OnFailure::Rollback));
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).done("a").starts(&["do over"]);
    let why = tale.refused(rollback(Back::Run { before_too: false }));
    assert!(why.contains("`over`"), "counts from its begin: {why}");
    tale.done("over").starts(&["do z"]).fails("z");
    assert!(!tale.run.is_rolling_back());
    assert!(tale.question_text().contains("refused"), "{}", tale.question_text());
    assert!(!tale.run.questions()[0].answers.contains(&Answer::Rollback));
    assert!(!tale.would_take(to(&tale, "z", Way::Undo, 1)));
    tale.answers(Answer::Retry).starts(&["do z"]).done("z");
    tale.closes(Outcome::Completed);
}

#[test]
fn before_its_begin_a_point_of_no_return_bars_nothing() {
    let plan = PlanBuilder::new()
        .step("a", |step| step)
        .step("over", |step| step.needs(["a"]).point_of_no_return());
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a"]).rolls_back();
    assert!(!tale.would_take(to(&tale, "over", Way::Do, 1)));
    tale.stopped("a").starts(&["undo a"]).done("a");
    tale.closes(Outcome::RolledBack);
}

#[test]
fn abort_ends_what_runs_undoes_nothing_and_closes_as_stuck() {
    let plan = PlanBuilder::new()
        .limit("steps", 2)
        .step("a", |step| step)
        .step("b", |step| step)
        .step("c", |step| step.needs(["a"]))
        .step("d", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a", "do b"]).done("a").starts(&["do c"]);
    tale.asks(Request::Abort { reason: "enough".into() });
    assert_eq!(tale.stops(), ["do b", "do c"]);
    assert!(!tale.run.may_begin(tale.job("b")), "not even what has a record");
    assert!(tale.refused(Request::Hold { reason: "x".into() }).contains("abort"));
    tale.stopped("b").starts(&[]);
    assert!(!tale.would_take(to(&tale, "d", Way::Do, 1)));
    assert!(!tale.would_take(Event::Closed(Outcome::Stuck)), "`c` still runs");
    tale.stopped("c");
    assert!(!tale.would_take(Event::Closed(Outcome::RolledBack)));
    tale.closes(Outcome::Stuck);
    assert!(tale.is_done("a"));
}

#[test]
fn an_interrupt_ends_what_runs_and_holds() {
    let mut tale = Tale::new(chain().graph());
    tale.starts(&["do a"]).asks(Request::Interrupt);
    assert_eq!(tale.stops(), ["do a"]);
    tale.stopped("a").starts(&[]);
    assert_eq!(tale.status("a"), Status::Partial);
    tale.releases().starts(&["do a"]).done("a").starts(&["do b"]);
}

#[test]
fn one_runner_at_a_time() {
    let mut tale = Tale::new(chain().graph());
    tale.crash().crash();
    let opened = |epoch| Event::Opened { epoch, boot: String::new(), pid: 1, cut: 0 };
    assert!(!tale.would_take(opened(2)), "epochs never fall");
    assert!(tale.would_take(opened(3)));
}

#[test]
fn several_doubts_of_one_crash_are_asked_about_one_by_one() {
    let plan = PlanBuilder::new().step("a", |step| step).step("b", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a", "do b"]).crash();
    let ids: Vec<_> = tale.run.questions().iter().map(|question| question.id).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    let answer = |question, answer| Request::Answer { question, answer, note: String::new() };
    tale.asks(answer(ids[0], Answer::Done));
    let again = tale.refused(answer(ids[0], Answer::NotDone));
    assert!(again.contains("ada has answered"), "first by record wins: {again}");
    assert_eq!(tale.due(), [""; 0], "still held by the other");
    tale.asks(answer(ids[1], Answer::NotDone)).starts(&["do b"]);
}
