//! Notices to a real mail relay (exim) and to a webhook: each channel once, also after what looks like
//! a crash.

use super::{Bench, Ending, deed};
use cutover::action::Action;
use cutover::action::notify::Notify;
use cutover::estate::{Channel, Estate, MailTls, Relay, Secret};
use cutover::executor::{Ask, Context, carry_out};
use cutover::failure::FailureKind;
use cutover::text::{Span, Spanned};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const EXIM: &str = "/usr/sbin/exim4";

/// Debian's exim in a directory of its own; it delivers, when it is told to, to one mailbox.
struct Exim {
    dir: tempfile::TempDir,
    daemon: Child,
    port: u16,
}

impl Exim {
    /// Nothing where it cannot be: it delivers as an account of its own, which only root may become.
    #[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
    fn start() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: exim delivers for root only");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let certificate = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-days", "2", "-subj", "/CN=relay", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(dir.path())
            .output()
            .expect("openssl runs");
        assert!(certificate.status.success(), "{certificate:?}");
        let (uid, gid) = account("Debian-exim");
        for name in ["spool", "log", "mail"] {
            fs::create_dir(path(name)).expect("made");
        }
        for name in ["spool", "log", "mail", "key.pem", "cert.pem"] {
            chown(path(name), Some(uid), Some(gid)).expect("root runs this test");
        }
        // Taken and given back: whoever gets it in between makes the daemon end, and us say so.
        let port =
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one").port();
        let text = CONFIG.replace("DIR", &dir.path().display().to_string());
        fs::write(path("conf"), text.replace("PORT", &port.to_string())).expect("written");
        let mut daemon = exim(dir.path()).args(["-bdf"]).spawn().expect("exim4 is installed");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = daemon.try_wait().expect("a child");
            assert!(
                ended.is_none(),
                "{}",
                fs::read_to_string(path("log/mainlog")).unwrap_or_default()
            );
            std::thread::yield_now();
        }
        Some(Self { dir, daemon, port })
    }

    fn relay(&self, to: &[&str]) -> Relay {
        Relay {
            host: "localhost".to_owned(),
            port: self.port,
            from: "Operations <ops@ca.test>".parse().expect("an address"),
            to: to.iter().map(|to| to.parse().expect("an address")).collect(),
            tls: MailTls::Required { ca: Some(self.dir.path().join("cert.pem")) },
        }
    }

    /// All that was taken, delivered now; one mail to two people is one mail.
    fn mails(&self) -> Vec<String> {
        let done = exim(self.dir.path()).arg("-qff").status().expect("exim4 runs");
        assert!(done.success());
        let Ok(entries) = fs::read_dir(self.dir.path().join("mail/new")) else { return Vec::new() };
        let read = |entry: std::io::Result<fs::DirEntry>| {
            fs::read_to_string(entry.expect("an entry").path()).expect("a mail")
        };
        entries.map(read).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn exim(dir: &Path) -> Command {
    let mut command = Command::new(EXIM);
    command.arg("-C").arg(dir.join("conf")).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn account(name: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("readable");
    let line = users.lines().find(|line| line.split(':').next() == Some(name));
    let mut fields = line.unwrap_or_else(|| panic!("no account `{name}`")).split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).expect("a number");
    (number(), number())
}

const CONFIG: &str = "
primary_hostname = relay.test
keep_environment =
spool_directory = DIR/spool
log_file_path = DIR/log/%slog
pid_file_path = DIR/spool/pid
local_interfaces = <; 127.0.0.1.PORT
tls_advertise_hosts = *
tls_certificate = DIR/cert.pem
tls_privatekey = DIR/key.pem
queue_only = true
acl_smtp_rcpt = receivers
acl_smtp_data = contents
begin acl
receivers:
  deny local_parts = nobody
       message = no such person
  defer local_parts = later
       message = not now
  accept
contents:
  deny condition = ${if match{$h_subject:}{spam}}
       message = not that
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail
  maildir_format
  user = Debian-exim
";

/// A plan's directory with a notice, and an estate with channels.
struct Desk {
    bench: Bench,
}

impl Desk {
    fn new(channels: &[(&str, Channel)]) -> Self {
        let mut bench = Bench::new();
        let spanned = |channel: &Channel| Spanned { value: channel.clone(), span: Span::default() };
        let channels: BTreeMap<_, _> =
            channels.iter().map(|(name, channel)| ((*name).to_owned(), spanned(channel))).collect();
        bench.estate = Arc::new(Estate { channels, ..Estate::default() });
        let desk = Self { bench };
        desk.writes("# Wartung für ${{ plan.name }}\n\n**OCSP** stays.\n\n.\nafter a lone dot\n");
        desk
    }

    fn writes(&self, text: &str) {
        fs::write(self.bench.dir.path().join("notice.md"), text).expect("written");
    }

    async fn asks(&self, ask: Ask) -> Ending {
        let (context, _stopper, _seen) = self.bench.context("r1");
        let facts = BTreeMap::from([("plan.name".to_owned(), "Kunden".to_owned())]);
        let context = Context { facts: Arc::new(facts), ..context };
        let to = context.estate.channels.keys().cloned().collect();
        let notify = Notify { notice: PathBuf::from("notice.md"), to };
        carry_out(deed(Action::Notify(notify), ask), context).await
    }

    async fn sends(&self) -> Ending {
        self.asks(Ask::Perform).await
    }

    async fn is_sent(&self) -> Ending {
        self.asks(Ask::IsDone).await
    }
}

fn sent(ending: &Ending) -> &str {
    let Ending::Done(outputs) = ending else { panic!("{ending:?}") };
    &outputs["sent"]
}

fn why(ending: Ending) -> (FailureKind, String) {
    match ending {
        Ending::Failed(failure) | Ending::Unknown(failure) => (failure.kind, failure.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mail_goes_out_once_as_text_and_html_over_tls() {
    let Some(exim) = Exim::start() else { return };
    let relay = exim.relay(&["a@customers.test", "Bea <b@customers.test>"]);
    let desk = Desk::new(&[("customers", Channel::Smtp(relay))]);
    assert_eq!(desk.is_sent().await, Ending::NotDone);
    assert_eq!(sent(&desk.sends().await), "1");
    assert_eq!(sent(&desk.sends().await), "0", "a retry sends to who is without it");
    assert!(matches!(desk.is_sent().await, Ending::Done(_)));

    let mails = exim.mails();
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    // The relay's own word that it came encrypted.
    assert!(mail.contains("with esmtps"), "{mail}");
    for part in [
        "Subject: Wartung =?utf-8?",
        "From: Operations <ops@ca.test>",
        "Bea <b@customers.test>",
        "Message-ID: <r1-step-customers-",
        "X-Cutover-Run: r1",
        "multipart/alternative",
        "text/plain; charset=utf-8",
        "text/html; charset=utf-8",
        "<strong>OCSP</strong>",
        "after a lone dot",
    ] {
        assert!(mail.contains(part), "{part}\n{mail}");
    }
}

#[tokio::test]
async fn what_a_relay_refuses_was_not_sent_and_is_no_doubt() {
    let Some(exim) = Exim::start() else { return };
    let stranger = tempfile::tempdir().expect("a directory");
    let other = stranger.path().join("other.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-keyout"])
        .arg("/dev/null")
        .arg("-out")
        .arg(&other)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let good = ["a@customers.test"];
    let relay = || exim.relay(&good);
    for (relay, kind, said) in [
        (exim.relay(&["a@c.test", "nobody@c.test"]), FailureKind::Final, "no such person"),
        (exim.relay(&["later@c.test"]), FailureKind::Transient, "not now"),
        (
            Relay { tls: MailTls::Required { ca: Some(other) }, ..relay() },
            FailureKind::Transient,
            "certificate",
        ),
        // The certificate is for `localhost`.
        (Relay { host: "127.0.0.1".to_owned(), ..relay() }, FailureKind::Transient, "certificate"),
        (Relay { port: 1, ..relay() }, FailureKind::Transient, "refused"),
    ] {
        let desk = Desk::new(&[("customers", Channel::Smtp(relay))]);
        let (found, text) = why(desk.sends().await);
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(said) && text.contains("customers"), "{text}");
        assert_eq!(desk.is_sent().await, Ending::NotDone, "{text}");
    }
    let desk = Desk::new(&[("customers", Channel::Smtp(relay()))]);
    desk.writes("# spam\n");
    let (kind, text) = why(desk.sends().await);
    assert!(kind == FailureKind::Final && text.contains("not that"), "{text}");
    assert_eq!(desk.is_sent().await, Ending::NotDone, "the relay said that it has it not");
    assert_eq!(exim.mails(), Vec::<String>::new());
    // What was wrong is right now: the same step goes on.
    desk.writes("# ham\n");
    assert_eq!(sent(&desk.sends().await), "1");
    assert_eq!(exim.mails().len(), 1);
}

/// A relay that takes a message whole and dies before it says so.
fn dying_relay() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            stream.write_all(b"220 here\r\n").expect("written");
            let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            while let Some(Ok(line)) = lines.next() {
                let answer: &[u8] = match line.get(..4).unwrap_or(&line) {
                    "EHLO" => b"250 here\r\n",
                    "DATA" => {
                        stream.write_all(b"354 go on\r\n").expect("written");
                        // To the lone dot, and no answer.
                        let _ = lines.by_ref().find(|line| matches!(line, Ok(line) if line == "."));
                        break;
                    }
                    _ => b"250 fine\r\n",
                };
                stream.write_all(answer).expect("written");
            }
        }
    });
    port
}

#[tokio::test]
async fn a_relay_that_dies_before_its_answer_leaves_a_doubt_that_a_person_settles() {
    let port = dying_relay();
    let Some(exim) = Exim::start() else { return };
    let mut relay = exim.relay(&["a@customers.test"]);
    let (port, tls) = (std::mem::replace(&mut relay.port, port), MailTls::None);
    let good_tls = std::mem::replace(&mut relay.tls, tls);
    let mut desk = Desk::new(&[("customers", Channel::Smtp(relay.clone()))]);
    let (kind, text) = why(desk.sends().await);
    assert_eq!(kind, FailureKind::InDoubt, "{text}");
    let (kind, text) = why(desk.is_sent().await);
    assert_eq!(kind, FailureKind::InDoubt, "{text}");
    assert!(text.contains("r1-step-customers-"), "what to look for in the relay's log: {text}");

    // Somebody looked and said "not done": the next attempt sends it.
    relay.port = port;
    relay.tls = good_tls;
    let spanned = Spanned { value: Channel::Smtp(relay), span: Span::default() };
    let channels = BTreeMap::from([("customers".to_owned(), spanned)]);
    desk.bench.estate = Arc::new(Estate { channels, ..Estate::default() });
    assert_eq!(sent(&desk.sends().await), "1");
    assert!(matches!(desk.is_sent().await, Ending::Done(_)));
    assert_eq!(exim.mails().len(), 1);
}

#[tokio::test]
async fn a_relay_without_encryption_is_given_nothing() {
    let relay = Relay {
        host: "localhost".to_owned(),
        port: dying_relay(),
        from: "ops@ca.test".parse().expect("an address"),
        to: vec!["a@customers.test".parse().expect("an address")],
        tls: MailTls::Required { ca: None },
    };
    let desk = Desk::new(&[("customers", Channel::Smtp(relay))]);
    let (kind, text) = why(desk.sends().await);
    assert!(kind == FailureKind::Final && text.contains("STARTTLS"), "{text}");
    assert_eq!(desk.is_sent().await, Ending::NotDone);
}

/// What a webhook was sent: the head and the body of each request, answered by a script.
fn webhook(
    answers: &'static [&'static str],
) -> (String, std::sync::mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hooks/T0KEN", listener.local_addr().expect("an address"));
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("readable") > 0);
            }
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).and_then(|l| l.lines().next());
            let mut body = vec![0; length.expect("one").parse().expect("a number")];
            reader.read_exact(&mut body).expect("readable");
            sender.send((head, String::from_utf8(body).expect("text"))).expect("heard");
            stream.write_all(answer.as_bytes()).expect("written");
        }
    });
    (url, seen)
}

#[tokio::test]
async fn a_webhook_gets_it_again_under_one_name_until_it_says_that_it_has_it() {
    const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    // An answer that gets lost, then one that says "busy", then the one that counts.
    let (url, seen) = webhook(&["", BUSY, "HTTP/1.1 204 Fine\r\n\r\n"]);
    let keys = tempfile::tempdir().expect("a directory");
    let key = keys.path().join("key");
    fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    let secret = Some(Secret::File(key));
    let desk = Desk::new(&[("blog", Channel::Webhook { url, secret })]);
    assert_eq!(sent(&desk.sends().await), "1");
    assert_eq!(sent(&desk.sends().await), "0");
    let all: Vec<_> = seen.try_iter().collect();
    assert_eq!(all.len(), 3);
    let header = |head: &str, name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
        line.unwrap_or_else(|| panic!("no `{name}` in {head}")).to_owned()
    };
    for (head, body) in &all {
        assert_eq!(header(head, "webhook-id"), header(&all[0].0, "webhook-id"));
        assert!(header(head, "webhook-signature: v1,").len() > 50, "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["data"]["subject"], "Wartung für Kunden");
    }
}

#[tokio::test]
async fn a_webhook_that_refuses_is_not_asked_again_and_its_path_is_not_told() {
    let (url, seen) = webhook(&["HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"]);
    let desk = Desk::new(&[("blog", Channel::Webhook { url, secret: None })]);
    let (kind, text) = why(desk.sends().await);
    assert_eq!(kind, FailureKind::Final);
    assert!(text.contains("401") && text.contains("blog") && !text.contains("T0KEN"), "{text}");
    assert_eq!(seen.try_iter().count(), 1);
    assert_eq!(desk.is_sent().await, Ending::NotDone);
}
