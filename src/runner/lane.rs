//! The emergency lane, as the loop sees it: what the worker must know of the run, what it says, and
//! the lock under which a verify, a go-live or a reopen starts.
//!
//! Not known here: how a revocation is applied or confirmed.

use super::inbox::Letter;
use crate::action::Action;
use crate::estate::Estate;
use crate::event::{Event, Job, LineId, Record, Seq, StepId, Way};
use crate::graph::Graph;
use crate::journal::JournalError;
use crate::journal::replay::Follow;
use crate::journal::rundir::RunDir;
use crate::lane::file::{Held, LaneFile};
use crate::lane::worker::{LaneSaid, Setup, View, Worker, WorkerHandle};
use crate::plan::template::Template;
use crate::plan::{Kind, Work};
use crate::revocation::{Certificate, Touch};
use crate::run::Run;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, watch};

/// What the lane's lock says to a start that must not race with an order.
pub(super) enum Hold {
    /// Every revocation of the line is confirmed, and none can be ordered until this is dropped.
    Clear(Option<Arc<Held>>),
    /// Of these lines one is not confirmed. The worker was asked for word of every line.
    Pending(Vec<LineId>),
    /// Somebody writes just now: ask again in a moment.
    Busy,
}

/// The way to the emergency lane. Without lines or an estate there is none, and everything is clear.
#[derive(Default)]
pub(super) struct LaneLink {
    inner: Option<Inner>,
}

struct Inner {
    graph: Arc<Graph>,
    /// Line to the sites that have a database of it, by the estate.
    sites: BTreeMap<String, BTreeSet<String>>,
    view: watch::Sender<View>,
    handle: WorkerHandle,
    file: LaneFile,
    held: Weak<Held>,
    /// Jobs that touch data or answers and have not ended, each with its first record.
    open: BTreeMap<Job, Seq>,
}

impl fmt::Debug for LaneLink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LaneLink").field("is_there", &self.inner.is_some()).finish()
    }
}

impl LaneLink {
    /// Starts the lane's worker for a run as far as it has come; `so_far` are the records that the
    /// loop is not told of any more, of which those up to `durable` are.
    ///
    /// # Errors
    /// The lane's file cannot be used.
    pub(super) fn start(
        run: &Run,
        estate: &Arc<Estate>,
        run_dir: &RunDir,
        durable: Seq,
        inbox: mpsc::UnboundedSender<Letter>,
    ) -> Result<Self, JournalError> {
        let graph = Arc::clone(run.graph());
        if graph.line_count() == 0 {
            return Ok(Self::default());
        }
        let view = View { seq: durable, serving: serving(run), ..View::default() };
        let (view, for_worker) = watch::channel(view);
        let setup = Setup { dir: run_dir.clone(), estate: Arc::clone(estate) };
        let (handle, said) = Worker::spawn(setup, for_worker)?;
        let sites = sites(&graph, estate);
        let file = LaneFile::open(run_dir)?;
        let (held, open) = (Weak::new(), BTreeMap::new());
        let mut inner = Inner { graph, sites, view, handle, file, held, open };
        inner.catch_up(run_dir)?;
        tokio::spawn(hear(Arc::clone(&inner.graph), said, inbox));
        Ok(Self { inner: Some(inner) })
    }

    /// Tells the worker what a record means for it.
    pub(super) fn follow(&mut self, run: &Run, record: &Record) {
        if let Some(inner) = &mut self.inner {
            inner.follow(record);
            let now = serving(run);
            inner.view.send_if_modified(|view| {
                let changed = view.serving != now;
                view.serving = now;
                changed
            });
        }
    }

    /// Tells the worker how far the run's journal is durable.
    pub(super) fn became_durable(&self, seq: Seq) {
        if let Some(inner) = &self.inner {
            inner.view.send_if_modified(|view| view.became_durable(seq));
        }
    }

    /// Certificates of which a revocation was confirmed once.
    pub(super) fn confirmed(&self) -> Vec<Certificate> {
        let lane = self.inner.iter().flat_map(|inner| inner.file.lane().revocations());
        lane.filter(|(_, it)| it.confirmed_at().is_some()).map(|(it, _)| it.clone()).collect()
    }

    /// Holds the lane still, its tail read, for a step of this line (of every line without one).
    pub(super) fn hold(&mut self, line: Option<LineId>) -> Result<Hold, JournalError> {
        let Some(inner) = &mut self.inner else { return Ok(Hold::Clear(None)) };
        inner.hold(line)
    }
}

impl Inner {
    /// Folds the records of earlier runners: what they touched.
    fn catch_up(&mut self, run_dir: &RunDir) -> Result<(), JournalError> {
        let mut journal = Follow::open(run_dir)?;
        while let Some(record) = journal.next()? {
            self.follow(&record);
        }
        Ok(())
    }

    fn follow(&mut self, record: &Record) {
        let seq = record.seq;
        match &record.event {
            Event::Started(job) if self.touches(*job).next().is_some() => {
                let touched: Vec<_> = self.touches(*job).collect();
                self.open.insert(*job, seq);
                self.view.send_modify(|view| {
                    touched.iter().for_each(|(line, site)| view.started(line, site, seq));
                });
            }
            Event::Ended(job, _) => self.ended(*job, seq),
            // Whatever a dead runner had begun ended with it, in doubt.
            Event::Opened { .. } => {
                let left: Vec<_> = self.open.keys().copied().collect();
                left.into_iter().for_each(|job| self.ended(job, seq));
            }
            _ => {}
        }
    }

    fn ended(&mut self, job: Job, seq: Seq) {
        let Some(started) = self.open.remove(&job) else { return };
        let touched: Vec<_> = self.touches(job).collect();
        self.view.send_modify(|view| {
            touched.iter().for_each(|(line, site)| view.ended(line, site, started, seq));
        });
    }

    /// Line and site of everything that a job could lose a revocation at.
    fn touches(&self, job: Job) -> impl Iterator<Item = (String, String)> + use<> {
        let mut touched = BTreeSet::new();
        if job.way == Way::Check {
            return touched.into_iter();
        }
        let lines = self.lines_of(job.step);
        let mut add = |line: &str, site: &str| {
            touched.insert((line.to_owned(), site.to_owned()));
        };
        for (provider, _) in self.graph.effects(job.step) {
            let info = &self.graph.providers()[provider.index()];
            let site = site_of(&info.base);
            match info.line {
                Some(line) => add(self.graph.line_name(line), site),
                None => lines.iter().for_each(|line| add(line, site)),
            }
        }
        // The target by name where it stands in the plan, else every site: too many are safe.
        let to = target(&self.graph, job.step);
        if self.graph.kind(job.step) == Kind::Transfer || to.is_some() {
            for line in &lines {
                let sites = self.sites.get(line).into_iter().flatten();
                for site in sites.filter(|site| to.as_ref().is_none_or(|to| to == *site)) {
                    add(line, site);
                }
            }
        }
        touched.into_iter()
    }

    fn lines_of(&self, step: StepId) -> Vec<String> {
        match self.graph.line(step) {
            Some(line) => vec![self.graph.line_name(line).to_owned()],
            None => self.graph.plan().lines.iter().map(|line| line.name.value.clone()).collect(),
        }
    }

    fn hold(&mut self, line: Option<LineId>) -> Result<Hold, JournalError> {
        let held = match self.held.upgrade() {
            // Held since, so nobody has written since its tail was read.
            Some(held) => held,
            None => match self.file.try_hold()? {
                Some(held) => Arc::new(held),
                None => return Ok(Hold::Busy),
            },
        };
        let mut lines: Vec<_> = match line {
            Some(line) => vec![line],
            None => all_lines(&self.graph),
        };
        let name = |line: &LineId| self.graph.line_name(*line);
        let mut scene = self.handle.scene();
        {
            let view = self.view.borrow();
            let ordered = |line: &&str| self.file.lane().of_line(line).next().is_some();
            let mut ordered = lines.iter().map(name).filter(ordered);
            if ordered.any(|line| is_behind(line, &scene.touches, &view.touches)) {
                return Ok(Hold::Busy);
            }
            scene.touches = view.touches.clone();
            scene.serving = view.serving.clone();
        }
        lines.retain(|line| !self.file.lane().is_clear(name(line), &scene));
        if !lines.is_empty() {
            self.view.send_modify(|view| view.asked += 1);
            return Ok(Hold::Pending(lines));
        }
        self.held = Arc::downgrade(&held);
        Ok(Hold::Clear(Some(held)))
    }
}

/// Every line of a plan.
pub(super) fn all_lines(graph: &Graph) -> Vec<LineId> {
    let count = u32::try_from(graph.line_count()).expect("BUG: ids are 32 bits");
    (0..count).map(LineId).collect()
}

/// Whether the start of a step is one that waits for the emergency lane: a verify, a reopen, and a
/// gate that people go live by.
pub(super) fn awaits_lane(graph: &Graph, step: StepId) -> bool {
    match graph.kind(step) {
        Kind::Verify | Kind::Reopen => true,
        Kind::Gate => graph.is_point_of_no_return(step),
        _ => false,
    }
}

/// Line to the providers of OCSP and CRL that clients are sent to.
fn serving(run: &Run) -> BTreeMap<String, BTreeSet<String>> {
    let graph = run.graph();
    let lines = graph.plan().lines.iter().map(|line| line.name.value.clone());
    let mut serving: BTreeMap<String, BTreeSet<String>> =
        lines.map(|line| (line, BTreeSet::new())).collect();
    for (id, info) in (0..).map(crate::event::ProviderId).zip(graph.providers()) {
        let of_lane = info.base.starts_with("ocsp@") || info.base.starts_with("crl@");
        if !of_lane || !run.is_up_in_plan(id) {
            continue;
        }
        match info.line {
            Some(line) => {
                let names = serving.entry(graph.line_name(line).to_owned()).or_default();
                names.insert(info.name.clone());
            }
            None => serving.values_mut().for_each(|names| {
                names.insert(info.name.clone());
            }),
        }
    }
    serving
}

/// Line to the sites that have a database of it.
fn sites(graph: &Graph, estate: &Estate) -> BTreeMap<String, BTreeSet<String>> {
    let of = |line: &str| {
        let has = estate.sites.iter().filter(|(_, site)| site.databases.contains_key(line));
        has.map(|(name, _)| name.clone()).collect()
    };
    let lines = graph.plan().lines.iter().map(|line| line.name.value.clone());
    lines.map(|line| (line.clone(), of(&line))).collect()
}

/// Whether the worker has not seen yet what touched a line: it looks at a site anew after each touch,
/// and a copy that has just arrived is one more site at which the line's revocations must stand.
fn is_behind(line: &str, seen: &[Touch], all: &[Touch]) -> bool {
    let of = |touches: &[Touch]| -> BTreeSet<Touch> {
        touches.iter().filter(|touch| touch.line == line).cloned().collect()
    };
    of(seen) != of(all)
}

/// `ocsp@to/ocsp-1` stands at `to`.
fn site_of(base: &str) -> &str {
    let rest = base.split_once('@').map_or(base, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(site, _)| site)
}

/// The site that a transfer writes to, when the plan names it without a look-up.
fn target(graph: &Graph, step: StepId) -> Option<String> {
    use crate::plan::template::Piece;
    let text = |template: &Template| match template.pieces.as_slice() {
        [Piece::Text(text)] => Some(text.clone()),
        _ => None,
    };
    match &graph.def(step).work {
        Work::Act {
            act: Action::DatabaseTransfer(transfer) | Action::DatabaseDiscard(transfer),
            ..
        } => text(&transfer.to),
        _ => None,
    }
}

/// Passes on what the worker says, until it or the loop has ended.
async fn hear(
    graph: Arc<Graph>,
    mut said: mpsc::UnboundedReceiver<LaneSaid>,
    inbox: mpsc::UnboundedSender<Letter>,
) {
    while let Some(word) = said.recv().await {
        let letter = match word {
            LaneSaid::Line { line, clear, as_of } => match graph.find_line(&line) {
                Some(line) => Letter::Revocations { line, clear, as_of },
                None => continue,
            },
            LaneSaid::Entry(entry) => Letter::Lane(entry),
            LaneSaid::Trouble(what) => Letter::Note(format!("emergency lane: {what}")),
            LaneSaid::Lost(why) => Letter::Note(format!(
                "the emergency lane is lost: {why}; no line is verified or reopened any more"
            )),
        };
        if inbox.send(letter).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::Until;

    #[test]
    fn a_worker_is_behind_while_a_touch_of_the_line_is_new_to_it() {
        let touch = |line: &str, seq, until| {
            let (line, site) = (line.to_owned(), "to".to_owned());
            Touch { line, site, seq, until }
        };
        let running = touch("geotrust", 7, Until::Running);
        let ended = touch("geotrust", 9, Until::Ended);
        let other = touch("thawte", 8, Until::Ended);
        for (seen, all, behind) in [
            (vec![], vec![], false),
            (vec![], vec![running.clone()], true),
            (vec![running.clone()], vec![running.clone(), other.clone()], false),
            // A copy has arrived, and its site was not looked at since.
            (vec![running.clone()], vec![ended.clone(), other.clone()], true),
            (vec![other.clone(), ended.clone()], vec![ended, other], false),
        ] {
            assert_eq!(is_behind("geotrust", &seen, &all), behind, "{seen:?} {all:?}");
        }
    }
}
