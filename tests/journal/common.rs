//! A small run to write journals of.

use cutover::event::{Event, Header, Job, Options, Person, StepId, Way};
use cutover::graph::Graph;
use cutover::journal::rundir::RunDir;
use cutover::journal::{FORMAT, Journal};
use cutover::plan;
use jiff::Timestamp;
use std::path::Path;
use std::process::Command;
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
        let mounted = Command::new("mount")
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
        let done = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.0.path())
            .status()
            .expect("mount");
        assert!(done.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}
