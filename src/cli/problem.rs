//! How a command that cannot go on says so: what, why, and what to do next.

use super::exit::Exit;
use crate::journal::JournalError;
use crate::runner::StartError;
use std::fmt;

/// Why a command ends without its result.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What and why; several lines when there are several faults.
    pub(crate) text: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// Usage, plan, estate or run directory is wrong.
    pub(crate) fn wrong(text: impl Into<String>) -> Self {
        Self { exit: Exit::Wrong, text: text.into(), hint: None }
    }

    /// With what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}", self.text.trim_end())?;
        match &self.hint {
            Some(hint) => write!(out, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        let exit = match &error {
            JournalError::Impossible { .. } => Exit::Unexpected,
            JournalError::Lost(_) => Exit::Interrupted,
            _ => Exit::Wrong,
        };
        Self { exit, text: error.to_string(), hint: error.hint() }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Journal(error) => error.into(),
            StartError::Faults(_) => {
                Self::wrong(error.to_string()).hint("`cutover rehearse --faults` lists them all")
            }
            StartError::Lost(_) => {
                Self { exit: Exit::Interrupted, text: error.to_string(), hint: None }
            }
            StartError::Guard(_) | StartError::Refused(_) => Self::wrong(error.to_string()),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Unexpected, text: format!("{error:#}"), hint: None }
    }
}
