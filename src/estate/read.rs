//! From text to an estate: every fault in one go.

use super::Estate;
use crate::text::fault::Fault;
use std::path::Path;

/// Reads an estate's text. `path` is for messages and for relative paths.
///
/// # Errors
/// Every fault of the file (a syntax fault stands alone).
pub fn read(path: &Path, text: &str) -> Result<(Estate, Vec<Fault>), Vec<Fault>> {
    let _ = (path, text);
    todo!()
}
