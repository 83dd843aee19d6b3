//! The loop with a guard that a test plays, with faults put in on purpose, and with moments to wait
//! for.

use super::fault::{Faults, FaultyWorld};
use super::tests::{Play, Stage, done};
use super::*;
use crate::event::{ProviderId, StepId, Verdict};
use crate::graph::Graph;
use crate::graph::testing::PlanBuilder;
use crate::guard::{Said, Told};
use crate::run::Status;
use jiff::SignedDuration;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(200);

/// Two providers, one of which an upgrade disturbs.
fn upgrade() -> Arc<Graph> {
    PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/ocsp-1", "ocsp@from/ocsp-2"])
        .step("upgrade", |step| step.disturbs(["ocsp@from/ocsp-1"]))
        .graph()
}

struct Guarded {
    stage: Stage,
    link: GuardLink,
    said: mpsc::UnboundedSender<Said>,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Guarded {
    fn new(manner: Manner) -> Self {
        let (to, told) = mpsc::unbounded_channel();
        let (said, hears) = mpsc::unbounded_channel();
        let mut link = GuardLink::none();
        let stage = Stage::guarded(upgrade(), manner, |graph, inbox| {
            link = GuardLink::played(graph, to, hears, EVERY, inbox);
            link.clone()
        });
        Self { stage, link, said, told }
    }

    /// The number of the newest touch of a target, as the guard was told it.
    async fn touched(&mut self, target: usize) -> Seq {
        loop {
            match self.told.recv().await.expect("the loop lives") {
                Told::Touched { targets, seq, .. } if targets.contains(&target) => return seq,
                _ => {}
            }
        }
    }

    fn says(&self, target: usize, verdict: Verdict, as_of: Seq) {
        let why = "as the test says".to_owned();
        let said = Said::Verdict { target, verdict, as_of, why };
        self.said.send(said).expect("somebody listens");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_before_the_guard_has_judged_and_a_silent_guard_is_a_breach() {
    let mut guarded = Guarded::new(Manner { wait: true, ..Manner::default() });
    let run = guarded.stage.go();
    let as_of = guarded.touched(1).await;
    tokio::time::sleep(EVERY * 2).await;
    assert_eq!(guarded.stage.world.begun(), [""; 0], "no verdict is no permission");
    guarded.says(0, Verdict::Normal, as_of);
    guarded.says(1, Verdict::Normal, as_of);
    guarded.stage.until("start do upgrade#1").await;
    // From here on not a word, not even that it lives: three intervals are too long.
    let before = tokio::time::Instant::now();
    guarded.stage.until("verdict Down([\"guard-silent\"])").await;
    assert!(before.elapsed() <= EVERY * 3 + Duration::from_millis(50));
    guarded.stage.until("end do upgrade#1 done").await;
    tokio::time::sleep(EVERY * 20).await;
    assert!(!run.is_finished(), "a breach holds until a person releases it");
    // It speaks again: everything is asked anew, as it never knew of our verdict.
    while guarded.told.try_recv().is_ok() {}
    guarded.said.send(Said::Alive).expect("somebody listens");
    let Some(Told::Touched { targets, .. }) = guarded.told.recv().await else { panic!("told") };
    assert_eq!(targets, [0, 1]);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_touch_never_counts_as_one_from_after_it() {
    let mut guarded = Guarded::new(Manner::default());
    let provider = ProviderId(0);
    guarded.link.touched(&[provider], 5, false);
    let old = guarded.touched(0).await;
    let link = guarded.link.clone();
    // The same record is the newest: only the order of the tellings tells the two touches apart.
    let serves = tokio::spawn(async move { link.serve(&[provider], 5).await });
    let new = guarded.touched(0).await;
    assert!(new > old);
    guarded.says(0, Verdict::Normal, old);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!serves.is_finished());
    guarded.says(0, Verdict::Down(vec!["ocsp-unreachable".into()]), new);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!serves.is_finished());
    guarded.says(0, Verdict::Normal, new);
    serves.await.expect("it serves");
}

#[test]
fn what_a_running_step_disturbs_is_given_back_at_its_end() {
    let graph = upgrade();
    let mut stage = Vec::new();
    let mut run = Run::new(Arc::clone(&graph));
    let job = Job { step: StepId(0), way: Way::Do, attempt: 1 };
    let normal =
        |id| Event::Verdict { provider: ProviderId(id), verdict: Verdict::Normal, as_of: 2 };
    stage.extend([
        Event::Begun(Box::new(super::tests::header())),
        Event::Opened { epoch: 1, boot: "b".into(), pid: 1, cut: 0 },
        normal(0),
        normal(1),
        Event::Started(job),
    ]);
    for (seq, event) in (1..).zip(stage) {
        let at = Timestamp::UNIX_EPOCH;
        run.apply(&Record { seq, at, event }).expect("it can happen");
    }
    assert!(!run.is_up_in_plan(ProviderId(0)), "down while it is disturbed");
    assert_eq!(run.given_back(job.step, Way::Do), [ProviderId(0)]);
    assert_eq!(run.given_back(job.step, Way::Undo), [ProviderId(0)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_suspended_machine_woke_no_verdict_counts_until_asked_again() {
    let mut guarded = Guarded::new(Manner::default());
    let mut looping = guarded.stage.looping.take().expect("once");
    for provider in [ProviderId(0), ProviderId(1)] {
        let verdict = Verdict::Normal;
        assert!(looping.append(Event::Verdict { provider, verdict, as_of: 2 }).is_ok());
    }
    assert!(looping.asleep(SignedDuration::from_hours(-1)).is_ok());
    assert!(looping.run.verdict(ProviderId(0)).0.serves(), "set back is not asleep");
    assert!(looping.asleep(SignedDuration::from_hours(1)).is_ok());
    assert_eq!(*looping.run.verdict(ProviderId(0)).0, Verdict::Unknown);
    assert_eq!(*looping.run.verdict(ProviderId(1)).0, Verdict::Unknown);
    guarded.touched(1).await;
}

fn flaky(specs: &[&str], manner: Manner) -> Stage {
    let hour = SignedDuration::from_hours(1);
    let graph = PlanBuilder::new()
        .step("a", |step| step.attempts(3, hour).timeout(Some(hour)))
        .step("b", |step| step.needs(["a"]))
        .graph();
    let specs: Vec<_> = specs.iter().map(|spec| (*spec).to_owned()).collect();
    let faults = Faults::read(&specs, &graph, None).expect("they are faults");
    let mut stage = Stage::new(graph, manner);
    let looping = stage.looping.as_mut().expect("there");
    looping.world = Arc::new(FaultyWorld::around(Arc::clone(&looping.world), &faults));
    stage
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_jumps_over_backoffs_and_a_run_waits_for_them() {
    for (rehearsal, due) in [(true, "due retry jumped"), (false, "due retry")] {
        let begun = tokio::time::Instant::now();
        let mut stage = flaky(&["a=fail:2"], Manner { rehearsal, ..Manner::default() });
        let end = stage.go().await.expect("no panic").expect("no bug");
        assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
        let story = stage.story();
        assert_eq!(story.iter().filter(|line| *line == due).count(), 2, "{story:#?}");
        assert_eq!(story.iter().filter(|line| line.ends_with("failed")).count(), 2);
        assert_eq!(stage.world.begun(), ["do a", "do a", "do a", "do b"]);
        assert_eq!(begun.elapsed() < Duration::from_secs(60), rehearsal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_in_doubt_at_its_timeout_and_a_slow_one_takes_its_time() {
    let begun = tokio::time::Instant::now();
    let mut stage = flaky(&["a=hang"], Manner::default());
    let end = stage.go().await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::NeedsPerson);
    assert_eq!(end.run.status(StepId(0)), Status::Doubt(Way::Do));
    assert!(begun.elapsed() >= Duration::from_secs(3600));

    let begun = tokio::time::Instant::now();
    let mut stage = flaky(&["a=slow:5", "b=slow:30s"], Manner::default());
    stage.world.plays("do a", vec![Play::End(Duration::from_secs(10), done())]);
    let end = stage.go().await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    let took = begun.elapsed().as_secs();
    assert!((81..=82).contains(&took), "{took}");
}

#[test]
fn faults_that_cannot_be_had_are_told_all_at_once() {
    let graph = upgrade();
    let read = |specs: &[&str]| {
        let specs: Vec<_> = specs.iter().map(|spec| (*spec).to_owned()).collect();
        Faults::read(&specs, &graph, None).expect_err("refused")
    };
    let bad = read(&["upgrde=fail", "upgrade=explode", "ocsp@to/ocsp-1=wrong-key", "nonsense"]);
    let told: Vec<_> = bad.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "fault `upgrde=fail`: there is no step `upgrde`",
            "fault `upgrade=explode`: `explode` is no fault of a step",
            "fault `ocsp@to/ocsp-1=wrong-key`: it is a fault of the lab, and the estate is none",
            "fault `nonsense`: it has no `=`",
        ]
    );
    assert_eq!(bad[0].hint.as_deref(), Some("did you mean `upgrade`?"));
    let estate = crate::estate::Estate { production: true, ..Default::default() };
    let specs = ["upgrade=fail".to_owned()];
    assert!(Faults::read(&specs, &graph, Some(&estate)).is_err(), "never in production");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_only_waits_for_a_moment_may_leave_and_says_when_to_come_back() {
    let opens: Timestamp = "2019-04-06T20:00:00Z".parse().expect("an instant");
    let graph = || {
        let closes = opens + SignedDuration::from_hours(12);
        PlanBuilder::new().window(opens, closes).step("a", |step| step).graph()
    };
    let mut stage = Stage::new(graph(), Manner { exit_between: true, ..Manner::default() });
    let end = stage.go().await.expect("no panic").expect("no bug");
    let Exit::Interrupted { resume_at, .. } = end.exit else { panic!("{:?}", end.exit) };
    assert_eq!(resume_at, Some(opens));

    let mut stage = Stage::new(graph(), Manner::default());
    let end = stage.go().await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    let records = stage.records.lock().expect("fine").clone();
    let started = records.iter().find(|record| matches!(record.event, Event::Started(_)));
    assert!(started.expect("it started").at >= opens);
}
