//! `manual`: a person does it. Claimed and ended by people (`cutover claim|done|fail RUN STEP`).

use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::tree::Node;

/// What people are to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Manual<T> {
    /// Groups of the estate's `people`, any of whom may do it; empty: anyone.
    pub by: Vec<String>,
    /// Different people who must say that it is done.
    pub people: u32,
    /// The instruction.
    pub how: T,
    /// Whether `done` must say what shows it.
    pub evidence_required: bool,
}

impl Manual<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let mut fields = scope.reader.fields(node, "`manual`")?;
        let by = match fields.take("by") {
            None => Some(Vec::new()),
            Some(node) => scope
                .reader
                .texts(node, "`by`")
                .map(|groups| groups.into_iter().map(|group| group.value).collect()),
        };
        let people = match fields.take("people") {
            None => Some(1),
            Some(node) => scope.reader.number(node, "`people`", 1..=100),
        };
        let how = fields.need("how").and_then(|node| {
            scope.reader.text(node, "`how`")?;
            scope.filled(node, "`how`")
        });
        let evidence_required = match fields.take("evidence") {
            None => Some(false),
            Some(node) => {
                scope.reader.word(node, "`evidence`", &[("required", true), ("optional", false)])
            }
        };
        fields.finish(&mut scope.reader, &[]);
        Some(Self { by: by?, people: people?, how: how?, evidence_required: evidence_required? })
    }
}

impl<T> Manual<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Manual<U>, E> {
        Ok(Manual {
            by: self.by.clone(),
            people: self.people,
            how: f(&self.how)?,
            evidence_required: self.evidence_required,
        })
    }
}
