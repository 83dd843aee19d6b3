//! An action's second function: what it would touch, and a look at each of these that changes
//! nothing.
//!
//! Not known here: the plan, how many steps touch a thing, and what a plan assumes of it at its start.

mod database;
mod describe;

pub use database::fits;
pub use describe::{Described, describe};

use super::process::locate;
use super::until::Until;
use super::{Context, edge, notify, orders, provider, role};
use crate::action::{Action, database as db, edge as routes, notify::Notify, process};
use crate::action::{provider::Provider, role::Role};
use crate::estate::{Channel, Switch};
use crate::event::Ending;
use crate::failure::Failure;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For one look, everything in it included.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Something that an action touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// A command at a host (`SITE/HOST`; none: this machine).
    Command {
        /// Where.
        at: Option<String>,
        /// As the plan has it.
        program: String,
        /// Another PATH, if the plan gives one.
        path: Option<String>,
    },
    /// A notice's file.
    Notice(PathBuf),
    /// A channel of the estate.
    Channel(String),
    /// A route of a line at an edge.
    Route {
        /// Site of the edge.
        site: String,
        /// Line.
        line: String,
        /// Route.
        route: String,
    },
    /// What must go on answering at an edge while its routes close.
    Protected {
        /// Site of the edge.
        site: String,
        /// Line.
        line: String,
    },
    /// A database that is read.
    Source {
        /// Site.
        site: String,
        /// Its name there.
        database: String,
    },
    /// The room for a restore point beside a database.
    Snapshot {
        /// Site.
        site: String,
        /// Its name there.
        database: String,
    },
    /// A database that is written.
    Target {
        /// Site.
        site: String,
        /// Its name there.
        database: String,
        /// Site of what is copied.
        from: String,
    },
    /// A line's queue of orders.
    Queue {
        /// Site.
        site: String,
        /// Line.
        line: String,
    },
    /// A provider that is switched.
    Provider {
        /// `ocsp@to/ocsp-1`
        provider: String,
        /// Line.
        line: Option<String>,
    },
    /// A role that is switched, `writer@from/geotrust`.
    Role(String),
    /// Somebody who is asked over HTTP, by URL.
    Server(String),
}

/// How bad what was seen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth a look; a run can begin.
    Warning,
    /// A run would fail here.
    Fault,
}

/// What a look has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How bad it is.
    pub level: Level,
    /// In words.
    pub found: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Of a switch: whether it is on.
    pub on: Option<bool>,
    /// Room that will be taken.
    pub room: Option<Room>,
}

/// Room that will be taken on a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Number of the file system's device.
    pub device: u64,
    /// A directory on it.
    pub directory: PathBuf,
    /// Bytes that are free there, for us.
    pub free: u64,
    /// Bytes that will be taken.
    pub takes: u64,
}

impl Seen {
    /// As it should be.
    pub fn ok(found: impl Into<String>) -> Self {
        Self { level: Level::Ok, found: found.into(), hint: None, on: None, room: None }
    }

    /// Worth a look.
    pub fn warning(found: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::ok(found) }
    }

    /// A run would fail here.
    pub fn fault(found: impl Into<String>) -> Self {
        Self { level: Level::Fault, ..Self::ok(found) }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Ending> for Seen {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Failed(failure) | Ending::Unknown(failure) => failure.into(),
            Ending::Stopped => Self::fault("no answer in time"),
            other => Self::fault(format!("BUG: a look ended as {other:?}")),
        }
    }
}

impl From<Failure> for Seen {
    fn from(failure: Failure) -> Self {
        Self::fault(failure.chain.join(": "))
    }
}

impl Touch {
    /// The heading that it stands under.
    pub fn area(&self) -> &'static str {
        match self {
            Self::Command { .. } => "commands",
            Self::Notice(_) => "notices",
            Self::Channel(_) => "channels",
            Self::Route { .. } | Self::Protected { .. } => "edges",
            Self::Source { .. } | Self::Snapshot { .. } | Self::Target { .. } => "databases",
            Self::Queue { .. } => "orders",
            Self::Provider { .. } => "providers",
            Self::Role(_) => "roles",
            Self::Server(_) => "servers",
        }
    }

    /// What it is called. Files are named from `plan_dir` on where they lie in it.
    pub fn name(&self, plan_dir: &Path) -> String {
        match self {
            Self::Command { at: Some(at), program, .. } => format!("{program} at {at}"),
            Self::Command { at: None, program, .. } => program.clone(),
            Self::Notice(file) => file.strip_prefix(plan_dir).unwrap_or(file).display().to_string(),
            Self::Channel(name) => name.clone(),
            Self::Route { site, line, route } => format!("{route} of {line} at {site}"),
            Self::Protected { site, line } => format!("protected of {line} at {site}"),
            Self::Source { site, database } => format!("{database} at {site}, read"),
            Self::Snapshot { site, database } => format!("{database} at {site}, restore point"),
            Self::Target { site, database, .. } => format!("{database} at {site}, written"),
            Self::Queue { site, line } => format!("{line} at {site}"),
            Self::Provider { provider, line: Some(line) } => format!("{provider}[{line}]"),
            Self::Provider { provider, line: None } => provider.clone(),
            Self::Role(role) => role.clone(),
            Self::Server(url) => url.clone(),
        }
    }
}

/// What an action touches. Texts that cannot be filled yet are touched as they are.
pub fn touches(action: &Action<String>, plan_dir: &Path) -> Vec<Touch> {
    let command = |program: &str, at: &Option<String>, env: &BTreeMap<String, String>| {
        let path = env.get("PATH").cloned();
        vec![Touch::Command { at: at.clone(), program: program.to_owned(), path }]
    };
    let route = |site: &str, line: &str, routes: &[String]| {
        let touch = |route: &String| Touch::Route {
            site: site.to_owned(),
            line: line.to_owned(),
            route: route.clone(),
        };
        routes.iter().map(touch).collect::<Vec<_>>()
    };
    match action {
        Action::Run(process::Run { argv, at, env }) => {
            command(argv.first().map_or("", String::as_str), at, env)
        }
        Action::Script(process::Script { at, env, .. }) => command("sh", at, env),
        Action::Http(http) => vec![Touch::Server(http.url.clone())],
        Action::EdgeClose(routes::Close { site, line, routes, .. }) => {
            let mut all = route(site, line, routes);
            all.push(Touch::Protected { site: site.clone(), line: line.clone() });
            all
        }
        Action::EdgeOpen(routes::Open { site, line, routes, .. }) => route(site, line, routes),
        Action::DatabaseSnapshot(db::Snapshot { site, database }) => {
            let (site, database) = (site.clone(), database.clone());
            vec![
                Touch::Source { site: site.clone(), database: database.clone() },
                Touch::Snapshot { site, database },
            ]
        }
        Action::DatabaseTransfer(db::Transfer { from, to, database, .. }) => vec![
            Touch::Source { site: from.clone(), database: database.clone() },
            Touch::Target { site: to.clone(), database: database.clone(), from: from.clone() },
        ],
        Action::DatabaseVerify(db::Verify { from, to, database }) => [from, to]
            .map(|site| Touch::Source { site: site.clone(), database: database.clone() })
            .into(),
        // What they drop was made by a step that is looked at by itself.
        Action::DatabaseDropSnapshot(_) | Action::DatabaseDiscard(_) => Vec::new(),
        Action::OrdersPause(it) => {
            vec![Touch::Queue { site: it.site.clone(), line: it.line.clone() }]
        }
        Action::OrdersResume(it) => {
            vec![Touch::Queue { site: it.site.clone(), line: it.line.clone() }]
        }
        Action::ProviderEnable(it) | Action::ProviderDisable(it) => {
            vec![Touch::Provider { provider: it.provider.clone(), line: it.line.clone() }]
        }
        Action::RoleFence(it) | Action::RolePromote(it) => vec![Touch::Role(it.role.clone())],
        Action::Notify(it) => {
            let channels = it.to.iter().cloned().map(Touch::Channel);
            channels.chain([Touch::Notice(plan_dir.join(&it.notice))]).collect()
        }
        Action::Manual(_) => Vec::new(),
    }
}

/// Looks at a thing, and changes nothing. Ends within [`PATIENCE`].
pub async fn look(touch: &Touch, context: &Context) -> Seen {
    let until = Until::new(Some(PATIENCE), context.stop.clone());
    let looking = async {
        let seen: Result<Seen, Seen> = match touch {
            Touch::Command { at, program, path } => {
                command(program, at.as_deref(), path.as_ref(), context)
            }
            Touch::Notice(file) => notice(file, context),
            Touch::Channel(name) => channel(name, context).await,
            Touch::Route { site, line, route } => {
                match edge::standing((site, line, route), &until, context).await {
                    Ok((open, status)) => {
                        let state = if open { "open" } else { "closed" };
                        Ok(Seen::ok(format!("{state}, answers {status}")))
                    }
                    Err(ending) => Err(ending.into()),
                }
            }
            Touch::Protected { site, line } => {
                match edge::protected((site, line), &until, context).await {
                    Ok(count) => Ok(Seen::ok(format!("{count} answer 200"))),
                    Err(ending) => Err(ending.into()),
                }
            }
            Touch::Source { site, database } => database::source(site, database, context).await,
            Touch::Snapshot { site, database } => database::beside(site, database, context).await,
            Touch::Target { site, database, from } => {
                database::target(site, database, from, context).await
            }
            Touch::Queue { site, line } => match orders::standing(site, line, context).await {
                Ok((paused, queued)) => {
                    let state = if paused { "paused" } else { "going" };
                    Ok(Seen::ok(format!("{state}, {queued} queued")))
                }
                Err(ending) => Err(ending.into()),
            },
            Touch::Provider { provider, line } => {
                let it = Provider { provider: provider.clone(), line: line.clone() };
                match provider::find(&it, context) {
                    Ok(found) => switch(&found, &until, context).await,
                    Err(ending) => Err(ending.into()),
                }
            }
            Touch::Role(role) => match role::find(&Role { role: role.clone() }, context) {
                Ok(found) => switch(&found, &until, context).await,
                Err(ending) => Err(ending.into()),
            },
            Touch::Server(url) => server(url).await,
        };
        seen.unwrap_or_else(|seen| seen)
    };
    let late = || Seen::fault(format!("no answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| late())
}

/// Whether a command is there and may be run.
fn command(
    program: &str,
    at: Option<&str>,
    path: Option<&String>,
    context: &Context,
) -> Result<Seen, Seen> {
    if program.contains("${{") {
        return Ok(Seen::warning("hangs on what an earlier step prints: not looked for"));
    }
    let (found, _) = locate(program, at, path, &context.estate)?;
    let file = context.plan_dir.join(&found);
    let cannot = |error: std::io::Error| Seen::fault(format!("`{}`: {error}", file.display()));
    let about = std::fs::metadata(&file).map_err(cannot)?;
    if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
        let what = format!("`{}` is not a file that can be run", file.display());
        return Err(Seen::fault(what).hint(format!("`chmod +x {}`", file.display())));
    }
    Ok(Seen::ok(file.display().to_string()))
}

fn notice(file: &Path, context: &Context) -> Result<Seen, Seen> {
    let notice = Notify { notice: file.to_owned(), to: Vec::new() };
    let subject = notify::subject(&notice, context)?;
    Ok(Seen::ok(format!("\"{subject}\"")))
}

async fn channel(name: &str, context: &Context) -> Result<Seen, Seen> {
    let known = context.estate.channels.get(name);
    let known = known.ok_or_else(|| Seen::fault("the estate has no such channel"))?;
    match &known.value {
        Channel::Directory(directory) => writable(directory),
        Channel::Smtp(relay) => {
            let encrypted = notify::greet(relay).await?;
            let how = if encrypted { "over TLS" } else { "in clear text" };
            Ok(Seen::ok(format!("`{}` takes mail {how}", relay.shown())))
        }
        Channel::Webhook { url, secret } => {
            if let Some(secret) = secret {
                super::secret::tell(secret).await?;
            }
            server(url).await
        }
    }
}

/// Whether files can be made in a directory, which may have to be made first.
fn writable(directory: &Path) -> Result<Seen, Seen> {
    let place = existing(directory);
    let shown = directory.display();
    if !place.is_dir() {
        return Err(Seen::fault(format!("`{}` is not a directory", place.display())));
    }
    rustix::fs::access(place, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| Seen::fault(format!("cannot write in `{}`: {error}", place.display())))?;
    Ok(Seen::ok(format!("`{shown}` can be written")))
}

/// The path, or the nearest directory above it that is there.
fn existing(path: &Path) -> &Path {
    let mut place = path;
    while !place.exists() {
        match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => place = parent,
            _ => return Path::new("."),
        }
    }
    place
}

/// The state of a role or provider, and whether its commands are there.
async fn switch(
    found: &super::switch::Found<'_>,
    until: &Until,
    context: &Context,
) -> Result<Seen, Seen> {
    if let Switch::Commands { on, off, is_on } = found.switch {
        for program in [on, off, is_on].iter().filter_map(|argv| argv.first()) {
            command(program, found.at.as_deref(), None, context)?;
        }
    }
    let on = found.is_on(until, context).await?;
    Ok(Seen { on: Some(on), ..Seen::ok(if on { "on" } else { "off" }) })
}

/// Whether somebody listens. Nothing is asked: a request may change something.
async fn server(url: &str) -> Result<Seen, Seen> {
    if url.contains("${{") {
        return Ok(Seen::warning("hangs on what an earlier step prints: not looked for"));
    }
    let wrong = || Seen::fault(format!("`{url}` is not a URL"));
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(wrong()),
    };
    let bare = authority.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err());
    let address = if bare { format!("{authority}:{usual}") } else { authority.to_owned() };
    tokio::net::TcpStream::connect(&address)
        .await
        .map(|_| Seen::ok(format!("`{address}` listens")))
        .map_err(|error| Seen::fault(format!("`{address}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_judged_by_where_it_would_be() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("a/b/c");
        assert_eq!(existing(&deep), dir.path());
        assert_eq!(writable(&deep).expect("writable").level, Level::Ok);
        std::fs::write(dir.path().join("a"), "").expect("written");
        let seen = writable(&deep).expect_err("a file is in the way");
        assert_eq!(seen.level, Level::Fault);
    }

    #[tokio::test]
    async fn a_server_is_looked_for_and_not_asked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/delete?all", listener.local_addr().expect("bound"));
        assert_eq!(server(&url).await.expect("listens").level, Level::Ok);
        let (mut stream, _) = listener.accept().await.expect("it came");
        let mut said = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said).await.expect("it went");
        assert!(said.is_empty(), "nothing was asked");
        drop((listener, stream));
        assert!(server(&url).await.is_err());
        for bad in ["ftp://127.0.0.1/", "nonsense"] {
            assert!(server(bad).await.is_err(), "{bad}");
        }
    }
}
