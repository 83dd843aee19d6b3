//! Random plans: what holds of every graph.

use super::*;

/// A plan of a few definitions with random needs, fan-outs, chains, phases and effects.
fn any_plan() -> impl Strategy<Value = Arc<Plan>> {
    let def = (
        proptest::collection::vec((0_usize..3, 1_usize..4), 0..3),
        proptest::collection::vec((0_usize..8, any::<bool>()), 0..4),
        0_usize..4,
        0_usize..6,
        0_usize..5,
    );
    proptest::collection::vec(def, 1..8).prop_map(|defs| {
        let mut plan = lines().protect("ocsp", true, 0, ["ocsp@from/o"]);
        let backwards = defs.len() % 3 == 0;
        for (index, (over, needs, serial, phase, effect)) in defs.iter().enumerate() {
            plan = plan.step(&format!("s{index}"), |mut step| {
                let mut seen = BTreeSet::new();
                for (variable, values) in over {
                    if seen.insert(variable) {
                        let name = ["line", "x", "y"][*variable];
                        let start = (index + variable) % (4 - values);
                        step = step.each(name, LINES[start..start + values].iter().copied());
                    }
                }
                for (needed, all) in needs {
                    // Mostly forwards; sometimes a cycle, an unknown step, itself.
                    let needed = if backwards { *needed } else { needed % (index + 1) };
                    let name = format!("s{needed}");
                    if !backwards && needed == index {
                        continue;
                    }
                    step = if *all { step.needs_all(&name) } else { step.needs([name.as_str()]) };
                }
                step = match serial {
                    0 => step.serial(),
                    1 => step.serial_along("x"),
                    _ => step,
                };
                step = match phase {
                    0 => step.phase(Phase::Before),
                    1 => step.phase(Phase::After),
                    _ => step,
                };
                match effect {
                    0 => step.disturbs(["ocsp@from/o"]),
                    1 => step.gains(["ocsp@to/o"]),
                    _ => step,
                }
            });
        }
        plan.plan()
    })
}

/// The natural join by its definition: every pair of instances that agree wherever both have a value.
fn joined(graph: &Graph, step: StepId) -> BTreeSet<StepId> {
    let mut found = BTreeSet::new();
    for need in &graph.def(step).needs {
        for other in graph.named(&need.step.value) {
            let agree = graph.bindings(step).all(|(variable, value)| {
                let mut theirs = graph.bindings(other);
                theirs.all(|(name, other)| name != variable || other == value)
            });
            if need.all || agree {
                found.insert(other);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_compiles_or_is_refused_with_reasons(plan in any_plan()) {
        let graph = match Graph::compile(plan, None) {
            Ok(graph) => graph,
            Err(faults) => {
                prop_assert!(faults.iter().any(|fault| fault.severity == Severity::Error));
                return Ok(());
            }
        };
        let mut place = vec![usize::MAX; graph.len()];
        graph.topological().iter().enumerate().for_each(|(at, step)| place[step.index()] = at);
        prop_assert_eq!(graph.topological().len(), graph.len());
        let mut edges = 0;
        for step in graph.steps() {
            prop_assert_eq!(graph.find(&graph.name(step)), Some(step));
            prop_assert!(graph.needs(step).is_sorted_by(|one, two| one < two));
            prop_assert!(graph.dependents(step).is_sorted_by(|one, two| one < two));
            for needed in graph.needs(step) {
                prop_assert!(place[needed.index()] < place[step.index()]);
                prop_assert!(graph.dependents(*needed).binary_search(&step).is_ok());
            }
            edges += graph.dependents(step).len();
            let joined = joined(&graph, step);
            let needs: BTreeSet<StepId> = graph.needs(step).iter().copied().collect();
            prop_assert!(joined.is_subset(&needs));
            // The rest are chains (neighbours of the same definition) and phases.
            for extra in needs.difference(&joined) {
                let chained = graph.def_index(*extra) == graph.def_index(step);
                prop_assert!(chained || graph.phase(*extra) < graph.phase(step));
            }
        }
        prop_assert_eq!(edges, graph.edge_count());
        let closure = closure(&graph);
        for step in graph.steps() {
            for other in graph.steps() {
                let behind = closure[step.index()].contains(&other);
                prop_assert!(behind || graph.phase(other) >= graph.phase(step), "phases are edges");
                prop_assert_eq!(graph.ordered(&[(other, step)])[0], behind);
            }
        }
        let pairs: Vec<(StepId, StepId)> =
            graph.steps().flat_map(|one| graph.steps().map(move |two| (one, two))).collect();
        for ((one, two), is) in pairs.iter().zip(graph.ordered(&pairs)) {
            prop_assert_eq!(is, closure[two.index()].contains(one));
        }
        let _ = crate::proof::prove(&graph);
    }
}

/// For each step all that it needs, directly or through others.
fn closure(graph: &Graph) -> Vec<BTreeSet<StepId>> {
    let mut closure = vec![BTreeSet::new(); graph.len()];
    for step in graph.topological() {
        let mut all: BTreeSet<StepId> = graph.needs(*step).iter().copied().collect();
        for needed in graph.needs(*step) {
            all.extend(&closure[needed.index()]);
        }
        closure[step.index()] = all;
    }
    closure
}
