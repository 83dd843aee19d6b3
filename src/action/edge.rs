//! `edge.close` and `edge.open`: routes of a line at a site's edge. Each is the other's undo.

use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::tree::Node;

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

type Args = (Template, Template, Vec<Template>, u16);

fn args(node: &Node<'_>, scope: &mut Scope<'_>, what: &'static str) -> Option<Args> {
    let mut fields = scope.reader.fields(node, what)?;
    let site = fields.need("site").and_then(|n| scope.fixed(n, "`site`"));
    let line = fields.need("line").and_then(|n| scope.fixed(n, "`line`"));
    let routes = fields.need("routes").and_then(|n| scope.fixed_list(n, "`routes`"));
    let status = match fields.take("status") {
        None => Some(404),
        Some(node) => scope.reader.number(node, "`status`", 400..=599),
    };
    fields.finish(&mut scope.reader, &[]);
    Some((site?, line?, routes?, u16::try_from(status?).ok()?))
}

impl Close<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let (site, line, routes, status) = args(node, scope, "`edge.close`")?;
        Some(Self { site, line, routes, status })
    }
}

impl Open<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let (site, line, routes, status) = args(node, scope, "`edge.open`")?;
        Some(Self { site, line, routes, status })
    }
}

impl<T> Close<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Close<U>, E> {
        Ok(Close {
            site: f(&self.site)?,
            line: f(&self.line)?,
            routes: self.routes.iter().map(&mut *f).collect::<Result<_, E>>()?,
            status: self.status,
        })
    }

    pub(super) fn undo(&self) -> Open<T>
    where
        T: Clone,
    {
        Open {
            site: self.site.clone(),
            line: self.line.clone(),
            routes: self.routes.clone(),
            status: self.status,
        }
    }
}

impl<T> Open<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Open<U>, E> {
        Ok(Open {
            site: f(&self.site)?,
            line: f(&self.line)?,
            routes: self.routes.iter().map(&mut *f).collect::<Result<_, E>>()?,
            status: self.status,
        })
    }

    pub(super) fn undo(&self) -> Close<T>
    where
        T: Clone,
    {
        Close {
            site: self.site.clone(),
            line: self.line.clone(),
            routes: self.routes.clone(),
            status: self.status,
        }
    }
}
