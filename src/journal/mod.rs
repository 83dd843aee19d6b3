//! The durable, hash-chained log of a run.
//!
//! One thread owns the file: it takes all queued records, encodes them, chains them, writes once,
//! syncs once, and says how far it is durable. Appending never waits, so a loop can apply a record
//! at once and act when it is durable. Not known here: what events mean; only `replay` asks the core.

pub mod chain;
pub mod codec;
mod error;
pub mod lock;
mod plain;
pub mod replay;
pub mod rundir;
pub mod seal;
pub mod store;

pub use codec::FORMAT;
pub use error::{JournalError, Lost};

use crate::event::{Event, Header, Record, Seq};
use crate::graph::Graph;
use chain::Head;
use codec::{Names, Wire};
use jiff::Timestamp;
use lock::RunLock;
use replay::Replayed;
use rundir::RunDir;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use store::Store;
use tokio::sync::watch;

/// A batch is not made larger than this, so that one slow sync does not hold back a whole flood.
const BATCH: usize = 4 << 20;

/// A journal open for appending. Dropping it makes durable what was appended and gives the run's
/// lock back.
#[derive(Debug)]
pub struct Journal {
    /// Number of the newest record appended.
    seq: Seq,
    epoch: u64,
    back: Back,
    /// Appended and not yet handed to the writer: what one turn appends goes into one sync.
    turn: Vec<Record>,
    state: watch::Receiver<State>,
    /// What `synced` told last.
    told: Seq,
    ballast: bool,
}

#[derive(Debug)]
enum Back {
    Thread { queue: Option<Sender<Vec<Record>>>, thread: Option<JoinHandle<()>> },
    Memory { state: watch::Sender<State> },
}

#[derive(Clone, Debug, Default)]
struct State {
    durable: Seq,
    lost: Option<Lost>,
}

/// A run taken up again.
#[derive(Debug)]
pub struct Resumed {
    /// Open for appending; none when the run is closed, which ends everything that can be written.
    pub journal: Option<Journal>,
    /// The run as its journal tells it, the `Opened` of this runner applied.
    pub replayed: Replayed,
    /// The `Opened` of this runner, appended but perhaps not durable yet.
    pub opened: Option<Record>,
    /// A torn tail that was cut off, to be said.
    pub cut: Option<replay::Cut>,
}

impl Journal {
    /// Begins a run: takes the lock, writes the first record and lets `Opened` follow. Answers both
    /// records, to be applied; the first is durable.
    ///
    /// # Errors
    /// Another runner is there, a run is there already, or the directory cannot be written: nothing
    /// was done then.
    pub fn create(
        dir: &RunDir,
        graph: &Arc<Graph>,
        header: Header,
        at: Timestamp,
    ) -> Result<(Self, Vec<Record>), JournalError> {
        let names: Arc<dyn Names + Send + Sync> = graph.clone();
        Self::create_with(dir, names, header, at)
    }

    fn create_with(
        dir: &RunDir,
        names: Arc<dyn Names + Send + Sync>,
        header: Header,
        at: Timestamp,
    ) -> Result<(Self, Vec<Record>), JournalError> {
        dir.make()?;
        let (lock, _) = RunLock::take(dir, &header.by.login)?;
        let path = dir.journal();
        if path.symlink_metadata().is_ok() {
            return Err(JournalError::Exists { directory: dir.path().into() });
        }
        let begun = Record { seq: 1, at, event: Event::Begun(Box::new(header)) };
        let mut lines = Vec::new();
        let mut head = Head::NONE;
        head.push(&mut lines, at, 0, 0, &Wire::of(&begun.event, &*names));
        let ballast = store::lay_ballast(&dir.ballast())
            .map_err(|error| JournalError::io("laying the journal's ballast".into(), error))?;
        store::write_new(&path, &lines)
            .map_err(|error| JournalError::io(format!("writing `{}`", path.display()), error))?;
        // A name lives only when its directory is synced: the run's own as well.
        store::sync_names_above(dir.path())
            .map_err(|error| JournalError::io(format!("syncing `{}`", path.display()), error))?;
        let store = Store::open(dir, lines.len() as u64)?;
        let (journal, opened) = Self::start(store, lock, names, head, (0, at), ballast)?;
        Ok((journal, vec![begun, opened]))
    }

    /// Takes a run up again: takes the lock, reads the journal, cuts a torn tail, lets `Opened`
    /// follow.
    ///
    /// # Errors
    /// Another runner has it, no run is there, the journal is damaged, is a copy, or was written for
    /// another graph.
    pub fn resume(dir: &RunDir, person: &str, at: Timestamp) -> Result<Resumed, JournalError> {
        Self::reopen(dir, person, at, store::lay_ballast)
    }

    /// The same for what a person asks while no runner has the run: the room that is kept for a full
    /// disk may be used up, and is not laid anew.
    ///
    /// # Errors
    /// As [`Journal::resume`].
    pub fn reopen_for_request(
        dir: &RunDir,
        person: &str,
        at: Timestamp,
    ) -> Result<Resumed, JournalError> {
        Self::reopen(dir, person, at, |path| Ok(path.exists()))
    }

    fn reopen(
        dir: &RunDir,
        person: &str,
        at: Timestamp,
        reserve: fn(&Path) -> io::Result<bool>,
    ) -> Result<Resumed, JournalError> {
        if !dir.journal().exists() {
            return Err(JournalError::Absent { directory: dir.path().into() });
        }
        let (lock, before) = RunLock::take(dir, person)?;
        // Before anything is touched: recovery cuts.
        lock::refuse_copy(before.as_ref(), lock.holder(), dir)?;
        let (mut replayed, cut) = replay::recover(dir)?;
        let ballast = reserve(&dir.ballast())
            .map_err(|error| JournalError::io("laying the journal's ballast".into(), error))?;
        if replayed.run.outcome().is_some() {
            return Ok(Resumed { journal: None, replayed, opened: None, cut });
        }
        let store = Store::open(dir, replayed.bytes)?;
        let names: Arc<dyn Names + Send + Sync> = replayed.graph.clone();
        let bytes = cut.as_ref().map_or(0, |cut| cut.bytes);
        let (journal, opened) =
            Self::start(store, lock, names, replayed.head, (bytes, at), ballast)?;
        replayed.apply(&opened).map_err(|why| JournalError::Impossible { why })?;
        Ok(Resumed { journal: Some(journal), replayed, opened: Some(opened), cut })
    }

    /// A journal without a file, durable at once: for tests and simulated worlds, where a paused
    /// clock would run on while a real disk is waited for. Numbers go on after `seq`.
    pub fn memory(seq: Seq, epoch: u64) -> Self {
        let (sender, state) = watch::channel(State { durable: seq, lost: None });
        let (back, turn) = (Back::Memory { state: sender }, Vec::new());
        Self { seq, epoch, back, turn, state, told: seq, ballast: true }
    }

    fn start(
        mut store: Store,
        mut lock: RunLock,
        names: Arc<dyn Names + Send + Sync>,
        head: Head,
        (cut, at): (u64, Timestamp),
        ballast: bool,
    ) -> Result<(Self, Record), JournalError> {
        let epoch = head.epoch + 1;
        lock.sign(epoch, store.file())
            .map_err(|error| JournalError::io("signing the run's lock".into(), error))?;
        let holder = lock.holder().clone();
        store.keep(lock, epoch);
        let (queue, records) = mpsc::channel();
        let (durable, state) = watch::channel(State { durable: head.seq, lost: None });
        let writer = Writer { store, names, head, epoch, durable };
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(&records))
            .map_err(|error| JournalError::io("starting the journal's thread".into(), error))?;
        let back = Back::Thread { queue: Some(queue), thread: Some(thread) };
        let (seq, turn) = (head.seq, Vec::new());
        let mut journal = Self { seq, epoch, back, turn, state, told: seq, ballast };
        let opened = Event::Opened { epoch, boot: holder.boot, pid: holder.pid, cut };
        let opened = journal.append(at, opened);
        journal.flush();
        Ok((journal, opened))
    }

    /// Takes a record in and answers it with its number. It goes to the writer with the others of its
    /// turn, at the next [`Journal::flush`] or [`Journal::synced`]. Never waits, never fails: a loss is
    /// told by `synced`, and nothing may be done before that has told the number.
    pub fn append(&mut self, at: Timestamp, event: Event) -> Record {
        self.seq += 1;
        let record = Record { seq: self.seq, at, event };
        match &self.back {
            Back::Thread { .. } => self.turn.push(record.clone()),
            Back::Memory { state } => state.send_modify(|state| state.durable = record.seq),
        }
        record
    }

    /// Hands what was appended since the last time to the writer, who syncs it at once. An end and the
    /// starts that it makes possible are so in one sync, however fast the writer wakes. Never waits.
    pub fn flush(&mut self) {
        if let Back::Thread { queue: Some(queue), .. } = &self.back
            && !self.turn.is_empty()
        {
            // The writer is gone after a loss only, which `synced` tells.
            drop(queue.send(std::mem::take(&mut self.turn)));
        }
    }

    /// Hands over what was appended and waits until more is durable than was told before; answers the highest durable number. Can be
    /// dropped and asked again without losing anything.
    ///
    /// # Errors
    /// The file failed. That is final: no deed may follow, nothing more will be durable.
    pub async fn synced(&mut self) -> Result<Seq, Lost> {
        self.flush();
        loop {
            {
                let state = self.state.borrow_and_update();
                if let Some(lost) = &state.lost {
                    return Err(lost.clone());
                }
                if state.durable > self.told {
                    self.told = state.durable;
                    return Ok(self.told);
                }
            }
            if self.state.changed().await.is_err() {
                return Err(Lost::new("the journal's writer has ended"));
            }
        }
    }

    /// The highest durable number now.
    pub fn durable(&self) -> Seq {
        self.state.borrow().durable
    }

    /// Number of the newest record appended.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Number of this runner among those that had the run, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether room is kept for the day the disk is full. Without it nothing new should start.
    pub fn has_ballast(&self) -> bool {
        self.ballast
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
        if let Back::Thread { queue, thread } = &mut self.back {
            drop(queue.take());
            if let Some(thread) = thread.take() {
                drop(thread.join());
            }
        }
    }
}

struct Writer {
    store: Store,
    names: Arc<dyn Names + Send + Sync>,
    head: Head,
    epoch: u64,
    durable: watch::Sender<State>,
}

impl Writer {
    fn run(mut self, turns: &Receiver<Vec<Record>>) {
        let mut lines = Vec::new();
        while let Ok(first) = turns.recv() {
            lines.clear();
            let synced = self.head.seq;
            first.iter().for_each(|record| self.push(&mut lines, synced, record));
            while lines.len() < BATCH {
                let Ok(next) = turns.try_recv() else { break };
                next.iter().for_each(|record| self.push(&mut lines, synced, record));
            }
            let committed = self.store.commit(&lines);
            let seq = self.head.seq;
            match committed {
                Ok(()) => self.durable.send_modify(|state| state.durable = seq),
                Err(lost) => {
                    self.durable.send_modify(|state| state.lost = Some(lost));
                    return;
                }
            }
        }
        if let Err(error) = self.store.close() {
            tracing::warn!(%error, "the journal's padding stays behind its last record");
        }
    }

    fn push(&mut self, lines: &mut Vec<u8>, synced: Seq, record: &Record) {
        let wire = Wire::of(&record.event, &*self.names);
        self.head.push(lines, record.at, self.epoch, synced, &wire);
        debug_assert_eq!(self.head.seq, record.seq, "BUG: records are numbered in order");
    }
}
