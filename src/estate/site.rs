//! The sites of an estate: hosts, edge, databases, roles, services, orders.

use super::read::Source;
use super::{Database, Edge, Host, Issuers, Orders, Provider, Service, Site, Switch};
use crate::text::Spanned;
use crate::text::fault::Fault;
use crate::text::reader::Fields;
use crate::text::tree::{Node, Value};
use std::collections::BTreeMap;

impl Source<'_> {
    pub(super) fn site(&mut self, node: &Node<'_>) -> Option<Site> {
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
        let url = fields.need("url").and_then(|n| self.url(n, "`url`", &[]));
        let admin = fields.need("admin").and_then(|n| self.url(n, "`admin`", &[]));
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
        let providers = fields.need("providers");
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
        let url = fields.need("url").and_then(|n| self.url(n, "`url`", HOLES));
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
        let table = fields.need("table");
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
}
