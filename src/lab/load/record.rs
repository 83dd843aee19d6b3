//! What clients saw, written down as they see it.
//!
//! Lines are appended; the files have a bound, past which only what failed is still written, and only
//! up to a second bound. The tally counts all.

use super::super::state;
use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of one file, past which only failures are written.
const BOUND: u64 = 64 << 20;
/// Bytes of one file, past which nothing is written.
const LAST_BOUND: u64 = 96 << 20;

/// The files under a lab's `load/`.
pub(in super::super) mod files {
    /// One line a question to the protected services.
    pub(in super::super::super) const ANSWERS: &str = "load/answers.jsonl";
    /// One line a request to an edge.
    pub(in super::super::super) const API: &str = "load/api.jsonl";
    /// One line an acknowledged order, and one a fulfilled one.
    pub(in super::super::super) const ORDERS: &str = "load/orders.jsonl";
    /// Counts.
    pub(in super::super::super) const TALLY: &str = "load/tally.json";
}

/// What one provider answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Seen {
    /// `ocsp@to/ocsp-1`
    pub(in super::super) provider: String,
    /// Milliseconds.
    pub(in super::super) ms: f64,
    /// Nothing: it was right. Else what was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) why: Option<String>,
    /// A false answer, not merely none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in super::super) lied: bool,
    /// Clients were sent away from it while it was being asked: it does not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in super::super) left: bool,
    /// Base64 of what a liar said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(in super::super) body: String,
}

/// One question, put to every provider that clients are sent to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Question {
    /// Unix milliseconds.
    pub(in super::super) at: i64,
    /// `ocsp`, `crl`, `seal`.
    pub(in super::super) service: String,
    /// Product line.
    pub(in super::super) line: String,
    /// What was asked: a serial and how, a list, a page.
    pub(in super::super) what: String,
    /// What came.
    pub(in super::super) seen: Vec<Seen>,
    /// None answered rightly, or one falsely.
    pub(in super::super) failed: bool,
}

impl Question {
    /// Judges: a question fails when no provider answered rightly, or any falsely, those aside that
    /// clients had been sent away from.
    pub(in super::super) fn judged(mut self) -> Self {
        let right = self.seen.iter().any(|seen| seen.why.is_none());
        let lied = self.seen.iter().any(|seen| seen.lied && !seen.left);
        self.failed = lied || !right;
        self
    }
}

/// One request to an edge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct ApiCall {
    /// Unix milliseconds, when it was sent.
    pub(in super::super) at: i64,
    /// Unix milliseconds, when the answer was there.
    pub(in super::super) done: i64,
    /// Site of the edge.
    pub(in super::super) site: String,
    /// `order`, `order-status`, `fulfilment`.
    pub(in super::super) route: String,
    /// Product line.
    pub(in super::super) line: String,
    /// Status code; 0: no answer.
    pub(in super::super) status: u16,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(in super::super) why: String,
}

/// An order that was acknowledged, or a certificate that was handed out for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Acknowledged {
    /// Product line.
    pub(in super::super) line: String,
    /// Name.
    pub(in super::super) order_id: String,
    /// The certificate, when this is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in super::super) serial: Option<String>,
}

/// Counts of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Count {
    /// Questions.
    pub(in super::super) questions: u64,
    /// Right answers of all providers.
    pub(in super::super) answers: u64,
    /// Questions that failed.
    pub(in super::super) failures: u64,
    /// 99 of 100 right answers were faster, milliseconds.
    pub(in super::super) p99_ms: f64,
}

/// Counts by service.
pub(in super::super) type Tally = BTreeMap<String, Count>;

/// Writes everything down.
pub(super) struct Recorder {
    answers: Bounded,
    api: Bounded,
    orders: Bounded,
    tally: Tally,
    delays: BTreeMap<String, Histogram<u64>>,
    tally_path: PathBuf,
    lost: Option<std::io::Error>,
}

impl Recorder {
    /// Goes on with what is there.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let tally_path = directory.join(files::TALLY);
        let mut tally: Tally =
            if tally_path.exists() { state::read_json(&tally_path)? } else { Tally::new() };
        for service in ["ocsp", "crl", "seal"] {
            tally.entry(service.to_owned()).or_default();
        }
        Ok(Self {
            answers: Bounded::open(&directory.join(files::ANSWERS))?,
            api: Bounded::open(&directory.join(files::API))?,
            orders: Bounded::open(&directory.join(files::ORDERS))?,
            tally,
            delays: BTreeMap::new(),
            tally_path,
            lost: None,
        })
    }

    /// A question and what came of it.
    pub(super) fn question(&mut self, question: &Question) {
        let count = self.tally.entry(question.service.clone()).or_default();
        count.questions += 1;
        count.failures += u64::from(question.failed);
        for seen in question.seen.iter().filter(|seen| seen.why.is_none()) {
            count.answers += 1;
            let delays = self.delays.entry(question.service.clone()).or_insert_with(|| {
                // Microseconds up to a minute, to three digits: constants that fit.
                Histogram::new_with_bounds(1, 60_000_000, 3).expect("BUG: bounds of a histogram")
            });
            delays.saturating_record((seen.ms * 1_000.0) as u64);
        }
        let failed = question.failed || question.seen.iter().any(|seen| seen.why.is_some());
        let written = self.answers.add(question, failed);
        self.note(written);
    }

    /// A request to an edge.
    pub(super) fn api(&mut self, call: &ApiCall) {
        let written = self.api.add(call, call.status == 0);
        self.note(written);
    }

    /// An acknowledged order, or its certificate.
    pub(super) fn order(&mut self, order: &Acknowledged) {
        let written = self.orders.add(order, true);
        self.note(written);
    }

    fn note(&mut self, written: std::io::Result<()>) {
        if let Err(error) = written {
            self.lost.get_or_insert(error);
        }
    }

    /// Hands all lines to the system and rewrites the tally; tells of a line that was lost before.
    pub(super) fn keep(&mut self) -> Result<()> {
        for (service, delays) in &self.delays {
            if let Some(count) = self.tally.get_mut(service) {
                count.p99_ms = delays.value_at_quantile(0.99) as f64 / 1_000.0;
            }
        }
        for file in [&mut self.answers, &mut self.api, &mut self.orders] {
            file.out.flush().context("writing what clients saw")?;
        }
        if let Some(error) = self.lost.take() {
            return Err(error).context("writing what clients saw");
        }
        super::super::write_whole(&self.tally_path, &serde_json::to_vec_pretty(&self.tally)?)
    }
}

/// A file of JSON lines that does not grow without end.
struct Bounded {
    out: BufWriter<File>,
    length: u64,
}

impl Bounded {
    fn open(path: &Path) -> Result<Self> {
        let file = state::open_lines(path)?;
        let length = file.metadata()?.len();
        Ok(Self { out: BufWriter::new(file), length })
    }

    fn add(&mut self, line: &impl Serialize, important: bool) -> std::io::Result<()> {
        if self.length > if important { LAST_BOUND } else { BOUND } {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.length += bytes.len() as u64;
        self.out.write_all(&bytes)
    }
}

/// Milliseconds.
pub(super) fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(why: Option<&str>, lied: bool, left: bool) -> Seen {
        let why = why.map(str::to_owned);
        Seen { provider: "ocsp@to/ocsp-1".into(), ms: 1.5, why, lied, left, body: String::new() }
    }

    fn failed(seen: Vec<Seen>) -> bool {
        let (service, line) = ("ocsp".to_owned(), "geotrust".to_owned());
        Question { at: 1, service, line, what: String::new(), seen, failed: false }.judged().failed
    }

    #[test]
    fn a_question_fails_when_nobody_answers_or_somebody_lies() {
        assert!(failed(vec![]));
        assert!(!failed(vec![seen(None, false, false), seen(Some("refused"), false, false)]));
        assert!(failed(vec![seen(Some("refused"), false, false)]));
        assert!(failed(vec![seen(None, false, false), seen(Some("good"), true, false)]));
        assert!(!failed(vec![seen(None, false, false), seen(Some("good"), true, true)]));
        assert!(failed(vec![seen(Some("refused"), false, true)]));
    }

    #[test]
    fn the_tally_counts_on_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("load")).unwrap();
        for round in 1..=2 {
            let mut record = Recorder::open(directory.path()).unwrap();
            let (service, line) = ("crl".to_owned(), "geotrust".to_owned());
            let question = Question {
                at: 1,
                service,
                line,
                what: String::new(),
                seen: vec![seen(None, false, false)],
                failed: false,
            };
            record.question(&question.judged());
            record.keep().unwrap();
            let tally: Tally = state::read_json(&directory.path().join(files::TALLY)).unwrap();
            assert_eq!((tally["crl"].answers, tally["crl"].failures), (round, 0));
            assert!(tally["crl"].p99_ms >= 1.5 && tally["ocsp"].answers == 0);
        }
    }
}
