//! Times, attempts, persons: a second fold of the journal, for reports.
