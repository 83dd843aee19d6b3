//! `manual`: a person does it. Claimed and ended by people (`cutover claim|done|fail RUN STEP`).

/// What people are to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Manual<T> {
    /// Groups of the estate's `people`, any of whom may do it; empty: anyone.
    pub by: Vec<String>,
    /// Different people who must say that it is done.
    pub people: u32,
    /// The instruction.
    pub how: T,
    /// Whether `done` must say what shows it.
    pub evidence_required: bool,
}
