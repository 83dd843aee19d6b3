//! From text to an estate: every fault in one go.

use super::{Dns, Estate, LabLink, Probe, Secret, Sentinels};
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
    let failed = source.reader.errors() > 0;
    let faults = source.reader.into_faults();
    match estate {
        Some(estate) if !failed => Ok((estate, faults)),
        _ => Err(faults),
    }
}

/// The file that is being read.
pub(super) struct Source<'p> {
    pub(super) reader: Reader,
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
        if let (None, Some(entry)) = (fields.entry("estate"), fields.entry("cutover")) {
            let what = "this is a plan, not an estate";
            let fault = Fault::error("not-an-estate", entry.key.span, what);
            self.reader.report(fault.hint("the estate is another file"));
            return None;
        }
        if !fields.header("estate", &mut self.reader) {
            return None;
        }
        let name = fields.need("name");
        let name = name.and_then(|node| self.text(node, "`name`"));
        let production =
            fields.take("production").and_then(|n| self.reader.boolean(n, "`production`"));
        let mut estate = Estate { production: production.unwrap_or(false), ..Estate::default() };
        if let Some(node) = fields.need("sites") {
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
            estate.dns = self.dns(node);
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
    pub(super) fn map<T>(
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

    pub(super) fn text(&mut self, node: &Node<'_>, what: &str) -> Option<String> {
        self.reader.text(node, what).map(str::to_owned)
    }

    pub(super) fn path(&mut self, node: &Node<'_>, what: &str) -> Option<PathBuf> {
        self.reader.text(node, what).map(|text| self.directory.join(text))
    }

    pub(super) fn paths(&mut self, node: &Node<'_>, what: &str) -> Option<Vec<PathBuf>> {
        let texts = self.reader.texts(node, what)?;
        Some(texts.iter().map(|text| self.directory.join(&text.value)).collect())
    }

    /// A text in which `{line}` and the like stand for what is filled in later.
    pub(super) fn holes(&mut self, node: &Node<'_>, what: &str, known: &[&str]) -> Option<String> {
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
    pub(super) fn url(&mut self, node: &Node<'_>, what: &str, holes: &[&str]) -> Option<String> {
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

    pub(super) fn inline_secret(&mut self, node: &Node<'_>, what: &str) {
        let what = format!("{what} says a secret in plain text");
        let fault = Fault::error(crate::text::fault::INLINE_SECRET, node.span, what);
        self.reader.report(fault.hint(
            "refer to it: `password: { file: PATH }`, `{ env: NAME }` or `{ command: [...] }`",
        ));
    }

    pub(super) fn argv(&mut self, node: &Node<'_>, what: &str) -> Option<Vec<String>> {
        let nodes = self.reader.list(node, what)?;
        if nodes.is_empty() {
            self.reader.error("empty-value", node.span, format!("{what} names no program"));
            return None;
        }
        nodes.iter().map(|node| self.holes(node, what, &["line"])).collect()
    }

    pub(super) fn secret(&mut self, node: &Node<'_>, what: &str) -> Option<Secret> {
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
        if let Some(node) = fields.take("recovery")
            && let Some(recovery) = self.reader.number(node, "`recovery`", 1..=1000)
        {
            probe.recovery = recovery;
        }
        fields.finish(&mut self.reader, &[]);
        Some(probe)
    }

    /// No action of this version switches names: preflight asks the servers all the same.
    fn dns(&mut self, node: &Node<'_>) -> Option<Dns> {
        let mut fields = self.reader.fields(node, "`dns`")?;
        let servers = fields.need("servers").and_then(|n| self.reader.texts(n, "`servers`"));
        let key = fields.take("key").map(|node| self.secret(node, "`key`"));
        fields.finish(&mut self.reader, &[]);
        let key = match key {
            None => None,
            Some(key) => Some(key?),
        };
        Some(Dns { servers: servers?.into_iter().map(|server| server.value).collect(), key })
    }

    fn status(&mut self, node: &Node<'_>) -> Option<PathBuf> {
        let mut fields = self.reader.fields(node, "`status`")?;
        let directory = fields.need("directory");
        fields.finish(&mut self.reader, &[]);
        directory.and_then(|node| self.path(node, "`directory`"))
    }

    fn lab(&mut self, node: &Node<'_>) -> Option<LabLink> {
        let mut fields = self.reader.fields(node, "`lab`")?;
        let control = fields.need("control");
        let directory = fields.need("directory");
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

/// Every form that an estate can have.
#[cfg(test)]
pub(crate) const EVERY_FORM: &str = r#"
estate: v1
name: lab
sites:
  from:
    hosts: { ocsp-1: { local: { path: hosts/from/ocsp-1 } }, db-1: { ssh: db-1.mv }, bare: { local: } }
    edge:
      url: "http://127.0.0.1:1/"
      admin: "http://127.0.0.1:1/edge/from"
      routes: { order: "/{line}/order" }
      protected: { ocsp: "/ocsp/{line}", crl: "/crl/{line}.crl" }
    databases:
      geotrust: { sqlite: db/from/geotrust.db }
      thawte: { postgres: "host=db-1 dbname=thawte", password: { file: db.pass } }
    orders: { table: orders }
    roles:
      writer: { admin: "http://127.0.0.1:1/roles/writer/from/{line}" }
      crl-signer: { promote: [sign, "{line}"], fence: [unsign, "{line}"], is_promoted: [signs, "{line}"] }
    services:
      ocsp:
        providers:
          ocsp-1: { url: "http://127.0.0.1:2/", admin: "http://127.0.0.1:1/p/{line}", host: ocsp-1 }
        issuers: { geotrust: [geotrust-ca.pem] }
      crl: { providers: { crl-1: "http://127.0.0.1:3/{issuer}.crl" }, issuers: [a.pem, b.pem] }
      seal: { providers: { seal-1: "http://127.0.0.1:4/" }, expect: "Secured by" }
  to: {}
sentinels: { good: [g.pem], revoked: [r.pem], unissued: [u.pem] }
probe: { every: 200ms, recovery: 3 }
people: { release-managers: [mara, jo], security: [kim] }
channels:
  customers: { directory: channels/customers }
  mail: { smtp: "relay:25", from: a@b, to: c@d }
  hook: { webhook: "https://example.com/x" }
dns: { servers: [192.0.2.1], key: { file: tsig.key } }
lab: { control: "http://127.0.0.1:1", directory: . }
status: { directory: public }
"#;

/// What the reader asks of each map of fields, and the faults; for the schema's test.
#[cfg(test)]
pub(crate) fn asked(
    text: &str,
) -> (BTreeMap<String, std::collections::BTreeSet<String>>, Vec<Fault>) {
    let directory = Path::new("");
    let mut source = Source { reader: Reader::default(), directory };
    source.root(&tree::parse(text).expect("yaml"));
    (source.reader.asked(), source.reader.into_faults())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estate::{Database, Host, Issuers, Switch};
    use crate::text::fault::render;

    const GOOD: &str = super::EVERY_FORM;

    fn faults(text: &str) -> Vec<Fault> {
        read(Path::new("e.yaml"), text).expect_err("must be refused")
    }

    /// The good estate with one part replaced.
    fn broken(part: &str, by: &str) -> Vec<&'static str> {
        assert!(GOOD.contains(part), "{part}");
        faults(&GOOD.replacen(part, by, 1)).iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn the_whole_form_is_read() {
        let path = Path::new("/labs/one/estate.yaml");
        let (estate, notes) =
            read(path, GOOD).unwrap_or_else(|faults| panic!("{}", render(&faults, path, GOOD)));
        assert!(notes.is_empty());
        let from = &estate.sites["from"];
        assert_eq!(
            from.hosts["ocsp-1"].value,
            Host::Local { path: Some("/labs/one/hosts/from/ocsp-1".into()) }
        );
        assert_eq!(from.hosts["db-1"].value, Host::Ssh("db-1.mv".into()));
        assert_eq!(from.edge.as_ref().map(|edge| edge.url.as_str()), Some("http://127.0.0.1:1"));
        assert_eq!(
            from.databases["thawte"].value,
            Database::Postgres {
                conninfo: "host=db-1 dbname=thawte".into(),
                password: Some(Secret::File("/labs/one/db.pass".into())),
            }
        );
        let ocsp = &from.services["ocsp"];
        assert!(matches!(ocsp.providers["ocsp-1"].switch, Some(Switch::Admin(_))));
        assert_eq!(ocsp.issuers.of(Some("geotrust")).len(), 1);
        assert!(
            matches!(from.services["crl"].issuers, Issuers::All(ref files) if files.len() == 2)
        );
        assert_eq!(estate.probe.recovery, 3);
        assert_eq!(estate.people["release-managers"], ["mara", "jo"]);
        assert_eq!(estate.status_directory.as_deref(), Some(Path::new("/labs/one/public")));
        assert_eq!(estate.lab.map(|lab| lab.directory), Some("/labs/one/.".into()));
    }

    #[test]
    fn secrets_are_references_and_never_shown() {
        for (part, by) in [
            ("password: { file: db.pass }", "password: hunter2"),
            ("host=db-1 dbname=thawte", "host=db-1 password = 'hunter2'"),
            ("host=db-1 dbname=thawte", "postgres://me:hunter2@db-1/thawte"),
            ("https://example.com/x", "https://me:hunter2@example.com/x"),
        ] {
            let text = GOOD.replacen(part, by, 1);
            let faults = faults(&text);
            assert_eq!(faults[0].code, crate::text::fault::INLINE_SECRET);
            let shown = render(&faults, Path::new("e.yaml"), &text);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn slips_are_faults() {
        assert_eq!(broken("/{line}/order", "/{lines}/order"), ["bad-hole"]);
        assert_eq!(broken("\"/{line}/order\"", "order"), ["bad-url"]);
        assert_eq!(broken("host: ocsp-1", "host: ocsp-9"), ["unknown-host"]);
        assert_eq!(broken("fence: [unsign, \"{line}\"], ", ""), ["missing-field"]);
        assert_eq!(broken("ssh: db-1.mv", "ssh: -oProxyCommand=x"), ["bad-name"]);
        assert_eq!(broken("table: orders", "table: \"orders; drop\""), ["bad-name"]);
        assert_eq!(broken("every: 200ms", "every: 200"), ["bad-time"]);
        assert_eq!(broken("estate: v1", "cutover: v1"), ["not-an-estate"]);
        assert_eq!(broken("estate: v1", "estate: v2"), ["version"]);
        assert_eq!(broken("  to: {}", "  to: {}\n  to: {}"), ["duplicate-key"]);
        assert_eq!(broken("webhook:", "webhok:"), ["bad-channel", "unknown-field"]);
    }
}
