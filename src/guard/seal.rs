//! Seal pages: normal is what visitors saw before.
//!
//! Not known here: TLS, scripts and images behind a page (a later issue deepens this).

use super::fetch::{Fetched, printable};
use super::finding::found;
use crate::health::Finding;
use bytes::Bytes;

/// What of the first good answer is held against later ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    first: Option<(Bytes, String)>,
}

impl Page {
    /// Judges a page that came with status 200.
    pub(crate) fn judge(&mut self, fetched: &Fetched, expect: Option<&str>) -> Vec<Finding> {
        let mut findings = fetched.findings.clone();
        if let Some(text) = expect
            && !contains(&fetched.body, text.as_bytes())
        {
            let what = format!("the page does not say `{}`", printable(text));
            findings.push(found("seal-missing", what));
            return findings;
        }
        match &self.first {
            None => self.first = Some((fetched.body.clone(), fetched.content_type.clone())),
            Some((body, content_type)) => {
                if *content_type != fetched.content_type {
                    let what = format!(
                        "its content type was `{}` and is `{}`",
                        printable(content_type),
                        printable(&fetched.content_type)
                    );
                    findings.push(found("seal-http", what));
                } else if *body != fetched.body {
                    findings.push(found("seal-content", "its bytes are not those first seen"));
                }
            }
        }
        findings
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn page(body: &'static str, content_type: &str) -> Fetched {
        Fetched {
            body: Bytes::from_static(body.as_bytes()),
            took: Duration::ZERO,
            findings: Vec::new(),
            content_type: content_type.to_owned(),
            fresh_until: None,
        }
    }

    #[test]
    fn each_change_has_its_code() {
        for (body, content_type, code) in [
            ("<p>Secured by us</p>", "text/html", None),
            ("<p>Secured by them</p>", "text/html", Some("seal-content")),
            ("<p>Secured by us</p>", "text/plain", Some("seal-http")),
            ("<p>Coming soon</p>", "text/html", Some("seal-missing")),
            ("", "text/html", Some("seal-missing")),
        ] {
            let mut seen = Page::default();
            let first = page("<p>Secured by us</p>", "text/html");
            assert_eq!(seen.judge(&first, Some("Secured by")), []);
            let codes: Vec<_> = seen
                .judge(&page(body, content_type), Some("Secured by"))
                .iter()
                .map(|finding| finding.code)
                .collect();
            assert_eq!(codes, code.into_iter().collect::<Vec<_>>(), "{body}");
        }
    }
}
