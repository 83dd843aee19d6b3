//! Each rule of the plan language that makes edges, as a case; and random plans.

mod any;
mod estate;

use super::testing::{PlanBuilder, StepBuilder, template};
use super::{Effect, Graph};
use crate::action::{Action, database, edge, notify, process, provider, role};
use crate::estate::{Channel, Database, Edge, Estate, Host, Provider, Service, Site, Switch};
use crate::event::StepId;
use crate::plan::{Kind, OnFailure, Phase, Plan};
use crate::text::Spanned;
use crate::text::fault::{Fault, Severity};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

fn needs(graph: &Graph, step: &str) -> Vec<String> {
    let step = graph.find(step).unwrap_or_else(|| panic!("no step `{step}`"));
    graph.needs(step).iter().map(|needed| graph.name(*needed)).collect()
}

fn codes(compiled: Result<Graph, Vec<Fault>>) -> Vec<&'static str> {
    match compiled {
        Ok(graph) => graph.warnings().iter().map(|fault| fault.code).collect(),
        Err(faults) => {
            assert!(faults.iter().any(|fault| fault.severity == Severity::Error));
            faults.iter().map(|fault| fault.code).collect()
        }
    }
}

fn messages(compiled: Result<Graph, Vec<Fault>>) -> String {
    let faults = match compiled {
        Ok(graph) => graph.warnings().to_vec(),
        Err(faults) => faults,
    };
    let say = |fault: &Fault| {
        let hint = fault.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{:?} {}: {}{hint}\n", fault.severity, fault.code, fault.what)
    };
    faults.iter().map(say).collect()
}

const LINES: [&str; 3] = ["a", "b", "c"];

fn lines() -> PlanBuilder {
    PlanBuilder::new().lines(LINES)
}

#[test]
fn names_lead_back_to_steps() {
    let graph = lines()
        .step("s", |s| s.each("line", ["a", "b"]).each("host", ["x", "y"]))
        .step("t", |s| s)
        .graph();
    let names: Vec<String> = graph.steps().map(|step| graph.name(step)).collect();
    assert_eq!(names, ["s[a,x]", "s[a,y]", "s[b,x]", "s[b,y]", "t"]);
    for step in graph.steps() {
        assert_eq!(graph.find(&graph.name(step)), Some(step));
    }
    assert_eq!(graph.named("s").len(), 4);
    assert_eq!(graph.named("s[b,x]").len(), 1);
    for wrong in ["s[a]", "s[a,x,y]", "s[a,x", "t[]", "t[a]", "u", "s[]", "s", "s[a,z]"] {
        assert_eq!(graph.find(wrong), None, "{wrong}");
    }
    assert_eq!(graph.line(graph.named("s[b,x]")[0]), graph.find_line("b"));
    assert_eq!(graph.line(graph.named("t")[0]), None);
    let bindings: Vec<(&str, &str)> = graph.bindings(graph.named("s[b,x]")[0]).collect();
    assert_eq!(bindings, [("line", "b"), ("host", "x")]);
}

#[test]
fn shared_variables_pair() {
    let graph = lines()
        .step("one", |s| s.each("line", LINES))
        .step("two", |s| s.each("line", LINES).needs(["one"]))
        .graph();
    assert_eq!(needs(&graph, "two[b]"), ["one[b]"]);
}

#[test]
fn shared_variables_pair_whatever_their_order() {
    let graph = PlanBuilder::new()
        .step("one", |s| s.each("x", ["1", "2"]).each("y", ["3", "4"]))
        .step("two", |s| s.each("y", ["4", "3"]).each("x", ["1", "2"]).needs(["one"]))
        .graph();
    assert_eq!(needs(&graph, "two[4,1]"), ["one[1,4]"]);
    assert_eq!(needs(&graph, "two[3,2]"), ["one[2,3]"]);
}

#[test]
fn variables_of_the_needed_multiply() {
    let graph = lines()
        .step("one", |s| s.each("line", LINES).each("host", ["x", "y"]))
        .step("two", |s| s.each("line", LINES).needs(["one"]))
        .step("three", |s| s.needs(["one"]))
        .graph();
    assert_eq!(needs(&graph, "two[b]"), ["one[b,x]", "one[b,y]"]);
    assert_eq!(needs(&graph, "three").len(), 6);
}

#[test]
fn variables_of_the_needing_multiply() {
    let graph = lines()
        .step("one", |s| s.each("line", LINES))
        .step("two", |s| s.each("line", LINES).each("host", ["x", "y"]).needs(["one"]))
        .step("three", |s| s.each("host", ["x", "y"]).needs(["one"]))
        .graph();
    assert_eq!(needs(&graph, "two[b,y]"), ["one[b]"]);
    assert_eq!(needs(&graph, "three[x]"), ["one[a]", "one[b]", "one[c]"]);
}

#[test]
fn all_needs_every_instance() {
    let graph = lines()
        .step("one", |s| s.each("line", LINES))
        .step("two", |s| s.each("line", LINES).needs_all("one"))
        .graph();
    assert_eq!(needs(&graph, "two[b]"), ["one[a]", "one[b]", "one[c]"]);
}

#[test]
fn a_value_left_out_gives_no_edge_and_a_note() {
    let plan = || {
        lines()
            .step("one", |s| s.each("line", ["a", "c"]))
            .step("two", |s| s.each("line", LINES).needs(["one"]))
    };
    let graph = plan().graph();
    assert!(needs(&graph, "two[b]").is_empty());
    assert_eq!(needs(&graph, "two[c]"), ["one[c]"]);
    insta::assert_snapshot!(messages(plan().compile()), @"Note left-out: step `two` waits for no `one` where that has no instance: `b`");
    // The other way round nothing is missing: every step that needs one has one.
    let wider = lines()
        .step("one", |s| s.each("line", LINES))
        .step("two", |s| s.each("line", ["a", "c"]).needs(["one"]));
    assert!(codes(wider.compile()).is_empty());
}

#[test]
fn no_pair_at_all_is_an_error() {
    let plan = lines()
        .step("one", |s| s.each("line", ["a"]))
        .step("two", |s| s.each("line", ["b", "c"]).needs(["one"]));
    insta::assert_snapshot!(messages(plan.compile()), @r"
    Error no-pair: step `two` needs `one`, but they have no value of `line` in common: no edge would come of it
      hint: `{ all: one }` needs every instance, whatever its values
    ");
}

#[test]
fn serial_chains_neighbours() {
    let graph = lines()
        .step("one", |s| s.each("host", ["x", "y"]).each("line", LINES).serial())
        .step("two", |s| s.each("line", LINES).each("host", ["x", "y"]).serial_along("host"))
        .step("three", |s| s.each("line", LINES).each("host", ["x", "y"]).serial_along("line"))
        .graph();
    assert!(needs(&graph, "one[x,a]").is_empty());
    assert_eq!(needs(&graph, "one[x,b]"), ["one[x,a]"]);
    assert_eq!(needs(&graph, "one[y,a]"), ["one[x,c]"], "one chain, the last variable fastest");
    assert!(needs(&graph, "two[b,x]").is_empty());
    assert_eq!(needs(&graph, "two[b,y]"), ["two[b,x]"]);
    assert_eq!(needs(&graph, "three[c,y]"), ["three[b,y]"]);
}

#[test]
fn serial_names_a_variable_of_the_step() {
    let plan = PlanBuilder::new().step("one", |s| s.each("host", ["x", "y"]).serial_along("hots"));
    insta::assert_snapshot!(messages(plan.compile()), @r"
    Error unknown-variable: `serial` of step `one` names `hots`, over which it does not fan out
      hint: did you mean `host`?
    ");
}

#[test]
fn an_edge_stands_once() {
    let graph = lines()
        .step("one", |s| s.each("line", LINES))
        .step("two", |s| s.each("line", LINES).needs(["one"]).needs_all("one").serial())
        .graph();
    assert_eq!(needs(&graph, "two[b]"), ["one[a]", "one[b]", "one[c]", "two[a]"]);
}

#[test]
fn phases_are_edges_from_last_to_first() {
    let graph = PlanBuilder::new()
        .step("early", |s| s.phase(Phase::Before))
        .step("late", |s| s.phase(Phase::Before).needs(["early"]))
        .step("aside", |s| s.phase(Phase::Before))
        .step("first", |s| s.needs(["early"]))
        .step("second", |s| s.needs(["first"]))
        .step("end", |s| s.phase(Phase::After))
        .graph();
    assert_eq!(needs(&graph, "first"), ["early", "late", "aside"]);
    assert_eq!(needs(&graph, "second"), ["first"]);
    assert_eq!(needs(&graph, "end"), ["second"]);
}

#[test]
fn phases_meet_over_an_empty_window() {
    let graph = PlanBuilder::new()
        .step("end", |s| s.phase(Phase::After))
        .step("early", |s| s.phase(Phase::Before))
        .graph();
    assert_eq!(needs(&graph, "end"), ["early"]);
}

#[test]
fn a_need_of_a_later_phase_can_never_be_met() {
    let plan = PlanBuilder::new()
        .step("early", |s| s.phase(Phase::Before).needs(["middle"]))
        .step("middle", |s| s);
    insta::assert_snapshot!(messages(plan.compile()), @r"
    Error need-of-later-phase: step `early` of phase before needs `middle` of phase window, which comes later: it could never start
      hint: phases are edges: before, then window, then after
    ");
}

#[test]
fn a_cycle_is_shown_as_its_path_and_told_once() {
    let plan = lines()
        .step("one", |s| s.each("line", LINES).needs(["three"]))
        .step("two", |s| s.each("line", LINES).needs(["one"]))
        .step("three", |s| s.each("line", LINES).needs(["two"]))
        .step("self", |s| s.needs(["self"]));
    insta::assert_snapshot!(messages(plan.compile()), @r"
    Error cycle: these steps need each other: `one[a]` -> `three[a]` -> `two[a]` -> `one[a]`
      hint: none of them could ever start: take one of these needs away
    Error cycle: step `self` needs itself
      hint: none of them could ever start: take one of these needs away
    ");
}

#[test]
fn a_long_chain_neither_overflows_nor_fills_the_screen() {
    let count = 200_000_u32;
    let values: Vec<String> = (0..count).map(|value| value.to_string()).collect();
    let all = || values.iter().map(String::as_str);
    let graph = PlanBuilder::new().step("s", |s| s.each("n", all()).serial()).graph();
    assert_eq!(graph.topological().len(), count as usize);
    let round = PlanBuilder::new()
        .step("s", |s| s.each("n", all()).serial().needs(["t"]))
        .step("t", |s| s.needs(["s"]));
    let faults = round.compile().expect_err("a cycle");
    assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["cycle"]);
    assert!(faults[0].what.len() < 400, "{}", faults[0].what);
}

#[test]
fn unknown_names_come_with_what_was_probably_meant() {
    let plan = lines()
        .step("verify", |s| s.each("line", ["a", "thawte"]))
        .step("go", |s| s.needs(["verfy"]).uses(["wan"]))
        .limit("lan", 2);
    insta::assert_snapshot!(messages(plan.compile()), @r"
    Error unknown-line: step `verify` fans out over unknown line `thawte`
      hint: lines: `a`, `b`, `c`
    Error unknown-step: step `go` needs unknown step `verfy`
      hint: did you mean `verify`?
    Error unknown-limit: step `go` uses unknown limit `wan`
      hint: did you mean `lan`?
    Warning unused-limit: no step takes of the limit `lan`
      hint: a limit is of a kind, or named in a step's `uses`
    ");
}

#[test]
fn too_many_edges_name_their_need() {
    let values: Vec<String> = (0..2_000).map(|value| value.to_string()).collect();
    let all = || values.iter().map(String::as_str);
    let plan = PlanBuilder::new()
        .step("one", |s| s.each("x", all()))
        .step("two", |s| s.each("y", all()).needs(["one"]));
    insta::assert_snapshot!(messages(plan.compile()), @r"
    Error too-many-edges: step `two` needing `one` would make 4000000 edges; more than 2000000 in one plan are refused
      hint: put a gate or a task between them, that needs the one and is needed by the other
    ");
    let phases = PlanBuilder::new()
        .step("one", |s| s.each("x", all()).phase(Phase::Before))
        .step("two", |s| s.each("y", all()));
    assert_eq!(codes(phases.compile()), ["too-many-edges"]);
}

#[test]
fn too_many_steps_are_refused_before_they_are_made() {
    let values: Vec<String> = (0..2_000).map(|value| value.to_string()).collect();
    let all = || values.iter().map(String::as_str);
    let plan =
        PlanBuilder::new().step("s", |s| s.each("x", all()).each("y", all()).each("z", all()));
    assert_eq!(codes(plan.compile()), ["too-many-steps"]);
}

#[test]
fn values_that_cannot_stand_in_a_name_are_refused() {
    for wrong in ["", "a,b", "a]", "a b", "a\n"] {
        let plan = PlanBuilder::new().step("s", |s| s.each("x", [wrong]));
        assert_eq!(codes(plan.compile()), ["bad-value"], "{wrong:?}");
    }
    let plan = PlanBuilder::new().step("s", |s| s.each("x", ["a", "a"]));
    assert_eq!(codes(plan.compile()), ["duplicate-value"]);
    let plan = PlanBuilder::new().step("s", |s| s.each("x", []));
    assert_eq!(codes(plan.compile()), ["empty-for-each"]);
}

#[test]
fn limits_are_of_all_of_a_kind_and_of_a_resource() {
    let graph = PlanBuilder::new()
        .limit("transfer", 2)
        .limit("wan", 3)
        .step("copy", |s| s.kind(Kind::Transfer).uses(["wan"]))
        .step("plain", |s| s)
        .step("go", |s| s.gate(["bosses"], 1))
        .step("by-hand", |s| s.manual(["bosses"], 1))
        .graph();
    let taken = |name: &str| -> Vec<(&str, u32)> {
        let limits = graph.limits(graph.named(name)[0]).iter();
        limits.map(|limit| (graph.limit_name(*limit), graph.limit(*limit))).collect()
    };
    assert_eq!(taken("copy"), [("steps", 16), ("transfer", 2), ("wan", 3)]);
    assert_eq!(taken("plain"), [("steps", 16)]);
    assert!(taken("go").is_empty());
    assert!(taken("by-hand").is_empty());
    assert_eq!(
        codes(PlanBuilder::new().limit("steps", 0).step("s", |s| s).compile()),
        ["limit-zero"]
    );
}

#[test]
fn policies_follow_from_step_kind_and_line() {
    let graph = lines()
        .on_failure(OnFailure::RollbackLine)
        .step("of-line", |s| s.each("line", LINES))
        .step("of-none", |s| s)
        .step("notice", |s| s.notify(["all"]))
        .step("loud", |s| s.notify(["all"]).on_failure(OnFailure::Rollback))
        .graph();
    let policy = |name: &str| graph.on_failure(graph.named(name)[0]);
    assert_eq!(policy("of-line"), OnFailure::RollbackLine);
    assert_eq!(policy("of-none"), OnFailure::Rollback, "a step without a line: the whole run");
    assert_eq!(policy("notice"), OnFailure::Hold);
    assert_eq!(policy("loud"), OnFailure::Rollback);
}

fn transfer(method: database::Method) -> Action<crate::plan::template::Template> {
    let of = |text: &str| template(text);
    let database = of("${{ line }}");
    Action::DatabaseTransfer(database::Transfer {
        from: of("from"),
        to: of("to"),
        database,
        method,
    })
}

#[test]
fn a_reopen_is_the_point_of_no_return_unless_its_data_flows_back() {
    let plan = |method, lined: bool| {
        let plan = if lined { lines() } else { PlanBuilder::new() };
        let fan = |s: StepBuilder| if lined { s.each("line", LINES) } else { s.each("x", LINES) };
        let act = |s: StepBuilder| if lined { s.act(transfer(method)) } else { s };
        plan.step("copy", |s| act(fan(s)).kind(Kind::Transfer))
            .step("reopen", |s| fan(s).kind(Kind::Reopen))
            .step("other", |s| s.point_of_no_return())
            .graph()
    };
    let is = |graph: &Graph, name: &str| graph.is_point_of_no_return(graph.named(name)[0]);
    let copied = plan(database::Method::Copy, true);
    assert!(is(&copied, "reopen") && is(&copied, "other") && !is(&copied, "copy"));
    assert!(!is(&plan(database::Method::Replicate, true), "reopen"));
    assert!(!is(&plan(database::Method::Copy, false), "reopen"), "a plan without lines");
}

#[test]
fn checkpoints_name_all_instances() {
    let graph = lines().step("s", |s| s.each("line", LINES).checkpoint("here")).graph();
    assert_eq!(graph.checkpoint("here").map(<[StepId]>::len), Some(3));
    assert_eq!(graph.checkpoints().collect::<Vec<_>>(), ["here"]);
    assert_eq!(graph.checkpoint("there"), None);
    let twice =
        PlanBuilder::new().step("s", |s| s.checkpoint("here")).step("t", |s| s.checkpoint("here"));
    assert_eq!(codes(twice.compile()), ["duplicate-name"]);
}

fn effects(graph: &Graph, step: &str) -> Vec<String> {
    let step = graph.find(step).unwrap_or_else(|| panic!("no step `{step}`"));
    let provider = graph.effects(step).iter().map(|(provider, effect)| {
        format!("{effect:?} {}", graph.providers()[provider.index()].name)
    });
    let role = graph
        .role_effects(step)
        .iter()
        .map(|(role, effect)| format!("{effect:?} {}", graph.roles()[role.index()].name));
    provider.chain(role).collect()
}

#[test]
fn an_effect_concerns_the_steps_line_or_every_line() {
    let enable = |name: &str| {
        let provider = template(name);
        Action::ProviderEnable(provider::Provider { provider, line: None })
    };
    let fence = || Action::RoleFence(role::Role { role: template("writer@from/${{ line }}") });
    let graph = PlanBuilder::new()
        .lines(["a", "b"])
        .protect("ocsp", true, 1, ["ocsp@from/o"])
        .protect("seal", false, 1, ["seal@from/s"])
        .exclusive("writer", true, Some("from"))
        .step("of-line", |s| s.each("line", ["a", "b"]).disturbs(["ocsp@from/o"]))
        .step("of-all", |s| s.disturbs(["ocsp@from/o"]))
        .step("one", |s| s.disturbs(["ocsp@from/o[b]"]))
        .step("whole", |s| s.each("line", ["a", "b"]).disturbs(["seal@from/s"]))
        .step("built-in", |s| s.each("line", ["a"]).act(enable("ocsp@to/o")))
        .step("fence", |s| s.each("line", ["a", "b"]).act(fence()))
        .graph();
    assert_eq!(effects(&graph, "of-line[b]"), ["Disturbs ocsp@from/o[b]"]);
    assert_eq!(effects(&graph, "of-all"), ["Disturbs ocsp@from/o[a]", "Disturbs ocsp@from/o[b]"]);
    assert_eq!(effects(&graph, "one"), ["Disturbs ocsp@from/o[b]"]);
    assert_eq!(effects(&graph, "whole[b]"), ["Disturbs seal@from/s"]);
    assert_eq!(effects(&graph, "built-in[a]"), ["Gains ocsp@to/o[a]"]);
    assert_eq!(effects(&graph, "fence[b]"), ["Loses writer@from/b"]);
    let serving = |name: &str| {
        graph.providers()[graph.find_provider(name).expect("known").index()].serving_at_start
    };
    assert!(serving("ocsp@from/o[a]") && !serving("ocsp@to/o[a]"), "named in effects only");
    let services: Vec<(&str, usize)> =
        graph.services().iter().map(|it| (it.name.as_str(), it.providers.len())).collect();
    assert_eq!(services, [("ocsp[a]", 2), ("ocsp[b]", 2), ("seal", 1)]);
    let held = graph.roles().iter().filter(|role| role.held_at_start).count();
    assert_eq!((graph.roles().len(), held), (2, 2));
}

#[test]
fn effects_name_a_thing_once_and_only_what_is_known() {
    let plan = || PlanBuilder::new().protect("ocsp", false, 1, ["ocsp@from/o"]);
    let twice = plan().step("s", |s| s.loses(["ocsp@from/o"]).disturbs(["ocsp@from/o"]));
    insta::assert_snapshot!(messages(twice.compile()), @r"
    Error effect-twice: step `s` names `ocsp@from/o` twice among its effects
      hint: a step loses, gains or disturbs a thing, one of the three
    ");
    let unknown = plan().step("s", |s| s.disturbs(["oscp@from/o", "ocsp@from", "ocsp@from/o[z]"]));
    insta::assert_snapshot!(messages(unknown.compile()), @r"
    Error unknown-service: `oscp@from/o`: `oscp` is neither under `protect` nor under `exclusive`
      hint: did you mean `ocsp`?
    Error bad-name: step `s` names `ocsp@from`, which is not of the form `SERVICE@SITE/NAME`
      hint: `ocsp@to/ocsp-1`
    Error unknown-line: there is no line `z`
      hint: there are no lines
    ");
    // What the plan repeats of the action's own meaning is no second naming.
    let provider = template("ocsp@from/o");
    let disable = Action::ProviderDisable(provider::Provider { provider, line: None });
    let repeated = plan().step("s", |s| s.act(disable.clone()).loses(["ocsp@from/o"])).graph();
    assert_eq!(repeated.effects(StepId(0)).len(), 1);
    assert_eq!(repeated.effects(StepId(0))[0].1, Effect::Loses);
    let denied = plan().step("s", |s| s.act(disable).no_effects()).graph();
    assert_eq!(denied.effects(StepId(0)).len(), 1, "no plan talks an action out of its effect");
}

#[test]
fn outputs_are_of_needed_steps_and_of_the_paired_instance() {
    let plan = |read: &str| {
        let argv = ["show", read];
        lines()
            .fact("orders", "paused")
            .step("make", |s| s.each("line", LINES).output("build", "build ([0-9]+)"))
            .step("between", |s| s.each("line", LINES).needs(["make"]))
            .step("use", |s| s.each("line", LINES).needs(["between"]).run(&argv))
            .step("aside", |s| s.output("build", "x"))
    };
    let graph = plan("${{ steps.make.outputs.build }}").graph();
    let make = graph.find("make[b]");
    let printed = BTreeMap::from([("build".to_owned(), "42".to_owned())]);
    let outputs = |step: StepId| (Some(step) == make).then_some(&printed);
    let text = template("v${{ steps.make.outputs.build }} of ${{ line }} in ${{ plan.name }}");
    let filled = |name: &str| graph.fill(graph.named(name)[0], &text, &outputs);
    assert_eq!(filled("use[b]").as_deref(), Ok("v42 of b in test"));
    assert!(filled("use[a]").is_err(), "another instance has printed nothing");
    let wrong = [
        ("${{ steps.mak.outputs.build }}", "unknown-step"),
        ("${{ steps.make.outputs.bild }}", "unknown-output"),
        ("${{ steps.aside.outputs.build }}", "output-not-needed"),
        ("${{ hots }}", "unknown-variable"),
        ("${{ plan.nam }}", "unknown-fact"),
        ("${{ line.orders }}", "unknown-fact"),
    ];
    for (text, code) in wrong {
        assert_eq!(codes(plan(text).compile()), [code], "{text}");
    }
    let fanned = lines()
        .step("make", |s| s.each("line", LINES).output("build", "x"))
        .step("use", |s| s.needs(["make"]).run(&["${{ steps.make.outputs.build }}"]));
    assert_eq!(codes(fanned.compile()), ["unknown-output"], "which of the instances is meant?");
}

#[test]
fn the_digest_tells_graphs_apart() {
    let plan = || PlanBuilder::new().step("a", |s| s).step("b", |s| s.needs(["a"]));
    let digest = plan().graph().digest();
    assert_eq!(digest, plan().graph().digest());
    assert_eq!(digest.len(), 64);
    let others = [
        PlanBuilder::new().step("a", |s| s).step("b", |s| s),
        PlanBuilder::new().step("a", |s| s).step("c", |s| s.needs(["a"])),
        plan().limit("steps", 3),
        plan().on_failure(OnFailure::Rollback),
        PlanBuilder::new().step("a", |s| s.point_of_no_return()).step("b", |s| s.needs(["a"])),
        PlanBuilder::new().step("a", |s| s.idempotent()).step("b", |s| s.needs(["a"])),
    ];
    let digests: BTreeSet<String> = others.into_iter().map(|plan| plan.graph().digest()).collect();
    assert_eq!(digests.len(), 6);
    assert!(!digests.contains(&digest));
}

#[test]
fn a_hundred_thousand_steps_are_a_plan_too() {
    let values: Vec<String> = (0..1_000).map(|value| format!("host-{value}")).collect();
    let all = || values.iter().map(String::as_str);
    let mut plan = PlanBuilder::new();
    for index in 0..100_usize {
        let before: Vec<String> =
            (1..=3).filter_map(|back| index.checked_sub(back)).map(|at| format!("s{at}")).collect();
        plan = plan.step(&format!("s{index}"), |s| {
            s.each("host", all()).needs(before.iter().map(String::as_str))
        });
    }
    let graph = plan.graph();
    assert_eq!((graph.len(), graph.edge_count()), (100_000, 294_000));
    let last = graph.find("s99[host-999]").expect("there");
    assert_eq!(graph.needs(last).len(), 3);
    assert!(graph.ordered(&[(graph.find("s0[host-999]").expect("there"), last)])[0]);
    assert!(!graph.ordered(&[(graph.find("s0[host-998]").expect("there"), last)])[0]);
    assert!(crate::proof::prove(&graph).is_ok());
}
