//! `${{ }}`: looks values up, and does nothing else.

use crate::text::Span;

/// A text with look-ups in it, parsed once per definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Pieces, in order.
    pub pieces: Vec<Piece>,
    /// Where it stands in the plan.
    pub span: Span,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// `${{ line }}`: a variable of the step.
    Variable(String),
    /// `${{ line.orders }}`: a fact of the step's line.
    LineFact(String),
    /// `${{ plan.name }}`: a fact of the plan.
    PlanFact(String),
    /// `${{ steps.upgrade-ocsp.outputs.build }}`
    Output {
        /// The step's definition name.
        step: String,
        /// The output's name.
        output: String,
    },
}
