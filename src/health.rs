//! Probe samples to verdicts; not how the samples were taken.
