//! `plan.lock`: what will run, step by step, with the exact bytes that it hangs on. Made by
//! `preflight --steps`, held against the files by `run --locked`.
//!
//! The steps are filled by the very function that the runner fills them with. Not known here: when a
//! run begins. A lock holds no secret (the estate's are references), no time, and no path of this
//! machine but those that plan and estate say themselves.

use super::super::deed;
use super::{AT_ONCE, Subject};
use crate::action::{Action, Check, Undo};
use crate::estate::Host;
use crate::event::{Ending, Job, StepId, Way};
use crate::executor::preflight::{Described, describe};
use crate::executor::{self, Context, Deed, process};
use crate::plan::Work;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Semaphore;

/// For one check.
const PATIENCE: Duration = Duration::from_secs(30);
/// A lock is no larger.
const LARGEST: u64 = 256 << 20;
/// Said of a file that is not there.
const ABSENT: &str = "absent";
/// Programs whose first argument is what they run.
const INTERPRETERS: [&str; 9] =
    ["sh", "bash", "dash", "ksh", "python", "python3", "perl", "ruby", "node"];
/// Differences that are shown.
const SHOWN: usize = 20;

/// The files that a lock is made of.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// The plan's path, and its text.
    pub plan: (&'a Path, &'a str),
    /// The estate's.
    pub estate: Option<(&'a Path, &'a str)>,
}

/// What will run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Form of the file.
    pub lock: String,
    /// Version of the program.
    pub program: String,
    /// The plan.
    pub plan: Pinned,
    /// The estate.
    pub estate: Option<Pinned>,
    /// Scripts, commands of the estate's hosts, and notices: name to blake3, or `absent`.
    pub files: BTreeMap<String, String>,
    /// What else commands were given that was a file then. One that comes later is no difference: a
    /// step may make it.
    pub arguments: BTreeMap<String, String>,
    /// The steps, each after those that it needs.
    pub steps: Vec<Step>,
}

/// A file with its bytes' hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Its name, without directories.
    pub file: String,
    /// Of its bytes, in hex.
    pub blake3: String,
}

/// A step as it will run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `upgrade[ocsp-1]`
    pub step: String,
    /// What it does.
    #[serde(rename = "do")]
    pub deed: Act,
    /// Whether it is done already.
    pub check: Act,
    /// What the check said when the lock was made; not held against a later state.
    pub now: Now,
    /// What takes it back.
    pub undo: Act,
}

/// What is done, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// `SITE/HOST`; left out: on the runner's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// One command, request or sentence a line.
    pub does: Vec<String>,
}

/// What a check said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Now {
    /// The step is done.
    #[serde(rename = "done")]
    Done,
    /// It is not.
    #[serde(rename = "not done")]
    NotDone,
    /// The check has no answer.
    #[serde(rename = "unknown")]
    Unknown,
    /// The plan says no check.
    #[serde(rename = "no check")]
    NoCheck,
}

impl Now {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not done",
            Self::Unknown => "unknown",
            Self::NoCheck => "no check",
        }
    }
}

impl From<Described> for Act {
    fn from(described: Described) -> Self {
        Self { host: described.host, does: described.does }
    }
}

fn says(text: impl Into<String>) -> Act {
    Act { host: None, does: vec![text.into()] }
}

/// Writes down what will run. With `ask`, every check is asked: checks change nothing.
///
/// # Errors
/// A step that cannot be filled, or a file that cannot be read.
pub async fn lock(subject: &Subject, sources: &Sources<'_>, ask: bool) -> io::Result<Lock> {
    let scratch = tempfile::tempdir()?;
    let context = subject.context(scratch.path(), String::new(), Way::Check);
    let places = Places::of(subject, sources);
    let mut pins = Pins::default();
    let mut steps = Vec::new();
    for &step in subject.graph.topological() {
        let written = written(subject, step, &context, &places, &mut pins);
        steps.push(written.map_err(|why| {
            io::Error::other(format!("step `{}`: {why}", subject.graph.name(step)))
        })?);
    }
    if ask {
        for (place, now) in asked(subject, scratch.path()).await {
            steps[place].now = now;
        }
    }
    let pin = |(path, text): (&Path, &str)| Pinned {
        file: path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into()),
        blake3: blake3::hash(text.as_bytes()).to_hex().to_string(),
    };
    Ok(Lock {
        lock: "v1".to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        plan: pin(sources.plan),
        estate: sources.estate.map(pin),
        files: pins.files,
        arguments: pins.arguments,
        steps,
    })
}

/// Directories that names start from.
struct Places {
    plan: PathBuf,
    estate: Option<PathBuf>,
}

impl Places {
    fn of(subject: &Subject, sources: &Sources<'_>) -> Self {
        let parent = |(path, _): (&Path, &str)| path.parent().map(Path::to_path_buf);
        Self { plan: subject.plan_dir.clone(), estate: sources.estate.and_then(parent) }
    }

    /// A text without the directories that are this machine's business.
    fn plain(&self, text: String) -> String {
        [Some(&self.plan), self.estate.as_ref()].into_iter().flatten().fold(text, |text, place| {
            let place = format!("{}/", place.display());
            if place.len() > 1 { text.replace(&place, "") } else { text }
        })
    }

    fn act(&self, action: &Action<String>, context: &Context) -> Act {
        let mut act = Act::from(describe(action, context));
        act.does = act.does.into_iter().map(|line| self.plain(line)).collect();
        act
    }

    /// How a file is called in a lock.
    fn name(&self, path: &Path) -> String {
        if let Ok(inside) = path.strip_prefix(&self.plan) {
            return inside.display().to_string();
        }
        match self.estate.as_ref().map(|place| path.strip_prefix(place)) {
            Some(Ok(inside)) => format!("estate: {}", inside.display()),
            _ => path.display().to_string(),
        }
    }

    /// Keeps the hash of a file, once.
    fn keep(&self, path: &Path, files: &mut BTreeMap<String, String>) -> Result<(), String> {
        let name = self.name(path);
        if files.contains_key(&name) {
            return Ok(());
        }
        if !path.is_file() {
            files.insert(name, ABSENT.to_owned());
            return Ok(());
        }
        let cannot = |error: io::Error| format!("reading `{}`: {error}", path.display());
        let mut hasher = blake3::Hasher::new();
        let file = std::fs::File::open(path).map_err(cannot)?;
        hasher.update_reader(file).map_err(cannot)?;
        files.insert(name, hasher.finalize().to_hex().to_string());
        Ok(())
    }

    /// The files that an action hangs on: its notice; its program, where that is the plan's or the
    /// estate's own; the script that it hands to an interpreter; every other argument that is a file.
    fn pin(
        &self,
        action: &Action<String>,
        context: &Context,
        pins: &mut Pins,
    ) -> Result<(), String> {
        let run = match action {
            Action::Notify(it) => return self.keep(&self.plan.join(&it.notice), &mut pins.files),
            Action::Run(run) => run,
            _ => return Ok(()),
        };
        let Some((name, words)) = run.argv.split_first() else { return Ok(()) };
        self.pin_program(name, run.at.as_deref(), context, &mut pins.files)?;
        // `sh -c TEXT` has its text in the plan.
        let inline = words.first().is_some_and(|word| word == "-c" || word == "-e");
        let interprets = !inline && INTERPRETERS.contains(&name.rsplit('/').next().unwrap_or(name));
        let mut words = words.iter().filter(|word| !word.starts_with('-'));
        if interprets && let Some(script) = words.next() {
            self.keep(&self.plan.join(script), &mut pins.files)?;
        }
        for word in words.filter(|word| !word.is_empty()) {
            let path = self.plan.join(word);
            if path.is_file() {
                self.keep(&path, &mut pins.arguments)?;
            }
        }
        Ok(())
    }

    fn pin_program(
        &self,
        name: &str,
        at: Option<&str>,
        context: &Context,
        files: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        let Ok((program, _)) = process::locate(name, at, None, &context.estate) else {
            // A row of preflight, and another program when one is put there.
            files.insert(format!("{name} at {}", at.unwrap_or("home")), ABSENT.to_owned());
            return Ok(());
        };
        let program = self.plan.join(program);
        let own = at.and_then(|at| {
            let (site, host) = at.split_once('/')?;
            match &context.estate.sites.get(site)?.hosts.get(host)?.value {
                Host::Local { path } => path.clone(),
                Host::Ssh(_) => None,
            }
        });
        let places = [Some(self.plan.clone()), self.estate.clone(), own];
        if places.into_iter().flatten().any(|place| program.starts_with(place)) {
            self.keep(&program, files)?;
        }
        Ok(())
    }
}

/// The files of a lock, while it is made.
#[derive(Debug, Default)]
struct Pins {
    files: BTreeMap<String, String>,
    arguments: BTreeMap<String, String>,
}

fn written(
    subject: &Subject,
    step: StepId,
    context: &Context,
    places: &Places,
    pins: &mut Pins,
) -> Result<Step, String> {
    let graph = &subject.graph;
    let mut acts = Vec::new();
    for way in [Way::Do, Way::Check, Way::Undo] {
        let foreseen = deed::foresee(graph, Job { step, way, attempt: 1 })?;
        acts.push(match foreseen {
            Some((action, _)) => {
                places.pin(&action, context, pins)?;
                Some(places.act(&action, context))
            }
            None => None,
        });
    }
    let undo = acts.pop().flatten();
    let check = acts.pop().flatten();
    let deed = acts.pop().flatten();
    Ok(match &graph.def(step).work {
        Work::Ask(gate) => {
            let by: Vec<&str> = gate.by.iter().map(|group| group.value.as_str()).collect();
            let question = deed::foresee_text(graph, step, &gate.ask)?;
            Step {
                step: graph.name(step),
                deed: says(format!("{} of {}: {question}", gate.quorum, by.join(", "))),
                check: Act::default(),
                now: Now::NoCheck,
                undo: says("loses its approvals"),
            }
        }
        Work::Act { undo: way_back, check: how, .. } => Step {
            step: graph.name(step),
            deed: deed.unwrap_or_default(),
            check: match how {
                Check::BuiltIn => says("built in"),
                Check::By(_) => check.unwrap_or_default(),
                Check::Nothing => Act::default(),
            },
            now: match how {
                Check::Nothing => Now::NoCheck,
                _ => Now::Unknown,
            },
            undo: match way_back {
                Undo::By(_) => undo.unwrap_or_default(),
                Undo::Nothing(reason) => says(format!("none: {reason}")),
                Undo::Missing => says("none"),
            },
        },
    })
}

/// Asks every check, a few at once; by place in the topological order.
async fn asked(subject: &Subject, scratch: &Path) -> Vec<(usize, Now)> {
    let graph = &subject.graph;
    let slots = Semaphore::new(AT_ONCE);
    let mut asking = FuturesUnordered::new();
    for (place, &step) in graph.topological().iter().enumerate() {
        let job = Job { step, way: Way::Check, attempt: 1 };
        let Ok(Some((action, open))) = deed::foresee(graph, job) else { continue };
        // What hangs on another step's output has no answer yet; nor have people.
        if open || matches!(action, Action::Manual(_)) {
            continue;
        }
        let deed = Deed {
            action,
            ask: deed::ask_of(graph, job),
            timeout: Some(PATIENCE),
            outputs: Vec::new(),
        };
        let context = subject.context(&scratch.join(place.to_string()), graph.name(step), job.way);
        let slots = &slots;
        asking.push(async move {
            let _slot = slots.acquire().await;
            let now = match executor::carry_out(deed, context).await {
                Ending::Done(_) => Now::Done,
                Ending::NotDone => Now::NotDone,
                _ => Now::Unknown,
            };
            (place, now)
        });
    }
    let mut all = Vec::new();
    while let Some(one) = asking.next().await {
        all.push(one);
    }
    all
}

impl Lock {
    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written; an old one is still there then.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::PermissionsExt as _;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(self.text().as_bytes())?;
        // It is reviewed by others than who made it.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(directory)?.sync_all()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no lock of a form that is known.
    pub fn read(path: &Path) -> io::Result<Self> {
        use std::io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
        let lock: Self = serde_json::from_str(&text)
            .map_err(|error| io::Error::other(format!("it is no lock: {error}")))?;
        if lock.lock == "v1" {
            Ok(lock)
        } else {
            let what = format!("`lock: {}` is a form that this program does not know", lock.lock);
            Err(io::Error::other(what))
        }
    }

    /// What has changed from this lock to what would run now; empty when nothing has. What checks
    /// said is not compared: the world goes on.
    pub fn difference(&self, now: &Self) -> String {
        let mut text = String::new();
        let mut changed = |what: &str, from: &str, to: &str| {
            if from != to {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{what}: {from} -> {to}");
            }
        };
        let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
        let pinned = |pin: &Pinned| format!("{} {}", pin.file, short(&pin.blake3));
        changed("program", &self.program, &now.program);
        changed("plan", &pinned(&self.plan), &pinned(&now.plan));
        let maybe = |pin: &Option<Pinned>| pin.as_ref().map_or_else(|| "none".to_owned(), pinned);
        changed("estate", &maybe(&self.estate), &maybe(&now.estate));
        let names: BTreeSet<&String> = self.files.keys().chain(now.files.keys()).collect();
        let of = |files: &BTreeMap<String, String>, name: &String| {
            files.get(name).map_or_else(|| "none".to_owned(), |hash| short(hash))
        };
        for name in names {
            changed(&format!("file `{name}`"), &of(&self.files, name), &of(&now.files, name));
        }
        for name in self.arguments.keys() {
            let (old, new) = (of(&self.arguments, name), of(&now.arguments, name));
            changed(&format!("argument `{name}`"), &old, &new);
        }
        text.push_str(&self.steps_difference(now));
        text
    }

    /// The steps that differ, as a diff.
    fn steps_difference(&self, now: &Self) -> String {
        let by_name = |lock: &Self| -> BTreeMap<String, Vec<String>> {
            lock.steps.iter().map(|step| (step.step.clone(), step.lines())).collect()
        };
        let (old, new) = (by_name(self), by_name(now));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differing: Vec<&String> =
            names.into_iter().filter(|name| old.get(*name) != new.get(*name)).collect();
        let mut text = String::new();
        if !differing.is_empty() {
            text.push_str("--- locked\n+++ now\n");
        }
        let none = Vec::new();
        for name in differing.iter().take(SHOWN) {
            let (old, new) = (old.get(*name).unwrap_or(&none), new.get(*name).unwrap_or(&none));
            let _ = writeln!(text, "@@ {name}");
            for line in old.iter().filter(|line| !new.contains(line)) {
                let _ = writeln!(text, "-{line}");
            }
            for line in new.iter().filter(|line| !old.contains(line)) {
                let _ = writeln!(text, "+{line}");
            }
        }
        if differing.len() > SHOWN {
            let _ = writeln!(text, "and {} more steps", differing.len() - SHOWN);
        }
        // The order alone: the same steps, needed otherwise.
        let order = |lock: &Self| -> Vec<String> {
            lock.steps.iter().map(|step| step.step.clone()).collect()
        };
        if differing.is_empty() && order(self) != order(now) {
            text.push_str("the steps come in another order\n");
        }
        text
    }
}

impl Step {
    /// Its deed, check and undo, one line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (word, act) in [("do", &self.deed), ("check", &self.check), ("undo", &self.undo)] {
            let host = act.host.as_ref().map_or_else(String::new, |host| format!(" at {host}"));
            lines.extend(act.does.iter().map(|line| format!("{word}{host}: {line}")));
        }
        lines
    }
}
