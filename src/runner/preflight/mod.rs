//! Preflight: reads everything that a run would touch, and changes nothing. Every look has a
//! deadline, all of them run side by side, and all faults come in one go.
//!
//! Not known here: how a thing is looked at (`executor::preflight`, `guard`), and how rows are
//! printed.

mod estate;
pub mod lock;
mod services;

use super::deed;
use crate::estate::Estate;
use crate::event::{Job, StepId, Way};
use crate::executor::Context;
use crate::executor::preflight::{Room, Seen, Touch, fits, look, touches};
use crate::graph::Graph;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

pub use crate::executor::preflight::Level;

/// Looks that are under way at once.
const AT_ONCE: usize = 16;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The compiled plan.
    pub graph: Arc<Graph>,
    /// The estate that it is bound to.
    pub estate: Arc<Estate>,
    /// The directory of the plan.
    pub plan_dir: PathBuf,
    /// The moment that counts as now.
    pub now: Timestamp,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The heading that it stands under.
    pub area: &'static str,
    /// What was looked at.
    pub name: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, in words.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The steps that touch it; none for what concerns the whole run.
    pub steps: Vec<String>,
}

impl Row {
    fn new(area: &'static str, name: impl Into<String>, seen: Seen) -> Self {
        let Seen { level, found, hint, .. } = seen;
        Self { area, name: name.into(), level, found, hint, steps: Vec::new() }
    }
}

/// The window as a run of today would have it: the plan's own, or, when that is over, one of the same
/// length that opens now (as a rehearsal has it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    opens: Timestamp,
    closes: Timestamp,
}

impl Subject {
    fn span(&self) -> Span {
        let plan = self.graph.plan();
        let Some(window) = &plan.window else { return Span { opens: self.now, closes: self.now } };
        if window.closes > self.now {
            return Span { opens: window.opens, closes: window.closes };
        }
        let length: SignedDuration = window.closes.duration_since(window.opens);
        Span { opens: self.now, closes: self.now.saturating_add(length).unwrap_or(self.now) }
    }

    /// What executors are given to look with. Dropping the sender of `stop` stops nothing.
    fn context(&self, attempt_dir: &Path, step: String, way: Way) -> Context {
        Context {
            estate: Arc::clone(&self.estate),
            run: "preflight".to_owned(),
            step,
            way,
            attempt: 1,
            plan_dir: self.plan_dir.clone(),
            attempt_dir: attempt_dir.to_owned(),
            notices_dir: attempt_dir.to_owned(),
            facts: Arc::new(self.graph.plan().facts.clone()),
            window_opens: None,
            progress: watch::channel(crate::executor::Progress::default()).0,
            stop: watch::channel(false).1,
        }
    }
}

/// Looks at everything. Ends within about half a minute, whatever hangs.
///
/// # Errors
/// No directory for what commands print.
pub async fn preflight(subject: &Subject) -> std::io::Result<Vec<Row>> {
    let scratch = tempfile::tempdir()?;
    let (things, papers, services, clocks, servers) = tokio::join!(
        things(subject, scratch.path()),
        estate::papers(subject),
        services::first(subject),
        estate::clocks(subject),
        estate::name_servers(subject),
    );
    let mut rows = vec![estate::window(subject)];
    rows.extend(things);
    rows.extend(estate::people(subject));
    rows.extend(papers);
    rows.extend(services);
    rows.extend(clocks);
    rows.extend(servers);
    Ok(rows)
}

/// Everything that steps touch, with their names, and what the plan takes as given at its start.
#[derive(Debug, Default)]
struct Touched {
    by: BTreeMap<Touch, BTreeSet<StepId>>,
    begins: BTreeMap<Touch, bool>,
}

fn touched(subject: &Subject) -> (Touched, Vec<Row>) {
    let graph = &subject.graph;
    let mut all = Touched::default();
    let mut rows = Vec::new();
    for step in graph.steps() {
        for way in [Way::Do, Way::Undo, Way::Check] {
            match deed::foresee(graph, Job { step, way, attempt: 1 }) {
                Ok(Some((action, _))) => {
                    for touch in touches(&action, &subject.plan_dir) {
                        // What must go on answering while routes close is judged where they close;
                        // an undo that closes comes after a move, when it may be elsewhere.
                        if way == Way::Do || !matches!(touch, Touch::Protected { .. }) {
                            all.by.entry(touch).or_default().insert(step);
                        }
                    }
                }
                Ok(None) => {}
                Err(why) => rows.push(Row::new("steps", graph.name(step), Seen::fault(why))),
            }
        }
    }
    all.leave_out_copies();
    all.add_switches(graph, &subject.estate);
    (all, rows)
}

impl Touched {
    /// What a copy will bring is not there yet: its target is judged as a target alone.
    fn leave_out_copies(&mut self) {
        let targets: BTreeSet<(String, String)> = self
            .by
            .keys()
            .filter_map(|touch| match touch {
                Touch::Target { site, database, .. } => Some((site.clone(), database.clone())),
                _ => None,
            })
            .collect();
        self.by.retain(|touch, _| match touch {
            Touch::Source { site, database } | Touch::Queue { site, line: database } => {
                !targets.contains(&(site.clone(), database.clone()))
            }
            _ => true,
        });
    }

    /// Roles and providers that the plan counts on, switched by a step or not.
    fn add_switches(&mut self, graph: &Graph, estate: &Estate) {
        for role in graph.roles() {
            let Some((name, place)) = role.name.split_once('@') else { continue };
            let site = place.split('/').next().unwrap_or(place);
            if estate.sites.get(site).is_some_and(|site| site.roles.contains_key(name)) {
                self.expect(Touch::Role(role.name.clone()), role.held_at_start);
            }
        }
        for provider in graph.providers() {
            let known = || {
                let (service, place) = provider.base.split_once('@')?;
                let (site, name) = place.split_once('/')?;
                let service = estate.sites.get(site)?.services.get(service)?;
                service.providers.get(name)?.switch.as_ref()
            };
            if known().is_some() {
                let line = provider.line.map(|line| graph.line_name(line).to_owned());
                let touch = Touch::Provider { provider: provider.base.clone(), line };
                self.expect(touch, provider.serving_at_start);
            }
        }
    }

    fn expect(&mut self, touch: Touch, on: bool) {
        self.by.entry(touch.clone()).or_default();
        self.begins.insert(touch, on);
    }
}

/// Looks at everything that steps touch, a few at once.
async fn things(subject: &Subject, scratch: &Path) -> Vec<Row> {
    let (touched, mut rows) = touched(subject);
    let slots = Semaphore::new(AT_ONCE);
    let mut looks = FuturesUnordered::new();
    for (number, touch) in touched.by.keys().enumerate() {
        let (slots, scratch) = (&slots, scratch.join(number.to_string()));
        looks.push(async move {
            // Never closed: it lives longer than the looks.
            let _slot = slots.acquire().await;
            let context = subject.context(&scratch, "preflight".to_owned(), Way::Check);
            (number, look(touch, &context).await)
        });
    }
    let mut seen = Vec::new();
    while let Some(one) = looks.next().await {
        seen.push(one);
    }
    seen.sort_by_key(|(number, _)| *number);
    let mut rooms: BTreeMap<u64, Vec<Room>> = BTreeMap::new();
    for ((touch, steps), (_, mut seen)) in touched.by.iter().zip(seen) {
        if let Some(room) = seen.room.take() {
            rooms.entry(room.device).or_default().push(room);
        }
        if let (Some(on), Some(begins)) = (seen.on, touched.begins.get(touch)) {
            seen = at_start(seen, on, *begins);
        }
        let mut row = Row::new(touch.area(), touch.name(&subject.plan_dir), seen);
        row.steps = steps.iter().map(|step| subject.graph.name(*step)).collect();
        rows.push(row);
    }
    for rooms in rooms.values() {
        if let (Some(seen), Some(first)) = (fits(rooms), rooms.first()) {
            rows.push(Row::new("room", first.directory.display().to_string(), seen));
        }
    }
    rows.sort_by(|one, other| (place(one.area), &one.name).cmp(&(place(other.area), &other.name)));
    rows
}

/// The order of the headings.
fn place(area: &str) -> usize {
    const ORDER: [&str; 11] = [
        "steps",
        "commands",
        "notices",
        "channels",
        "servers",
        "edges",
        "databases",
        "room",
        "orders",
        "roles",
        "providers",
    ];
    ORDER.iter().position(|known| *known == area).unwrap_or(ORDER.len())
}

/// Holds the state of a switch against what the plan begins with.
fn at_start(seen: Seen, on: bool, begins: bool) -> Seen {
    if on == begins {
        return seen;
    }
    let word = |on: bool| if on { "on" } else { "off" };
    let what = format!("it is {}, and the plan begins with it {}", word(on), word(begins));
    Seen::fault(what).hint(format!(
        "turn it {}, or say in the plan who serves and holds at the start (`providers`, `holder`)",
        word(begins)
    ))
}
