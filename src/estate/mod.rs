//! What exists at each site and how it is reached: the environment that a plan is bound to.
//!
//! Not known here: the plan, and how anything is asked (`executor`, `guard`). Secrets are held as
//! references, never as values.

mod channel;
mod read;
mod schema;
mod site;

pub use read::read;
pub use schema::schema;

use crate::text::Spanned;
use jiff::SignedDuration;
use lettre::message::Mailbox;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole estate file, as read. Relative paths in it are already joined to the file's directory.
#[derive(Clone, Debug, Default)]
pub struct Estate {
    /// Name, printed wherever the run is named.
    pub name: String,
    /// Rehearsals and faults are refused, `run` asks for the name.
    pub production: bool,
    /// `from` and `to`, in written order.
    pub sites: BTreeMap<String, Spanned<Site>>,
    /// Certificates that the guard asks about, of every issuer.
    pub sentinels: Sentinels,
    /// How often the guard asks, and how many good answers end a breach.
    pub probe: Probe,
    /// Group name to login names.
    pub people: BTreeMap<String, Vec<String>>,
    /// Channel name to where its notices go.
    pub channels: BTreeMap<String, Spanned<Channel>>,
    /// Where the status page is written (`status: { directory: DIR }`), beside the run directory.
    pub status_directory: Option<PathBuf>,
    /// The name servers that names of the estate are switched at.
    pub dns: Option<Dns>,
    /// The lab's control address, when this estate is a lab: witness, load, faults.
    pub lab: Option<LabLink>,
}

/// One data center.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Host name to how it is reached.
    pub hosts: BTreeMap<String, Spanned<Host>>,
    /// The reverse proxy in front of the order services.
    pub edge: Option<Spanned<Edge>>,
    /// Database name (a product line's, mostly) to where it is.
    pub databases: BTreeMap<String, Spanned<Database>>,
    /// Role name to how it is fenced and promoted; `{line}` in arguments and URLs is filled.
    pub roles: BTreeMap<String, Spanned<Switch>>,
    /// Service name to its providers at this site.
    pub services: BTreeMap<String, Spanned<Service>>,
    /// The order queue of each line.
    pub orders: Option<Spanned<Orders>>,
}

/// How commands run on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// On this machine; bare command names are looked up in `path` first.
    Local {
        /// Directory of the host's own commands.
        path: Option<PathBuf>,
    },
    /// By the system's `ssh` to this destination (a later issue carries it out).
    Ssh(String),
}

/// The reverse proxy of a site, driven by its HTTP admin API:
/// `PUT {admin}/routes/{route}/{line}` with body `{"open":bool,"status":404}`, `GET` reads it back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// Where clients reach it, without a trailing slash.
    pub url: String,
    /// Its admin API.
    pub admin: String,
    /// Route name to path; `{line}` is filled.
    pub routes: BTreeMap<String, String>,
    /// Protected service to a path on this edge that must keep answering 200 while routes close;
    /// `{line}` is filled.
    pub protected: BTreeMap<String, String>,
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// A PostgreSQL connection string, password aside (a later issue carries it out).
    Postgres {
        /// `host=... dbname=...`
        conninfo: String,
        /// Where the password is.
        password: Option<Secret>,
    },
}

/// A reference to a secret; the value is read at the moment of use and never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// `env: NAME`
    Env(String),
    /// `file: PATH`, whose mode must not let others read.
    File(PathBuf),
    /// `command: [argv]`, its stdout.
    Command(Vec<String>),
}

/// Something that is switched on and off: a role, or a provider in or out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Commands; exit 0 is success. The third: 0 yes, 1 no, else unknown.
    Commands {
        /// Promote, enable.
        on: Vec<String>,
        /// Fence, disable.
        off: Vec<String>,
        /// `is_promoted`, `is_enabled`.
        is_on: Vec<String>,
    },
    /// `PUT url` with `{"on":bool}`; `GET url` answers `{"on":bool}`.
    Admin(String),
}

/// A protected service at one site.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Provider name (a host's, mostly) to where and how.
    pub providers: BTreeMap<String, Spanned<Provider>>,
    /// PEM files of the issuers it answers for: for every line, or by line.
    pub issuers: Issuers,
    /// Text that a seal page must hold.
    pub expect: Option<String>,
}

/// One place that answers for a protected service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provider {
    /// URL; `{issuer}` (the issuer file's stem) and `{line}` are filled.
    pub url: String,
    /// The host it runs on, when a step's `at` should be matched with it (default: its own name).
    pub host: Option<String>,
    /// How clients are sent there or away; none: it cannot be switched.
    pub switch: Option<Switch>,
}

/// Which issuers a service answers for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Issuers {
    /// None given (seals).
    #[default]
    None,
    /// Every line's answers come from these.
    All(Vec<PathBuf>),
    /// Line to its issuers.
    ByLine(BTreeMap<String, Vec<PathBuf>>),
}

impl Issuers {
    /// The issuers that concern `line`, or all without a line.
    pub fn of(&self, line: Option<&str>) -> Vec<PathBuf> {
        match (self, line) {
            (Self::None, _) => Vec::new(),
            (Self::All(files), _) => files.clone(),
            (Self::ByLine(map), Some(line)) => map.get(line).cloned().unwrap_or_default(),
            (Self::ByLine(map), None) => map.values().flatten().cloned().collect(),
        }
    }
}

/// The order queue of a site's lines: the table `orders` in the line's database, paused by a row
/// of its table `order_gate`; see `executor::orders` for the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Table of orders.
    pub table: String,
}

/// Certificates that the guard asks about; each names its issuer itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentinels {
    /// Issued and not revoked.
    pub good: Vec<PathBuf>,
    /// Revoked long ago.
    pub revoked: Vec<PathBuf>,
    /// Never issued (signed by nobody, or by the issuer but in no database).
    pub unissued: Vec<PathBuf>,
}

/// The guard's pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Between two questions to one provider.
    pub every: SignedDuration,
    /// Good answers in a row that end a breach.
    pub recovery: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self { every: SignedDuration::from_secs(2), recovery: 10 }
    }
}

/// Where notices of a channel go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Files: one `.eml` and one `.md` per notice.
    Directory(PathBuf),
    /// A mail through a relay.
    Smtp(Relay),
    /// An HTTP POST, signed when there is a secret.
    Webhook {
        /// `http://` or `https://`
        url: String,
        /// What signs it, as Standard Webhooks has it.
        secret: Option<Secret>,
    },
}

/// A mail relay that asks for no password, and who writes to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Name or address; what its certificate must say.
    pub host: String,
    /// 25 when the estate says none.
    pub port: u16,
    /// Sender.
    pub from: Mailbox,
    /// Receivers; one at least.
    pub to: Vec<Mailbox>,
    /// Whether mail goes in clear text.
    pub tls: MailTls,
}

impl Relay {
    /// As the estate writes it.
    pub fn shown(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

/// How mail is kept from being read on its way to the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// By STARTTLS, or not sent. The certificate is verified by `ca`, else by the system's.
    Required {
        /// A file of one certificate (PEM).
        ca: Option<PathBuf>,
    },
    /// Not at all.
    None,
}

/// Name servers, and what signs an update to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Addresses or names, with `:PORT` where it is not 53.
    pub servers: Vec<String>,
    /// The key (TSIG).
    pub key: Option<Secret>,
}

/// How a rehearsal reaches the lab beside the estate proper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabLink {
    /// Base URL of the lab's control API.
    pub control: String,
    /// The lab's directory.
    pub directory: PathBuf,
}
