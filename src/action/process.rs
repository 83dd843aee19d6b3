//! `run` and `script`: a command on a host, ended with its whole process group at its timeout.

use crate::plan::scope::{Scope, shape};
use crate::plan::template::Template;
use crate::text::fault::Fault;
use crate::text::reader::is_name;
use crate::text::tree::{Node, Value};
use std::collections::BTreeMap;

/// `run: [argv]` with `at:` and `env:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Run<T> {
    /// Program and arguments; never empty, never through a shell.
    pub argv: Vec<T>,
    /// `SITE/HOST`; none: on the runner's machine.
    pub at: Option<T>,
    /// Added to the environment.
    pub env: BTreeMap<String, T>,
}

/// `script: |`, run by `sh -eu`.
#[derive(Clone, Debug, PartialEq)]
pub struct Script<T> {
    /// The text, as written: a `${{ }}` in it is refused.
    pub text: String,
    /// `SITE/HOST`; none: on the runner's machine.
    pub at: Option<T>,
    /// How values reach it.
    pub env: BTreeMap<String, T>,
}

/// `at:` and `env:`, which stand beside `run:` and `script:`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// `SITE/HOST`
    pub(crate) at: Option<Template>,
    /// Added to the environment.
    pub(crate) env: BTreeMap<String, Template>,
}

/// `at: SITE/HOST`
pub(crate) fn read_at(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Template> {
    let at = scope.fixed(node, "`at`")?;
    let shape = shape(&at);
    let good = shape.split_once('/').is_some_and(|(site, host)| is_name(site) && is_name(host));
    if !good {
        scope.reader.report(
            Fault::error("bad-name", node.span, format!("`{at}` is not a host of a site"))
                .hint("write it like `to/ocsp-1`"),
        );
        return None;
    }
    Some(at)
}

/// `env: { NAME: value }`
pub(crate) fn read_env(node: &Node<'_>, scope: &mut Scope<'_>) -> BTreeMap<String, Template> {
    let mut env = BTreeMap::new();
    for entry in scope.reader.entries(node, "`env`").unwrap_or_default() {
        let name: &str = &entry.key.value;
        let good = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !good {
            let what = format!("`{name}` is not a name of an environment variable");
            scope.reader.report(
                Fault::error("bad-name", entry.key.span, what)
                    .hint("names are made of letters, digits and `_`"),
            );
        } else if let Some(value) = scope.filled(&entry.value, &format!("`{name}`")) {
            env.insert(name.to_owned(), value);
        }
    }
    env
}

impl Run<Template> {
    pub(super) fn read(node: &Node<'_>, beside: Beside, scope: &mut Scope<'_>) -> Option<Self> {
        if let Value::Scalar { text, .. } = &node.value {
            let words = text.split_whitespace().collect::<Vec<_>>().join(", ");
            scope.reader.report(
                Fault::error("wrong-type", node.span, "`run` must be a list: there is no shell")
                    .hint(format!("write `[{words}]`; shell text goes under `script`")),
            );
            return None;
        }
        let nodes = scope.reader.list(node, "`run`")?;
        let Some(program) = nodes.first() else {
            scope.reader.error("empty-value", node.span, "`run` names no program");
            return None;
        };
        scope.reader.text(program, "the program of `run`")?;
        let argv: Vec<_> =
            nodes.iter().map(|node| scope.filled(node, "an argument of `run`")).collect();
        let argv = argv.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Self { argv, at: beside.at, env: beside.env })
    }
}

impl Script<Template> {
    pub(super) fn read(node: &Node<'_>, beside: Beside, scope: &mut Scope<'_>) -> Option<Self> {
        let text = scope.reader.text(node, "`script`")?;
        if text.contains("${{") {
            let raw = crate::plan::template::cut(text).into_iter().find_map(|part| match part {
                crate::plan::template::Cut::Look { raw, .. } => Some(raw),
                _ => None,
            });
            let span = scope.inside(node.span, node.span, raw.unwrap_or("${{"));
            let inner = raw.unwrap_or("${{ line }}");
            scope.reader.report(
                Fault::error("template-in-script", span, "nothing is looked up inside a `script`, so that no value can become shell code")
                    .hint(format!("say `env: {{ VALUE: \"{inner}\" }}` and write \"$VALUE\" here")),
            );
            return None;
        }
        Some(Self { text: text.to_owned(), at: beside.at, env: beside.env })
    }
}

fn map_env<T, U, E>(
    env: &BTreeMap<String, T>,
    f: &mut dyn FnMut(&T) -> Result<U, E>,
) -> Result<BTreeMap<String, U>, E> {
    env.iter().map(|(name, value)| Ok((name.clone(), f(value)?))).collect()
}

impl<T> Run<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Run<U>, E> {
        Ok(Run {
            argv: self.argv.iter().map(&mut *f).collect::<Result<_, E>>()?,
            at: self.at.as_ref().map(&mut *f).transpose()?,
            env: map_env(&self.env, f)?,
        })
    }
}

impl<T> Script<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Script<U>, E> {
        Ok(Script {
            text: self.text.clone(),
            at: self.at.as_ref().map(&mut *f).transpose()?,
            env: map_env(&self.env, f)?,
        })
    }
}
