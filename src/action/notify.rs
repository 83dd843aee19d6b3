//! `notify`: a notice to channels of the estate. No undo needed; a retry sends only to the channels
//! that are still without it.

use std::path::PathBuf;

/// A notice.
#[derive(Clone, Debug, PartialEq)]
pub struct Notify<T> {
    /// A Markdown file beside the plan, filled with the plan's facts; its first heading is the subject.
    pub notice: PathBuf,
    /// Channels of the estate.
    pub to: Vec<T>,
}
