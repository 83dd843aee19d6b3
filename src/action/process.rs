//! `run` and `script`: a command on a host, ended with its whole process group at its timeout.

use std::collections::BTreeMap;

/// `run: [argv]` with `at:` and `env:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Run<T> {
    /// Program and arguments; never empty, never through a shell.
    pub argv: Vec<T>,
    /// `SITE/HOST`; none: on the runner's machine.
    pub at: Option<T>,
    /// Added to the environment.
    pub env: BTreeMap<String, T>,
}

/// `script: |`, run by `sh -eu`.
#[derive(Clone, Debug, PartialEq)]
pub struct Script<T> {
    /// The text, as written: a `${{ }}` in it is refused.
    pub text: String,
    /// `SITE/HOST`; none: on the runner's machine.
    pub at: Option<T>,
    /// How values reach it.
    pub env: BTreeMap<String, T>,
}
