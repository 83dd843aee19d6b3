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
