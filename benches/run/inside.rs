//! Work in a process of its own, through the library: steps without processes, journals read back.
//!
//! `inside WORD ...` does it and prints numbers, one line.

use super::machine::{self, Took};
use cutover::event::{Ending, Event, Header, Job, Options, Outputs, Person, Record, Timer, Way};
use cutover::failure::Failure;
use cutover::graph::Graph;
use cutover::journal::chain::Head;
use cutover::journal::codec::Wire;
use cutover::journal::replay::{self, Follow};
use cutover::journal::rundir::RunDir;
use cutover::run::{Command as Ordered, Run};
use cutover::runner::{self, Exit, ResumeOptions, Resumption, StartOptions, Voice, World};
use jiff::Timestamp;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// What was asked for, in numbers.
pub(crate) fn main(words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let numbers = match words.as_slice() {
        ["w4", steps, dir] => run(number(steps), dir, Vec::new()),
        ["killed", steps, dir] => {
            let steps = number(steps);
            run(steps, dir, vec![format!("runner=kill@{steps}")])
        }
        ["resume", dir] => resume(dir),
        ["journal", steps, attempts, dir] => write(number(steps), number(attempts) as u32, dir),
        ["replay", dir] => replay(dir),
        other => panic!("{other:?} is not known"),
    };
    let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", numbers.join(" ")).expect("written");
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

/// The command that does it.
pub(crate) fn command(words: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("inside").args(words);
    command
}

/// Does it, and answers the numbers.
pub(crate) fn child(words: &[&str]) -> Vec<f64> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let output = command(&words).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(!numbers.is_empty(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    numbers
}

/// Does it until it is killed; how long that took, and its peak memory.
pub(crate) fn killed(words: &[&str]) -> (Took, f64) {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let begun = Instant::now();
    let mut command = command(&words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let peak = machine::peak(command);
    (Took { seconds: begun.elapsed().as_secs_f64() }, peak)
}

/// Every step is done as soon as it begins.
struct AtOnce;

impl World for AtOnce {
    fn begin(&self, _job: Job, _run: &Run, voice: Voice) {
        voice.end(Ending::Done(Outputs::new()));
    }

    fn stop(&self, _job: Job) {}
}

fn plan(steps: usize, attempts: u32) -> (String, Arc<Graph>) {
    let width = 1_000.min(steps);
    let places: Vec<String> = (0..width).map(|place| format!("h{place}")).collect();
    let places = places.join(", ");
    let mut text = String::from("cutover: v1\nname: inside\nlimits: { steps: 256 }\nsteps:\n");
    for layer in 0..steps / width {
        let needs = if layer > 0 { format!("needs: [s{}], ", layer - 1) } else { String::new() };
        text.push_str(&format!(
            "  s{layer}: {{ for_each: {{ host: [{places}] }}, {needs}run: [/bin/true], \
             undo: {{ none: nothing is left }}, retry: {{ attempts: {attempts}, backoff: 1s..1s }} }}\n"
        ));
    }
    let loaded = cutover::load::load(Path::new("inside.yaml"), &text, None);
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults:#?}"));
    (text, loaded.graph)
}

fn header(text: String, graph: &Graph, faults: Vec<String>) -> Header {
    Header {
        format: cutover::journal::FORMAT,
        program: env!("CARGO_PKG_VERSION").into(),
        run: "inside".into(),
        plan_path: "/inside.yaml".into(),
        plan: text,
        estate_path: None,
        estate: None,
        graph: graph.digest(),
        by: nobody(),
        options: Options { faults, ..Options::default() },
    }
}

fn nobody() -> Person {
    Person { login: "bench".into(), uid: 0, groups: Vec::new() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Runs a plan to its end: seconds without the load, and with it.
fn run(steps: usize, dir: &str, faults: Vec<String>) -> Vec<f64> {
    let begun = Instant::now();
    let (text, graph) = plan(steps, 1);
    let header = header(text, &graph, faults);
    let loaded = begun.elapsed();
    runtime().block_on(async {
        let runner = runner::start(StartOptions {
            graph,
            estate: None,
            header,
            run_dir: RunDir::new(dir),
            wait: false,
            exit_between: false,
            signals: false,
        });
        let runner = runner.expect("it starts").in_world(Arc::new(AtOnce));
        let end = runner.run().await.expect("no bug");
        assert!(matches!(end.exit, Exit::Closed(_)), "{:?}", end.exit);
    });
    let whole = begun.elapsed();
    vec![(whole - loaded).as_secs_f64(), whole.as_secs_f64(), machine::high_water("self")]
}

/// Takes a killed run up again: records read, seconds for that, seconds to the end, peak memory.
fn resume(dir: &str) -> Vec<f64> {
    let begun = Instant::now();
    let (records, read) = runtime().block_on(async {
        let resumed = runner::resume(ResumeOptions {
            run_dir: RunDir::new(dir),
            by: nobody(),
            wait: false,
            exit_between: false,
            signals: false,
        });
        let Resumption::Goes(runner) = resumed.expect("it can be resumed") else {
            panic!("it was killed in the middle")
        };
        let read = begun.elapsed();
        let records = runner.run_so_far().seq();
        let end = runner.in_world(Arc::new(AtOnce)).run().await.expect("no bug");
        // What was in flight is in doubt, and nothing can tell: a person is asked.
        assert!(matches!(end.exit, Exit::Closed(_) | Exit::NeedsPerson), "{:?}", end.exit);
        (records, read)
    });
    let rest = begun.elapsed() - read;
    vec![records as f64, read.as_secs_f64(), rest.as_secs_f64(), machine::high_water("self")]
}

/// Writes the journal of a run in which every step fails until its last attempt; its bytes.
fn write(steps: usize, attempts: u32, dir: &str) -> Vec<f64> {
    let (text, graph) = plan(steps, attempts);
    let run_dir = RunDir::new(dir);
    run_dir.make().expect("a directory");
    let mut run = Run::new(Arc::clone(&graph));
    let (mut head, mut lines) = (Head::NONE, Vec::new());
    let mut file = std::fs::File::create(run_dir.journal()).expect("created");
    let mut take = |run: &mut Run, event: Event| {
        let record = Record { seq: run.seq() + 1, at: Timestamp::UNIX_EPOCH, event };
        run.apply(&record).expect("legal");
        let epoch = u64::from(record.seq > 1);
        let synced = head.seq;
        head.push(&mut lines, record.at, epoch, synced, &Wire::of(&record.event, &*graph));
        if lines.len() > 1 << 20 {
            file.write_all(&lines).expect("written");
            lines.clear();
        }
        if matches!(record.event, Event::Closed(_)) {
            file.write_all(&lines).expect("written");
        }
    };
    take(&mut run, Event::Begun(Box::new(header(text, &graph, Vec::new()))));
    take(&mut run, Event::Opened { epoch: 1, boot: "bench".into(), pid: 1, cut: 0 });
    let mut commands = Vec::new();
    while run.outcome().is_none() {
        commands.clear();
        run.next(&mut commands);
        for command in commands.drain(..) {
            match command {
                Ordered::Start(job) => {
                    take(&mut run, Event::Started(job));
                    let ending = if job.way == Way::Do && job.attempt < attempts {
                        Ending::Failed(Failure::transient("`true` ended with exit status 1"))
                    } else {
                        Ending::Done(Outputs::new())
                    };
                    take(&mut run, Event::Ended(job, ending));
                }
                Ordered::Wake(timer @ Timer::Retry(..), _) => {
                    take(&mut run, Event::Due { timer, jumped: false });
                }
                Ordered::Close(outcome) => take(&mut run, Event::Closed(outcome)),
                _ => {}
            }
        }
    }
    let bytes = std::fs::metadata(run_dir.journal()).expect("there").len();
    vec![bytes as f64]
}

/// Reads a journal back as who takes the run up does: seconds for the plan, records, seconds for them,
/// peak memory.
fn replay(dir: &str) -> Vec<f64> {
    let dir = RunDir::new(dir);
    let begun = Instant::now();
    drop(Follow::open(&dir).expect("a journal"));
    let compiled = begun.elapsed();
    let replayed = replay::state(&dir).expect("intact");
    let read = begun.elapsed() - compiled - compiled;
    let peak = machine::high_water("self");
    vec![compiled.as_secs_f64(), replayed.head.seq as f64, read.as_secs_f64(), peak]
}
