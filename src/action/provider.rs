//! `provider.enable` (gains) and `provider.disable` (loses). Each is the other's undo.

/// A provider, as `SERVICE@SITE/NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider<T> {
    /// Which.
    pub provider: T,
    /// The line whose clients are sent there or away: the step's variable `line`, none for all.
    pub line: Option<T>,
}
