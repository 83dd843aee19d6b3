//! `role.fence` (loses) and `role.promote` (gains). Each is the other's undo.

use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::tree::Node;

/// A role, as `ROLE@SITE/LINE`, or `ROLE@SITE` when it is not per line.
#[derive(Clone, Debug, PartialEq)]
pub struct Role<T> {
    /// Which.
    pub role: T,
}

/// The parts of `ROLE@SITE/LINE`, or of `ROLE@SITE`.
pub fn split(role: &str) -> Option<(&str, &str, Option<&str>)> {
    let (name, rest) = role.split_once('@')?;
    let (site, line) = match rest.split_once('/') {
        Some((site, line)) => (site, Some(line)),
        None => (rest, None),
    };
    let plain = crate::text::reader::is_name;
    (plain(name) && plain(site) && line.is_none_or(plain)).then_some((name, site, line))
}

impl Role<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>, what: &'static str) -> Option<Self> {
        let mut fields = scope.reader.fields(node, what)?;
        let role = fields.need("role").and_then(|node| {
            let template = scope.fixed(node, "`role`")?;
            if split(&crate::plan::scope::shape(&template)).is_none() {
                let fault = format!("`{template}` is not a role at a site");
                scope.reader.report(
                    crate::text::fault::Fault::error("bad-name", node.span, fault)
                        .hint("write it like `writer@from/${{ line }}`"),
                );
                return None;
            }
            Some(template)
        });
        fields.finish(&mut scope.reader, &[]);
        Some(Self { role: role? })
    }
}

impl<T> Role<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Role<U>, E> {
        Ok(Role { role: f(&self.role)? })
    }
}
