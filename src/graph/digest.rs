//! One name for everything a journal relies on.

use super::Graph;
use ring::digest::{Context, SHA256};
use std::fmt::Write as _;

/// Hex SHA-256. Every field goes in with its length before it, so that no two graphs share a
/// serialisation.
pub(super) fn of(graph: &Graph) -> String {
    let mut hash = Hash(Context::new(&SHA256));
    hash.text("cutover graph 1");
    hash.text(&graph.plan.name);
    hash.text(&format!("{:?}", graph.plan.on_failure));
    for line in &graph.plan.lines {
        hash.text(&line.name.value);
    }
    hash.number(graph.len());
    for step in graph.steps() {
        hash.text(&graph.name(step));
        hash.number(graph.needs(step).len());
        graph.needs(step).iter().for_each(|needed| hash.number(needed.index()));
        hash.number(graph.effects(step).len());
        for (provider, effect) in graph.effects(step) {
            hash.number(provider.index());
            hash.number(*effect as usize);
        }
        hash.number(graph.role_effects(step).len());
        for (role, effect) in graph.role_effects(step) {
            hash.number(role.index());
            hash.number(*effect as usize);
        }
        hash.number(usize::from(graph.is_point_of_no_return(step)));
        hash.text(&format!("{:?}", graph.on_failure(step)));
    }
    definitions(graph, &mut hash);
    tables(graph, &mut hash);
    let mut text = String::with_capacity(64);
    for byte in hash.0.finish().as_ref() {
        write!(text, "{byte:02x}").expect("BUG: a string takes every write");
    }
    text
}

fn definitions(graph: &Graph, hash: &mut Hash) {
    for (index, def) in graph.plan.steps.iter().enumerate() {
        hash.text(&def.name.value);
        hash.text(def.kind.name());
        hash.number(def.phase as usize);
        hash.text(&format!("{:?}", def.not_before));
        hash.text(&format!("{:?} {}", def.retry, def.idempotent));
        hash.text(&format!("{:?} {}", def.timeout, def.finish_on_rollback));
        hash.text(def.checkpoint.as_ref().map_or("", |name| &name.value));
        hash.number(graph.limits.of_def[index].len());
        graph.limits.of_def[index].iter().for_each(|limit| hash.number(limit.index()));
    }
}

fn tables(graph: &Graph, hash: &mut Hash) {
    for (name, limit) in &graph.limits.table {
        hash.text(name);
        hash.number(*limit as usize);
    }
    for provider in graph.providers() {
        hash.text(&provider.name);
        hash.number(usize::from(provider.serving_at_start));
    }
    for service in graph.services() {
        let protect = &graph.plan.protect[service.protect as usize];
        hash.text(&service.name);
        hash.text(&format!("{:?} {}", protect.on_breach, protect.at_least));
    }
    for role in graph.roles() {
        hash.text(&role.name);
        hash.number(usize::from(role.held_at_start));
        hash.number(graph.plan.exclusive[role.exclusive as usize].at_most as usize);
    }
}

struct Hash(Context);

impl Hash {
    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_be_bytes());
    }
}
