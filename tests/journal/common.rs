//! A small run to write journals of.

use cutover::event::{Ending, Event, Header, Job, Options, Outputs, Person, Record, StepId, Way};
use cutover::graph::Graph;
use cutover::journal::rundir::RunDir;
use cutover::journal::{FORMAT, Journal};
use cutover::plan;
use cutover::run::{Command, Run};
use jiff::Timestamp;
use std::path::Path;
use std::process;
use std::sync::Arc;

pub(crate) const PLAN: &str = r#"cutover: v1
name: three
steps:
  pack: { run: [pack], undo: { run: [unpack] } }
  move: { needs: [pack], run: [move], undo: { run: [move-back] }, outputs: { boxes: "([0-9]+)" } }
  greet: { needs: [move], run: [greet], undo: { none: "words stay" } }
"#;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_554_564_600).expect("a time")
}

pub(crate) fn mara() -> Person {
    Person { login: "mara".into(), uid: 1000, groups: vec!["release-managers".into()] }
}

pub(crate) fn graph() -> Arc<Graph> {
    let (plan, _) = plan::read(Path::new("three.yaml"), PLAN).expect("a plan");
    Arc::new(Graph::compile(Arc::new(plan), None).expect("a graph"))
}

pub(crate) fn header(graph: &Graph) -> Header {
    Header {
        format: FORMAT,
        program: "0.1.0".into(),
        run: "20190406T153000Z-test".into(),
        plan_path: "three.yaml".into(),
        plan: PLAN.into(),
        estate_path: None,
        estate: None,
        graph: graph.digest(),
        by: mara(),
        options: Options::default(),
    }
}

/// A directory that is not there yet, in one that goes away by itself.
pub(crate) fn fresh() -> (tempfile::TempDir, RunDir) {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = RunDir::new(temp.path().join("run"));
    (temp, dir)
}

pub(crate) fn create(dir: &RunDir) -> Journal {
    let graph = graph();
    let (journal, records) =
        Journal::create(dir, &graph, header(&graph), now()).expect("a new run");
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2]);
    journal
}

/// An event of which a journal can hold any number; whether it could happen is not asked.
pub(crate) fn start(attempt: u32) -> Event {
    Event::Started(Job { step: StepId(0), way: Way::Do, attempt })
}

/// Waits on this thread until the journal has made all of its records durable.
pub(crate) fn flush(journal: &mut Journal) -> Result<(), cutover::journal::Lost> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        while journal.durable() < journal.seq() {
            journal.synced().await?;
        }
        Ok(())
    })
}

/// A tmpfs of so many KiB; none, said loudly, where nobody may mount one.
pub(crate) struct Tmpfs(pub(crate) tempfile::TempDir);

impl Tmpfs {
    #[expect(clippy::print_stderr, reason = "a test that did not run must be seen")]
    pub(crate) fn new(kib: u32) -> Option<Self> {
        let temp = tempfile::tempdir().expect("a directory");
        let options = format!("size={kib}k,mode=0700");
        let mounted = process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(temp.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: no tmpfs can be mounted here (it takes root)");
            return None;
        }
        Some(Self(temp))
    }

    pub(crate) fn remount(&self, options: &str) {
        let done = process::Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.0.path())
            .status()
            .expect("mount");
        assert!(done.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(process::Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

/// Does what the run orders until it orders nothing more; each record is durable before the next.
/// `end` says how a job ends; none leaves it running.
pub(crate) fn drive(
    journal: &mut Journal,
    run: &mut Run,
    end: &dyn Fn(&Graph, Job) -> Option<Ending>,
) -> Vec<Record> {
    let mut records = Vec::new();
    let mut commands = Vec::new();
    let mut left: Vec<Job> = Vec::new();
    for turn in 0.. {
        assert!(turn < 1000, "the story never ends");
        commands.clear();
        run.next(&mut commands);
        let mut events: Vec<Event> = Vec::new();
        for command in &commands {
            match command {
                Command::Start(job) => events.push(Event::Started(*job)),
                Command::Close(outcome) => events.push(Event::Closed(*outcome)),
                Command::Wake(timer, _) => events.push(Event::Due { timer: *timer, jumped: false }),
                Command::Stop(job) => {
                    left.retain(|known| known != job);
                    events.push(Event::Ended(*job, Ending::Stopped));
                }
            }
        }
        for job in run.running().collect::<Vec<_>>() {
            if left.contains(&job) {
                continue;
            }
            match end(run.graph(), job) {
                Some(ending) => events.push(Event::Ended(job, ending)),
                None => left.push(job),
            }
        }
        if events.is_empty() {
            break;
        }
        for event in events.into_iter().take(1) {
            records.push(say(journal, run, event));
        }
    }
    records
}

/// Appends an event and applies it; durable when this returns.
pub(crate) fn say(journal: &mut Journal, run: &mut Run, event: Event) -> Record {
    let at = now() + jiff::SignedDuration::from_secs(journal.seq() as i64);
    let record = journal.append(at, event);
    run.apply(&record).expect("it can happen");
    flush(journal).expect("durable");
    record
}

/// Every step ends well; `move` prints its boxes.
pub(crate) fn well(graph: &Graph, job: Job) -> Option<Ending> {
    let mut outputs = Outputs::new();
    if graph.name(job.step) == "move" && job.way == Way::Do {
        outputs.insert("boxes".into(), "42".into());
    }
    Some(Ending::Done(outputs))
}

/// Begins a run in `dir` and answers the journal and the fold of its first records.
pub(crate) fn begin(dir: &RunDir) -> (Journal, Run) {
    let graph = graph();
    let (journal, records) =
        Journal::create(dir, &graph, header(&graph), now()).expect("a new run");
    let mut run = Run::new(graph);
    records.iter().for_each(|record| run.apply(record).expect("it can happen"));
    (journal, run)
}
