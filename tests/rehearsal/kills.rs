//! The runner is killed from outside at random moments of a rehearsal, and taken up again: the same
//! end as undisturbed, and no finished step run twice. What is counted is what came about in the
//! lab, not what the journal says of it; the journal only says which steps had ended at a kill.

use super::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::process::Child;

/// A kill comes at most so long after a record: within what it announces, or beyond.
const AFTER: Duration = Duration::from_millis(30);

/// Some come later: within a deed that takes its time.
const LONG_AFTER: Duration = Duration::from_millis(600);

/// A runner beside the test; it has no reader who could make it wait.
struct Victim(Child);

impl Victim {
    fn start(space: &Space, args: &[&str]) -> Self {
        let log = |name: &str| File::create(space.file(name)).expect("a log");
        let mut command = space.command(args);
        command.stdout(log("victim.out")).stderr(log("victim.err"));
        Self(command.spawn().expect("the binary starts"))
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("a child of ours").is_some()
    }

    /// The process alone, without a word to it: its lab and its steps' commands live on.
    fn kill(mut self) {
        kill(self.0.id());
        self.0.wait().expect("it ends");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::KILL).expect("it can be killed");
}

/// How many records a journal has, as it grows.
#[derive(Default)]
struct Tail {
    file: Option<File>,
    end: u64,
    records: u64,
}

impl Tail {
    fn records(&mut self, path: &Path) -> u64 {
        if self.file.is_none() {
            self.file = File::open(path).ok();
        }
        let mut grown = Vec::new();
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.end)).expect("a readable journal");
            file.read_to_end(&mut grown).expect("a readable journal");
        }
        // Behind its records the file is padded with empty lines.
        let whole = grown.windows(3).rposition(|it| it == b"\"}\n").map_or(0, |at| at + 3);
        self.end += whole as u64;
        self.records += grown[..whole].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.records
    }
}

/// When a runner is struck: so long after the journal has so many records.
#[derive(Clone, Copy, Debug)]
struct Moment(u64, Duration);

impl Moment {
    /// Many records come at once, and between them are the deeds' beginnings and ends; the long deeds
    /// are struck by a longer wait. By records, not by the clock: a busy machine is as slow as it is.
    fn draw(draw: &mut fastrand::Rng, from: u64, to: u64) -> Self {
        let within = if draw.u8(..4) == 0 { LONG_AFTER } else { AFTER };
        Self(draw.u64(from..to), within.mul_f64(draw.f64()))
    }
}

/// Runs until the moment has come; says whether the process was still there.
fn until_moment(victim: &mut Victim, journal: &Path, moment: Moment) -> bool {
    let Moment(record, after) = moment;
    let mut tail = Tail::default();
    while tail.records(journal) < record {
        if victim.is_over() {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // The moment itself: nothing tells of it.
    std::thread::sleep(after);
    !victim.is_over()
}

/// Where a run stood when its runner was killed.
struct Struck {
    records: u64,
    /// Begun and not ended.
    doubt: BTreeSet<String>,
    /// What finished steps had brought about.
    finished: BTreeMap<String, String>,
}

/// Runs a command on the run and kills it at the moment. None: the run had closed before.
fn strike(space: &Space, args: &[&str], moment: Moment) -> Option<Struck> {
    let mut victim = Victim::start(space, args);
    if !until_moment(&mut victim, &space.file("r/journal.jsonl"), moment) {
        return None;
    }
    victim.kill();
    Struck::of(space)
}

impl Struck {
    /// None: the run had closed before.
    fn of(space: &Space) -> Option<Self> {
        let story = Story::of(space);
        (!story.closed).then(|| Self {
            records: story.records,
            finished: finished(space, &story.done),
            doubt: story.running,
        })
    }
}

/// What a journal says of its steps.
#[derive(Default)]
struct Story {
    records: u64,
    running: BTreeSet<String>,
    done: BTreeSet<String>,
    closed: bool,
}

impl Story {
    fn of(space: &Space) -> Self {
        let mut story = Self::default();
        // A torn last record is none.
        let text = space.read("r/journal.jsonl");
        for record in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            story.records += 1;
            let event = &record["event"];
            story.closed |= event.get("closed").is_some();
            if let Some(step) = event["started"]["step"].as_str() {
                story.running.insert(step.to_owned());
            }
            // Manual steps end by what a person says.
            if let Some(step) = event["requested"]["request"]["finish"]["step"].as_str() {
                story.running.remove(step);
            }
            if let Some(step) = event["ended"]["step"].as_str() {
                story.running.remove(step);
                if event["ended"]["ending"].get("done").is_some() {
                    story.done.insert(step.to_owned());
                }
            }
        }
        story
    }
}

/// What the finished steps have left that would be another if they ran again: restore points, the
/// receipts of copies, notices.
fn finished(space: &Space, done: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut left = BTreeMap::new();
    for line in cutover::lab::LINES {
        if done.contains(&format!("snapshot[{line}]")) {
            let begin = format!("{line}.db.snapshot-");
            left.extend(files(&space.file("r/lab/db/from"), |name| name.starts_with(&begin)));
        }
        if done.contains(&format!("transfer[{line}]")) {
            let path = space.file(&format!("r/lab/db/to/{line}.db"));
            let database = Connection::open(&path).expect("a database");
            let receipt = database.query_row(
                "SELECT digest || ' of ' || rows || ' at ' || ended FROM cutover_receipt",
                [],
                |row| row.get::<_, String>(0),
            );
            left.insert(format!("copy of {line}"), receipt.expect("one receipt"));
        }
    }
    if done.contains("final-notice") {
        for channel in ["customers", "partner-blog"] {
            let place = space.file(&format!("r/lab/channels/{channel}"));
            left.extend(files(&place, |name| !name.starts_with('.')));
        }
    }
    left
}

fn files(place: &Path, is: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(place).expect("readable").map(|entry| entry.expect("an entry"));
    let named = entries.filter(|entry| is(&entry.file_name().to_string_lossy()));
    named
        .map(|entry| {
            let about = entry.metadata().expect("a file");
            let what = format!("{} of {}.{:09}", about.ino(), about.mtime(), about.mtime_nsec());
            (entry.path().display().to_string(), what)
        })
        .collect()
}

/// Deed and place to how often it was asked for, and how often it changed something.
fn deeds(space: &Space) -> BTreeMap<(String, String), (u64, u64)> {
    let mut count: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for deed in cutover::lab::read_deeds(&space.file("r/lab")).expect("a readable log of deeds") {
        // Lists are signed as time goes by.
        if deed.deed != "crl.sign" {
            let (asked, changed) = count.entry((deed.deed, deed.place)).or_default();
            *asked += 1;
            *changed += u64::from(deed.changed);
        }
    }
    count
}

/// The step of the plan that does a deed.
fn doer(deed: &str, place: &str) -> String {
    let last = place.rsplit('/').next().unwrap_or_default();
    let step = match (deed, place.split('/').next().unwrap_or_default()) {
        ("edge.close", "from") => "close-ordering",
        ("edge.open", "to") => "reopen",
        ("role.fence", "writer@from") => "fence-old-writer",
        ("role.promote", "writer@to") => "promote-new-writer",
        ("role.fence", "crl-signer@from") => "fence-old-crl-signer",
        ("role.promote", "crl-signer@to") => "promote-new-crl-signer",
        ("provider.enable", "crl@to") => "enable-crl",
        ("provider.disable", "crl@from") => "disable-old-crl",
        ("provider.enable", "seal@to") => return "enable-seal".to_owned(),
        ("provider.disable", "seal@from") => return "disable-old-seal".to_owned(),
        ("provider.enable", "ocsp@to") => return by_host("enable-ocsp", place),
        ("provider.disable", "ocsp@from") => return by_host("disable-old-ocsp", place),
        ("host.upgrade", "to") => match last {
            "db-1" => return "upgrade-database".to_owned(),
            "orders-1" => return "upgrade-orders".to_owned(),
            "edge-1" => return "upgrade-edge".to_owned(),
            _ => "upgrade-ocsp",
        },
        _ => panic!("no step of the plan does `{deed}` at `{place}`"),
    };
    format!("{step}[{last}]")
}

/// `ocsp@to/ocsp-1/geotrust`
fn by_host(step: &str, place: &str) -> String {
    let mut parts = place.split('/').skip(1);
    let (host, line) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{step}[{line},{host}]")
}

/// A run that nobody disturbs: what the others are held against.
struct Undisturbed {
    records: u64,
    deeds: BTreeMap<(String, String), (u64, u64)>,
}

impl Undisturbed {
    fn run() -> Self {
        let space = space(PLAN);
        let _lab = Lab(&space);
        let mut victim = Victim::start(&space, &rehearse(&["--json"]));
        let journal = space.file("r/journal.jsonl");
        assert!(until_moment(&mut victim, &journal, Moment(2, Duration::ZERO)), "it runs");
        let ended = victim.0.wait().expect("it ends");
        assert!(ended.success(), "{}{}", space.read("victim.out"), space.read("victim.err"));
        let deeds = deeds(&space);
        for ((deed, place), (asked, changed)) in &deeds {
            assert_eq!((*asked, *changed), (1, 1), "{deed} at {place}, by {}", doer(deed, place));
        }
        assert_eq!(deeds.len(), 5 + 6 * (3 + 3 + 2 + 2 + 4 + 2 + 2), "{deeds:#?}");
        Self { records: Story::of(&space).records, deeds }
    }
}

/// The end is that of a run that nobody disturbed, and what had come about stayed as it was.
#[track_caller]
fn same_end(space: &Space, said: &Said, whole: &Undisturbed, kills: &[Struck]) {
    let at: Vec<_> = kills.iter().map(|kill| kill.records).collect();
    let summary = said.json();
    assert_eq!(summary["outcome"], "completed", "killed at {at:?}: {summary:#}");
    assert_eq!(summary["lines"]["moved"], 6, "killed at {at:?}: {summary:#}");
    assert_eq!(summary["rows"]["differences"], 0, "killed at {at:?}: {summary:#}");
    assert_eq!(summary["rows"]["source"], summary["rows"]["target"], "{at:?}: {summary:#}");
    let revocations = &summary["revocations"];
    let asked = revocations["requested"].as_u64();
    assert!(asked.is_some_and(|asked| asked >= 3), "a resumed run asks for the rest: {summary:#}");
    assert_eq!(revocations["confirmed"], revocations["requested"], "{at:?}: {summary:#}");
    clients_saw_nothing(&summary);
    let deeds = deeds(space);
    assert!(deeds.keys().eq(whole.deeds.keys()), "killed at {at:?}: {deeds:#?}");
    for ((deed, place), (asked, changed)) in &deeds {
        let step = doer(deed, place);
        let doubts = kills.iter().filter(|kill| kill.doubt.contains(&step)).count() as u64;
        assert_eq!(*changed, 1, "{deed} at {place} by {step}, killed at {at:?}");
        assert!(
            *asked <= 1 + doubts,
            "{deed} at {place} by {step} {asked} times, killed at {at:?}"
        );
    }
    for kill in kills {
        let now = finished(space, &Story::of(space).done);
        for (what, then) in &kill.finished {
            assert_eq!(now.get(what), Some(then), "{what}, killed at {}", kill.records);
        }
    }
    notices_went_out_once(space);
    space.run(&["journal", "verify", "r"]).exits(0);
}

/// A run whose last resume closed it gives its exit code again, and its report.
fn taken_up(space: &Space) -> Said {
    let said = space.run(&["resume", "r", "--json"]).exits(0);
    match said.stdout.is_empty() {
        true => space.run(&["report", "r", "--format", "json"]).exits(0),
        false => said,
    }
}

/// `CUTOVER_KILLS=all`, or `FROM..TO`: killed when each of these records is durable, one rehearsal for
/// each. It takes a quarter of a minute or more a record, so it is asked for.
#[test]
#[expect(clippy::print_stderr, reason = "how many there were is the result")]
fn a_runner_killed_at_each_record_resumes_to_the_same_end() {
    let asked = std::env::var("CUTOVER_KILLS").unwrap_or_default();
    let range = asked
        .split_once("..")
        .map(|(from, to)| (from.parse().expect("a record"), to.parse::<u64>().expect("a record")));
    if range.is_none() && asked != "all" {
        eprintln!("SKIPPED: each record takes a rehearsal; `CUTOVER_KILLS=all` asks for them");
        return;
    }
    let _alone = alone();
    let whole = Undisturbed::run();
    let (from, to) = range.unwrap_or((2, whole.records));
    let (mut killed, mut closed) = (0, 0);
    for record in from..=to.min(whole.records) {
        let space = space(PLAN);
        let _lab = Lab(&space);
        let fault = format!("runner=kill@{record}");
        let mut victim = Victim::start(&space, &rehearse(&["--json", "--fault", &fault]));
        let ended = victim.0.wait().expect("it ends");
        let Some(struck) = Struck::of(&space) else {
            // Fewer records this time: samples of health come when they come.
            closed += 1;
            continue;
        };
        assert!(!ended.success(), "record {record}: {}", space.read("victim.err"));
        same_end(&space, &taken_up(&space), &whole, &[struck]);
        killed += 1;
        eprintln!("record {record} of {}: the same end", whole.records);
    }
    eprintln!("{killed} killed, all to the same end; {closed} had closed before");
    assert!(killed > 0 && closed <= whole.records / 10, "{killed} killed, {closed} closed");
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
#[expect(clippy::print_stderr, reason = "where the kills fell is a result")]
fn a_runner_killed_at_any_moment_resumes_to_the_same_end() {
    let _alone = alone();
    let (times, seed) = (number("CUTOVER_KILLS", 5), number("CUTOVER_SEED", 1));
    let mut draw = fastrand::Rng::with_seed(seed);
    let whole = Undisturbed::run();
    eprintln!("undisturbed: {} records; seed {seed}", whole.records);
    let (mut fell, mut late): (BTreeMap<String, u64>, u64) = Default::default();
    let mut round = 0;
    while round < times {
        let space = space(PLAN);
        let _lab = Lab(&space);
        let moment = Moment::draw(&mut draw, 2, whole.records);
        let Some(first) = strike(&space, &rehearse(&["--json"]), moment) else {
            late += 1;
            assert!(late <= times + 5, "the moments come too late: {moment:?}");
            continue;
        };
        let mut kills = vec![first];
        // Some are killed again, also while they take up what the first kill left in doubt.
        while kills.len() < 4 && draw.u8(..3) == 0 {
            let so_far = kills.last().map_or(0, |kill| kill.records);
            let moment = Moment::draw(&mut draw, so_far + 1, so_far + 40);
            match strike(&space, &["resume", "r", "--json"], moment) {
                Some(struck) => kills.push(struck),
                None => break,
            }
        }
        let at: Vec<_> = kills.iter().map(|kill| (kill.records, &kill.doubt)).collect();
        eprintln!("round {round}: {moment:?}, killed at {at:?}");
        for kill in &kills {
            let bare = |step: &String| step.split('[').next().unwrap_or_default().to_owned();
            let mut steps: BTreeSet<_> = kill.doubt.iter().map(bare).collect();
            if steps.is_empty() {
                steps.insert("(between steps)".to_owned());
            }
            steps.into_iter().for_each(|step| *fell.entry(step).or_default() += 1);
        }
        same_end(&space, &taken_up(&space), &whole, &kills);
        round += 1;
    }
    eprintln!("{times} of {times} to the same end; {late} moments came after the end; {fell:#?}");
}
