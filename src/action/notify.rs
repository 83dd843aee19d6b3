//! `notify`: a notice to channels of the estate. No undo needed; a retry sends only to the channels
//! that are still without it.

use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::tree::Node;

use std::path::PathBuf;

/// A notice.
#[derive(Clone, Debug, PartialEq)]
pub struct Notify<T> {
    /// A Markdown file beside the plan, filled with the plan's facts; its first heading is the subject.
    pub notice: PathBuf,
    /// Channels of the estate.
    pub to: Vec<T>,
}

impl Notify<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let mut fields = scope.reader.fields(node, "`notify`")?;
        let notice = fields.need("notice").and_then(|n| scope.path(n, "`notice`"));
        let to = fields.need("to").and_then(|n| scope.fixed_list(n, "`to`"));
        fields.finish(&mut scope.reader, &[]);
        Some(Self { notice: notice?, to: to? })
    }
}

impl<T> Notify<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Notify<U>, E> {
        let to = self.to.iter().map(f).collect::<Result<_, E>>()?;
        Ok(Notify { notice: self.notice.clone(), to })
    }
}
