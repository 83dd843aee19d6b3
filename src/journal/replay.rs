//! From a run directory to the run: the one way for resume, status, watch, report and verify.
//!
//! The first record holds plan and estate, so nothing else is read. Reading is line by line, in
//! bounded memory. Not known here: what a record means; the core is asked.

use super::JournalError;
use super::chain::{Damage, Flaw, Head, Line, Scanner};
use super::codec::{FORMAT, Names, Wire};
use super::lock::NO_FOLLOW;
use super::plain;
use super::rundir::RunDir;
use super::store;
use crate::estate::{self, Estate};
use crate::event::{Event, Header, LineId, ProviderId, Record, Seq, StepId};
use crate::graph::Graph;
use crate::history::History;
use crate::plan::{self, Plan};
use crate::run::Run;
use crate::text::fault::{Fault, Severity};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run as its journal tells it.
#[derive(Debug)]
pub struct Replayed {
    /// The first record.
    pub header: Header,
    /// The plan that it holds.
    pub plan: Arc<Plan>,
    /// The estate that it holds, if the run has one.
    pub estate: Option<Arc<Estate>>,
    /// The graph compiled from both.
    pub graph: Arc<Graph>,
    /// The fold of all records.
    pub run: Run,
    /// The other fold, for reports; a runner that takes the run up has none of it.
    pub history: History,
    /// The newest record.
    pub head: Head,
    /// Length of the file up to its newest intact record.
    pub bytes: u64,
}

impl Replayed {
    /// Takes in one more record.
    ///
    /// # Errors
    /// When it cannot have happened; nothing is changed then.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        self.history.apply(record, &mut self.run).map_err(|impossible| impossible.0)
    }
}

/// A torn tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it began and why it was not intact.
    pub damage: Damage,
    /// How many bytes.
    pub bytes: u64,
    /// Where they are kept.
    pub kept: PathBuf,
}

/// Reads a journal while it may still be written: yields intact records, never cuts.
#[derive(Debug)]
pub struct Follow {
    file: PathBuf,
    scanner: Scanner,
    /// The run up to the newest record yielded.
    pub replayed: Replayed,
    names: Remembered,
    first: Option<Record>,
    torn: Option<Damage>,
}

/// The graph's names, each step looked up once: most records of a long journal name steps again.
#[derive(Debug)]
struct Remembered {
    graph: Arc<Graph>,
    steps: RefCell<HashMap<Box<str>, StepId>>,
}

impl Names for Remembered {
    fn step(&self, step: StepId) -> String {
        self.graph.name(step)
    }
    fn find_step(&self, name: &str) -> Option<StepId> {
        let mut steps = self.steps.borrow_mut();
        if let Some(step) = steps.get(name) {
            return Some(*step);
        }
        let step = self.graph.find(name)?;
        steps.insert(name.into(), step);
        Some(step)
    }
    fn line(&self, line: LineId) -> String {
        self.graph.line_name(line).to_owned()
    }
    fn find_line(&self, name: &str) -> Option<LineId> {
        self.graph.find_line(name)
    }
    fn provider(&self, provider: ProviderId) -> String {
        Names::provider(&*self.graph, provider)
    }
    fn find_provider(&self, name: &str) -> Option<ProviderId> {
        self.graph.find_provider(name)
    }
}

impl Follow {
    /// Opens a run's journal and reads its first record.
    ///
    /// # Errors
    /// No run is there, the journal is damaged, or it was written for another graph.
    pub fn open(dir: &RunDir) -> Result<Self, JournalError> {
        let path = dir.journal();
        let file = open(dir, OpenOptions::new().read(true))?;
        Self::over(path, file, History::new)
    }

    fn over(
        path: PathBuf,
        file: File,
        history: fn(&Graph) -> History,
    ) -> Result<Self, JournalError> {
        let mut scanner = Scanner::new(file)
            .map_err(|error| JournalError::io(format!("reading `{}`", path.display()), error))?;
        let line = match scanner.next::<Wire<'_>>() {
            Ok(Some(line)) => line,
            Ok(None) => {
                let why = "the file is empty".to_owned();
                let damage = Damage { line: 1, byte: 0, why };
                return Err(JournalError::Damaged { file: path, damage });
            }
            // The first record is never torn: the file gets its name when it is durable.
            Err(Flaw::Torn(damage) | Flaw::Damaged(damage)) => {
                return Err(match other_format(scanner.into_file()) {
                    Some(why) => JournalError::Foreign { file: path, why },
                    None => JournalError::Damaged { file: path, damage },
                });
            }
            Err(Flaw::Io(error)) => {
                return Err(JournalError::io(format!("reading `{}`", path.display()), error));
            }
        };
        let at = line.at;
        let Wire::Begun(header) = line.event else {
            let why = "a journal begins with `begun`".to_owned();
            return Err(JournalError::Damaged {
                file: path,
                damage: Damage { line: 1, byte: 0, why },
            });
        };
        let first = Record { seq: 1, at, event: Event::Begun(header.clone()) };
        let (plan, estate, graph) =
            compile(&header).map_err(|why| JournalError::Foreign { file: path.clone(), why })?;
        let mut replayed = Replayed {
            run: Run::new(graph.clone()),
            history: history(&graph),
            header: *header,
            plan,
            estate,
            graph,
            head: scanner.head(),
            bytes: scanner.offset(),
        };
        replayed.apply(&first).map_err(|why| impossible(&path, 1, 0, &why))?;
        let graph = Arc::clone(&replayed.graph);
        let names = Remembered { graph, steps: RefCell::default() };
        Ok(Self { file: path, scanner, replayed, names, first: Some(first), torn: None })
    }

    /// The next intact record, already applied; none at the end, for now. May be asked again.
    ///
    /// # Errors
    /// Damage that no crash can leave behind, or a record that cannot have happened.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that has ended must not be asked again; this one may be"
    )]
    pub fn next(&mut self) -> Result<Option<Record>, JournalError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let epoch = self.scanner.head().epoch;
        let line = match self.scanner.next_by::<Wire<'_>>(plain::event) {
            Ok(Some(line)) => line,
            Ok(None) => {
                self.torn = None;
                return Ok(None);
            }
            Err(Flaw::Torn(damage)) => {
                self.torn = Some(damage);
                return Ok(None);
            }
            Err(Flaw::Damaged(damage)) => {
                return Err(JournalError::Damaged { file: self.file.clone(), damage });
            }
            Err(Flaw::Io(error)) => {
                let doing = format!("reading `{}`", self.file.display());
                return Err(JournalError::io(doing, error));
            }
        };
        self.torn = None;
        let (number, byte) = (line.line, line.byte);
        let damaged = |why: String| impossible(&self.file, number, byte, &why);
        let record = record(line, epoch, &self.names).map_err(damaged)?;
        self.replayed.apply(&record).map_err(|why| {
            impossible(&self.file, number, byte, &format!("the record cannot have happened: {why}"))
        })?;
        self.replayed.head = self.scanner.head();
        self.replayed.bytes = self.scanner.offset();
        Ok(Some(record))
    }

    fn verified(&self, dir: &RunDir, flaw: Option<Damage>) -> Verified {
        let Replayed { head, bytes, .. } = &self.replayed;
        let (file, head, records) = (dir.journal(), head.hash.to_string(), head.seq);
        Verified { file, records, bytes: *bytes, head, flaw }
    }

    /// A torn tail behind the newest intact record: a crash left it, or a runner is writing it now.
    pub fn torn(&self) -> Option<&Damage> {
        self.torn.as_ref()
    }
}

/// Reads the whole run and touches nothing; a torn tail is left out.
///
/// # Errors
/// As [`Follow::next`].
pub fn read(dir: &RunDir) -> Result<Replayed, JournalError> {
    let mut follow = Follow::open(dir)?;
    while follow.next()?.is_some() {}
    Ok(follow.replayed)
}

/// The same for who wants to know where the run stands, and nothing of its past: the history stays
/// empty.
///
/// # Errors
/// As [`Follow::next`].
pub fn state(dir: &RunDir) -> Result<Replayed, JournalError> {
    let file = open(dir, OpenOptions::new().read(true))?;
    let mut follow = Follow::over(dir.journal(), file, History::none)?;
    while follow.next()?.is_some() {}
    Ok(follow.replayed)
}

/// Reads the whole run once for who wants both what is in it and, for a seal, what its bytes are:
/// what [`read`] and [`verify`] answer together.
///
/// # Errors
/// As [`Follow::next`]. A torn tail is none: it is the flaw of what was verified.
pub fn read_and_verify(dir: &RunDir) -> Result<(Replayed, Verified), JournalError> {
    let mut follow = Follow::open(dir)?;
    while follow.next()?.is_some() {}
    let verified = follow.verified(dir, follow.torn.clone());
    Ok((follow.replayed, verified))
}

/// Reads the whole run for its next runner, who holds the lock: a torn tail is cut off, its bytes
/// are kept aside.
///
/// # Errors
/// As [`Follow::next`]; or the tail cannot be cut.
pub(super) fn recover(dir: &RunDir) -> Result<(Replayed, Option<Cut>), JournalError> {
    let path = dir.journal();
    let file = open(dir, OpenOptions::new().read(true).write(true))?;
    let failed =
        |error| JournalError::io(format!("reading `{}` from the disk", path.display()), error);
    store::drop_cache(&file).map_err(failed)?;
    let mut follow = Follow::over(path.clone(), file, History::none)?;
    while follow.next()?.is_some() {}
    let Follow { scanner, replayed, torn, .. } = follow;
    refuse_forgotten(dir, &path, &replayed)?;
    let file = scanner.into_file();
    store::cut_padding(&file, replayed.bytes).map_err(|error| {
        JournalError::io(format!("cutting the padding of `{}`", path.display()), error)
    })?;
    let Some(damage) = torn else { return Ok((replayed, None)) };
    let (bytes, kept) = cut(file, &path, replayed.bytes).map_err(|error| {
        JournalError::io(format!("cutting the torn tail of `{}`", path.display()), error)
    })?;
    Ok((replayed, Some(Cut { damage, bytes, kept })))
}

/// An attempt has its directory only since its start was durable. Where the journal does not know of
/// it, the disk has lost what it called durable, or another journal was put in its place: going on
/// would do again what was done.
fn refuse_forgotten(dir: &RunDir, path: &Path, replayed: &Replayed) -> Result<(), JournalError> {
    let begun = dir.begun_attempts().map_err(|error| {
        JournalError::io(format!("reading `{}`", dir.attempts().display()), error)
    })?;
    if begun.is_empty() {
        return Ok(());
    }
    let graph = &replayed.graph;
    let mut steps: BTreeMap<String, Vec<StepId>> = BTreeMap::new();
    for step in graph.steps() {
        steps.entry(RunDir::file_name_of(&graph.name(step))).or_default().push(step);
    }
    for (name, way, attempt) in begun {
        let Some(same) = steps.get(&name) else { continue };
        if same.iter().all(|step| replayed.run.attempts(*step, way) < attempt) {
            let why = format!(
                "attempt {attempt} ({way:?}) of `{name}` was begun, and its record is gone: what was durable is lost"
            );
            return Err(impossible(path, replayed.head.seq + 1, replayed.bytes, &why));
        }
    }
    Ok(())
}

/// Cuts a file to `len` bytes; what was behind is kept beside it. Both are durable afterwards.
pub(crate) fn cut(mut file: File, path: &Path, len: u64) -> io::Result<(u64, PathBuf)> {
    file.seek(SeekFrom::Start(len))?;
    let (mut aside, kept) = aside(path, len)?;
    let bytes = io::copy(&mut (&mut file).take(u64::MAX), &mut aside)?;
    aside.sync_all()?;
    store::sync_directory_of(path)?;
    file.set_len(len)?;
    file.sync_all()?;
    Ok((bytes, kept))
}

/// `journal.jsonl.torn-BYTE`, with a number behind it when there is one already.
fn aside(path: &Path, len: u64) -> io::Result<(File, PathBuf)> {
    for count in 1_u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".torn-{len}"));
        if count > 1 {
            name.push(format!("-{count}"));
        }
        let name = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What `journal verify` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub file: PathBuf,
    /// Intact records up to the first flaw.
    pub records: Seq,
    /// Their bytes.
    pub bytes: u64,
    /// Hash of the newest of them: told elsewhere, it shows a tail cut at a record's end.
    pub head: String,
    /// The first flaw, if there is one. A torn tail is one.
    pub flaw: Option<Damage>,
}

/// Checks a journal and touches nothing: every hash, every record's place, and that each could
/// happen where it stands.
///
/// # Errors
/// No run is there, the file cannot be read, or the plan in it is not one of this program.
pub fn verify(dir: &RunDir) -> Result<Verified, JournalError> {
    let file = dir.journal();
    let mut follow = match Follow::open(dir) {
        Ok(follow) => follow,
        Err(JournalError::Damaged { damage, .. }) => {
            let head = Head::NONE.hash.to_string();
            return Ok(Verified { file, records: 0, bytes: 0, head, flaw: Some(damage) });
        }
        Err(error) => return Err(error),
    };
    let flaw = loop {
        match follow.next() {
            Ok(Some(_)) => {}
            Ok(None) => break follow.torn.clone(),
            Err(JournalError::Damaged { damage, .. }) => break Some(damage),
            Err(error) => return Err(error),
        }
    };
    Ok(follow.verified(dir, flaw))
}

fn open(dir: &RunDir, options: &mut OpenOptions) -> Result<File, JournalError> {
    let path = dir.journal();
    options.custom_flags(NO_FOLLOW).open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => JournalError::Absent { directory: dir.path().into() },
        _ => JournalError::io(format!("opening `{}`", path.display()), error),
    })
}

fn impossible(file: &Path, line: u64, byte: u64, why: &str) -> JournalError {
    let damage = Damage { line, byte, why: why.to_owned() };
    JournalError::Damaged { file: file.to_owned(), damage }
}

/// The record of a line; `epoch` is that of the record before.
pub(crate) fn record<N: Names + ?Sized>(
    line: Line<Wire<'_>>,
    epoch: u64,
    names: &N,
) -> Result<Record, String> {
    let event = line.event.event(names)?;
    let wanted = match &event {
        Event::Begun(_) => return Err("a second `begun`".to_owned()),
        Event::Opened { epoch: opened, .. } if *opened != epoch + 1 => {
            return Err(format!("a runner opened epoch {opened} after epoch {epoch}"));
        }
        Event::Opened { epoch: opened, .. } => *opened,
        _ => epoch,
    };
    if line.epoch != wanted {
        return Err(format!("a record of epoch {} in epoch {wanted}", line.epoch));
    }
    Ok(Record { seq: line.seq, at: line.at, event })
}

fn not_ours(format: u32, program: &str) -> String {
    format!("written in format {format} by cutover {program}; this program reads format {FORMAT}")
}

/// What is read of a first event that this program does not understand.
#[derive(Deserialize)]
struct StrangersEvent {
    begun: StrangersHeader,
}

#[derive(Deserialize)]
struct StrangersHeader {
    format: u32,
    program: String,
}

/// Whether a first record that cannot be read is intact, and of another format: a newer program's
/// journal is not damaged.
fn other_format(file: File) -> Option<String> {
    let mut scanner = Scanner::new(file).ok()?;
    let line = scanner.next::<serde_json::Value>().ok()??;
    let event: StrangersEvent = serde_json::from_value(line.event).ok()?;
    let StrangersHeader { format, program } = event.begun;
    (format != FORMAT).then(|| not_ours(format, &program))
}

type Compiled = (Arc<Plan>, Option<Arc<Estate>>, Arc<Graph>);

/// Plan, estate and graph from the first record's texts.
fn compile(header: &Header) -> Result<Compiled, String> {
    if header.format != FORMAT {
        return Err(not_ours(header.format, &header.program));
    }
    let not_read = |what: &str, faults: &[Fault]| {
        let errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
        let texts: Vec<&str> = errors.map(|fault| fault.what.as_str()).collect();
        format!(
            "the {what} in it, accepted by cutover {}, is not one for this program: {}",
            header.program,
            texts.join("; ")
        )
    };
    let (plan, _) = plan::read(Path::new(&header.plan_path), &header.plan)
        .map_err(|faults| not_read("plan", &faults))?;
    let plan = Arc::new(plan);
    let estate = match (&header.estate, &header.estate_path) {
        (None, _) => None,
        (Some(text), path) => {
            let path = path.as_deref().unwrap_or("estate.yaml");
            let (estate, _) = estate::read(Path::new(path), text)
                .map_err(|faults| not_read("estate", &faults))?;
            Some(Arc::new(estate))
        }
    };
    let graph = Graph::compile(plan.clone(), estate.as_deref())
        .map_err(|faults| not_read("plan", &faults))?;
    let digest = graph.digest();
    if digest != header.graph {
        return Err(format!(
            "cutover {} made graph {} of its plan, this program makes {digest}",
            header.program, header.graph
        ));
    }
    Ok((plan, estate, Arc::new(graph)))
}
