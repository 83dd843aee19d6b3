//! The command line: one file per command; thin, as everything is decided below.

pub mod args;
pub mod exit;

use std::io::Write as _;

/// Writes to standard output; a reader that went away is no error.
pub(crate) fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed pipe means that nobody reads: there is nobody to tell.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes to standard error, likewise.
pub(crate) fn err(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
