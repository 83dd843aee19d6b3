//! `database.*`: restore points, copies that prove themselves, comparisons.

/// A restore point named after run and step.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    /// Site.
    pub site: T,
    /// Database of the site.
    pub database: T,
}

/// How a transfer moves the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// A copy of what was fenced.
    #[default]
    Copy,
    /// Kept up to date, and back again after the switch (a later issue carries it out).
    Replicate,
}

/// A copy of a database from a site to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer<T> {
    /// Source site.
    pub from: T,
    /// Target site.
    pub to: T,
    /// Database name at both.
    pub database: T,
    /// How.
    pub method: Method,
}

/// A comparison of every table at both ends. Undo: nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify<T> {
    /// Source site.
    pub from: T,
    /// Target site.
    pub to: T,
    /// Database name at both.
    pub database: T,
}
