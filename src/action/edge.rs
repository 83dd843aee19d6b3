//! `edge.close` and `edge.open`: routes of a line at a site's edge. Each is the other's undo.

/// Closes routes: they answer `status`.
#[derive(Clone, Debug, PartialEq)]
pub struct Close<T> {
    /// Site.
    pub site: T,
    /// Product line.
    pub line: T,
    /// Route names of the estate's edge.
    pub routes: Vec<T>,
    /// What a closed route answers; 404 when left out.
    pub status: u16,
}

/// Opens routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Open<T> {
    /// Site.
    pub site: T,
    /// Product line.
    pub line: T,
    /// Route names of the estate's edge.
    pub routes: Vec<T>,
    /// What its undo makes them answer; 404 when left out.
    pub status: u16,
}
