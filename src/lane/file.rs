//! `revocations.jsonl`: orders durable before they are acknowledged; its own chain and lock.
//!
//! Written by whoever holds the lock, for one append only, so that `revoke` works beside a living
//! runner and without one. Each writer reads what the others wrote before it appends. Not known
//! here: what an entry leads to (`revocation` folds them).

use crate::journal::chain::{Damage, Flaw, Head, Scanner};
use crate::journal::lock::NO_FOLLOW;
use crate::journal::replay::{Verified, cut};
use crate::journal::rundir::RunDir;
use crate::journal::{JournalError, store};
use crate::revocation::{Entry, FORMAT, Lane, Said};
use jiff::Timestamp;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The lane's journal, read up to a place; its fold so far.
#[derive(Debug)]
pub struct LaneFile {
    dir: RunDir,
    path: PathBuf,
    file: File,
    scanner: Scanner,
    lane: Lane,
    torn: Option<Damage>,
}

impl LaneFile {
    /// Opens the lane of a run, makes its file if there is none, and reads what is there.
    ///
    /// # Errors
    /// The run directory cannot be written, or the file is damaged.
    pub fn open(dir: &RunDir) -> Result<Self, JournalError> {
        let path = dir.revocations();
        let failed = |error| JournalError::io(format!("opening `{}`", path.display()), error);
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o600).custom_flags(NO_FOLLOW);
        let file = options.clone().create(true).open(&path).map_err(failed)?;
        // Empty: whoever made it may have died before its name was durable.
        if file.metadata().map_err(failed)?.len() == 0 {
            file.sync_all().and_then(|()| store::sync_directory_of(&path)).map_err(failed)?;
        }
        let reader = File::open(&path).map_err(failed)?;
        let scanner = Scanner::new(reader).map_err(failed)?;
        let dir = dir.clone();
        let mut lane = Self { dir, path, file, scanner, lane: Lane::new(), torn: None };
        lane.poll()?;
        Ok(lane)
    }

    /// The fold of all entries read.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Reads entries that were written since, by anyone. Takes no lock; a line that is half
    /// written, or torn by a crash, is left for later.
    ///
    /// # Errors
    /// The file is damaged or cannot be read.
    pub fn poll(&mut self) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        loop {
            match self.scanner.next::<Said>() {
                Ok(Some(line)) => {
                    let entry = Entry { seq: line.seq, at: line.at, said: line.event };
                    self.check(&entry, line.byte)?;
                    self.lane.apply(&entry);
                    entries.push(entry);
                }
                Ok(None) => {
                    self.torn = None;
                    return Ok(entries);
                }
                Err(Flaw::Torn(damage)) => {
                    self.torn = Some(damage);
                    return Ok(entries);
                }
                Err(Flaw::Damaged(damage)) => {
                    return Err(JournalError::Damaged { file: self.path.clone(), damage });
                }
                Err(Flaw::Io(error)) => {
                    let doing = format!("reading `{}`", self.path.display());
                    return Err(JournalError::io(doing, error));
                }
            }
        }
    }

    fn check(&self, entry: &Entry, byte: u64) -> Result<(), JournalError> {
        let begun = matches!(entry.said, Said::Begun { .. });
        if begun != (entry.seq == 1) {
            let why = "the lane's journal begins with `begun`, and nowhere else".to_owned();
            let damage = Damage { line: entry.seq, byte, why };
            return Err(JournalError::Damaged { file: self.path.clone(), damage });
        }
        match &entry.said {
            Said::Begun { format, .. } if *format != FORMAT => Err(JournalError::Foreign {
                file: self.path.clone(),
                why: format!("written in format {format}, this program reads format {FORMAT}"),
            }),
            _ => Ok(()),
        }
    }

    /// Writes entries down; when this has answered they are durable. `decide` sees the fold with
    /// everything that anyone has written, under the lock, and says what is to be written: so two
    /// writers never decide on the same ground. Blocks while another writer holds the lock, which
    /// is for one append.
    ///
    /// # Errors
    /// The file is damaged, or a write or sync failed: then nothing is acknowledged.
    pub fn append(
        &mut self,
        at: Timestamp,
        decide: impl FnOnce(&Lane) -> Vec<Said>,
    ) -> Result<Vec<Entry>, JournalError> {
        self.file.lock().map_err(|error| self.failed("locking", error))?;
        let appended = self.append_locked(at, decide);
        let unlocked = self.file.unlock().map_err(|error| self.failed("unlocking", error));
        let entries = appended?;
        unlocked?;
        Ok(entries)
    }

    fn append_locked(
        &mut self,
        at: Timestamp,
        decide: impl FnOnce(&Lane) -> Vec<Said>,
    ) -> Result<Vec<Entry>, JournalError> {
        self.poll()?;
        if self.torn.is_some() {
            // Nobody is writing, as the lock is ours: a writer died here.
            cut(self.writable()?, &self.path, self.scanner.offset())
                .map_err(|error| self.failed("cutting the torn tail of", error))?;
            self.torn = None;
        }
        let mut said = decide(&self.lane);
        if said.is_empty() {
            return Ok(Vec::new());
        }
        let mut head = self.scanner.head();
        if head.seq == 0 {
            said.insert(0, Said::Begun { format: FORMAT, run: self.dir.name() });
        } else {
            // What a writer left that died before its sync must not be called durable unproved.
            self.file.sync_data().map_err(|error| self.failed("syncing", error))?;
        }
        let synced = head.seq;
        let mut lines = Vec::new();
        for said in &said {
            head.push(&mut lines, at, 0, synced, said);
        }
        let len = self.scanner.offset();
        self.write(&lines)?;
        if let Err(error) = self.file.sync_data() {
            // Not acknowledged, and what the cache shows of it proves nothing: away with it.
            drop(self.file.set_len(len));
            return Err(self.failed("syncing", error));
        }
        let mut entries = self.poll()?;
        if self.scanner.head() != head {
            let why = format!("`{}` does not hold what was just written", self.path.display());
            return Err(JournalError::io(why, io::ErrorKind::InvalidData.into()));
        }
        entries.retain(|entry| !matches!(entry.said, Said::Begun { .. }));
        Ok(entries)
    }

    /// Writes whole lines or nothing. A full disk is what the ballast is for: an order to revoke
    /// must not fail on it. Nothing was synced yet, so writing once more is no guess.
    fn write(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        let len = self.scanner.offset();
        let Err(error) = self.file.write_all(lines) else { return Ok(()) };
        let mut failed = error;
        if store::is_full(&failed) {
            store::free_ballast(&self.dir.ballast());
            let again = self.file.set_len(len).and_then(|()| self.file.write_all(lines));
            let Err(error) = again else { return Ok(()) };
            failed = error;
        }
        // Leave no half line behind if it can be helped; if not, the next writer cuts it.
        drop(self.file.set_len(len));
        Err(self.failed("writing", failed))
    }

    fn writable(&self) -> Result<File, JournalError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(NO_FOLLOW)
            .open(&self.path)
            .map_err(|error| self.failed("opening", error))
    }

    fn failed(&self, doing: &str, error: io::Error) -> JournalError {
        JournalError::io(format!("{doing} `{}`", self.path.display()), error)
    }

    /// Holds the lane still: while this is kept, no order can be written down. None when a writer
    /// is at it just now. The start of a verify, a go-live or a reopen keeps it, with the tail
    /// read, until the start is durable. Do not append by this or another `LaneFile` of the same
    /// thread meanwhile: it would wait for itself.
    ///
    /// # Errors
    /// The file cannot be locked or read.
    pub fn try_hold(&mut self) -> Result<Option<Held>, JournalError> {
        let file = File::open(&self.path).map_err(|error| self.failed("opening", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(self.failed("locking", error)),
        }
        self.poll()?;
        Ok(Some(Held { _file: file }))
    }
}

/// Holds the lane still until dropped.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

/// Checks a run's lane and touches nothing; none when the run has no lane yet.
///
/// # Errors
/// The file cannot be read, or is of another format.
pub fn verify(dir: &RunDir) -> Result<Option<Verified>, JournalError> {
    let Some(mut lane) = open_read_only(dir)? else { return Ok(None) };
    let flaw = match lane.poll() {
        Ok(_) => lane.torn.clone(),
        Err(JournalError::Damaged { damage, .. }) => Some(damage),
        Err(error) => return Err(error),
    };
    let Head { seq, hash, .. } = lane.scanner.head();
    let (bytes, head) = (lane.scanner.offset(), hash.to_string());
    Ok(Some(Verified { file: lane.path, records: seq, bytes, head, flaw }))
}

/// Reads a run's lane and touches nothing: entries in order, and the fold. Empty when there is none.
///
/// # Errors
/// The file is damaged (a torn tail is left out), cannot be read, or is of another format.
pub fn read(dir: &RunDir) -> Result<(Vec<Entry>, Lane), JournalError> {
    let Some(mut lane) = open_read_only(dir)? else { return Ok((Vec::new(), Lane::new())) };
    let entries = lane.poll()?;
    Ok((entries, lane.lane))
}

fn open_read_only(dir: &RunDir) -> Result<Option<LaneFile>, JournalError> {
    let path = dir.revocations();
    let failed = |error| JournalError::io(format!("opening `{}`", path.display()), error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let scanner = Scanner::new(File::open(&path).map_err(failed)?).map_err(failed)?;
    let dir = dir.clone();
    Ok(Some(LaneFile { dir, path, file, scanner, lane: Lane::new(), torn: None }))
}
