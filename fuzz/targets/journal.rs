//! Bytes as a journal: read, verified, folded, told.
//!
//! What begins like a record is a file as it is. Of anything else each line is an event, `SECONDS
//! EVENT`, that gets its hash and its place here: a fuzzer makes no SHA-256, and whoever edits a
//! journal on purpose does.
#![no_main]

use cutover::estate;
use cutover::event::{Event, Header, Options, Person};
use cutover::graph::Graph;
use cutover::journal::chain::Head;
use cutover::journal::codec::{FORMAT, Wire};
use cutover::journal::replay::{self, Follow};
use cutover::journal::rundir::RunDir;
use cutover::plan;
use cutover::report::lines;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const PLAN: &str = include_str!("../../tests/plans/bound.yaml");
const ESTATE: &str = include_str!("../../tests/plans/estate.yaml");
/// When the run begins, in Unix seconds.
const BEGUN: i64 = 1_554_564_600;

/// The first record, and the chain behind it.
fn begun() -> &'static (Vec<u8>, Head) {
    static BEGUN_RUN: OnceLock<(Vec<u8>, Head)> = OnceLock::new();
    BEGUN_RUN.get_or_init(|| {
        let (estate, _) = estate::read(Path::new("estate.yaml"), ESTATE).expect("an estate");
        let (plan, _) = plan::read(Path::new("plan.yaml"), PLAN).expect("a plan");
        let graph = Graph::compile(Arc::new(plan), Some(&estate)).expect("a graph");
        let header = Header {
            format: FORMAT,
            program: "0.1.0".into(),
            run: "20190406T153000Z-fuzz".into(),
            plan_path: "/plan.yaml".into(),
            plan: PLAN.into(),
            estate_path: Some("/estate.yaml".into()),
            estate: Some(ESTATE.into()),
            graph: graph.digest(),
            by: Person { login: "mara".into(), uid: 1000, groups: vec!["security".into()] },
            options: Options::default(),
        };
        let event = Event::Begun(Box::new(header));
        let (mut head, mut lines) = (Head::NONE, Vec::new());
        let at = Timestamp::from_second(BEGUN).expect("a time");
        head.push(&mut lines, at, 0, 0, &Wire::of(&event, &graph));
        (lines, head)
    })
}

/// Every line with its place and hash; lines that are no JSON are left out.
fn sealed(text: &str) -> Vec<u8> {
    let (first, head) = begun();
    let (mut lines, mut head) = (first.clone(), *head);
    let mut at = Timestamp::from_second(BEGUN).expect("a time");
    for line in text.lines() {
        let (seconds, event) = line.split_once(' ').unwrap_or(("1", line));
        let Ok(event) = serde_json::from_str::<&RawValue>(event) else { continue };
        let seconds = SignedDuration::from_secs(seconds.parse().unwrap_or(1));
        at = at.saturating_add(seconds).unwrap_or(at);
        let epoch = head.epoch + u64::from(event.get().starts_with("{\"opened\""));
        let synced = head.seq;
        head.push(&mut lines, at, epoch, synced, &event);
    }
    lines
}

/// A run directory in memory, one for each process.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let dir = Path::new("/dev/shm").join(format!("cutover-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let dir = RunDir::new(directory());
    let file = match bytes.starts_with(b"{\"seq\":") {
        true => bytes.to_vec(),
        false => sealed(&String::from_utf8_lossy(bytes)),
    };
    std::fs::write(dir.journal(), file).expect("written");
    let verified = replay::verify(&dir);
    let Ok(mut follow) = Follow::open(&dir) else { return };
    let mut commands = Vec::new();
    let flawed = loop {
        match follow.next() {
            Ok(None) => break follow.torn().is_some(),
            Err(_) => break true,
            Ok(Some(record)) => {
                let replayed = &follow.replayed;
                lines::line(&replayed.graph, &record, &TimeZone::UTC);
                commands.clear();
                replayed.run.next(&mut commands);
                replayed.run.questions();
            }
        }
    };
    let (run, history) = (&follow.replayed.run, &follow.replayed.history);
    for step in run.graph().steps() {
        run.waits_for(step);
    }
    (history.step_counts(run), history.row_counts(run));
    let verified = verified.expect("it could be read");
    assert_eq!(verified.flaw.is_some(), flawed, "{verified:?}");
});
