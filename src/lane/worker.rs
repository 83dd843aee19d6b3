//! The hands of the emergency lane: brings accepted revocations to every site of their line, asks
//! every serving provider until it publishes them, and writes down each step.
//!
//! Works beside a runner and without one: all it knows of a run is a [`View`] that someone keeps
//! up to date. What is to be done, the fold says (`revocation`); two workers at once do no harm. Not
//! known here: graph, run, who may order what.
//!
//! Beside a runner: [`Worker::spawn`] with the receiver of a `watch` channel of [`View`], into which
//! the runner puts its newest record, who serves, and what touches which site. Without one:
//! [`Worker::new`] and [`Worker::until_confirmed`]. Orders come in by `admit::accept`, from any process.

use super::ask::{Issuers, Says, is_asked};
use super::file::LaneFile;
use super::rows::{self, Brought};
use crate::estate::Estate;
use crate::event::{Person, Seq};
use crate::journal::JournalError;
use crate::journal::rundir::RunDir;
use crate::revocation::{
    Certificate, Entry, Lane, Order, Reason, Said, Scene, Stage, Terms, Touch, Until, Want,
};
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How often the lane's file is looked at for orders of other processes.
const LOOK: Duration = Duration::from_millis(100);
/// Between two attempts at what did not succeed.
const AGAIN: Duration = Duration::from_millis(200);
/// How often it is looked whether a site has come to have a line, when nothing else tells.
const LOOK_AT_SITES: Duration = Duration::from_secs(1);
/// How often confirmed revocations are asked for again.
const SWEEP: Duration = Duration::from_secs(5);
/// Providers asked at once.
const AT_ONCE: usize = 16;

/// What the worker has to know of a run. The last value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The newest durable record of the run; what the worker writes down is as of it. The number of a
    /// record that is not durable yet may be given again after a crash, to one that touches a site anew.
    pub seq: Seq,
    /// Line to the full names of the providers that clients are sent to; those of other services
    /// than `ocsp` and `crl` are passed over. A line that is left out is never confirmed.
    pub serving: BTreeMap<String, BTreeSet<String>>,
    /// What touched which site: see [`View::started`] and [`View::ended`].
    pub touches: Vec<Touch>,
    /// How often it was asked to be told of every line anew, changed or not: who has found something
    /// unconfirmed himself waits for word, though it may be confirmed at the worker's next look.
    pub asked: u64,
}

impl View {
    /// What is known of a run whose runner is gone, by its newest record: whatever it had begun may
    /// have lost a revocation anywhere, so nothing that was seen before counts. Who serves is to be
    /// added.
    pub fn after_a_runner(estate: &Estate, lines: &[&str], seq: Seq) -> Self {
        let mut view = Self { seq, ..Self::default() };
        for line in lines {
            view.serving.insert((*line).to_owned(), BTreeSet::new());
            for site in estate.sites.keys() {
                let (line, site) = ((*line).to_owned(), site.clone());
                view.touches.push(Touch { line, site, seq, until: Until::Ended });
            }
        }
        view
    }

    /// A job that could lose a revocation at the site (restore, transfer, its undo, switch, start of
    /// a provider) has started, by this record.
    pub fn started(&mut self, line: &str, site: &str, seq: Seq) {
        let (line, site) = (line.to_owned(), site.to_owned());
        self.touches.push(Touch { line, site, seq, until: Until::Running });
    }

    /// The job that was started by record `started` has ended, by this record. Without a runner a
    /// job that has no end in the journal counts as ended by its start: whoever resumes will touch
    /// the site again.
    pub fn ended(&mut self, line: &str, site: &str, started: Seq, seq: Seq) {
        let mut newest = seq;
        self.touches.retain(|touch| {
            let here = touch.line == line && touch.site == site;
            let over = touch.until == Until::Ended || touch.seq == started;
            if here && over {
                newest = newest.max(touch.seq);
            }
            !(here && over)
        });
        let (line, site) = (line.to_owned(), site.to_owned());
        self.touches.push(Touch { line, site, seq: newest, until: Until::Ended });
    }

    /// Records up to this one are durable. Says whether that touched anything: then there is work.
    pub fn became_durable(&mut self, seq: Seq) -> bool {
        let before = self.seq;
        self.seq = before.max(seq);
        self.touches.iter().any(|touch| touch.seq > before && touch.seq <= self.seq)
    }
}

/// What the worker tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneSaid {
    /// Whether all accepted revocations of the line are confirmed and none is suspect. Told at every
    /// change, and after every touch of a line that has any.
    Line {
        /// The line.
        line: String,
        /// All confirmed.
        clear: bool,
        /// The newest record of the run that this takes into account.
        as_of: Seq,
    },
    /// An entry of the lane's journal that is new to this worker; durable.
    Entry(Entry),
    /// Something does not succeed and is tried again: said once for each reason.
    Trouble(String),
    /// The lane's file failed: nothing more is done by this worker.
    Lost(String),
}

/// What a worker works on.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The run.
    pub dir: RunDir,
    /// Where databases and providers are.
    pub estate: Arc<Estate>,
}

/// The emergency lane's worker.
#[derive(Debug)]
pub struct Worker {
    setup: Setup,
    file: LaneFile,
    view: watch::Receiver<View>,
    say: mpsc::UnboundedSender<LaneSaid>,
    /// Sites seen to have a line: they stay targets, whatever becomes of them.
    sites: BTreeMap<String, BTreeSet<String>>,
    /// When, for which lines and touches the sites were looked at last.
    looked: Option<(Instant, BTreeSet<String>, Vec<Touch>)>,
    issuers: Issuers,
    /// What was last told of a line: clear or not, and as of which of the records that touched it.
    told: BTreeMap<String, (bool, Seq)>,
    /// [`View::asked`] as it was last answered.
    answered: u64,
    troubles: BTreeSet<String>,
    swept: Instant,
    shared: Arc<Mutex<Scene>>,
}

/// A worker on a thread of its own. Ends when the sender of its view is dropped.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    shared: Arc<Mutex<Scene>>,
}

impl WorkerHandle {
    /// The scene of the worker's last turn: for `Lane::is_clear`, `stage`, `may_serve`.
    pub fn scene(&self) -> Scene {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Worker {
    /// Opens the lane of a run. Nothing is done yet.
    ///
    /// # Errors
    /// The lane's file cannot be opened or is damaged.
    pub fn new(
        setup: Setup,
        view: watch::Receiver<View>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<LaneSaid>), JournalError> {
        let file = LaneFile::open(&setup.dir)?;
        let (say, said) = mpsc::unbounded_channel();
        let worker = Self {
            setup,
            file,
            view,
            say,
            sites: BTreeMap::new(),
            looked: None,
            issuers: Issuers::default(),
            told: BTreeMap::new(),
            answered: 0,
            troubles: BTreeSet::new(),
            swept: Instant::now(),
            shared: Arc::default(),
        };
        Ok((worker, said))
    }

    /// Opens the lane and works on a thread of its own (its appends wait for the lane's lock, which
    /// the runner may hold) until the sender of `view` is dropped.
    ///
    /// # Errors
    /// As [`Worker::new`], or that there is no thread to be had.
    pub fn spawn(
        setup: Setup,
        view: watch::Receiver<View>,
    ) -> Result<(WorkerHandle, mpsc::UnboundedReceiver<LaneSaid>), JournalError> {
        let (worker, said) = Self::new(setup, view)?;
        let handle = WorkerHandle { shared: Arc::clone(&worker.shared) };
        let failed = |error| JournalError::io("starting the emergency lane".to_owned(), error);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        std::thread::Builder::new()
            .name("lane".to_owned())
            .spawn(move || runtime.block_on(worker.run()))
            .map_err(failed)?;
        Ok((handle, said))
    }

    /// Works until the sender of the view is dropped or the file fails (which is told). Cancel-safe:
    /// whatever was not written down is done again by the next worker.
    pub async fn run(mut self) {
        loop {
            let idle = match self.turn().await {
                Ok(idle) => idle,
                Err(error) => {
                    self.tell(LaneSaid::Lost(error.to_string()));
                    return;
                }
            };
            let pause = if idle { LOOK } else { AGAIN };
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Works until a revocation is confirmed, or the time is over. For `cutover revoke` without a
    /// runner.
    ///
    /// # Errors
    /// The lane's file failed.
    pub async fn until_confirmed(
        &mut self,
        certificate: &Certificate,
        timeout: Duration,
    ) -> Result<Option<Stage>, JournalError> {
        let deadline = Instant::now() + timeout;
        loop {
            self.turn().await?;
            let stage = self.file.lane().stage(certificate, &self.scene());
            if stage == Some(Stage::Confirmed) || Instant::now() >= deadline {
                return Ok(stage);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The fold, as far as it was read.
    pub fn lane(&self) -> &Lane {
        self.file.lane()
    }

    /// The world as the last turn saw it.
    pub fn scene(&self) -> Scene {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does once everything that is to be done now: rows, then answers, then conclusions. True when
    /// nothing is left.
    ///
    /// # Errors
    /// The lane's file failed.
    pub async fn turn(&mut self) -> Result<bool, JournalError> {
        for entry in self.file.poll()? {
            self.tell(LaneSaid::Entry(entry));
        }
        let view = self.view.borrow_and_update().clone();
        let scene = self.set_scene(&view).await?;
        self.tell_lines(&scene, &view);
        let mut wants = self.file.lane().wanted(&scene);
        if wants.iter().any(|want| matches!(want, Want::Apply { .. })) {
            self.apply(&wants, view.seq).await?;
            wants = self.file.lane().wanted(&scene);
        }
        // Whatever else is wanted, perhaps for long: what is confirmed stays looked after.
        let calm = self.sweep(&scene).await?;
        if wants.is_empty() {
            return Ok(calm);
        }
        self.confirm(&wants, view.seq).await?;
        self.conclude(&scene, view.seq)?;
        self.tell_lines(&scene, &view);
        Ok(self.file.lane().wanted(&scene).is_empty())
    }

    /// The scene: the run's view, and the sites that have the lines of which revocations are wanted.
    async fn set_scene(&mut self, view: &View) -> Result<Scene, JournalError> {
        let lines = self.lines();
        let is_new = self.looked.as_ref().is_none_or(|(at, looked, touches)| {
            at.elapsed() >= LOOK_AT_SITES || *looked != lines || *touches != view.touches
        });
        if is_new {
            self.look_at_sites(&lines).await?;
            self.looked = Some((Instant::now(), lines, view.touches.clone()));
        }
        let serving = view.serving.iter().map(|(line, providers)| {
            let asked = providers.iter().filter(|provider| is_asked(provider)).cloned();
            (line.clone(), asked.collect())
        });
        let scene = Scene {
            sites: self.sites.clone(),
            serving: serving.collect(),
            touches: view.touches.clone(),
        };
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = scene.clone();
        Ok(scene)
    }

    /// Lines of which revocations are wanted.
    fn lines(&self) -> BTreeSet<String> {
        self.lane().revocations().map(|(certificate, _)| certificate.line.clone()).collect()
    }

    async fn look_at_sites(&mut self, lines: &BTreeSet<String>) -> Result<(), JournalError> {
        let mut unknown = Vec::new();
        for line in lines {
            for (site, database) in rows::sites(&self.setup.estate, line) {
                if !self.sites.get(line).is_some_and(|sites| sites.contains(site)) {
                    unknown.push((line.clone(), site.to_owned(), database.clone()));
                }
            }
        }
        let look = |(line, site, database)| (line, site, rows::has_line(&database));
        let found: Vec<_> = blocking(move || unknown.into_iter().map(look).collect()).await?;
        for (line, site, has) in found {
            match has {
                Ok(true) => {
                    self.sites.entry(line).or_default().insert(site);
                }
                Ok(false) => {}
                // It may have the line: it stays a target until it can be read.
                Err(why) => {
                    self.trouble(format!("{line} at {site}: {why}"));
                    self.sites.entry(line).or_default().insert(site);
                }
            }
        }
        Ok(())
    }

    fn tell_lines(&mut self, scene: &Scene, view: &View) {
        let (as_of, mut lines) = (view.seq, self.lines());
        if self.answered != view.asked {
            self.answered = view.asked;
            self.told.clear();
            // Those without a revocation, too: whoever asked may hold them for unconfirmed.
            lines.extend(view.serving.keys().cloned());
        }
        for line in lines {
            let clear = self.lane().is_clear(&line, scene);
            let here = scene.touches.iter().filter(|touch| touch.line == line);
            let touched = here.map(|touch| touch.seq).max().unwrap_or(0).min(as_of);
            if self.told.get(&line) != Some(&(clear, touched)) {
                self.told.insert(line.clone(), (clear, touched));
                self.tell(LaneSaid::Line { line, clear, as_of });
            }
        }
    }

    /// Brings rows to their terms, all databases one after the other, and writes down what was done.
    async fn apply(&mut self, wants: &[Want], as_of: Seq) -> Result<(), JournalError> {
        let wanted: Vec<(Certificate, String, Terms)> = wants
            .iter()
            .filter_map(|want| match want {
                Want::Apply { certificate, site, terms, .. } => {
                    Some((certificate.clone(), site.clone(), *terms))
                }
                _ => None,
            })
            .collect();
        let estate = Arc::clone(&self.setup.estate);
        let done = blocking(move || {
            let bring = |(certificate, site, terms): (Certificate, String, Terms)| {
                let database = estate.sites.get(&site)?.databases.get(&certificate.line)?;
                let brought = rows::bring(database, &certificate, terms);
                Some((certificate, site, terms, brought))
            };
            wanted.into_iter().filter_map(bring).collect::<Vec<_>>()
        })
        .await?;
        let mut said = Vec::new();
        for (certificate, site, terms, brought) in done {
            let absent = match brought {
                Ok(Brought::There) => false,
                Ok(Brought::Absent) => true,
                Ok(Brought::Earlier { at, reason }) => {
                    said.extend(self.adopt(&certificate, &site, at, reason));
                    continue;
                }
                Err(why) => {
                    self.trouble(format!("{certificate} at {site}: {why}"));
                    continue;
                }
            };
            said.push(Said::Applied { certificate, site, terms, absent, as_of });
        }
        self.write(said)
    }

    /// A row that was revoked before our order, by somebody else: its time stands, for all sites.
    fn adopt(
        &self,
        certificate: &Certificate,
        site: &str,
        at: i64,
        reason: Reason,
    ) -> Option<Said> {
        let at = Timestamp::from_second(at).ok()?;
        let received_at = match reason {
            // The clock of the order goes on; only the time of revocation is the earlier one.
            Reason::KeyCompromise => self.lane().get(certificate)?.received_at()?,
            _ => at,
        };
        let by = Person { login: format!("database of {site}"), uid: 0, groups: Vec::new() };
        let certificate = certificate.clone();
        let compromised_at = (reason == Reason::KeyCompromise).then_some(at);
        Some(Said::Accepted(Order { certificate, reason, received_at, compromised_at, by }))
    }

    /// Asks the providers, many at once, and writes down who publishes what.
    async fn confirm(&mut self, wants: &[Want], as_of: Seq) -> Result<(), JournalError> {
        let mut of: Questions = BTreeMap::new();
        for want in wants {
            if let Want::Confirm { certificate, provider, terms } = want {
                let key = (provider.clone(), certificate.line.clone());
                of.entry(key).or_default().push((certificate.clone(), *terms));
            }
        }
        let mut said = Vec::new();
        for (certificate, provider, terms, says) in self.ask(of).await? {
            match says {
                Says::Terms => {
                    said.push(Said::Published { certificate, provider, terms, as_of });
                }
                // Not yet: that is what is waited for.
                Says::Otherwise(_) => {}
                Says::Nothing(why) => self.trouble(format!("{provider}: {why}")),
            }
        }
        self.write(said)
    }

    /// Asks everybody at once. An order that comes meanwhile does not wait for a provider that hangs:
    /// then only what came until there is answered.
    async fn ask(&mut self, of: Questions) -> Result<Vec<Answered>, JournalError> {
        let mut asks = Vec::new();
        for ((name, line), certificates) in of {
            match self.issuers.provider(&self.setup.estate, &name, &line) {
                Ok(provider) => asks.push((name, provider, certificates)),
                Err(why) => self.trouble(why),
            }
        }
        let mut answers = stream::iter(asks)
            .map(|(name, provider, certificates)| async move {
                let answers = provider.ask(&certificates).await;
                (name, certificates, answers)
            })
            .buffer_unordered(AT_ONCE);
        let mut all = Vec::new();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let (name, certificates, answers) = tokio::select! {
                next = answers.next() => match next {
                    Some(answered) => answered,
                    None => return Ok(all),
                },
                _ = look.tick() => {
                    let entries = self.file.poll()?;
                    let is_order = |entry: &Entry| matches!(entry.said, Said::Accepted(_));
                    let ordered = entries.iter().any(is_order);
                    self.tell_entries(entries);
                    if ordered {
                        return Ok(all);
                    }
                    continue;
                }
            };
            for ((certificate, terms), says) in certificates.into_iter().zip(answers) {
                all.push((certificate, name.clone(), terms, says));
            }
        }
    }

    fn conclude(&mut self, scene: &Scene, as_of: Seq) -> Result<(), JournalError> {
        // Under the lock, on everything that anyone wrote: an order that came just now counts.
        let entries = self.file.append(Timestamp::now(), |lane| {
            let wanted = lane.wanted(scene).into_iter();
            let done = wanted.filter_map(|want| match want {
                Want::Conclude { certificate } => Some(Said::Confirmed { certificate, as_of }),
                _ => None,
            });
            done.collect()
        })?;
        self.tell_entries(entries);
        Ok(())
    }

    /// Asks the serving providers for what is confirmed: once revoked, always revoked.
    async fn sweep(&mut self, scene: &Scene) -> Result<bool, JournalError> {
        if self.swept.elapsed() < SWEEP {
            return Ok(true);
        }
        self.swept = Instant::now();
        let mut of: Questions = BTreeMap::new();
        for (certificate, revocation) in self.file.lane().revocations() {
            let (Some(terms), Some(Stage::Confirmed)) =
                (revocation.terms(), self.file.lane().stage(certificate, scene))
            else {
                continue;
            };
            for provider in scene.serving.get(&certificate.line).into_iter().flatten() {
                let key = (provider.clone(), certificate.line.clone());
                of.entry(key).or_default().push((certificate.clone(), terms));
            }
        }
        let mut said = Vec::new();
        for (certificate, provider, _, says) in self.ask(of).await? {
            if let Says::Otherwise(what) = says {
                said.push(Said::Lapsed { certificate, provider, what });
            }
        }
        let idle = said.is_empty();
        self.write(said)?;
        Ok(idle)
    }

    fn write(&mut self, said: Vec<Said>) -> Result<(), JournalError> {
        if said.is_empty() {
            return Ok(());
        }
        let entries = self.file.append(Timestamp::now(), |_| said)?;
        self.tell_entries(entries);
        Ok(())
    }

    fn tell_entries(&self, entries: Vec<Entry>) {
        for entry in entries {
            self.tell(LaneSaid::Entry(entry));
        }
    }

    fn trouble(&mut self, what: String) {
        if self.troubles.insert(what.clone()) {
            self.tell(LaneSaid::Trouble(what));
        }
    }

    fn tell(&self, what: LaneSaid) {
        // Nobody listens only when the process is on its way out.
        let _ = self.say.send(what);
    }
}

/// Provider and line to what it is asked about.
type Questions = BTreeMap<(String, String), Vec<(Certificate, Terms)>>;

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JournalError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        JournalError::io("reading the databases".to_owned(), io::Error::other(error))
    })
}

/// Certificate, provider, what it must answer, and what it did.
type Answered = (Certificate, String, Terms, Says);
