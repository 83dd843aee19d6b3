//! From text to a channel: where notices go.

use super::read::Source;
use super::{Channel, MailTls, Relay};
use crate::text::Span;
use crate::text::fault::Fault;
use crate::text::tree::{Entry, Node, Value};
use lettre::message::Mailbox;

/// Of a relay that says none.
const SMTP: u16 = 25;

impl Source<'_> {
    pub(super) fn channel(&mut self, node: &Node<'_>) -> Option<Channel> {
        let mut fields = self.reader.fields(node, "a channel")?;
        let directory = fields.take("directory");
        let webhook = fields.take("webhook");
        let smtp = fields.take("smtp");
        let mail = ["from", "to", "tls", "ca"].map(|name| fields.entry(name));
        let secret = fields.entry("secret");
        let span = fields.span();
        fields.finish(&mut self.reader, &[("password", "mail goes to a relay that asks for none")]);
        if smtp.is_none() {
            self.only_with("smtp", &mail);
        }
        if webhook.is_none() {
            self.only_with("webhook", &[secret]);
        }
        match (directory, webhook, smtp) {
            (Some(node), None, None) => self.path(node, "`directory`").map(Channel::Directory),
            (None, Some(node), None) => {
                let url = self.url(node, "`webhook`", &[]);
                let secret = secret.map(|entry| self.secret(&entry.value, "`secret`"));
                let secret = match secret {
                    None => None,
                    Some(secret) => Some(secret?),
                };
                Some(Channel::Webhook { url: url?, secret })
            }
            (None, None, Some(node)) => self.relay(node, span, mail).map(Channel::Smtp),
            _ => {
                let what = "a channel is one of `directory`, `smtp` and `webhook`";
                self.reader.error("bad-channel", span, what);
                None
            }
        }
    }

    fn only_with(&mut self, owner: &str, fields: &[Option<&Entry<'_>>]) {
        for entry in fields.iter().flatten() {
            let what = format!("`{}` belongs to `{owner}`", entry.key.value);
            self.reader.error("odd-field", entry.key.span, what);
        }
    }

    fn relay(
        &mut self,
        node: &Node<'_>,
        span: Span,
        [from, to, tls, ca]: [Option<&Entry<'_>>; 4],
    ) -> Option<Relay> {
        let place = self.text(node, "`smtp`").and_then(|text| {
            let place = host_and_port(&text);
            if place.is_none() {
                let what = format!("`smtp`: `{text}` is not `HOST:PORT`");
                self.reader.error("bad-relay", node.span, what);
            }
            place
        });
        let ca = ca.map(|entry| self.path(&entry.value, "`ca`"));
        let tls = match tls {
            None => Some(true),
            Some(entry) => {
                self.reader.word(&entry.value, "`tls`", &[("required", true), ("none", false)])
            }
        };
        let (Some(from), Some(to)) = (from, to) else {
            self.reader.error("missing-field", span, "mail needs `from` and `to`");
            return None;
        };
        let from = self.mailbox(&from.value, "`from`");
        let to = match &to.value.value {
            Value::Scalar { .. } => self.mailbox(&to.value, "`to`").map(|to| vec![to]),
            _ => self.reader.texts(&to.value, "`to`").and_then(|texts| {
                // All of them, so that every wrong one is named.
                let all: Vec<_> =
                    texts.iter().map(|to| self.mailbox_of(&to.value, to.span, "`to`")).collect();
                all.into_iter().collect()
            }),
        };
        let tls = match (tls?, ca) {
            (true, None) => MailTls::Required { ca: None },
            (true, Some(ca)) => MailTls::Required { ca: Some(ca?) },
            (false, None) => MailTls::None,
            (false, Some(_)) => {
                self.reader.error("odd-field", span, "`ca` says nothing where `tls` is `none`");
                return None;
            }
        };
        let (host, port) = place?;
        Some(Relay { host, port, from: from?, to: to?, tls })
    }

    fn mailbox(&mut self, node: &Node<'_>, what: &str) -> Option<Mailbox> {
        let text = self.text(node, what)?;
        self.mailbox_of(&text, node.span, what)
    }

    fn mailbox_of(&mut self, text: &str, span: Span, what: &str) -> Option<Mailbox> {
        let mailbox = text.parse().ok();
        if mailbox.is_none() {
            let what = format!("{what}: `{text}` is not a mail address");
            let hint = "like `ops@example.org`, or `Operations <ops@example.org>`";
            self.reader.report(Fault::error("bad-mailbox", span, what).hint(hint));
        }
        mailbox
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let number = |text: &str| text.parse().ok().filter(|port| *port > 0);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            let address = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '%');
            if !host.contains(':') || !host.chars().all(address) {
                return None;
            }
            match port {
                "" => (host, SMTP),
                port => (host, number(port.strip_prefix(':')?)?),
            }
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, number(port)?),
            None => (text, SMTP),
        },
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']');
    if host.is_empty() || host.contains(odd) || (host.contains(':') && !text.starts_with('[')) {
        return None;
    }
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_a_host_and_a_port() {
        for (text, wanted) in [
            ("relay", Some(("relay", SMTP))),
            ("relay.example.org:587", Some(("relay.example.org", 587))),
            ("[::1]:2525", Some(("::1", 2525))),
            ("[::1]", Some(("::1", SMTP))),
            ("relay:", None),
            ("relay:0", None),
            ("relay:65536", None),
            ("::1", None),
            ("me@relay:25", None),
            ("[x]:25", None),
            ("", None),
        ] {
            let wanted = wanted.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(text), wanted, "{text}");
        }
    }
}
