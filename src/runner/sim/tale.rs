//! A story as text, so that it can be kept and told again: which plan, what the run begins with, and
//! one line for each turn.
//!
//! ```text
//! # why it is kept
//! plan small 17
//! setup 3 0 1
//! turn 12 5
//! turn
//! ```

use super::Story;
use std::fmt;
use std::str::FromStr;

/// Which plan a story is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// The random small plan of this seed.
    Small(u64),
    /// A plan's file.
    File(String),
}

/// A story with the plan that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tale {
    /// The plan.
    pub of: Of,
    /// The choices.
    pub story: Story,
}

impl fmt::Display for Tale {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Of::Small(seed) => writeln!(out, "plan small {seed}")?,
            Of::File(path) => writeln!(out, "plan file {path}")?,
        }
        let line = |out: &mut fmt::Formatter<'_>, word, choices: &[u16]| {
            write!(out, "{word}")?;
            choices.iter().try_for_each(|choice| write!(out, " {choice}"))?;
            writeln!(out)
        };
        line(out, "setup", &self.story.setup)?;
        self.story.turns.iter().try_for_each(|turn| line(out, "turn", turn))
    }
}

impl FromStr for Tale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut of, mut story) = (None, Story::default());
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |what: &str| format!("line {number} of the story: {what}: `{line}`");
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let choices = || -> Result<Vec<u16>, String> {
                let numbers = rest.split_whitespace().map(str::parse);
                numbers.collect::<Result<_, _>>().map_err(|_| wrong("not choices"))
            };
            match word {
                "" | "#" => {}
                "plan" => {
                    of = Some(match rest.split_once(' ') {
                        Some(("file", path)) => Of::File(path.to_owned()),
                        Some(("small", seed)) => {
                            Of::Small(seed.parse().map_err(|_| wrong("not a seed"))?)
                        }
                        _ => return Err(wrong("neither `small` nor `file`")),
                    });
                }
                "setup" => story.setup = choices()?,
                "turn" => story.turns.push(choices()?),
                _ => return Err(wrong("not known")),
            }
        }
        let of = of.ok_or("the story says no plan: `plan small SEED` or `plan file PATH`")?;
        Ok(Self { of, story })
    }
}
