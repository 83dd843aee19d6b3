//! Whole runs of tiny plans: real journal, real processes, real signals of death.

use super::rehearsal::{Script, play};
use super::*;
use crate::event::{Header, Options};
use crate::graph::Graph;
use crate::journal::JournalError;
use crate::journal::replay;
use crate::journal::rundir::RunDir;
use crate::operator::client::{Client, ClientError};
use crate::operator::protocol::{Ask, How, Reply};
use crate::operator::server;
use crate::run::Status;
use crate::{estate, plan};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::Duration;

/// Everything that a test of a whole run has, in a directory of its own.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(steps: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        let text = format!("cutover: v1\nname: tiny\nsteps:\n{steps}");
        std::fs::write(place.path().join("plan.yaml"), text).expect("the plan");
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn run_dir(&self) -> RunDir {
        RunDir::new(self.path().join("run"))
    }

    fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn options(&self) -> StartOptions {
        options(self.path(), Options::default())
    }

    fn resume(&self) -> Box<Runner> {
        match resume(self.resume_options()).expect("it can be resumed") {
            Resumption::Goes(runner) => runner,
            Resumption::Finished(end, _) => panic!("it has ended: {:?}", end.exit),
        }
    }

    fn resume_options(&self) -> ResumeOptions {
        ResumeOptions {
            run_dir: self.run_dir(),
            by: person("mara"),
            wait: false,
            exit_between: false,
            signals: false,
        }
    }
}

fn person(login: &str) -> Person {
    Person { login: login.into(), uid: 0, groups: vec!["release-managers".into()] }
}

fn options(dir: &Path, options: Options) -> StartOptions {
    let path = dir.join("plan.yaml");
    let text = std::fs::read_to_string(&path).expect("the plan");
    let (plan, _) = plan::read(&path, &text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let estate_path = dir.join("estate.yaml");
    let estate_text = std::fs::read_to_string(&estate_path).ok();
    let estate = estate_text.as_ref().map(|text| {
        let (estate, _) = estate::read(&estate_path, text).unwrap_or_else(|f| panic!("{f:#?}"));
        Arc::new(estate)
    });
    let graph = Graph::compile(Arc::new(plan), estate.as_deref());
    let graph = Arc::new(graph.unwrap_or_else(|faults| panic!("{faults:#?}")));
    let header = Header {
        format: 1,
        program: env!("CARGO_PKG_VERSION").into(),
        run: "run".into(),
        plan_path: path.display().to_string(),
        plan: text,
        estate_path: estate_text.as_ref().map(|_| estate_path.display().to_string()),
        estate: estate_text,
        graph: graph.digest(),
        by: person("mara"),
        options,
    };
    StartOptions {
        graph,
        estate,
        header,
        run_dir: RunDir::new(dir.join("run")),
        wait: false,
        exit_between: false,
        signals: false,
    }
}

const TWO: &str = r#"
  one:
    run: [sh, -c, "echo one >> log"]
    undo: { run: [sh, -c, "echo undo-one >> log"] }
  two:
    needs: [one]
    run: [sh, -c, "echo two >> log; echo build 42"]
    outputs: { build: "build ([0-9]+)" }
    undo: { run: [sh, -c, "echo undo-two >> log"] }
  three:
    needs: [two]
    run: [sh, -c, "echo three ${{ steps.two.outputs.build }} >> log"]
    undo: { none: nothing to take back }
"#;

#[tokio::test]
async fn a_run_goes_from_its_first_command_to_its_end() {
    let place = Place::new(TWO);
    let runner = start(place.options()).expect("it starts");
    let mut news = runner.door().listen();
    let end = runner.run().await.expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    assert_eq!(place.log(), ["one", "two", "three 42"]);
    let mut told = 0;
    while let Ok(word) = news.try_recv() {
        told += u64::from(matches!(word, News::Record(record) if record.seq == told + 1));
    }
    assert_eq!(told, end.run.seq(), "every record is told, in order, from the first");
    let replayed = replay::read(&place.run_dir()).expect("it reads back");
    assert_eq!(replayed.run.outcome(), Some(Outcome::Completed));
    match resume(place.resume_options()).expect("nothing is wrong") {
        Resumption::Finished(end, _) => assert_eq!(end.exit, Exit::Closed(Outcome::Completed)),
        Resumption::Goes(_) => panic!("a finished run does nothing"),
    }
    assert_eq!(place.log().len(), 3);
}

#[tokio::test]
async fn a_second_runner_is_refused_while_the_first_lives() {
    let place = Place::new("  one: { run: [sleep, \"30\"], undo: { none: nothing } }\n");
    let first = start(place.options()).expect("it starts");
    let held =
        |refused: StartError| matches!(refused, StartError::Journal(JournalError::Held { .. }));
    assert!(held(start(place.options()).expect_err("refused")));
    assert!(held(resume(place.resume_options()).expect_err("refused")));
    let who = person("mara");
    let hold = vec![Request::Hold { reason: "no".into() }];
    assert!(held(record(&place.run_dir(), &who, hold).await.expect_err("refused")));
    drop(first);
    drop(place.resume());
}

#[tokio::test]
async fn people_ask_over_the_socket_however_deep_the_run_lies() {
    let place = Place::new(
        "  one: { run: [sh, -c, \"echo one >> log; exit 3\"], undo: { run: [sh, -c, \"echo back >> log\"] } }\n",
    );
    let deep = (0..12).fold(place.path().to_owned(), |path, _| path.join("a-rather-long-name"));
    let run_dir = RunDir::new(deep.join("run"));
    let options = StartOptions { run_dir: run_dir.clone(), wait: true, ..place.options() };
    assert!(run_dir.socket().as_os_str().len() > 108);
    let runner = start(options).expect("it starts");
    let door = runner.door();
    assert!(matches!(
        Client::connect(&run_dir).await.expect_err("nobody listens"),
        ClientError::NoRunner { .. }
    ));
    std::fs::write(run_dir.socket(), "left by a dead runner").expect("a stale file");
    let server = server::open(door.clone()).expect("it listens");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(run_dir.socket()).expect("there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let mut news = door.listen();
    let run = tokio::spawn(runner.run());
    loop {
        match news.recv().await.expect("it runs") {
            News::Record(record) if matches!(record.event, Event::Ended(..)) => break,
            _ => {}
        }
    }
    let mut client = Client::connect(&run_dir).await.expect("it answers");
    let mut watcher = Client::connect(&run_dir).await.expect("it answers");
    assert_eq!(
        watcher.ask(&Ask::Subscribe).await.expect("told"),
        Reply::Durable(*door.durable.borrow())
    );
    let refused = client.ask(&Ask::Approve { step: "one".into(), note: String::new() }).await;
    assert!(matches!(refused, Ok(Reply::Refused(_))), "{refused:?}");
    let refused = client.ask(&Ask::Skip { step: "on".into(), reason: "r".into() }).await;
    let Ok(Reply::Refused(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.hint.as_deref(), Some("did you mean `one`?"));
    let back = How::Run { all: false };
    let reply = client.ask(&Ask::Rollback { back, reason: "enough".into() }).await;
    let Ok(Reply::Ok { seq, .. }) = reply else { panic!("{reply:?}") };
    let end = run.await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::RolledBack));
    assert_eq!(place.log(), ["one", "back"]);
    let mut seen = 0;
    while let Ok(reply) = watcher.next().await {
        if let Reply::Durable(durable) = reply {
            seen = seen.max(durable);
        }
    }
    assert!(seen >= seq, "the watcher heard of record {seq}");
    drop(server);
    assert!(!run_dir.socket().exists());
}

#[tokio::test]
async fn a_hostile_line_is_refused_and_the_runner_stays() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let place = Place::new("  one: { run: [sleep, \"0.2\"], undo: { none: nothing } }\n");
    let runner = start(place.options()).expect("it starts");
    let _server = server::open(runner.door()).expect("it listens");
    let run = tokio::spawn(runner.run());
    for hostile in [&b"\xff\xfe\n"[..], b"[[[[[[\n", b"{\"hold\":{}}\n", &[b'x'; 70_000]] {
        let stream = tokio::net::UnixStream::connect(place.run_dir().socket()).await;
        let mut stream = stream.expect("it answers");
        // Hung up on in the middle of a line that is too long.
        let _ = stream.write_all(hostile).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"{\"refused\":{");
    }
    let end = run.await.expect("no panic").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
}

#[tokio::test]
async fn a_run_that_nobody_has_can_be_told_and_acts_on_it_when_resumed() {
    let place = Place::new(
        "  one: { run: [sh, -c, \"echo one >> log; test -e well\"], undo: { none: nothing } }\n",
    );
    let end = start(place.options()).expect("it starts").run().await.expect("no bug");
    assert_eq!(end.exit, Exit::NeedsPerson);
    std::fs::write(place.path().join("well"), "").expect("written");
    let step = end.run.graph().find("one").expect("there");
    let who = person("jo");
    let answers = record(&place.run_dir(), &who, vec![Request::Retry { step }]).await;
    assert!(matches!(answers.as_deref(), Ok([Answered::Recorded(_)])), "{answers:?}");
    let end = place.resume().run().await.expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    assert_eq!(place.log(), ["one", "one"]);
    let answers = record(&place.run_dir(), &who, vec![Request::Retry { step }]).await;
    assert!(matches!(answers.as_deref(), Ok([Answered::Refused(_)])), "{answers:?}");
}

/// Not a test by itself: the runner of a child process, which tests kill.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("CUTOVER_TEST_CHILD").map(PathBuf::from) else { return };
    let faults = std::env::var("CUTOVER_TEST_FAULT").ok().into_iter().collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = options(&dir, Options { faults, ..Options::default() });
        let runner = start(options).expect("it starts");
        runner.run().await.expect("no bug");
    });
}

fn child_runner(place: &Place, fault: Option<&str>) -> std::process::Child {
    let mut child = Process::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "runner::whole::child", "--nocapture"]);
    child.env("CUTOVER_TEST_CHILD", place.path());
    if let Some(fault) = fault {
        child.env("CUTOVER_TEST_FAULT", fault);
    }
    child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a child")
}

#[tokio::test]
async fn killed_at_any_record_a_run_comes_to_the_same_end_and_does_nothing_twice() {
    // begun, opened, then start and end of each of three steps, closed.
    for record in 1..=9 {
        let place = Place::new(&TWO.replace(
            "undo:",
            "check: { run: [sh, -c, \"grep -qs $0 log || exit 1\", STEP] }\n    undo:",
        ));
        let text = std::fs::read_to_string(place.path().join("plan.yaml")).expect("the plan");
        let text =
            ["one", "two", "three"].iter().fold(text, |text, step| text.replacen("STEP", step, 1));
        std::fs::write(place.path().join("plan.yaml"), text).expect("the plan");
        let kill = format!("runner=kill@{record}");
        let status = child_runner(&place, Some(&kill)).wait().expect("it ends");
        let by = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(by, Some(9), "killed at record {record}");
        // Records that were synced together are durable together: it may have been closed already.
        let end = match resume(place.resume_options()).expect("it can be resumed") {
            Resumption::Goes(runner) => runner.run().await.expect("no bug"),
            Resumption::Finished(end, _) => *end,
        };
        assert_eq!(end.exit, Exit::Closed(Outcome::Completed), "killed at {record}");
        assert_eq!(place.log(), ["one", "two", "three 42"], "killed at record {record}");
    }
}

#[tokio::test]
async fn a_child_that_outlived_its_runner_is_ended_before_its_step_is_tried_again() {
    let place = Place::new(
        "  one:\n    idempotent: true\n    run: [sh, -c, \"echo begin >> log; test -e well || sleep 60; echo end >> log\"]\n    undo: { none: nothing }\n",
    );
    let mut child = child_runner(&place, None);
    while place.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    std::fs::write(place.path().join("well"), "").expect("written");
    let end = place.resume().run().await.expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    assert_eq!(place.log(), ["begin", "begin", "end"], "the first one was ended");
}

#[tokio::test]
async fn an_injected_failure_is_undone_as_half_done_work() {
    let place = Place::new(
        "  one: { run: [sh, -c, \"echo one >> log; sleep 5; echo late >> log\"], undo: { run: [sh, -c, \"echo back >> log\"] }, on_failure: rollback }\n",
    );
    let faults = vec!["one=fail".to_owned()];
    let options = options(place.path(), Options { faults, ..Options::default() });
    let end = start(options).expect("it starts").run().await.expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::RolledBack));
    assert_eq!(place.log(), ["one", "back"]);
}

#[tokio::test]
async fn a_rehearsal_answers_its_gates_and_manual_steps_by_itself() {
    let place = Place::new(
        r#"
  one: { run: [sh, -c, "echo one >> log"], undo: { none: nothing } }
  keys:
    needs: [one]
    do: { manual: { by: [custodians], people: 2, how: "unlock", evidence: required } }
    undo: { manual: { by: [custodians], how: "lock" } }
  go:
    kind: gate
    needs: [keys]
    approve: { by: [release-managers, security], quorum: 3, ask: "go?" }
  two: { needs: [go], run: [sh, -c, "echo two >> log"], undo: { none: nothing } }
"#,
    );
    let people =
        "people: { release-managers: [mara, jo], security: [kim], custodians: [lee, ana] }";
    let estate = format!(
        "estate: v1\nname: e\nproduction: false\nsites: {{ from: {{}}, to: {{}} }}\n{people}\n"
    );
    std::fs::write(place.path().join("estate.yaml"), estate).expect("the estate");
    let options = options(place.path(), Options { rehearsal: true, seed: 7, ..Options::default() });
    let runner = start(options).expect("it starts");
    let played = play(&runner, Script { seed: 7, answer: true, revocations: 3 });
    let end = tokio::time::timeout(Duration::from_secs(20), runner.run()).await;
    let end = end.expect("it does not wait").expect("no bug");
    assert_eq!(end.exit, Exit::Closed(Outcome::Completed));
    assert_eq!(place.log(), ["one", "two"]);
    assert_eq!(played.await.expect("no panic").answered, 2);
    let keys = end.run.graph().find("keys").expect("there");
    assert_eq!(end.run.status(keys), Status::Done);
}
