//! Edges, switches and channels: against a small server that lies, loses and forgets on demand.

use super::*;
use bytes::Bytes;
use cutover::action::http::Http;
use cutover::action::notify::Notify;
use cutover::action::provider::Provider as Turned;
use cutover::action::role::Role;
use cutover::estate::{Channel, Edge, Host, Provider, Service, Switch};
use cutover::failure::FailureKind;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method as Verb, Request, Response};
use hyper_util::rt::TokioIo;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use tokio::net::TcpListener;

/// What the fake holds, and how it misbehaves.
#[derive(Default)]
struct Mind {
    /// Path of an admin URL to its state.
    states: BTreeMap<String, serde_json::Value>,
    /// Path to what clients get; 200 when not told.
    pages: BTreeMap<String, u16>,
    /// Every PUT, in order.
    puts: Vec<String>,
    /// A PUT is applied, and its answer lost.
    loses_answers: bool,
    /// A PUT is answered, and not applied.
    forgets: bool,
    /// What a PUT is answered with, applied or not; 200 when 0.
    answers: u16,
    /// What an open route is answered with; 200 when 0.
    opens_to: u16,
    /// A GET of a state is not answered.
    mute: bool,
}

type Shared = Arc<Mutex<Mind>>;

fn mind(shared: &Shared) -> std::sync::MutexGuard<'_, Mind> {
    shared.lock().expect("nobody panics inside")
}

/// Serves until the test ends; its base URL.
async fn serve(shared: &Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
                // A lost answer is an error here.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    });
    url
}

async fn answer(
    shared: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let verb = request.method().clone();
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let mut mind = mind(&shared);
    let reply = |status: u16, text: String| {
        Response::builder().status(status).body(Full::from(text)).map_err(std::io::Error::other)
    };
    if verb == Verb::PUT {
        let state: serde_json::Value = serde_json::from_slice(&body)?;
        mind.puts.push(path.clone());
        if let Some(route) = path.strip_prefix("/admin/routes/") {
            let (route, line) = route.split_once('/').expect("route and line");
            let status = if state["open"] == true {
                mind.opens_to.max(200).into()
            } else {
                state["status"].as_u64().expect("it")
            };
            if !mind.forgets {
                mind.pages.insert(format!("/{line}/{route}"), status as u16);
            }
        }
        if !mind.forgets {
            mind.states.insert(path, state.clone());
        }
        if mind.loses_answers {
            return Err(std::io::Error::other("lost"));
        }
        return reply(mind.answers.max(200), state.to_string());
    }
    if path.starts_with("/admin/") {
        if mind.mute {
            return Err(std::io::Error::other("mute"));
        }
        return match mind.states.get(&path) {
            Some(state) => reply(200, state.to_string()),
            None => reply(404, "no such switch".to_owned()),
        };
    }
    reply(mind.pages.get(&path).copied().unwrap_or(200), String::new())
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { value, span: Span::default() }
}

/// A bench whose site `from` has an edge, a role and a provider behind the fake.
async fn bench(shared: &Shared) -> Bench {
    let base = serve(shared).await;
    let mut bench = Bench::new();
    let edge = Edge {
        url: base.clone(),
        admin: format!("{base}/admin"),
        routes: ["order", "order-status"]
            .map(|route| (route.to_owned(), format!("/{{line}}/{route}")))
            .into(),
        protected: [("ocsp".to_owned(), "/ocsp/{line}".to_owned())].into(),
    };
    change(&mut bench, |site| {
        site.edge = Some(spanned(edge));
        site.roles.insert(
            "writer".to_owned(),
            spanned(Switch::Admin(format!("{base}/admin/writer/{{line}}"))),
        );
        let provider = Provider {
            url: base.clone(),
            host: None,
            switch: Some(Switch::Admin(format!("{base}/admin/ocsp-1/{{line}}"))),
        };
        let providers = [("ocsp-1".to_owned(), spanned(provider))].into();
        site.services
            .insert("ocsp".to_owned(), spanned(Service { providers, ..Service::default() }));
    });
    bench
}

fn change(bench: &mut Bench, how: impl FnOnce(&mut Site)) {
    let estate = Arc::make_mut(&mut bench.estate);
    how(&mut estate.sites.get_mut("from").expect("a site").value);
}

fn close() -> edge::Close<String> {
    edge::Close {
        site: "from".to_owned(),
        line: "geotrust".to_owned(),
        routes: vec!["order".to_owned(), "order-status".to_owned()],
        status: 404,
    }
}

fn open() -> Action<String> {
    let edge::Close { site, line, routes, status } = close();
    Action::EdgeOpen(edge::Open { site, line, routes, status })
}

fn fence() -> Action<String> {
    Action::RoleFence(Role { role: "writer@from/geotrust".to_owned() })
}

fn kind(ending: Ending) -> (bool, FailureKind, String) {
    match ending {
        Ending::Failed(failure) => (true, failure.kind, failure.to_string()),
        Ending::Unknown(failure) => (false, failure.kind, failure.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_edge_is_closed_and_opened_and_says_so_itself() {
    let shared = Shared::default();
    let bench = bench(&shared).await;
    bench.done(Action::EdgeClose(close())).await;
    assert_eq!(mind(&shared).pages["/geotrust/order"], 404);
    assert!(matches!(bench.does(Action::EdgeClose(close()), Ask::IsDone).await, Ending::Done(_)));
    assert_eq!(bench.does(open(), Ask::IsDone).await, Ending::NotDone);
    bench.done(open()).await;
    assert_eq!(bench.does(Action::EdgeClose(close()), Ask::IsDone).await, Ending::NotDone);
}

#[tokio::test]
async fn a_wrong_route_name_closes_nothing() {
    let shared = Shared::default();
    let bench = bench(&shared).await;
    let mut wrong = close();
    wrong.routes.push("ordr".to_owned());
    let (_, how, said) = kind(bench.does(Action::EdgeClose(wrong), Ask::Perform).await);
    assert_eq!(how, FailureKind::Final);
    assert!(said.contains("`ordr`") && said.contains("order-status"), "{said}");
    assert!(mind(&shared).puts.is_empty(), "half of the routes are closed");
}

#[tokio::test]
async fn a_closing_that_hits_what_is_protected_fails() {
    let shared = Shared::default();
    mind(&shared).pages.insert("/ocsp/geotrust".to_owned(), 404);
    let bench = bench(&shared).await;
    let mut deed = deed(Action::EdgeClose(close()), Ask::Perform);
    deed.timeout = Some(Duration::from_millis(400));
    let (context, _stopper, _seen) = bench.context("r1");
    let (failed, _, said) = kind(carry_out(deed, context).await);
    assert!(failed && said.contains("protected `ocsp`"), "{said}");
}

#[tokio::test]
async fn a_lost_answer_is_read_back_and_what_cannot_be_read_is_in_doubt() {
    let shared = Shared::default();
    let bench = bench(&shared).await;
    mind(&shared).loses_answers = true;
    bench.done(fence()).await;
    mind(&shared).mute = true;
    let (failed, how, said) = kind(bench.does(fence(), Ask::Perform).await);
    assert!(!failed && how == FailureKind::InDoubt, "{said}");
    let (failed, ..) = kind(bench.does(fence(), Ask::IsDone).await);
    assert!(!failed, "a check without an answer is no failure of the step");
}

#[tokio::test]
async fn a_switch_that_says_yes_and_does_nothing_is_not_believed() {
    let shared = Shared::default();
    let bench = bench(&shared).await;
    bench.done(Action::RolePromote(Role { role: "writer@from/geotrust".to_owned() })).await;
    mind(&shared).forgets = true;
    let (failed, how, said) = kind(bench.does(fence(), Ask::Perform).await);
    assert!(failed && how == FailureKind::Transient, "{said}");
}

#[tokio::test]
async fn what_stands_between_may_fail_after_the_deed_was_done() {
    let shared = Shared::default();
    let bench = bench(&shared).await;
    // Done, and a gateway says otherwise; or done and answered without a body.
    for status in [504, 502, 204] {
        mind(&shared).states.clear();
        mind(&shared).answers = status;
        bench.done(fence()).await;
    }
    // Not done: read back, it is a plain failure. Not to be read: a doubt.
    mind(&shared).answers = 503;
    mind(&shared).forgets = true;
    mind(&shared).states.insert("/admin/writer/geotrust".into(), serde_json::json!({ "on": true }));
    let (failed, how, said) = kind(bench.does(fence(), Ask::Perform).await);
    assert!(failed && how == FailureKind::Transient && said.contains("503"), "{said}");
    mind(&shared).mute = true;
    let (failed, how, said) = kind(bench.does(fence(), Ask::Perform).await);
    assert!(!failed && how == FailureKind::InDoubt, "{said}");
    // Refused is refused.
    mind(&shared).answers = 403;
    let (failed, how, said) = kind(bench.does(fence(), Ask::Perform).await);
    assert!(failed && how == FailureKind::Final && said.contains("403"), "{said}");
}

#[tokio::test]
async fn a_route_whose_service_is_away_is_not_open() {
    for (status, is_open) in
        [(502, false), (503, false), (302, false), (404, false), (201, true), (405, true)]
    {
        let shared = Shared::default();
        let bench = bench(&shared).await;
        mind(&shared).opens_to = status;
        let mut deed = deed(open(), Ask::Perform);
        deed.timeout = Some(Duration::from_millis(300));
        let (context, _stopper, _seen) = bench.context("r1");
        match carry_out(deed, context).await {
            Ending::Done(_) => assert!(is_open, "{status} passes for open"),
            ending => {
                let (failed, _, said) = kind(ending);
                let told = said.contains(&format!("is open and answers {status}"));
                assert!(failed && !is_open && told, "{status}: {said}");
            }
        }
        let checked = bench.does(open(), Ask::IsDone).await;
        assert_eq!(matches!(checked, Ending::Done(_)), is_open, "{status}: {checked:?}");
    }
}

#[tokio::test]
async fn a_request_that_can_never_be_sent_is_not_asked_again() {
    let bench = Bench::new();
    for url in ["http://", "gopher://there/", "ftp://there/", "http://me:pw@there/"] {
        let http = Http {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: BTreeMap::new(),
            body: None,
            status: Vec::new(),
            contains: None,
            every: Some(jiff::SignedDuration::from_secs(1)),
        };
        let begun = std::time::Instant::now();
        let (failed, how, said) = kind(bench.does(Action::Http(http), Ask::Perform).await);
        assert!(failed && how == FailureKind::Final, "{url}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{url} was asked until its deadline");
    }
}

#[tokio::test]
async fn nobody_there_is_worth_a_retry_and_no_doubt() {
    let mut bench = Bench::new();
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/writer/{{line}}", gone.local_addr().expect("an address"));
    drop(gone);
    change(&mut bench, |site| {
        site.roles.insert("writer".to_owned(), spanned(Switch::Admin(url)));
    });
    let (failed, how, said) = kind(bench.does(fence(), Ask::Perform).await);
    assert!(failed && how == FailureKind::Transient, "{said}");
}

#[tokio::test]
async fn a_provider_without_a_line_is_switched_for_all() {
    let shared = Shared::default();
    let bench = bench(&shared).await;
    let turned = |line: Option<&str>| {
        let line = line.map(ToOwned::to_owned);
        Action::ProviderEnable(Turned { provider: "ocsp@from/ocsp-1".to_owned(), line })
    };
    bench.done(turned(None)).await;
    bench.done(turned(Some("thawte"))).await;
    assert_eq!(mind(&shared).puts, ["/admin/ocsp-1/*", "/admin/ocsp-1/thawte"]);
}

#[tokio::test]
async fn commands_turn_a_switch_and_are_found_by_a_later_runner() {
    let mut bench = Bench::new();
    let tools = bench.dir.path().join("tools");
    std::fs::create_dir(&tools).expect("a directory");
    let script = "#!/bin/sh\nprintf '%s' \"$CUTOVER_ATTEMPT_DIR\" > token\necho \"$1\" > state\n";
    std::fs::write(tools.join("turn"), script).expect("a file");
    std::fs::write(tools.join("is"), "#!/bin/sh\ngrep -q on state\n").expect("a file");
    for name in ["turn", "is"] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(tools.join(name), mode).expect("a mode");
    }
    let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let switch = Switch::Commands {
        on: argv(&["turn", "on"]),
        off: argv(&["turn", "off"]),
        is_on: argv(&["is"]),
    };
    change(&mut bench, |site| {
        site.hosts.insert("ocsp-1".to_owned(), spanned(Host::Local { path: Some(tools) }));
        let provider = Provider { url: String::new(), host: None, switch: Some(switch) };
        let providers = [("ocsp-1".to_owned(), spanned(provider))].into();
        site.services
            .insert("ocsp".to_owned(), spanned(Service { providers, ..Service::default() }));
    });
    let it = Turned { provider: "ocsp@from/ocsp-1".to_owned(), line: None };
    bench.done(Action::ProviderEnable(it.clone())).await;
    assert_eq!(bench.does(Action::ProviderDisable(it.clone()), Ask::IsDone).await, Ending::NotDone);
    bench.done(Action::ProviderDisable(it)).await;
    // `settle_leftovers` looks for this very text in the environment of processes.
    let token = std::fs::read_to_string(bench.dir.path().join("token")).expect("written");
    assert_eq!(token, bench.dir.path().join("attempt").display().to_string());
}

#[tokio::test]
async fn a_notice_goes_once_to_each_channel_and_can_be_read() {
    let mut bench = Bench::new();
    let text = "# Moving on ${{ plan.opens }}\n\nBye.\n";
    std::fs::write(bench.dir.path().join("final.md"), text).expect("a file");
    let place = |name: &str| bench.dir.path().join(name);
    let (customers, blog) = (place("customers"), place("blog"));
    let channels = [("customers", &customers), ("blog", &blog)];
    Arc::make_mut(&mut bench.estate).channels = channels
        .map(|(name, at)| (name.to_owned(), spanned(Channel::Directory(at.clone()))))
        .into();
    let notice = Action::Notify(Notify {
        notice: "final.md".into(),
        to: vec!["customers".to_owned(), "blog".to_owned()],
    });
    let send = async |ask| {
        let (mut context, _stopper, _seen) = bench.context("r1");
        context.facts = Arc::new([("opens".to_owned(), "6 April".to_owned())].into());
        carry_out(deed(notice.clone(), ask), context).await
    };
    // The blog is in the way once: the customers have theirs, and must not get another.
    std::fs::write(&blog, "a file where a directory should be").expect("a file");
    let (failed, ..) = kind(send(Ask::Perform).await);
    assert!(failed);
    assert_eq!(send(Ask::IsDone).await, Ending::NotDone);
    let files = |at: &Path| {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(at).expect("it").map(|entry| entry.expect("it").path()).collect();
        files.sort();
        files
    };
    let before: Vec<_> = files(&customers)
        .into_iter()
        .map(|file| (std::fs::read(&file).expect("it"), file))
        .collect();
    std::fs::remove_file(&blog).expect("it");
    for _ in 0..2 {
        assert!(matches!(send(Ask::Perform).await, Ending::Done(_)));
    }
    assert!(matches!(send(Ask::IsDone).await, Ending::Done(_)));
    let after: Vec<_> = files(&customers)
        .into_iter()
        .map(|file| (std::fs::read(&file).expect("it"), file))
        .collect();
    assert_eq!(before, after, "sent twice");
    for file in [files(&customers), files(&blog)].concat() {
        let said = std::fs::read_to_string(&file).expect("it");
        assert!(said.contains("Moving on 6 April"), "{said}");
        let mode = std::fs::metadata(&file).expect("it").permissions().mode();
        assert_eq!(mode & 0o044, 0o044, "{}: whoever publishes it cannot read it", file.display());
    }
    assert_eq!(files(&blog).len(), 2);
}
