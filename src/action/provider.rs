//! `provider.enable` (gains) and `provider.disable` (loses). Each is the other's undo.

use crate::plan::scope::Scope;
use crate::plan::template::{Piece, Template};
use crate::text::tree::Node;

/// A provider, as `SERVICE@SITE/NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider<T> {
    /// Which.
    pub provider: T,
    /// The line whose clients are sent there or away: the step's variable `line`, none for all.
    pub line: Option<T>,
}

/// The parts of `SERVICE@SITE/NAME`.
pub fn split(provider: &str) -> Option<(&str, &str, &str)> {
    let (service, rest) = provider.split_once('@')?;
    let (site, name) = rest.split_once('/')?;
    let plain = crate::text::reader::is_name;
    (plain(service) && plain(site) && plain(name)).then_some((service, site, name))
}

impl Provider<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>, what: &'static str) -> Option<Self> {
        let mut fields = scope.reader.fields(node, what)?;
        let provider = fields.need("provider").and_then(|node| provider(node, scope, "`provider`"));
        fields.finish(
            &mut scope.reader,
            &[("line", "the line is that of the step: say `for_each: { line: all }`")],
        );
        let over_lines = scope.variables.iter().any(|(name, _)| name == "line");
        let line = over_lines.then(|| Template {
            pieces: vec![Piece::Variable("line".to_owned())],
            span: node.span,
        });
        Some(Self { provider: provider?, line })
    }
}

/// A text of the form `SERVICE@SITE/NAME`.
pub(crate) fn provider(node: &Node<'_>, scope: &mut Scope<'_>, what: &str) -> Option<Template> {
    let template = scope.fixed(node, what)?;
    if split(&crate::plan::scope::shape(&template)).is_none() {
        let fault = format!("`{template}` is not a provider");
        scope.reader.report(
            crate::text::fault::Fault::error("bad-name", node.span, fault)
                .hint("write it like `ocsp@from/ocsp-1`"),
        );
        return None;
    }
    Some(template)
}

impl<T> Provider<T> {
    pub(super) fn map<U, E>(
        &self,
        f: &mut dyn FnMut(&T) -> Result<U, E>,
    ) -> Result<Provider<U>, E> {
        let line = self.line.as_ref().map(&mut *f).transpose()?;
        Ok(Provider { provider: f(&self.provider)?, line })
    }
}
