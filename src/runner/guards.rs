//! The guard, as the loop and the world see it: what it watches, what it is told, what it says.
//!
//! Told things are numbered here, each with the newest record of its moment. The guard gets these
//! numbers for record numbers: two touches without a record between them stay different, so an
//! answer from before the second never passes for one from after it. Not known here: how the guard
//! asks, and what a breach leads to.

use super::inbox::Letter;
use crate::estate::Estate;
use crate::event::{ProviderId, Seq, Verdict};
use crate::graph::Graph;
use crate::guard::{
    Guard, GuardError, GuardHandle, Pace, Protocol, Said, Serial, Stats, Target, Told,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Intervals of silence after which the guard counts as dead (revocation.md section 7).
const SILENT_INTERVALS: u32 = 3;

/// Turns of the listener in an interval.
const TURNS: u32 = 4;

/// Turns of the listener that came late and gave the guard an interval anew, in one silence: a guard
/// that hangs is found on a starved machine too, only later.
const LATE_TURNS: u32 = 8;

/// Number of a thing that the guard was told, from 1.
type Telling = u64;

/// What is held of each provider just now, for those who wait for one; by place in the graph.
type Standing = Vec<(Verdict, Telling)>;

/// The way to the guard. Without a guard everything is said into the void, and nothing is waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuardLink {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// Place in the guard's targets of each provider, by place in the graph.
    targets: Vec<Option<usize>>,
    /// The other way round.
    providers: Vec<ProviderId>,
    told: Mutex<Tellings>,
    standing: watch::Sender<Standing>,
    /// The guard itself; none in tests.
    handle: Option<GuardHandle>,
}

/// The tellings so far, and where they go. One lock: numbers reach the guard in their order.
#[derive(Debug)]
struct Tellings {
    /// The record of each telling, by its number less one.
    records: Vec<Seq>,
    /// Where they go in tests.
    #[cfg(test)]
    to: Option<mpsc::UnboundedSender<Told>>,
}

/// What the guard is to watch: every provider of the graph that the estate gives an address, and
/// which provider each target is.
pub(super) fn targets(graph: &Graph, estate: &Estate) -> Vec<(ProviderId, Target)> {
    let mut targets = Vec::new();
    for (index, info) in graph.providers().iter().enumerate() {
        let id = ProviderId(u32::try_from(index).expect("BUG: ids are 32 bits"));
        let Some((service_name, site, name)) = split(&info.base) else { continue };
        let Some(service) = estate.sites.get(site).and_then(|s| s.services.get(service_name))
        else {
            continue;
        };
        let Some(provider) = service.providers.get(name) else { continue };
        let line = info.line.map(|line| graph.line_name(line));
        let protocol = match service_name {
            "ocsp" => Protocol::Ocsp,
            "crl" => Protocol::Crl,
            _ => Protocol::Seal,
        };
        let url = match line {
            Some(line) => provider.url.replace("{line}", line),
            None => provider.url.clone(),
        };
        let sentinels = &estate.sentinels;
        targets.push((
            id,
            Target {
                name: info.name.clone(),
                protocol,
                url,
                issuers: service.issuers.of(line),
                good: sentinels.good.clone(),
                revoked: sentinels.revoked.clone(),
                unissued: sentinels.unissued.clone(),
                expect: service.expect.clone(),
            },
        ));
    }
    targets
}

/// The estate's pace, as the guard takes it.
pub(super) fn pace(estate: &Estate) -> Pace {
    let every = Duration::try_from(estate.probe.every).unwrap_or(Duration::from_secs(2));
    Pace { every, recovery: estate.probe.recovery }
}

/// `ocsp@to/ocsp-1` as service, site, name.
fn split(base: &str) -> Option<(&str, &str, &str)> {
    let (service, rest) = base.split_once('@')?;
    let (site, name) = rest.split_once('/')?;
    Some((service, site, name))
}

impl GuardLink {
    /// No guard: no estate, or nothing protected.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Starts the guard over everything that is protected, and hands its verdicts to `inbox`. No
    /// guard when nothing protected has an address.
    ///
    /// # Errors
    /// Certificates that it cannot use.
    pub(super) fn start(
        graph: &Graph,
        estate: &Estate,
        inbox: mpsc::UnboundedSender<Letter>,
    ) -> Result<Self, GuardError> {
        let (providers, targets): (Vec<_>, Vec<_>) = targets(graph, estate).into_iter().unzip();
        if targets.is_empty() {
            return Ok(Self::none());
        }
        let pace = pace(estate);
        let (handle, said) = Guard::spawn(targets, pace)?;
        let inner = Inner::new(graph, providers, Some(handle));
        tokio::spawn(hear(Arc::clone(&inner), said, pace.every, inbox));
        Ok(Self { inner: Some(inner) })
    }

    /// A guard that a test plays.
    #[cfg(test)]
    pub(super) fn played(
        graph: &Graph,
        to: mpsc::UnboundedSender<Told>,
        said: mpsc::UnboundedReceiver<Said>,
        every: Duration,
        inbox: mpsc::UnboundedSender<Letter>,
    ) -> Self {
        let count = u32::try_from(graph.providers().len()).expect("few providers");
        let inner = Inner::new(graph, (0..count).map(ProviderId).collect(), None);
        inner.told.lock().expect("not poisoned").to = Some(to);
        tokio::spawn(hear(Arc::clone(&inner), said, every, inbox));
        Self { inner: Some(inner) }
    }

    /// Answers, failures and times of every provider that is watched.
    pub(crate) fn stats(&self) -> Vec<Stats> {
        let handle = self.inner.as_ref().and_then(|inner| inner.handle.as_ref());
        handle.map(GuardHandle::stats).unwrap_or_default()
    }

    /// Every provider is unknown again as of `record`.
    pub(crate) fn touched_all(&self, record: Seq) {
        let Some(inner) = &self.inner else { return };
        inner.tell(&inner.providers, record, true);
    }

    /// A record touched these providers; `given_back`: clients are sent there from now on.
    pub(crate) fn touched(&self, providers: &[ProviderId], record: Seq, given_back: bool) {
        let Some(inner) = &self.inner else { return };
        inner.tell(providers, record, given_back);
    }

    /// A revocation is confirmed: whoever of these has called it revoked must go on doing so.
    pub(crate) fn revoked(&self, providers: &[ProviderId], serial: &Serial) {
        let Some(inner) = &self.inner else { return };
        let targets: Vec<_> =
            providers.iter().filter_map(|provider| inner.targets[provider.index()]).collect();
        let told = inner.told.lock().unwrap_or_else(PoisonError::into_inner);
        inner.hand(&told, Told::Revoked { targets, serial: serial.clone() });
    }

    /// Tells the guard that these were given back, and waits until it says of all of them, by
    /// questions asked from now on, that they serve. At once when nobody watches them. Cancel-safe.
    pub(crate) async fn serve(&self, providers: &[ProviderId], record: Seq) {
        let Some(inner) = &self.inner else { return };
        let watched: Vec<_> =
            providers.iter().copied().filter(|p| inner.targets[p.index()].is_some()).collect();
        if watched.is_empty() {
            return;
        }
        let telling = inner.tell(&watched, record, true);
        let mut standing = inner.standing.subscribe();
        let all_serve = |standing: &Standing| {
            watched.iter().all(|provider| {
                let (verdict, as_of) = &standing[provider.index()];
                verdict.serves() && *as_of >= telling
            })
        };
        // The sender lives in `inner`, which this borrows: the wait ends only when they serve.
        let _ = standing.wait_for(all_serve).await;
    }

    /// What is held of a provider just now.
    pub(crate) fn standing(&self, provider: ProviderId) -> Verdict {
        let inner = self.inner.as_ref();
        inner.map_or(Verdict::Unknown, |i| i.standing.borrow()[provider.index()].0.clone())
    }

    /// The guard is to hang (a fault put in on purpose).
    pub(crate) fn hang(&self) {
        if let Some(inner) = &self.inner {
            let told = inner.told.lock().unwrap_or_else(PoisonError::into_inner);
            inner.hand(&told, Told::Hang);
        }
    }
}

impl Inner {
    fn new(graph: &Graph, providers: Vec<ProviderId>, handle: Option<GuardHandle>) -> Arc<Self> {
        let mut targets = vec![None; graph.providers().len()];
        for (target, provider) in providers.iter().enumerate() {
            targets[provider.index()] = Some(target);
        }
        let (standing, _) = watch::channel(vec![(Verdict::Unknown, 0); targets.len()]);
        let tellings = Tellings {
            records: Vec::new(),
            #[cfg(test)]
            to: None,
        };
        Arc::new(Self { targets, providers, told: Mutex::new(tellings), standing, handle })
    }

    fn tell(&self, providers: &[ProviderId], record: Seq, given_back: bool) -> Telling {
        let targets: Vec<_> =
            providers.iter().filter_map(|provider| self.targets[provider.index()]).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if targets.is_empty() {
            return told.records.len() as Telling;
        }
        told.records.push(record);
        let telling = told.records.len() as Telling;
        self.hand(&told, Told::Touched { targets, seq: telling, given_back });
        telling
    }

    /// A guard that is gone hears nothing; its silence says so.
    fn hand(&self, tellings: &Tellings, what: Told) {
        #[cfg(test)]
        if let Some(to) = &tellings.to {
            let _ = to.send(what);
            return;
        }
        let _ = tellings;
        if let Some(handle) = &self.handle {
            handle.tell(what);
        }
    }

    /// The record of a telling; 0 before the first.
    fn record(&self, telling: Telling) -> Seq {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(telling).unwrap_or(usize::MAX).checked_sub(1);
        place.and_then(|place| told.records.get(place)).copied().unwrap_or(0)
    }
}

/// How long the guard has not spoken, measured in turns of who listens. A turn that came late is
/// one turn: while we had no processor (a starved machine, a stopped process, a suspended one) the
/// guard had none either, and it has an interval from then on.
#[derive(Debug)]
struct Silence {
    turn: Duration,
    quiet: u32,
    late: u32,
}

impl Silence {
    fn new(every: Duration) -> Self {
        Self { turn: every / TURNS, quiet: 0, late: 0 }
    }

    fn broken(&mut self) {
        (self.quiet, self.late) = (0, 0);
    }

    /// Another turn went by without a word, and took so long. Whether the guard counts as dead.
    fn goes_on(&mut self, took: Duration) -> bool {
        self.quiet += 1;
        if took >= self.turn * 2 && self.late < LATE_TURNS {
            self.late += 1;
            self.quiet = self.quiet.min((SILENT_INTERVALS - 1) * TURNS);
        }
        self.quiet >= SILENT_INTERVALS * TURNS
    }
}

/// Passes on what the guard says, and its silence.
async fn hear(
    inner: Arc<Inner>,
    mut said: mpsc::UnboundedReceiver<Said>,
    every: Duration,
    inbox: mpsc::UnboundedSender<Letter>,
) {
    let mut silence = Silence::new(every);
    let mut silent = false;
    loop {
        let asked = Instant::now();
        let letter = match tokio::time::timeout(silence.turn, said.recv()).await {
            Ok(Some(word)) => {
                silence.broken();
                if std::mem::take(&mut silent) && inbox.send(Letter::Speaks).is_err() {
                    return;
                }
                match word {
                    // This task keeps the guard; it must not outlive the loop.
                    Said::Alive if inbox.is_closed() => return,
                    Said::Alive => continue,
                    Said::Verdict { target, verdict, as_of, why } => {
                        let Some(provider) = inner.providers.get(target).copied() else { continue };
                        inner.standing.send_modify(|standing| {
                            standing[provider.index()] = (verdict.clone(), as_of);
                        });
                        let as_of = inner.record(as_of);
                        Letter::Verdict { provider, verdict, as_of, why }
                    }
                }
            }
            Err(_) if silent && inbox.is_closed() => return,
            Err(_) if silent => continue,
            Err(_) if !silence.goes_on(asked.elapsed()) => continue,
            Ok(None) if silent => return,
            Err(_) | Ok(None) => {
                silent = true;
                Letter::Silent
            }
        };
        if inbox.send(letter).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::PlanBuilder;

    const EVERY: Duration = Duration::from_millis(200);

    fn turns_until_dead(took: impl Fn(u32) -> Duration) -> u32 {
        let mut silence = Silence::new(EVERY);
        (1..).find(|turn| silence.goes_on(took(*turn))).expect("it is found at last")
    }

    #[test]
    fn a_hung_guard_is_found_in_time_and_on_a_starved_machine_too() {
        let ms = Duration::from_millis;
        let in_time = SILENT_INTERVALS * TURNS;
        assert_eq!(turns_until_dead(|_| ms(50)), in_time);
        // Each turn somewhat late: so many turns, that is two thirds more time.
        assert_eq!(turns_until_dead(|_| ms(83)), in_time);
        // One long gap shortly before: an interval anew.
        assert_eq!(turns_until_dead(|turn| ms(if turn == 11 { 60_000 } else { 50 })), 15);
        assert_eq!(turns_until_dead(|turn| ms(if turn == 2 { 60_000 } else { 50 })), in_time);
        // Every turn late: not for ever.
        assert_eq!(turns_until_dead(|_| ms(1_000)), in_time);
        assert_eq!(turns_until_dead(|turn| ms(if turn % 4 == 0 { 400 } else { 50 })), 36);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_not_on_the_processor_itself_calls_no_guard_dead() {
        let graph = PlanBuilder::new()
            .protect("ocsp", false, 1, ["ocsp@from/ocsp-1", "ocsp@from/ocsp-2"])
            .step("upgrade", |step| step.disturbs(["ocsp@from/ocsp-1"]))
            .graph();
        let (to, _told) = mpsc::unbounded_channel();
        let (says, said) = mpsc::unbounded_channel();
        let (inbox, mut letters) = mpsc::unbounded_channel();
        let link = GuardLink::played(&graph, to, said, EVERY, inbox);
        let settle = || async { tokio::task::yield_now().await };
        settle().await;
        for _ in 0..5 {
            // Gone for longer than the guard may be silent, and the guard with us.
            tokio::time::advance(EVERY * 10).await;
            settle().await;
            assert!(letters.try_recv().is_err(), "it had no chance to speak");
            tokio::time::sleep(EVERY / 2).await;
            says.send(Said::Alive).expect("somebody listens");
            settle().await;
        }
        let begun = Instant::now();
        let letter = letters.recv().await.expect("a letter");
        assert!(matches!(letter, Letter::Silent), "{letter:?}");
        assert!(begun.elapsed() <= EVERY * SILENT_INTERVALS + Duration::from_millis(50));
        drop(link);
    }
}
