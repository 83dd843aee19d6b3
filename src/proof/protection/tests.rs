//! Small plans, and the cut beside enumeration.

use super::*;
use crate::graph::Effect;
use crate::graph::testing::PlanBuilder;
use proptest::prelude::*;

fn nobody(_: StepId) -> bool {
    false
}

fn two_hosts(serial: bool) -> std::sync::Arc<Graph> {
    PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@to/one", "ocsp@to/two"])
        .step("upgrade", |step| {
            let step = step.each("host", ["one", "two"]).disturbs(["ocsp@to/${{ host }}"]);
            if serial { step.serial() } else { step }
        })
        .graph()
}

#[test]
fn serial_is_what_keeps_the_floor() {
    let kept = prove(&two_hosts(true), &nobody).expect("kept");
    assert_eq!((kept[0].reached, kept[0].of, kept[0].exact), (1, 2, true));
    let broken = prove(&two_hosts(false), &nobody).expect_err("broken");
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].code, "floor");
    assert!(broken[0].what.contains("`upgrade[one]`, `upgrade[two]`"), "{}", broken[0].what);
    assert!(broken[0].hint.as_ref().is_some_and(|hint| hint.contains("serial")));
}

#[test]
fn the_old_one_must_not_leave_before_the_new_one_is_there() {
    let plan = |needs: &[&str]| {
        PlanBuilder::new()
            .protect("crl", false, 1, ["crl@from/a"])
            .step("enable", |step| step.gains(["crl@to/b"]))
            .step("disable", |step| step.needs(needs.to_vec()).loses(["crl@from/a"]))
            .graph()
    };
    assert_eq!(prove(&plan(&["enable"]), &nobody).expect("kept")[0].reached, 1);
    let broken = prove(&plan(&[]), &nobody).expect_err("broken");
    assert_eq!(broken[0].hint.as_deref(), Some("it would be kept if `disable` needed `enable`"));
}

#[test]
fn never_two_writers() {
    let plan = |needs: &[&str]| {
        PlanBuilder::new()
            .exclusive("writer", false, Some("from"))
            .step("fence", |step| step.loses(["writer@from"]))
            .step("promote", |step| step.needs(needs.to_vec()).gains(["writer@to"]))
            .graph()
    };
    assert_eq!(prove(&plan(&["fence"]), &nobody).expect("kept")[0].reached, 1);
    assert_eq!(prove(&plan(&[]), &nobody).expect_err("broken")[0].code, "ceiling");
}

#[test]
fn what_is_out_hands_its_needs_on_and_takes_its_effects_along() {
    let graph = PlanBuilder::new()
        .protect("crl", false, 1, ["crl@from/a"])
        .step("enable", |step| step.gains(["crl@to/b"]))
        .step("disable", |step| step.needs(["enable"]).loses(["crl@from/a"]))
        .graph();
    let enable = graph.find("enable").expect("there");
    assert_eq!(prove(&graph, &|step| step == enable).expect_err("broken")[0].code, "floor");
    let disable = graph.find("disable").expect("there");
    assert_eq!(prove(&graph, &|step| step == disable).expect("kept")[0].reached, 1);
}

/// The least up over all down-closed sets of begins and ends, one by one.
fn enumerated(graph: &Graph) -> i64 {
    let count = graph.len();
    let mut least = i64::MAX;
    for bits in 0..1u32 << (2 * count) {
        let begun = |step: StepId| bits >> (2 * step.0) & 1 == 1;
        let ended = |step: StepId| bits >> (2 * step.0 + 1) & 1 == 1;
        let closed = graph.steps().all(|step| {
            (!ended(step) || begun(step))
                && (!begun(step) || graph.needs(step).iter().all(|&need| ended(need)))
        });
        if !closed {
            continue;
        }
        let up = graph.providers().iter().enumerate().map(|(index, provider)| {
            let mut up = provider.serving_at_start;
            let mut disturbed = false;
            for &step in graph.topological() {
                for (id, effect) in graph.effects(step) {
                    match effect {
                        _ if id.index() != index => {}
                        Effect::Loses if begun(step) => up = false,
                        Effect::Gains if ended(step) => up = true,
                        Effect::Disturbs if begun(step) && !ended(step) => disturbed = true,
                        _ => {}
                    }
                }
            }
            i64::from(up && !disturbed)
        });
        least = least.min(up.sum());
    }
    least
}

proptest! {
    #[test]
    fn the_proof_finds_what_enumeration_finds(
        edges in proptest::collection::vec(any::<bool>(), 36),
        effects in proptest::collection::vec((0usize..4, 0usize..3), 6),
    ) {
        const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        const PROVIDERS: [&str; 3] = ["s@x/p", "s@x/q", "s@x/r"];
        // A floor of 0 never breaks, so that the bound itself is what comes back.
        let mut plan = PlanBuilder::new().protect("s", false, 0, ["s@x/p", "s@x/q"]);
        for step in 0..6 {
            plan = plan.step(NAMES[step], |mut made| {
                let needs = (0..step).filter(|need| edges[step * 6 + need]);
                made = made.needs(needs.map(|need| NAMES[need]));
                let (kind, provider) = effects[step];
                let provider = [PROVIDERS[provider]];
                match kind {
                    0 => made.loses(provider),
                    1 => made.gains(provider),
                    2 => made.disturbs(provider),
                    _ => made,
                }
            });
        }
        let Ok(graph) = plan.compile() else { return Ok(()) };
        let Ok(bounds) = prove(&graph, &nobody) else { return Ok(()) };
        let least = enumerated(&graph);
        if bounds[0].exact {
            prop_assert_eq!(i64::from(bounds[0].reached), least);
        } else {
            prop_assert!(i64::from(bounds[0].reached) <= least);
        }
    }
}

fn only(graph: &Graph) -> Fault {
    let mut broken = prove(graph, &nobody).expect_err("broken");
    assert_eq!(broken.len(), 1, "{broken:#?}");
    broken.remove(0)
}

fn way(fault: &Fault) -> &str {
    let way = fault.others.iter().find(|(_, word)| word.contains("way there"));
    way.map_or("", |(_, word)| word.as_str())
}

#[test]
fn the_proof_is_one_line() {
    let bound = &prove(&two_hosts(true), &nobody).expect("kept")[0];
    let line = "ocsp: at least 1 of 2 in every reachable state; tightest: `upgrade[one]` running";
    assert_eq!(bound.to_string(), line);
    let still = PlanBuilder::new().protect("crl", false, 1, ["crl@from/a"]).step("a", |step| step);
    let bound = &prove(&still.graph(), &nobody).expect("kept")[0];
    assert_eq!(
        bound.to_string(),
        "crl: at least 1 of 1 in every reachable state; tightest: at the start"
    );
}

#[test]
fn the_witness_is_the_shortest_way_and_names_nobody_else() {
    // Five hosts are upgraded, in any order; the first two have nothing to do with the breach.
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 2, ["ocsp@to/c", "ocsp@to/d", "ocsp@to/e"])
        .step("idle", |step| step.each("host", ["a", "b"]).disturbs(["ocsp@to/${{ host }}"]))
        .step("upgrade", |step| {
            step.each("host", ["c", "d", "e"]).disturbs(["ocsp@to/${{ host }}"])
        });
    let fault = only(&plan.graph());
    let what = "`ocsp` can be down to 1 of 5, fewer than 2: while `upgrade[c]`, `upgrade[d]` are under way";
    assert_eq!(fault.what, what);
    assert_eq!(
        way(&fault),
        "the shortest way there: `upgrade[c]`, `upgrade[d]` begin, in any order"
    );
}

#[test]
fn the_witness_tells_what_comes_before() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 1, ["ocsp@from/old"])
        .step("enable", |step| step.gains(["ocsp@to/new"]))
        .step("disable", |step| step.needs(["enable"]).loses(["ocsp@from/old"]))
        .step("upgrade", |step| step.needs(["enable"]).disturbs(["ocsp@to/new"]));
    let fault = only(&plan.graph());
    assert_eq!(
        way(&fault),
        "the shortest way there: `enable` end, then `disable`, `upgrade` begin"
    );
    assert_eq!(fault.hint.as_deref(), Some("it would be kept if `disable` needed `upgrade`"));
}

#[test]
fn who_serves_nobody_at_the_start_is_told_so() {
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 2, ["ocsp@from/a"])
        .step("later", |step| step.gains(["ocsp@to/b"]));
    let fault = only(&plan.graph());
    assert_eq!(fault.what, "`ocsp` can be down to 1 of 2, fewer than 2 at the start");
    assert!(fault.hint.is_some_and(|hint| hint.contains("providers")));
}

#[test]
fn a_cure_is_the_least_that_holds() {
    // One chain for each line is enough.
    let plan = PlanBuilder::new()
        .lines(["x", "y"])
        .protect("ocsp", true, 1, ["ocsp@to/a", "ocsp@to/b"])
        .step("upgrade", |step| {
            let step = step.each("line", ["x", "y"]).each("host", ["a", "b"]);
            step.disturbs(["ocsp@to/${{ host }}"])
        });
    let broken = prove(&plan.graph(), &nobody).expect_err("broken");
    let hint = "`serial: host` in `for_each` of `upgrade` would keep it";
    assert!(broken.iter().all(|fault| fault.hint.as_deref() == Some(hint)), "{broken:#?}");
    // The paired need would leave the other host's enabling open.
    let plan = PlanBuilder::new()
        .protect("ocsp", false, 2, ["ocsp@from/a", "ocsp@from/b"])
        .step("enable", |step| step.each("host", ["a", "b"]).gains(["ocsp@to/${{ host }}"]))
        .step("disable", |step| step.each("host", ["a", "b"]).loses(["ocsp@from/${{ host }}"]));
    let fault = only(&plan.graph());
    assert_eq!(fault.hint.as_deref(), Some("it would be kept if `disable` needed `enable`"));
}

#[test]
fn a_cure_closes_no_cycle() {
    // `disable` cannot wait for `enable`, which waits for it by way of `between`.
    let plan = PlanBuilder::new()
        .protect("crl", false, 1, ["crl@from/a"])
        .step("disable", |step| step.loses(["crl@from/a"]))
        .step("between", |step| step.needs(["disable"]))
        .step("enable", |step| step.needs(["between"]).gains(["crl@to/b"]));
    let fault = only(&plan.graph());
    assert_eq!(fault.hint.as_deref(), Some("bring another provider up before these steps begin"));
}

#[test]
fn a_switch_is_ordered_against_all_else_that_acts_on_the_provider() {
    let plan = |needs: &[&str]| {
        PlanBuilder::new()
            .protect("crl", false, 0, ["crl@from/a"])
            .step("upgrade", |step| step.disturbs(["crl@from/a"]))
            .step("look", |step| step.disturbs(["crl@from/a"]))
            .step("disable", |step| step.needs(needs.to_vec()).loses(["crl@from/a"]))
            .graph()
    };
    prove(&plan(&["upgrade", "look"]), &nobody).expect("kept");
    let fault = only(&plan(&["upgrade"]));
    assert_eq!(fault.code, "unordered-effects");
    assert!(fault.what.contains("`look` and `disable` both act on `crl@from/a`"), "{}", fault.what);
}

#[test]
fn unordered_outages_of_one_provider_are_one_and_have_their_place() {
    // `a` is down while either of two unordered steps runs, `b` only after both: one at a time.
    let plan = |needs: &[&str]| {
        PlanBuilder::new()
            .protect("s", false, 1, ["s@x/a", "s@x/b"])
            .step("one", |step| step.disturbs(["s@x/a"]))
            .step("two", |step| step.disturbs(["s@x/a"]))
            .step("three", |step| step.needs(needs.to_vec()).disturbs(["s@x/b"]))
            .step("four", |step| step.needs(needs.to_vec()).disturbs(["s@x/b"]))
            .graph()
    };
    let bound = &prove(&plan(&["one", "two"]), &nobody).expect("kept")[0];
    assert_eq!((bound.reached, bound.exact), (1, false));
    assert_eq!(only(&plan(&["one"])).code, "floor");
}

#[test]
fn a_line_that_may_go_back_alone_leaves_the_others_served() {
    // Seals are served by what line `y` brought; without `y` nobody would be left.
    let plan = |policy| {
        PlanBuilder::new()
            .lines(["x", "y"])
            .protect("seal", false, 1, ["seal@from/s"])
            .step("enable", |step| step.each("line", ["y"]).on_failure(policy).gains(["seal@to/s"]))
            .step("disable", |step| step.needs(["enable"]).loses(["seal@from/s"]))
            .graph()
    };
    let whole = plan(OnFailure::Rollback);
    assert!(lines_alone(&whole).is_empty());
    let alone = plan(OnFailure::RollbackLine);
    prove(&alone, &nobody).expect("as a whole it is kept");
    let faults = prove_without_lines(&alone, &lines_alone(&alone));
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].what.starts_with("when line `y` is rolled back alone, `seal` can be down to 0"),
        "{}",
        faults[0].what
    );
    assert!(crate::proof::prove(&alone).is_err() && crate::proof::prove(&whole).is_ok());
}

/// A random plan of two services and a role; effects on a thing are mostly ordered.
fn any_graph() -> impl Strategy<Value = Option<Graph>> {
    let edges = proptest::collection::vec(0_u8..3, 49);
    let effects = proptest::collection::vec((0_usize..4, 0_usize..5), 14);
    (edges, effects).prop_map(|(edges, effects)| {
        const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
        const THINGS: [&str; 5] = ["s@x/p", "s@x/q", "s@x/r", "w@x", "w@y"];
        let mut plan = PlanBuilder::new().protect("s", false, 0, ["s@x/p", "s@x/q"]).exclusive(
            "w",
            false,
            Some("x"),
        );
        for step in 0..7 {
            plan = plan.step(NAMES[step], |mut made| {
                let needs = (0..step).filter(|need| edges[step * 7 + need] == 0);
                made = made.needs(needs.map(|need| NAMES[need]));
                for (kind, thing) in &effects[2 * step..2 * step + 2] {
                    made = match kind {
                        0 => made.loses([THINGS[*thing]]),
                        1 => made.gains([THINGS[*thing]]),
                        2 => made.disturbs([THINGS[*thing]]),
                        _ => made,
                    };
                }
                made
            });
        }
        plan.compile().ok()
    })
}

proptest! {
    /// What is written down for few steps and what is swept for many is the same order.
    #[test]
    fn many_steps_are_judged_like_few(graph in any_graph()) {
        let Some(graph) = graph else { return Ok(()) };
        for subject in subjects(&graph, &nobody) {
            let set = [subject.steps()];
            let judged = |few: usize| {
                let order = orders(&graph, &set, few).pop().expect("one");
                let model = Model::with(&graph, &subject, &order);
                let names = |faults: Vec<Fault>| faults.len();
                model.map(|model| (model.jobs.least().0, model.exact)).map_err(names)
            };
            prop_assert_eq!(judged(FEW), judged(0));
        }
    }

    /// Small sets that share a sweep get each its own order.
    #[test]
    fn orders_of_many_sets_are_those_of_each(
        graph in any_graph(),
        sets in proptest::collection::vec(proptest::collection::btree_set(0_u32..7, 0..7), 0..40),
    ) {
        let Some(graph) = graph else { return Ok(()) };
        let sets: Vec<Vec<StepId>> =
            sets.into_iter().map(|set| set.into_iter().map(StepId).collect()).collect();
        for (set, order) in sets.iter().zip(orders(&graph, &sets, FEW)) {
            for one in set {
                for other in set {
                    let needs = graph.ordered(&[(*one, *other)])[0];
                    prop_assert_eq!(order.is(order.job(*one), order.job(*other)), needs);
                }
            }
        }
    }

    /// A witness breaks the bound, and the one that is told is a state of the plan.
    #[test]
    fn a_shrunk_state_is_a_state_and_holds_still(graph in any_graph()) {
        let Some(graph) = graph else { return Ok(()) };
        for subject in subjects(&graph, &nobody) {
            let order = orders(&graph, &[subject.steps()], FEW).pop().expect("one");
            let Ok(model) = Model::with(&graph, &subject, &order) else { continue };
            let (least, state) = model.jobs.least();
            for bound in least..=0 {
                let small = model.shrunk(&state, &|weight| weight <= bound);
                prop_assert!(model.jobs.weight(&small) <= bound);
                for job in 0..model.jobs.len() {
                    prop_assert!(small.begun[job] || !small.ended[job]);
                    let needs = model.jobs.before[job].iter().all(|it| small.ended[*it as usize]);
                    prop_assert!(!small.begun[job] || needs);
                }
            }
        }
    }
}
