//! A small move of two lines that proves, and what each thing taken away from it leads to.

use super::{Proof, prove, prove_without};
use crate::action::{Action, Undo, database, edge, notify, orders, provider, role};
use crate::event::StepId;
use crate::graph::Graph;
use crate::graph::testing::{PlanBuilder, StepBuilder, template};
use crate::plan::template::Template;
use crate::plan::{Kind, Phase};
use crate::text::fault::{Fault, Severity};
use std::collections::BTreeMap;
use std::sync::Arc;

type Act = Action<Template>;
type Change = fn(StepBuilder) -> StepBuilder;

const LINES: [&str; 2] = ["a", "b"];

fn of_line(text: &str) -> Template {
    template(text)
}

fn edge_of(site: &str) -> (Template, Template, Vec<Template>) {
    (template(site), of_line("${{ line }}"), vec![template("order")])
}

fn close(site: &str) -> Act {
    let (site, line, routes) = edge_of(site);
    Action::EdgeClose(edge::Close { site, line, routes, status: 404 })
}

fn open(site: &str) -> Act {
    let (site, line, routes) = edge_of(site);
    Action::EdgeOpen(edge::Open { site, line, routes, status: 404 })
}

fn pause(site: &str) -> Act {
    Action::OrdersPause(orders::Pause { site: template(site), line: of_line("${{ line }}") })
}

fn resume(site: &str) -> Act {
    let (site, line) = (template(site), of_line("${{ line }}"));
    Action::OrdersResume(orders::Resume { site, line, rate: 100.0 })
}

fn fence(role: &str) -> Act {
    Action::RoleFence(role::Role { role: template(role) })
}

fn promote(role: &str) -> Act {
    Action::RolePromote(role::Role { role: template(role) })
}

fn enable(name: &str) -> Act {
    Action::ProviderEnable(provider::Provider { provider: template(name), line: None })
}

fn disable(name: &str) -> Act {
    Action::ProviderDisable(provider::Provider { provider: template(name), line: None })
}

fn snapshot() -> database::Snapshot<Template> {
    database::Snapshot { site: template("from"), database: of_line("${{ line }}") }
}

fn transfer() -> database::Transfer<Template> {
    database::Transfer {
        from: template("from"),
        to: template("to"),
        database: of_line("${{ line }}"),
        method: database::Method::Copy,
    }
}

fn verify() -> Act {
    let (from, to, database) = (template("from"), template("to"), of_line("${{ line }}"));
    Action::DatabaseVerify(database::Verify { from, to, database })
}

fn there_and_back(step: StepBuilder, act: Act, undo: Act) -> StepBuilder {
    step.act(act).undo(Undo::By(Box::new(undo)))
}

/// The steps in order, each with what makes it. `changed` alters some of them.
fn moved(changed: &[(&str, Change)]) -> PlanBuilder {
    let changed: BTreeMap<&str, Change> = changed.iter().copied().collect();
    let mut plan = PlanBuilder::new()
        .lines(LINES)
        .protect("ocsp", true, 1, ["ocsp@from/o"])
        .exclusive("writer", true, Some("from"));
    let steps: [(&str, Change); 13] = [
        ("close", |s| there_and_back(s.kind(Kind::Drain), close("from"), open("from"))),
        ("pause", |s| {
            there_and_back(s.kind(Kind::Drain), pause("from"), resume("from")).needs(["close"])
        }),
        ("fence", |s| {
            let (act, undo) =
                (fence("writer@from/${{ line }}"), promote("writer@from/${{ line }}"));
            there_and_back(s.kind(Kind::Switch), act, undo).needs(["pause"])
        }),
        ("snapshot", |s| {
            let (act, undo) =
                (Action::DatabaseSnapshot(snapshot()), Action::DatabaseDropSnapshot(snapshot()));
            there_and_back(s.kind(Kind::Snapshot), act, undo).needs(["fence"])
        }),
        ("transfer", |s| {
            let (act, undo) =
                (Action::DatabaseTransfer(transfer()), Action::DatabaseDiscard(transfer()));
            there_and_back(s.kind(Kind::Transfer), act, undo).needs(["snapshot"])
        }),
        ("verify", |s| s.kind(Kind::Verify).act(verify()).no_undo().needs(["transfer"])),
        ("enable", |s| {
            there_and_back(s.kind(Kind::Switch), enable("ocsp@to/o"), disable("ocsp@to/o"))
                .needs(["verify"])
        }),
        ("disable", |s| {
            there_and_back(s.kind(Kind::Switch), disable("ocsp@from/o"), enable("ocsp@from/o"))
                .needs_all("enable")
        }),
        ("tidy", |s| s.needs(["disable"])),
        ("go", |s| s.gate(["bosses"], 1).needs(["verify", "tidy"]).point_of_no_return()),
        ("promote", |s| {
            let (act, undo) = (promote("writer@to/${{ line }}"), fence("writer@to/${{ line }}"));
            there_and_back(s.kind(Kind::Switch), act, undo).needs(["go"])
        }),
        ("reopen", |s| {
            there_and_back(s.kind(Kind::Reopen), open("to"), close("to")).needs(["promote"])
        }),
        ("resume", |s| there_and_back(s, resume("to"), pause("to")).needs(["reopen"])),
    ];
    for (name, make) in steps {
        let fan = |s: StepBuilder| match name {
            "go" | "tidy" => s,
            _ => s.each("line", LINES),
        };
        plan = plan.step(name, |s| {
            let step = make(fan(s));
            match changed.get(name) {
                Some(change) => change(step),
                None => step,
            }
        });
    }
    plan
}

fn said(proved: Result<Proof, Vec<Fault>>) -> String {
    let faults = match proved {
        Ok(proof) => proof.warnings,
        Err(faults) => {
            assert!(faults.iter().any(|fault| fault.severity == Severity::Error));
            faults
        }
    };
    let say = |fault: &Fault| {
        let hint = fault.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{:?} {}: {}{hint}\n", fault.severity, fault.code, fault.what)
    };
    faults.iter().map(say).collect()
}

fn proved(changed: &[(&str, Change)]) -> String {
    said(prove(&moved(changed).graph()))
}

fn errors(graph: &Graph) -> Vec<&'static str> {
    let faults = prove(graph).err().unwrap_or_default();
    let errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
    errors.map(|fault| fault.code).collect()
}

fn no_undo(step: StepBuilder) -> StepBuilder {
    step.missing_undo()
}

#[test]
fn the_small_move_proves() {
    let proof = prove(&moved(&[]).graph()).expect("proves");
    insta::assert_snapshot!(said(Ok(proof.clone())), @"Warning implied-need: step `go` needs `verify` through its other needs anyway");
    let also: Vec<String> = proof
        .line_rollbacks
        .iter()
        .map(|rollback| format!("{}: {}", rollback.line, rollback.also.join(" ")))
        .collect();
    // Disabling waits for both lines' enabling, and what hangs on it is undone with either.
    assert_eq!(also, ["a: disable tidy", "b: disable tidy"]);
    assert!(proof.bounds.iter().any(|bound| bound.name == "ocsp[a]" && bound.reached == 1));
}

#[test]
fn a_transfer_lies_behind_a_drain_and_a_snapshot_of_its_line() {
    let plan = PlanBuilder::new()
        .lines(LINES)
        .step("close", |s| s.each("line", ["a"]).kind(Kind::Drain))
        .step("snapshot", |s| s.each("line", LINES).kind(Kind::Snapshot))
        .step("transfer", |s| s.each("line", LINES).kind(Kind::Transfer).needs(["close"]));
    insta::assert_snapshot!(said(prove(&plan.graph())), @r"
    Warning unneeded: snapshot `snapshot` is needed by no step: nothing waits for it
    Error transfer-undrained: transfer `transfer` may begin before a drain of its line: `b`
      hint: what is still written to cannot be copied: let it need a step of kind `drain`, directly or through others
    Error transfer-without-snapshot: transfer `transfer` may begin before a snapshot of its line: `a`, `b`
      hint: a rollback returns to the snapshot: let it need a step of kind `snapshot`, directly or through others
    Warning unneeded: transfer `transfer` is needed by no step: nothing waits for it
    ");
}

#[test]
fn a_drain_without_a_line_counts_for_every_line_and_another_lines_for_none() {
    let plan = |fan: fn(StepBuilder) -> StepBuilder| {
        PlanBuilder::new()
            .lines(LINES)
            .step("close", |s| fan(s).kind(Kind::Drain))
            .step("snapshot", |s| s.each("line", LINES).kind(Kind::Snapshot))
            .step("transfer", |s| {
                s.each("line", LINES).kind(Kind::Transfer).needs(["snapshot"]).needs_all("close")
            })
            .graph()
    };
    assert!(errors(&plan(|s| s)).is_empty());
    assert_eq!(errors(&plan(|s| s.each("line", ["b"]))), ["transfer-undrained"]);
    // A step that names its line in its action alone counts for that line only.
    let one = |s: StepBuilder| {
        let (site, routes) = (template("from"), vec![template("order")]);
        s.act(Action::EdgeClose(edge::Close { site, line: template("a"), routes, status: 404 }))
    };
    assert_eq!(errors(&plan(one)), ["transfer-undrained"]);
}

#[test]
fn rules_of_the_domain_are_for_plans_with_lines() {
    let plan = PlanBuilder::new()
        .step("transfer", |s| s.kind(Kind::Transfer))
        .step("reopen", |s| s.kind(Kind::Reopen).needs(["transfer"]));
    assert!(errors(&plan.graph()).is_empty());
}

#[test]
fn a_reopen_lies_behind_the_verify_of_its_line() {
    let plan = |needs: &'static str| {
        PlanBuilder::new()
            .lines(LINES)
            .step("close", |s| s.each("line", LINES).kind(Kind::Drain))
            .step("early", |s| s.each("line", LINES).kind(Kind::Verify).needs(["close"]))
            .step("snapshot", |s| s.each("line", LINES).kind(Kind::Snapshot).needs(["early"]))
            .step("transfer", |s| s.each("line", LINES).kind(Kind::Transfer).needs(["snapshot"]))
            .step("verify", |s| s.each("line", LINES).kind(Kind::Verify).needs(["transfer"]))
            .step("reopen", |s| s.each("line", LINES).kind(Kind::Reopen).needs([needs]))
            .graph()
    };
    assert!(errors(&plan("verify")).is_empty());
    assert_eq!(
        errors(&plan("transfer")),
        ["reopen-unverified"],
        "one before the copy says nothing"
    );
}

#[test]
fn orders_resume_after_the_gate_of_their_reopen() {
    let plan = |needs: &'static str| {
        PlanBuilder::new()
            .lines(LINES)
            .step("verify", |s| s.each("line", LINES).kind(Kind::Verify))
            .step("go", |s| s.gate(["bosses"], 1).needs(["verify"]))
            .step("reopen", |s| s.each("line", LINES).kind(Kind::Reopen).needs(["go", "verify"]))
            .step("resume", |s| {
                there_and_back(s.each("line", LINES), resume("to"), pause("to")).needs([needs])
            })
            .graph()
    };
    assert!(errors(&plan("reopen")).is_empty());
    assert!(errors(&plan("go")).is_empty());
    assert_eq!(errors(&plan("verify")), ["resume-before-gate"]);
}

#[test]
fn nothing_protected_is_drained() {
    let route: Change = |s| {
        let (site, line) = (template("from"), template("${{ line }}"));
        let routes = vec![template("order"), template("ocsp")];
        s.act(Action::EdgeClose(edge::Close { site, line, routes, status: 404 }))
    };
    let effect: Change = |s| s.disturbs(["ocsp@to/o"]);
    for change in [route, effect] {
        assert!(errors(&moved(&[("close", change)]).graph()).contains(&"protected-drained"));
    }
}

#[test]
fn before_the_point_of_no_return_everything_has_an_undo() {
    insta::assert_snapshot!(proved(&[("tidy", no_undo)]), @r"
    Error missing-undo: step `tidy` comes before the point of no return and says no undo
      hint: `undo: { run: [...] }`, or `undo: { none: REASON }` if it leaves nothing behind
    Warning implied-need: step `go` needs `verify` through its other needs anyway
    ");
    assert!(errors(&moved(&[("promote", no_undo)]).graph()).is_empty(), "it needs the gate");
    let without = PlanBuilder::new().step("s", |s| s.missing_undo()).graph();
    assert_eq!(errors(&without), ["missing-undo"]);
    let beside = PlanBuilder::new()
        .step("point", |s| s.missing_undo().point_of_no_return())
        .step("after", |s| s.missing_undo().needs(["point"]))
        .step("beside", |s| s.missing_undo());
    assert_eq!(errors(&beside.graph()), ["missing-undo"], "only what needs it lies after");
}

#[test]
fn a_notice_and_a_comparison_need_no_undo() {
    let notice = notify::Notify { notice: "n.md".into(), to: vec![template("all")] };
    let plan = PlanBuilder::new()
        .step("notice", |s| s.act(Action::Notify(notice.clone())).missing_undo())
        .step("go", |s| s.gate(["bosses"], 1).needs(["notice"]));
    assert!(errors(&plan.graph()).is_empty());
}

#[test]
fn nothing_to_undo_is_only_for_steps_without_effects() {
    let plan = |fan: fn(StepBuilder) -> StepBuilder| {
        PlanBuilder::new()
            .protect("seal", false, 0, ["seal@from/s"])
            .step("s", |s| fan(s.no_undo()))
            .graph()
    };
    assert!(errors(&plan(|s| s)).is_empty());
    assert!(errors(&plan(|s| s.no_effects())).is_empty());
    let graph = plan(|s| s.disturbs(["seal@from/s"]));
    insta::assert_snapshot!(said(prove(&graph)), @r"
    Error undo-none-with-effects: step `s` has an effect on `seal@from/s` and nothing to undo (`nothing is left behind`): a rollback would leave it so
      hint: `undo: { none: ... }` is for steps without effects: say how it is undone
    ");
}

#[test]
fn an_undo_that_switches_is_among_the_effects() {
    let plan = |say: bool| {
        let add = |s: StepBuilder| if say { s.gains(["seal@to/s"]) } else { s };
        PlanBuilder::new()
            .protect("seal", false, 1, ["seal@from/s"])
            .step("s", |s| add(s.undo(Undo::By(Box::new(disable("seal@to/s"))))))
            .graph()
    };
    assert!(errors(&plan(true)).is_empty());
    insta::assert_snapshot!(said(prove(&plan(false))), @r#"
    Error undo-outside-effects: the undo of step `s` takes away `seal@to/s`, which the step's effects do not say
      hint: effects cover the undo too: `effects: { gains: ["seal@to/s"] }`
    "#);
}

#[test]
fn no_undo_needs_what_an_earlier_undo_took_away() {
    // Fenced beside the pause: its undo may issue orders while nobody holds the writer.
    let plan = |fenced_after: bool| {
        let role = |s: StepBuilder| {
            let (act, undo) =
                (fence("writer@from/${{ line }}"), promote("writer@from/${{ line }}"));
            there_and_back(s.each("line", LINES), act, undo)
        };
        PlanBuilder::new()
            .lines(LINES)
            .exclusive("writer", true, Some("from"))
            .step("pause", |s| {
                let s = s.each("line", LINES).kind(Kind::Drain);
                there_and_back(s, pause("from"), resume("from"))
            })
            .step("fence", |s| if fenced_after { role(s).needs(["pause"]) } else { role(s) })
            .step("end", |s| s.needs(["pause", "fence"]))
            .graph()
    };
    assert!(errors(&plan(true)).is_empty());
    let graph = plan(false);
    insta::assert_snapshot!(said(prove(&graph)), @r"
    Error undo-needs-undone: the undo of `pause[a]` issues orders, and `fence[a]` may still have taken `writer@from/a`: nobody would issue them
      hint: let `fence[a]` need `pause[a]`: what is needed is undone later
    ");
}

#[test]
fn the_undo_of_a_transfer_does_not_drop_a_live_copy() {
    let plan = |needs: &'static str| {
        PlanBuilder::new()
            .lines(LINES)
            .exclusive("writer", true, Some("from"))
            .step("close", |s| s.each("line", LINES).kind(Kind::Drain))
            .step("fence", |s| {
                let (act, undo) =
                    (fence("writer@from/${{ line }}"), promote("writer@from/${{ line }}"));
                there_and_back(s.each("line", LINES), act, undo).needs(["close"])
            })
            .step("snapshot", |s| s.each("line", LINES).kind(Kind::Snapshot).needs(["fence"]))
            .step("transfer", |s| {
                let (act, undo) =
                    (Action::DatabaseTransfer(transfer()), Action::DatabaseDiscard(transfer()));
                there_and_back(s.each("line", LINES).kind(Kind::Transfer), act, undo)
                    .needs(["snapshot"])
            })
            .step("promote", |s| {
                let (act, undo) =
                    (promote("writer@to/${{ line }}"), fence("writer@to/${{ line }}"));
                there_and_back(s.each("line", LINES), act, undo).needs([needs])
            })
            .graph()
    };
    assert!(errors(&plan("transfer")).is_empty());
    assert_eq!(errors(&plan("snapshot")), ["undo-drops-live"]);
}

#[test]
fn protection_is_proved_too() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/o"])
        .step("enable", |s| there_and_back(s, enable("ocsp@to/o"), disable("ocsp@to/o")))
        .step("disable", |s| there_and_back(s, disable("ocsp@from/o"), enable("ocsp@from/o")));
    assert!(!errors(&plan.graph()).is_empty(), "nothing orders them");
    let unknown = PlanBuilder::new()
        .protect("ocsp", false, 1, [])
        .served_by_estate()
        .step("s", |s| s)
        .graph();
    assert!(errors(&unknown).is_empty(), "without an estate nobody knows who serves");
}

#[test]
fn a_fault_of_every_line_is_told_once() {
    let lines = ["geotrust", "thawte", "symantec"];
    let plan = PlanBuilder::new()
        .lines(lines)
        .protect("ocsp", true, 1, ["ocsp@from/o"])
        .step("enable", |s| {
            there_and_back(s.each("line", lines), enable("ocsp@to/o"), disable("ocsp@to/o"))
        })
        .step("upgrade", |s| s.disturbs(["ocsp@to/o"]));
    insta::assert_snapshot!(said(prove(&plan.graph())), @r"
    Error unordered-effects: `enable[geotrust]` and `upgrade` both act on `ocsp@to/o[geotrust]`, and nothing says which comes first (and so for 2 more lines)
      hint: let one need the other, or the same gate, so that `ocsp@to/o[geotrust]` is up or down for sure
    ");
}

#[test]
fn what_has_no_line_waits_only_for_lines_that_take_part() {
    let graph = PlanBuilder::new()
        .lines(LINES)
        .step("close", |s| s.each("line", LINES).kind(Kind::Drain))
        .step("snapshot", |s| s.each("line", LINES).kind(Kind::Snapshot).needs(["close"]))
        .step("transfer", |s| s.kind(Kind::Transfer).needs(["snapshot"]))
        .step("end", |s| s.needs(["transfer"]))
        .graph();
    assert!(errors(&graph).is_empty());
    assert!(without(&graph, &["close[b]", "snapshot[b]"]).is_empty(), "line b is out as a whole");
    assert_eq!(without(&graph, &["close[b]"]), ["transfer-undrained"]);
}

#[test]
fn clocks_that_contradict_a_phase_are_found() {
    let moment = |text: &str| text.parse().expect("an instant");
    let plan = |phase, not_before: &str| {
        PlanBuilder::new()
            .window(moment("2019-04-06T15:30:00Z"), moment("2019-04-07T03:30:00Z"))
            .step("s", |s| s.phase(phase).not_before(moment(not_before)))
            .graph()
    };
    assert_eq!(errors(&plan(Phase::Window, "2019-04-07T03:30:00Z")), ["never-in-phase"]);
    assert_eq!(errors(&plan(Phase::Before, "2019-04-06T15:30:00Z")), ["never-in-phase"]);
    assert!(errors(&plan(Phase::Before, "2019-03-30T15:30:00Z")).is_empty());
    assert!(errors(&plan(Phase::After, "2019-04-09T15:30:00Z")).is_empty());
}

fn without(graph: &Arc<Graph>, names: &[&str]) -> Vec<&'static str> {
    let out: Vec<StepId> = names.iter().flat_map(|name| graph.named(name)).collect();
    let faults = prove_without(graph, &|step| out.contains(&step)).err().unwrap_or_default();
    faults.iter().map(|fault| fault.code).collect()
}

#[test]
fn a_whole_line_can_be_out() {
    let graph = moved(&[]).graph();
    let of_b: Vec<String> = graph
        .steps()
        .filter(|step| graph.line(*step) == graph.find_line("b"))
        .map(|step| graph.name(step))
        .collect();
    let of_b: Vec<&str> = of_b.iter().map(String::as_str).collect();
    assert!(without(&graph, &of_b).is_empty());
    assert!(without(&graph, &["tidy"]).is_empty());
    assert!(without(&graph, &[]).is_empty());
}

#[test]
fn what_is_out_guards_nothing_and_hands_its_needs_on() {
    let graph = moved(&[]).graph();
    // Both drains of a line out: its copy is of a moving thing. One of them is enough.
    assert!(without(&graph, &["close[a]", "pause[a]"]).contains(&"transfer-undrained"));
    assert!(without(&graph, &["pause[a]"]).is_empty());
    assert!(without(&graph, &["snapshot[b]"]).contains(&"transfer-without-snapshot"));
    assert!(without(&graph, &["verify[a]"]).contains(&"reopen-unverified"));
    // Without its gate nothing is past return any more, and all that is left must have an undo.
    let late = moved(&[("promote", no_undo)]).graph();
    assert!(without(&late, &[]).is_empty());
    assert!(without(&late, &["go"]).contains(&"missing-undo"));
    // Without the enabling the disabling would leave nobody.
    assert!(!without(&graph, &["enable[a]"]).is_empty());
    // The fence is out: the old writer is never taken, and two would write.
    assert!(!without(&graph, &["fence[a]"]).is_empty());
}

#[test]
fn a_look_up_of_what_is_out_is_refused() {
    let graph = PlanBuilder::new()
        .step("make", |s| s.output("build", "x"))
        .step("use", |s| s.needs(["make"]).run(&["${{ steps.make.outputs.build }}"]))
        .graph();
    assert_eq!(without(&graph, &["make"]), ["output-of-out"]);
    assert!(without(&graph, &["make", "use"]).is_empty());
}

#[test]
fn what_comes_neither_before_nor_after_the_go_is_told_of() {
    let plan = |needs: &'static [&'static str]| {
        PlanBuilder::new()
            .step("upgrade", |s| s.kind(Kind::Upgrade))
            .step("ready", |s| s.kind(Kind::Upgrade))
            .step("go", |s| s.gate(["bosses"], 1).needs(needs.iter().copied()))
            .step("after", |s| s.needs(["go"]))
    };
    insta::assert_snapshot!(said(prove(&plan(&["ready"]).graph())), @r"
    Warning unneeded: upgrade `upgrade` is needed by no step, and lies behind no gate: no go or no-go waits for it
      hint: let the gate need it, or let it need the gate
    ");
    assert_eq!(said(prove(&plan(&["ready", "upgrade"]).graph())), "");
}

#[test]
fn strict_refuses_what_is_taken_on_trust_and_nothing_else() {
    let fault = |code| Fault::warning(code, crate::text::Span::default(), "x");
    let mut faults = [fault("effects-unsaid"), fault("implied-need"), fault("start-unknown")];
    assert!(super::strict(&mut faults));
    let errors: Vec<&str> = faults
        .iter()
        .filter(|fault| fault.severity == Severity::Error)
        .map(|fault| fault.code)
        .collect();
    assert_eq!(errors, ["effects-unsaid", "start-unknown"]);
    assert!(!super::strict(&mut [fault("implied-need")]));
}
