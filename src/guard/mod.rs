//! The guard: keeps asking the protected services and verifies what they answer.
//!
//! A thread and a runtime of its own; knows targets, not the plan. A verdict is about the answer's
//! content, not the port.

// GUARD helper: fetch, ocsp, crl, seal.

use crate::event::{Seq, Verdict};
use std::path::PathBuf;
use std::time::Duration;

/// What kind of service a target is; by the service's name (`ocsp`, `crl`; anything else is a page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6960.
    Ocsp,
    /// RFC 5280.
    Crl,
    /// A page with an expected text.
    Seal,
}

/// One provider (of a line) to watch. The runner makes these from graph and estate.
#[derive(Clone, Debug)]
pub struct Target {
    /// `ocsp@to/ocsp-1[geotrust]`
    pub name: String,
    /// How it is asked.
    pub protocol: Protocol,
    /// URL with `{line}` filled; `{issuer}` is filled per issuer.
    pub url: String,
    /// Issuers' PEM files.
    pub issuers: Vec<PathBuf>,
    /// Sentinel PEM files (of any issuer; the guard picks those of `issuers`).
    pub good: Vec<PathBuf>,
    /// Revoked sentinels.
    pub revoked: Vec<PathBuf>,
    /// Never issued.
    pub unissued: Vec<PathBuf>,
    /// Text that a page must hold.
    pub expect: Option<String>,
}

/// The guard's pace.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two questions to one provider.
    pub every: Duration,
    /// Good answers in a row that end a breach.
    pub recovery: u32,
}

/// What the guard tells. Index = place in the targets it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The verdict on a target changed, by an answer to a question asked after it had been told of
    /// record `as_of`.
    Verdict {
        /// Which target.
        target: usize,
        /// The verdict.
        verdict: Verdict,
        /// The newest record that it had been told of when it asked.
        as_of: Seq,
        /// What was found, for the record: one sentence.
        why: String,
    },
    /// It lives. At least once per interval.
    Alive,
}

/// What the guard is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A record touched these targets: their verdict is unknown again, only answers to questions
    /// asked from now on count, and with `given_back` they are asked at once and every 200 ms until 3
    /// good answers came.
    Touched {
        /// Which targets.
        targets: Vec<usize>,
        /// The record.
        seq: Seq,
        /// Clients are sent there (again) from now on.
        given_back: bool,
    },
    /// Whether clients are sent there: a target that is not serving is asked too, but says nothing
    /// worse than `Unknown`... see GUARD helper's docs.
    Hang,
}
