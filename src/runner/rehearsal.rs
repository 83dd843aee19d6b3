//! The people of a rehearsal: it opens gates, does manual steps and asks for emergency revocations
//! by itself, through the same door as anyone.
//!
//! Not known here: whether a request is admitted. Questions about failures, doubts and breaches are
//! left to people: a rehearsal that answered them would rehearse nothing.

use super::inbox::{Answered, Door, News};
use super::start::Runner;
use super::{clock::Clock, deed};
use crate::estate::{Database, Estate};
use crate::event::{Event, Job, LineId, Person, Record, Request, StepId, Way};
use crate::graph::Graph;
use crate::guard::Serial;
use crate::guard::cert::Sentinel;
use crate::lane::{self, file::LaneFile};
use crate::plan::{Kind, Work};
use crate::revocation::{Certificate, Order, Reason, Said};
use crate::run::{Cause, Run, Status};
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Steps during which an emergency is rehearsed.
const EMERGENCIES: [Kind; 3] = [Kind::Transfer, Kind::Switch, Kind::Upgrade];

/// How often a request of the driver may be refused before it leaves the step to people.
const PATIENCE: u32 = 3;

/// What the driver does.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Draws persons and certificates; the same seed draws the same.
    pub seed: u64,
    /// Open gates and do manual steps; not with `--ask`.
    pub answer: bool,
    /// Emergency revocations to ask for.
    pub revocations: u32,
}

/// What the driver did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Certificates that it asked to revoke.
    pub revocations: Vec<Certificate>,
    /// Gates that it approved, and manual steps that it did.
    pub answered: u32,
}

/// Plays the people of a rehearsal until the runner has ended. To be called before the runner runs.
pub fn play(runner: &Runner, script: Script) -> JoinHandle<Played> {
    let door = runner.door();
    let news = door.listen();
    let driver = Driver::new(door, runner.run_so_far().clone(), runner.estate().cloned(), script);
    tokio::spawn(driver.play(news))
}

struct Driver {
    door: Door,
    /// A fold of its own: the driver sees what any watcher sees.
    run: Run,
    estate: Option<Arc<Estate>>,
    script: Script,
    chance: fastrand::Rng,
    /// Kinds that emergencies still wait for, each with the slot that it fills.
    wanted: Vec<Kind>,
    refused: BTreeMap<StepId, u32>,
    sentinels: BTreeSet<Vec<u8>>,
    played: Played,
}

impl Driver {
    fn new(door: Door, run: Run, estate: Option<Arc<Estate>>, script: Script) -> Self {
        let graph = Arc::clone(run.graph());
        let sentinels = estate.as_deref().map(sentinels).unwrap_or_default();
        // A rehearsal that was taken up again has asked for some already.
        let asked = lane::file::read(&door.run_dir).map_or(0, |(_, l)| l.revocations().count());
        let asked = u32::try_from(asked).unwrap_or(u32::MAX);
        Self {
            wanted: emergencies(&graph, script.revocations)
                .iter()
                .skip(asked as usize)
                .copied()
                .collect(),
            chance: fastrand::Rng::with_seed(script.seed),
            door,
            run,
            estate,
            script,
            refused: BTreeMap::new(),
            sentinels,
            played: Played::default(),
        }
    }

    async fn play(mut self, mut news: mpsc::UnboundedReceiver<News>) -> Played {
        self.answer().await;
        while let Some(first) = news.recv().await {
            let mut next = Some(first);
            while let Some(word) = next {
                if let News::Record(record) = &word {
                    self.take(record).await;
                }
                next = news.try_recv().ok();
            }
            if self.run.outcome().is_some() {
                break;
            }
            self.answer().await;
        }
        self.played
    }

    async fn take(&mut self, record: &Record) {
        // The record that opened a resumed run stands in the copy already.
        if record.seq <= self.run.seq() {
            return;
        }
        if let Err(impossible) = self.run.apply(record) {
            tracing::error!(why = impossible.0, "the rehearsal's people lost the thread");
            return;
        }
        if let Event::Started(job) = &record.event {
            self.emergency(*job).await;
        }
    }

    /// Opens what waits for people, and does what people are to do.
    async fn answer(&mut self) {
        if !self.script.answer {
            return;
        }
        let graph = Arc::clone(self.run.graph());
        for step in gates(&graph) {
            let open = self.run.status(step) == Status::Clean
                && !self.run.is_out(step)
                && self.run.waits_for(step) == [Cause::People];
            if open && self.may_try(step) {
                self.approve(&graph, step).await;
            }
        }
        let manual: Vec<_> =
            self.run.running().filter(|job| deed::is_manual(&graph, *job)).collect();
        for job in manual {
            if self.may_try(job.step) {
                self.do_by_hand(&graph, job).await;
            }
        }
    }

    fn may_try(&self, step: StepId) -> bool {
        self.refused.get(&step).is_none_or(|refused| *refused < PATIENCE)
    }

    async fn approve(&mut self, graph: &Graph, step: StepId) {
        let Work::Ask(gate) = &graph.def(step).work else { return };
        let groups: Vec<_> = gate.by.iter().map(|group| group.value.clone()).collect();
        let people = self.people(&groups, gate.quorum);
        for who in people {
            let note = "rehearsed".to_owned();
            if !self.ask(step, who, Request::Approve { step, note }).await {
                return;
            }
        }
        // A quorum that these people do not make is left to others after a few attempts.
        *self.refused.entry(step).or_default() += 1;
        self.played.answered += 1;
    }

    async fn do_by_hand(&mut self, graph: &Graph, job: Job) {
        let step = job.step;
        let Some((groups, people)) = deed::manual_people(graph, job) else { return };
        let people = self.people(&groups, people.max(1));
        if let Some(first) = people.first() {
            // Whether it must be claimed first is the core's to say.
            let _ = self.door.ask(first.clone(), Request::Claim { step }).await;
        }
        for who in people {
            let evidence = "rehearsed".to_owned();
            if !self.ask(step, who, Request::Finish { step, evidence }).await {
                return;
            }
        }
        *self.refused.entry(step).or_default() += 1;
        self.played.answered += 1;
    }

    async fn ask(&mut self, step: StepId, who: Person, what: Request) -> bool {
        match self.door.ask(who, what).await {
            Answered::Recorded(_) => true,
            Answered::Refused(refusal) => {
                tracing::debug!(why = refusal.why, "a request of the rehearsal was refused");
                *self.refused.entry(step).or_default() += 1;
                false
            }
        }
    }

    /// Different people: one of each group, then as many as are wanted from any of them.
    fn people(&mut self, groups: &[String], count: u32) -> Vec<Person> {
        let everyone = Arc::clone(&self.door.people);
        let mut logins: Vec<String> = Vec::new();
        let mut draw = |from: &mut Vec<&String>, chance: &mut fastrand::Rng| {
            from.retain(|login| !logins.contains(login));
            if let Some(place) = (!from.is_empty()).then(|| chance.usize(..from.len())) {
                logins.push(from[place].clone());
            }
            logins.len()
        };
        for group in groups {
            let mut members = everyone.get(group).map(|l| l.iter().collect()).unwrap_or_default();
            draw(&mut members, &mut self.chance);
        }
        let of_these = |group: &String| groups.is_empty() || groups.contains(group);
        let members = everyone.iter().filter(|(group, _)| of_these(group));
        let mut members: Vec<_> = members.flat_map(|(_, logins)| logins).collect();
        for _ in 0..count {
            let drawn = draw(&mut members, &mut self.chance);
            if drawn >= count as usize || members.is_empty() {
                break;
            }
        }
        logins.into_iter().map(|login| self.person(login)).collect()
    }

    fn person(&self, login: String) -> Person {
        let has = |logins: &Vec<String>| logins.contains(&login);
        let groups = self.door.people.iter().filter(|(_, l)| has(l)).map(|(g, _)| g.clone());
        let groups = groups.collect();
        Person { uid: rustix::process::getuid().as_raw(), groups, login }
    }

    /// Asks for a revocation when a step of the next wanted kind has begun.
    async fn emergency(&mut self, job: Job) {
        let graph = Arc::clone(self.run.graph());
        let kind = graph.kind(job.step);
        if job.way != Way::Do {
            return;
        }
        // A runner that died may have missed the last start of a kind: then any step will do.
        let fits = |wanted: &Kind| *wanted == kind || !self.still_starts(&graph, *wanted);
        let Some(place) = self.wanted.iter().position(fits) else { return };
        let Some(line) = graph.line(job.step).or_else(|| self.some_line(&graph)) else { return };
        let line = graph.line_name(line).to_owned();
        match self.revoke(&line).await {
            Ok(certificate) => {
                self.wanted.remove(place);
                self.played.revocations.push(certificate);
            }
            // A line without a database at hand: the next step may have one.
            Err(error) => tracing::warn!("no revocation of `{line}` is rehearsed: {error:#}"),
        }
    }

    /// Whether a step of this kind never started yet.
    fn still_starts(&self, graph: &Graph, kind: Kind) -> bool {
        graph.steps().any(|step| {
            graph.kind(step) == kind
                && !self.run.is_out(step)
                && self.run.status(step) == Status::Clean
        })
    }

    fn some_line(&mut self, graph: &Graph) -> Option<LineId> {
        let count = u32::try_from(graph.line_count()).ok().filter(|count| *count > 0)?;
        Some(LineId(self.chance.u32(..count)))
    }

    async fn revoke(&mut self, line: &str) -> anyhow::Result<Certificate> {
        let database = self
            .estate
            .as_deref()
            .and_then(|estate| database(estate, line))
            .ok_or_else(|| anyhow::anyhow!("no site has its database in a file"))?;
        let avoid: BTreeSet<Vec<u8>> = {
            let asked = self.played.revocations.iter().map(|certificate| &certificate.serial);
            let asked = asked.filter_map(|serial| Serial::from_hex(serial));
            asked.map(|serial| serial.bytes().to_vec()).chain(self.sentinels.clone()).collect()
        };
        let by = self.people(&[], 1).pop().unwrap_or_else(|| self.person("rehearsal".to_owned()));
        let reason = if self.chance.bool() { Reason::KeyCompromise } else { Reason::Superseded };
        let (line, start) = (line.to_owned(), self.chance.u32(..));
        let lines: Vec<_> =
            self.run.graph().plan().lines.iter().map(|line| line.name.value.clone()).collect();
        let dir = self.door.run_dir.clone();
        tokio::task::spawn_blocking(move || {
            let certificate = draw(&database, line, start, &avoid)?;
            let received_at = Clock::system().now();
            let order = Order {
                certificate: certificate.clone(),
                reason,
                received_at,
                compromised_at: None,
                by,
            };
            LaneFile::open(&dir)?.append(received_at, |lane| {
                match lane.judge(&order, lines.iter().map(String::as_str)) {
                    Ok(()) => vec![Said::Accepted(order)],
                    Err(why) => vec![Said::Refused { order, why }],
                }
            })?;
            Ok(certificate)
        })
        .await?
    }
}

fn gates(graph: &Graph) -> Vec<StepId> {
    graph.steps().filter(|step| matches!(graph.def(*step).work, Work::Ask(_))).collect()
}

/// During which kinds of steps the emergencies are to happen: in turn those that the plan has.
fn emergencies(graph: &Graph, count: u32) -> Vec<Kind> {
    let has = |kind: &Kind| graph.steps().any(|step| graph.kind(step) == *kind);
    let kinds: Vec<_> = EMERGENCIES.into_iter().filter(has).collect();
    kinds.iter().cycle().take(if kinds.is_empty() { 0 } else { count as usize }).copied().collect()
}

/// The serials that the guard asks about: revoking a good one would be a false alarm.
fn sentinels(estate: &Estate) -> BTreeSet<Vec<u8>> {
    let all = &estate.sentinels;
    let files = all.good.iter().chain(&all.revoked).chain(&all.unissued);
    files.filter_map(|file| Some(Sentinel::read(file).ok()?.serial.bytes().to_vec())).collect()
}

/// The file of a line's database, at the old site where it is first.
fn database(estate: &Estate, line: &str) -> Option<PathBuf> {
    estate.sites.values().find_map(|site| match site.databases.get(line)?.value {
        Database::Sqlite(ref path) if path.exists() => Some(path.clone()),
        _ => None,
    })
}

/// A good certificate of the line that is not to be avoided.
fn draw(
    database: &PathBuf,
    line: String,
    start: u32,
    avoid: &BTreeSet<Vec<u8>>,
) -> anyhow::Result<Certificate> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let good = "FROM certificates WHERE status = 'good'";
    let count: u32 = connection.query_row(&format!("SELECT count(*) {good}"), [], |r| r.get(0))?;
    anyhow::ensure!(count > 0, "`{}` holds no good certificate", database.display());
    let query = format!("SELECT serial {good} ORDER BY serial LIMIT 64 OFFSET ?1");
    let mut statement = connection.prepare(&query)?;
    for offset in [start % count, 0] {
        let serials = statement.query_map([offset], |row| row.get::<_, String>(0))?;
        for serial in serials {
            let serial = serial?;
            let avoided = Serial::from_hex(&serial).is_none_or(|s| avoid.contains(s.bytes()));
            if !avoided {
                return Certificate::new(line, &serial).map_err(anyhow::Error::msg);
            }
        }
    }
    anyhow::bail!("`{}` holds no good certificate that may be revoked", database.display())
}
