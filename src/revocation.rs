//! The emergency lane as a fold: which revocations were asked for, applied, confirmed. Knows no
//! steps, no files.
