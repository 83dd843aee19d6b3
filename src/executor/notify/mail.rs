//! A mail to a relay (RFC 5321), over STARTTLS (RFC 3207) unless the estate says otherwise.
//!
//! Until the last receiver is accepted nothing was sent, and every trouble is a plain failure. From
//! the first byte of the message to the relay's answer to its last, a lost connection is a doubt. Not
//! known here: what the mail says.

use super::mark::Mark;
use crate::estate::{MailTls, Relay};
use crate::event::Ending;
use crate::executor::until::Until;
use crate::failure::Failure;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use std::time::Duration;

/// For one exchange with the relay before the message, in a network that works.
const PATIENCE: Duration = Duration::from_secs(30);
/// For the answer to the message: the relay may look at it before it takes it (RFC 5321, 4.5.3.2.6).
const LAST_PATIENCE: Duration = Duration::from_secs(600);

/// Sends one mail, and marks its beginning and its end.
///
/// # Errors
/// `Failed` or `Stopped` when the relay does not have it; `Unknown` when it may.
pub(super) async fn send(
    relay: &Relay,
    mail: &[u8],
    mark: &Mark,
    until: &Until,
) -> Result<(), Ending> {
    let mut session = before(until, open(relay)).await?;
    before(until, envelope(&mut session, relay)).await?;
    mark.begin().map_err(|error| {
        Ending::Failed(Failure::transient(format!("cannot note that the mail is sent: {error}")))
    })?;
    let doubt = |why: String| {
        Ending::Unknown(
            Failure::in_doubt(why).while_doing(format!("relay `{}` may have it", relay.shown())),
        )
    };
    let answer = tokio::select! {
        biased;
        answer = session.message(mail) => answer,
        _ = until.cut() => return Err(doubt("ended before it answered".to_owned())),
        () = tokio::time::sleep(LAST_PATIENCE) => {
            return Err(doubt(format!("no answer in {LAST_PATIENCE:?}")));
        }
    };
    match answer {
        Ok(said) => {
            let said: Vec<&str> = said.message().collect();
            mark.take(&said.join(" ")).map_err(|error| {
                doubt(format!("it was taken, and that cannot be noted: {error}"))
            })?;
            // It has been taken: how the relay likes the farewell changes nothing.
            let _ = tokio::time::timeout(Duration::from_secs(1), session.quit()).await;
            Ok(())
        }
        Err(error) if error.status().is_some() => {
            mark.withdraw().map_err(|trouble| doubt(trouble.to_string()))?;
            Err(Ending::Failed(failure(relay, "the message", &error)))
        }
        Err(error) => Err(doubt(causes(&error))),
    }
}

/// Asks the relay for nothing but its name and its certificate.
///
/// # Errors
/// It cannot be reached, or offers no encryption that is wanted.
pub(crate) async fn greet(relay: &Relay) -> Result<bool, Failure> {
    let mut session = open(relay).await?;
    let encrypted = session.is_encrypted();
    let _ = session.quit().await;
    Ok(encrypted)
}

/// Limits what happens before anything was sent.
async fn before<T>(
    until: &Until,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Ending> {
    tokio::select! {
        biased;
        done = work => done.map_err(Ending::Failed),
        cut = until.cut() => Err(until.ending(cut)),
        () = tokio::time::sleep(PATIENCE) => {
            Err(Ending::Failed(Failure::transient(format!("the relay does not answer in {PATIENCE:?}"))))
        }
    }
}

async fn open(relay: &Relay) -> Result<AsyncSmtpConnection, Failure> {
    let name = ClientId::Domain(rustix::system::uname().nodename().to_string_lossy().into_owned());
    let server = (relay.host.as_str(), relay.port);
    let mut session =
        AsyncSmtpConnection::connect_tokio1(server, Some(PATIENCE), &name, None, None)
            .await
            .map_err(|error| failure(relay, "the connection", &error))?;
    if let MailTls::Required { ca } = &relay.tls {
        if !session.can_starttls() {
            let what = format!("relay `{}` offers no STARTTLS", relay.shown());
            let why = "the notice would go in clear text, which `tls: none` would allow";
            return Err(Failure::last(why).while_doing(what));
        }
        let trust = trust(relay, ca.as_deref())?;
        session
            .starttls(trust, &name)
            .await
            .map_err(|error| failure(relay, "the encryption", &error))?;
    }
    Ok(session)
}

fn trust(relay: &Relay, ca: Option<&std::path::Path>) -> Result<TlsParameters, Failure> {
    let mut trust = TlsParameters::builder(relay.host.clone());
    if let Some(ca) = ca {
        let wrong = |why: String| Failure::last(format!("certificate `{}`: {why}", ca.display()));
        let pem = std::fs::read(ca).map_err(|error| wrong(error.to_string()))?;
        let ca = Certificate::from_pem(&pem).map_err(|error| wrong(causes(&error)))?;
        trust = trust.certificate_store(CertificateStore::None).add_root_certificate(ca);
    }
    trust.build_rustls().map_err(|error| failure(relay, "the encryption", &error))
}

async fn envelope(session: &mut AsyncSmtpConnection, relay: &Relay) -> Result<(), Failure> {
    let mail = Mail::new(Some(relay.from.email.clone()), Vec::new());
    let refused = |what: String| move |error: Error| failure(relay, &what, &error);
    session.command(mail).await.map_err(refused(format!("sender `{}`", relay.from.email)))?;
    for to in &relay.to {
        let receiver = Rcpt::new(to.email.clone(), Vec::new());
        session.command(receiver).await.map_err(refused(format!("receiver `{}`", to.email)))?;
    }
    session.command(Data).await.map_err(refused("the message".to_owned()))?;
    Ok(())
}

/// What the relay's refusal, or its silence, means for another attempt (RFC 5321, 4.2.1).
fn failure(relay: &Relay, what: &str, error: &Error) -> Failure {
    let what = format!("relay `{}`: {what}", relay.shown());
    let why = causes(error);
    let failure = if error.is_permanent() { Failure::last(why) } else { Failure::transient(why) };
    failure.while_doing(what)
}

/// An error and its causes. The library's own words repeat the cause in some errors and not in others.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
