//! What concerns a run as a whole: its window, its people, the certificates it is watched with,
//! clocks, name servers.

use super::super::{deed, guards};
use super::{Row, Span, Subject};
use crate::action::Action;
use crate::estate::Site;
use crate::event::{Job, Way};
use crate::executor::preflight::Seen;
use crate::graph::Graph;
use crate::guard::Issuer;
use crate::guard::paper;
use crate::net::{self, Ask};
use crate::plan::{Plan, Work};
use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For one question about the time, or to a name server.
const PATIENCE: Duration = Duration::from_secs(3);
/// Seconds that a clock may be off before people should know; `Date` has whole seconds.
const A_LITTLE: i64 = 5;
/// Seconds from which on signed answers look wrong to clients (revocation.md, section 1).
const TOO_FAR: i64 = 60;

/// The window against today.
pub(super) fn window(subject: &Subject) -> Row {
    let plan = subject.graph.plan();
    let seen = match &plan.window {
        None => Seen::ok("none: a run may begin at any time"),
        Some(window) if window.closes <= subject.now => {
            let what =
                format!("closed {}: looked at as if it opened now", shown(plan, window.closes));
            let seen = if subject.estate.production { Seen::warning(what) } else { Seen::ok(what) };
            seen.hint("`run --shift-window` moves it on purpose; a rehearsal does by itself")
        }
        Some(window) => Seen::ok(format!(
            "opens {}, closes {}",
            shown(plan, window.opens),
            shown(plan, window.closes)
        )),
    };
    Row::new("window", "window", seen)
}

/// A moment in the plan's first zone.
pub(super) fn shown(plan: &Plan, at: Timestamp) -> String {
    let zone = plan.zones.first().cloned().unwrap_or(TimeZone::UTC);
    at.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// Who is asked, and how many there are. That there are enough is proved when the plan is bound.
pub(super) fn people(subject: &Subject) -> Vec<Row> {
    let graph: &Graph = &subject.graph;
    let mut rows = Vec::new();
    let mut told = BTreeSet::new();
    for step in graph.steps() {
        let def = graph.def(step);
        let mut asked: Vec<(Vec<String>, u32)> = Vec::new();
        if let Work::Ask(gate) = &def.work {
            asked.push((gate.by.iter().map(|group| group.value.clone()).collect(), gate.quorum));
        }
        for way in [Way::Do, Way::Undo] {
            let job = Job { step, way, attempt: 1 };
            if let Ok(Some((Action::Manual(manual), _))) = deed::foresee(graph, job) {
                asked.push((manual.by, manual.people));
            }
        }
        for (by, wanted) in asked {
            if told.insert((def.name.value.clone(), by.clone(), wanted)) {
                let mut row = Row::new("people", &def.name.value, crowd(subject, &by, wanted));
                row.steps = vec![def.name.value.clone()];
                rows.push(row);
            }
        }
    }
    rows
}

/// Whether so many different people are there, and one at least of each group.
fn crowd(subject: &Subject, by: &[String], wanted: u32) -> Seen {
    let people = &subject.estate.people;
    let mut all: BTreeSet<&str> = BTreeSet::new();
    for group in by {
        match people.get(group) {
            Some(members) if !members.is_empty() => all.extend(members.iter().map(String::as_str)),
            _ => return Seen::fault(format!("nobody is in `{group}`")),
        }
    }
    if by.is_empty() {
        return Seen::ok(format!("{wanted} of anyone"));
    }
    let text = format!("{wanted} of {} in {}", all.len(), by.join(", "));
    if all.len() < wanted as usize { Seen::fault(text) } else { Seen::ok(text) }
}

/// The certificates that the guard verifies with and asks about.
pub(super) async fn papers(subject: &Subject) -> Vec<Row> {
    let subject = subject.clone();
    let looked = tokio::task::spawn_blocking(move || papers_now(&subject)).await;
    looked.unwrap_or_else(|error| {
        let seen = Seen::fault(format!("BUG: the look broke off: {error}"));
        vec![Row::new("certificates", "certificates", seen)]
    })
}

fn papers_now(subject: &Subject) -> Vec<Row> {
    let targets = guards::targets(&subject.graph, &subject.estate);
    let files: BTreeSet<&PathBuf> =
        targets.iter().flat_map(|(_, target)| &target.issuers).collect();
    if files.is_empty() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    let mut issuers: Vec<(PathBuf, Issuer)> = Vec::new();
    for file in files {
        let seen = match Issuer::read(file) {
            Ok(issuer) => {
                issuers.push((file.clone(), issuer));
                dates(subject, file)
            }
            Err(error) => Seen::fault(error.to_string()),
        };
        rows.push(Row::new("certificates", file_name(file), seen));
    }
    let sentinels = &subject.estate.sentinels;
    let mut asked: BTreeMap<&str, BTreeSet<PathBuf>> = BTreeMap::new();
    for (class, files) in [
        ("good", &sentinels.good),
        ("revoked", &sentinels.revoked),
        ("unissued", &sentinels.unissued),
    ] {
        for file in files {
            let seen = match paper::issuer_of(file, &issuers, class != "unissued") {
                Ok(Some(issuer)) => {
                    asked.entry(class).or_default().insert(issuer.to_owned());
                    // What was never issued is asked about by its number alone.
                    if class == "unissued" {
                        Seen::ok("never issued")
                    } else {
                        dates(subject, file)
                    }
                }
                Ok(None) => Seen::fault(format!(
                    "no issuer of the estate has signed this `{class}` sentinel: nobody would ask about it"
                )),
                Err(error) => Seen::fault(error.to_string()),
            };
            rows.push(Row::new("certificates", file_name(file), seen));
        }
    }
    for (file, _) in &issuers {
        let lacks: Vec<&str> = ["good", "revoked"]
            .into_iter()
            .filter(|class| !asked.get(class).is_some_and(|issuers| issuers.contains(file)))
            .collect();
        if !lacks.is_empty() {
            let seen = Seen::warning(format!("no sentinel of it is {}", lacks.join(" or ")));
            let seen = seen.hint("name one under `sentinels`: its answers are not tried otherwise");
            rows.push(Row::new("certificates", file_name(file), seen));
        }
    }
    rows
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Whether a certificate is valid from now to the window's close.
fn dates(subject: &Subject, file: &Path) -> Seen {
    match paper::validity(file) {
        Err(error) => Seen::fault(error.to_string()),
        Ok(validity) => {
            let end = Timestamp::from_second(validity.not_after).unwrap_or(Timestamp::MAX);
            let text = format!("valid to {}", shown(subject.graph.plan(), end));
            let Span { closes, .. } = subject.span();
            if validity.not_before > subject.now.as_second() {
                Seen::fault("not valid yet")
            } else if end <= closes {
                Seen::fault(format!("{text}, which is before the window closes"))
            } else {
                Seen::ok(text)
            }
        }
    }
}

/// The clock of each site, by the `Date` that it answers with.
pub(super) async fn clocks(subject: &Subject) -> Vec<Row> {
    let looks = subject.estate.sites.iter().map(|(name, site)| async move {
        Some(Row::new("clocks", name, clock(&site.value).await?))
    });
    join_all(looks).await.into_iter().flatten().collect()
}

/// None for a site that speaks no HTTP.
async fn clock(site: &Site) -> Option<Seen> {
    let edge = site.edge.iter().map(|edge| edge.url.as_str());
    let providers = site.services.values().flat_map(|service| service.providers.values());
    let urls: Vec<&str> = edge.chain(providers.map(|provider| provider.url.as_str())).collect();
    if urls.is_empty() {
        return None;
    }
    // A few of them: a site that hangs must not be asked at every door.
    for url in urls.into_iter().take(3) {
        let plain = url.split('{').next().unwrap_or(url);
        let ask = Ask { method: hyper::Method::HEAD, ..Ask::get(plain) };
        let Ok(reply) = net::fetch(&ask.within(PATIENCE)).await else { continue };
        let date = reply.header("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        if let Some(date) = date {
            let ours = super::super::clock::Clock::system().now();
            return Some(skew(date.timestamp().as_second() - ours.as_second()));
        }
    }
    Some(Seen::warning("nobody there tells the time"))
}

fn skew(seconds: i64) -> Seen {
    let text = match seconds {
        -1..=1 => "as ours".to_owned(),
        2.. => format!("{seconds} s ahead of ours"),
        _ => format!("{} s behind ours", -seconds),
    };
    let hint = "see to its NTP, or to ours";
    match seconds.abs() {
        0..=A_LITTLE => Seen::ok(text),
        _ if seconds.abs() <= TOO_FAR => Seen::warning(text).hint(hint),
        _ => Seen::fault(text).hint(hint),
    }
}

/// Whether each name server answers.
pub(super) async fn name_servers(subject: &Subject) -> Vec<Row> {
    let Some(dns) = &subject.estate.dns else { return Vec::new() };
    let looks = dns.servers.iter().map(|server| async move {
        let asked = tokio::time::timeout(PATIENCE, ask_server(server)).await;
        let seen = match asked {
            Ok(Ok(())) => Seen::ok("answers"),
            Ok(Err(error)) => Seen::fault(error.to_string()),
            Err(_) => Seen::fault(format!("no answer within {PATIENCE:?}")),
        };
        Row::new("name servers", server, seen)
    });
    join_all(looks).await
}

/// Asks for the root's SOA (RFC 1035, 4.1): any answer to this very question shows a name server.
async fn ask_server(server: &str) -> std::io::Result<()> {
    let bare = server.parse::<std::net::IpAddr>().is_ok() || !server.contains(':');
    let address = match server.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]:53"),
        Err(_) if bare => format!("{server}:53"),
        Err(_) => server.to_owned(),
    };
    let id: [u8; 2] = [fastrand::u8(..), fastrand::u8(..)];
    let mut query = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend([0, 0, 6, 0, 1]);
    let target = tokio::net::lookup_host(&address).await?.next();
    let target =
        target.ok_or_else(|| std::io::Error::other(format!("`{server}` has no address")))?;
    let local = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = tokio::net::UdpSocket::bind(local).await?;
    socket.connect(target).await?;
    socket.send(&query).await?;
    let mut answer = [0; 512];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Longer than a header, the same number, and a response.
        if length >= 12 && answer[..2] == id && answer[2] & 0x80 != 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::preflight::Level;

    #[test]
    fn a_clock_may_be_a_little_off() {
        for (seconds, level) in [
            (0, Level::Ok),
            (-5, Level::Ok),
            (6, Level::Warning),
            (-60, Level::Warning),
            (61, Level::Fault),
            (-3600, Level::Fault),
        ] {
            assert_eq!(skew(seconds).level, level, "{seconds}");
        }
    }

    #[tokio::test]
    async fn a_name_server_is_one_that_answers_this_question() {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("bound").to_string();
        let answering = tokio::spawn(async move {
            let mut query = [0; 512];
            let (length, from) = server.recv_from(&mut query).await.expect("asked");
            assert_eq!(&query[12..length], [0, 0, 6, 0, 1]);
            // Of another question, then no response, then the answer.
            let (id, mut reply) = (query[0], query[..length].to_vec());
            reply[2] |= 0x80;
            reply[0] = !id;
            server.send_to(&reply, from).await.expect("sent");
            server.send_to(&query[..length], from).await.expect("sent");
            reply[0] = id;
            server.send_to(&reply, from).await.expect("sent");
        });
        ask_server(&address).await.expect("it answers");
        answering.await.expect("no panic");
        let nobody = tokio::time::timeout(PATIENCE, ask_server(&address)).await;
        assert!(matches!(nobody, Ok(Err(_)) | Err(_)), "{nobody:?}");
    }
}
