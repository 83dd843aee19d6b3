//! How a runner dies in a simulated run, and how the next one takes the journal up again.
//!
//! Not known here: what the records mean.

use super::Mutant;
use super::dice::Dice;
use super::disk::SimLog;
use super::oracle::{Kept, keep};
use super::play::Play;
use crate::event::{Event, Header, Options, Record};
use crate::journal::chain::{Flaw, Head, Scanner};
use crate::journal::codec::{FORMAT, Wire};
use crate::journal::replay;
use crate::run::Run;
use crate::runner::clock::Clock;
use crate::runner::guards::GuardLink;
use crate::runner::inbox::{Listeners, ProgressBook};
use crate::runner::lane::LaneLink;
use crate::runner::{Loop, Manner, Parts, World};
use std::io::Cursor;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What a scan of the disk found.
struct Scanned {
    head: Head,
    /// Length up to the newest intact record.
    bytes: usize,
    /// A flaw behind it: torn, or damaged.
    flaw: Option<Flaw>,
    records: Vec<Record>,
}

impl Play<'_> {
    /// The first runner: a new run.
    pub(super) fn begin(&mut self) -> Kept {
        let by = self.people[0].clone();
        let options = Options { rehearsal: self.rehearsal, ..Options::default() };
        let header = Header {
            format: FORMAT,
            program: "simulated".into(),
            run: "simulated".into(),
            plan_path: "/plan.yaml".into(),
            plan: String::new(),
            estate_path: None,
            estate: None,
            graph: String::new(),
            by,
            options,
        };
        // The first record is durable before anything else, under its name at once.
        let mut first = SimLog::new(Head::NONE, &self.disk);
        let begun = self.record(&mut first, Event::Begun(Box::new(header)));
        first.write(&mut self.disk, &self.graph, 1);
        self.disk.sync();
        self.observe(begun)?;
        self.kept = (self.run.clone(), self.oracle.clone());
        self.open(first.head(), 0)
    }

    fn record(&self, log: &mut SimLog, event: Event) -> Record {
        use crate::runner::Log;
        let record = log.append(self.clock().now(), event);
        log.fresh.clear();
        record
    }

    fn clock(&self) -> Clock {
        Clock::set_by(Arc::clone(&self.now))
    }

    /// A runner takes the run behind this record.
    fn open(&mut self, head: Head, cut: u64) -> Kept {
        let mut log = SimLog::new(head, &self.disk);
        let epoch = log.epoch();
        let opened = Event::Opened { epoch, boot: "boot".into(), pid: 1, cut };
        let opened = self.record(&mut log, opened);
        self.observe(opened.clone())?;
        let manner = Manner {
            wait: self.wait || self.swarm.quiet,
            rehearsal: self.rehearsal,
            by: Some(self.people[0].clone()),
            ..Manner::default()
        };
        let parts = Parts {
            run: self.run.clone(),
            log,
            world: Arc::clone(&self.stage) as Arc<dyn World>,
            guard: GuardLink::none(),
            lane: LaneLink::default(),
            clock: self.clock(),
            manner,
            inbox: mpsc::unbounded_channel(),
            listeners: Listeners::default(),
            progress: ProgressBook::default(),
            durable: watch::channel(head.seq).0,
        };
        self.looping = Some(Loop::new(parts));
        self.call(|looping| {
            looping.follows(&Arc::new(opened));
            looping.release_interrupts()
        })?;
        self.pump()
    }

    /// The process is gone, and all that was not durable with it.
    pub(super) fn die(&mut self) {
        self.looping = None;
        self.left += 1;
        self.jobs.clear();
        self.told.clear();
        self.hung.clear();
    }

    /// The process dies, and perhaps the machine.
    pub(super) fn crash(&mut self, dice: &mut Dice<'_>) -> Kept {
        if let Some(looping) = &mut self.looping
            && dice.roll(3) > 0
        {
            looping.log.write(&mut self.disk, &self.graph, 1 + dice.roll(6));
        }
        self.strike("a crash");
        self.fall(dice);
        Ok(())
    }

    fn fall(&mut self, dice: &mut Dice<'_>) {
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.world.abandon(job, dice);
        }
        self.die();
        let (before, durable) = (self.disk.bytes.len(), self.disk.durable);
        self.disk.crash(dice);
        let after = self.disk.bytes.len();
        self.say(|| {
            format!("      a crash: durable up to {durable}, {after} of {before} bytes are there")
        });
    }

    /// A write that comes short for want of room, or a sync that fails: final for the runner.
    pub(super) fn disk_fails(&mut self, dice: &mut Dice<'_>) -> Kept {
        let Some(looping) = &mut self.looping else { return Ok(()) };
        if looping.log.queue.is_empty() {
            return Ok(());
        }
        let before = self.disk.bytes.len();
        looping.log.write(&mut self.disk, &self.graph, usize::MAX);
        self.strike("the disk fails");
        self.say(|| "      the disk fails: a sync, or for want of room".to_owned());
        let short = dice.roll(2) == 1;
        match self.sim.mutant {
            Some(Mutant::SyncErrorIgnored) => {
                self.disk.fail_to_sync();
                self.synced();
                return self.pump();
            }
            Some(Mutant::SyncRetried) => {
                self.disk.fail_to_sync();
                self.disk.sync();
                self.synced();
                return self.pump();
            }
            _ => {}
        }
        if short {
            let more = self.disk.bytes.len() - before;
            self.disk.bytes.truncate(before + dice.roll(more + 1));
        }
        self.disk.fail_to_sync();
        // As `Loop::run` does it: no reply, no deed, no stop.
        if let Some(looping) = &mut self.looping {
            looping.pending.drain().for_each(drop);
        }
        self.fall(dice);
        Ok(())
    }

    fn synced(&mut self) {
        if let Some(looping) = &mut self.looping {
            looping.log.synced();
        }
    }

    /// A byte that was durable, and that a later record calls so, is another one: refused.
    pub(super) fn damage(&mut self, dice: &mut Dice<'_>) -> Kept {
        self.crash(dice)?;
        let scanned = self.scan()?;
        let called = usize::try_from(scanned.head.synced).unwrap_or(0);
        if scanned.flaw.is_some() || called == 0 {
            return Ok(());
        }
        // Lines and records are one.
        let ends = self.disk.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let Some(end) = ends.map(|(at, _)| at).nth(called - 1) else { return Ok(()) };
        let at = dice.roll(end.min(usize::from(u16::MAX)));
        let byte = self.disk.bytes[end - 1 - at.min(end - 1)];
        let place = end - 1 - at.min(end - 1);
        self.disk.bytes[place] = byte ^ 1;
        self.strike("old damage");
        let damaged = self.scan()?;
        if self.sim.mutant == Some(Mutant::OldDamageCut) {
            return Ok(());
        }
        let refused = matches!(damaged.flaw, Some(Flaw::Damaged(_)));
        keep!(
            refused,
            "R2: byte {place} of {called} durable records is another one, and is not refused: {:?}",
            damaged.flaw
        );
        // A good copy is put in its place.
        self.disk.bytes[place] = byte;
        Ok(())
    }

    /// A runner that was thought dead (frozen, or cut off from a shared disk) lives, and writes on
    /// when another has taken its place.
    pub(super) fn stale(&mut self, dice: &mut Dice<'_>) -> Kept {
        let Some(old) = &self.looping else { return Ok(()) };
        if old.log.queue.is_empty() {
            return Ok(());
        }
        let mut old = self.looping.take().expect("BUG: just seen");
        self.strike("a dead runner writes on");
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.world.abandon(job, dice);
        }
        self.die();
        self.resume()?;
        self.sync(usize::MAX)?;
        let (bytes, durable) = (self.disk.bytes.len(), self.disk.durable);
        if old.log.write(&mut self.disk, &self.graph, usize::MAX) {
            self.disk.sync();
        }
        let grown = self.disk.bytes.len() - bytes;
        self.say(|| format!("      the dead runner writes {grown} bytes behind record {durable}"));
        drop(old);
        self.crash(dice)
    }

    /// The next runner reads the disk and takes the run.
    pub(super) fn resume(&mut self) -> Kept {
        self.say(|| "      the next runner".to_owned());
        let scanned = self.scan()?;
        let found = scanned.head.seq;
        if let Some(Flaw::Damaged(damage)) = &scanned.flaw
            && self.sim.mutant != Some(Mutant::OldDamageCut)
        {
            keep!(false, "R2: what a crash left is refused: {damage}");
        }
        let durable = self.disk.durable;
        keep!(
            found >= durable,
            "R2: record {durable} was durable, and {found} is the newest found"
        );
        let cut = self.disk.bytes.len() - scanned.bytes;
        if cut > 0 {
            self.meet("a torn tail cut");
        }
        self.disk.recovered(scanned.bytes, found);
        self.rewind(&scanned.records)?;
        if self.run.outcome().is_some() {
            return Ok(());
        }
        self.people_agree();
        self.open(scanned.head, cut as u64)
    }

    /// Run and oracle go back to what the disk has.
    fn rewind(&mut self, found: &[Record]) -> Kept {
        let lost = self.records.len() - found.len().min(self.records.len());
        if lost > 0 {
            self.meet("an undurable record lost");
        }
        let same = self.records.len() >= found.len() && self.records[..found.len()] == *found;
        keep!(same, "I13: what is read is not what was written");
        self.records.truncate(found.len());
        let (mut run, mut oracle) = self.kept.clone();
        let from = usize::try_from(run.seq()).unwrap_or(usize::MAX);
        for record in found.iter().skip(from) {
            let before = run.clone();
            if let Err(why) = run.apply(record) {
                keep!(false, "I14: record {} was taken in live only: {}", record.seq, why.0);
            }
            oracle.fold(&before, record, &run)?;
        }
        (self.run, self.oracle) = (run, oracle);
        Ok(())
    }

    /// Reads the disk as recovery does.
    fn scan(&self) -> Result<Scanned, super::Violation> {
        let failed = |what: String| super::Violation(format!("I13: {what}"));
        let mut scanner = Scanner::new(Cursor::new(self.disk.bytes.as_slice()))
            .map_err(|error| failed(error.to_string()))?;
        let mut records = Vec::new();
        let flaw = loop {
            let epoch = scanner.head().epoch;
            match scanner.next::<Wire<'_>>() {
                Ok(Some(line)) if line.seq == 1 => {
                    let Wire::Begun(header) = line.event else {
                        return Err(failed("a journal begins with `begun`".into()));
                    };
                    let event = Event::Begun(header);
                    records.push(Record { seq: 1, at: line.at, event });
                }
                Ok(Some(line)) => {
                    records.push(replay::record(line, epoch, &*self.graph).map_err(failed)?);
                }
                Ok(None) => break None,
                Err(flaw) => break Some(flaw),
            }
        };
        let bytes = usize::try_from(scanner.offset()).unwrap_or(usize::MAX);
        Ok(Scanned { head: scanner.head(), bytes, flaw, records })
    }

    /// At the end: the file holds every record, whole, and folded anew it is the run.
    pub(super) fn judge_journal(&mut self) -> Kept {
        let scanned = self.scan()?;
        keep!(scanned.flaw.is_none(), "R2: the closed journal has a flaw: {:?}", scanned.flaw);
        keep!(scanned.records == self.records, "I13: what is read is not what was written");
        self.head = scanned.head.hash.to_string();
        let mut again = Run::new(Arc::clone(&self.graph));
        for record in &scanned.records {
            if let Err(why) = again.apply(record) {
                keep!(false, "I14: record {} does not replay: {}", record.seq, why.0);
            }
        }
        keep!(again == self.run, "I14: the fold of the journal is not the live state");
        Ok(())
    }
}
