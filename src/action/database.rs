//! `database.*`: restore points, copies that prove themselves, comparisons.

use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::tree::Node;

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

impl Snapshot<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>, what: &'static str) -> Option<Self> {
        let mut fields = scope.reader.fields(node, what)?;
        let site = fields.need("site").and_then(|n| scope.fixed(n, "`site`"));
        let database = fields.need("database").and_then(|n| scope.fixed(n, "`database`"));
        fields.finish(&mut scope.reader, &[]);
        Some(Self { site: site?, database: database? })
    }
}

/// `from`, `to`, `database`; that the ends differ is told here, where both are written.
fn ends(
    node: &Node<'_>,
    scope: &mut Scope<'_>,
    what: &'static str,
    method: bool,
) -> Option<Transfer<Template>> {
    let mut fields = scope.reader.fields(node, what)?;
    let from = fields.need("from").and_then(|n| scope.fixed(n, "`from`"));
    let to = fields.need("to").and_then(|n| scope.fixed(n, "`to`"));
    let database = fields.need("database").and_then(|n| scope.fixed(n, "`database`"));
    let words = [("copy", Method::Copy), ("replicate", Method::Replicate)];
    let method = match method.then(|| fields.take("method")).flatten() {
        None => Some(Method::Copy),
        Some(node) => scope.reader.word(node, "`method`", &words),
    };
    fields.finish(&mut scope.reader, &[]);
    let (from, to) = (from?, to?);
    if from.pieces == to.pieces {
        let what = format!("`{from}` is both source and target");
        scope.reader.error("same-ends", to.span, what);
        return None;
    }
    Some(Transfer { from, to, database: database?, method: method? })
}

impl Transfer<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>, what: &'static str) -> Option<Self> {
        ends(node, scope, what, true)
    }
}

impl Verify<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let Transfer { from, to, database, .. } = ends(node, scope, "`database.verify`", false)?;
        Some(Self { from, to, database })
    }
}

impl<T> Snapshot<T> {
    pub(super) fn map<U, E>(
        &self,
        f: &mut dyn FnMut(&T) -> Result<U, E>,
    ) -> Result<Snapshot<U>, E> {
        Ok(Snapshot { site: f(&self.site)?, database: f(&self.database)? })
    }
}

impl<T> Transfer<T> {
    pub(super) fn map<U, E>(
        &self,
        f: &mut dyn FnMut(&T) -> Result<U, E>,
    ) -> Result<Transfer<U>, E> {
        let (from, to) = (f(&self.from)?, f(&self.to)?);
        Ok(Transfer { from, to, database: f(&self.database)?, method: self.method })
    }
}

impl<T> Verify<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Verify<U>, E> {
        Ok(Verify { from: f(&self.from)?, to: f(&self.to)?, database: f(&self.database)? })
    }
}
