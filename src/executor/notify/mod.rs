//! `notify`: a notice to channels of the estate, each once, however often the step is tried.
//!
//! - A directory gets one `.eml` and one `.md`, named after run, step and channel: a file that is
//!   there has been sent. The `.eml` comes last and whole, so that whatever takes it from there finds a
//!   finished notice.
//! - A relay gets a mail. A crash between its last byte and its answer is a doubt, for a person: the
//!   relay's log knows.
//! - A webhook gets a POST under a name that stays, so that a second one is known for what it is.
//!
//! Not known here: when a notice is due.

mod mail;
mod mark;
mod notice;
mod webhook;

pub(crate) use mail::greet;

use self::mark::{Mark, Sent, write_once};
use self::notice::{Letter, Notice};
use super::until::Until;
use super::{Context, Worked, secret};
use crate::action::notify::Notify;
use crate::estate::{Channel, Relay};
use crate::event::{Ending, Outputs, Way};
use crate::failure::Failure;
use lettre::Address;
use lettre::message::Mailbox;
use std::io;
use std::path::{Path, PathBuf};

/// Sends to the channels that are still without it.
///
/// A beginning that an earlier attempt marked and did not end was settled before this attempt could
/// start: nobody had it.
pub(super) async fn send(notify: &Notify<String>, until: &Until, context: &Context) -> Worked {
    let notice = Notice::read(&notify.notice, context).map_err(Ending::Failed)?;
    // All names first: a typing error must not leave half of the channels served.
    let places = places(notify, context).map_err(Ending::Failed)?;
    let mut sent = 0_u32;
    for place in &places {
        until.go_on()?;
        context.doing(format!("sending to `{}`", place.name));
        if place.has_it().map_err(|error| Ending::Failed(place.trouble(&error)))? == Sent::Yes {
            continue;
        }
        place.serve(&notice, until, context).await.map_err(|ending| {
            let what = format!("channel `{}`", place.name);
            match ending {
                Ending::Failed(failure) => Ending::Failed(failure.while_doing(what)),
                Ending::Unknown(failure) => Ending::Unknown(failure.while_doing(what)),
                other => other,
            }
        })?;
        sent += 1;
    }
    Ok(Outputs::from([("sent".to_owned(), sent.to_string())]))
}

/// Whether every channel has it.
pub(super) fn is_sent(notify: &Notify<String>, context: &Context) -> Worked {
    let places = places(notify, context).map_err(Ending::Unknown)?;
    let mut all = true;
    for place in &places {
        match place.has_it().map_err(|error| Ending::Unknown(place.trouble(&error)))? {
            Sent::Yes => {}
            Sent::Never => all = false,
            Sent::Maybe => {
                let what = format!(
                    "channel `{}`: its sending began and nobody saw the end; the relay's log knows of `{}`",
                    place.name,
                    place.id()
                );
                return Err(Ending::Unknown(Failure::in_doubt(what)));
            }
        }
    }
    if all { Ok(Outputs::new()) } else { Err(Ending::NotDone) }
}

/// The subject of a notice that can be read and filled. Changes nothing.
pub(super) fn subject(notify: &Notify<String>, context: &Context) -> Result<String, Failure> {
    Notice::read(&notify.notice, context).map(|notice| notice.subject)
}

/// A channel, and what this notice is called there.
struct Place<'a> {
    name: &'a str,
    channel: &'a Channel,
    stem: String,
    mark: Mark,
}

fn places<'a>(notify: &'a Notify<String>, context: &'a Context) -> Result<Vec<Place<'a>>, Failure> {
    notify.to.iter().map(|name| Place::find(name, context)).collect()
}

impl<'a> Place<'a> {
    fn find(name: &'a str, context: &'a Context) -> Result<Self, Failure> {
        let known = context.estate.channels.get(name);
        let channel = &known
            .ok_or_else(|| Failure::last(format!("the estate has no channel `{name}`")))?
            .value;
        // The notice that an undo sends is another one.
        let way = if context.way == Way::Undo { "undo" } else { "do" };
        let words = [context.run.as_str(), &context.step, way, name];
        // Names that differ only in what a file name cannot hold must not meet.
        let digest = blake3::hash(words.join("\0").as_bytes()).to_hex();
        let undo = if context.way == Way::Undo { "-undo" } else { "" };
        let stem = format!(
            "{}-{}{undo}-{}-{}",
            file_name(&context.run),
            file_name(&context.step),
            file_name(name),
            &digest[..8]
        );
        Ok(Self { name, channel, mark: Mark::new(&context.notices_dir, &stem), stem })
    }

    fn has_it(&self) -> io::Result<Sent> {
        match self.channel {
            Channel::Directory(directory) => {
                match self.file(directory, "eml").try_exists() {
                    Ok(true) => Ok(Sent::Yes),
                    Ok(false) => Ok(Sent::Never),
                    // Something else is called like the directory: nothing can be in it.
                    Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Sent::Never),
                    Err(error) => Err(error),
                }
            }
            Channel::Smtp(_) | Channel::Webhook { .. } => self.mark.read(),
        }
    }

    async fn serve(&self, notice: &Notice, until: &Until, context: &Context) -> Result<(), Ending> {
        match self.channel {
            Channel::Directory(directory) => {
                self.write(directory, notice, context).map_err(Ending::Failed)
            }
            Channel::Smtp(relay) => {
                let id = self.id();
                let letter = Letter { from: &relay.from, to: &relay.to, id: &id };
                let bytes = notice.mail(&letter, context).map_err(Ending::Failed)?;
                mail::send(relay, &bytes, &self.mark, until).await
            }
            Channel::Webhook { url, secret } => {
                let secret = match secret {
                    None => None,
                    Some(secret) => Some(secret::tell(secret).await.map_err(Ending::Failed)?),
                };
                let hook = webhook::Hook { url, secret: secret.as_deref() };
                webhook::send(&hook, &self.id(), notice, &self.mark, until, context).await
            }
        }
    }

    /// The notice's name in the world, the same however often it is sent.
    fn id(&self) -> String {
        let domain = match self.channel {
            Channel::Smtp(Relay { from, .. }) => from.email.domain(),
            _ => "cutover.invalid",
        };
        format!("{}@{domain}", self.stem)
    }

    fn file(&self, directory: &Path, ending: &str) -> PathBuf {
        directory.join(format!("{}.{ending}", self.stem))
    }

    fn write(&self, directory: &Path, notice: &Notice, context: &Context) -> Result<(), Failure> {
        let mailbox = |name: &str, user: String, domain: &str| {
            Address::new(user, domain).map(|email| Mailbox::new(Some(name.to_owned()), email))
        };
        let channel = file_name(self.name);
        let from = mailbox("cutover", "cutover".to_owned(), "cutover.invalid");
        let to = mailbox(self.name, channel, "channel.invalid");
        let (Ok(from), Ok(to)) = (from, to) else {
            let what = format!("channel `{}` has a name that no mail can bear", self.name);
            return Err(Failure::last(what));
        };
        let letter = Letter { from: &from, to: &[to], id: &self.id() };
        let mail = notice.mail(&letter, context)?;
        // Whoever publishes it is somebody else than the runner: a notice is for everybody.
        let (page, file) = (self.file(directory, "md"), self.file(directory, "eml"));
        write_once(&page, notice.text.as_bytes(), 0o644)
            .and_then(|()| write_once(&file, &mail, 0o644))
            .map_err(|error| self.trouble(&error).while_doing(format!("`{}`", file.display())))
    }

    fn trouble(&self, error: &io::Error) -> Failure {
        Failure::transient(error.to_string())
    }
}

fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = text.chars().map(plain).collect();
    name.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_holds_no_path() {
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name("final-notice[a,b]"), "final-notice-a-b");
    }
}
