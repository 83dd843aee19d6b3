//! A notice: its text filled with the plan's facts, and the mail that carries it.
//!
//! Not known here: where it goes, and whether it was sent.

use crate::executor::Context;
use crate::failure::Failure;
use crate::plan::template::{Cut, cut};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use pulldown_cmark::{Event, Options, Parser, html};
use std::fs;
use std::path::Path;

/// A notice larger than this is a mistake in the plan.
const LARGEST: u64 = 1 << 20;

/// A notice, filled.
pub(crate) struct Notice {
    /// Its first heading, else the plan's name; one line.
    pub(crate) subject: String,
    /// Markdown.
    pub(crate) text: String,
}

impl Notice {
    /// Reads and fills the notice of a plan. Changes nothing.
    pub(crate) fn read(path: &Path, context: &Context) -> Result<Self, Failure> {
        let path = context.plan_dir.join(path);
        let trouble = |error: &dyn std::fmt::Display| {
            Failure::last(format!("notice `{}`: {error}", path.display()))
        };
        let size = fs::metadata(&path).map_err(|error| trouble(&error))?.len();
        if size > LARGEST {
            return Err(trouble(&format!("{size} bytes are too many for a notice")));
        }
        let raw = fs::read_to_string(&path).map_err(|error| trouble(&error))?;
        let text = fill(&raw, context).map_err(|error| trouble(&error))?;
        let heading = text.lines().find_map(|line| line.strip_prefix("# "));
        let subject = heading.or_else(|| fact("plan.name", context)).unwrap_or("Notice");
        Ok(Self { subject: one_line(subject), text })
    }

    /// As HTML. What stands in the text as HTML is shown, not obeyed.
    pub(crate) fn html(&self) -> String {
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
        let pieces = Parser::new_ext(&self.text, options).map(|piece| match piece {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            other => other,
        });
        let mut page = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n");
        html::push_html(&mut page, pieces);
        page
    }

    /// The mail: the text as it was written, and as HTML (RFC 2046, 5.1.4).
    ///
    /// # Errors
    /// A header that cannot be written.
    pub(crate) fn mail(&self, letter: &Letter<'_>, context: &Context) -> Result<Vec<u8>, Failure> {
        let mut mail = Message::builder()
            .from(letter.from.clone())
            .subject(&self.subject)
            .message_id(Some(format!("<{}>", letter.id)))
            .date_now();
        for to in letter.to {
            mail = mail.to(to.clone());
        }
        for (name, value) in [
            (HeaderName::new_from_ascii_str("X-Cutover-Run"), &context.run),
            (HeaderName::new_from_ascii_str("X-Cutover-Step"), &context.step),
        ] {
            mail = mail.raw_header(HeaderValue::new(name, one_line(value)));
        }
        // The same bytes each time but for the date: a boundary by chance would be another mail.
        let boundary = blake3::hash(letter.id.as_bytes()).to_hex();
        let body = MultiPart::alternative()
            .boundary(&boundary.as_str()[..32])
            .singlepart(SinglePart::plain(self.text.clone()))
            .singlepart(SinglePart::html(self.html()));
        let mail = mail.multipart(body).map_err(|error| {
            Failure::last(format!("the notice cannot be written as a mail: {error}"))
        })?;
        Ok(mail.formatted())
    }
}

/// What stands on the envelope.
pub(crate) struct Letter<'a> {
    pub(crate) from: &'a Mailbox,
    pub(crate) to: &'a [Mailbox],
    /// The same however often it is written, so that a receiver can drop a second one: `NAME@DOMAIN`.
    pub(crate) id: &'a str,
}

fn fill(raw: &str, context: &Context) -> Result<String, String> {
    let mut text = String::with_capacity(raw.len());
    for piece in cut(raw) {
        match piece {
            Cut::Text(piece) => text.push_str(piece),
            Cut::Look { inner, raw } => {
                text.push_str(fact(inner, context).ok_or_else(|| {
                    let known: Vec<&str> = context.facts.keys().map(String::as_str).collect();
                    format!("nothing is known of `{raw}` (facts: {})", known.join(", "))
                })?);
            }
            Cut::Open(rest) => {
                let start = rest.lines().next().unwrap_or_default();
                return Err(format!("`{start}` opens a look-up that is not closed"));
            }
        }
    }
    Ok(text)
}

/// A fact by its name in a notice, `plan.NAME`.
fn fact<'a>(name: &str, context: &'a Context) -> Option<&'a str> {
    let short = name.strip_prefix("plan.")?;
    context.facts.get(name).or_else(|| context.facts.get(short)).map(String::as_str)
}

/// No line ends: a heading must not become a header.
fn one_line(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_line() {
        assert_eq!(one_line("a\r\nBcc: x"), "aBcc: x");
    }

    #[test]
    fn html_in_a_notice_is_shown_and_not_obeyed() {
        let text =
            "# Move\n\n**Now** <script>x()</script>\n\n<b>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
        let notice = Notice { subject: "Move".to_owned(), text: text.to_owned() };
        let page = notice.html();
        assert!(page.contains("<strong>Now</strong>") && page.contains("<td>1</td>"), "{page}");
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    }
}
