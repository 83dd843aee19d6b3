//! The loop with a fake world, a journal that a test holds back or breaks, and a paused clock.

use super::inbox::{Asked, ProgressBook, Signal};
use super::*;
use crate::event::Outputs;
use crate::failure::Failure;
use crate::graph::Graph;
use crate::graph::testing::PlanBuilder;
use crate::run::Status;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What the fake world does with an attempt.
#[derive(Clone, Debug)]
pub(super) enum Play {
    /// Ends so after a while.
    End(Duration, Ending),
    /// Ends when it is stopped.
    Hang,
}

/// A world of which the test says what happens; by default every deed succeeds after a second.
#[derive(Default)]
pub(super) struct FakeWorld {
    pub(super) plays: Mutex<BTreeMap<String, Vec<Play>>>,
    pub(super) begun: Mutex<Vec<String>>,
    pub(super) stops: Mutex<BTreeMap<Job, oneshot::Sender<()>>>,
}

pub(super) fn done() -> Ending {
    Ending::Done(Outputs::new())
}

impl FakeWorld {
    pub(super) fn plays(self: &Arc<Self>, job: &str, plays: Vec<Play>) {
        self.plays.lock().expect("fine").insert(job.to_owned(), plays);
    }

    pub(super) fn begun(&self) -> Vec<String> {
        self.begun.lock().expect("fine").clone()
    }
}

impl World for FakeWorld {
    fn begin(&self, job: Job, run: &Run, voice: Voice) {
        let way = format!("{:?}", job.way).to_lowercase();
        let name = format!("{way} {}", run.graph().name(job.step));
        self.begun.lock().expect("fine").push(name.clone());
        let play = {
            let mut plays = self.plays.lock().expect("fine");
            let of_job = plays.get_mut(&name).filter(|plays| !plays.is_empty());
            of_job.map_or(Play::End(Duration::from_secs(1), done()), |plays| plays.remove(0))
        };
        let (stop, stopped) = oneshot::channel();
        self.stops.lock().expect("fine").insert(job, stop);
        tokio::spawn(async move {
            let ending = match play {
                Play::End(after, ending) => {
                    tokio::select! {
                        () = tokio::time::sleep(after) => ending,
                        Ok(()) = stopped => Ending::Stopped,
                    }
                }
                Play::Hang => {
                    stopped.await.expect("the world stands");
                    Ending::Stopped
                }
            };
            voice.end(ending);
        });
    }

    fn stop(&self, job: Job) {
        if let Some(stop) = self.stops.lock().expect("fine").remove(&job) {
            stop.send(()).expect("it runs");
        }
    }
}

/// A journal in memory whose disk the test plays.
pub(super) struct TestLog {
    seq: Seq,
    records: Arc<Mutex<Vec<Record>>>,
    disk: watch::Receiver<Disk>,
    told: Seq,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Disk {
    /// Everything is durable at once.
    Fast,
    /// Durable up to here.
    Upto(Seq),
    /// Durable up to here, then lost.
    Broken(Seq),
}

impl Log for TestLog {
    fn append(&mut self, at: Timestamp, event: Event) -> Record {
        self.seq += 1;
        let record = Record { seq: self.seq, at, event };
        self.records.lock().expect("fine").push(record.clone());
        record
    }

    fn durable(&self) -> Seq {
        match *self.disk.borrow() {
            Disk::Fast => self.seq,
            Disk::Upto(seq) | Disk::Broken(seq) => seq.min(self.seq),
        }
    }

    async fn synced(&mut self) -> Result<Seq, String> {
        loop {
            let disk = *self.disk.borrow_and_update();
            if let Disk::Broken(_) = disk {
                return Err("no space left on device".to_owned());
            }
            let durable = self.durable();
            if durable > self.told {
                self.told = durable;
                return Ok(durable);
            }
            self.disk.changed().await.map_err(|_| "gone".to_owned())?;
        }
    }
}

/// A run on a fake world.
pub(super) struct Stage {
    pub(super) world: Arc<FakeWorld>,
    pub(super) records: Arc<Mutex<Vec<Record>>>,
    disk: watch::Sender<Disk>,
    inbox: mpsc::UnboundedSender<Letter>,
    graph: Arc<Graph>,
    pub(super) looping: Option<Loop<TestLog>>,
    first: Vec<Record>,
}

fn mara() -> Person {
    Person { login: "mara".into(), uid: 1001, groups: vec!["release-managers".into()] }
}

pub(super) fn header() -> crate::event::Header {
    crate::event::Header {
        format: 1,
        program: "0".into(),
        run: "test".into(),
        plan_path: "/plan.yaml".into(),
        plan: String::new(),
        estate_path: None,
        estate: None,
        graph: String::new(),
        by: mara(),
        options: crate::event::Options::default(),
    }
}

impl Stage {
    pub(super) fn new(graph: Arc<Graph>, manner: Manner) -> Self {
        Self::guarded(graph, manner, |_, _| GuardLink::none())
    }

    pub(super) fn guarded(
        graph: Arc<Graph>,
        manner: Manner,
        guard: impl FnOnce(&Graph, mpsc::UnboundedSender<Letter>) -> GuardLink,
    ) -> Self {
        let now: Timestamp = "2019-04-06T15:30:00Z".parse().expect("an instant");
        let clock = Clock::bound_to_tokio(now);
        let mut run = Run::new(Arc::clone(&graph));
        let mut header = header();
        header.options.rehearsal = manner.rehearsal;
        let events = [
            Event::Begun(Box::new(header)),
            Event::Opened { epoch: 1, boot: "b".into(), pid: 1, cut: 0 },
        ];
        let first: Vec<_> = (1..)
            .zip(events)
            .map(|(seq, event)| Record { seq, at: now, event })
            .inspect(|record| run.apply(record).expect("a run begins so"))
            .collect();
        let world = Arc::new(FakeWorld::default());
        let records = Arc::new(Mutex::new(first.clone()));
        let (disk, on_disk) = watch::channel(Disk::Fast);
        let log = TestLog { seq: 2, records: Arc::clone(&records), disk: on_disk, told: 2 };
        let inbox = mpsc::unbounded_channel();
        let guard = guard(&graph, inbox.0.clone());
        let to_inbox = inbox.0.clone();
        let manner = Manner { by: Some(mara()), ..manner };
        let parts = Parts {
            run,
            log,
            world: Arc::clone(&world) as Arc<dyn World>,
            guard,
            lane: LaneLink::default(),
            clock,
            manner,
            inbox,
            listeners: Listeners::default(),
            progress: ProgressBook::default(),
            durable: watch::channel(2).0,
        };
        let looping = Some(Loop::new(parts));
        Self { world, records, disk, inbox: to_inbox, graph, looping, first }
    }

    /// Runs beside the test.
    pub(super) fn go(&mut self) -> tokio::task::JoinHandle<Result<RunnerEnd, Bug>> {
        let looping = self.looping.take().expect("once");
        tokio::spawn(looping.run(self.first.clone()))
    }

    fn ask(&self, what: Request) -> oneshot::Receiver<Answered> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { who: mara(), what, reply };
        self.inbox.send(Letter::Asked(asked)).expect("the loop runs");
        answer
    }

    /// The records so far, short.
    pub(super) fn story(&self) -> Vec<String> {
        let records = self.records.lock().expect("fine");
        let name = |job: &Job| {
            let way = format!("{:?}", job.way).to_lowercase();
            format!("{way} {}#{}", self.graph.name(job.step), job.attempt)
        };
        records
            .iter()
            .map(|record| match &record.event {
                Event::Begun(_) => "begun".to_owned(),
                Event::Opened { .. } => "opened".to_owned(),
                Event::Started(job) => format!("start {}", name(job)),
                Event::Ended(job, ending) => {
                    let ending = format!("{ending:?}");
                    let word: String = ending.chars().take_while(|c| c.is_alphabetic()).collect();
                    format!("end {} {}", name(job), word.to_lowercase())
                }
                Event::Due { timer, jumped } => {
                    let timer = format!("{timer:?}");
                    let word: String = timer.chars().take_while(|c| c.is_alphabetic()).collect();
                    format!("due {}{}", word.to_lowercase(), if *jumped { " jumped" } else { "" })
                }
                Event::Verdict { verdict, .. } => format!("verdict {verdict:?}"),
                Event::Revocations { .. } => "revocations".to_owned(),
                Event::Requested(who, what) => {
                    let what = format!("{what:?}");
                    let word: String = what.chars().take_while(|c| c.is_alphabetic()).collect();
                    format!("{} asks {}", who.login, word.to_lowercase())
                }
                Event::Closed(outcome) => format!("closed {outcome:?}"),
            })
            .collect()
    }

    pub(super) async fn until(&self, what: &str) {
        for _ in 0..10_000 {
            if self.story().iter().any(|line| line == what) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("`{what}` never came: {:#?}", self.story());
    }
}

fn two_steps() -> Arc<Graph> {
    PlanBuilder::new().step("a", |step| step).step("b", |step| step.needs(["a"])).graph()
}

#[tokio::test(start_paused = true)]
async fn a_run_of_two_steps_is_started_ended_and_closed() {
    let mut stage = Stage::new(two_steps(), Manner::default());
    let end = stage.go().await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    assert_eq!(
        stage.story(),
        [
            "begun",
            "opened",
            "start do a#1",
            "end do a#1 done",
            "start do b#1",
            "end do b#1 done",
            "closed Completed"
        ]
    );
    assert!(!end.partly() && !end.breached());
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_before_its_start_is_durable() {
    let mut stage = Stage::new(two_steps(), Manner::default());
    stage.disk.send_replace(Disk::Upto(2));
    let run = stage.go();
    stage.until("start do a#1").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.world.begun(), [""; 0]);
    stage.disk.send_replace(Disk::Fast);
    run.await.expect("no panic").expect("no bug");
    assert_eq!(stage.world.begun(), ["do a", "do b"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_overtaken_by_a_hold_is_withdrawn_and_no_doubt() {
    let mut stage = Stage::new(two_steps(), Manner { wait: true, ..Manner::default() });
    stage.disk.send_replace(Disk::Upto(2));
    let run = stage.go();
    stage.until("start do a#1").await;
    let held = stage.ask(Request::Hold { reason: "wait".into() });
    stage.until("mara asks hold").await;
    stage.disk.send_replace(Disk::Fast);
    assert_eq!(held.await.expect("answered"), Answered::Recorded(4));
    stage.until("end do a#1 withdrawn").await;
    assert_eq!(stage.world.begun(), [""; 0]);
    stage.ask(Request::Release { hold: None }).await.expect("answered");
    let end = run.await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    assert_eq!(stage.world.begun(), ["do a", "do b"]);
}

#[tokio::test(start_paused = true)]
async fn a_person_may_end_a_step_before_its_start_is_durable() {
    let graph = PlanBuilder::new().step("a", |step| step.manual(["release-managers"], 1)).graph();
    let step = graph.find("a").expect("a step");
    let mut stage = Stage::new(graph, Manner { wait: true, ..Manner::default() });
    stage.disk.send_replace(Disk::Upto(2));
    let run = stage.go();
    stage.until("start do a#1").await;
    let done = stage.ask(Request::Finish { step, evidence: "seen".into() });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.disk.send_replace(Disk::Fast);
    assert_eq!(done.await.expect("answered"), Answered::Recorded(4));
    let end = run.await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_only_when_its_record_is_durable() {
    let mut stage = Stage::new(two_steps(), Manner { wait: true, ..Manner::default() });
    stage.world.plays("do a", vec![Play::Hang]);
    let run = stage.go();
    stage.until("start do a#1").await;
    stage.disk.send_replace(Disk::Upto(3));
    let mut held = stage.ask(Request::Hold { reason: "wait".into() });
    stage.until("mara asks hold").await;
    // A refusal rests on the hold that is not durable yet, so it waits as well.
    let mut refused = stage
        .ask(Request::Skip { step: stage.graph.find("a").expect("there"), reason: "no".into() });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(held.try_recv().is_err() && refused.try_recv().is_err());
    stage.disk.send_replace(Disk::Fast);
    assert_eq!(held.await.expect("answered"), Answered::Recorded(4));
    assert!(matches!(refused.await.expect("answered"), Answered::Refused(_)));
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_ends_all_deeds_and_all_answers() {
    let mut stage = Stage::new(two_steps(), Manner::default());
    stage.world.plays("do a", vec![Play::End(Duration::from_secs(5), done())]);
    let run = stage.go();
    stage.until("start do a#1").await;
    stage.disk.send_replace(Disk::Broken(3));
    let answer = stage.ask(Request::Hold { reason: "wait".into() });
    let end = run.await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::JournalLost("no space left on device".into()));
    assert!(answer.await.is_err(), "nobody is told of what is not durable");
    assert_eq!(stage.world.begun(), ["do a"]);
    assert_eq!(stage.world.stops.lock().expect("fine").len(), 1, "its child is left alone");
}

#[tokio::test(start_paused = true)]
async fn the_first_interrupt_lets_what_runs_finish_and_the_second_ends_it() {
    let mut stage = Stage::new(two_steps(), Manner::default());
    let run = stage.go();
    stage.until("start do a#1").await;
    stage.inbox.send(Letter::Signal(Signal::Interrupt)).expect("it runs");
    let end = run.await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Interrupted { why: INTERRUPTED.into(), resume_at: None });
    let a = stage.graph.find("a").expect("there");
    assert_eq!(end.run.status(a), Status::Done);
    assert_eq!(stage.world.begun(), ["do a"]);

    let mut stage = Stage::new(two_steps(), Manner::default());
    stage.world.plays("do a", vec![Play::Hang]);
    let run = stage.go();
    stage.until("start do a#1").await;
    stage.inbox.send(Letter::Signal(Signal::Interrupt)).expect("it runs");
    stage.until("mara asks hold").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!run.is_finished());
    stage.inbox.send(Letter::Signal(Signal::Interrupt)).expect("it runs");
    let end = run.await.expect("no panic").expect("no bug");
    assert!(matches!(end.exit, Exit::Interrupted { .. }));
    assert_eq!(end.run.status(a), Status::Partial);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_holds_ends_the_process_unless_it_is_to_wait() {
    let failed = || Ending::Failed(Failure::last("broken"));
    let play = || vec![Play::End(Duration::from_secs(1), failed())];
    let mut stage = Stage::new(two_steps(), Manner::default());
    stage.world.plays("do a", play());
    let end = stage.go().await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::NeedsPerson);

    let mut stage = Stage::new(two_steps(), Manner { wait: true, ..Manner::default() });
    stage.world.plays("do a", play());
    let run = stage.go();
    stage.until("end do a#1 failed").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!run.is_finished());
    let step = stage.graph.find("a").expect("there");
    let answer = stage.ask(Request::Retry { step }).await.expect("answered");
    assert!(matches!(answer, Answered::Recorded(_)), "{answer:?}");
    let end = run.await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    assert_eq!(stage.world.begun(), ["do a", "do a", "do b"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_answers_at_once_the_first_counts_and_the_other_is_told() {
    let mut stage = Stage::new(two_steps(), Manner { wait: true, ..Manner::default() });
    let failed = Ending::Failed(Failure::last("broken"));
    stage.world.plays("do a", vec![Play::End(Duration::from_secs(1), failed)]);
    let run = stage.go();
    stage.until("end do a#1 failed").await;
    let step = stage.graph.find("a").expect("there");
    let (one, two) = (stage.ask(Request::Retry { step }), stage.ask(Request::Retry { step }));
    assert!(matches!(one.await.expect("answered"), Answered::Recorded(_)));
    assert!(matches!(two.await.expect("answered"), Answered::Refused(_)));
    run.await.expect("no panic").expect("no bug");
}
