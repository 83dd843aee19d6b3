//! Nothing that may start stands aside. The core keeps what is ready in queues, and what the floor or a
//! role bars out of them; here every step is asked anew, after every event.

use crate::tale::{Tale, noon};
use cutover::event::{Answer, Event, Job, Outcome, Record, Request, Verdict, Way};
use cutover::graph::testing::PlanBuilder;
use cutover::plan::OnFailure;
use cutover::run::{Command, Run};

/// Everything kept is as counted anew; and when all that is ordered has started, nothing else could.
#[track_caller]
pub(crate) fn judge(run: &Run) {
    if let Some(what) = run.amiss() {
        panic!("after record {}: {what}", run.seq());
    }
    let mut ahead = run.clone();
    let started = |ahead: &Run, job| {
        let event = Event::Started(job);
        Record { seq: ahead.seq() + 1, at: noon(), event }
    };
    loop {
        let mut commands = Vec::new();
        ahead.next(&mut commands);
        if ahead.outcome().is_some() || commands.iter().any(|it| matches!(it, Command::Close(_))) {
            return;
        }
        let before = ahead.seq();
        for command in commands {
            if let Command::Start(job) = command {
                let record = started(&ahead, job);
                ahead.apply(&record).expect("starts ordered together are allowed together");
            }
        }
        if ahead.seq() == before {
            break;
        }
    }
    let graph = std::sync::Arc::clone(ahead.graph());
    for step in graph.steps() {
        for way in [Way::Do, Way::Undo, Way::Check] {
            let job = Job { step, way, attempt: ahead.attempts(step, way) + 1 };
            let record = started(&ahead, job);
            let refused = ahead.apply(&record).is_err();
            let name = graph.name(step);
            assert!(refused, "{way:?} of `{name}` could start, and is not ordered");
        }
    }
}

/// The person's order outlives the policy's: a breach holds the one and not the other.
#[test]
fn an_undo_that_a_person_ordered_goes_on_under_a_breach_when_a_policy_rolls_back_too() {
    let plan = PlanBuilder::new()
        .on_failure(OnFailure::Rollback)
        .protect("ocsp", false, 1, ["ocsp@from/one"])
        .step("a", |step| step)
        .step("b", |step| step);
    let mut tale = Tale::new(plan.graph());
    tale.starts(&["do a", "do b"]).done("a");
    let a = tale.step("a");
    tale.asks(Request::Retry { step: a });
    tale.fails("b");
    tale.starts(&["undo a", "undo b"]).done("b").fails("a");
    tale.verdict("ocsp@from/one", Verdict::Down(vec!["ocsp-unreachable".into()]));
    tale.answers(Answer::Retry);
    judge(&tale.run);
    tale.starts(&["undo a"]).done("a");
    judge(&tale.run);
    tale.verdict("ocsp@from/one", Verdict::Normal).releases();
    tale.closes(Outcome::RolledBack);
}
