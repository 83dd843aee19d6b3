//! Faults put in on purpose (`--fault`): their grammar, and a world around the world that has them.
//!
//! Not known here: what the lab's own faults do (they are handed to its control API as written), and
//! what the run makes of a failure.

use super::inbox::Voice;
use super::world::World;
use crate::estate::Estate;
use crate::event::{Ending, Job, Seq, StepId, Way};
use crate::failure::{Failure, FailureKind};
use crate::graph::Graph;
use crate::net;
use crate::run::Run;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// How long a deed that is to fail is let do its work first, so that its undo meets something
/// half-done.
const HALF_WAY: Duration = Duration::from_millis(30);

/// A form of `--fault` and what it does, for `rehearse --faults`.
pub struct Form {
    /// As it is written.
    pub form: &'static str,
    /// What happens then.
    pub about: &'static str,
}

/// Every form that the runner knows; the lab has more.
pub fn faults() -> &'static [Form] {
    &[
        Form { form: "STEP=fail", about: "every attempt of the step fails when it is half done" },
        Form { form: "STEP=fail:N", about: "its first N attempts do" },
        Form { form: "STEP=hang", about: "its attempts never end; the step's timeout ends them" },
        Form { form: "STEP=slow:F", about: "its attempts take F times as long" },
        Form { form: "STEP=slow:DURATION", about: "its attempts take so much longer (`slow:5s`)" },
        Form {
            form: "runner=kill@RECORD",
            about: "the runner is killed when that record is durable",
        },
        Form { form: "guard=hang", about: "the guard stops when the first step has begun" },
    ]
}

/// What is wrong with one step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sick {
    /// Attempts up to this one fail.
    Fail(u32),
    Hang,
    Times(f64),
    Longer(Duration),
}

/// The faults of one run, their names looked up.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    steps: BTreeMap<StepId, Sick>,
    kill_at: Option<Seq>,
    guard_hangs: bool,
    lab: Vec<String>,
}

/// A `--fault` that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFault {
    /// As it was written.
    pub spec: String,
    /// Why not.
    pub why: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for BadFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "fault `{}`: {}", self.spec, self.why)
    }
}

impl Faults {
    /// Reads every `--fault` of a run.
    ///
    /// # Errors
    /// All that cannot be had: unknown forms and names, faults of a lab where there is none, and
    /// any fault at all on a production estate.
    pub fn read(
        specs: &[String],
        graph: &Graph,
        estate: Option<&Estate>,
    ) -> Result<Self, Vec<BadFault>> {
        let mut faults = Self::default();
        let mut bad = Vec::new();
        for spec in specs {
            if let Err((why, hint)) = faults.take(spec, graph, estate) {
                bad.push(BadFault { spec: spec.clone(), why, hint });
            }
        }
        if bad.is_empty() { Ok(faults) } else { Err(bad) }
    }

    fn take(
        &mut self,
        spec: &str,
        graph: &Graph,
        estate: Option<&Estate>,
    ) -> Result<(), (String, Option<String>)> {
        if let Some(estate) = estate.filter(|estate| estate.production) {
            let why = format!("estate `{}` is a production estate: no faults there", estate.name);
            return Err((why, Some("rehearse on the lab, or on a staging estate".into())));
        }
        let forms = || {
            let forms: Vec<_> = faults().iter().map(|f| format!("`{}`", f.form)).collect();
            Some(format!(
                "forms are {}; `cutover rehearse --faults` lists them all",
                forms.join(", ")
            ))
        };
        let Some((target, what)) = spec.rsplit_once('=') else {
            return Err(("it has no `=`".into(), forms()));
        };
        if target.contains('@') || target.contains(':') {
            if estate.and_then(|estate| estate.lab.as_ref()).is_none() {
                let why = "it is a fault of the lab, and the estate is none".to_owned();
                return Err((why, Some("leave `--estate` out to rehearse on the lab".into())));
            }
            self.lab.push(spec.to_owned());
            return Ok(());
        }
        match (target, what.split_once('@')) {
            ("runner", Some(("kill", record))) => {
                let record: Seq = record
                    .parse()
                    .ok()
                    .filter(|record| *record > 0)
                    .ok_or_else(|| (format!("`{record}` is no record number"), forms()))?;
                self.kill_at = Some(record);
                return Ok(());
            }
            ("runner", _) => return Err(("the runner can only be killed".into(), forms())),
            ("guard", _) if what == "hang" => {
                self.guard_hangs = true;
                return Ok(());
            }
            ("guard", _) => return Err(("the guard can only hang".into(), forms())),
            _ => {}
        }
        let sick =
            sickness(what).ok_or_else(|| (format!("`{what}` is no fault of a step"), forms()))?;
        let steps = graph.named(target);
        if steps.is_empty() {
            return Err((format!("there is no step `{target}`"), nearest(target, graph)));
        }
        for step in steps {
            self.steps.insert(step, sick);
        }
        Ok(())
    }

    /// The record at which the runner is to be killed.
    pub(super) fn kill_at(&self) -> Option<Seq> {
        self.kill_at
    }

    /// Whether the guard is to hang.
    pub(super) fn guard_hangs(&self) -> bool {
        self.guard_hangs
    }

    /// The faults that the lab is to be given, as written.
    pub fn of_lab(&self) -> &[String] {
        &self.lab
    }

    /// Whether a step is sick.
    pub(super) fn any_step(&self) -> bool {
        !self.steps.is_empty()
    }
}

/// `fail`, `fail:2`, `hang`, `slow:5`, `slow:5s`.
fn sickness(what: &str) -> Option<Sick> {
    match what.split_once(':') {
        None if what == "fail" => Some(Sick::Fail(u32::MAX)),
        None if what == "hang" => Some(Sick::Hang),
        Some(("fail", times)) => times.parse().ok().filter(|n| *n > 0).map(Sick::Fail),
        Some(("slow", how)) => {
            let times = how.parse::<f64>().ok().filter(|f| f.is_finite() && *f >= 1.0 && *f <= 1e6);
            let longer = || how.parse::<jiff::SignedDuration>().ok()?.try_into().ok();
            times.map(Sick::Times).or_else(|| longer().map(Sick::Longer))
        }
        _ => None,
    }
}

/// The step that was probably meant.
fn nearest(name: &str, graph: &Graph) -> Option<String> {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let names = graph.plan().steps.iter().map(|step| step.name.value.as_str());
    let best = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.7).then(|| format!("did you mean `{best}`?"))
}

/// Hands faults to a lab's control API; answers those that it does not take.
pub(super) async fn give_to_lab(control: &str, specs: &[String]) -> Vec<BadFault> {
    let mut bad = Vec::new();
    for spec in specs {
        let body = serde_json::json!({ "spec": spec }).to_string();
        let url = format!("{control}/faults");
        let ask = net::Ask::with_body(hyper::Method::PUT, url, "application/json", body);
        let why = match net::fetch(&ask).await {
            Ok(reply) if reply.status == 200 => continue,
            Ok(reply) => String::from_utf8_lossy(&reply.body).trim().to_owned(),
            Err(error) => format!("the lab cannot be asked: {error}"),
        };
        let hint = Some("`cutover rehearse --faults` lists them all".to_owned());
        bad.push(BadFault { spec: spec.clone(), why, hint });
    }
    bad
}

/// A world in which some steps are sick. Undos and checks are sound: a rehearsal that could not go
/// back would teach nothing.
pub(super) struct FaultyWorld {
    inner: Arc<dyn World>,
    steps: BTreeMap<StepId, Sick>,
    stops: Arc<Mutex<BTreeMap<Job, watch::Sender<bool>>>>,
}

impl FaultyWorld {
    pub(super) fn around(inner: Arc<dyn World>, faults: &Faults) -> Self {
        Self { inner, steps: faults.steps.clone(), stops: Arc::default() }
    }

    /// A voice for the inner world, and where it is heard.
    fn overhear(job: Job) -> (Voice, oneshot::Receiver<Ending>) {
        let (sender, receiver) = oneshot::channel();
        let voice = Voice::new(job, move |ending| {
            // The hearer is gone only when the whole world is.
            let _ = sender.send(ending);
        });
        (voice, receiver)
    }

    fn stop_signal(&self, job: Job) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(false);
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).insert(job, sender);
        receiver
    }

    fn speak(stops: &Mutex<BTreeMap<Job, watch::Sender<bool>>>, voice: Voice, ending: Ending) {
        stops.lock().unwrap_or_else(PoisonError::into_inner).remove(&voice.job());
        voice.end(ending);
    }

    fn fail(&self, run: &Run, voice: Voice) {
        let job = voice.job();
        let (inner_voice, heard) = Self::overhear(job);
        self.inner.begin(job, run, inner_voice);
        let (inner, stops) = (Arc::clone(&self.inner), Arc::clone(&self.stops));
        tokio::spawn(async move {
            tokio::pin!(heard);
            let ending = tokio::select! {
                ending = &mut heard => ending,
                () = tokio::time::sleep(HALF_WAY) => {
                    inner.stop(job);
                    heard.await
                }
            };
            let injected = |kind| Failure {
                kind,
                chain: vec!["a fault put in on purpose: the step fails half done".to_owned()],
            };
            let ending = match ending {
                // What nobody knows is not made certain by a rehearsal.
                Ok(Ending::Unknown(failure)) => Ending::Unknown(failure),
                Ok(Ending::Failed(failure)) => Ending::Failed(failure),
                Ok(_) => Ending::Failed(injected(FailureKind::Transient)),
                Err(_) => Ending::Unknown(injected(FailureKind::InDoubt)),
            };
            Self::speak(&stops, voice, ending);
        });
    }

    fn hang(&self, run: &Run, voice: Voice) {
        let mut stop = self.stop_signal(voice.job());
        let stops = Arc::clone(&self.stops);
        let timeout = run.graph().def(voice.job().step).timeout;
        let timeout = timeout.and_then(|timeout| Duration::try_from(timeout).ok());
        tokio::spawn(async move {
            let hung = "a fault put in on purpose: the step hung until its timeout";
            let deadline = async {
                match timeout {
                    Some(timeout) => tokio::time::sleep(timeout).await,
                    None => std::future::pending().await,
                }
            };
            let ending = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => Ending::Stopped,
                () = deadline => Ending::Unknown(Failure::timed_out(hung)),
            };
            Self::speak(&stops, voice, ending);
        });
    }

    fn slow(&self, run: &Run, voice: Voice, sick: Sick) {
        let job = voice.job();
        let mut stop = self.stop_signal(job);
        let stops = Arc::clone(&self.stops);
        let begun = Instant::now();
        let (inner_voice, heard) = Self::overhear(job);
        self.inner.begin(job, run, inner_voice);
        tokio::spawn(async move {
            let Ok(ending) = heard.await else { return };
            let longer = match sick {
                Sick::Times(factor) => begun.elapsed().mul_f64(factor - 1.0),
                Sick::Longer(longer) => longer,
                Sick::Fail(_) | Sick::Hang => Duration::ZERO,
            };
            // Told to end while it dawdles, it says what it has done already.
            tokio::select! {
                () = tokio::time::sleep(longer) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            Self::speak(&stops, voice, ending);
        });
    }
}

impl World for FaultyWorld {
    fn begin(&self, job: Job, run: &Run, voice: Voice) {
        match self.steps.get(&job.step).filter(|_| job.way == Way::Do).copied() {
            Some(Sick::Fail(attempts)) if job.attempt <= attempts => self.fail(run, voice),
            Some(Sick::Hang) => self.hang(run, voice),
            Some(sick @ (Sick::Times(_) | Sick::Longer(_))) => self.slow(run, voice, sick),
            Some(Sick::Fail(_)) | None => self.inner.begin(job, run, voice),
        }
    }

    fn stop(&self, job: Job) {
        if let Some(stop) = self.stops.lock().unwrap_or_else(PoisonError::into_inner).get(&job) {
            stop.send_replace(true);
        }
        self.inner.stop(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_a_step_are_read() {
        assert_eq!(sickness("fail"), Some(Sick::Fail(u32::MAX)));
        assert_eq!(sickness("fail:2"), Some(Sick::Fail(2)));
        assert_eq!(sickness("hang"), Some(Sick::Hang));
        assert_eq!(sickness("slow:5"), Some(Sick::Times(5.0)));
        assert_eq!(sickness("slow:5s"), Some(Sick::Longer(Duration::from_secs(5))));
        for nonsense in [
            "",
            "fail:",
            "fail:0",
            "fail:-1",
            "slow",
            "slow:0",
            "slow:nan",
            "slow:inf",
            "slow:1e300",
            "slow:-5s",
            "die",
            "hang:3",
        ] {
            assert_eq!(sickness(nonsense), None, "{nonsense}");
        }
    }
}
