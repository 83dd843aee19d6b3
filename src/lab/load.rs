//! The lab's clients: a process of its own.

/// Asks as clients do until the lab ends.
///
/// # Errors
/// The lab cannot be reached.
pub fn main(_: &std::path::Path) -> anyhow::Result<()> {
    Ok(())
}
