//! The summary of a run: the fields that `report --format json` and the last line of
//! `rehearse --json` hold, and the same as a text for people.
//!
//! Not known here: where the journal, the lane and the witness's record were read from.

use super::board::{grouped, span};
use crate::event::Outcome;
use crate::history::{History, RowCounts, StepCounts};
use crate::proof::window::{Back, Learned};
use crate::revocation::Lane;
use crate::run::Run;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How a run ended, or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// Everything is done.
    Completed,
    /// Done but for lines that were rolled back alone.
    PartlyRolledBack,
    /// Everything that was begun is undone.
    RolledBack,
    /// Not closed: held, interrupted, or still going.
    Held,
    /// Aborted.
    Stuck,
}

/// Product lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// Of the plan.
    pub total: usize,
    /// All their steps are done, none is out.
    pub moved: usize,
}

/// What clients of a protected service saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Protected {
    /// Questions answered rightly.
    pub answers: u64,
    /// Questions that none of the serving providers answered rightly, or that any answered falsely.
    pub failures: u64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
}

/// Requests to closed routes, between the end of the closing and the start of reopening.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Api {
    /// Answered 404, as announced.
    pub closed_404: u64,
    /// Answered anything else.
    pub closed_other: u64,
}

/// Orders, as those who placed them saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Submitted before the closing.
    pub before: u64,
    /// Submitted after the reopening.
    pub after: u64,
    /// Accepted and gone.
    pub lost: u64,
    /// Issued twice.
    pub doubled: u64,
    /// Issued before an older one, per line, across the closing.
    pub out_of_order: u64,
}

/// What the witness wrote down. Fields that it holds beside these are its own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Witness {
    /// By service.
    pub protected: BTreeMap<String, Protected>,
    /// Closed routes.
    pub api: Api,
    /// Orders.
    pub orders: Orders,
}

/// Emergency revocations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Revocations {
    /// Accepted.
    pub requested: usize,
    /// Seen with the right time and reason at every serving provider.
    pub confirmed: usize,
    /// From the request to its confirmation, the slowest, milliseconds.
    pub slowest_ms: i64,
}

/// The window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WindowUse {
    /// From the first start to the last end of its steps, seconds.
    pub used_s: i64,
    /// From the last moment at which a rollback was offered (the begin of the point of no return,
    /// else the newest record) to the turn-back time then, seconds; negative: a rollback would not
    /// have ended inside.
    pub turn_back_margin_s: Option<i64>,
}

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the run.
    pub run: String,
    /// The plan's name.
    pub plan: String,
    /// Change number.
    pub change: Option<String>,
    /// A rehearsal.
    pub rehearsal: bool,
    /// How it ended.
    pub outcome: Result,
    /// Product lines.
    pub lines: Lines,
    /// Steps.
    pub steps: StepCounts,
    /// What clients saw; empty where nobody watched.
    pub protected: BTreeMap<String, Protected>,
    /// Closed routes; none where nobody watched.
    pub api: Option<Api>,
    /// Orders; none where nobody watched.
    pub orders: Option<Orders>,
    /// Services that were breached, in order.
    pub breached: Vec<String>,
    /// Emergency revocations.
    pub revocations: Revocations,
    /// Rows compared by the verifies.
    pub rows: RowCounts,
    /// The window.
    pub window: WindowUse,
}

impl Summary {
    /// The summary of a run as its journal, its lane and its witness tell it.
    pub fn of(
        name: &str,
        (rehearsal, shift): (bool, SignedDuration),
        run: &Run,
        history: &History,
        lane: &Lane,
        witness: Option<Witness>,
    ) -> Self {
        let graph = run.graph();
        let plan = graph.plan();
        let (protected, api, orders) = match witness {
            Some(witness) => (witness.protected, Some(witness.api), Some(witness.orders)),
            None => (BTreeMap::new(), None, None),
        };
        Self {
            run: name.to_owned(),
            plan: plan.name.clone(),
            change: plan.change.clone(),
            rehearsal,
            outcome: result(run),
            lines: Lines { total: graph.line_count(), moved: run.lines_moved().count() },
            steps: history.step_counts(run),
            protected,
            api,
            orders,
            breached: run
                .breached()
                .iter()
                .map(|service| graph.services()[service.0 as usize].name.clone())
                .collect(),
            revocations: revocations(lane),
            rows: history.row_counts(run),
            window: window(run, history, shift),
        }
    }

    /// One line of JSON.
    pub fn json_line(&self) -> String {
        serde_json::to_string(self).expect("BUG: a summary has string keys only")
    }

    /// A document of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("BUG: a summary has string keys only")
    }

    /// A text for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let change = self.change.as_ref().map_or_else(String::new, |change| format!(" · {change}"));
        let rehearsal = if self.rehearsal { " · rehearsal" } else { "" };
        let _ = writeln!(out, "\n{}{change} · {}{rehearsal}", self.plan, self.run);
        let _ = writeln!(out, "\n  {:<12} {}", "outcome", self.outcome.words());
        let steps = &self.steps;
        let _ = writeln!(
            out,
            "  {:<12} {} of {} done, {} undone, {} failed",
            "steps", steps.done, steps.total, steps.undone, steps.failed
        );
        if self.lines.total > 0 {
            let _ = writeln!(
                out,
                "  {:<12} {} of {} moved",
                "lines", self.lines.moved, self.lines.total
            );
        }
        if self.rows.source > 0 || self.rows.target > 0 {
            let _ = writeln!(
                out,
                "  {:<12} {} at the source, {} at the target, {} differences",
                "rows",
                grouped(self.rows.source),
                grouped(self.rows.target),
                self.rows.differences
            );
        }
        for (service, seen) in &self.protected {
            let _ = writeln!(
                out,
                "  {service:<12} {} answers, {} failures, p99 {:.1} ms",
                grouped(seen.answers),
                seen.failures,
                seen.p99_ms
            );
        }
        if let Some(api) = &self.api {
            let _ = writeln!(
                out,
                "  {:<12} {} answered 404 while closed, {} anything else",
                "closed APIs",
                grouped(api.closed_404),
                api.closed_other
            );
        }
        if let Some(orders) = &self.orders {
            let _ = writeln!(
                out,
                "  {:<12} {} from before, {} from after; {} lost, {} doubled, {} out of order",
                "orders",
                grouped(orders.before),
                grouped(orders.after),
                orders.lost,
                orders.doubled,
                orders.out_of_order
            );
        }
        let revocations = &self.revocations;
        if revocations.requested > 0 {
            let _ = writeln!(
                out,
                "  {:<12} {} requested, {} confirmed, slowest after {} ms",
                "revocations",
                revocations.requested,
                revocations.confirmed,
                grouped(u64::try_from(revocations.slowest_ms).unwrap_or(0))
            );
        }
        if !self.breached.is_empty() {
            let _ = writeln!(out, "  {:<12} {}", "BREACHED", self.breached.join(", "));
        }
        let used = span(SignedDuration::from_secs(self.window.used_s));
        let margin = self.window.turn_back_margin_s.map_or_else(String::new, |margin| {
            let (word, margin) = if margin < 0 { ("past", -margin) } else { ("before", margin) };
            format!(", {} {word} the turn-back time", span(SignedDuration::from_secs(margin)))
        });
        let _ = writeln!(out, "  {:<12} {used} used{margin}", "window");
        out
    }
}

impl Result {
    fn words(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::PartlyRolledBack => "completed, but for lines that were rolled back",
            Self::RolledBack => "rolled back",
            Self::Held => "not ended: held or interrupted",
            Self::Stuck => "stuck: aborted, a person has to look",
        }
    }
}

fn result(run: &Run) -> Result {
    match run.outcome() {
        None => Result::Held,
        Some(Outcome::RolledBack) => Result::RolledBack,
        Some(Outcome::Stuck) => Result::Stuck,
        Some(Outcome::Completed) if run.lines_out().next().is_some() => Result::PartlyRolledBack,
        Some(Outcome::Completed) => Result::Completed,
    }
}

fn revocations(lane: &Lane) -> Revocations {
    let mut out = Revocations::default();
    for (_, revocation) in lane.revocations() {
        if revocation.terms().is_none() {
            continue;
        }
        out.requested += 1;
        if let Some(delay) = revocation.delay() {
            out.confirmed += 1;
            let ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            out.slowest_ms = out.slowest_ms.max(ms);
        }
    }
    out
}

fn window(run: &Run, history: &History, shift: SignedDuration) -> WindowUse {
    let graph = run.graph();
    let margin = graph.plan().window.as_ref().and_then(|window| {
        let closes = window.closes.checked_add(shift).ok()?;
        let deadline = closes.checked_sub(window.reserve).ok()?;
        let back = Back::new(graph, &Learned::default());
        Some(back.margin(run, history, deadline)?.as_secs())
    });
    WindowUse { used_s: history.window_used_s(graph), turn_back_margin_s: margin }
}
