//! What people ask of a run, over a Unix socket in its directory.
