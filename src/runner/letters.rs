//! What the loop makes of its letters: endings, requests, verdicts, the emergency lane's word, signals.
//!
//! Not known here: when a letter comes, and what is ordered after it.

use super::inbox::{Answered, Asked, Letter, News, Signal};
use super::lane::{self, Hold};
use super::{A_MOMENT, Due, INTERRUPTED, Log, Loop, Stop};
use crate::event::{Event, GUARD_SILENT, LineId, ProviderId, Request, Seq, StepId, Verdict};
use crate::graph::Graph;
use crate::guard::Serial;
use crate::lane::file::Held;
use crate::revocation::{Certificate, Said};
use crate::run::HoldCause;
use jiff::SignedDuration;
use std::sync::Arc;

impl<L: Log> Loop<L> {
    pub(super) fn take(&mut self, letter: Letter) -> Result<(), Stop> {
        match letter {
            Letter::Asked(asked) => self.asked(asked),
            Letter::Note(note) => {
                self.listeners.tell(&News::Note(note));
                Ok(())
            }
            _ if self.run.outcome().is_some() => Ok(()),
            Letter::Ended(job, ending) => {
                self.stopping.remove(&job);
                self.progress.close(job);
                self.append(Event::Ended(job, ending)).map(drop)
            }
            Letter::Verdict { provider, verdict, as_of, why } => {
                self.verdict(provider, verdict.clone(), as_of)?;
                self.listeners.tell(&News::Found { provider, verdict, why });
                Ok(())
            }
            Letter::Silent => self.guard_is_silent(),
            Letter::Speaks => {
                // It never knew of our verdict, so it would not tell of a change.
                self.guard.touched_all(self.run.seq());
                Ok(())
            }
            Letter::Revocations { line, clear, .. }
                if self.run.revocations_clear(line) == clear =>
            {
                Ok(())
            }
            Letter::Revocations { line, clear, as_of } => self.revocations(line, clear, as_of),
            Letter::Lane(entry) => {
                if let Said::Confirmed { certificate, .. } = &entry.said {
                    self.look_after(certificate);
                }
                self.listeners.tell(&News::Lane(entry));
                Ok(())
            }
            Letter::Signal(signal) => self.signal(signal),
        }
    }

    /// The guard is to see that what is confirmed stays revoked.
    pub(super) fn look_after(&self, certificate: &Certificate) {
        let graph = self.run.graph();
        let Some(serial) = Serial::from_hex(&certificate.serial) else { return };
        let line = graph.find_line(&certificate.line);
        let of_line = |id: &ProviderId| {
            let info = &graph.providers()[id.index()];
            let of_lane = info.base.starts_with("ocsp@") || info.base.starts_with("crl@");
            of_lane && (info.line.is_none() || info.line == line)
        };
        let providers: Vec<_> = providers(graph).filter(of_line).collect();
        self.guard.revoked(&providers, &serial);
    }

    fn asked(&mut self, Asked { who, what, reply }: Asked) -> Result<(), Stop> {
        let gate = match &what {
            Request::Approve { step, .. } => {
                Some(*step).filter(|step| lane::awaits_lane(self.run.graph(), *step))
            }
            _ => None,
        };
        let held = match gate {
            Some(step) => self.hold_lane(step)?,
            None => Some(None),
        };
        if held.is_none() && self.look_again {
            // Asked again when whoever writes to the lane has finished.
            self.later(Letter::Asked(Asked { who, what, reply }));
            return Ok(());
        }
        let answer = match self.run.admit(&who, what) {
            Ok(event) => Answered::Recorded(self.append(event)?.seq),
            Err(refusal) => Answered::Refused(refusal),
        };
        // A refusal rests on records too: it is told when they are durable.
        self.pending.push(self.run.seq(), Due::Free(held.flatten()));
        self.pending.push(self.run.seq(), Due::Reply(reply, answer));
        Ok(())
    }

    /// Journals the lane's word on a line. That all is confirmed may open a gate in the same fold: it
    /// is recorded only while nobody can order another revocation.
    fn revocations(&mut self, line: LineId, clear: bool, as_of: Seq) -> Result<(), Stop> {
        let mut held = None;
        if clear {
            match self.lane.hold(Some(line)) {
                Ok(Hold::Clear(hold)) => held = hold,
                Ok(Hold::Busy) => {
                    self.later(Letter::Revocations { line, clear, as_of });
                    return Ok(());
                }
                // The worker has yet to see what came meanwhile, and will tell of it.
                Ok(Hold::Pending(_)) | Err(_) => return Ok(()),
            }
        }
        let record = self.append(Event::Revocations { line, clear, as_of })?;
        self.pending.push(record.seq, Due::Free(held));
        Ok(())
    }

    /// Puts a letter back into the inbox, in a moment.
    fn later(&self, letter: Letter) {
        let inbox = self.to_inbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(A_MOMENT).await;
            // Gone with the loop: then nobody is answered.
            let _ = inbox.send(letter);
        });
    }

    /// Journals a verdict, unless a later record has overtaken it.
    fn verdict(&mut self, provider: ProviderId, verdict: Verdict, as_of: Seq) -> Result<(), Stop> {
        if as_of < self.run.last_event_of(provider) || *self.run.verdict(provider).0 == verdict {
            return Ok(());
        }
        self.append(Event::Verdict { provider, verdict, as_of }).map(drop)
    }

    /// A clock that jumped forwards is how a machine that was suspended looks from inside: what the
    /// guard held of the providers is from before, and nothing is taken from them on its word.
    pub(super) fn asleep(&mut self, by: SignedDuration) -> Result<(), Stop> {
        if by.is_negative() || self.run.outcome().is_some() {
            return Ok(());
        }
        let as_of = self.run.seq();
        for provider in providers(self.run.graph()) {
            self.verdict(provider, Verdict::Unknown, as_of)?;
        }
        self.guard.touched_all(self.run.seq());
        Ok(())
    }

    /// A guard that hangs or dies is itself a breach.
    fn guard_is_silent(&mut self) -> Result<(), Stop> {
        self.listeners.tell(&News::Note("the guard is silent: a breach by itself".to_owned()));
        let as_of = self.run.seq();
        for provider in providers(self.run.graph()) {
            let silent = Verdict::Down(vec![GUARD_SILENT.to_owned()]);
            self.verdict(provider, silent, as_of)?;
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Stop> {
        self.signals = match signal {
            Signal::Interrupt => self.signals + 1,
            Signal::Terminate => self.signals.max(1) + 1,
        };
        let what = match self.signals {
            1 => Request::Hold { reason: INTERRUPTED.to_owned() },
            2 => Request::Interrupt,
            _ => return Ok(()),
        };
        let note = match self.signals {
            1 => "interrupted: what runs is finished, nothing new starts (once more ends it too)",
            _ => "interrupted again: what runs is ended",
        };
        self.listeners.tell(&News::Note(note.to_owned()));
        let Some(who) = self.manner.by.clone() else { return Ok(()) };
        match self.run.admit(&who, what) {
            Ok(event) => self.append(event).map(drop),
            Err(refusal) => {
                // Nothing starts all the same: `signals` sees to it.
                tracing::debug!(why = refusal.why, "the hold of a signal was not admitted");
                Ok(())
            }
        }
    }

    /// Whoever resumes a run takes back the holds that signals left.
    pub(super) fn release_interrupts(&mut self) -> Result<(), Stop> {
        let Some(who) = self.manner.by.clone() else { return Ok(()) };
        let by_signal = |cause: &HoldCause| matches!(cause, HoldCause::Person { reason, .. } if reason == INTERRUPTED);
        let holds = self.run.holds().iter().filter(|hold| by_signal(&hold.cause));
        for hold in holds.map(|hold| hold.id).collect::<Vec<_>>() {
            if let Ok(event) = self.run.admit(&who, Request::Release { hold: Some(hold) }) {
                self.append(event)?;
            }
        }
        Ok(())
    }

    /// Holds the lane still for a step: none when it must wait, which is then recorded or retried.
    pub(super) fn hold_lane(&mut self, step: StepId) -> Result<Option<Option<Arc<Held>>>, Stop> {
        let line = self.run.graph().line(step);
        let unclear = match self.lane.hold(line) {
            Ok(Hold::Clear(held)) => return Ok(Some(held)),
            Ok(Hold::Busy) => {
                self.look_again = true;
                return Ok(None);
            }
            Ok(Hold::Pending(lines)) => lines,
            Err(error) => {
                // An order may stand in what cannot be read.
                let note = format!("the emergency lane cannot be read: {error}");
                self.listeners.tell(&News::Note(note));
                line.map_or_else(|| lane::all_lines(self.run.graph()), |line| vec![line])
            }
        };
        // Only these: of a line that has no revocation the worker says nothing by itself.
        for line in unclear {
            if !self.run.revocations_clear(line) {
                continue;
            }
            let as_of = self.run.seq();
            self.append(Event::Revocations { line, clear: false, as_of })?;
        }
        Ok(None)
    }
}

fn providers(graph: &Graph) -> impl Iterator<Item = ProviderId> + use<> {
    let count = u32::try_from(graph.providers().len()).expect("BUG: ids are 32 bits");
    (0..count).map(ProviderId)
}
