//! `role.fence` (loses) and `role.promote` (gains). Each is the other's undo.

/// A role, as `ROLE@SITE/LINE`, or `ROLE@SITE` when it is not per line.
#[derive(Clone, Debug, PartialEq)]
pub struct Role<T> {
    /// Which.
    pub role: T,
}
