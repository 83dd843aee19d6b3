//! A simulated disk, and the journal's writer over it.
//!
//! What is synced stays. What is written and not synced is at the mercy of a crash: any of its pages
//! may be there, missing (zeros), or torn at any byte, and the file may end anywhere behind what is
//! synced (reliability.md, R2). After a sync that failed the pages count as clean and never reach the
//! disk: a second sync would succeed and prove nothing (R1).
//!
//! Not simulated: names and directories, the lock, the ballast; `tests/journal` has those.

use super::Mutant;
use super::dice::Dice;
use crate::event::{Event, Record, Seq};
use crate::graph::Graph;
use crate::journal::chain::Head;
use crate::journal::codec::Wire;
use crate::runner::Log;
use jiff::Timestamp;
use std::collections::VecDeque;

/// A page of the disk: what is written at once.
const PAGE: usize = 512;

/// One append-only file.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// What would be read now.
    pub(super) bytes: Vec<u8>,
    /// How much of it is on the disk for sure.
    kept: usize,
    /// Newest record that is on the disk for sure.
    pub(super) durable: Seq,
    /// Newest record that was written.
    written: Seq,
    /// A sync failed: what was not synced then is never written any more.
    forgotten: bool,
    mutant: Option<Mutant>,
}

impl Disk {
    /// An empty one.
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        Self { mutant, ..Self::default() }
    }

    pub(super) fn write(&mut self, bytes: &[u8], last: Seq) {
        self.bytes.extend_from_slice(bytes);
        self.written = last;
    }

    pub(super) fn sync(&mut self) {
        if !self.forgotten {
            self.kept = self.bytes.len();
            self.durable = self.written;
        }
    }

    /// A sync that fails, as ext4 does it.
    pub(super) fn fail_to_sync(&mut self) {
        self.forgotten = true;
    }

    /// What a crash leaves.
    pub(super) fn crash(&mut self, dice: &mut Dice<'_>) {
        let (kept, len) = (self.kept, self.bytes.len());
        let loose = len - kept;
        match dice.roll(4) {
            _ if loose == 0 => {}
            0 => self.bytes.truncate(kept),
            1 => {}
            // A prefix, to any byte.
            2 => self.bytes.truncate(kept + dice.roll(loose + 1)),
            _ => {
                let end = if dice.one_in(2) { kept + dice.roll(loose + 1) } else { len };
                let mut at = kept;
                while at < len {
                    let page = ((at / PAGE + 1) * PAGE).min(len);
                    let from = match dice.roll(3) {
                        0 => at,
                        1 => page,
                        _ => at + dice.roll(page - at),
                    };
                    self.bytes[from..page].fill(0);
                    at = page;
                }
                self.bytes.truncate(end);
            }
        }
        self.forgotten = false;
    }

    /// Cuts a torn tail off; what is left is durable.
    pub(super) fn recovered(&mut self, len: usize, last: Seq) {
        if self.mutant != Some(Mutant::TornTailKept) {
            self.bytes.truncate(len);
        }
        self.kept = self.bytes.len();
        self.forgotten = false;
        (self.durable, self.written) = (last, last);
    }
}

/// The journal's writer of one runner: takes records in, writes them in batches.
#[derive(Debug)]
pub(super) struct SimLog {
    seq: Seq,
    epoch: u64,
    head: Head,
    /// Appended and not written yet.
    pub(super) queue: VecDeque<Record>,
    /// Appended since they were last asked for.
    pub(super) fresh: Vec<Record>,
    /// What the runner is told to be durable.
    told: Seq,
    /// Length of the file as this runner left it.
    len: usize,
    mutant: Option<Mutant>,
}

impl SimLog {
    /// The writer of the next epoch.
    pub(super) fn new(head: Head, disk: &Disk) -> Self {
        Self {
            seq: head.seq,
            epoch: head.epoch + 1,
            head,
            queue: VecDeque::new(),
            fresh: Vec::new(),
            told: head.seq,
            len: disk.bytes.len(),
            mutant: disk.mutant,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Writes so many of the queued records at once. False when somebody else has written.
    pub(super) fn write(&mut self, disk: &mut Disk, graph: &Graph, most: usize) -> bool {
        if disk.bytes.len() != self.len && self.mutant != Some(Mutant::EpochUnchecked) {
            return false;
        }
        let mut lines = Vec::new();
        let synced = self.head.seq;
        for record in self.queue.drain(..most.min(self.queue.len())) {
            // The first record is of no runner.
            let epoch = if record.seq == 1 { 0 } else { self.epoch };
            let wire = Wire::of(&record.event, graph);
            self.head.push(&mut lines, record.at, epoch, synced, &wire);
        }
        disk.write(&lines, self.head.seq);
        self.len = disk.bytes.len();
        true
    }

    /// Everything written is durable, as far as the disk says.
    pub(super) fn synced(&mut self) {
        self.told = self.head.seq;
    }
}

impl Log for SimLog {
    fn append(&mut self, at: Timestamp, event: Event) -> Record {
        self.seq += 1;
        let record = Record { seq: self.seq, at, event };
        self.queue.push_back(record.clone());
        self.fresh.push(record.clone());
        record
    }

    fn durable(&self) -> Seq {
        if self.mutant == Some(Mutant::DeedBeforeSync) { self.seq } else { self.told }
    }

    async fn synced(&mut self) -> Result<Seq, String> {
        // The simulator calls the loop's turns itself and never waits.
        std::future::pending().await
    }
}
