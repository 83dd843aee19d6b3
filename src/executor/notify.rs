//! `notify`: a notice to channels of the estate, each once, however often the step is tried.
//!
//! A directory channel gets one `.eml` and one `.md`, named after run, step and channel: a file that
//! is there has been sent. The `.eml` comes last and whole, so that whatever takes it from there
//! finds a finished notice. Mail relays and webhooks come with the real estate.

use super::until::Until;
use super::{Context, Worked};
use crate::action::notify::Notify;
use crate::estate::Channel;
use crate::event::{Ending, Outputs, Way};
use crate::failure::Failure;
use crate::plan::template::{Cut, cut};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A notice larger than this is a mistake in the plan.
const LARGEST: u64 = 1 << 20;
/// Octets of a line of a mail, its end excluded (RFC 5322, 2.1.1).
const LONGEST_LINE: usize = 998;

/// Sends to the channels that are still without it.
pub(super) async fn send(notify: &Notify<String>, until: &Until, context: &Context) -> Worked {
    let notice = read(notify, context).map_err(Ending::Failed)?;
    // All names first: a typing error must not leave half of the channels served.
    let places = places(notify, context).map_err(Ending::Failed)?;
    let mut sent = 0_u32;
    for place in &places {
        until.go_on()?;
        context.doing(format!("sending to `{}`", place.channel));
        if place.served() {
            continue;
        }
        place.serve(&notice, context).map_err(|error| {
            let what = format!("channel `{}`: `{}`", place.channel, place.mail.display());
            Ending::Failed(Failure {
                chain: vec![what, error.to_string()],
                ..Failure::transient("")
            })
        })?;
        sent += 1;
    }
    Ok(Outputs::from([("sent".to_owned(), sent.to_string())]))
}

/// Whether every channel has it.
pub(super) fn is_sent(notify: &Notify<String>, context: &Context) -> Worked {
    let places = places(notify, context).map_err(Ending::Unknown)?;
    if places.iter().all(Place::served) { Ok(Outputs::new()) } else { Err(Ending::NotDone) }
}

/// A notice, filled.
struct Notice {
    subject: String,
    text: String,
}

/// The subject of a notice that can be read and filled. Changes nothing.
pub(super) fn subject(notify: &Notify<String>, context: &Context) -> Result<String, Failure> {
    read(notify, context).map(|notice| notice.subject)
}

fn read(notify: &Notify<String>, context: &Context) -> Result<Notice, Failure> {
    let path = context.plan_dir.join(&notify.notice);
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
    Ok(Notice { subject: one_line(subject), text })
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

/// Where a channel's notice goes.
struct Place {
    channel: String,
    stem: String,
    mail: PathBuf,
    page: PathBuf,
}

fn places(notify: &Notify<String>, context: &Context) -> Result<Vec<Place>, Failure> {
    notify.to.iter().map(|channel| Place::find(channel, context)).collect()
}

impl Place {
    fn find(channel: &str, context: &Context) -> Result<Self, Failure> {
        let known = context
            .estate
            .channels
            .get(channel)
            .ok_or_else(|| Failure::last(format!("the estate has no channel `{channel}`")))?;
        let directory = match &known.value {
            Channel::Directory(directory) => directory,
            Channel::Smtp { .. } | Channel::Webhook(_) => {
                return Err(Failure::last(format!(
                    "channel `{channel}` is no directory: mail and webhooks come with the real estate"
                )));
            }
        };
        // The notice that an undo sends is another one.
        let way = if context.way == Way::Undo { "undo" } else { "do" };
        let words = [context.run.as_str(), &context.step, way, channel];
        // Names that differ only in what a file name cannot hold must not meet.
        let digest = blake3::hash(words.join("\0").as_bytes()).to_hex();
        let undo = if context.way == Way::Undo { "-undo" } else { "" };
        let stem = format!(
            "{}-{}{undo}-{}-{}",
            file_name(&context.run),
            file_name(&context.step),
            file_name(channel),
            &digest[..8]
        );
        let file = |ending: &str| directory.join(format!("{stem}.{ending}"));
        Ok(Self { channel: channel.to_owned(), mail: file("eml"), page: file("md"), stem })
    }

    fn served(&self) -> bool {
        self.mail.exists()
    }

    fn serve(&self, notice: &Notice, context: &Context) -> io::Result<()> {
        write_once(&self.page, notice.text.as_bytes())?;
        write_once(&self.mail, self.mail(notice, context).as_bytes())
    }

    /// The notice as RFC 5322 has it.
    fn mail(&self, notice: &Notice, context: &Context) -> String {
        let channel = file_name(&self.channel);
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S +0000");
        let fits = notice.text.lines().all(|line| line.len() <= LONGEST_LINE);
        let encoding = match (fits, notice.text.is_ascii()) {
            (true, true) => "7bit",
            (true, false) => "8bit",
            (false, _) => "quoted-printable",
        };
        let mut mail = String::new();
        for (name, value) in [
            ("Date", date.to_string().as_str()),
            ("From", "cutover <cutover@cutover.invalid>"),
            ("To", &format!("{channel} <{channel}@channel.invalid>")),
            ("Subject", &encoded_word(&notice.subject)),
            // The same however often it is written, so that a receiver can drop a second one.
            ("Message-ID", &format!("<{}@cutover.invalid>", self.stem)),
            ("X-Cutover-Run", &one_line(&context.run)),
            ("X-Cutover-Step", &one_line(&context.step)),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/markdown; charset=utf-8"),
            ("Content-Transfer-Encoding", encoding),
        ] {
            // Writing to a string cannot fail.
            let _ = write!(mail, "{name}: {value}\r\n");
        }
        mail.push_str("\r\n");
        for line in notice.text.lines() {
            if fits {
                mail.push_str(line);
            } else {
                quoted_printable(line, &mut mail);
            }
            mail.push_str("\r\n");
        }
        mail
    }
}

/// Whole or not at all, and never over what is there: that one may have been sent already.
fn write_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    // A notice is for everybody, and whoever publishes it is somebody else than the runner.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".notice-").permissions(fs::Permissions::from_mode(0o644));
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error.error),
    }
    File::open(directory)?.sync_all()
}

fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = text.chars().map(plain).collect();
    name.trim_matches(['-', '.']).to_owned()
}

/// No line ends: a heading must not become a header.
fn one_line(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).collect()
}

/// A subject as RFC 2047 has it; plain text stays plain.
fn encoded_word(text: &str) -> String {
    if text.is_ascii() && text.len() < 900 && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        let mut coded = String::new();
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a string cannot fail.
            let _ = match byte {
                b' ' => write!(coded, "_"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(coded, "{}", byte as char),
                _ => write!(coded, "={byte:02X}"),
            };
        }
        // At most 75 octets, with `=?utf-8?q?` and `?=`.
        if word.len() + coded.len() > 63 {
            words.push(std::mem::take(&mut word));
        }
        word.push_str(&coded);
    }
    words.push(word);
    let words: Vec<String> = words.iter().map(|word| format!("=?utf-8?q?{word}?=")).collect();
    words.join("\r\n ")
}

/// A line as RFC 2045, 6.7 has it, with soft breaks before 76 octets.
fn quoted_printable(line: &str, out: &mut String) {
    let mut width = 0;
    let last = line.len().saturating_sub(1);
    for (place, byte) in line.bytes().enumerate() {
        let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~')
            || (matches!(byte, b' ' | b'\t') && place != last);
        let needs = if plain { 1 } else { 3 };
        if width + needs > 75 {
            out.push_str("=\r\n");
            width = 0;
        }
        if plain {
            out.push(byte as char);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "={byte:02X}");
        }
        width += needs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_header_of_plain_text() {
        assert_eq!(encoded_word("Maintenance on 6 April"), "Maintenance on 6 April");
        let coded = encoded_word("Wartung für Kunden");
        assert_eq!(coded, "=?utf-8?q?Wartung_f=C3=BCr_Kunden?=");
        for line in encoded_word(&"ü".repeat(300)).split("\r\n") {
            assert!(line.trim_start().len() <= 75, "{line}");
        }
        assert_eq!(one_line("a\r\nBcc: x"), "aBcc: x");
    }

    #[test]
    fn long_lines_are_broken_softly() {
        let mut out = String::new();
        quoted_printable(&format!("{}= end ", "x".repeat(100)), &mut out);
        assert!(out.split("\r\n").all(|line| line.len() <= 76), "{out}");
        assert!(out.ends_with("=3D end=20"), "{out}");
    }

    #[test]
    fn a_file_name_holds_no_path() {
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name("final-notice[a,b]"), "final-notice-a-b");
    }
}
