//! A fault of a plan or an estate, and how it is printed.

use super::Span;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used: exit 2.
    Error,
    /// Worth a look; the exit code stays.
    Warning,
    /// Said once, for the record.
    Note,
}

/// One fault: what, where, why, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How bad.
    pub severity: Severity,
    /// Stable kebab-case name of the rule, for scripts (`unknown-field`, `cycle`, ...).
    pub code: &'static str,
    /// What and why, lower case, one sentence, names in backticks.
    pub what: String,
    /// Where, when it stands somewhere.
    pub span: Option<Span>,
    /// Other places that belong to it, each with a word.
    pub others: Vec<(Span, String)>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Fault {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            what: what.into(),
            span: Some(span),
            others: Vec::new(),
            hint: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, what) }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With another place that belongs to it.
    #[must_use]
    pub fn also(mut self, span: Span, what: impl Into<String>) -> Self {
        self.others.push((span, what.into()));
        self
    }
}
