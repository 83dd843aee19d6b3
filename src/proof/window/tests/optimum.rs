//! The list's schedule beside the best one, found by trying every order.

use super::*;

/// The best end: every order of the steps, each put at the first moment at which its needs are done
/// and its limits have room. One of these orders is a best schedule.
fn best(graph: &Graph, times: &[i64]) -> i64 {
    let mut order: Vec<StepId> = Vec::new();
    let mut least = i64::MAX;
    extend(graph, times, &mut order, &mut vec![(0, 0); graph.len()], &mut least);
    least
}

fn extend(
    graph: &Graph,
    times: &[i64],
    order: &mut Vec<StepId>,
    spans: &mut Vec<(i64, i64)>,
    least: &mut i64,
) {
    let end = order.iter().map(|it| spans[it.index()].1).max().unwrap_or(0);
    if end >= *least {
        return;
    }
    if order.len() == graph.len() {
        *least = end;
        return;
    }
    for step in graph.steps() {
        let ready = graph.needs(step).iter().all(|need| order.contains(need));
        if order.contains(&step) || !ready {
            continue;
        }
        let took = times[step.index()];
        let from = graph.needs(step).iter().map(|it| spans[it.index()].1).max().unwrap_or(0);
        let room = |now: i64| {
            graph.limits(step).iter().all(|limit| {
                let takes = |it: &&StepId| {
                    let (begin, end) = spans[it.index()];
                    graph.limits(**it).contains(limit) && begin <= now && now < end
                };
                (order.iter().filter(takes).count() as u32) < graph.limit(*limit)
            })
        };
        let fits = |begin: &i64| (*begin..begin + took).all(&room);
        let begin = (from..).find(fits).expect("there is room in the end");
        spans[step.index()] = (begin, begin + took);
        order.push(step);
        extend(graph, times, order, spans, least);
        order.pop();
    }
}

fn listed(graph: &Graph, times: &[i64]) -> i64 {
    let (doing, _) = Side::both(graph);
    let mut bench = Bench::new(graph, &doing);
    let task = Task::new(graph, &doing, &vec![Part::From(0); graph.len()]);
    bench.make(&task, 0, &mut |step| Attempt { takes: times[step.index()], good: true });
    bench.end().map_or(0, |(end, _)| end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Graham's bound for one limit, and never better than the best with any limits.
    #[test]
    fn the_list_is_within_its_bound_of_the_best((graph, times) in any_graph(6)) {
        let (list, best) = (listed(&graph, &times), best(&graph, &times));
        prop_assert!(list >= best, "{list} is better than the best, {best}");
        let places = i64::from(graph.limit(LimitId(0)));
        let wan = graph.steps().filter(|it| graph.limits(*it).len() > 1).count();
        if wan <= 1 {
            // No more than one step takes of the second limit: as if it were not there.
            prop_assert!(list * places <= best * (2 * places - 1), "{list} of {best}, {places} at once");
        }
    }
}

#[test]
fn the_search_finds_what_a_list_misses() {
    // Two at once. The list starts the long way first and idles nowhere; waiting would be better.
    let graph = plan()
        .limit("steps", 2)
        .step("a", takes(3))
        .step("b", takes(3))
        .step("c", takes(2))
        .step("d", takes(2))
        .step("e", takes(2))
        .graph();
    let times = [3, 3, 2, 2, 2];
    assert_eq!((listed(&graph, &times), best(&graph, &times)), (7, 6));
}
