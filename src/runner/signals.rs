//! Signals of the operating system, as letters.
//!
//! Not known here: what they mean. SIGHUP is caught and dropped: a lost terminal stops no run.

use super::inbox::{Letter, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Listens for as long as somebody reads the inbox.
///
/// # Errors
/// When the handlers cannot be installed.
pub(super) fn listen(inbox: mpsc::UnboundedSender<Letter>) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            let letter = tokio::select! {
                Some(()) = interrupt.recv() => Letter::Signal(Signal::Interrupt),
                Some(()) = terminate.recv() => Letter::Signal(Signal::Terminate),
                Some(()) = hangup.recv() => Letter::Note("the terminal is gone; the run goes on".into()),
                else => return,
            };
            if inbox.send(letter).is_err() {
                return;
            }
        }
    });
    Ok(())
}
