//! Names bound to an estate.

use super::*;

fn here<T>(value: T) -> Spanned<T> {
    Spanned { value, span: crate::text::Span::default() }
}

fn estate() -> Estate {
    let mut from = Site::default();
    from.hosts.insert("ocsp-1".into(), here(Host::Local { path: None }));
    from.hosts.insert("db-1".into(), here(Host::Local { path: None }));
    from.databases.insert("a".into(), here(Database::Sqlite(PathBuf::from("a.db"))));
    let on = Some(Switch::Admin("http://127.0.0.1/".into()));
    let provider = Provider { url: "http://127.0.0.1/".into(), host: None, switch: on };
    let ocsp = Service {
        providers: BTreeMap::from([("ocsp-1".into(), here(provider))]),
        ..Service::default()
    };
    from.services.insert("ocsp".into(), here(ocsp));
    from.roles.insert("writer".into(), here(Switch::Admin("http://127.0.0.1/".into())));
    let edge = Edge {
        routes: BTreeMap::from([
            ("order".into(), "/{line}/order".into()),
            ("all".into(), "/{line}".into()),
        ]),
        protected: BTreeMap::from([("ocsp".into(), "/{line}/ocsp".into())]),
        ..Edge::default()
    };
    from.edge = Some(here(edge));
    let mut to = from.clone();
    to.edge = None;
    Estate {
        sites: BTreeMap::from([("from".into(), here(from)), ("to".into(), here(to))]),
        people: BTreeMap::from([("bosses".into(), vec!["mara".into(), "jo".into()])]),
        channels: BTreeMap::from([(
            "customers".into(),
            here(Channel::Directory(PathBuf::from("c"))),
        )]),
        ..Estate::default()
    }
}

fn at(place: &str) -> Action<crate::plan::template::Template> {
    let argv = vec![template("true")];
    Action::Run(process::Run { argv, at: Some(template(place)), env: BTreeMap::new() })
}

#[test]
fn every_name_is_looked_up_in_the_estate() {
    let close = |site: &str, route: &str| {
        let (site, line) = (template(site), template("a"));
        Action::EdgeClose(edge::Close { site, line, routes: vec![template(route)], status: 404 })
    };
    let snapshot = |site: &str, database: &str| {
        let (site, database) = (template(site), template(database));
        Action::DatabaseSnapshot(database::Snapshot { site, database })
    };
    let notify = |channel: &str| {
        let notice = PathBuf::from("n.md");
        Action::Notify(notify::Notify { notice, to: vec![template(channel)] })
    };
    let switch = |name: &str| {
        let provider = template(name);
        Action::ProviderEnable(provider::Provider { provider, line: None })
    };
    let role = |name: &str| Action::RoleFence(role::Role { role: template(name) });
    let plan = |act: &Action<_>| {
        lines()
            .protect("ocsp", true, 1, ["ocsp@from/ocsp-1"])
            .exclusive("writer", true, Some("from"))
            .step("s", |s| s.act(act.clone()))
    };
    let right = [
        close("from", "order"),
        snapshot("to", "a"),
        notify("customers"),
        switch("ocsp@to/ocsp-1"),
        role("writer@from/a"),
        at("to/db-1"),
    ];
    for act in right {
        assert!(codes(plan(&act).compile_for(&estate())).is_empty(), "{act:?}");
    }
    let wrong = [
        (close("form", "order"), "unknown-site"),
        (close("from", "oder"), "unknown-route"),
        (close("from", "all"), "protected-route"),
        (close("to", "order"), "unknown-edge"),
        (snapshot("to", "b"), "unknown-database"),
        (notify("costumers"), "unknown-channel"),
        (switch("ocsp@to/ocsp-2"), "unknown-provider"),
        (switch("crl@to/crl-1"), "unknown-service"),
        (role("writer@from/z"), "unknown-line"),
        (role("signer@from/a"), "unknown-role"),
        (at("to/db-2"), "unknown-host"),
        (at("db-1"), "bad-name"),
        (at("to/ocsp-1"), "effects-unsaid"),
    ];
    for (act, code) in wrong {
        assert_eq!(codes(plan(&act).compile_for(&estate())), [code], "{act:?}");
    }
}

#[test]
fn a_host_that_bears_a_provider_wants_effects_said() {
    let plan = |said: bool| {
        let say = |s: StepBuilder| if said { s.no_effects() } else { s };
        PlanBuilder::new()
            .protect("ocsp", false, 1, ["ocsp@from/ocsp-1"])
            .step("s", |s| say(s.act(at("from/ocsp-1"))))
    };
    insta::assert_snapshot!(messages(plan(false).compile_for(&estate())), @r#"
    Error effects-unsaid: step `s` runs on `from/ocsp-1`, which bears `ocsp@from/ocsp-1`, and does not say what it does to it
      hint: `effects: { disturbs: ["ocsp@from/ocsp-1"] }` if it is down meanwhile, `effects: {}` if not
    "#);
    assert!(plan(true).compile_for(&estate()).is_ok());
    let unbound = plan(false).compile().expect("without an estate it is a warning");
    assert_eq!(unbound.warnings()[0].severity, Severity::Warning);
}

#[test]
fn without_an_estate_any_host_may_bear_a_provider() {
    let plan = |step: fn(StepBuilder) -> StepBuilder| {
        PlanBuilder::new()
            .protect("ocsp", false, 1, ["ocsp@from/ocsp-1"])
            .step("s", |s| step(s.act(at("from/db-1"))))
    };
    assert_eq!(codes(plan(|s| s).compile()), ["effects-unsaid"]);
    assert!(codes(plan(|s| s.no_effects()).compile()).is_empty());
    assert!(codes(plan(|s| s).compile_for(&estate())).is_empty(), "the estate says that none does");
    let nothing = PlanBuilder::new().step("s", |s| s.act(at("from/db-1")));
    assert!(codes(nothing.compile()).is_empty(), "nothing is protected");
}

#[test]
fn a_route_takes_the_provider_that_answers_under_it() {
    let mut estate = estate();
    let from = &mut estate.sites.get_mut("from").expect("there").value;
    let edge = &mut from.edge.as_mut().expect("there").value;
    edge.url = "http://192.0.2.10".into();
    edge.routes.insert("revocation".into(), "/ocsp/{line}".into());
    edge.protected.clear();
    let ocsp = &mut from.services.get_mut("ocsp").expect("there").value;
    let provider = ocsp.providers.get_mut("ocsp-1").expect("there");
    provider.value.url = "http://192.0.2.10/ocsp/{line}/".into();
    let routes = || vec![template("order"), template("revocation")];
    let close = |line: &str| {
        let (site, line) = (template("from"), template(line));
        Action::EdgeClose(edge::Close { site, line, routes: routes(), status: 404 })
    };
    let open = Action::EdgeOpen(edge::Open {
        site: template("from"),
        line: template("a"),
        routes: routes(),
        status: 404,
    });
    let plan = lines()
        .protect("ocsp", true, 1, ["ocsp@from/ocsp-1"])
        .step("close", |s| s.act(close("a")))
        .step("open", |s| s.needs(["close"]).act(open));
    let graph = plan.clone().compile_for(&estate).expect("compiles");
    let effects = |name: &str| -> Vec<(&str, Effect)> {
        let step = graph.find(name).expect("there");
        let named = |(id, effect): &(crate::event::ProviderId, Effect)| {
            (graph.providers()[id.index()].name.as_str(), *effect)
        };
        graph.effects(step).iter().map(named).collect()
    };
    assert_eq!(effects("close"), [("ocsp@from/ocsp-1[a]", Effect::Loses)]);
    assert_eq!(effects("open"), [("ocsp@from/ocsp-1[a]", Effect::Gains)]);
    // Nobody else serves the line meanwhile.
    let faults = crate::proof::prove(&graph).expect_err("refused");
    assert!(
        faults.iter().any(|it| it.code == "floor" && it.what.contains("`ocsp[a]`")),
        "{faults:?}"
    );
    let unbound = plan.compile().expect("compiles");
    assert!(unbound.effects(unbound.find("close").expect("there")).is_empty(), "not known");
}

#[test]
fn gates_want_people_enough() {
    let plan = |by: &'static [&'static str], quorum| {
        PlanBuilder::new().step("go", |s| s.gate(by.iter().copied(), quorum))
    };
    assert!(plan(&["bosses"], 2).compile_for(&estate()).is_ok());
    assert_eq!(codes(plan(&["bosses"], 3).compile_for(&estate())), ["too-few-people"]);
    assert_eq!(codes(plan(&["boses"], 1).compile_for(&estate())), ["unknown-group"]);
    let by_hand = PlanBuilder::new().step("m", |s| s.manual(["bosses"], 3));
    assert_eq!(codes(by_hand.compile_for(&estate())), ["too-few-people"]);
}

#[test]
fn the_estate_says_who_serves_at_the_start() {
    let plan = || {
        PlanBuilder::new()
            .protect("ocsp", false, 1, [])
            .served_by_estate()
            .step("s", |s| s.gains(["ocsp@to/ocsp-1"]))
    };
    let graph = plan().compile_for(&estate()).expect("compiles");
    let serving: Vec<(&str, bool)> =
        graph.providers().iter().map(|it| (it.name.as_str(), it.serving_at_start)).collect();
    assert_eq!(serving, [("ocsp@from/ocsp-1", true), ("ocsp@to/ocsp-1", false)]);
    assert_eq!(codes(plan().compile()), ["start-unknown"]);
}

#[test]
fn an_estate_is_needed_by_what_names_one() {
    let none = PlanBuilder::new().step("s", |s| s).graph();
    assert_eq!(none.needs_estate(), None);
    let host = PlanBuilder::new().step("s", |s| s.act(at("to/db-1"))).graph();
    assert_eq!(host.needs_estate().as_deref(), Some("step `s` runs on a host of a site"));
    let people = PlanBuilder::new().step("go", |s| s.gate(["bosses"], 1)).graph();
    assert!(people.needs_estate().is_some());
}
