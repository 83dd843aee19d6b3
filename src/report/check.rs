//! The page of `cutover check`: all that was proved of a plan, to be read in a change review, and the
//! same as JSON. Not known here: how it was proved, and where the plan was read.

mod json;
#[cfg(test)]
mod tests;

pub use json::Json;

use super::board::counted;
use super::board::fit::wrapped;
use super::lines::printable;
use crate::graph::Graph;
use crate::proof::Proof;
use crate::proof::protection::{Bound, Sense};
use crate::proof::window::Outlook;

/// Columns of the page.
const WIDTH: usize = 100;
/// Where the texts begin.
const TEXT: usize = 15;
/// Steps and states that are named; a reader of a page wants no list.
const NAMED: usize = 3;

/// All that is known of a plan before it runs.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The plan, compiled.
    pub graph: &'a Graph,
    /// What was proved of it.
    pub proof: &'a Proof,
    /// What can be said of its time; none when no duration is known.
    pub outlook: Option<&'a Outlook>,
    /// Warnings that were told beside the page.
    pub warnings: usize,
}

/// Rows of a label and a text, broken between words.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn title(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        for line in wrapped(&printable(text), WIDTH, 2) {
            self.0.push_str(line.trim_end());
            self.0.push('\n');
        }
    }

    fn row(&mut self, label: &str, text: &str) {
        let whole = format!("  {label:<width$}{text}", width = TEXT - 2);
        for line in wrapped(&printable(&whole), WIDTH, TEXT) {
            self.0.push_str(line.trim_end());
            self.0.push('\n');
        }
    }
}

impl Page<'_> {
    /// The page, at most 100 columns wide.
    pub fn text(&self) -> String {
        let plan = self.graph.plan();
        let mut rows = Rows::default();
        let change = plan.change.as_ref().map_or_else(String::new, |change| format!(" · {change}"));
        rows.title(&format!("{}{change}", plan.name));
        self.shape(&mut rows);
        self.protection(&mut rows);
        self.time(&mut rows);
        self.line_rollbacks(&mut rows);
        let warned = match self.warnings {
            0 => String::new(),
            many => format!("; {} to be read above", counted(many, "warning")),
        };
        rows.title(&format!("proved: the plan can be run{warned}"));
        rows.0
    }

    fn shape(&self, rows: &mut Rows) {
        let graph = self.graph;
        rows.0.push('\n');
        let (steps, defs) = (counted(graph.len(), "step"), graph.plan().steps.len());
        let needs = counted(graph.edge_count(), "need");
        rows.row(
            "graph",
            &format!("{steps} of {}, {needs}, no cycle", counted(defs, "definition")),
        );
        match graph.line_count() {
            0 => {}
            1 => rows.row("domain", "1 line, drained, copied and verified before it reopens"),
            lines => rows.row(
                "domain",
                &format!("{lines} lines, each drained, copied and verified before it reopens"),
            ),
        }
        let barred = self.points_of_no_return();
        let undoable = graph.steps().filter(|&step| !graph.is_point_of_no_return(step)).count();
        let barred = match barred.as_slice() {
            [] => "no point of no return".to_owned(),
            names => format!("no return from the begin of {}", ticked(names.iter())),
        };
        rows.row("rollback", &format!("{} can be undone; {barred}", counted(undoable, "step")));
        let checkpoints: Vec<&str> = graph.checkpoints().collect();
        if !checkpoints.is_empty() {
            let noun = if checkpoints.len() == 1 { "checkpoint" } else { "checkpoints" };
            rows.row("", &format!("back to {noun} {}", ticked(checkpoints.iter())));
        }
    }

    /// Definitions of which some instance is one, in written order.
    fn points_of_no_return(&self) -> Vec<&str> {
        let graph = self.graph;
        let defs = graph.plan().steps.iter().enumerate();
        let barred = defs.filter(|(index, _)| {
            graph.instances(*index).any(|step| graph.is_point_of_no_return(step))
        });
        barred.map(|(_, def)| def.name.value.as_str()).collect()
    }

    /// One row for each service and role; lines that have the same bound share one.
    fn protection(&self, rows: &mut Rows) {
        if self.proof.bounds.is_empty() {
            return;
        }
        rows.title(&format!(
            "protection, in every state that can be reached, forwards and undone: {} of them",
            self.proof.states
        ));
        for group in self.proof.bounds.chunk_by(alike) {
            let [first, ..] = group else { continue };
            let name = if group.len() > 1 { base(first) } else { &first.name };
            let each = match group.len() {
                1 => String::new(),
                lines => format!(", for each of {lines} lines"),
            };
            let safe = if first.exact { "" } else { " (a safe bound: some outages are unordered)" };
            rows.row(name, &match first.sense {
                Sense::AtLeast => {
                    let (least, of, floor) = (first.reached, first.of, first.limit);
                    format!("at least {least} of {of} up{each}; the plan asks for {floor}{safe}")
                }
                Sense::AtMost => {
                    let (most, of, ceiling) = (first.reached, first.of, first.limit);
                    format!("at most {most} of {of} sites hold it{each}; the plan allows {ceiling}{safe}")
                }
            });
            let when = match (first.tightest.as_slice(), first.after.as_slice()) {
                ([], []) => "at the start".to_owned(),
                ([], after) => format!("after {}", ticked(after.iter())),
                (under_way, _) => format!("{} under way", ticked(under_way.iter())),
            };
            rows.row("", &format!("tightest: {when}"));
        }
        if !self.proof.lines_alone.is_empty() {
            let lines = self.proof.lines_alone.join(", ");
            rows.row(
                "alone",
                &format!("the same without each line that may be rolled back alone: {lines}"),
            );
        }
    }

    fn line_rollbacks(&self, rows: &mut Rows) {
        let also = self.proof.line_rollbacks.iter().filter(|line| !line.also.is_empty());
        let also: Vec<_> = also.collect();
        if also.is_empty() {
            return;
        }
        rows.title("a rollback of one line alone also undoes, if begun");
        for group in also.chunk_by(|one, other| one.also == other.also) {
            let [first, ..] = group else { continue };
            let name = match group.len() {
                1 => first.line.clone(),
                lines => format!("{lines} lines"),
            };
            let names: Vec<&str> = group.iter().map(|line| line.line.as_str()).collect();
            let whose = if names.len() > 1 {
                format!("each of {}: ", names.join(", "))
            } else {
                String::new()
            };
            rows.row(&name, &format!("{whose}{}", first.also.join(", ")));
        }
    }

    fn time(&self, rows: &mut Rows) {
        rows.title("time");
        let Some(outlook) = self.outlook else {
            rows.row(
                "",
                "nothing is told: no step says an `estimate`, and no run was learned from",
            );
            return;
        };
        for (word, what) in super::outlook::rows(self.graph, outlook) {
            rows.row(&word, &what);
        }
    }
}

fn base(bound: &Bound) -> &str {
    bound.name.split('[').next().unwrap_or_default()
}

fn alike(one: &Bound, other: &Bound) -> bool {
    base(one) == base(other)
        && (one.sense, one.limit, one.of, one.reached, one.exact)
            == (other.sense, other.limit, other.of, other.reached, other.exact)
}

/// The first few names, and how many more there are.
fn ticked<T: AsRef<str>>(names: impl ExactSizeIterator<Item = T>) -> String {
    let more = names.len().saturating_sub(NAMED + 1);
    let shown = if more == 0 { names.len() } else { NAMED };
    let rest = names.len() - shown;
    let mut text: Vec<String> =
        names.take(shown).map(|name| format!("`{}`", name.as_ref())).collect();
    if rest > 0 {
        text.push(format!("and {rest} more"));
    }
    text.join(", ")
}
