//! `orders.pause` and `orders.resume`: a line's queue of orders. Each is the other's undo.

use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::time;
use crate::text::tree::Node;

/// Nothing is issued from the line's queue any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Pause<T> {
    /// Site.
    pub site: T,
    /// Product line.
    pub line: T,
}

/// Issues again, in order of submission, those from before the window first; ends when every order
/// from before is issued.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume<T> {
    /// Site.
    pub site: T,
    /// Product line.
    pub line: T,
    /// Orders a second at most (`rate: 100/s`).
    pub rate: f64,
}

/// The pace at which the undo of a pause issues again, in orders a second.
const UNDO_RATE: f64 = 100.0;

impl Pause<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let mut fields = scope.reader.fields(node, "`orders.pause`")?;
        let site = fields.need("site").and_then(|n| scope.fixed(n, "`site`"));
        let line = fields.need("line").and_then(|n| scope.fixed(n, "`line`"));
        fields.finish(&mut scope.reader, &[]);
        Some(Self { site: site?, line: line? })
    }
}

impl Resume<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let mut fields = scope.reader.fields(node, "`orders.resume`")?;
        let site = fields.need("site").and_then(|n| scope.fixed(n, "`site`"));
        let line = fields.need("line").and_then(|n| scope.fixed(n, "`line`"));
        let rate = fields.need("rate").and_then(|node| {
            let text = scope.reader.text(node, "`rate`")?;
            scope.reader.time(node.span, "`rate`", time::rate(text))
        });
        fields.finish(&mut scope.reader, &[]);
        Some(Self { site: site?, line: line?, rate: rate? })
    }
}

impl<T> Pause<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Pause<U>, E> {
        Ok(Pause { site: f(&self.site)?, line: f(&self.line)? })
    }

    pub(super) fn undo(&self) -> Resume<T>
    where
        T: Clone,
    {
        Resume { site: self.site.clone(), line: self.line.clone(), rate: UNDO_RATE }
    }
}

impl<T> Resume<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Resume<U>, E> {
        Ok(Resume { site: f(&self.site)?, line: f(&self.line)?, rate: self.rate })
    }

    pub(super) fn undo(&self) -> Pause<T>
    where
        T: Clone,
    {
        Pause { site: self.site.clone(), line: self.line.clone() }
    }
}
