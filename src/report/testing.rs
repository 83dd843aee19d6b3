//! A run that is told what happens to it, for tests of what is shown of it.

use crate::event::{Ending, Event, Header, Job, Options, Person, Record, StepId, Verdict, Way};
use crate::graph::Graph;
use crate::run::Run;
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;

/// Two lines that move; a name that is hostile to a page, and names that must not be published.
pub(super) const MOVE: &str = r#"
cutover: v1
name: A <b>move</b> & more
change: CHG-SECRET
window:
  opens: 2019-04-06T08:30[America/Los_Angeles]
  closes: 2019-04-06T20:30[America/Los_Angeles]
lines:
  geotrust: { title: GeoTrust, orders: paused }
  managed-pki: {}
protect:
  ocsp: { per: line, at_least: 1, providers: ["ocsp@from/secret-host"] }
  seal: { at_least: 1, providers: ["seal@from/secret-host"] }
steps:
  close:
    for_each: { line: all }
    do: { edge.close: { site: from, line: "${{ line }}", routes: [order, order-status], status: 404 } }
  pause:
    for_each: { line: { where: { orders: paused } } }
    needs: [close]
    do: { orders.pause: { site: from, line: "${{ line }}" } }
  snapshot:
    for_each: { line: all }
    needs: [close, pause]
    do: { database.snapshot: { site: from, database: "${{ line }}" } }
  copy:
    for_each: { line: all }
    needs: [snapshot]
    do: { database.transfer: { from: from, to: to, database: "${{ line }}", method: replicate } }
  verify:
    for_each: { line: all }
    needs: [copy]
    do: { database.verify: { from: from, to: to, database: "${{ line }}" } }
  reopen:
    kind: reopen
    for_each: { line: all }
    needs: [verify]
    do: { edge.open: { site: to, line: "${{ line }}", routes: [order, order-status] } }
  resume:
    for_each: { line: { where: { orders: paused } } }
    needs: [reopen]
    do: { orders.resume: { site: to, line: "${{ line }}", rate: 100/s } }
"#;

/// The story of a run, told record by record. Anything that cannot happen ends the test.
pub(super) struct Story {
    pub(super) run: Run,
    pub(super) records: Vec<Record>,
    at: Timestamp,
    attempts: std::collections::BTreeMap<(StepId, Way), u32>,
}

pub(super) fn compiled(plan: &str) -> Arc<Graph> {
    match crate::load::load(Path::new("plan.yaml"), plan, None) {
        Ok(loaded) => loaded.graph,
        Err(faults) => panic!("{:?}", faults.files.iter().map(|it| &it.faults).collect::<Vec<_>>()),
    }
}

pub(super) fn at(time: &str) -> Timestamp {
    time.parse().expect("an instant")
}

impl Story {
    /// Begun and opened at an instant.
    pub(super) fn of(plan: &str, begun: &str) -> Self {
        let mut story = Self {
            run: Run::new(compiled(plan)),
            records: Vec::new(),
            at: at(begun),
            attempts: std::collections::BTreeMap::new(),
        };
        let header = Header {
            format: 1,
            program: "0".into(),
            run: "r".into(),
            plan_path: "/plan.yaml".into(),
            plan: String::new(),
            estate_path: None,
            estate: None,
            graph: String::new(),
            by: person("mara"),
            options: Options { rehearsal: true, ..Options::default() },
        };
        story.tell(Event::Begun(Box::new(header)));
        story.tell(Event::Opened { epoch: 1, boot: "b".into(), pid: 1, cut: 0 });
        story
    }

    pub(super) fn tell(&mut self, event: Event) {
        let record = Record { seq: self.run.seq() + 1, at: self.at, event };
        self.run.apply(&record).unwrap_or_else(|no| panic!("{record:?}: {}", no.0));
        self.records.push(record);
    }

    fn job(&self, step: &str, way: Way) -> Job {
        let step = self.run.graph().find(step).unwrap_or_else(|| panic!("no step `{step}`"));
        Job { step, way, attempt: self.attempts.get(&(step, way)).copied().unwrap_or(0) }
    }

    pub(super) fn starts(&mut self, steps: &[&str], way: Way) {
        for step in steps {
            let mut job = self.job(step, way);
            job.attempt += 1;
            self.attempts.insert((job.step, way), job.attempt);
            self.tell(Event::Started(job));
        }
    }

    pub(super) fn ends(&mut self, steps: &[&str], way: Way) {
        for step in steps {
            self.tell(Event::Ended(self.job(step, way), Ending::Done([].into())));
        }
    }

    /// Starts and ends each.
    pub(super) fn done(&mut self, steps: &[&str]) {
        for step in steps {
            self.starts(&[step], Way::Do);
            self.ends(&[step], Way::Do);
        }
    }

    pub(super) fn undone(&mut self, steps: &[&str]) {
        for step in steps {
            self.starts(&[step], Way::Undo);
            self.ends(&[step], Way::Undo);
        }
    }

    /// A verdict on every provider whose name begins so.
    pub(super) fn judged(&mut self, prefix: &str, verdict: &Verdict) {
        let graph = self.run.graph().clone();
        for (index, info) in (0_u32..).zip(graph.providers()) {
            if info.name.starts_with(prefix) {
                let as_of = self.run.seq();
                let provider = crate::event::ProviderId(index);
                self.tell(Event::Verdict { provider, verdict: verdict.clone(), as_of });
            }
        }
    }
}

pub(super) fn person(login: &str) -> Person {
    Person { login: login.into(), uid: 1001, groups: vec!["release-managers".into()] }
}
