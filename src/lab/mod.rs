//! The embedded two-site estate.
