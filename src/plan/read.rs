//! From text to a plan: every fault in one go.

use super::Plan;
use crate::text::fault::Fault;
use std::path::Path;

/// Reads a plan's text. `path` is for messages and for relative paths.
///
/// # Errors
/// Every fault of the file (a syntax fault stands alone).
pub fn read(path: &Path, text: &str) -> Result<(Plan, Vec<Fault>), Vec<Fault>> {
    let _ = (path, text);
    todo!()
}
