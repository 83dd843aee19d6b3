//! Why an attempt did not end well, in a form that the journal can keep.
//!
//! Not known here: what was attempted, and what follows from it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a failure means for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Another attempt may succeed: the step's `retry` applies.
    Transient,
    /// Another attempt would fail in the same way: no retry, the step's `on_failure` applies.
    Final,
    /// Its deadline passed, and it was ended.
    TimedOut,
    /// It is not known whether the deed was done (killed, connection lost, answer unreadable).
    InDoubt,
}

/// A failure as the journal keeps it and people read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What it means for what comes next.
    pub kind: FailureKind,
    /// What failed, outermost first, then its causes. Never holds a secret.
    pub chain: Vec<String>,
}

impl Failure {
    /// A failure that another attempt may cure.
    pub fn transient(what: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient, chain: vec![what.into()] }
    }

    /// A failure that no further attempt would cure.
    pub fn last(what: impl Into<String>) -> Self {
        Self { kind: FailureKind::Final, chain: vec![what.into()] }
    }

    /// An attempt of which nobody knows whether it did its deed.
    pub fn in_doubt(what: impl Into<String>) -> Self {
        Self { kind: FailureKind::InDoubt, chain: vec![what.into()] }
    }

    /// An attempt that its deadline ended.
    pub fn timed_out(what: impl Into<String>) -> Self {
        Self { kind: FailureKind::TimedOut, chain: vec![what.into()] }
    }

    /// A failure with the whole cause chain of `error`.
    pub fn from_error(kind: FailureKind, error: &anyhow::Error) -> Self {
        Self { kind, chain: error.chain().map(ToString::to_string).collect() }
    }

    /// Adds what was being done when this failed.
    #[must_use]
    pub fn while_doing(mut self, what: impl Into<String>) -> Self {
        self.chain.insert(0, what.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, what) in self.chain.iter().enumerate() {
            if depth > 0 {
                out.write_str(": ")?;
            }
            out.write_str(what)?;
        }
        Ok(())
    }
}
