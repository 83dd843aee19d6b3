//! `http`: a request with what must come back.

use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::fault::{Fault, INLINE_SECRET};
use crate::text::reader::Fields;
use crate::text::tree::{Node, Value};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// `http: { get: URL }` or `{ method:, url:, headers:, body:, expect: { status:, contains: } }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Http<T> {
    /// `GET`, `POST`, `PUT`, `DELETE`, `HEAD`, `PATCH`.
    pub method: String,
    /// Where.
    pub url: T,
    /// Header name to value.
    pub headers: BTreeMap<String, T>,
    /// Body, when there is one.
    pub body: Option<T>,
    /// Accepted status codes; any 2xx when empty.
    pub status: Vec<u16>,
    /// Text that the answer's body must hold.
    pub contains: Option<T>,
    /// Keep asking until it comes back so, this often, within the step's timeout.
    pub every: Option<SignedDuration>,
}

/// Between two requests; without a pause a step would be a flood.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_millis(10);

/// Words of a plan, and the methods that they are.
pub(crate) const METHODS: [(&str, &str); 6] = [
    ("get", "GET"),
    ("post", "POST"),
    ("put", "PUT"),
    ("delete", "DELETE"),
    ("head", "HEAD"),
    ("patch", "PATCH"),
];

impl Http<Template> {
    pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let mut fields = scope.reader.fields(node, "`http`")?;
        let target = method_and_url(&mut fields, scope);
        let mut headers = BTreeMap::new();
        if let Some(node) = fields.take("headers") {
            for entry in scope.reader.entries(node, "`headers`").unwrap_or_default() {
                let name: &str = &entry.key.value;
                if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                    let what = format!("`{name}` is not a name of a header");
                    scope.reader.error("bad-name", entry.key.span, what);
                } else if let Some(value) = scope.filled(&entry.value, &format!("`{name}`")) {
                    headers.insert(name.to_owned(), value);
                }
            }
        }
        let body = fields.take("body").map(|node| scope.filled(node, "`body`"));
        let every = fields.take("every").map(|node| {
            let every = scope.reader.duration(node, "`every`")?;
            if every < SHORTEST_PAUSE {
                scope.reader.error("bad-time", node.span, "`every` is at least `10ms`");
                return None;
            }
            Some(every)
        });
        let expect = fields.take("expect").map(|node| read_expect(node, scope));
        fields.finish(&mut scope.reader, &[]);
        let (method, url) = target?;
        let body = match body {
            None => None,
            Some(body) => Some(body?),
        };
        let every = match every {
            None => None,
            Some(every) => Some(every?),
        };
        let (status, contains) = match expect {
            None => (Vec::new(), None),
            Some(expect) => expect?,
        };
        Some(Self { method, url, headers, body, status, contains, every })
    }
}

/// `get: URL`, or `method:` and `url:`.
fn method_and_url(fields: &mut Fields<'_>, scope: &mut Scope<'_>) -> Option<(String, Template)> {
    let mut found = None;
    for (word, method) in METHODS {
        if let Some(entry) = fields.entry(word) {
            if found.is_some() {
                scope.reader.error("two-methods", entry.key.span, "one request has one method");
            } else {
                found = Some((method, &entry.value));
            }
        }
    }
    let method = fields.take("method");
    let url = fields.take("url");
    let (method, node) = match (found, url) {
        (Some((method, node)), None) => (method, node),
        (Some(_), Some(url)) => {
            scope.reader.error("two-methods", url.span, "the request has two URLs");
            return None;
        }
        (None, Some(url)) => {
            let words: Vec<_> = METHODS.iter().map(|(_, method)| (*method, *method)).collect();
            match method {
                None => ("GET", url),
                Some(node) => (scope.reader.word(node, "`method`", &words)?, url),
            }
        }
        (None, None) => {
            scope.reader.report(
                Fault::error("missing-field", fields.span(), "`http` names no URL")
                    .hint("write it like `http: { get: \"http://127.0.0.1/health\" }`"),
            );
            return None;
        }
    };
    let url = scope.reader.text(node, "the URL").and_then(|_| scope.filled(node, "the URL"))?;
    let written = url.to_string();
    if !(written.starts_with("http://")
        || written.starts_with("https://")
        || written.starts_with("${{"))
    {
        let what = format!("`{written}` is not a URL");
        scope.reader.report(
            Fault::error("bad-url", node.span, what).hint("it begins with `http://` or `https://`"),
        );
        return None;
    }
    let authority =
        written.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    if authority.is_some_and(|authority| authority.contains('@')) {
        // The message must not repeat the password.
        let fault = Fault::error(INLINE_SECRET, node.span, "the URL says a login in plain text");
        scope.reader.report(fault.hint("secrets belong to the estate, never to a plan"));
        return None;
    }
    Some((method.to_owned(), url))
}

fn read_expect(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<(Vec<u16>, Option<Template>)> {
    let mut fields = scope.reader.fields(node, "`expect`")?;
    let mut status = Vec::new();
    if let Some(node) = fields.take("status") {
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for node in nodes {
            let code = scope.reader.number(node, "`status`", 100..=599);
            status.extend(code.and_then(|code| u16::try_from(code).ok()));
        }
    }
    let contains = fields.take("contains").and_then(|node| scope.filled(node, "`contains`"));
    fields.finish(&mut scope.reader, &[]);
    Some((status, contains))
}

impl<T> Http<T> {
    pub(super) fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Http<U>, E> {
        let mut headers = BTreeMap::new();
        for (name, value) in &self.headers {
            headers.insert(name.clone(), f(value)?);
        }
        Ok(Http {
            method: self.method.clone(),
            url: f(&self.url)?,
            headers,
            body: self.body.as_ref().map(&mut *f).transpose()?,
            status: self.status.clone(),
            contains: self.contains.as_ref().map(&mut *f).transpose()?,
            every: self.every,
        })
    }
}
