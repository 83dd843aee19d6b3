//! Guard and emergency lane against the `openssl` command: what it signs is accepted, each fault
//! gets its code and its verdict, and a revocation counts as confirmed only when openssl's own
//! answers carry it.

mod lane;

use cutover::estate::{Database, Estate, Issuers, Provider, Service, Site};
use cutover::event::{Person, Verdict};
use cutover::guard::ocsp::{CertStatus, status_of};
use cutover::guard::{Guard, Issuer, Pace, Protocol, Said, Serial, Target, Told, crl};
use cutover::journal::rundir::RunDir;
use cutover::lane::admit;
use cutover::lane::file::LaneFile;
use cutover::lane::worker::{LaneSaid, Setup, View, Worker};
use cutover::revocation::{Certificate, Order, Reason, Said as LaneEntry, Scene, Stage};
use cutover::text::Spanned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

const LONG: Duration = Duration::from_secs(60);
const PACE: Pace = Pace { every: Duration::from_millis(50), recovery: 3 };

// ── a certificate authority by openssl ──────────────────────────────────────────────────────────

/// Made once for all tests: keys, certificates, an index, lists.
fn pki() -> &'static Path {
    static PKI: OnceLock<tempfile::TempDir> = OnceLock::new();
    PKI.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/revocation/make.sh");
        let output = Command::new("bash").arg(script).current_dir(&dir).output().expect("bash");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl makes a PKI: {why}");
        dir
    })
    .path()
}

fn pem(name: &str) -> PathBuf {
    pki().join(format!("{name}.pem"))
}

fn read(name: &str) -> Vec<u8> {
    fs::read(pki().join(name)).expect("made by the script")
}

fn openssl(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new("openssl").args(arguments).current_dir(dir).output().expect("openssl runs");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Answers of `openssl ocsp` to raw requests, signed by someone, from an index of its own.
struct Responder {
    dir: tempfile::TempDir,
    signer: &'static str,
    more: &'static [&'static str],
    known: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Responder {
    fn new(signer: &'static str, more: &'static [&'static str]) -> Self {
        let responder = Self {
            dir: tempfile::tempdir().expect("a directory"),
            signer,
            more,
            known: Mutex::default(),
        };
        responder.index(&String::from_utf8_lossy(&read("index.txt")));
        responder
    }

    /// Another index; what was answered before is forgotten.
    fn index(&self, index: &str) {
        fs::write(self.dir.path().join("index.txt"), index).expect("writable");
        fs::write(self.dir.path().join("index.txt.attr"), "unique_subject = no\n")
            .expect("writable");
        self.known.lock().expect("not poisoned").clear();
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut known = self.known.lock().expect("not poisoned");
        if let Some(answer) = known.get(request) {
            return answer.clone();
        }
        let dir = self.dir.path();
        fs::write(dir.join("request"), request).expect("writable");
        let path = |name: String| pki().join(name).to_string_lossy().into_owned();
        let (ca, cert, key) = (
            path("ca.pem".into()),
            path(format!("{}.pem", self.signer)),
            path(format!("{}.key", self.signer)),
        );
        let mut arguments = vec!["ocsp", "-index", "index.txt", "-CA", &ca, "-rsigner", &cert];
        arguments.extend(["-rkey", &key, "-reqin", "request", "-respout", "answer"]);
        arguments.extend(self.more);
        openssl(dir, &arguments);
        let answer = fs::read(dir.join("answer")).expect("written by openssl");
        known.insert(request.to_vec(), answer.clone());
        answer
    }
}

// ── a web server ────────────────────────────────────────────────────────────────────────────────

/// What a server answers: status, content type, body, and how many bytes it claims beyond those.
struct Reply(u16, &'static str, Vec<u8>, usize);

fn ocsp_reply(body: Vec<u8>) -> Option<Reply> {
    Some(Reply(200, "application/ocsp-response", body, 0))
}

/// Serves until the process ends; a handler that returns nothing says nothing and keeps the
/// connection open. It gets the body of a POST, or of a GET the decoded last part of the path.
fn serve(handle: impl Fn(&[u8]) -> Option<Reply> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || speak(stream, &*handle));
        }
    });
    url
}

fn speak(mut stream: TcpStream, handle: &dyn Fn(&[u8]) -> Option<Reply>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if line.starts_with("GET") {
        body = base64(&path[1..]);
    }
    let Some(Reply(status, content_type, body, missing)) = handle(&body) else {
        // Until the asker gives up.
        let _ = stream.read(&mut [0]);
        return None;
    };
    let claimed = body.len() + missing;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {claimed}\r\n\r\n"
    )
    .ok()?;
    stream.write_all(&body).ok()
}

fn base64(text: &str) -> Vec<u8> {
    let text = text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for char in text.bytes() {
        let Some(digit) = digits.iter().position(|digit| *digit == char) else { continue };
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

// ── the guard ───────────────────────────────────────────────────────────────────────────────────

fn target(protocol: Protocol, url: &str) -> Target {
    Target {
        name: "x@from/y".into(),
        protocol,
        url: url.into(),
        issuers: vec![pem("ca")],
        good: vec![pem("good"), pem("stranger")],
        revoked: vec![pem("revoked")],
        unissued: vec![pem("unissued")],
        expect: Some("Secured by".into()),
    }
}

async fn hear(said: &mut UnboundedReceiver<Said>) -> (usize, Verdict, u64) {
    let listening = async {
        loop {
            match said.recv().await.expect("the guard lives") {
                Said::Verdict { target, verdict, as_of, .. } => return (target, verdict, as_of),
                Said::Alive => {}
            }
        }
    };
    tokio::time::timeout(LONG, listening).await.expect("a verdict in time")
}

/// The first verdict on each of some targets that `wanted` takes.
async fn verdicts(
    targets: Vec<Target>,
    wanted: impl Fn(&Verdict) -> bool,
) -> BTreeMap<usize, Verdict> {
    let count = targets.len();
    let (_handle, mut said) = Guard::spawn(targets, PACE).expect("the guard starts");
    let mut found = BTreeMap::new();
    while found.len() < count {
        let (target, verdict, _) = hear(&mut said).await;
        if wanted(&verdict) {
            found.entry(target).or_insert(verdict);
        }
    }
    found
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `openssl ocsp` itself as a server.
fn openssl_responder() -> (Running, String) {
    let mut child = Command::new("openssl")
        .args(["ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "delegate.pem"])
        .args(["-rkey", "delegate.key", "-port", "0", "-ndays", "4"])
        .current_dir(pki())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    // ACCEPT [::]:42865 PID=20149
    let port = line.split(' ').nth(1).and_then(|place| place.rsplit(':').next()).expect("a port");
    let url = format!("http://127.0.0.1:{port}/");
    (Running(child), url)
}

#[tokio::test]
async fn openssl_as_a_responder_is_accepted() {
    let (_running, url) = openssl_responder();
    let issuer = Issuer::read(&pem("ca")).expect("a CA");
    let ask = async |hex: &str| {
        let serial = Serial::from_hex(hex).expect("hex");
        status_of(&url, &issuer, &serial, Duration::from_secs(10)).await
    };
    assert_eq!(ask("80aabb01").await, Ok(CertStatus::Good));
    assert_eq!(ask("03").await, Ok(CertStatus::Unknown));
    let revoked = ask("02").await.expect("an answer");
    assert!(matches!(revoked, CertStatus::Revoked { reason: Some(1), .. }), "{revoked:?}");
    let found = verdicts(vec![target(Protocol::Ocsp, &url)], |_| true).await;
    assert_eq!(found[&0], Verdict::Normal);
}

#[tokio::test]
async fn each_ocsp_fault_leads_to_its_verdict() {
    use Verdict::{Down, Lying};
    let by = |signer, more| Arc::new(Responder::new(signer, more));
    let whole = String::from_utf8_lossy(&read("index.txt")).into_owned();
    let with_index = |index: String| {
        let responder = by("delegate", &["-ndays", "4"]);
        responder.index(&index);
        responder
    };
    let revoked_line = whole.lines().nth(1).expect("two lines").to_owned();
    let good_line = whole.lines().next().expect("two lines").to_owned();
    let end = good_line.split('\t').nth(1).expect("fields").to_owned();
    let plainly =
        |responder: Arc<Responder>| serve(move |request| ocsp_reply(responder.answer(request)));
    let normal = by("delegate", &["-ndays", "4"]);
    let changed = |change: fn(Vec<u8>) -> Option<Reply>| {
        let normal = Arc::clone(&normal);
        serve(move |request| change(normal.answer(request)))
    };
    let always = |body: &'static [u8]| serve(move |_| ocsp_reply(body.to_vec()));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}/", listener.local_addr().expect("an address"))
    };
    let elsewhere = read("ocsp-revoked.der");
    let fixed = serve(move |_| ocsp_reply(elsewhere.clone()));
    let down = |code: &str| Down(vec![code.to_owned()]);
    let lying = |code: &str| Lying(vec![code.to_owned()]);
    let cases = [
        (plainly(by("delegate", &["-ndays", "4", "-badsig"])), down("ocsp-bad-signature")),
        (plainly(by("stranger", &["-ndays", "4"])), down("ocsp-wrong-key")),
        (plainly(by("no-eku", &["-ndays", "4"])), lying("ocsp-delegate-eku")),
        (
            plainly(by("delegate", &["-ndays", "4", "-resp_no_certs"])),
            down("ocsp-delegate-missing"),
        ),
        (plainly(by("delegate", &[])), down("ocsp-no-next-update")),
        (plainly(by("delegate", &["-ndays", "30"])), down("ocsp-interval")),
        (
            plainly(with_index(format!("{whole}V\t{end}\t\t03\tunknown\t/CN=unissued\n"))),
            lying("ocsp-good-unissued"),
        ),
        (
            plainly(with_index(
                whole.replace(&revoked_line, &format!("V\t{end}\t\t02\tunknown\t/CN=revoked")),
            )),
            lying("ocsp-good-revoked"),
        ),
        (
            plainly(with_index(whole.replace(
                &good_line,
                &format!("R\t{end}\t190101000000Z\t80AABB01\tunknown\t/CN=good"),
            ))),
            lying("ocsp-revoked-good"),
        ),
        (plainly(with_index(format!("{revoked_line}\n"))), down("ocsp-unknown-good")),
        (
            changed(|mut body| {
                body.push(0);
                ocsp_reply(body)
            }),
            down("ocsp-der"),
        ),
        (
            changed(|body| Some(Reply(200, "application/ocsp-response", body, 9))),
            down("ocsp-truncated"),
        ),
        (
            changed(|body| Some(Reply(503, "application/ocsp-response", body, 0))),
            down("ocsp-http-status"),
        ),
        (changed(|_| ocsp_reply(vec![0x30; 70 << 10])), down("ocsp-oversize")),
        (always(&[0x30, 3, 0x0a, 1, 3]), down("ocsp-status-try-later")),
        (always(&[0x30, 3, 0x0a, 1, 6]), down("ocsp-status-unauthorized")),
        (always(b"<html>closed</html>"), down("ocsp-der")),
        (fixed, down("ocsp-wrong-cert-id")),
        (closed, down("ocsp-unreachable")),
        (serve(|_| None), down("ocsp-slow")),
    ];
    let targets = cases.iter().map(|(url, _)| target(Protocol::Ocsp, url)).collect();
    let found = verdicts(targets, |verdict| !verdict.serves()).await;
    for (place, (_, expected)) in cases.iter().enumerate() {
        assert_eq!(&found[&place], expected, "case {place}");
    }
}

#[tokio::test]
async fn a_fault_of_get_alone_is_named_so_and_does_not_hide_behind_good_posts() {
    let responder = Responder::new("delegate", &["-ndays", "4"]);
    let url = serve(move |request| {
        // A GET with a fault of its own: what folds `//` leaves no base64 behind.
        let whole = request.first() == Some(&0x30);
        if whole { ocsp_reply(responder.answer(request)) } else { Some(Reply(404, "", vec![], 0)) }
    });
    let mut it = target(Protocol::Ocsp, &url);
    it.url = format!("{url}%00");
    let (_handle, mut said) = Guard::spawn(vec![it], PACE).expect("the guard starts");
    let both = Verdict::Down(vec!["ocsp-get-differs".into(), "ocsp-http-status".into()]);
    while hear(&mut said).await.1 != both {}
    // Two of three ways of asking fail: it never becomes normal again.
    let calm = tokio::time::timeout(Duration::from_secs(3), hear(&mut said)).await;
    assert!(calm.is_err(), "{calm:?}");
}

#[tokio::test]
async fn what_is_normal_but_not_as_it_should_be_is_degraded() {
    let short = Arc::new(Responder::new("delegate", &["-nmin", "60"]));
    let typed = Arc::new(Responder::new("delegate", &["-ndays", "4"]));
    let urls = [
        serve(move |request| ocsp_reply(short.answer(request))),
        serve(move |request| Some(Reply(200, "text/plain", typed.answer(request), 0))),
    ];
    let targets = urls.iter().map(|url| target(Protocol::Ocsp, url)).collect();
    let found = verdicts(targets, Verdict::serves).await;
    assert_eq!(found[&0], Verdict::Degraded(vec!["ocsp-interval".into()]));
    assert_eq!(found[&1], Verdict::Degraded(vec!["ocsp-content-type".into()]));
}

#[tokio::test]
async fn each_list_and_page_fault_leads_to_its_verdict() {
    let now = jiff_now();
    let ends = |from: i64, to: i64| {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["ca.cnf", "ca.pem", "ca.key", "index.txt", "index.txt.attr"] {
            fs::copy(pki().join(name), dir.path().join(name)).expect("copied");
        }
        fs::write(dir.path().join("crlnumber"), "20").expect("writable");
        let (from, to) = (utc(now + from), utc(now + to));
        let arguments = ["ca", "-config", "ca.cnf", "-gencrl", "-out", "l.pem"];
        let times = ["-crl_lastupdate", &from, "-crl_nextupdate", &to];
        openssl(dir.path(), &[&arguments[..], &times].concat());
        openssl(dir.path(), &["crl", "-in", "l.pem", "-outform", "DER"])
    };
    let list =
        |body: Vec<u8>| serve(move |_| Some(Reply(200, "application/pkix-crl", body.clone(), 0)));
    let in_turn = |first: Vec<u8>, then: Vec<u8>| {
        let asked = Mutex::new(0);
        serve(move |_| {
            let mut asked = asked.lock().expect("not poisoned");
            *asked += 1;
            let body = if *asked <= 3 { first.clone() } else { then.clone() };
            Some(Reply(200, "application/pkix-crl", body, 0))
        })
    };
    let mut tail = read("crl-5.der");
    tail.push(0);
    let mut broken = read("crl-5.der");
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let page = |body: &'static str| serve(move |_| Some(Reply(200, "text/html", body.into(), 0)));
    let day = 86_400;
    let cases: [(Protocol, String, &str); 11] = [
        (Protocol::Crl, list(tail), "Down crl-der"),
        (Protocol::Crl, list(pem_bytes()), "Down crl-der"),
        (Protocol::Crl, list(broken), "Down crl-bad-signature"),
        (
            Protocol::Crl,
            list(read("crl-other.der")),
            "Lying crl-aki crl-bad-signature crl-wrong-issuer",
        ),
        (Protocol::Crl, list(read("crl-swapped.der")), "Lying crl-sentinel"),
        (Protocol::Crl, list(read("crl-30-days.der")), "Down crl-interval"),
        (Protocol::Crl, list(ends(-2 * day, -day)), "Lying crl-expired"),
        (Protocol::Crl, list(ends(day, 2 * day)), "Down crl-not-yet-valid"),
        (Protocol::Crl, in_turn(read("crl-6.der"), read("crl-5.der")), "Lying crl-number-back"),
        (Protocol::Seal, page("<p>soon</p>"), "Down seal-missing"),
        (Protocol::Seal, serve(|_| Some(Reply(404, "text/html", Vec::new(), 0))), "Down seal-http"),
    ];
    let targets = cases.iter().map(|(protocol, url, _)| target(*protocol, url)).collect();
    let found = verdicts(targets, |verdict| !verdict.serves()).await;
    for (place, (_, _, expected)) in cases.iter().enumerate() {
        let said = match &found[&place] {
            Verdict::Down(codes) => format!("Down {}", codes.join(" ")),
            Verdict::Lying(codes) => format!("Lying {}", codes.join(" ")),
            other => format!("{other:?}"),
        };
        assert_eq!(&said, expected, "case {place}");
    }
    let good = [
        target(Protocol::Crl, &in_turn(read("crl-5.der"), read("crl-6.der"))),
        target(Protocol::Seal, &page("<p>Secured by us</p>")),
    ];
    let found = verdicts(good.to_vec(), |_| true).await;
    assert!(found.values().all(|verdict| *verdict == Verdict::Normal), "{found:?}");
}

fn pem_bytes() -> Vec<u8> {
    read("crl-5.pem")
}

fn jiff_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// As openssl's options and its index want it.
fn utc(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(seconds).expect("in range");
    at.strftime("%y%m%d%H%M%SZ").to_string()
}

#[tokio::test]
async fn a_touch_makes_everything_unknown_and_what_is_given_back_is_asked_at_once() {
    let broken = Arc::new(Mutex::new(false));
    let responder = Responder::new("delegate", &["-ndays", "4"]);
    let url = serve({
        let broken = Arc::clone(&broken);
        move |request| match *broken.lock().expect("not poisoned") {
            false => ocsp_reply(responder.answer(request)),
            true => Some(Reply(500, "text/plain", Vec::new(), 0)),
        }
    });
    // So slow that no verdict comes in time but by being asked for.
    let slow = Pace { every: Duration::from_secs(3600), recovery: 4 };
    let (handle, mut said) =
        Guard::spawn(vec![target(Protocol::Ocsp, &url)], slow).expect("the guard starts");
    assert_eq!(hear(&mut said).await, (0, Verdict::Normal, 0));
    handle.tell(Told::Touched { targets: vec![0], seq: 7, given_back: true });
    assert_eq!(hear(&mut said).await, (0, Verdict::Normal, 7), "told though it was normal before");
    *broken.lock().expect("not poisoned") = true;
    handle.tell(Told::Touched { targets: vec![0], seq: 9, given_back: true });
    let down = Verdict::Down(vec!["ocsp-http-status".into()]);
    assert_eq!(hear(&mut said).await, (0, down, 9));
    *broken.lock().expect("not poisoned") = false;
    assert_eq!(hear(&mut said).await, (0, Verdict::Normal, 9), "still asked every 200 ms");
    let stats = &handle.stats()[0];
    assert_eq!(stats.verdict, Verdict::Normal);
    assert!(stats.answers >= 3 + 3 + 4 && stats.failures >= 3, "{stats:?}");
    assert!(stats.percentile(99.0) >= stats.percentile(50.0));
}

#[tokio::test]
async fn a_guard_that_hangs_falls_silent_and_one_that_is_dropped_ends() {
    let url = serve(|_| None);
    let (handle, mut said) =
        Guard::spawn(vec![target(Protocol::Seal, &url)], PACE).expect("the guard starts");
    assert_eq!(said.recv().await, Some(Said::Alive));
    handle.tell(Told::Hang);
    let mut beats = 0;
    while let Ok(word) = tokio::time::timeout(PACE.every * 10, said.recv()).await {
        assert_eq!(word, Some(Said::Alive));
        beats += 1;
        assert!(beats < 100, "it goes on beating");
    }
    drop(handle);
    let rest = async { while said.recv().await.is_some() {} };
    tokio::time::timeout(LONG, rest).await.expect("the thread ends");
}

#[test]
fn certificates_that_cannot_be_used_are_all_told_at_once() {
    let mut first = target(Protocol::Ocsp, "http://127.0.0.1:1/");
    first.issuers = vec!["missing.pem".into(), pem("good")];
    first.good = vec![pki().join("index.txt")];
    let mut second = target(Protocol::Crl, "http://127.0.0.1:1/");
    second.issuers = Vec::new();
    let Err(error) = Guard::spawn(vec![first, second], PACE) else { panic!("it started") };
    assert_eq!(error.0.len(), 4, "{error}");
    for (fault, part) in error.0.iter().zip(["missing.pem", "of a CA", "index.txt", "no issuer"]) {
        assert!(fault.contains(part), "`{fault}` says `{part}`");
    }
}

#[tokio::test]
async fn once_a_provider_has_called_it_revoked_any_other_answer_is_a_lie() {
    let end = utc(jiff_now() + 86_400 * 1000);
    let revoked = format!("R\t{end}\t190101000000Z,superseded\t0A0B\tunknown\t/CN=x\n");
    let whole = String::from_utf8_lossy(&read("index.txt")).into_owned();
    let responder = Arc::new(Responder::new("delegate", &["-ndays", "4"]));
    let ocsp = serve({
        let responder = Arc::clone(&responder);
        move |request| ocsp_reply(responder.answer(request))
    });
    let lists = tempfile::tempdir().expect("a directory");
    for name in ["ca.cnf", "ca.pem", "ca.key", "index.txt.attr"] {
        fs::copy(pki().join(name), lists.path().join(name)).expect("copied");
    }
    let sign = |number: &str, index: &str| {
        fs::write(lists.path().join("crlnumber"), number).expect("writable");
        fs::write(lists.path().join("index.txt"), index).expect("writable");
        openssl(lists.path(), &["ca", "-config", "ca.cnf", "-gencrl", "-out", "l.pem"]);
        openssl(lists.path(), &["crl", "-in", "l.pem", "-outform", "DER"])
    };
    let list = Arc::new(Mutex::new(sign("21", &whole)));
    let crl = serve({
        let list = Arc::clone(&list);
        move |_| {
            let body = list.lock().expect("not poisoned").clone();
            Some(Reply(200, "application/pkix-crl", body, 0))
        }
    });
    let targets = vec![target(Protocol::Ocsp, &ocsp), target(Protocol::Crl, &crl)];
    let (handle, mut said) = Guard::spawn(targets, PACE).expect("the guard starts");
    let serial = Serial::from_hex("0a0b").expect("hex");
    handle.tell(Told::Revoked { targets: vec![0, 1], serial });
    // Not known here yet (a copy has not arrived): nothing is expected.
    let mut normal = BTreeSet::new();
    while normal.len() < 2 {
        let (target, verdict, _) = hear(&mut said).await;
        assert_eq!(verdict, Verdict::Normal, "target {target}");
        normal.insert(target);
    }
    let asked = |more: u64| {
        let from: Vec<u64> = handle.stats().iter().map(|stats| stats.answers).collect();
        let handle = &handle;
        async move {
            while handle.stats().iter().zip(&from).any(|(stats, from)| stats.answers < from + more)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    asked(24).await;
    responder.index(&format!("{whole}{revoked}"));
    *list.lock().expect("not poisoned") = sign("22", &format!("{whole}{revoked}"));
    asked(24).await;
    assert!(handle.stats().iter().all(|stats| stats.verdict == Verdict::Normal));
    // A restore from before it: the sentinels are all as they should be.
    responder.index(&whole);
    *list.lock().expect("not poisoned") = sign("23", &whole);
    let lying = |code: &str| Verdict::Lying(vec![code.to_owned()]);
    let mut found = BTreeMap::new();
    while found.len() < 2 {
        let (target, verdict, _) = hear(&mut said).await;
        found.insert(target, verdict);
    }
    assert_eq!(
        found,
        BTreeMap::from([(0, lying("ocsp-unrevoked")), (1, lying("crl-entry-dropped"))])
    );
}
