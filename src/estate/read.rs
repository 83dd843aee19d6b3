//! From text to an estate: every fault in one go.

use super::{
    Channel, Database, Edge, Estate, Host, Issuers, LabLink, Orders, Probe, Provider, Secret,
    Sentinels, Service, Site, Switch,
};
use crate::text::Spanned;
use crate::text::fault::Fault;
use crate::text::reader::{Fields, Reader};
use crate::text::tree::{self, Node, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const OTHER_WORDS: &[(&str, &str)] = &[
    ("steps", "steps belong to the plan"),
    ("lines", "lines belong to the plan"),
    ("window", "the window belongs to the plan"),
    ("protect", "what is protected belongs to the plan"),
    ("hosts", "hosts stand under their site: `sites: { from: { hosts: ... } }`"),
    (
        "secrets",
        "a secret stands where it is used, as `{ file: PATH }`, `{ env: NAME }` or `{ command: [...] }`",
    ),
];

/// Reads an estate's text. `path` is for messages and for relative paths.
///
/// # Errors
/// Every fault of the file (a syntax fault stands alone).
pub fn read(path: &Path, text: &str) -> Result<(Estate, Vec<Fault>), Vec<Fault>> {
    let root = tree::parse(text).map_err(|fault| vec![fault])?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut source = Source { reader: Reader::default(), directory };
    let estate = source.root(&root);
    let failed = source.reader.has_errors();
    let faults = source.reader.into_faults();
    match estate {
        Some(estate) if !failed => Ok((estate, faults)),
        _ => Err(faults),
    }
}

/// The file that is being read.
struct Source<'p> {
    reader: Reader,
    directory: &'p Path,
}

impl Source<'_> {
    fn root(&mut self, root: &Node<'_>) -> Option<Estate> {
        if !matches!(root.value, Value::Map(_)) {
            let what = format!("an estate is a map of fields, not {}", root.sort());
            let fault = Fault::error("not-an-estate", root.span, what);
            self.reader.report(fault.hint("begin with `estate: v1`, `name:` and `sites:`"));
            return None;
        }
        let mut fields = self.reader.fields(root, "an estate")?;
        if !fields.header("estate", &mut self.reader) {
            if fields.take("cutover").is_some() {
                let fault =
                    Fault::error("not-an-estate", root.span, "this is a plan, not an estate");
                self.reader.report(fault.hint("the estate is another file"));
            }
            return None;
        }
        let name = fields.need("name", &mut self.reader);
        let name = name.and_then(|node| self.text(node, "`name`"));
        let production =
            fields.take("production").and_then(|n| self.reader.boolean(n, "`production`"));
        let mut estate = Estate { production: production.unwrap_or(false), ..Estate::default() };
        if let Some(node) = fields.need("sites", &mut self.reader) {
            estate.sites = self.map(node, "`sites`", "the site", Self::site);
        }
        if let Some(node) = fields.take("sentinels") {
            estate.sentinels = self.sentinels(node).unwrap_or_default();
        }
        if let Some(node) = fields.take("probe") {
            estate.probe = self.probe(node).unwrap_or_default();
        }
        if let Some(node) = fields.take("people") {
            let people = self.map(node, "`people`", "the group", |source, node| {
                let logins = source.reader.texts(node, "the people of a group")?;
                Some(logins.into_iter().map(|login| login.value).collect())
            });
            estate.people = people.into_iter().map(|(name, people)| (name, people.value)).collect();
        }
        if let Some(node) = fields.take("channels") {
            estate.channels = self.map(node, "`channels`", "the channel", Self::channel);
        }
        if let Some(node) = fields.take("dns") {
            self.dns(node);
        }
        if let Some(node) = fields.take("status") {
            estate.status_directory = self.status(node);
        }
        if let Some(node) = fields.take("lab") {
            estate.lab = self.lab(node);
        }
        fields.finish(&mut self.reader, OTHER_WORDS);
        self.check_hosts(&estate);
        estate.name = name?;
        Some(estate)
    }

    /// A map whose keys are names of the estate.
    fn map<T>(
        &mut self,
        node: &Node<'_>,
        what: &str,
        each: &str,
        read: impl Fn(&mut Self, &Node<'_>) -> Option<T>,
    ) -> BTreeMap<String, Spanned<T>> {
        let mut out = BTreeMap::new();
        for entry in self.reader.entries(node, what).unwrap_or_default() {
            let name = self.reader.name(&entry.key.value, entry.key.span, each);
            if let (Some(name), Some(value)) = (name, read(self, &entry.value)) {
                out.insert(name.value, Spanned { value, span: entry.key.span });
            }
        }
        out
    }

    fn text(&mut self, node: &Node<'_>, what: &str) -> Option<String> {
        self.reader.text(node, what).map(str::to_owned)
    }

    fn path(&mut self, node: &Node<'_>, what: &str) -> Option<PathBuf> {
        self.reader.text(node, what).map(|text| self.directory.join(text))
    }

    fn paths(&mut self, node: &Node<'_>, what: &str) -> Option<Vec<PathBuf>> {
        let texts = self.reader.texts(node, what)?;
        Some(texts.iter().map(|text| self.directory.join(&text.value)).collect())
    }

    /// A text in which `{line}` and the like stand for what is filled in later.
    fn holes(&mut self, node: &Node<'_>, what: &str, known: &[&str]) -> Option<String> {
        let text = self.text(node, what)?;
        let mut rest = text.as_str();
        while let Some(open) = rest.find('{') {
            let inside = &rest[open + 1..];
            let hole = inside.find('}').map(|close| &inside[..close]);
            match hole {
                Some(hole) if known.contains(&hole) => rest = &inside[hole.len()..],
                _ => {
                    let hole = hole.unwrap_or(inside);
                    let wrong = format!("{what}: nothing is filled in for `{{{hole}}}`");
                    let names: Vec<String> =
                        known.iter().map(|name| format!("`{{{name}}}`")).collect();
                    let mut fault = Fault::error("bad-hole", node.span, wrong);
                    fault.hint = Some(match names.as_slice() {
                        [] => "write it out".to_owned(),
                        _ => format!("there is {}", names.join(" and ")),
                    });
                    self.reader.report(fault);
                    return None;
                }
            }
        }
        Some(text)
    }

    /// A URL. It holds no password: those are read at the moment of use, and never journaled.
    fn url(&mut self, node: &Node<'_>, what: &str, holes: &[&str]) -> Option<String> {
        let url = self.holes(node, what, holes)?;
        let Some((scheme, rest)) = url.split_once("://") else {
            let fault = Fault::error("bad-url", node.span, format!("{what}: `{url}` is not a URL"));
            self.reader.report(fault.hint("it begins with `http://` or `https://`"));
            return None;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        if !matches!(scheme, "http" | "https") || authority.is_empty() {
            let fault = Fault::error("bad-url", node.span, format!("{what}: `{url}` is not a URL"));
            self.reader.report(fault.hint("it begins with `http://` or `https://`, then a host"));
            return None;
        }
        if authority.contains('@') {
            // The message must not repeat the password.
            self.inline_secret(node, what);
            return None;
        }
        Some(url)
    }

    fn inline_secret(&mut self, node: &Node<'_>, what: &str) {
        let what = format!("{what} holds a password in plain text");
        let fault = Fault::error(crate::text::fault::INLINE_SECRET, node.span, what);
        self.reader.report(fault.hint(
            "refer to it: `password: { file: PATH }`, `{ env: NAME }` or `{ command: [...] }`",
        ));
    }

    fn argv(&mut self, node: &Node<'_>, what: &str) -> Option<Vec<String>> {
        let nodes = self.reader.list(node, what)?;
        if nodes.is_empty() {
            self.reader.error("empty-value", node.span, format!("{what} names no program"));
            return None;
        }
        nodes.iter().map(|node| self.holes(node, what, &["line"])).collect()
    }

    fn secret(&mut self, node: &Node<'_>, what: &str) -> Option<Secret> {
        if matches!(node.value, Value::Scalar { .. }) {
            self.inline_secret(node, what);
            return None;
        }
        let mut fields = self.reader.fields(node, "a secret")?;
        let env = fields.take("env");
        let file = fields.take("file");
        let command = fields.take("command");
        let span = fields.span();
        fields.finish(&mut self.reader, &[("value", "a secret is a reference, never the value")]);
        match (env, file, command) {
            (Some(node), None, None) => self.text(node, "`env`").map(Secret::Env),
            (None, Some(node), None) => self.path(node, "`file`").map(Secret::File),
            (None, None, Some(node)) => self.argv(node, "`command`").map(Secret::Command),
            _ => {
                let what = format!("{what} says one of `file`, `env` and `command`");
                self.reader.error("bad-secret", span, what);
                None
            }
        }
    }

    fn site(&mut self, node: &Node<'_>) -> Option<Site> {
        let mut fields = self.reader.fields(node, "a site")?;
        let mut site = Site::default();
        if let Some(node) = fields.take("hosts") {
            site.hosts = self.map(node, "`hosts`", "the host", Self::host);
        }
        if let Some(node) = fields.take("edge") {
            let edge = self.edge(node);
            site.edge = edge.map(|value| Spanned { value, span: node.span });
        }
        if let Some(node) = fields.take("databases") {
            site.databases = self.map(node, "`databases`", "the database", Self::database);
        }
        if let Some(node) = fields.take("roles") {
            site.roles = self.map(node, "`roles`", "the role", |source, node| {
                let mut fields = source.reader.fields(node, "a role")?;
                let switch = source.switch(&mut fields, ["promote", "fence", "is_promoted"], true);
                fields.finish(&mut source.reader, &[]);
                switch?
            });
        }
        if let Some(node) = fields.take("services") {
            site.services = self.map(node, "`services`", "the service", Self::service);
        }
        if let Some(node) = fields.take("orders") {
            let orders = self.orders(node);
            site.orders = orders.map(|value| Spanned { value, span: node.span });
        }
        fields.finish(
            &mut self.reader,
            &[
                ("database", "write `databases`"),
                ("providers", "providers stand under their service"),
            ],
        );
        Some(site)
    }

    fn host(&mut self, node: &Node<'_>) -> Option<Host> {
        let mut fields = self.reader.fields(node, "a host")?;
        let local = fields.take("local");
        let ssh = fields.take("ssh");
        let span = fields.span();
        fields.finish(&mut self.reader, &[]);
        match (local, ssh) {
            (Some(Node { value: Value::Null, .. }), None) => Some(Host::Local { path: None }),
            (Some(node), None) => {
                let mut fields = self.reader.fields(node, "a local host")?;
                let path = fields.take("path");
                fields.finish(&mut self.reader, &[]);
                match path {
                    None => Some(Host::Local { path: None }),
                    Some(node) => Some(Host::Local { path: Some(self.path(node, "`path`")?) }),
                }
            }
            (None, Some(node)) => {
                let destination = self.text(node, "`ssh`")?;
                // ssh would take it for an option.
                if destination.starts_with('-') || destination.contains(char::is_whitespace) {
                    let what = format!("`{destination}` is not a destination of ssh");
                    self.reader.error("bad-name", node.span, what);
                    return None;
                }
                Some(Host::Ssh(destination))
            }
            _ => {
                let fault = Fault::error("bad-host", span, "a host is `local` or `ssh`");
                self.reader.report(
                    fault.hint("write it like `{ ssh: ocsp-1.mv }` or `{ local: { path: DIR } }`"),
                );
                None
            }
        }
    }

    fn edge(&mut self, node: &Node<'_>) -> Option<Edge> {
        let mut fields = self.reader.fields(node, "an edge")?;
        if let Some(nginx) = fields.entry("nginx") {
            let fault = Fault::error(
                "not-yet",
                nginx.key.span,
                "an edge of nginx is not driven by this version",
            );
            self.reader.report(fault.hint("give it an `admin` URL"));
            return None;
        }
        let url = fields.need("url", &mut self.reader).and_then(|n| self.url(n, "`url`", &[]));
        let admin =
            fields.need("admin", &mut self.reader).and_then(|n| self.url(n, "`admin`", &[]));
        let mut paths = |name: &'static str, fields: &mut Fields<'_>| match fields.take(name) {
            None => BTreeMap::new(),
            Some(node) => {
                let paths = self.map(node, &format!("`{name}`"), "the route", Self::url_path);
                paths.into_iter().map(|(name, path)| (name, path.value)).collect()
            }
        };
        let routes = paths("routes", &mut fields);
        let protected = paths("protected", &mut fields);
        fields.finish(&mut self.reader, &[]);
        let plain = |url: String| url.trim_end_matches('/').to_owned();
        Some(Edge { url: plain(url?), admin: plain(admin?), routes, protected })
    }

    fn url_path(&mut self, node: &Node<'_>) -> Option<String> {
        let path = self.holes(node, "the path", &["line"])?;
        if !path.starts_with('/') {
            let fault = Fault::error("bad-url", node.span, format!("`{path}` is not a path"));
            self.reader.report(fault.hint(format!("write `/{path}`")));
            return None;
        }
        Some(path)
    }

    fn database(&mut self, node: &Node<'_>) -> Option<Database> {
        let mut fields = self.reader.fields(node, "a database")?;
        let sqlite = fields.take("sqlite");
        let postgres = fields.take("postgres");
        let password = fields.entry("password");
        let span = fields.span();
        fields.finish(&mut self.reader, &[]);
        match (sqlite, postgres) {
            (Some(node), None) => {
                if let Some(entry) = password {
                    self.reader.error(
                        "odd-field",
                        entry.key.span,
                        "a file of SQLite has no password",
                    );
                }
                self.path(node, "`sqlite`").map(Database::Sqlite)
            }
            (None, Some(node)) => {
                let conninfo = self.text(node, "`postgres`")?;
                let folded = conninfo.to_lowercase().replace(' ', "");
                let userinfo = conninfo
                    .split_once("://")
                    .and_then(|(_, rest)| rest.split('/').next()?.split_once('@'))
                    .is_some_and(|(user, _)| user.contains(':'));
                if folded.contains("password=") || userinfo {
                    self.inline_secret(node, "`postgres`");
                    return None;
                }
                let password = match password {
                    None => None,
                    Some(entry) => Some(self.secret(&entry.value, "`password`")?),
                };
                Some(Database::Postgres { conninfo, password })
            }
            _ => {
                let fault =
                    Fault::error("bad-database", span, "a database is `sqlite` or `postgres`");
                self.reader.report(fault.hint("write it like `{ sqlite: FILE }` or `{ postgres: \"host=db-1 dbname=geotrust\" }`"));
                None
            }
        }
    }

    /// `admin: URL`, or three commands. The outer `None` is a fault, the inner one none given.
    fn switch(
        &mut self,
        fields: &mut Fields<'_>,
        [on, off, is_on]: [&'static str; 3],
        wanted: bool,
    ) -> Option<Option<Switch>> {
        let span = fields.span();
        let admin = fields.entry("admin");
        let commands = [fields.entry(on), fields.entry(off), fields.entry(is_on)];
        let some = commands.iter().flatten().next();
        match (admin, some, commands) {
            (Some(admin), None, _) => {
                Some(Some(Switch::Admin(self.url(&admin.value, "`admin`", &["line"])?)))
            }
            (Some(_), Some(command), _) => {
                let what =
                    format!("it is switched by `admin` or by `{}`, not both", command.key.value);
                self.reader.error("two-deeds", command.key.span, what);
                None
            }
            (None, None, _) if !wanted => Some(None),
            (None, _, [Some(a), Some(b), Some(c)]) => {
                let on = self.argv(&a.value, &format!("`{on}`"));
                let off = self.argv(&b.value, &format!("`{off}`"));
                let is_on = self.argv(&c.value, &format!("`{is_on}`"));
                Some(Some(Switch::Commands { on: on?, off: off?, is_on: is_on? }))
            }
            _ => {
                let what = format!("it needs `{on}`, `{off}` and `{is_on}`, or `admin`");
                self.reader.error("missing-field", span, what);
                None
            }
        }
    }

    fn service(&mut self, node: &Node<'_>) -> Option<Service> {
        let mut fields = self.reader.fields(node, "a service")?;
        let providers = fields.need("providers", &mut self.reader);
        let providers =
            providers.map(|n| self.map(n, "`providers`", "the provider", Self::provider));
        let issuers = fields.take("issuers").map(|node| self.issuers(node));
        let expect = fields.take("expect").map(|node| self.text(node, "`expect`"));
        fields.finish(&mut self.reader, &[]);
        let issuers = match issuers {
            None => Issuers::None,
            Some(issuers) => issuers?,
        };
        let expect = match expect {
            None => None,
            Some(expect) => Some(expect?),
        };
        Some(Service { providers: providers?, issuers, expect })
    }

    fn provider(&mut self, node: &Node<'_>) -> Option<Provider> {
        const HOLES: &[&str] = &["issuer", "line"];
        if matches!(node.value, Value::Scalar { .. }) {
            let url = self.url(node, "the provider", HOLES)?;
            return Some(Provider { url, ..Provider::default() });
        }
        let mut fields = self.reader.fields(node, "a provider")?;
        let url = fields.need("url", &mut self.reader).and_then(|n| self.url(n, "`url`", HOLES));
        let host = fields.take("host").map(|node| self.text(node, "`host`"));
        let switch = self.switch(&mut fields, ["enable", "disable", "is_enabled"], false);
        fields.finish(&mut self.reader, &[]);
        let host = match host {
            None => None,
            Some(host) => Some(host?),
        };
        Some(Provider { url: url?, host, switch: switch? })
    }

    fn issuers(&mut self, node: &Node<'_>) -> Option<Issuers> {
        if let Value::List(_) = &node.value {
            return self.paths(node, "`issuers`").map(Issuers::All);
        }
        let by_line = self
            .map(node, "`issuers`", "the line", |source, node| source.paths(node, "the issuers"));
        Some(Issuers::ByLine(
            by_line.into_iter().map(|(line, files)| (line, files.value)).collect(),
        ))
    }

    fn orders(&mut self, node: &Node<'_>) -> Option<Orders> {
        let mut fields = self.reader.fields(node, "`orders`")?;
        let table = fields.need("table", &mut self.reader);
        fields.finish(&mut self.reader, &[]);
        let node = table?;
        let table = self.text(node, "`table`")?;
        let plain = table.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !table.starts_with(|c: char| c.is_ascii_digit());
        if !plain {
            let fault =
                Fault::error("bad-name", node.span, format!("`{table}` is not a name of a table"));
            self.reader.report(fault.hint("names are made of letters, digits and `_`"));
            return None;
        }
        Some(Orders { table })
    }

    fn sentinels(&mut self, node: &Node<'_>) -> Option<Sentinels> {
        let mut fields = self.reader.fields(node, "`sentinels`")?;
        let mut list = |name: &'static str, fields: &mut Fields<'_>| {
            let node = fields.take(name);
            node.and_then(|node| self.paths(node, &format!("`{name}`"))).unwrap_or_default()
        };
        let good = list("good", &mut fields);
        let revoked = list("revoked", &mut fields);
        let unissued = list("unissued", &mut fields);
        fields.finish(&mut self.reader, &[]);
        Some(Sentinels { good, revoked, unissued })
    }

    fn probe(&mut self, node: &Node<'_>) -> Option<Probe> {
        let mut fields = self.reader.fields(node, "`probe`")?;
        let mut probe = Probe::default();
        if let Some(node) = fields.take("every")
            && let Some(every) = self.reader.duration(node, "`every`")
        {
            probe.every = every;
            if every.as_millis() < 10 {
                self.reader.error("bad-time", node.span, "`every` is at least `10ms`");
            }
        }
        if let Some(node) = fields.take("recovery") {
            probe.recovery = self.reader.number(node, "`recovery`", 1..=1000)?;
        }
        fields.finish(&mut self.reader, &[]);
        Some(probe)
    }

    fn channel(&mut self, node: &Node<'_>) -> Option<Channel> {
        let mut fields = self.reader.fields(node, "a channel")?;
        let directory = fields.take("directory");
        let webhook = fields.take("webhook");
        let smtp = fields.take("smtp");
        let from = fields.take("from");
        let to = fields.take("to");
        let span = fields.span();
        fields.finish(&mut self.reader, &[("password", "mail goes to a relay that asks for none")]);
        match (directory, webhook, smtp) {
            (Some(node), None, None) => self.path(node, "`directory`").map(Channel::Directory),
            (None, Some(node), None) => self.url(node, "`webhook`", &[]).map(Channel::Webhook),
            (None, None, Some(node)) => {
                let relay = self.text(node, "`smtp`");
                let (Some(from), Some(to)) = (from, to) else {
                    self.reader.error("missing-field", span, "mail needs `from` and `to`");
                    return None;
                };
                let from = self.text(from, "`from`");
                let to = match &to.value {
                    Value::Scalar { .. } => self.text(to, "`to`").map(|to| vec![to]),
                    _ => self
                        .reader
                        .texts(to, "`to`")
                        .map(|to| to.into_iter().map(|to| to.value).collect()),
                };
                Some(Channel::Smtp { relay: relay?, from: from?, to: to? })
            }
            _ => {
                let what = "a channel is one of `directory`, `smtp` and `webhook`";
                self.reader.error("bad-channel", span, what);
                None
            }
        }
    }

    /// Read for its faults: no action of this version asks name servers.
    fn dns(&mut self, node: &Node<'_>) {
        let Some(mut fields) = self.reader.fields(node, "`dns`") else { return };
        if let Some(node) = fields.need("servers", &mut self.reader) {
            self.reader.texts(node, "`servers`");
        }
        if let Some(node) = fields.take("key") {
            self.secret(node, "`key`");
        }
        fields.finish(&mut self.reader, &[]);
    }

    fn status(&mut self, node: &Node<'_>) -> Option<PathBuf> {
        let mut fields = self.reader.fields(node, "`status`")?;
        let directory = fields.need("directory", &mut self.reader);
        fields.finish(&mut self.reader, &[]);
        directory.and_then(|node| self.path(node, "`directory`"))
    }

    fn lab(&mut self, node: &Node<'_>) -> Option<LabLink> {
        let mut fields = self.reader.fields(node, "`lab`")?;
        let control = fields.need("control", &mut self.reader);
        let directory = fields.need("directory", &mut self.reader);
        fields.finish(&mut self.reader, &[]);
        let control = control.and_then(|node| self.url(node, "`control`", &[]));
        let directory = directory.and_then(|node| self.path(node, "`directory`"));
        Some(LabLink { control: control?, directory: directory? })
    }

    /// A provider that names a host which its site does not have is a slip of the hand.
    fn check_hosts(&mut self, estate: &Estate) {
        for (site_name, site) in &estate.sites {
            for service in site.services.values() {
                for provider in service.providers.values() {
                    let Some(host) = &provider.host else { continue };
                    if !site.hosts.contains_key(host) {
                        let what = format!("the site `{site_name}` has no host `{host}`");
                        let known = site.hosts.keys().map(String::as_str);
                        self.reader.unknown("unknown-host", provider.span, what, host, known);
                    }
                }
            }
        }
    }
}
