//! `${{ }}`: looks values up, and does nothing else.

use crate::text::Span;
use std::fmt;

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
    /// `${{ plan.name }}`: a fact of the plan, by its name without `plan.`.
    PlanFact(String),
    /// `${{ steps.upgrade-ocsp.outputs.build }}`
    Output {
        /// The step's definition name.
        step: String,
        /// The output's name.
        output: String,
    },
}

impl Template {
    /// Text without look-ups.
    pub fn literal(text: impl Into<String>, span: Span) -> Self {
        Self { pieces: vec![Piece::Text(text.into())], span }
    }

    /// The text, when nothing is looked up in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The outputs of other steps that it looks up, as (step, output).
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Output { step, output } => Some((step.as_str(), output.as_str())),
            _ => None,
        })
    }

    /// The text with every look-up answered by `look`.
    ///
    /// # Errors
    /// The first look-up that `look` has no answer for.
    pub fn fill(
        &self,
        look: &mut dyn FnMut(&Piece) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                other => out.push_str(&look(other)?),
            }
        }
        Ok(out)
    }
}

/// As it is written in a plan.
impl fmt::Display for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| piece.fmt(out))
    }
}

/// As it is written in a plan.
impl fmt::Display for Piece {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Variable(name) => write!(out, "${{{{ {name} }}}}"),
            Self::LineFact(name) => write!(out, "${{{{ line.{name} }}}}"),
            Self::PlanFact(name) => write!(out, "${{{{ plan.{name} }}}}"),
            Self::Output { step, output } => {
                write!(out, "${{{{ steps.{step}.outputs.{output} }}}}")
            }
        }
    }
}

/// Text cut at its look-ups: what stands between `${{` and `}}`, trimmed, with the raw text of the
/// whole look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut<'t> {
    /// Text as it is.
    Text(&'t str),
    /// A look-up.
    Look {
        /// Between the braces, trimmed.
        inner: &'t str,
        /// With its braces.
        raw: &'t str,
    },
    /// `${{` without `}}`: the rest of the text.
    Open(&'t str),
}

/// Cuts a text at its look-ups. It reads plans and notices alike.
pub fn cut(text: &str) -> Vec<Cut<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("${{") {
        if open > 0 {
            out.push(Cut::Text(&rest[..open]));
        }
        let from = &rest[open..];
        let Some(close) = from.find("}}") else {
            out.push(Cut::Open(from));
            return out;
        };
        let (raw, after) = from.split_at(close + 2);
        out.push(Cut::Look { inner: raw[3..close].trim(), raw });
        rest = after;
    }
    if !rest.is_empty() {
        out.push(Cut::Text(rest));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_their_look_ups() {
        assert_eq!(
            cut("a${{ x }}b${{y}}"),
            [
                Cut::Text("a"),
                Cut::Look { inner: "x", raw: "${{ x }}" },
                Cut::Text("b"),
                Cut::Look { inner: "y", raw: "${{y}}" },
            ]
        );
        assert_eq!(cut("a ${{ x"), [Cut::Text("a "), Cut::Open("${{ x")]);
        assert_eq!(cut("${{}}"), [Cut::Look { inner: "", raw: "${{}}" }]);
        assert_eq!(cut("$ {{ }} ${x}"), [Cut::Text("$ {{ }} ${x}")]);
        assert_eq!(cut(""), []);
    }

    #[test]
    fn a_template_prints_as_it_was_written() {
        let pieces = vec![
            Piece::Text("writer@from/".into()),
            Piece::Variable("line".into()),
            Piece::Output { step: "s".into(), output: "o".into() },
        ];
        let template = Template { pieces, span: Span::default() };
        assert_eq!(template.to_string(), "writer@from/${{ line }}${{ steps.s.outputs.o }}");
        assert_eq!(template.outputs().collect::<Vec<_>>(), [("s", "o")]);
        let filled = template.fill(&mut |piece| match piece {
            Piece::Variable(name) => Ok(name.to_uppercase()),
            other => Err(other.to_string()),
        });
        assert_eq!(filled, Err("${{ steps.s.outputs.o }}".into()));
    }
}
